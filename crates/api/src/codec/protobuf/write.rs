//! From trees to bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::scalar;
use super::MAGIC;
use crate::Gvk;
use crate::schema::{Schema, Shape, Struct, TypeId, WireSlot};

/// Why a tree has no protobuf form; the caller answers in JSON instead (B-7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The schema has no such kind.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    NotRegistered {
        /// Kind.
        kind: String,
        /// Group and version.
        api_version: String,
    },
    /// A value is not of its field's type.
    #[error("field {field} does not hold a {expected}")]
    Mismatch {
        /// JSON name of the field.
        field: String,
        /// Type in upstream's words.
        expected: &'static str,
    },
}

/// Encodes an object with its envelope.
///
/// # Errors
/// [`EncodeError::NotRegistered`] for kinds without a schema, [`EncodeError::Mismatch`] for trees that are none.
pub fn encode(tree: &Value) -> Result<Vec<u8>, EncodeError> {
    let text = |key: &str| tree.get(key).and_then(Value::as_str).unwrap_or_default();
    let gvk = Gvk::parse(text("apiVersion"), text("kind"));
    let ty = root(gvk)?;
    let mut out = begin(gvk);
    let start = open(&mut out, 2);
    write_value(&mut out, Schema::get(), ty, tree, gvk.kind)?;
    close(&mut out, start);
    end(&mut out);
    Ok(out)
}

/// `meta.v1.WatchEvent` of an encoded object, with its length in front (B-2).
pub fn watch_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut event = Vec::with_capacity(object.len() + 32);
    event.extend_from_slice(&[0; 4]);
    bytes_field(&mut event, 1, kind.as_bytes());
    let start = open(&mut event, 2);
    bytes_field(&mut event, 1, object);
    close(&mut event, start);
    let length = u32::try_from(event.len() - 4).unwrap_or(u32::MAX);
    event[..4].copy_from_slice(&length.to_be_bytes());
    event
}

/// Encodes a list item by item, so that only one item's tree is in memory at a time.
#[derive(Debug)]
pub struct ListEncoder {
    out: Vec<u8>,
    raw_start: usize,
    item: TypeId,
}

impl ListEncoder {
    /// Begins the list of kind `gvk` (for example `PodList`) with its `metadata`.
    ///
    /// # Errors
    /// As [`encode`]; also if the kind is no list.
    pub fn new(gvk: Gvk<'_>, metadata: &Value) -> Result<Self, EncodeError> {
        let schema = Schema::get();
        let ty = root(gvk)?;
        let not_a_list = || EncodeError::NotRegistered { kind: gvk.kind.to_owned(), api_version: gvk.api_version() };
        let item = schema.field(ty, "items").and_then(|f| schema.element(f.ty)).ok_or_else(not_a_list)?;
        let metadata_type = schema.field(ty, "metadata").ok_or_else(not_a_list)?.ty;
        let mut out = begin(gvk);
        let raw_start = open(&mut out, 2);
        let start = open(&mut out, 1);
        write_value(&mut out, schema, metadata_type, metadata, "metadata")?;
        close(&mut out, start);
        Ok(Self { out, raw_start, item })
    }

    /// Adds an item.
    ///
    /// # Errors
    /// [`EncodeError::Mismatch`]; the list is as it was before.
    pub fn push(&mut self, item: &Value) -> Result<(), EncodeError> {
        let before = self.out.len();
        let start = open(&mut self.out, 2);
        let written = write_value(&mut self.out, Schema::get(), self.item, item, "items");
        match written {
            Ok(()) => close(&mut self.out, start),
            Err(_) => self.out.truncate(before),
        }
        written
    }

    /// The encoded list.
    pub fn finish(mut self) -> Vec<u8> {
        close(&mut self.out, self.raw_start);
        end(&mut self.out);
        self.out
    }
}

fn root(gvk: Gvk<'_>) -> Result<TypeId, EncodeError> {
    Schema::get()
        .root(gvk)
        .ok_or_else(|| EncodeError::NotRegistered { kind: gvk.kind.to_owned(), api_version: gvk.api_version() })
}

/// The magic bytes and the type.
fn begin(gvk: Gvk<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(MAGIC);
    let start = open(&mut out, 1);
    bytes_field(&mut out, 1, gvk.api_version().as_bytes());
    bytes_field(&mut out, 2, gvk.kind.as_bytes());
    close(&mut out, start);
    out
}

/// Empty content encoding and content type, as upstream writes them.
fn end(out: &mut Vec<u8>) {
    bytes_field(out, 3, b"");
    bytes_field(out, 4, b"");
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_field(out: &mut Vec<u8>, number: u16, value: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, value);
}

fn bytes_field(out: &mut Vec<u8>, number: u16, bytes: &[u8]) {
    varint(out, (u64::from(number) << 3) | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Begins a nested message whose length is not known yet: one byte is left for it.
fn open(out: &mut Vec<u8>, number: u16) -> usize {
    varint(out, (u64::from(number) << 3) | 2);
    out.push(0);
    out.len()
}

/// Ends a nested message: writes its length, moving the message if that takes more than one byte.
fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    varint(&mut prefix, length as u64);
    out.splice(start - 1..start, prefix);
}

fn mismatch(schema: &'static Schema, ty: TypeId, field: &str) -> EncodeError {
    EncodeError::Mismatch { field: field.to_owned(), expected: schema.ty(ty).go_name }
}

fn write_struct(
    out: &mut Vec<u8>,
    schema: &'static Schema,
    structure: &Struct,
    map: &Map<String, Value>,
) -> Result<(), EncodeError> {
    for (number, slot) in structure.wire.iter() {
        match slot {
            WireSlot::Embed(id) => {
                let start = open(out, *number);
                write_struct(out, schema, schema.structure(*id), map)?;
                close(out, start);
            }
            WireSlot::Field(index) => {
                let field = &structure.fields[usize::from(*index)];
                if let Some(value) = map.get(field.name).filter(|v| !v.is_null()) {
                    write_field(out, schema, *number, field.ty, value, field.name)?;
                }
            }
        }
    }
    Ok(())
}

/// One field, with its number.
fn write_field(
    out: &mut Vec<u8>,
    schema: &'static Schema,
    number: u16,
    ty: TypeId,
    value: &Value,
    name: &str,
) -> Result<(), EncodeError> {
    let wrong = || mismatch(schema, ty, name);
    match schema.shape(ty) {
        Shape::Bool => varint_field(out, number, u64::from(value.as_bool().ok_or_else(wrong)?)),
        // Negative numbers take ten bytes, as protobuf's int32 and int64 do.
        Shape::Int32 | Shape::Int64 => varint_field(out, number, value.as_i64().ok_or_else(wrong)? as u64),
        Shape::String => bytes_field(out, number, value.as_str().ok_or_else(wrong)?.as_bytes()),
        Shape::Bytes => {
            let raw = STANDARD.decode(value.as_str().ok_or_else(wrong)?).map_err(|_| wrong())?;
            bytes_field(out, number, &raw);
        }
        Shape::List(elem) => {
            for item in value.as_array().ok_or_else(wrong)? {
                write_field(out, schema, number, elem, item, name)?;
            }
        }
        Shape::Map(elem) => {
            for (key, item) in value.as_object().ok_or_else(wrong)? {
                let start = open(out, number);
                bytes_field(out, 1, key.as_bytes());
                write_field(out, schema, 2, elem, item, name)?;
                close(out, start);
            }
        }
        Shape::Struct(_)
        | Shape::WrappedList(_)
        | Shape::Quantity
        | Shape::IntOrString
        | Shape::Time
        | Shape::MicroTime
        | Shape::RawExtension
        | Shape::FieldsV1 => {
            let start = open(out, number);
            write_value(out, schema, ty, value, name)?;
            close(out, start);
        }
    }
    Ok(())
}

/// The content of a message type.
fn write_value(
    out: &mut Vec<u8>,
    schema: &'static Schema,
    ty: TypeId,
    value: &Value,
    name: &str,
) -> Result<(), EncodeError> {
    let wrong = || mismatch(schema, ty, name);
    match schema.shape(ty) {
        Shape::Struct(id) => {
            write_struct(out, schema, schema.structure(id), value.as_object().ok_or_else(wrong)?)?;
        }
        Shape::WrappedList(elem) => {
            for item in value.as_array().ok_or_else(wrong)? {
                write_field(out, schema, 1, elem, item, name)?;
            }
        }
        Shape::Quantity => bytes_field(out, 1, value.as_str().ok_or_else(wrong)?.as_bytes()),
        Shape::IntOrString => match value {
            Value::String(text) => {
                varint_field(out, 1, 1);
                varint_field(out, 2, 0);
                bytes_field(out, 3, text.as_bytes());
            }
            number => {
                varint_field(out, 1, 0);
                varint_field(out, 2, number.as_i64().ok_or_else(wrong)? as u64);
                bytes_field(out, 3, b"");
            }
        },
        // No time is an empty message (B-3).
        Shape::Time | Shape::MicroTime if value.is_null() => {}
        Shape::Time | Shape::MicroTime => {
            let text = value.as_str().ok_or_else(wrong)?;
            let moment = scalar::moment(text, "").map_err(|_| wrong())?;
            varint_field(out, 1, moment.as_second() as u64);
            varint_field(out, 2, i64::from(moment.subsec_nanosecond()) as u64);
        }
        Shape::RawExtension | Shape::FieldsV1 => {
            if !value.is_null() {
                bytes_field(out, 1, value.to_string().as_bytes());
            }
        }
        Shape::String | Shape::Bytes | Shape::Bool | Shape::Int32 | Shape::Int64 | Shape::List(_) | Shape::Map(_) => {
            return Err(wrong());
        }
    }
    Ok(())
}
