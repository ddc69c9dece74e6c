//! The pass that turns any serde source into a tree of a given type.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{ELEMENTS_MAX, FieldProblem, Mode, scalar};
use crate::schema::{Schema, Shape, Struct, TypeId};

/// Most problems that are reported (as upstream).
const PROBLEMS_MAX: usize = 100;

/// Between what was found and the type it had to be, where the whole body is meant.
pub(super) const ROOT_MISMATCH: &str = " into Go value of type ";

/// One step of the path to a value.
enum Segment {
    Field(&'static str),
    Key(String),
    Index(usize),
}

/// What a pass remembers.
pub(super) struct Reader {
    schema: &'static Schema,
    mode: Mode,
    path: Vec<Segment>,
    /// The structs on the way, for error texts: one for each field in `path`.
    structs: Vec<&'static Struct>,
    elements_left: usize,
    pub(super) problems: Vec<FieldProblem>,
    /// Upstream's text, if a value did not fit its type.
    pub(super) failure: Option<String>,
}

impl Reader {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            schema: Schema::get(),
            mode,
            path: Vec::new(),
            structs: Vec::new(),
            elements_left: ELEMENTS_MAX,
            problems: Vec::new(),
            failure: None,
        }
    }

    /// The path for strict errors: `spec.template.spec.containers[0].image`.
    fn strict_path(&self, last: &str) -> String {
        let mut text = String::new();
        for segment in &self.path {
            match segment {
                Segment::Index(i) => text.push_str(&format!("[{i}]")),
                Segment::Field(name) => push_name(&mut text, name),
                Segment::Key(name) => push_name(&mut text, name),
            }
        }
        push_name(&mut text, last);
        text
    }

    fn report(&mut self, problem: FieldProblem) {
        if self.problems.len() < PROBLEMS_MAX && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Go's text for a value of the wrong JSON type.
    fn mismatch<E: Error>(&mut self, found: &str, ty: TypeId) -> E {
        self.mismatch_with(found, self.schema.ty(ty).go_name)
    }

    fn mismatch_with<E: Error>(&mut self, found: &str, go_name: &str) -> E {
        let fields = self.path.iter().filter_map(|s| if let Segment::Field(name) = s { Some(*name) } else { None });
        let mut path = String::new();
        for (structure, field) in self.structs.iter().zip(fields) {
            if let Some(embedded) = embedding(self.schema, structure, field) {
                push_name(&mut path, embedded);
            }
            push_name(&mut path, field);
        }
        self.fail(match self.structs.last() {
            Some(last) => {
                format!("json: cannot unmarshal {found} into Go struct field {}.{path} of type {go_name}", last.name)
            }
            None => format!("json: cannot unmarshal {found}{ROOT_MISMATCH}{go_name}"),
        })
    }

    fn fail<E: Error>(&mut self, text: String) -> E {
        let error = E::custom(&text);
        self.failure.get_or_insert(text);
        error
    }

    fn count_element<E: Error>(&mut self) -> Result<(), E> {
        match self.elements_left.checked_sub(1) {
            Some(left) => {
                self.elements_left = left;
                Ok(())
            }
            None => Err(self.fail(format!("the object has more than {ELEMENTS_MAX} list items and map entries"))),
        }
    }

    fn text<E: Error>(&mut self, text: String, ty: TypeId) -> Result<Value, E> {
        let canonical = match self.schema.shape(ty) {
            Shape::String | Shape::IntOrString => Ok(text),
            Shape::Quantity => scalar::quantity(&text),
            Shape::Time => scalar::time(&text),
            Shape::MicroTime => scalar::micro_time(&text),
            Shape::Bytes => scalar::bytes(&text).map(|canonical| canonical.unwrap_or(text)),
            Shape::Struct(_)
            | Shape::List(_)
            | Shape::WrappedList(_)
            | Shape::Map(_)
            | Shape::Int32
            | Shape::Int64
            | Shape::Bool
            | Shape::RawExtension
            | Shape::FieldsV1 => return Err(self.mismatch("string", ty)),
        };
        canonical.map(Value::String).map_err(|why| self.fail(why))
    }

    fn integer<E: Error>(&mut self, value: i64, ty: TypeId) -> Result<Value, E> {
        match self.schema.shape(ty) {
            Shape::Int64 => Ok(value.into()),
            Shape::Int32 if i32::try_from(value).is_ok() => Ok(value.into()),
            Shape::IntOrString if i32::try_from(value).is_ok() => Ok(value.into()),
            Shape::IntOrString => Err(self.mismatch_with(&format!("number {value}"), "int32")),
            Shape::Int32 => Err(self.mismatch(&format!("number {value}"), ty)),
            Shape::Quantity => self.text(value.to_string(), ty),
            _ => self.other("number", ty),
        }
    }

    fn float<E: Error>(&mut self, value: f64, ty: TypeId) -> Result<Value, E> {
        match self.schema.shape(ty) {
            // Whole numbers may be written as 1.0, as YAML tools do.
            Shape::Int32 | Shape::Int64 | Shape::IntOrString if value.fract() == 0.0 && value.abs() < 9e15 => {
                // In range by the check before.
                self.integer(value as i64, ty)
            }
            Shape::Int32 | Shape::Int64 => Err(self.mismatch(&format!("number {value}"), ty)),
            Shape::IntOrString => Err(self.mismatch_with(&format!("number {value}"), "int32")),
            Shape::Quantity => self.text(value.to_string(), ty),
            _ => self.other("number", ty),
        }
    }

    /// A JSON type that no scalar of this shape takes: times are read as text upstream, with their own error.
    fn other<E: Error>(&mut self, found: &str, ty: TypeId) -> E2<E> {
        Err(match self.schema.shape(ty) {
            Shape::Time | Shape::MicroTime => self.mismatch_with(found, "string"),
            Shape::IntOrString => self.mismatch_with(found, "int32"),
            Shape::Quantity => match scalar::quantity(found) {
                Err(why) => self.fail(why),
                Ok(_) => self.mismatch(found, ty),
            },
            _ => self.mismatch(found, ty),
        })
    }

    /// True if upstream would leave this value out or put the default in its place.
    fn is_dropped(&self, field: &crate::schema::Field, value: &Value) -> bool {
        if self.mode == Mode::Sparse {
            return false;
        }
        match value {
            Value::Null => true,
            _ if field.is_pointer() || !(field.omits_empty() || field.default().is_some()) => false,
            Value::String(s) => s.is_empty(),
            Value::Number(n) => n.as_i64() == Some(0) && !matches!(self.schema.shape(field.ty), Shape::IntOrString),
            Value::Bool(b) => !b,
            // An empty record of managers is the client's wish to begin a new one (P-51).
            Value::Array(_) if field.name == "managedFields" && self.path.len() == 1 => false,
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty() && matches!(self.schema.shape(field.ty), Shape::Map(_)),
        }
    }

    /// Puts a decoded value into its struct.
    pub(super) fn put(&self, field: &crate::schema::Field, value: Value, map: &mut Map<String, Value>) {
        if self.is_dropped(field, &value) {
            map.remove(field.name);
        } else {
            map.insert(field.name.to_owned(), value);
        }
    }

    /// Adds what upstream always writes and what has a default.
    pub(super) fn complete(&self, structure: &Struct, map: &mut Map<String, Value>) {
        if self.mode == Mode::Typed {
            fill(self.schema, structure, map);
        }
    }
}

type E2<E> = Result<Value, E>;

/// The Go struct in which a field really stands, if that is embedded in `structure`.
fn embedding(schema: &'static Schema, structure: &'static Struct, field: &str) -> Option<&'static str> {
    structure.field(field).filter(|f| f.is_embedded())?;
    let mut embedded = structure.embeds.iter().map(|(_, id)| schema.structure(*id));
    embedded.find(|s| s.field(field).is_some()).map(|s| s.name)
}

fn push_name(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push('.');
    }
    text.push_str(name);
}

/// Adds what upstream always writes and what has a static default.
pub(crate) fn fill(schema: &Schema, structure: &Struct, map: &mut Map<String, Value>) {
    for index in &structure.fills {
        let field = &structure.fields[usize::from(*index)];
        if map.contains_key(field.name) {
            continue;
        }
        let value = match field.default() {
            Some(default) => default.clone(),
            None => zero(schema, field.ty),
        };
        if !value.is_null() {
            map.insert(field.name.to_owned(), value);
        }
    }
}

/// The zero value of a type; null where it is left out of JSON.
pub(super) fn zero(schema: &Schema, ty: TypeId) -> Value {
    match schema.shape(ty) {
        Shape::Struct(id) => {
            let mut map = Map::new();
            fill(schema, schema.structure(id), &mut map);
            Value::Object(map)
        }
        Shape::List(_) | Shape::WrappedList(_) => Value::Array(Vec::new()),
        Shape::Map(_) => Value::Object(Map::new()),
        Shape::String | Shape::Bytes => Value::String(String::new()),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Int32 | Shape::Int64 | Shape::IntOrString => Value::Number(Number::from(0)),
        Shape::Bool => Value::Bool(false),
        Shape::Time | Shape::MicroTime | Shape::RawExtension | Shape::FieldsV1 => Value::Null,
    }
}

/// Reads one value of a type.
pub(super) struct Seed<'r> {
    reader: &'r mut Reader,
    ty: TypeId,
}

impl<'r> Seed<'r> {
    pub(super) fn new(reader: &'r mut Reader, ty: TypeId) -> Self {
        Self { reader, ty }
    }

    /// Reads a whole body; one that says nothing is an empty object.
    pub(super) fn read<'de, D: Deserializer<'de>>(self, de: D) -> Result<Value, D::Error> {
        let (schema, ty, mode) = (self.reader.schema, self.ty, self.reader.mode);
        Ok(match self.deserialize(de)? {
            Value::Null if mode == Mode::Typed => zero(schema, ty),
            Value::Null => Value::Object(Map::new()),
            tree => tree,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Value, D::Error> {
        match self.reader.schema.shape(self.ty) {
            // Anything goes; what it means is not known here.
            Shape::RawExtension | Shape::FieldsV1 => serde::Deserialize::deserialize(de),
            _ => de.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reader.schema.ty(self.ty).go_name)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.reader.schema.shape(self.ty) {
            Shape::Bool => Ok(Value::Bool(value)),
            _ => self.reader.other("bool", self.ty),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.reader.integer(value, self.ty)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.reader.integer(value, self.ty),
            Err(_) if self.reader.schema.shape(self.ty) == Shape::Quantity => {
                self.reader.text(value.to_string(), self.ty)
            }
            Err(_) => self.reader.other(&format!("number {value}"), self.ty),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.reader.float(value, self.ty)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.reader.text(value.to_owned(), self.ty)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.reader.text(value, self.ty)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, de: D) -> Result<Value, D::Error> {
        self.deserialize(de)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let (reader, ty) = (self.reader, self.ty);
        let (Shape::List(elem) | Shape::WrappedList(elem)) = reader.schema.shape(ty) else {
            return reader.other("array", ty);
        };
        let mut items = Vec::new();
        loop {
            reader.path.push(Segment::Index(items.len()));
            let item = seq.next_element_seed(Seed::new(reader, elem));
            reader.path.pop();
            let Some(item) = item? else { return Ok(Value::Array(items)) };
            reader.count_element()?;
            items.push(match item {
                Value::Null if reader.mode == Mode::Typed => zero(reader.schema, elem),
                item => item,
            });
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.reader.schema.shape(self.ty) {
            Shape::Struct(id) => read_struct(self.reader, self.reader_struct(id), map),
            Shape::Map(elem) => read_map(self.reader, elem, map),
            _ => self.reader.other("object", self.ty),
        }
    }
}

impl Seed<'_> {
    fn reader_struct(&self, id: crate::schema::StructId) -> &'static Struct {
        self.reader.schema.structure(id)
    }
}

fn read_struct<'de, A: MapAccess<'de>>(
    reader: &mut Reader,
    structure: &'static Struct,
    mut access: A,
) -> Result<Value, A::Error> {
    let mut map = Map::new();
    let mut seen = 0_u128;
    while let Some(key) = access.next_key_seed(KeySeed(structure))? {
        let index = match key {
            Key::Known(index) => index,
            Key::Unknown(name) => {
                let path = reader.strict_path(&name);
                reader.report(FieldProblem::Unknown(path));
                access.next_value::<serde::de::IgnoredAny>()?;
                continue;
            }
        };
        let field = &structure.fields[index];
        let bit = 1_u128 << (index & 127);
        if seen & bit != 0 {
            let path = reader.strict_path(field.name);
            reader.report(FieldProblem::Duplicate(path));
        }
        seen |= bit;
        reader.path.push(Segment::Field(field.name));
        reader.structs.push(structure);
        let value = access.next_value_seed(Seed::new(reader, field.ty))?;
        reader.structs.pop();
        reader.path.pop();
        reader.put(field, value, &mut map);
    }
    reader.complete(structure, &mut map);
    Ok(Value::Object(map))
}

fn read_map<'de, A: MapAccess<'de>>(reader: &mut Reader, elem: TypeId, mut access: A) -> Result<Value, A::Error> {
    let mut map = Map::new();
    let is_deep =
        matches!(reader.schema.shape(elem), Shape::Struct(_) | Shape::List(_) | Shape::WrappedList(_) | Shape::Map(_));
    while let Some(key) = access.next_key::<String>()? {
        reader.count_element()?;
        if is_deep {
            reader.path.push(Segment::Key(key.clone()));
        }
        let value = access.next_value_seed(Seed::new(reader, elem))?;
        if is_deep {
            reader.path.pop();
        }
        let value = match value {
            Value::Null if reader.mode == Mode::Typed => zero(reader.schema, elem),
            value => value,
        };
        if map.contains_key(&key) {
            let path = reader.strict_path(&key);
            reader.report(FieldProblem::Duplicate(path));
        }
        map.insert(key, value);
    }
    Ok(Value::Object(map))
}

/// The key of a struct's field, looked up without keeping it.
struct KeySeed(&'static Struct);

enum Key {
    Known(usize),
    Unknown(String),
}

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Key, D::Error> {
        de.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a field of {}", self.0.name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        let found = self.0.fields.binary_search_by(|f| f.name.cmp(name));
        Ok(found.map_or_else(|_| Key::Unknown(name.to_owned()), Key::Known))
    }
}
