//! Joins the three sources into one table.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use api::schema::wire::{Field, Root, Shape, Struct, Table, Type, flag};
use serde_json::Value;

use super::golang::{self, Decl, Expr};
use super::sources::{PACKAGES, Sources};
use super::supplement;

/// Kinds that upstream serves but does not publish a definition for, or publishes without a group.
const UNPUBLISHED_ROOTS: &[(&str, &str, &str, &str)] = &[
    ("meta.k8s.io", "v1", "PartialObjectMetadata", "io.k8s.apimachinery.pkg.apis.meta.v1"),
    ("meta.k8s.io", "v1", "PartialObjectMetadataList", "io.k8s.apimachinery.pkg.apis.meta.v1"),
    ("meta.k8s.io", "v1", "DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1"),
    ("", "v1", "List", "io.k8s.apimachinery.pkg.apis.meta.v1"),
];

/// The table and its descriptions.
pub(super) struct Built {
    /// What is always in memory.
    pub(super) table: Table,
    /// Descriptions, each ended by a NUL: for each struct its own, then those of its fields.
    pub(super) docs: String,
}

/// Builds the table.
pub(super) fn table(sources: &Sources, release: &str) -> Result<Built> {
    let mut builder = Builder {
        sources,
        table: Table { version: release.to_owned(), ..Table::default() },
        type_ids: BTreeMap::new(),
        struct_ids: BTreeMap::new(),
        struct_docs: BTreeMap::new(),
        supplement: supplement::defaults(),
    };
    for (import, prefix) in PACKAGES.iter().filter(|(import, _)| import.ends_with("/v1") || import.ends_with("/v2")) {
        builder.roots_of(import, prefix)?;
    }
    for (group, version, kind, prefix) in UNPUBLISHED_ROOTS {
        let ty = builder.named(import_of(prefix)?, kind)?;
        let (group, version, kind) = ((*group).to_owned(), (*version).to_owned(), (*kind).to_owned());
        builder.table.roots.push(Root { group, version, kind, ty, published: false });
    }
    builder.table.roots.sort();
    if let Some(((package, name), _)) = builder.supplement.iter().find(|(_, fields)| !fields.is_empty()) {
        bail!("the supplement names {package}.{name}, or a field of it, that is not in the table");
    }
    let docs = builder.struct_docs.values().flatten().map(|d| d.replace('\0', "") + "\0").collect();
    Ok(Built { table: builder.table, docs })
}

/// Where a field stands in protobuf.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the struct's own message.
    Own,
    /// In an embedded message.
    Embedded,
    /// Nowhere: kind and apiVersion travel in the envelope.
    TypeMeta,
}

struct Builder<'a> {
    sources: &'a Sources,
    table: Table,
    type_ids: BTreeMap<Type, u16>,
    struct_ids: BTreeMap<(String, String), u16>,
    struct_docs: BTreeMap<u16, Vec<String>>,
    supplement: supplement::Defaults,
}

impl Builder<'_> {
    fn roots_of(&mut self, import: &str, prefix: &str) -> Result<()> {
        let sources = self.sources;
        for (full, definition) in sources.definitions.range(format!("{prefix}.")..) {
            let Some(name) = full.strip_prefix(prefix).and_then(|n| n.strip_prefix('.')) else { break };
            let gvks = definition["x-kubernetes-group-version-kind"].as_array().map(Vec::as_slice).unwrap_or_default();
            for gvk in gvks {
                let text = |key: &str| gvk[key].as_str().unwrap_or_default().to_owned();
                let root = (text("group"), text("version"), text("kind"));
                if import.ends_with("/meta/v1") && (!root.0.is_empty() || root.1 != "v1") {
                    continue;
                }
                let ty = self.named(import, name).with_context(|| format!("definition {full}"))?;
                let (group, version, kind) = root;
                self.table.roots.push(Root { group, version, kind, ty, published: true });
            }
        }
        Ok(())
    }

    fn intern(&mut self, ty: Type) -> Result<u16> {
        if let Some(id) = self.type_ids.get(&ty) {
            return Ok(*id);
        }
        let id = u16::try_from(self.table.types.len()).context("more than 65,536 types")?;
        self.table.types.push(ty.clone());
        self.type_ids.insert(ty, id);
        Ok(id)
    }

    fn named(&mut self, package: &str, name: &str) -> Result<u16> {
        let short = package.rsplit('/').next().unwrap_or_default();
        let go_name = format!("{short}.{name}");
        let special = match (short, name) {
            ("v1", "Time") => Some(Shape::Time),
            ("v1", "MicroTime") => Some(Shape::MicroTime),
            ("v1", "FieldsV1") => Some(Shape::FieldsV1),
            ("resource", "Quantity") => Some(Shape::Quantity),
            ("intstr", "IntOrString") => Some(Shape::IntOrString),
            ("runtime", "RawExtension") => Some(Shape::RawExtension),
            ("types", "UID" | "NodeName") => Some(Shape::String),
            _ => None,
        };
        if let Some(shape) = special {
            return self.intern(Type { shape, go_name, values: Vec::new() });
        }
        let sources = self.sources;
        match sources.go.get(package, name).with_context(|| format!("no Go type {package}.{name}"))? {
            Decl::Struct(fields) => {
                let id = self.structure(package, name, fields).with_context(|| format!("struct {go_name}"))?;
                self.intern(Type { shape: Shape::Struct(id), go_name, values: Vec::new() })
            }
            Decl::Alias { of, enumerated } => {
                let inner = self.expr(of)?;
                let mut shape = self.table.types[usize::from(inner)].shape;
                if let Shape::List(elem) = shape
                    && sources.messages.contains_key(&message_name(package, name))
                {
                    shape = Shape::WrappedList(elem);
                }
                let values = if *enumerated { sources.go.values(package, name) } else { Vec::new() };
                self.intern(Type { shape, go_name, values })
            }
        }
    }

    fn expr(&mut self, expr: &Expr) -> Result<u16> {
        let (shape, go_name) = match expr {
            Expr::Pointer(inner) => return self.expr(inner),
            Expr::Named(package, name) => return self.named(package, name),
            Expr::Slice(inner) if **inner == Expr::Builtin("byte".to_owned()) => (Shape::Bytes, "[]uint8".to_owned()),
            Expr::Slice(inner) => {
                let elem = self.expr(inner)?;
                (Shape::List(elem), format!("[]{}", self.table.types[usize::from(elem)].go_name))
            }
            Expr::Map(inner) => {
                let elem = self.expr(inner)?;
                (Shape::Map(elem), format!("map[string]{}", self.table.types[usize::from(elem)].go_name))
            }
            Expr::Builtin(name) => {
                let shape = match name.as_str() {
                    "string" => Shape::String,
                    "bool" => Shape::Bool,
                    "int32" => Shape::Int32,
                    "int64" => Shape::Int64,
                    other => bail!("builtin {other} has no shape"),
                };
                (shape, name.clone())
            }
        };
        self.intern(Type { shape, go_name, values: Vec::new() })
    }

    fn structure(&mut self, package: &str, name: &str, go_fields: &[golang::Field]) -> Result<u16> {
        let key = (package.to_owned(), name.to_owned());
        if let Some(id) = self.struct_ids.get(&key) {
            return Ok(*id);
        }
        let id = u16::try_from(self.table.structs.len()).context("more than 65,536 structs")?;
        self.struct_ids.insert(key, id);
        self.table.structs.push(Struct::default());
        let prefix = prefix_of(package)?;
        let mut made = Struct { package: prefix.to_owned(), name: name.to_owned(), ..Struct::default() };
        let mut docs = BTreeMap::new();
        let definition = self.sources.definitions.get(&format!("{prefix}.{name}"));
        self.collect(package, go_fields, definition, Place::Own, &mut made, &mut docs)?;
        if let Some(definition) = definition {
            made.atomic = definition["x-kubernetes-map-type"] == "atomic";
            made.extensions = definition["x-kubernetes-unions"].clone();
        }
        self.check_wire(package, name, &made)?;
        let own = definition.and_then(|d| d["description"].as_str()).unwrap_or_default().to_owned();
        let fields = made.fields.iter().map(|f| docs.remove(&f.name).unwrap_or_default());
        self.struct_docs.insert(id, std::iter::once(own).chain(fields).collect());
        self.table.structs[usize::from(id)] = made;
        Ok(id)
    }

    /// Adds fields, and those of embedded structs, to `made`.
    fn collect(
        &mut self,
        package: &str,
        go_fields: &[golang::Field],
        definition: Option<&Value>,
        place: Place,
        made: &mut Struct,
        docs: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let sources = self.sources;
        for go in go_fields {
            if go.json.is_empty() {
                let Expr::Named(from, name) = &go.ty else { bail!("embeds something without a name") };
                let Some(Decl::Struct(inner)) = sources.go.get(from, name) else {
                    bail!("embeds {name}, not a struct")
                };
                let inner_place = if name == "TypeMeta" {
                    Place::TypeMeta
                } else {
                    ensure!(go.proto > 0, "embedded {name} has no protobuf number");
                    let id = self.structure(from, name, inner)?;
                    if place == Place::Own {
                        made.embeds.push((go.proto, id));
                    }
                    Place::Embedded
                };
                self.collect(from, inner, definition, inner_place, made, docs)?;
                continue;
            }
            let field = self.field(package, go, definition, place, made, docs)?;
            made.fields.push(field);
        }
        made.fields.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    fn field(
        &mut self,
        package: &str,
        go: &golang::Field,
        definition: Option<&Value>,
        place: Place,
        made: &Struct,
        docs: &mut BTreeMap<String, String>,
    ) -> Result<Field> {
        let ty = self.expr(&go.ty).with_context(|| format!("field {}", go.json))?;
        let pointer = matches!(go.ty, Expr::Pointer(_));
        let mut flags = if place == Place::Embedded { flag::EMBEDDED } else { 0 };
        flags |= if pointer { flag::POINTER } else { 0 };
        flags |= if go.omit_empty { flag::OMIT_EMPTY } else { 0 };
        flags |= if go.omit_zero { flag::OMIT_ZERO } else { 0 };
        let proto = if place == Place::Own { go.proto } else { 0 };
        let mut field = Field { name: go.json.clone(), ty, proto, flags, ..Field::default() };
        if let Some(definition) = definition {
            let property = &definition["properties"][&go.json];
            let text = |key: &str| property[key].as_str().unwrap_or_default().to_owned();
            if definition["required"].as_array().is_some_and(|r| r.iter().any(|n| n == go.json.as_str())) {
                field.flags |= flag::REQUIRED;
            }
            field.patch_merge_key = text("x-kubernetes-patch-merge-key");
            field.patch_strategy = text("x-kubernetes-patch-strategy");
            field.list_type = text("x-kubernetes-list-type");
            field.map_type = text("x-kubernetes-map-type");
            let keys = property["x-kubernetes-list-map-keys"].as_array().map(Vec::as_slice).unwrap_or_default();
            field.list_map_keys = keys.iter().filter_map(|k| k.as_str().map(str::to_owned)).collect();
            docs.insert(go.json.clone(), text("description"));
        }
        let declared = go.default.as_ref().map(|d| self.sources.go.default_value(package, d)).transpose()?;
        let key = (made.package.clone(), made.name.clone());
        let ours = self.supplement.get_mut(&key).and_then(|fields| fields.remove(&go.json));
        field.default = ours.or(declared).filter(|d| pointer || !is_zero(d));
        Ok(field)
    }

    /// The protobuf file must say the same of every field as the Go tags.
    fn check_wire(&self, package: &str, name: &str, made: &Struct) -> Result<()> {
        let full = message_name(package, name);
        let message = self.sources.messages.get(&full).with_context(|| format!("no message {full}"))?;
        for field in made.fields.iter().filter(|f| f.proto != 0) {
            let wire = message.get(&field.proto).with_context(|| format!("{full} has no number {}", field.proto))?;
            let (expected, repeated) = self.wire_type(field.ty);
            let same = expected.is_empty() || expected == wire.ty || expected == "map<string,>";
            ensure!(same && repeated == wire.repeated, "{full}.{}: {expected} here, {wire:?} there", field.name);
        }
        let known = made.fields.iter().filter(|f| f.proto != 0).count() + made.embeds.len();
        ensure!(known == message.len(), "{full}: {known} of {} fields are known", message.len());
        Ok(())
    }

    /// The protobuf type of a type, empty where any message will do, and whether it is repeated.
    fn wire_type(&self, ty: u16) -> (String, bool) {
        let plain = |s: &str| (s.to_owned(), false);
        match self.table.types[usize::from(ty)].shape {
            Shape::String => plain("string"),
            Shape::Int32 => plain("int32"),
            Shape::Int64 => plain("int64"),
            Shape::Bool => plain("bool"),
            Shape::Bytes => plain("bytes"),
            Shape::Quantity => plain("k8s.io.apimachinery.pkg.api.resource.Quantity"),
            Shape::IntOrString => plain("k8s.io.apimachinery.pkg.util.intstr.IntOrString"),
            Shape::Time => plain("k8s.io.apimachinery.pkg.apis.meta.v1.Time"),
            Shape::MicroTime => plain("k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime"),
            Shape::RawExtension => plain("k8s.io.apimachinery.pkg.runtime.RawExtension"),
            Shape::FieldsV1 => plain("k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1"),
            Shape::WrappedList(_) => (String::new(), false),
            Shape::Map(elem) => (format!("map<string,{}>", self.wire_type(elem).0), false),
            Shape::List(elem) => (self.wire_type(elem).0, true),
            Shape::Struct(id) => {
                let s = &self.table.structs[usize::from(id)];
                if s.name.is_empty() {
                    (String::new(), false)
                } else {
                    (format!("k8s.io.{}.{}", s.package.trim_start_matches("io.k8s."), s.name), false)
                }
            }
        }
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

fn prefix_of(package: &str) -> Result<&'static str> {
    let found = PACKAGES.iter().find(|(import, _)| *import == package);
    Ok(found.with_context(|| format!("package {package} is not listed"))?.1)
}

fn import_of(prefix: &str) -> Result<&'static str> {
    let found = PACKAGES.iter().find(|(_, p)| *p == prefix);
    Ok(found.with_context(|| format!("prefix {prefix} is not listed"))?.0)
}

fn message_name(package: &str, name: &str) -> String {
    format!("{}.{name}", package.replace('/', "."))
}
