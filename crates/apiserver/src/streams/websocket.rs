//! A remote command over WebSocket (S-10 to S-19).

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use client::ExecExit;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};

use crate::streams::remote::{Input, Output, Wire, exit_status, exit_text, parse_resize};

/// Largest piece of output in one frame.
const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Time that a client has to answer our close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Close code of a normal end; any other makes kubectl report a failure.
const NORMAL_CLOSURE: u16 = 1000;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A version of the channel protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// The name on the wire.
    pub name: &'static str,
    /// Text frames with a digit and base64, for clients that cannot send binary.
    base64: bool,
    /// The error channel carries a Status (v4 and later).
    status: bool,
    /// A client can close its input (v5).
    half_close: bool,
}

const fn protocol(name: &'static str, base64: bool, status: bool, half_close: bool) -> Protocol {
    Protocol { name, base64, status, half_close }
}

const PROTOCOLS: [Protocol; 7] = [
    protocol("v5.channel.k8s.io", false, true, true),
    protocol("v4.channel.k8s.io", false, true, false),
    protocol("v3.channel.k8s.io", false, false, false),
    protocol("v2.channel.k8s.io", false, false, false),
    protocol("channel.k8s.io", false, false, false),
    protocol("v4.base64.channel.k8s.io", true, true, false),
    protocol("base64.channel.k8s.io", true, false, false),
];

impl Protocol {
    /// The first offered protocol that we speak; the oldest one if none is offered; `None` if none fits (S-10).
    pub fn choose<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Choice> {
        let mut offered = offered.into_iter().filter(|name| !name.is_empty()).peekable();
        if offered.peek().is_none() {
            return Some(Choice { protocol: PROTOCOLS[4], echo: false });
        }
        let known = offered.find_map(|name| PROTOCOLS.iter().find(|protocol| protocol.name == name));
        known.map(|protocol| Choice { protocol: *protocol, echo: true })
    }

    fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            return Message::Text(format!("{channel}{}", STANDARD.encode(bytes)).into());
        }
        let mut frame = BytesMut::with_capacity(1 + bytes.len());
        frame.put_u8(channel);
        frame.extend_from_slice(bytes);
        Message::Binary(frame.freeze())
    }

    fn decode(self, message: Message) -> Option<(u8, Bytes)> {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) => return None,
        };
        let channel = *bytes.first()?;
        if self.base64 {
            return Some((channel.checked_sub(b'0')?, STANDARD.decode(&bytes[1..]).ok()?.into()));
        }
        Some((channel, bytes.slice(1..)))
    }

    fn input(self, message: Message) -> Option<Input> {
        match self.decode(message)? {
            (STDIN, bytes) if !bytes.is_empty() => Some(Input::Stdin(bytes)),
            (RESIZE, bytes) => parse_resize(&bytes).map(Input::Resize),
            (CLOSE, bytes) if self.half_close && bytes.as_ref() == [STDIN] => Some(Input::StdinClosed),
            _ => None,
        }
    }

    fn exit(self, exit: &ExecExit) -> Option<Message> {
        if self.status {
            return Some(self.encode(ERROR, exit_status(exit).to_string().as_bytes()));
        }
        exit_text(exit).map(|text| self.encode(ERROR, text.as_bytes()))
    }
}

/// Reads a message by every protocol, for `cargo fuzz`.
pub fn read_any(bytes: &Bytes) {
    for protocol in PROTOCOLS {
        let _ = protocol.input(Message::Binary(bytes.clone()));
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = protocol.input(Message::Text(text.into()));
        }
    }
}

/// The protocol to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Which.
    pub protocol: Protocol,
    /// Whether the handshake names it.
    pub echo: bool,
}

/// Carries a session over a WebSocket until the program or the client is gone.
pub async fn run(socket: WebSocket, protocol: Protocol, wire: Wire) {
    let (sink, stream) = socket.split();
    let Wire { input, output } = wire;
    let reading = read(stream, protocol, input);
    let writing = write(sink, protocol, output);
    tokio::pin!(reading, writing);
    tokio::select! {
        biased;
        () = &mut writing => {
            // The client acknowledges the close; leaving before would reset the connection under its last bytes.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, reading).await;
        }
        () = &mut reading => {}
    }
}

async fn read(mut stream: SplitStream<WebSocket>, protocol: Protocol, input: tokio::sync::mpsc::Sender<Input>) {
    let mut open = true;
    while let Some(Ok(message)) = stream.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
        // After the program has ended the socket is still read, for the close frame.
        if open && let Some(message) = protocol.input(message) {
            open = input.send(message).await.is_ok();
        }
    }
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    protocol: Protocol,
    mut output: tokio::sync::mpsc::Receiver<Output>,
) {
    while let Some(message) = output.recv().await {
        let (channel, bytes) = match message {
            Output::Stdout(bytes) => (STDOUT, bytes),
            Output::Stderr(bytes) => (STDERR, bytes),
            Output::Exit(exit) => {
                if let Some(message) = protocol.exit(&exit)
                    && sink.send(message).await.is_err()
                {
                    return;
                }
                break;
            }
        };
        for piece in bytes.chunks(FRAME_BYTES_MAX) {
            if sink.send(protocol.encode(channel, piece)).await.is_err() {
                return;
            }
        }
    }
    let _ = sink.send(Message::Close(Some(CloseFrame { code: NORMAL_CLOSURE, reason: "".into() }))).await;
}

#[cfg(test)]
mod tests {
    use axum::extract::ws::Message;
    use client::{ExecExit, TerminalSize};

    use super::{Protocol, STDOUT};
    use crate::streams::remote::Input;

    fn chosen(offered: &[&str]) -> Option<(&'static str, bool)> {
        Protocol::choose(offered.iter().copied()).map(|choice| (choice.protocol.name, choice.echo))
    }

    #[test]
    fn the_first_offered_protocol_that_is_known_wins() {
        assert_eq!(chosen(&["v5.channel.k8s.io"]), Some(("v5.channel.k8s.io", true)));
        assert_eq!(chosen(&["x", "v4.channel.k8s.io", "v5.channel.k8s.io"]), Some(("v4.channel.k8s.io", true)));
        assert_eq!(chosen(&["SPDY/3.1+portforward.k8s.io"]), None);
        assert_eq!(chosen(&[]), Some(("channel.k8s.io", false)));
    }

    #[test]
    fn only_version_5_can_close_its_input() {
        let v5 = Protocol::choose(["v5.channel.k8s.io"]).unwrap().protocol;
        let v4 = Protocol::choose(["v4.channel.k8s.io"]).unwrap().protocol;
        let close = || Message::Binary(vec![255, 0].into());
        assert_eq!(v5.input(close()), Some(Input::StdinClosed));
        assert_eq!(v4.input(close()), None);
        assert_eq!(v4.input(Message::Text("\0text".into())), Some(Input::Stdin("text".into())));
        let resize = Message::Binary(b"\x04{\"Width\":1,\"Height\":2}".to_vec().into());
        assert_eq!(v4.input(resize), Some(Input::Resize(TerminalSize { width: 1, height: 2 })));
    }

    #[test]
    fn base64_frames_are_text() {
        let old = Protocol::choose(["base64.channel.k8s.io"]).unwrap().protocol;
        assert_eq!(old.encode(STDOUT, b"hi"), Message::Text("1aGk=".into()));
        assert_eq!(old.input(Message::Text("0aGk=".into())), Some(Input::Stdin("hi".into())));
        assert_eq!(old.exit(&ExecExit::Code(0)), None);
    }
}
