//! Field sets: the bookkeeping of who owns which path.

mod set;
mod walk;

pub use set::{FieldSet, FieldSetError};
pub use walk::{Difference, difference, stated};

pub(crate) use set::write_element;
pub(crate) use walk::{fit_to_schema, index_items, item_element, with_structs};
