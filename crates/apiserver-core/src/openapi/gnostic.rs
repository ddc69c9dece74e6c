//! Version 2 as protobuf: the `openapi.v2.Document` message of google/gnostic (D-50).
//!
//! Only the members that our own documents use. Extensions and defaults travel as YAML text, of which JSON is a part.

use serde_json::{Map, Value};

/// Encodes a version 2 document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, text(document, "swagger"));
    let mut info = Message::default();
    info.text(1, text(&document["info"], "title"));
    info.text(2, text(&document["info"], "version"));
    out.message(2, &info);
    let mut paths = Message::default();
    for (path, item) in members(&document["paths"]) {
        paths.named(2, path, &path_item(item));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, body) in members(&document["definitions"]) {
        definitions.named(1, name, &schema(body));
    }
    out.message(9, &definitions);
    out.0
}

/// A protobuf message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.varint((number << 3) | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Text; the empty text is the default and is not written.
    fn text(&mut self, number: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u64, list: &Value) {
        for item in list.as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(number, item.as_bytes());
        }
    }

    fn flag(&mut self, number: u64, value: &Value) {
        if value.as_bool() == Some(true) {
            self.varint(number << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, number: u64, message: &Message) {
        self.bytes(number, &message.0);
    }

    /// `Named…{name = 1, value = 2}`.
    fn named(&mut self, number: u64, name: &str, value: &Message) {
        let mut entry = Message::default();
        entry.text(1, name);
        entry.message(2, value);
        self.message(number, &entry);
    }

    /// All `x-…` members as `NamedAny`.
    fn extensions(&mut self, number: u64, body: &Value) {
        for (name, value) in members(body).filter(|(name, _)| name.starts_with("x-")) {
            self.named(number, name, &any(value));
        }
    }
}

/// `Any{yaml = 2}`.
fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(2, &format!("{value}\n"));
    out
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (method, number) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(body) = item.get(method) {
            out.message(number, &operation(body));
        }
    }
    for body in item["parameters"].as_array().into_iter().flatten() {
        out.message(9, &parameters_item(body));
    }
    out
}

fn operation(body: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, &body["tags"]);
    out.text(3, text(body, "description"));
    out.text(5, text(body, "operationId"));
    out.texts(6, &body["produces"]);
    out.texts(7, &body["consumes"]);
    for parameter in body["parameters"].as_array().into_iter().flatten() {
        out.message(8, &parameters_item(parameter));
    }
    let mut responses = Message::default();
    for (code, response) in members(&body["responses"]) {
        let mut inner = Message::default();
        inner.text(1, text(response, "description"));
        if let Some(body) = response.get("schema") {
            let mut item = Message::default();
            item.message(1, &schema(body));
            inner.message(2, &item);
        }
        let mut value = Message::default();
        value.message(1, &inner);
        responses.named(1, code, &value);
    }
    out.message(9, &responses);
    out.texts(10, &body["schemes"]);
    out.extensions(13, body);
    out
}

/// `ParametersItem{parameter = 1}` of a `Parameter{body_parameter = 1, non_body_parameter = 2}`.
fn parameters_item(body: &Value) -> Message {
    let mut parameter = Message::default();
    match text(body, "in") {
        "body" => {
            let mut inner = Message::default();
            inner.text(2, text(body, "name"));
            inner.text(3, "body");
            inner.flag(4, &body["required"]);
            inner.message(5, &schema(&body["schema"]));
            parameter.message(1, &inner);
        }
        place => {
            let is_query = place == "query";
            let mut inner = Message::default();
            inner.flag(1, &body["required"]);
            inner.text(2, place);
            inner.text(3, text(body, "description"));
            inner.text(4, text(body, "name"));
            inner.text(if is_query { 6 } else { 5 }, text(body, "type"));
            inner.flag(if is_query { 20 } else { 19 }, &body["uniqueItems"]);
            let mut non_body = Message::default();
            non_body.message(if is_query { 3 } else { 4 }, &inner);
            parameter.message(2, &non_body);
        }
    }
    let mut item = Message::default();
    item.message(1, &parameter);
    item
}

fn schema(body: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, text(body, "$ref"));
    out.text(2, text(body, "format"));
    out.text(4, text(body, "description"));
    if let Some(default) = body.get("default") {
        out.message(5, &any(default));
    }
    out.texts(19, &body["required"]);
    for value in body["enum"].as_array().into_iter().flatten() {
        out.message(20, &any(value));
    }
    if let Some(values) = body.get("additionalProperties") {
        let mut item = Message::default();
        item.message(1, &schema(values));
        out.message(21, &item);
    }
    if let Some(ty) = body["type"].as_str() {
        let mut item = Message::default();
        item.text(1, ty);
        out.message(22, &item);
    }
    if let Some(items) = body.get("items") {
        let mut item = Message::default();
        item.message(1, &schema(items));
        out.message(23, &item);
    }
    if let Some(properties) = body.get("properties") {
        let mut inner = Message::default();
        for (name, property) in members(properties) {
            inner.named(1, name, &schema(property));
        }
        out.message(25, &inner);
    }
    out.extensions(31, body);
    out
}
