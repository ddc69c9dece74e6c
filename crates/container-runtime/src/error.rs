//! Why the runtime could not do it.

use std::io;

use meta::Uid;
use serde::{Deserialize, Serialize};

use crate::ContainerId;

/// Why the runtime could not do it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The pod has no sandbox here, or it is dead.
    #[error("pod {pod} has no running sandbox")]
    NoSandbox {
        /// UID of the pod.
        pod: Uid,
    },
    /// The pod has no such container here.
    #[error("pod {pod} has no container {container}")]
    NoContainer {
        /// UID of the pod.
        pod: Uid,
        /// The container.
        container: ContainerId,
    },
    /// The container is not in the state that the operation needs.
    #[error("container {container} {why}")]
    WrongState {
        /// The container.
        container: ContainerId,
        /// For example `is not running`.
        why: String,
    },
    /// The container could not be made (`CreateContainerError`): a mount, the root file system, the user.
    #[error("{why}")]
    Create {
        /// A sentence for people.
        why: String,
    },
    /// The container's program could not be started (`RunContainerError`, reason `StartError`, code 128).
    #[error("{why}")]
    Start {
        /// A sentence for people.
        why: String,
    },
    /// The sandbox could not be made.
    #[error("{doing}: {why}")]
    Sandbox {
        /// What was being done.
        doing: String,
        /// What came back.
        why: String,
    },
    /// The helper answered something unexpected, or went away while being asked.
    #[error("{doing}: {why}")]
    Helper {
        /// What was being asked of it.
        doing: String,
        /// What came back.
        why: String,
    },
    /// The operating system refused.
    #[error("{doing}")]
    Os {
        /// What was being done, to what.
        doing: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
}

impl RuntimeError {
    /// True if the sandbox or container is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoSandbox { .. } | Self::NoContainer { .. })
    }

    pub(crate) fn os(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Os { doing, source }
    }
}

/// A refusal as it crosses the helper's socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Refusal {
    NoContainer,
    WrongState(String),
    Create(String),
    Start(String),
    Other(String),
}

impl Refusal {
    pub(crate) fn into_error(self, pod: &Uid, container: &ContainerId, doing: &str) -> RuntimeError {
        match self {
            Self::NoContainer => RuntimeError::NoContainer { pod: pod.clone(), container: container.clone() },
            Self::WrongState(why) => RuntimeError::WrongState { container: container.clone(), why },
            Self::Create(why) => RuntimeError::Create { why },
            Self::Start(why) => RuntimeError::Start { why },
            Self::Other(why) => RuntimeError::Helper { doing: doing.to_owned(), why },
        }
    }
}
