//! What the API server asks of a node directly: logs and exec.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use meta::{Status, Uid};
use tokio::sync::{mpsc, oneshot};

/// Which log, and how much of it (`PodLogOptions`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod that was authorised.
    pub pod_uid: Uid,
    /// Container name; never empty (the API server picks the default container).
    pub container: String,
    /// Go on as lines appear.
    pub follow: bool,
    /// The instance before the current one.
    pub previous: bool,
    /// Prefix each line with its RFC 3339 time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<i64>,
    /// Only lines of the last seconds.
    pub since_secs: Option<i64>,
    /// Only lines after this RFC 3339 time.
    pub since_time: Option<String>,
    /// At most so many bytes.
    pub limit_bytes: Option<i64>,
}

/// What to run in a container.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ExecRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod that was authorised.
    pub pod_uid: Uid,
    /// Container name; never empty.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The client sends standard input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants standard error.
    pub stderr: bool,
    /// Run on a terminal.
    pub tty: bool,
}

/// Size of the client's terminal, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How an exec ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExecExit {
    /// The program ended with this code (128 + signal if killed).
    Code(i32),
    /// It could not be run; a sentence for people.
    Failed(String),
}

/// A running exec: the ends that the API server holds. Dropping it kills the program.
#[derive(Debug)]
pub struct ExecSession {
    /// Standard input; dropping the sender closes it. `None` if not asked for.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Standard output; `None` if not asked for.
    pub stdout: Option<mpsc::Receiver<Bytes>>,
    /// Standard error; `None` if not asked for or with a terminal.
    pub stderr: Option<mpsc::Receiver<Bytes>>,
    /// Sizes of the client's terminal; `None` without a terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The end, sent after the last byte of output.
    pub exit: oneshot::Receiver<ExecExit>,
}

/// The streaming half of a node agent, called by the API server.
#[async_trait]
pub trait NodeStreams: Send + Sync + 'static {
    /// Streams a container's log as text.
    async fn logs(&self, request: LogRequest) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status>;

    /// Runs a program in a container.
    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, Status>;
}
