//! Async shell of the scheduler.
