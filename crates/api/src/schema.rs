//! What every object looks like: one table, generated from upstream's definitions by `cargo xtask codegen`.
//!
//! The table is committed packed ([`wire`]) and read once, at its first use, into a few hundred kilobytes that stay.
//! Descriptions are a separate file that is unpacked for the moment in which an OpenAPI document is made ([`Docs`]).
//! Start with [`Schema::get`] and [`Schema::root`].

pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::ZlibDecoder;
use serde_json::Value;

use crate::Gvk;
pub use wire::Shape;
use wire::flag;

static PACKED_TABLE: &[u8] = include_bytes!("schema/table.json.z");
static PACKED_DOCS: &[u8] = include_bytes!("schema/docs.txt.z");

/// Index of a type in the table.
pub type TypeId = u16;
/// Index of a struct in the table.
pub type StructId = u16;

/// One type.
#[derive(Debug)]
pub struct Type {
    /// What it is.
    pub shape: Shape,
    /// Its name in upstream's error texts, for example `[]v1.Container`.
    pub go_name: &'static str,
    /// The allowed values of an enumerated string; for documents only.
    pub values: Box<[&'static str]>,
}

/// How server-side apply treats a list (P-26).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ListType {
    /// One leaf; also where upstream says nothing.
    #[default]
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Items with keys.
    Map,
}

/// The rarer facts about a field.
#[derive(Debug, Default)]
struct Extra {
    patch_merge_key: &'static str,
    patch_strategy: &'static str,
    list_type_text: &'static str,
    map_type: &'static str,
    list_map_keys: Box<[&'static str]>,
    default: Option<Value>,
}

/// One field of a struct.
#[derive(Debug)]
pub struct Field {
    /// JSON name.
    pub name: &'static str,
    /// Type.
    pub ty: TypeId,
    /// Protobuf number; 0 if it is not in protobuf, or stands in an embedded message.
    pub proto: u16,
    flags: u16,
    extra: Option<Box<Extra>>,
}

impl Field {
    /// Listed as required in upstream's definitions.
    pub fn is_required(&self) -> bool {
        self.flags & flag::REQUIRED != 0
    }

    /// Absent and zero are different.
    pub fn is_pointer(&self) -> bool {
        self.flags & flag::POINTER != 0
    }

    /// Left out of JSON when empty.
    pub fn omits_empty(&self) -> bool {
        self.flags & flag::OMIT_EMPTY != 0
    }

    /// Stands in an embedded message in protobuf.
    pub fn is_embedded(&self) -> bool {
        self.flags & flag::EMBEDDED != 0
    }

    /// Merge key of strategic merge patches; `None` for lists that are replaced, or primitive.
    pub fn patch_merge_key(&self) -> Option<&'static str> {
        self.extra.as_ref().map(|e| e.patch_merge_key).filter(|k| !k.is_empty())
    }

    /// Strategies of strategic merge patches: any of `merge`, `retainKeys`, `replace`.
    pub fn patch_strategies(&self) -> impl Iterator<Item = &'static str> {
        self.patch_strategy_text().split(',').filter(|s| !s.is_empty())
    }

    /// The strategies as published, comma separated; empty without.
    pub fn patch_strategy_text(&self) -> &'static str {
        self.extra.as_ref().map_or("", |e| e.patch_strategy)
    }

    /// How server-side apply treats this list; [`ListType::Atomic`] for what is no list.
    pub fn list_type(&self) -> ListType {
        match self.list_type_text() {
            "map" => ListType::Map,
            "set" => ListType::Set,
            _ => ListType::Atomic,
        }
    }

    /// The list type as published; empty without.
    pub fn list_type_text(&self) -> &'static str {
        self.extra.as_ref().map_or("", |e| e.list_type_text)
    }

    /// Keys of the items of a [`ListType::Map`].
    pub fn list_map_keys(&self) -> &[&'static str] {
        self.extra.as_ref().map_or(&[], |e| &e.list_map_keys)
    }

    /// True if server-side apply owns this map or struct as one leaf because of this field; see also
    /// [`Struct::atomic`].
    pub fn is_map_atomic(&self) -> bool {
        self.map_type_text() == "atomic"
    }

    /// The map type as published; empty without.
    pub fn map_type_text(&self) -> &'static str {
        self.extra.as_ref().map_or("", |e| e.map_type)
    }

    /// The value that this field takes when absent, if that hangs on nothing else.
    pub fn default(&self) -> Option<&Value> {
        self.extra.as_ref().and_then(|e| e.default.as_ref())
    }
}

/// What stands under a protobuf number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WireSlot {
    /// A field by index.
    Field(u16),
    /// A message whose fields stand in the same JSON object.
    Embed(StructId),
}

/// One struct.
#[derive(Debug)]
pub struct Struct {
    /// Package in definition names, for example `io.k8s.api.apps.v1`.
    pub package: &'static str,
    /// Name, for example `StatefulSetSpec`.
    pub name: &'static str,
    /// Protobuf messages whose fields stand directly in this struct's JSON: number and struct.
    pub embeds: Box<[(u16, StructId)]>,
    /// Server-side apply owns it as one leaf.
    pub atomic: bool,
    /// `x-kubernetes-unions` as published; null without.
    pub unions: Value,
    /// Fields, sorted by JSON name.
    pub fields: Box<[Field]>,
    /// What stands in protobuf, by number.
    pub(crate) wire: Box<[(u16, WireSlot)]>,
    /// Indices of fields that are never absent: those with a default, and those that upstream always writes.
    pub(crate) fills: Box<[u16]>,
}

impl Struct {
    /// The field of that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &self.fields[i])
    }

    /// What stands under a protobuf number.
    pub(crate) fn wire_slot(&self, number: u64) -> Option<WireSlot> {
        let found = self.wire.binary_search_by(|(n, _)| u64::from(*n).cmp(&number));
        found.ok().map(|i| self.wire[i].1)
    }

    /// Name of the published definition, for example `io.k8s.api.apps.v1.StatefulSetSpec`.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }
}

/// What can stand at the top of a request or response.
#[derive(Debug)]
pub struct Root {
    /// Group, version and kind.
    pub gvk: Gvk<'static>,
    /// Its type; always a struct.
    pub ty: TypeId,
    /// One of upstream's published definitions.
    pub published: bool,
}

/// The whole table.
#[derive(Debug)]
pub struct Schema {
    version: &'static str,
    types: Box<[Type]>,
    structs: Box<[Struct]>,
    roots: Box<[Root]>,
}

impl Schema {
    /// The table of this build, read on first use.
    ///
    /// # Panics
    /// If the embedded table cannot be read: it is written by our own code generator and read by every test.
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Schema> = OnceLock::new();
        TABLE.get_or_init(|| {
            let table: wire::Table = serde_json::from_reader(std::io::BufReader::new(ZlibDecoder::new(PACKED_TABLE)))
                .expect("the embedded schema table is what codegen wrote");
            Self::of(&table)
        })
    }

    fn of(table: &wire::Table) -> Self {
        let mut names = Names::default();
        let types = table.types.iter().map(|t| Type {
            shape: t.shape,
            go_name: names.intern(&t.go_name),
            values: t.values.iter().map(|v| names.intern(v)).collect(),
        });
        let types: Box<[Type]> = types.collect();
        let structs = table.structs.iter().map(|s| {
            let fields: Box<[Field]> = s.fields.iter().map(|f| field(f, &mut names)).collect();
            Struct {
                package: names.intern(&s.package),
                name: names.intern(&s.name),
                embeds: s.embeds.clone().into_boxed_slice(),
                atomic: s.atomic,
                unions: s.extensions.clone(),
                fills: fills(&fields, &types),
                wire: wire_slots(&fields, &s.embeds),
                fields,
            }
        });
        let structs = structs.collect();
        let roots = table.roots.iter().map(|r| Root {
            gvk: Gvk { group: names.intern(&r.group), version: names.intern(&r.version), kind: names.intern(&r.kind) },
            ty: r.ty,
            published: r.published,
        });
        let mut roots: Vec<Root> = roots.collect();
        roots.sort_by_key(|r| r.gvk);
        Self { version: names.intern(&table.version), roots: roots.into_boxed_slice(), types, structs }
    }

    /// Version of upstream's definitions, for example `1.37.0`.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// The type of a kind.
    pub fn root(&self, gvk: Gvk<'_>) -> Option<TypeId> {
        self.roots.binary_search_by(|r| r.gvk.cmp(&gvk)).ok().map(|i| self.roots[i].ty)
    }

    /// All kinds, sorted.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// A type.
    pub fn ty(&self, id: TypeId) -> &Type {
        &self.types[usize::from(id)]
    }

    /// What a type is.
    pub fn shape(&self, id: TypeId) -> Shape {
        self.ty(id).shape
    }

    /// A struct.
    pub fn structure(&self, id: StructId) -> &Struct {
        &self.structs[usize::from(id)]
    }

    /// All structs, in the order of [`Docs`].
    pub fn structs(&self) -> &[Struct] {
        &self.structs
    }

    /// The struct behind a type, if it is one.
    pub fn struct_of(&self, id: TypeId) -> Option<&Struct> {
        match self.shape(id) {
            Shape::Struct(s) => Some(self.structure(s)),
            _ => None,
        }
    }

    /// The field of a struct type.
    pub fn field(&self, id: TypeId, name: &str) -> Option<&Field> {
        self.struct_of(id)?.field(name)
    }

    /// The type of the items of a list, or of the values of a map.
    pub fn element(&self, id: TypeId) -> Option<TypeId> {
        match self.shape(id) {
            Shape::List(e) | Shape::WrappedList(e) | Shape::Map(e) => Some(e),
            _ => None,
        }
    }
}

fn field(field: &wire::Field, names: &mut Names) -> Field {
    let extra = Extra {
        patch_merge_key: names.intern(&field.patch_merge_key),
        patch_strategy: names.intern(&field.patch_strategy),
        list_type_text: names.intern(&field.list_type),
        map_type: names.intern(&field.map_type),
        list_map_keys: field.list_map_keys.iter().map(|k| names.intern(k)).collect(),
        default: field.default.clone(),
    };
    let is_plain = extra.patch_merge_key.is_empty()
        && extra.patch_strategy.is_empty()
        && extra.list_type_text.is_empty()
        && extra.map_type.is_empty()
        && extra.default.is_none();
    Field {
        name: names.intern(&field.name),
        ty: field.ty,
        proto: field.proto,
        flags: field.flags,
        extra: (!is_plain).then(|| Box::new(extra)),
    }
}

fn wire_slots(fields: &[Field], embeds: &[(u16, StructId)]) -> Box<[(u16, WireSlot)]> {
    let own = (0..).zip(fields).filter(|(_, f)| f.proto != 0).map(|(i, f)| (f.proto, WireSlot::Field(i)));
    let embedded = embeds.iter().map(|(number, id)| (*number, WireSlot::Embed(*id)));
    let mut slots: Vec<_> = own.chain(embedded).collect();
    slots.sort_by_key(|(number, _)| *number);
    slots.into_boxed_slice()
}

/// Fields that upstream's JSON always holds: no `omitempty`, or a struct that cannot be empty in Go; and those with a
/// default. Times are the exception: their zero is `null`, which we leave out.
fn fills(fields: &[Field], types: &[Type]) -> Box<[u16]> {
    let always = |f: &Field| {
        let shape = types[usize::from(f.ty)].shape;
        let omits = match shape {
            Shape::Struct(_) | Shape::Quantity | Shape::IntOrString => f.flags & flag::OMIT_ZERO != 0,
            Shape::Time | Shape::MicroTime | Shape::RawExtension | Shape::FieldsV1 => true,
            _ => f.omits_empty(),
        };
        !f.is_pointer() && !omits
    };
    let is_filled = |f: &Field| f.default().is_some() || always(f);
    (0..).zip(fields).filter(|(_, f)| is_filled(f)).map(|(i, _)| i).collect()
}

/// Texts that live as long as the process; each is kept once.
#[derive(Default)]
struct Names(BTreeSet<&'static str>);

impl Names {
    fn intern(&mut self, text: &str) -> &'static str {
        if let Some(known) = self.0.get(text) {
            return known;
        }
        let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
        self.0.insert(kept);
        kept
    }
}

/// Descriptions of all structs and fields; unpacked, half a megabyte, so hold it no longer than needed.
#[derive(Debug)]
pub struct Docs {
    text: String,
    starts: BTreeMap<StructId, usize>,
}

impl Docs {
    /// Unpacks the descriptions.
    ///
    /// # Panics
    /// If the embedded file does not fit the table: both are written together.
    pub fn load(schema: &Schema) -> Self {
        let mut text = String::new();
        ZlibDecoder::new(PACKED_DOCS).read_to_string(&mut text).expect("the embedded descriptions are zlib and UTF-8");
        let mut starts = BTreeMap::new();
        let mut at = 0;
        for (id, s) in (0..).zip(schema.structs()) {
            starts.insert(id, at);
            for _ in 0..=s.fields.len() {
                at += text[at..].find('\0').expect("one description for each struct and field") + 1;
            }
        }
        assert_eq!(at, text.len(), "descriptions are left over");
        Self { text, starts }
    }

    /// The description of a struct, then those of its fields in order; empty texts where there is none.
    pub fn of(&self, id: StructId) -> impl Iterator<Item = &str> {
        self.text[self.starts.get(&id).copied().unwrap_or(self.text.len())..].split('\0')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(package: &str, name: &str) -> &'static Struct {
        let found = Schema::get().structs().iter().find(|s| s.package == package && s.name == name);
        found.unwrap_or_else(|| panic!("no {package}.{name}"))
    }

    #[test]
    fn protobuf_numbers_of_the_stateful_set_spec_are_those_of_a_8() {
        //
        let spec = named("io.k8s.api.apps.v1", "StatefulSetSpec");
        let mut numbers: Vec<_> = spec.fields.iter().map(|f| (f.proto, f.name)).collect();
        numbers.sort_unstable();
        assert_eq!(
            numbers,
            [
                (1, "replicas"),
                (2, "selector"),
                (3, "template"),
                (4, "volumeClaimTemplates"),
                (5, "serviceName"),
                (6, "podManagementPolicy"),
                (7, "updateStrategy"),
                (8, "revisionHistoryLimit"),
                (9, "minReadySeconds"),
                (10, "persistentVolumeClaimRetentionPolicy"),
                (11, "ordinals"),
            ]
        );
    }

    #[test]
    fn merge_keys_and_list_types_are_those_of_p_26() {
        let rows = [
            ("PodSpec", "containers", Some("name"), "merge", ListType::Map, &["name"][..]),
            ("PodSpec", "volumes", Some("name"), "merge,retainKeys", ListType::Map, &["name"]),
            ("PodSpec", "tolerations", None, "", ListType::Atomic, &[]),
            ("Container", "ports", Some("containerPort"), "merge", ListType::Map, &["containerPort", "protocol"]),
            ("Container", "args", None, "", ListType::Atomic, &[]),
            ("ServiceSpec", "ports", Some("port"), "merge", ListType::Map, &["port", "protocol"]),
            ("NodeSpec", "podCIDRs", None, "merge", ListType::Set, &[]),
            ("PodStatus", "hostIPs", Some("ip"), "merge", ListType::Atomic, &[]),
        ];
        for (name, field, key, strategy, list, keys) in rows {
            let f = named("io.k8s.api.core.v1", name).field(field).unwrap();
            assert_eq!(f.patch_merge_key(), key, "{name}.{field}");
            assert_eq!(f.patch_strategy_text(), strategy, "{name}.{field}");
            assert_eq!(f.list_type(), list, "{name}.{field}");
            assert_eq!(f.list_map_keys(), keys, "{name}.{field}");
        }
    }

    #[test]
    fn every_kind_has_a_struct_with_metadata_or_a_known_reason_not_to() {
        for root in Schema::get().roots() {
            assert!(Schema::get().struct_of(root.ty).is_some(), "{:?} is no struct", root.gvk);
        }
    }

    #[test]
    fn descriptions_fit_their_fields() {
        let schema = Schema::get();
        let docs = Docs::load(schema);
        let (id, spec) = (0..).zip(schema.structs()).find(|(_, s)| s.name == "StatefulSetSpec").unwrap();
        let mut texts = docs.of(id);
        assert_eq!(texts.next().unwrap(), "A StatefulSetSpec is the specification of a StatefulSet.");
        let at = spec.fields.iter().position(|f| f.name == "serviceName").unwrap();
        assert!(texts.nth(at).unwrap().starts_with("serviceName is the name of the service"));
    }
}
