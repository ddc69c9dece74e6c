//! Bytes with a hole where their own revision goes.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::Revision;

/// What a writer made bytes from, for the first who reads them: it need not be made from the bytes again. It is no part
/// of what is stored, so all seeds are equal.
#[derive(Clone, Default)]
pub struct Seed(Option<Arc<Mutex<Left>>>);

/// `None` once somebody has taken it.
type Left = Option<Box<dyn Any + Send>>;

impl Seed {
    /// Something to take once.
    pub fn new<T: Send + 'static>(value: T) -> Self {
        Self(Some(Arc::new(Mutex::new(Some(Box::new(value))))))
    }

    /// What is in it, unless somebody has taken it or it is of another type.
    pub fn take<T: 'static>(&self) -> Option<T> {
        let taken = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        taken.downcast().ok().map(|value| *value)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

impl PartialEq for Seed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Seed {}

/// What a write stores.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Payload {
    /// The bytes, without the revision.
    pub bytes: Bytes,
    /// Where in `bytes` the decimal revision is inserted at commit; `None` stores the bytes as they are.
    pub revision_at: Option<usize>,
    /// What the bytes were made from; see [`crate::Record::companion`].
    pub seed: Seed,
}

impl Payload {
    /// Bytes that do not hold their revision.
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), revision_at: None, seed: Seed::default() }
    }

    /// Bytes into which the decimal revision is inserted before offset `at`.
    ///
    /// # Panics
    /// If `at` lies beyond the end.
    pub fn with_revision_at(bytes: impl Into<Bytes>, at: usize) -> Self {
        let bytes = bytes.into();
        assert!(at <= bytes.len(), "the revision goes into the bytes, {at} lies beyond {}", bytes.len());
        Self { bytes, revision_at: Some(at), seed: Seed::default() }
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
