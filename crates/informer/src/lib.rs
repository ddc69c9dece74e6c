//! List-watch cache with read-your-writes, and a work queue per key.
//!
//! Here live what every part that watches the API shares: [`Informer`] (one resource, listed and then followed, as a
//! cache of typed values), [`Informers`] (one informer per kind for a whole process), [`WorkQueue`] (keys to look at,
//! each once and by one worker), [`EventRecorder`] (events for people, repeats folded) and [`Clock`]. What is not here:
//! anything that decides what a key needs; that is in the `-core` crates. Start with [`Informer`].

mod cache;
mod clock;
pub mod events;
mod follow;
mod progress;
mod queue;
mod shared;

pub use cache::{Cacheable, Cached, Change, Key, Kinded};
pub use clock::{Clock, ManualClock, SystemClock};
pub use events::{EventRecorder, EventType};
pub use follow::{Ahead, Informer, NotSeen, Scope};
pub use progress::Changes;
pub use queue::{Backoff, Outcome, WorkQueue, work};
pub use shared::Informers;
