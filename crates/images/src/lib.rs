//! The content-addressed image store of one node.
//!
//! Here live import (docker-archive, OCI layout), pull from a registry, unpacking of layers with whiteouts, and the
//! list of what is there. Layers are unpacked once and shared; who mounts them is `volumes`' and the runtime's
//! business. Start with [`Images`].

mod archive;
mod disk;
#[doc(hidden)]
pub mod fuzz;
mod layer;
mod name;
mod pull;
mod record;
mod transfer;
mod twin;

pub use disk::DiskImages;
pub use layer::{LayerLimits, unpack as unpack_layer};
pub use name::normal_name;
pub use transfer::{Stage, Transfer};
pub use twin::{EveryImage, MemoryImages};

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;

/// What a container needs of an image.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Image {
    /// `sha256:…` of the image configuration: the image id.
    pub id: String,
    /// Names under which it is known, with tag or digest, normalised (`docker.io/library/redis:7`).
    pub names: Vec<String>,
    /// `repository@sha256:…` of the manifest, for `imageID` in the pod status.
    pub repo_digest: Option<String>,
    /// Unpacked layer folders, lowest first.
    pub layers: Vec<PathBuf>,
    /// `ENTRYPOINT` of the image.
    pub entrypoint: Vec<String>,
    /// `CMD` of the image.
    pub cmd: Vec<String>,
    /// `ENV` of the image, `NAME=value`.
    pub env: Vec<String>,
    /// `WORKDIR` of the image; empty for `/`.
    pub working_dir: String,
    /// `USER` of the image; empty for root.
    pub user: String,
    /// `STOPSIGNAL` of the image.
    pub stop_signal: Option<String>,
    /// Bytes of its layers, unpacked.
    pub size_bytes: u64,
}

/// User name and password, or a token, for one registry host.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryAuth({}, ***)", self.username)
    }
}

/// Why an image is not there.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name cannot be parsed.
    #[error("couldn't parse image name {name:?}: {why}")]
    InvalidName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Neither here nor, as far as asked, anywhere.
    #[error("image {name:?} is not present")]
    NotPresent {
        /// The name as given.
        name: String,
    },
    /// The registry said no, or could not be reached.
    #[error("pull {name:?}: {why}")]
    Pull {
        /// The name as given.
        name: String,
        /// What came back.
        why: String,
    },
    /// The archive or layer is damaged or hostile.
    #[error("read {what}: {why}")]
    Damaged {
        /// Archive, blob or layer.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk refused.
    #[error("{doing}")]
    Disk {
        /// What was being done, to which path.
        doing: String,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// The images of one node.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// The image of that name, if it is here.
    async fn find(&self, name: &str) -> Result<Option<Image>, ImageError>;

    /// Fetches the image from its registry; layers that are here are not fetched again. `auths` are tried by
    /// registry host (the usual config file of the user is the store's own matter).
    async fn pull(&self, name: &str, auths: &BTreeMap<String, RegistryAuth>) -> Result<Image, ImageError>;

    /// Everything that is here, by id.
    async fn list(&self) -> Result<Vec<Image>, ImageError>;
}
