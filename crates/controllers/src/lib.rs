//! Async shells of the controllers.
