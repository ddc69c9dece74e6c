//! JSON merge patch, RFC 7386 (P-15).

use serde_json::Value;

/// The document after the patch: objects merge, null deletes, all else replaces.
pub fn merge_patch(mut document: Value, patch: &Value) -> Value {
    json_patch::merge(&mut document, patch);
    document
}
