//! Kubernetes object types in one place: the kind table, the schema table, decoding and encoding of trees.
//!
//! Objects in the API server are [`serde_json::Value`] trees described by one generated [`schema`] table. Here live the
//! row type of the [`Kind`] table, that table and its reader, the codecs (JSON, YAML, protobuf) with the strict field
//! check, [`defaults`] and the encoding for the store. What is not here: the rows themselves and anything that
//! validates or decides (`apiserver-core`). Start with [`Kind`], [`schema::Schema`] and [`codec::decode`].

pub mod codec;
pub mod defaults;
pub mod encode;
pub mod kind;
pub mod resources;
pub mod schema;

pub use kind::{
    ALL_VERBS, ALL_VERBS_BUT_DELETE_COLLECTION, CREATE_ONLY, DeleteAnswer, GET_PATCH_UPDATE, Generation, Gvk, Kind,
    Scope, Subresource, UpdateOfMissing, UpdateWithoutVersion, Verb,
};
