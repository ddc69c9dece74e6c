//! The write and read path of the API server as functions; decides only.

pub mod discovery;
#[doc(hidden)]
pub mod fuzz;
pub mod kinds;
pub mod openapi;
pub mod page;
pub mod patch;
pub mod selector;
pub mod table;
mod tree;
pub mod validate;
pub mod write;
