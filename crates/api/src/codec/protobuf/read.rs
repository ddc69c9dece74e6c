//! From bytes to trees.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::problem::summary;
use super::super::typed::Reader;
use super::super::{DecodeError, Decoded, ELEMENTS_MAX, Expected, Mode, check_gvk, scalar};
use super::MAGIC;
use crate::schema::{Schema, Shape, Struct, TypeId, WireSlot};

/// Decodes a body: the envelope, and the message in it. Unknown fields are dropped silently (B-10).
///
/// # Errors
/// A [`DecodeError`]: no envelope, another kind, or a malformed message.
pub fn decode(body: &[u8], expected: Expected<'_>) -> Result<Decoded, DecodeError> {
    let unrecognized =
        |why: String| DecodeError::Unrecognized { kind: expected.gvk.kind.to_owned(), why, summary: summary(body) };
    let Some(envelope) = body.strip_prefix(MAGIC) else {
        let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
        return Err(unrecognized(why.to_owned()));
    };
    let envelope = Envelope::read(envelope).map_err(|e| unrecognized(e.to_string()))?;
    check_gvk(&envelope.api_version, &envelope.kind, expected)?;
    let schema = Schema::get();
    let ty = super::super::root_type(expected.gvk)?;
    let mut message = MessageReader { schema, reader: Reader::new(Mode::Typed), elements_left: ELEMENTS_MAX };
    let mut tree = message.value(ty, envelope.raw).map_err(|e| DecodeError::unhandled(expected.gvk, e.to_string()))?;
    if let Value::Object(map) = &mut tree {
        let or = |text: String, other: String| if text.is_empty() { other } else { text };
        map.insert("apiVersion".to_owned(), or(envelope.api_version, expected.gvk.api_version()).into());
        map.insert("kind".to_owned(), or(envelope.kind, expected.gvk.kind.to_owned()).into());
    }
    Ok(Decoded { tree, problems: Vec::new() })
}

/// What is wrong with a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("proto: unexpected end of data")]
    Truncated,
    #[error("proto: integer overflow")]
    Varint,
    #[error("proto: illegal wire type {0}")]
    WireType(u64),
    #[error("proto: wrong wireType = {found} for field {field}")]
    Mismatch { found: u64, field: String },
    #[error("proto: the object has more than {ELEMENTS_MAX} list items and map entries")]
    TooMany,
    #[error("{0}")]
    Value(String),
}

/// `runtime.Unknown` (B-1).
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut envelope = Self::default();
        let mut wire = Wire(bytes);
        while let Some((number, payload)) = wire.field()? {
            match (number, payload) {
                (1, Payload::Bytes(bytes)) => {
                    let mut inner = Wire(bytes);
                    while let Some((number, payload)) = inner.field()? {
                        match (number, payload) {
                            (1, Payload::Bytes(text)) => envelope.api_version = utf8(text),
                            (2, Payload::Bytes(text)) => envelope.kind = utf8(text),
                            _ => {}
                        }
                    }
                }
                (2, Payload::Bytes(raw)) => envelope.raw = raw,
                _ => {}
            }
        }
        Ok(envelope)
    }
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Unread bytes of a message.
struct Wire<'a>(&'a [u8]);

/// The payload of one field.
#[derive(Clone, Copy)]
enum Payload<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

impl Payload<'_> {
    fn wire_type(self) -> u64 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed => 1,
            Self::Bytes(_) => 2,
        }
    }
}

impl<'a> Wire<'a> {
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (i, byte) in (0..).zip(self.0) {
            if i == 9 && *byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(WireError::Truncated)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        let count = usize::try_from(count).map_err(|_| WireError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next field's number and payload; `None` at the end.
    fn field(&mut self) -> Result<Option<(u64, Payload<'a>)>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => self.take(8).map(|_| Payload::Fixed)?,
            2 => {
                let length = self.varint()?;
                Payload::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Payload::Fixed)?,
            other => return Err(WireError::WireType(other)),
        };
        Ok(Some((tag >> 3, payload)))
    }
}

struct MessageReader {
    schema: &'static Schema,
    reader: Reader,
    elements_left: usize,
}

impl MessageReader {
    fn count_element(&mut self) -> Result<(), WireError> {
        self.elements_left = self.elements_left.checked_sub(1).ok_or(WireError::TooMany)?;
        Ok(())
    }

    /// The value of a message type.
    fn value(&mut self, ty: TypeId, bytes: &[u8]) -> Result<Value, WireError> {
        match self.schema.shape(ty) {
            Shape::Struct(id) => {
                let structure = self.schema.structure(id);
                let mut map = Map::new();
                self.fields(structure, bytes, &mut map)?;
                self.reader.complete(structure, &mut map);
                Ok(Value::Object(map))
            }
            Shape::Quantity => match first_text(bytes)?.as_str() {
                "" => Ok(Value::String("0".to_owned())),
                text => scalar::quantity(text).map(Value::String).map_err(WireError::Value),
            },
            Shape::IntOrString => int_or_string(bytes),
            Shape::Time => Ok(moment(bytes)?.map_or(Value::Null, |m| Value::String(format!("{m:.0}")))),
            Shape::MicroTime => Ok(moment(bytes)?.map_or(Value::Null, |m| Value::String(format!("{m:.6}")))),
            Shape::RawExtension | Shape::FieldsV1 => raw_json(bytes),
            Shape::WrappedList(elem) => {
                let mut items = Vec::new();
                let mut wire = Wire(bytes);
                while let Some((number, payload)) = wire.field()? {
                    if number == 1 {
                        self.count_element()?;
                        items.push(self.single(elem, payload, "items")?);
                    }
                }
                Ok(Value::Array(items))
            }
            Shape::String => Ok(Value::String(utf8(bytes))),
            Shape::Bytes => Ok(Value::String(STANDARD.encode(bytes))),
            Shape::List(_) | Shape::Map(_) | Shape::Int32 | Shape::Int64 | Shape::Bool => {
                Err(WireError::Mismatch { found: 2, field: self.schema.ty(ty).go_name.to_owned() })
            }
        }
    }

    /// One value of any type but a list or map.
    fn single(&mut self, ty: TypeId, payload: Payload<'_>, field: &str) -> Result<Value, WireError> {
        match (self.schema.shape(ty), payload) {
            // Upstream truncates as Go's conversions do.
            (Shape::Int32, Payload::Varint(v)) => Ok((v as i32).into()),
            (Shape::Int64, Payload::Varint(v)) => Ok((v as i64).into()),
            (Shape::Bool, Payload::Varint(v)) => Ok(Value::Bool(v != 0)),
            (_, Payload::Bytes(bytes)) => self.value(ty, bytes),
            (_, other) => Err(WireError::Mismatch { found: other.wire_type(), field: field.to_owned() }),
        }
    }

    fn fields(
        &mut self,
        structure: &'static Struct,
        bytes: &[u8],
        map: &mut Map<String, Value>,
    ) -> Result<(), WireError> {
        let mut wire = Wire(bytes);
        while let Some((number, payload)) = wire.field()? {
            match structure.wire_slot(number) {
                None => {}
                Some(WireSlot::Embed(id)) => match payload {
                    Payload::Bytes(bytes) => self.fields(self.schema.structure(id), bytes, map)?,
                    other => {
                        let field = self.schema.structure(id).name.to_owned();
                        return Err(WireError::Mismatch { found: other.wire_type(), field });
                    }
                },
                Some(WireSlot::Field(index)) => {
                    let field = &structure.fields[usize::from(index)];
                    self.field(field, payload, map)?;
                }
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &'static crate::schema::Field,
        payload: Payload<'_>,
        map: &mut Map<String, Value>,
    ) -> Result<(), WireError> {
        match (self.schema.shape(field.ty), payload) {
            (Shape::List(elem), payload) => {
                let packed = match (self.schema.shape(elem), payload) {
                    (Shape::Int32 | Shape::Int64 | Shape::Bool, Payload::Bytes(bytes)) => Some(bytes),
                    _ => None,
                };
                let mut items = match map.remove(field.name) {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                };
                match packed {
                    None => {
                        self.count_element()?;
                        items.push(self.single(elem, payload, field.name)?);
                    }
                    Some(bytes) => {
                        let mut wire = Wire(bytes);
                        while !wire.0.is_empty() {
                            self.count_element()?;
                            let value = wire.varint()?;
                            items.push(self.single(elem, Payload::Varint(value), field.name)?);
                        }
                    }
                }
                map.insert(field.name.to_owned(), Value::Array(items));
            }
            (Shape::Map(elem), Payload::Bytes(bytes)) => {
                self.count_element()?;
                let (key, value) = self.entry(elem, bytes, field.name)?;
                let entries = map.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(entries) = entries {
                    entries.insert(key, value);
                }
            }
            (_, payload) => {
                let value = self.single(field.ty, payload, field.name)?;
                self.reader.put(field, value, map);
            }
        }
        Ok(())
    }

    fn entry(&mut self, elem: TypeId, bytes: &[u8], field: &str) -> Result<(String, Value), WireError> {
        let (mut key, mut value) = (String::new(), None);
        let mut wire = Wire(bytes);
        while let Some((number, payload)) = wire.field()? {
            match (number, payload) {
                (1, Payload::Bytes(bytes)) => key = utf8(bytes),
                (2, payload) => value = Some(self.single(elem, payload, field)?),
                _ => {}
            }
        }
        let value = value.unwrap_or_else(|| super::super::typed::zero(self.schema, elem));
        Ok((key, value))
    }
}

/// Field 1 of a message as text.
fn first_text(bytes: &[u8]) -> Result<String, WireError> {
    let mut text = String::new();
    let mut wire = Wire(bytes);
    while let Some((number, payload)) = wire.field()? {
        if let (1, Payload::Bytes(bytes)) = (number, payload) {
            text = utf8(bytes);
        }
    }
    Ok(text)
}

fn int_or_string(bytes: &[u8]) -> Result<Value, WireError> {
    let (mut is_text, mut number, mut text) = (false, 0_i32, String::new());
    let mut wire = Wire(bytes);
    while let Some((field, payload)) = wire.field()? {
        match (field, payload) {
            (1, Payload::Varint(v)) => is_text = v == 1,
            (2, Payload::Varint(v)) => number = v as i32,
            (3, Payload::Bytes(bytes)) => text = utf8(bytes),
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text) } else { number.into() })
}

/// Seconds and nanoseconds; an empty message is no time at all (B-3).
fn moment(bytes: &[u8]) -> Result<Option<Timestamp>, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut wire = Wire(bytes);
    while let Some((field, payload)) = wire.field()? {
        match (field, payload) {
            (1, Payload::Varint(v)) => seconds = v as i64,
            (2, Payload::Varint(v)) => nanos = v as i32,
            _ => {}
        }
    }
    Timestamp::new(seconds, nanos).map(Some).map_err(|e| WireError::Value(e.to_string()))
}

/// JSON bytes in field 1; nothing is null.
fn raw_json(bytes: &[u8]) -> Result<Value, WireError> {
    let mut wire = Wire(bytes);
    let mut raw: &[u8] = &[];
    while let Some((field, payload)) = wire.field()? {
        if let (1, Payload::Bytes(bytes)) = (field, payload) {
            raw = bytes;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|e| WireError::Value(format!("raw object: {e}")))
}
