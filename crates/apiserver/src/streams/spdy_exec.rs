//! A remote command over SPDY/3.1 (S-25 to S-28).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::ExecExit;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use crate::streams::remote::{Input, Output, Wire, exit_status, exit_text, parse_resize};
use crate::streams::spdy::{Decoder, Encoder, Frame, FrameError, StreamId};

/// Time in which the client must open its streams.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that a client has to hang up after the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest piece of output in one frame.
const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Frames that wait to be written.
const QUEUED_MAX: usize = 16;
/// Bytes of a resize message that has not ended yet.
const RESIZE_BYTES_MAX: usize = 1024;

/// The protocols that SPDY clients may name, newest first.
pub const PROTOCOLS: [&str; 4] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// Which streams the client must open before the program's output can go anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Sizes of the terminal; only from the third version on.
    pub resize: bool,
    /// The end is told as a Status (v4), else as text.
    pub status: bool,
}

impl Expected {
    fn names(self) -> impl Iterator<Item = &'static str> {
        let wanted = [(true, "error"), (self.stdin, "stdin"), (self.stdout, "stdout"), (self.stderr, "stderr")];
        wanted.into_iter().chain([(self.resize, "resize")]).filter(|(wanted, _)| *wanted).map(|(_, name)| name)
    }
}

/// Why a session could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection broke.
    #[error("read from the client")]
    Read(#[from] std::io::Error),
    /// The client does not speak SPDY.
    #[error("understand the client")]
    Frame(#[from] FrameError),
    /// Not all streams were opened in time.
    #[error("the client did not open its streams within {OPEN_TIMEOUT:?}")]
    OpenTimeout,
}

/// Carries a session over an upgraded connection until the program or the client is gone.
///
/// # Errors
/// [`SessionError`] if the client went away or talked nonsense.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    connection: S,
    expected: Expected,
    wire: Wire,
) -> Result<(), SessionError> {
    let (reader, writer) = tokio::io::split(connection);
    let (replies, to_write) = mpsc::channel(QUEUED_MAX);
    let mut reader =
        Reader { reader, decoder: Decoder::default(), replies, streams: BTreeMap::new(), early: Vec::new() };
    let mut writer = Writer { writer, encoder: Encoder::default(), out: BytesMut::new() };
    let opening = tokio::time::timeout(OPEN_TIMEOUT, reader.open(expected));
    let mut to_write = to_write;
    {
        let answering = writer.answer(&mut to_write);
        tokio::pin!(opening, answering);
        tokio::select! {
            opened = &mut opening => opened.map_err(|_| SessionError::OpenTimeout)??,
            answered = &mut answering => return Ok(answered?),
        }
    }
    let streams = reader.streams.clone();
    let Wire { input, output } = wire;
    let reading = reader.read(input);
    let writing = writer.write(to_write, output, &streams, expected);
    tokio::pin!(reading, writing);
    tokio::select! {
        biased;
        written = &mut writing => {
            written?;
            // The client hangs up after the last byte; leaving before could reset the connection under it.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, reading).await;
            Ok(())
        }
        read = &mut reading => read,
    }
}

/// What the reader asks the writer to say.
#[derive(Debug)]
enum Reply {
    Accept(StreamId),
    Ping(u32),
}

type Streams = BTreeMap<&'static str, StreamId>;

struct Reader<S> {
    reader: ReadHalf<S>,
    decoder: Decoder,
    replies: mpsc::Sender<Reply>,
    streams: Streams,
    /// Frames that came before all streams were open.
    early: Vec<Frame>,
}

impl<S: AsyncRead> Reader<S> {
    async fn next(&mut self) -> Result<Option<Frame>, SessionError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            if self.reader.read_buf(self.decoder.buffer()).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn open(&mut self, expected: Expected) -> Result<(), SessionError> {
        while !expected.names().all(|name| self.streams.contains_key(name)) {
            let Some(frame) = self.next().await? else {
                return Err(SessionError::Read(std::io::ErrorKind::UnexpectedEof.into()));
            };
            match frame {
                Frame::Open { .. } | Frame::Ping(_) => self.answer(frame).await,
                Frame::Data { .. } => self.early.push(frame),
                Frame::Reset(_) | Frame::GoAway | Frame::Ignored => {}
            }
        }
        Ok(())
    }

    async fn answer(&mut self, frame: Frame) {
        let reply = match frame {
            Frame::Open { stream, headers, .. } => {
                let kind = headers.iter().find(|(name, _)| name == "streamtype").map(|(_, kind)| kind.as_str());
                let known = ["error", "stdin", "stdout", "stderr", "resize"];
                if let Some(name) = known.into_iter().find(|name| Some(*name) == kind) {
                    self.streams.insert(name, stream);
                }
                Reply::Accept(stream)
            }
            Frame::Ping(id) => Reply::Ping(id),
            Frame::Data { .. } | Frame::Reset(_) | Frame::GoAway | Frame::Ignored => return,
        };
        let _ = self.replies.send(reply).await;
    }

    async fn read(mut self, input: mpsc::Sender<Input>) -> Result<(), SessionError> {
        let mut resize = BytesMut::new();
        let mut early = std::mem::take(&mut self.early).into_iter();
        loop {
            let frame = match early.next() {
                Some(frame) => frame,
                None => match self.next().await? {
                    Some(frame) => frame,
                    None => return Ok(()),
                },
            };
            let of = |name: &str| self.streams.get(name).copied();
            match frame {
                Frame::Data { stream, fin, bytes } if Some(stream) == of("stdin") => {
                    if !bytes.is_empty() {
                        let _ = input.send(Input::Stdin(bytes)).await;
                    }
                    if fin {
                        let _ = input.send(Input::StdinClosed).await;
                    }
                }
                Frame::Data { stream, bytes, .. } if Some(stream) == of("resize") => {
                    for size in sizes(&mut resize, &bytes) {
                        let _ = input.send(size).await;
                    }
                }
                Frame::Reset(stream) if Some(stream) == of("stdin") => {
                    let _ = input.send(Input::StdinClosed).await;
                }
                Frame::Open { .. } | Frame::Ping(_) => self.answer(frame).await,
                Frame::Data { .. } | Frame::Reset(_) | Frame::GoAway | Frame::Ignored => {}
            }
        }
    }
}

/// The sizes that are complete, one JSON document each; what is not complete stays in `pending`.
fn sizes(pending: &mut BytesMut, bytes: &Bytes) -> Vec<Input> {
    pending.extend_from_slice(bytes);
    let mut sizes = Vec::new();
    while let Some(end) = pending.iter().position(|&byte| byte == b'}') {
        let document = pending.split_to(end + 1);
        sizes.extend(parse_resize(document.trim_ascii()).map(Input::Resize));
    }
    if pending.len() > RESIZE_BYTES_MAX {
        pending.clear();
    }
    sizes
}

struct Writer<S> {
    writer: WriteHalf<S>,
    encoder: Encoder,
    out: BytesMut,
}

impl<S: AsyncWrite> Writer<S> {
    /// Writes replies for as long as there is somebody who asks for them.
    async fn answer(&mut self, replies: &mut mpsc::Receiver<Reply>) -> Result<(), std::io::Error> {
        while let Some(reply) = replies.recv().await {
            self.reply(&reply);
            self.flush().await?;
        }
        Ok(())
    }

    async fn write(
        mut self,
        mut replies: mpsc::Receiver<Reply>,
        mut output: mpsc::Receiver<Output>,
        streams: &Streams,
        expected: Expected,
    ) -> Result<(), SessionError> {
        loop {
            let output = tokio::select! {
                biased;
                Some(reply) = replies.recv() => {
                    self.reply(&reply);
                    None
                }
                output = output.recv() => match output {
                    Some(output) => Some(output),
                    None => return Ok(()),
                },
            };
            match output {
                Some(Output::Stdout(bytes)) => self.data(streams.get("stdout"), &bytes),
                Some(Output::Stderr(bytes)) => self.data(streams.get("stderr"), &bytes),
                Some(Output::Exit(exit)) => {
                    self.end(&exit, streams, expected);
                    self.flush().await?;
                    self.writer.shutdown().await?;
                    return Ok(());
                }
                None => {}
            }
            self.flush().await?;
        }
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Accept(stream) => self.encoder.reply(*stream, &mut self.out),
            Reply::Ping(id) => self.encoder.ping(*id, &mut self.out),
        }
    }

    fn data(&mut self, stream: Option<&StreamId>, bytes: &[u8]) {
        if let Some(stream) = stream {
            for piece in bytes.chunks(FRAME_BYTES_MAX) {
                self.encoder.data(*stream, false, piece, &mut self.out);
            }
        }
    }

    fn end(&mut self, exit: &ExecExit, streams: &Streams, expected: Expected) {
        let text = if expected.status { Some(exit_status(exit).to_string()) } else { exit_text(exit) };
        for name in ["stdout", "stderr"] {
            if let Some(stream) = streams.get(name) {
                self.encoder.data(*stream, true, b"", &mut self.out);
            }
        }
        if let Some(stream) = streams.get("error") {
            self.encoder.data(*stream, true, text.unwrap_or_default().as_bytes(), &mut self.out);
        }
        self.encoder.go_away(streams.values().max().copied().unwrap_or_default(), &mut self.out);
    }

    async fn flush(&mut self) -> Result<(), std::io::Error> {
        self.writer.write_all_buf(&mut self.out).await?;
        self.writer.flush().await
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use client::ExecExit;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::{Expected, run};
    use crate::streams::remote::{Input, Output, Wire};
    use crate::streams::spdy::{Decoder, Encoder, Frame};

    #[tokio::test]
    async fn a_client_that_writes_early_gets_its_echo_and_the_exit_code() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let (input, mut inputs) = mpsc::channel(4);
        let (outputs, output) = mpsc::channel(4);
        let expected = Expected { stdin: true, stdout: true, stderr: false, resize: false, status: true };
        let session = run(server, expected, Wire { input, output });

        let mut wire = BytesMut::new();
        let mut encoder = Encoder::default();
        encoder.open(1, &[("streamtype", "error")], &mut wire);
        encoder.open(3, &[("streamtype", "stdin")], &mut wire);
        encoder.data(3, true, b"early", &mut wire);
        encoder.open(5, &[("streamtype", "stdout")], &mut wire);
        client.write_all(&wire).await.unwrap();

        let program = async move {
            assert_eq!(inputs.recv().await, Some(Input::Stdin("early".into())));
            assert_eq!(inputs.recv().await, Some(Input::StdinClosed));
            outputs.send(Output::Stdout("late".into())).await.unwrap();
            outputs.send(Output::Exit(ExecExit::Code(7))).await.unwrap();
        };
        let reading = async move {
            let mut decoder = Decoder::default();
            while client.read_buf(decoder.buffer()).await.unwrap() > 0 {}
            let mut data = Vec::new();
            while let Some(frame) = decoder.next().unwrap() {
                if let Frame::Data { stream, fin, bytes } = frame {
                    data.push((stream, fin, bytes));
                }
            }
            data
        };
        let (ended, data, ()) = tokio::join!(session, reading, program);
        ended.unwrap();
        assert_eq!(data[0], (5, false, Bytes::from("late")));
        assert_eq!(data[1], (5, true, Bytes::new()));
        assert_eq!((data[2].0, data[2].1), (1, true));
        assert!(String::from_utf8_lossy(&data[2].2).contains("\"reason\":\"ExitCode\""));
    }
}
