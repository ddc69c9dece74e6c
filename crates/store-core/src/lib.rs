//! The deciding half of the store: revisions, a multi-version index, transactions, watch positions and compaction over
//! opaque bytes.
//!
//! Nothing here knows the time, a file or a thread: [`Index::stage`] decides what a transaction does, the shell (crate
//! `store`) makes it durable, [`Index::publish`] makes it visible. What the bytes mean is the API server's affair.
//! Start with [`Transaction`], then [`Index`].
//!
//! **One revision for each operation, not for each transaction.** A transaction takes consecutive revisions, one for
//! every key that it changes. So the order of events is total and a revision names exactly one event: a client that
//! was cut off after the first event of a transaction resumes behind that one and misses nothing (S16). The published
//! revision moves only at the end of a transaction, so a latest read never sees half of one.

#[doc(hidden)]
pub mod fuzz;
mod history;
mod index;
mod key;
mod payload;
mod record;
mod staged;
mod transaction;

pub use history::{Catchup, HistoryLimits};
pub use index::{At, Index, Quarantined, Range, Retained, Slice, Stored};
pub use key::{Key, Revision};
pub use payload::{Payload, Seed};
pub use record::{
    DecodeError, Event, EventKind, Head, Record, RecordView, StoreState, decode_name, decode_record, encode_record,
};
pub use staged::Staged;
pub use transaction::{Applied, Expected, Op, Transaction, TransactionError};

#[cfg(test)]
mod tests;
