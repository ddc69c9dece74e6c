//! Rules that many kinds share: field errors, names, metadata, label selectors.
//!
//! What only one kind knows stands with that kind in [`crate::kinds`].

pub(crate) mod conditions;
pub mod field;
pub mod metadata;
pub mod names;
pub mod selector;

pub use field::{Errors, FieldError, Path, go_quoted};
