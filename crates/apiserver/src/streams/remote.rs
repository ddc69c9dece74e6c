//! A remote command, whatever protocol carries it (S-11 to S-17).

use bytes::Bytes;
use client::{ExecExit, ExecSession, TerminalSize};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Messages that wait between a session and the wire, in each direction.
const QUEUED_MAX: usize = 16;

/// What the client sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Standard input.
    Stdin(Bytes),
    /// The end of standard input.
    StdinClosed,
    /// The terminal's new size.
    Resize(TerminalSize),
}

/// What the client is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The end; comes after the last byte of output and is the last message.
    Exit(ExecExit),
}

/// The two ends that a wire protocol holds of a running session. Dropping `input` closes standard input; dropping
/// `output` ends the session.
#[derive(Debug)]
pub struct Wire {
    /// Towards the program.
    pub input: mpsc::Sender<Input>,
    /// From the program; ends after [`Output::Exit`].
    pub output: mpsc::Receiver<Output>,
}

/// Connects a session with a wire: returns the wire's ends, and the task that carries messages until both are done.
pub fn connect(session: ExecSession) -> (Wire, impl Future<Output = ()> + Send) {
    let (input, inputs) = mpsc::channel(QUEUED_MAX);
    let (outputs, output) = mpsc::channel(QUEUED_MAX);
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let carry = async move {
        let feeding = feed(inputs, stdin, resize);
        let draining = drain(outputs, Outputs { stdout, stderr, exit });
        tokio::pin!(feeding, draining);
        // The client may go on holding its input open long after the program has ended, so the output decides.
        tokio::select! {
            () = &mut draining => {}
            () = &mut feeding => draining.await,
        }
    };
    (Wire { input, output }, carry)
}

async fn feed(
    mut inputs: mpsc::Receiver<Input>,
    mut stdin: Option<mpsc::Sender<Bytes>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Stdin(bytes) => {
                if let Some(sender) = &stdin
                    && sender.send(bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            Input::StdinClosed => stdin = None,
            Input::Resize(size) => {
                if let Some(sender) = &resize {
                    // A size that cannot be taken now is followed by a newer one.
                    let _ = sender.try_send(size);
                }
            }
        }
    }
}

struct Outputs {
    stdout: Option<mpsc::Receiver<Bytes>>,
    stderr: Option<mpsc::Receiver<Bytes>>,
    exit: tokio::sync::oneshot::Receiver<ExecExit>,
}

async fn drain(outputs: mpsc::Sender<Output>, mut from: Outputs) {
    while from.stdout.is_some() || from.stderr.is_some() {
        let (bytes, source, wrap): (_, &mut Option<_>, fn(Bytes) -> Output) = tokio::select! {
            Some(bytes) = receive(&mut from.stdout) => (bytes, &mut from.stdout, Output::Stdout),
            Some(bytes) = receive(&mut from.stderr) => (bytes, &mut from.stderr, Output::Stderr),
            () = outputs.closed() => return,
        };
        match bytes {
            Some(bytes) if bytes.is_empty() => {}
            Some(bytes) => {
                if outputs.send(wrap(bytes)).await.is_err() {
                    return;
                }
            }
            None => *source = None,
        }
    }
    let exit = tokio::select! {
        exit = from.exit => exit.unwrap_or_else(|_| ExecExit::Failed("the node has lost the program".to_owned())),
        () = outputs.closed() => return,
    };
    let _ = outputs.send(Output::Exit(exit)).await;
}

/// `Some(None)` once at the end of a stream, `None` for a stream that is not there (any more).
async fn receive(stream: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Option<Bytes>> {
    match stream {
        Some(stream) => Some(stream.recv().await),
        None => None,
    }
}

/// The Status that ends a session in protocol v4 and v5 (S-13).
pub fn exit_status(exit: &ExecExit) -> Value {
    match exit {
        ExecExit::Code(0) => json!({"metadata": {}, "status": "Success"}),
        ExecExit::Code(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExecExit::Failed(why) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("Internal error occurred: {why}"),
            "reason": "InternalError",
            "details": {"causes": [{"message": why}]},
            "code": 500,
        }),
    }
}

/// The text that ends a session in older protocols; `None` on success.
pub fn exit_text(exit: &ExecExit) -> Option<String> {
    match exit {
        ExecExit::Code(0) => None,
        ExecExit::Code(code) => Some(format!("command terminated with non-zero exit code: exit status {code}")),
        ExecExit::Failed(why) => Some(why.clone()),
    }
}

/// Reads a resize message (S-15); `None` if it is none.
pub fn parse_resize(text: &[u8]) -> Option<TerminalSize> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let size: Size = serde_json::from_slice(text).ok()?;
    Some(TerminalSize { width: size.width, height: size.height })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use client::{ExecExit, ExecSession, TerminalSize};
    use tokio::sync::{mpsc, oneshot};

    use super::{Input, Output, connect, parse_resize};

    #[tokio::test]
    async fn the_exit_comes_after_the_last_output_although_the_client_keeps_its_input_open() {
        let (stdin, mut stdin_end) = mpsc::channel(1);
        let (stdout_end, stdout) = mpsc::channel(1);
        let (exit_end, exit) = oneshot::channel();
        let session = ExecSession { stdin: Some(stdin), stdout: Some(stdout), stderr: None, resize: None, exit };
        let (mut wire, carry) = connect(session);
        let program = async move {
            exit_end.send(ExecExit::Code(3)).unwrap();
            let line = stdin_end.recv().await.unwrap();
            stdout_end.send(line).await.unwrap();
            assert_eq!(stdin_end.recv().await, None);
            stdout_end.send("bye".into()).await.unwrap();
        };
        let client = async move {
            wire.input.send(Input::Stdin("hi".into())).await.unwrap();
            wire.input.send(Input::StdinClosed).await.unwrap();
            let mut said = Vec::new();
            while let Some(output) = wire.output.recv().await {
                said.push(output);
            }
            assert_eq!(
                said,
                [Output::Stdout(Bytes::from("hi")), Output::Stdout("bye".into()), Output::Exit(ExecExit::Code(3))]
            );
        };
        tokio::join!(carry, program, client);
    }

    #[test]
    fn a_resize_is_read_and_rubbish_is_not() {
        assert_eq!(parse_resize(br#"{"Width":80,"Height":24}"#), Some(TerminalSize { width: 80, height: 24 }));
        assert_eq!(parse_resize(b"{"), None);
    }
}
