//! The bytes of an object as they are stored, listed and watched: encoded once, with a hole for their own revision.

use serde_json::Value;
use store_core::Payload;

/// Encodes an object for the store.
pub fn encode(object: &Value) -> Payload {
    let api::encode::Stored { bytes, revision_at } = api::encode::stored(object);
    Payload { bytes, revision_at }
}
