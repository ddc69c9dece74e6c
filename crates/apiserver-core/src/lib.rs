//! The write and read path of the API server as functions; decides only.

pub mod page;
pub mod patch;
pub mod selector;
