//! Types of the schema table as OpenAPI schemas.

use std::collections::{BTreeMap, BTreeSet};

use api::Gvk;
use api::schema::{Docs, Field, Schema, Shape, StructId, TypeId};
use serde_json::{Map, Value, json};

use super::gvk_extension;

/// Which OpenAPI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// 2.0.
    V2,
    /// 3.0.
    V3,
}

/// Definitions that are wanted by somebody, collected while paths are written.
pub(super) struct Schemas<'a> {
    pub(super) dialect: Dialect,
    schema: &'static Schema,
    docs: &'a Docs,
    kinds: BTreeMap<StructId, Vec<Gvk<'static>>>,
    wanted: BTreeSet<StructId>,
    open: Vec<StructId>,
    made: Map<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(docs: &'a Docs, dialect: Dialect) -> Self {
        let schema = Schema::get();
        let mut kinds: BTreeMap<StructId, Vec<Gvk<'static>>> = BTreeMap::new();
        for root in schema.roots().iter().filter(|r| r.published) {
            if let Shape::Struct(id) = schema.shape(root.ty) {
                kinds.entry(id).or_default().push(root.gvk);
            }
        }
        Self { dialect, schema, docs, kinds, wanted: BTreeSet::new(), open: Vec::new(), made: Map::new() }
    }

    /// A reference to the definition of a kind; `None` for kinds without one.
    pub(super) fn kind(&mut self, gvk: Gvk<'_>) -> Option<Value> {
        let ty = self.schema.root(gvk)?;
        Some(self.of_type(ty))
    }

    /// A reference to the definition of any patch.
    pub(super) fn patch(&mut self) -> Value {
        let body = json!({"description": "A patch in the format that the content type names.", "type": "object"});
        self.special("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", body)
    }

    /// All definitions.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        while let Some(id) = self.open.pop() {
            let body = self.definition(id);
            self.made.insert(self.schema.structure(id).definition(), body);
        }
        self.made
    }

    fn reference(&self, name: &str) -> Value {
        let place = match self.dialect {
            Dialect::V2 => "#/definitions/",
            Dialect::V3 => "#/components/schemas/",
        };
        json!({"$ref": format!("{place}{name}")})
    }

    fn special(&mut self, name: &str, body: Value) -> Value {
        self.made.entry(name).or_insert(body);
        self.reference(name)
    }

    fn of_type(&mut self, ty: TypeId) -> Value {
        match self.schema.shape(ty) {
            Shape::Struct(id) => {
                if self.wanted.insert(id) {
                    self.open.push(id);
                }
                self.reference(&self.schema.structure(id).definition())
            }
            Shape::List(elem) | Shape::WrappedList(elem) => {
                let items = self.of_type(elem);
                json!({"type": "array", "items": items})
            }
            Shape::Map(elem) => {
                let values = self.of_type(elem);
                json!({"type": "object", "additionalProperties": values})
            }
            Shape::String => match &self.schema.ty(ty).values {
                values if values.is_empty() => json!({"type": "string"}),
                values => json!({"type": "string", "enum": values}),
            },
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Quantity => {
                let body = self.either("A quantity such as 500m, 1Gi or 2.", None, "number");
                self.special("io.k8s.apimachinery.pkg.api.resource.Quantity", body)
            }
            Shape::IntOrString => {
                let body = self.either("A number, or a name or percentage.", Some("int-or-string"), "integer");
                self.special("io.k8s.apimachinery.pkg.util.intstr.IntOrString", body)
            }
            Shape::Time => {
                let body = json!({"description": "RFC 3339.", "type": "string", "format": "date-time"});
                self.special("io.k8s.apimachinery.pkg.apis.meta.v1.Time", body)
            }
            Shape::MicroTime => {
                let body =
                    json!({"description": "RFC 3339 with microseconds.", "type": "string", "format": "date-time"});
                self.special("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", body)
            }
            Shape::RawExtension => {
                let body = json!({"description": "Any object.", "type": "object"});
                self.special("io.k8s.apimachinery.pkg.runtime.RawExtension", body)
            }
            Shape::FieldsV1 => {
                let body = json!({"description": "A set of fields.", "type": "object"});
                self.special("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", body)
            }
        }
    }

    /// A type that is text or a number; version 2 can only say text.
    fn either(&self, description: &str, format: Option<&str>, number: &str) -> Value {
        let mut body = json!({"description": description});
        match self.dialect {
            Dialect::V2 => body["type"] = json!("string"),
            Dialect::V3 => body["oneOf"] = json!([{"type": "string"}, {"type": number}]),
        }
        if let Some(format) = format {
            body["format"] = json!(format);
        }
        body
    }

    fn definition(&mut self, id: StructId) -> Value {
        let structure = self.schema.structure(id);
        let docs = self.docs;
        let mut texts = docs.of(id);
        let mut body = json!({"type": "object"});
        if let Some(text) = texts.next().filter(|t| !t.is_empty()) {
            body["description"] = json!(text);
        }
        let mut properties = Map::new();
        for (field, text) in structure.fields.iter().zip(texts) {
            properties.insert(field.name.to_owned(), self.property(field, text));
        }
        if !properties.is_empty() {
            body["properties"] = Value::Object(properties);
        }
        let required: Vec<_> = structure.fields.iter().filter(|f| f.is_required()).map(|f| f.name).collect();
        if !required.is_empty() {
            body["required"] = json!(required);
        }
        if structure.atomic {
            body["x-kubernetes-map-type"] = json!("atomic");
        }
        if !structure.unions.is_null() {
            body["x-kubernetes-unions"] = structure.unions.clone();
        }
        if let Some(gvks) = self.kinds.get(&id) {
            body["x-kubernetes-group-version-kind"] = gvks.iter().map(|g| gvk_extension(*g)).collect();
        }
        body
    }

    fn property(&mut self, field: &Field, text: &str) -> Value {
        let mut body = self.of_type(field.ty);
        let mut more = Map::new();
        if !text.is_empty() {
            more.insert("description".to_owned(), json!(text));
        }
        if let Some(default) = field.default() {
            more.insert("default".to_owned(), default.clone());
        }
        let texts = [
            ("x-kubernetes-list-type", field.list_type_text()),
            ("x-kubernetes-map-type", field.map_type_text()),
            ("x-kubernetes-patch-strategy", field.patch_strategy_text()),
            ("x-kubernetes-patch-merge-key", field.patch_merge_key().unwrap_or_default()),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            more.insert(key.to_owned(), json!(text));
        }
        if !field.list_map_keys().is_empty() {
            more.insert("x-kubernetes-list-map-keys".to_owned(), json!(field.list_map_keys()));
        }
        if more.is_empty() {
            return body;
        }
        // In version 3 nothing may stand beside a reference.
        if self.dialect == Dialect::V3 && body.get("$ref").is_some() {
            body = json!({"allOf": [body]});
        }
        if let Value::Object(map) = &mut body {
            map.extend(more);
        }
        body
    }
}
