//! The write and read path of the API server as functions; decides only.

pub mod discovery;
pub mod openapi;
pub mod kinds;
pub mod page;
pub mod patch;
pub mod selector;
mod tree;
pub mod validate;
pub mod write;
