//! Patches and field ownership.
//!
//! [`json`](json_patch()), [`merge`](merge_patch) and [`strategic`](strategic_patch) compute the patched tree; the caller
//! then decodes, defaults, validates and calls [`track`] like for any update. Those ending in `_object` leave out what the
//! write puts back anyway. [`apply`] is server-side apply: it computes tree and `managedFields` together. [`settle`]
//! tells, at the end, whether anything changed at all.
//!
//! All are plain functions over [`serde_json::Value`]; what they need of a schema is a [`Place`].

mod apply;
mod basis;
mod fields;
pub(crate) mod fuzz;
mod json;
mod managed;
mod merge;
#[cfg(test)]
mod ownership_tests;
mod place;
mod strategic;
#[cfg(test)]
mod strategic_tests;

pub use apply::{Applied, ApplyRequest, apply};
pub use basis::{merge_patch_object, strategic_patch_object};
pub use fields::{Difference, FieldSet, FieldSetError, difference, stated};
pub use json::{JSON_PATCH_OPERATIONS_MAX, json_patch};
pub use managed::{Writer, settle, track};
pub use merge::merge_patch;
pub use place::Place;
pub use strategic::strategic_patch;
