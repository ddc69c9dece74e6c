//! Bytes with a hole where their own revision goes.

use bytes::Bytes;

use crate::Revision;

/// What a write stores.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Payload {
    /// The bytes, without the revision.
    pub bytes: Bytes,
    /// Where in `bytes` the decimal revision is inserted at commit; `None` stores the bytes as they are.
    pub revision_at: Option<usize>,
}

impl Payload {
    /// Bytes that do not hold their revision.
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), revision_at: None }
    }

    /// Bytes into which the decimal revision is inserted before offset `at`.
    ///
    /// # Panics
    /// If `at` lies beyond the end.
    pub fn with_revision_at(bytes: impl Into<Bytes>, at: usize) -> Self {
        let bytes = bytes.into();
        assert!(at <= bytes.len(), "the revision goes into the bytes, {at} lies beyond {}", bytes.len());
        Self { bytes, revision_at: Some(at) }
    }

    /// The bytes as they stand at `revision`.
    pub fn at(&self, revision: Revision) -> Bytes {
        let Some(at) = self.revision_at else { return self.bytes.clone() };
        let digits = revision.to_string();
        let mut whole = Vec::with_capacity(self.bytes.len() + digits.len());
        whole.extend_from_slice(&self.bytes[..at]);
        whole.extend_from_slice(digits.as_bytes());
        whole.extend_from_slice(&self.bytes[at..]);
        whole.into()
    }
}
