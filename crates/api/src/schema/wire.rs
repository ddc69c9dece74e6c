//! The form in which `cargo xtask codegen` writes the schema table and [`super::Schema`] reads it.
//!
//! JSON under zlib: easy to look into when a number seems wrong, small enough to embed, decoded once.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The whole table.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// Version of upstream's definitions, for example `1.37.0`.
    pub version: String,
    /// Types; a `TypeId` is an index into these.
    pub types: Vec<Type>,
    /// Structs; referred to by index.
    pub structs: Vec<Struct>,
    /// What can stand at the top of a request or response.
    pub roots: Vec<Root>,
}

/// One type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Type {
    /// What it is.
    #[serde(rename = "s")]
    pub shape: Shape,
    /// Its name in upstream's error texts, for example `[]v1.Container`.
    #[serde(rename = "g")]
    pub go_name: String,
    /// The allowed values of an enumerated string; for documents only, validation has its own lists.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The shapes of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shape {
    /// A struct by index.
    Struct(u16),
    /// A list of a type; repeated in protobuf.
    List(u16),
    /// A list of a type that is a message with one repeated field 1 in protobuf.
    WrappedList(u16),
    /// A map from strings to a type.
    Map(u16),
    /// Text.
    String,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Truth value.
    Bool,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A resource quantity; canonical text in JSON.
    Quantity,
    /// A 32-bit integer or text.
    IntOrString,
    /// RFC 3339 with whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Any object; raw JSON in protobuf field 1.
    RawExtension,
    /// A field set; raw JSON in protobuf field 1.
    FieldsV1,
}

/// One struct.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Struct {
    /// Package in definition names, for example `io.k8s.api.apps.v1`.
    #[serde(rename = "p")]
    pub package: String,
    /// Name, for example `StatefulSetSpec`.
    #[serde(rename = "n")]
    pub name: String,
    /// Protobuf messages whose fields stand directly in this struct's JSON: number and struct.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub embeds: Vec<(u16, u16)>,
    /// `x-kubernetes-map-type: atomic`.
    #[serde(rename = "a", default, skip_serializing_if = "is_false")]
    pub atomic: bool,
    /// `x-kubernetes-unions` and other extensions that are only handed on.
    #[serde(rename = "x", default, skip_serializing_if = "Value::is_null")]
    pub extensions: Value,
    /// Fields, sorted by JSON name.
    #[serde(rename = "f")]
    pub fields: Vec<Field>,
}

/// One field of a struct.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Field {
    /// JSON name.
    #[serde(rename = "n")]
    pub name: String,
    /// Type.
    #[serde(rename = "t")]
    pub ty: u16,
    /// Protobuf number; 0 if the field is not in protobuf or stands in an embedded message.
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    pub proto: u16,
    /// Bits of [`flag`].
    #[serde(rename = "b", default, skip_serializing_if = "is_zero")]
    pub flags: u16,
    /// Merge key of strategic merge patches.
    #[serde(rename = "k", default, skip_serializing_if = "String::is_empty")]
    pub patch_merge_key: String,
    /// Strategies of strategic merge patches, comma separated.
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub patch_strategy: String,
    /// `atomic`, `set` or `map`; empty where upstream says nothing.
    #[serde(rename = "l", default, skip_serializing_if = "String::is_empty")]
    pub list_type: String,
    /// Keys of a list of type `map`.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub list_map_keys: Vec<String>,
    /// `atomic` or `granular`; empty where upstream says nothing.
    #[serde(rename = "y", default, skip_serializing_if = "String::is_empty")]
    pub map_type: String,
    /// Value that an absent field takes.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// Bits of [`Field::flags`].
pub mod flag {
    /// Listed as required in upstream's definitions.
    pub const REQUIRED: u16 = 1;
    /// A pointer upstream: absent and zero are different.
    pub const POINTER: u16 = 2;
    /// Left out of JSON when empty.
    pub const OMIT_EMPTY: u16 = 4;
    /// Left out of JSON even if it is a struct, when all of it is empty.
    pub const OMIT_ZERO: u16 = 8;
    /// Stands in an embedded message in protobuf.
    pub const EMBEDDED: u16 = 16;
}

/// One kind that can stand at the top.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Root {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Its type.
    pub ty: u16,
    /// True for one of upstream's published definitions.
    pub published: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u16) -> bool {
    *value == 0
}
