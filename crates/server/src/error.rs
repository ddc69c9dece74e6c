//! Why a server does not start or stop, each with the way out.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made.
    #[error("create {path:?}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// `cluster.json` cannot be read or written.
    #[error("{path:?}: {why}; it is written once and names the cluster: restore it from a backup of the data folder")]
    ClusterFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Every range overlaps what the host routes.
    #[error(
        "no free address range: everything in 10.64.0.0/10 is routed on this host already; start in a network namespace of its own"
    )]
    NoRange,
    /// The port is taken, or the address is not this host's.
    #[error("listen on {address} ({})", listen_remedy(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The network.
    #[error("prepare the pods' network")]
    Network(#[from] pod_network::NetworkError),
    /// The store.
    #[error("{}", store_sentence(.0))]
    Store(#[from] store::OpenError),
    /// Keys and certificates.
    #[error("prepare keys and certificates")]
    Pki(#[from] pki::PkiError),
    /// Another part.
    #[error("start the {part}: {why}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why, with its causes.
        why: String,
    },
}

/// What to do about an address that cannot be listened on.
fn listen_remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program has the port: --listen 127.0.0.1:0 picks a free one",
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine does not have the address: --listen takes one of its own, for example 127.0.0.1:6443"
        }
        _ => "--listen takes another address and port",
    }
}

/// What is wrong with the store, with the way out where the cause has none.
fn store_sentence(error: &store::OpenError) -> &'static str {
    match error {
        store::OpenError::Engine(_) | store::OpenError::State(_) => {
            "the store in the data folder cannot be opened: restore the data folder from a backup, or delete it with \
             `roadstead down --delete-data` and start with an empty one"
        }
        store::OpenError::Folder { .. } | store::OpenError::Locked(_) => "open the store",
    }
}

impl StartError {
    /// A part's own error, with its causes.
    pub(crate) fn part<E: std::error::Error>(part: &'static str) -> impl FnOnce(E) -> Self {
        move |error| {
            let mut why = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                why.push_str(": ");
                why.push_str(&inner.to_string());
                cause = inner.source();
            }
            Self::Part { part, why }
        }
    }
}

/// Why a running server ended by itself, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The store lost its disk: nothing may be acknowledged any more.
    #[error("the store stopped: {0}; free the disk or repair it, then start again: everything acknowledged is kept")]
    Store(String),
}
