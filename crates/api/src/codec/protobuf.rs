//! Kubernetes protobuf: an envelope with the type, and the kind's own message (api.md section 8).
//!
//! Both directions walk the schema table; there are no generated message types. [`encode`] and [`ListEncoder`] write
//! responses, `decode` reads request bodies.

mod read;
mod write;

pub use read::decode;
pub use write::{EncodeError, ListEncoder, encode, watch_event};

/// What every body begins with (B-1).
pub const MAGIC: &[u8; 4] = b"k8s\0";
