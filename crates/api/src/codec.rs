//! Bytes to trees and back: JSON, YAML and protobuf, all driven by the schema table.
//!
//! A decoded tree is what a typed round trip through upstream's Go structs gives (G-6): unknown fields are gone and
//! reported, nulls and empty values of `omitempty` fields are gone, fields that upstream always writes are there,
//! quantities and times are in canonical form, and static defaults are applied. What depends on other fields is left
//! to `crate::defaults` and to the kinds. Start with [`decode`].

#[doc(hidden)]
pub mod fuzz;
mod problem;
pub mod protobuf;
mod scalar;
mod typed;
mod yaml;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::Gvk;
use crate::schema::{Schema, TypeId};
pub use problem::{DecodeError, FieldProblem, FieldValidation};
use typed::{Reader, Seed};
pub use yaml::{YamlDocument, YamlError, documents as yaml_documents};

/// Most list items and map entries in one object; a body of 3 MiB (V-5) could hold a million empty ones.
pub const ELEMENTS_MAX: usize = 400_000;

/// The three encodings of a request body (V-2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What is done to the values of a tree on the way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// As upstream's typed decoding with defaulting: for objects to be stored.
    Typed,
    /// Checked and canonical, but nothing is added and nothing dropped except unknown fields: for applied
    /// configurations, where absence, null and empty are different (P-55).
    Sparse,
}

/// A body, decoded.
#[derive(Debug)]
pub struct Decoded {
    /// The object, with `apiVersion` and `kind`.
    pub tree: Value,
    /// Unknown and duplicate fields, in order, at most a hundred.
    pub problems: Vec<FieldProblem>,
}

/// The kind a body must be of.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Group, version and kind; also taken for what the body leaves out (V-25).
    pub gvk: Gvk<'a>,
    /// Any `apiVersion` will do: options and evictions are sent under several (V-45, D-31).
    pub any_version: bool,
}

impl<'a> Expected<'a> {
    /// Exactly this kind.
    pub fn exactly(gvk: Gvk<'a>) -> Self {
        Self { gvk, any_version: false }
    }

    /// This kind under any `apiVersion`.
    pub fn any_version(gvk: Gvk<'a>) -> Self {
        Self { gvk, any_version: true }
    }
}

/// Decodes a request body.
///
/// # Errors
/// A [`DecodeError`] with upstream's text: the body is malformed, of another kind, or a field has the wrong type.
pub fn decode(body: &[u8], media: Media, expected: Expected<'_>, mode: Mode) -> Result<Decoded, DecodeError> {
    let ty = root_type(expected.gvk)?;
    match media {
        Media::Json => decode_json(body, ty, expected, mode),
        Media::Yaml => decode_yaml(body, ty, expected, mode),
        Media::Protobuf => protobuf::decode(body, expected),
    }
}

/// Runs the same pass over a tree, for example the result of a patch.
///
/// # Errors
/// As [`decode`].
pub fn normalise(tree: Value, expected: Expected<'_>, mode: Mode) -> Result<Decoded, DecodeError> {
    let ty = root_type(expected.gvk)?;
    let mut reader = Reader::new(mode);
    let found = type_meta(&tree);
    let result = Seed::new(&mut reader, ty).read(tree);
    finish(result.map_err(|e| e.to_string()), reader, expected, |_| found, b"")
}

/// Reads JSON or YAML without a schema, for patch bodies.
///
/// # Errors
/// If the body is malformed.
pub fn decode_untyped(body: &[u8], media: Media) -> Result<Value, DecodeError> {
    let syntax = |why: String| DecodeError::Syntax { why };
    match media {
        Media::Json => serde_json::from_slice(body).map_err(|e| syntax(json_syntax(&e))),
        Media::Yaml => match looks_like_json(body).then(|| serde_json::from_slice(body)) {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) | None => {
                yaml::with_deserializer(body, |de| Value::deserialize(de)).map_err(|e| syntax(e.to_string()))
            }
        },
        Media::Protobuf => Err(syntax("patches are JSON or YAML".to_owned())),
    }
}

/// True for what clients mostly send as YAML: JSON, of which YAML's parser is ten times slower.
fn looks_like_json(body: &[u8]) -> bool {
    body.first().is_some_and(|b| matches!(b, b'{' | b'['))
}

fn root_type(gvk: Gvk<'_>) -> Result<TypeId, DecodeError> {
    Schema::get()
        .root(gvk)
        .ok_or_else(|| DecodeError::NotRegistered { kind: gvk.kind.to_owned(), api_version: gvk.api_version() })
}

fn decode_json(body: &[u8], ty: TypeId, expected: Expected<'_>, mode: Mode) -> Result<Decoded, DecodeError> {
    let mut reader = Reader::new(mode);
    let mut de = serde_json::Deserializer::from_slice(body);
    let result = Seed::new(&mut reader, ty).read(&mut de).and_then(|tree| de.end().map(|()| tree));
    let found = |b: &[u8]| serde_json::from_slice(b).unwrap_or_default();
    finish(result.map_err(|e| json_syntax(&e)), reader, expected, found, body)
}

/// What is wrong with a text that is no JSON; in upstream's words where it just ends.
fn json_syntax(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

fn decode_yaml(body: &[u8], ty: TypeId, expected: Expected<'_>, mode: Mode) -> Result<Decoded, DecodeError> {
    if looks_like_json(body) {
        match decode_json(body, ty, expected, mode) {
            Err(DecodeError::Unrecognized { .. }) => {}
            answer => return answer,
        }
    }
    let mut reader = Reader::new(mode);
    let result = yaml::with_deserializer(body, |de| Seed::new(&mut reader, ty).read(de));
    let found = |b: &[u8]| yaml::with_deserializer(b, |de| TypeMeta::deserialize(de)).unwrap_or_default();
    finish(result.map_err(|e| format!("error converting YAML to JSON: yaml: {e}")), reader, expected, found, body)
}

/// `apiVersion` and `kind` of a body, read when something else is wrong with it.
#[derive(Default, Deserialize)]
struct TypeMeta {
    #[serde(rename = "apiVersion", default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// What upstream calls it in its errors.
const TYPE_META_IN_GO: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

fn type_meta(tree: &Value) -> TypeMeta {
    let text = |key: &str| tree.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    TypeMeta { api_version: text("apiVersion"), kind: text("kind") }
}

/// Turns what the reader left into the answer: a wrong kind explains a wrong type, so it is reported first.
fn finish(
    result: Result<Value, String>,
    reader: Reader,
    expected: Expected<'_>,
    found: impl FnOnce(&[u8]) -> TypeMeta,
    body: &[u8],
) -> Result<Decoded, DecodeError> {
    match result {
        Ok(mut tree) => {
            check_type_meta(&mut tree, expected)?;
            Ok(Decoded { tree, problems: reader.problems })
        }
        Err(syntax) => match reader.failure {
            None => Err(DecodeError::Unrecognized {
                kind: expected.gvk.kind.to_owned(),
                why: format!("couldn't get version/kind; json parse error: {syntax}"),
                summary: problem::summary(body),
            }),
            // Of a list or a number not even the kind can be read.
            Some(why) if why.contains(typed::ROOT_MISMATCH) => {
                let what = why.split(typed::ROOT_MISMATCH).next().unwrap_or_default();
                Err(DecodeError::Unrecognized {
                    kind: expected.gvk.kind.to_owned(),
                    why: format!(
                        "couldn't get version/kind; json parse error: {what}{}{TYPE_META_IN_GO}",
                        typed::ROOT_MISMATCH
                    ),
                    summary: problem::summary(body),
                })
            }
            Some(why) => {
                let found = found(body);
                check_gvk(&found.api_version, &found.kind, expected)?;
                Err(DecodeError::unhandled(expected.gvk, why))
            }
        },
    }
}

fn check_type_meta(tree: &mut Value, expected: Expected<'_>) -> Result<(), DecodeError> {
    let found = |key: &str| tree.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (found("apiVersion"), found("kind"));
    let (no_version, no_kind) = (api_version.is_empty(), kind.is_empty());
    check_gvk(api_version, kind, expected)?;
    if let Value::Object(map) = tree {
        if no_version {
            map.insert("apiVersion".to_owned(), Value::String(expected.gvk.api_version()));
        }
        if no_kind {
            map.insert("kind".to_owned(), Value::String(expected.gvk.kind.to_owned()));
        }
    }
    Ok(())
}

/// V-25: what the body says of itself must be what its address says.
fn check_gvk(api_version: &str, kind: &str, expected: Expected<'_>) -> Result<(), DecodeError> {
    let want = expected.gvk;
    let api_version = if api_version.is_empty() { Cow::Owned(want.api_version()) } else { Cow::Borrowed(api_version) };
    let kind = if kind.is_empty() { want.kind } else { kind };
    let got = Gvk::parse(&api_version, kind);
    if got == want || (expected.any_version && got.kind == want.kind) {
        return Ok(());
    }
    if got.kind == want.kind {
        return Err(DecodeError::Version { found: api_version.into_owned(), expected: want.api_version() });
    }
    let why = match Schema::get().root(got) {
        Some(_) => {
            let package = |group: &str| match group.split('.').next() {
                None | Some("") => "core".to_owned(),
                Some(first) => first.to_owned(),
            };
            let (from, to) =
                (format!("{}.{}", got.version, got.kind), format!("{}.{}", package(want.group), want.kind));
            format!("converting ({from}) to ({to}): unknown conversion")
        }
        None => format!("no kind \"{}\" is registered for version \"{}\"", got.kind, got.api_version()),
    };
    Err(DecodeError::Unhandled {
        kind: got.kind.to_owned(),
        version: got.version.to_owned(),
        expected: want.kind.to_owned(),
        why,
    })
}
