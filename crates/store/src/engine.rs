//! What the store asks of an engine.

use std::sync::Arc;

use store_core::Revision;

/// Durable, ordered storage of records by revision, and of one small state.
///
/// Append-mostly on purpose: a record is filed under its revision, so a batch of new ones touches only the right edge
/// of the engine's tree. (Measured on redb with batches of 64: 121,000 records of 1 KiB a second; with a second table
/// by key it is 39,000.) The index by key lives in memory and is built at opening. Another engine is a day's work: this
/// trait and the contract tests in `tests/contract.rs`.
pub trait Engine: Send + 'static {
    /// The state of the last commit that had one.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn state(&mut self) -> Result<Option<Vec<u8>>, EngineError>;

    /// Visits all records in the order of revisions.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn scan(&mut self, visit: &mut dyn FnMut(Revision, &[u8])) -> Result<(), EngineError>;

    /// Makes the whole batch durable, or nothing of it: when it returns, a power cut takes nothing away.
    ///
    /// # Errors
    /// [`EngineCommitError::Full`] if nothing of the batch is there and the engine is as well as before (S20). After any
    /// other the store uses the engine no more, since nobody knows what the disk holds (S21).
    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), EngineCommitError>;

    /// A reader of committed records that works beside the writer.
    fn reader(&self) -> Arc<dyn EngineReader>;

    /// How much room is left; asked before each batch, so it must be cheap.
    fn room(&mut self) -> Room;
}

/// Reads committed records.
pub trait EngineReader: Send + Sync + 'static {
    /// The bytes filed under a revision; `None` if there are none (any more).
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn read(&self, revision: Revision) -> Result<Option<Vec<u8>>, EngineError>;

    /// Bytes that the engine takes on disk; 0 if it has no disk.
    fn bytes_on_disk(&self) -> u64;
}

/// What one commit changes.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The new state; `None` leaves it.
    pub state: Option<Vec<u8>>,
    /// Records to add, ascending.
    pub records: Vec<(Revision, Vec<u8>)>,
    /// Records to forget.
    pub dropped: &'a [Revision],
}

/// How much room an engine has left (S20).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Enough.
    Ample,
    /// Below the reserve: new keys are refused, what is there may still change.
    Low,
    /// Far below the reserve: only deletions.
    Exhausted,
}

/// Why an engine did not commit.
#[derive(Debug, thiserror::Error)]
pub enum EngineCommitError {
    /// The disk has no room for the batch; nothing of it is there.
    #[error("the disk is full")]
    Full,
    /// Nobody knows what of the batch is there.
    #[error(transparent)]
    Broken(#[from] EngineError),
}

impl From<EngineCommitError> for EngineError {
    fn from(error: EngineCommitError) -> Self {
        match error {
            EngineCommitError::Full => Self::new("write to the store", "the disk is full; free space on it"),
            EngineCommitError::Broken(error) => error,
        }
    }
}

/// Why an engine could not do it.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct EngineError {
    /// What was being done.
    pub doing: String,
    /// What came back.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl EngineError {
    pub(crate) fn new(doing: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { doing: doing.to_owned(), source: source.into() }
    }

    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.doing.clone();
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self.source.as_ref());
        while let Some(error) = next {
            text = format!("{text}: {error}");
            next = error.source();
        }
        text
    }
}
