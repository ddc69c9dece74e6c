//! What is running: values the runtime gives back.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use meta::{Timestamp, Uid};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::ContainerId;

/// A running sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// UID of the pod.
    pub pod: Uid,
    /// Process id, on the host, of the helper that holds the sandbox. For people; nothing is keyed by it.
    pub pid: u32,
    /// The pod's network namespace; `None` with the host's network or in memory. The kernel removes the namespace,
    /// with the links in it, only when the last handle is closed: do not keep it.
    pub netns: Option<Arc<OwnedFd>>,
    /// When it was started.
    pub started_at: Timestamp,
}

/// Why a container is no longer running.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExitReason {
    /// Its program ended with code 0.
    Completed,
    /// Its program ended with another code or by a signal.
    Error,
    /// The kernel killed it, or a process in it, for using more memory than its limit.
    OomKilled,
    /// Its program could not be started at all.
    StartError,
    /// Its helper was killed, and it with the helper; the code is not the program's own.
    SandboxDied,
}

/// The end of a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + signal if killed by one.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why, in one word.
    pub reason: ExitReason,
    /// What its program left at the termination message path (at most 4096 bytes), or why it could not start.
    pub message: String,
    /// When it was started; `None` if it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Where a container is in its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, its program not started.
    Created,
    /// Its program runs.
    Running {
        /// Process id on the host. For people; nothing is keyed by it.
        pid: u32,
        /// When it was started.
        started_at: Timestamp,
    },
    /// Its program has ended, or will never start.
    Exited(Exit),
}

/// One container, running or not, that was not removed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its id.
    pub id: ContainerId,
    /// Name in the pod's spec.
    pub name: String,
    /// How many instances of this name the pod has had before.
    pub attempt: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Its log file.
    pub log_path: PathBuf,
    /// As given at creation.
    pub annotations: BTreeMap<String, String>,
}

/// One sandbox, alive or not, that was not removed.
#[derive(Clone, Debug)]
pub struct SandboxStatus {
    /// UID of the pod.
    pub pod: Uid,
    /// Name of the pod.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// As given at creation.
    pub annotations: BTreeMap<String, String>,
    /// The sandbox if it is alive. `None`: its helper is dead and every process of the pod with it.
    pub alive: Option<Sandbox>,
    /// Its containers, by creation time.
    pub containers: Vec<ContainerStatus>,
}

/// Something happened. Each is told once to every subscriber; [`crate::Runtime::list`] holds the same facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuntimeEvent {
    /// A container's program has ended.
    ContainerExited {
        /// UID of the pod.
        pod: Uid,
        /// The container.
        container: ContainerId,
        /// How it ended.
        exit: Exit,
    },
    /// A sandbox's helper is dead, and every process of the pod with it.
    SandboxDied {
        /// UID of the pod.
        pod: Uid,
    },
}

/// How an exec ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExecExit {
    /// The program ended with this code (128 + signal if killed).
    Code(i32),
    /// It was killed because its time was over.
    TimedOut,
    /// It could not be run, or its container went away; a sentence for people.
    Failed(String),
}

/// Size of a terminal, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A running exec. Dropping it kills the program.
#[derive(Debug)]
pub struct ExecSession {
    /// Standard input; dropping the sender closes it. `None` if not asked for.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Standard output; `None` if not asked for.
    pub stdout: Option<mpsc::Receiver<Bytes>>,
    /// Standard error; `None` if not asked for or on a terminal.
    pub stderr: Option<mpsc::Receiver<Bytes>>,
    /// Sizes of the caller's terminal; `None` without a terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The end, sent after the last byte of output was handed to the channels. The receiver is dropped by the caller
    /// to kill the program.
    pub exit: oneshot::Receiver<ExecExit>,
}
