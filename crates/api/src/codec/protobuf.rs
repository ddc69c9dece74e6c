//! Kubernetes protobuf (api.md section 8).

use super::{DecodeError, Decoded, Expected};

/// Decodes a body.
///
/// # Errors
/// If it is malformed.
pub fn decode(body: &[u8], expected: Expected<'_>) -> Result<Decoded, DecodeError> {
    let _ = (body, expected);
    Err(DecodeError::Syntax { why: String::new() })
}
