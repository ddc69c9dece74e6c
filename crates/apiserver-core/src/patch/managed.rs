//! `metadata.managedFields`: who wrote which field, kept on every write (P-40 to P-43, P-50, P-51).
//!
//! Start with [`track`].

use meta::Timestamp;
use serde_json::{Map, Value, json};

use super::fields::{FieldSet, difference};
use super::place::{Place, Shape};

/// More `Update` managers than this are merged, the oldest first, into one called `ancient-changes` (P-50).
const UPDATE_MANAGERS_MAX: usize = 10;
const ANCIENT_MANAGER: &str = "ancient-changes";
/// Takes the fields of an object that has no record when it is first applied to (P-50).
pub(crate) const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields of `metadata` that nobody owns (P-42).
const UNOWNED_METADATA: [&str; 8] = [
    "f:creationTimestamp",
    "f:generation",
    "f:managedFields",
    "f:name",
    "f:namespace",
    "f:resourceVersion",
    "f:selfLink",
    "f:uid",
];

/// Who writes, where and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager; empty becomes `unknown`.
    pub manager: &'a str,
    /// Group and version of the request, as in `apiVersion`.
    pub api_version: &'a str,
    /// The subresource written to; empty for the object itself.
    pub subresource: &'a str,
    /// Fields that this endpoint does not write, as paths of field names: `status` on the object itself, `spec` on
    /// `/status` (P-42).
    pub ignored: &'a [&'a [&'a str]],
    /// The time of the write.
    pub now: Timestamp,
}

/// How a manager came by its fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// The field set of an entry, read only when it is needed.
#[derive(Clone, Debug)]
pub(crate) enum Fields {
    Raw(Value),
    Set(FieldSet),
}

impl Fields {
    pub(crate) fn set(&self) -> FieldSet {
        match self {
            // What was stored was checked when it came in.
            Self::Raw(raw) => FieldSet::from_json(raw).unwrap_or_default(),
            Self::Set(set) => set.clone(),
        }
    }

    fn take(&mut self) -> FieldSet {
        match std::mem::replace(self, Self::Raw(Value::Null)) {
            Self::Raw(raw) => FieldSet::from_json(&raw).unwrap_or_default(),
            Self::Set(set) => set,
        }
    }

    fn intersects(&self, other: &FieldSet) -> bool {
        match self {
            Self::Raw(raw) => raw_intersects(other, raw),
            Self::Set(set) => set.intersects(other),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Raw(raw) => raw.as_object().is_none_or(Map::is_empty),
            Self::Set(set) => set.is_empty(),
        }
    }
}

/// [`FieldSet::intersects`] against a `fieldsV1` tree.
fn raw_intersects(set: &FieldSet, raw: &Value) -> bool {
    let Some(object) = raw.as_object() else { return false };
    if set.member && (object.is_empty() || object.contains_key(".")) {
        return true;
    }
    set.children.iter().any(|(element, child)| object.get(element).is_some_and(|raw| raw_intersects(child, raw)))
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: Option<String>,
    pub(crate) fields: Fields,
}

impl Entry {
    fn decode(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let fields = object.get("fieldsV1").cloned().unwrap_or_else(|| json!({}));
        Some(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: object.get("time").and_then(Value::as_str).map(str::to_owned),
            fields: Fields::Raw(fields),
        })
    }

    /// Like `decode`, for entries from a client: the field set must be one.
    fn decode_strictly(value: &Value) -> Option<Self> {
        let mut entry = Self::decode(value)?;
        let Fields::Raw(raw) = &entry.fields else { return None };
        entry.fields = Fields::Set(FieldSet::from_json(raw).ok()?);
        Some(entry)
    }

    fn encode(self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("apiVersion", Value::String(self.api_version));
        put("fieldsType", Value::String("FieldsV1".to_owned()));
        put(
            "fieldsV1",
            match self.fields {
                Fields::Raw(raw) => raw,
                Fields::Set(set) => set.into_json(),
            },
        );
        put("manager", Value::String(self.manager));
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        put("operation", Value::String(operation.to_owned()));
        if !self.subresource.is_empty() {
            put("subresource", Value::String(self.subresource));
        }
        if let Some(time) = self.time {
            put("time", Value::String(time));
        }
        Value::Object(object)
    }
}

/// All entries of one object.
#[derive(Clone, Default, Debug)]
pub(crate) struct Managers(pub(crate) Vec<Entry>);

impl Managers {
    /// The record of a stored object.
    pub(crate) fn of(live: &Value) -> Self {
        let entries = live["metadata"]["managedFields"].as_array();
        Self(entries.into_iter().flatten().filter_map(Entry::decode).collect())
    }

    /// Where the writer's own entry stands. An applier is known by its name only, not by version (P-40).
    pub(crate) fn position(&self, writer: &Writer<'_>, operation: Operation) -> Option<usize> {
        self.0.iter().position(|entry| {
            entry.operation == operation
                && entry.manager == writer.name()
                && entry.subresource == writer.subresource
                && (operation == Operation::Apply || entry.api_version == writer.api_version)
        })
    }

    /// Takes what changed or went away from everybody but the writer.
    pub(crate) fn take_from_others(&mut self, own: Option<usize>, changed: &FieldSet, removed: &FieldSet) {
        for (index, entry) in self.0.iter_mut().enumerate() {
            if Some(index) == own || !(entry.fields.intersects(changed) || entry.fields.intersects(removed)) {
                continue;
            }
            let mut set = entry.fields.take();
            set.subtract(changed);
            set.subtract(removed);
            entry.fields = Fields::Set(set);
        }
    }

    fn drop_empty(&mut self) {
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// Merges the oldest `Update` entries of each version until at most [`UPDATE_MANAGERS_MAX`] are left (P-50).
    fn cap(&mut self) {
        let mut updates: Vec<usize> = (0..self.0.len()).filter(|&i| self.0[i].operation == Operation::Update).collect();
        let mut surplus = updates.len().saturating_sub(UPDATE_MANAGERS_MAX);
        if surplus == 0 {
            return;
        }
        updates.sort_by(|&a, &b| {
            let key = |i: usize| (self.0[i].time.clone(), self.0[i].manager.clone());
            key(a).cmp(&key(b))
        });
        // The first entry of a version becomes that version's bucket once a second one comes.
        let mut buckets: Vec<(String, usize)> = Vec::new();
        let mut gone = Vec::new();
        for index in updates {
            if surplus == 0 {
                break;
            }
            let version = self.0[index].api_version.clone();
            let Some((_, bucket)) = buckets.iter().find(|(of, _)| *of == version) else {
                buckets.push((version, index));
                continue;
            };
            let set = self.0[index].fields.take();
            let time = self.0[index].time.clone();
            let bucket = &mut self.0[*bucket];
            bucket.manager = ANCIENT_MANAGER.to_owned();
            bucket.subresource.clear();
            bucket.time = time;
            let mut merged = bucket.fields.take();
            merged.union(set);
            bucket.fields = Fields::Set(merged);
            gone.push(index);
            surplus -= 1;
        }
        gone.sort_unstable();
        for index in gone.into_iter().rev() {
            self.0.remove(index);
        }
    }

    /// Writes the record into an object; an empty record is no record.
    pub(crate) fn write_into(mut self, object: &mut Value) {
        self.drop_empty();
        self.cap();
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        if self.0.is_empty() {
            metadata.remove("managedFields");
            return;
        }
        self.0.sort_by(|a, b| {
            let key = |e: &Entry| (e.operation, e.time.clone(), e.manager.clone(), e.api_version.clone());
            key(a).cmp(&key(b)).then_with(|| a.subresource.cmp(&b.subresource))
        });
        let entries = self.0.into_iter().map(Entry::encode).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

impl Writer<'_> {
    pub(crate) fn name(&self) -> &str {
        if self.manager.is_empty() { "unknown" } else { self.manager }
    }

    /// The time as entries print it: whole seconds.
    pub(crate) fn time(&self) -> String {
        meta::whole_seconds(self.now).to_string()
    }

    pub(crate) fn entry(&self, operation: Operation, fields: FieldSet) -> Entry {
        Entry {
            manager: self.name().to_owned(),
            operation,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            time: Some(self.time()),
            fields: Fields::Set(fields),
        }
    }

    /// Takes from a set what nobody owns and what this endpoint does not write.
    pub(crate) fn strip(&self, set: &mut FieldSet) {
        set.children.remove("f:apiVersion");
        set.children.remove("f:kind");
        if let Some(metadata) = set.children.get_mut("f:metadata") {
            metadata.member = false;
            for element in UNOWNED_METADATA {
                metadata.children.remove(element);
            }
            if metadata.children.is_empty() {
                set.children.remove("f:metadata");
            }
        }
        for path in self.ignored {
            remove_below(set, path);
        }
    }
}

fn remove_below(set: &mut FieldSet, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    let element = format!("f:{first}");
    if rest.is_empty() {
        set.children.remove(&element);
    } else if let Some(child) = set.children.get_mut(&element) {
        remove_below(child, rest);
        if child.is_empty() {
            set.children.remove(&element);
        }
    }
}

/// What a type has before anything is written: structs that are no pointers upstream. They are nobody's own paths.
pub(crate) fn bare_object(place: Place) -> Value {
    let mut object = Map::new();
    for (name, below) in place.always_there() {
        let value = match below.shape() {
            Shape::Struct { .. } => bare_object(below),
            _ => Value::Null,
        };
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// What the client wants the record to be.
enum Requested {
    /// Nothing: keep the live one.
    Keep,
    /// `[]` or `[{}]`: forget all (P-51).
    Reset,
    /// These entries.
    These(Managers),
}

/// Reads what the client sent; a malformed record is as good as none (P-51).
fn requested(sent: Option<Value>, live: Option<&Value>, writer: &Writer<'_>) -> Requested {
    let Some(Value::Array(sent)) = sent else { return Requested::Keep };
    if !writer.subresource.is_empty() {
        return Requested::Keep;
    }
    let is_bare = |entry: &Value| entry.as_object().is_some_and(Map::is_empty);
    if sent.is_empty() || (sent.len() == 1 && is_bare(&sent[0])) {
        return Requested::Reset;
    }
    let stored = live.and_then(|live| live["metadata"]["managedFields"].as_array());
    if stored.is_some_and(|stored| *stored == sent) {
        return Requested::Keep;
    }
    match sent.iter().map(Entry::decode_strictly).collect::<Option<Vec<_>>>() {
        Some(entries) => Requested::These(Managers(entries)),
        None => Requested::Keep,
    }
}

/// Records a create, update or patch (other than apply) in `new.metadata.managedFields` (P-42).
///
/// `live` is the stored object, `None` on create. `new` is the whole object after defaulting (P-43), with whatever
/// `managedFields` the client sent. Objects that carry no record stay without one (P-51).
pub fn track(place: Place, live: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let sent = metadata.remove("managedFields");
    let mut managers = match requested(sent, live, writer) {
        Requested::Keep => live.map(Managers::of).unwrap_or_default(),
        Requested::Reset => Managers::default(),
        Requested::These(managers) => managers,
    };
    if managers.0.is_empty() && live.is_some() {
        return;
    }
    record_update(place, live, new, &mut managers, writer);
    managers.write_into(new);
}

/// The bookkeeping of one update, without reading or writing `managedFields` of either object.
pub(crate) fn record_update(
    place: Place,
    live: Option<&Value>,
    new: &Value,
    managers: &mut Managers,
    writer: &Writer<'_>,
) {
    let mut found = match live {
        Some(live) => difference(Some(place), Some(live), Some(new)),
        None => difference(Some(place), Some(&bare_object(place)), Some(new)),
    };
    writer.strip(&mut found.changed);
    for path in writer.ignored {
        remove_below(&mut found.removed, path);
    }
    if found.is_empty() {
        return;
    }
    let own = managers.position(writer, Operation::Update);
    managers.take_from_others(own, &found.changed, &found.removed);
    match own {
        Some(index) => {
            let entry = &mut managers.0[index];
            if found.changed.is_empty() && !entry.fields.intersects(&found.removed) {
                return;
            }
            let mut set = entry.fields.take();
            set.subtract(&found.removed);
            if !found.changed.is_empty() {
                set.union(found.changed);
                entry.time = Some(writer.time());
            }
            entry.fields = Fields::Set(set);
        }
        None if !found.changed.is_empty() => {
            let entry = writer.entry(Operation::Update, found.changed);
            managers.0.push(entry);
        }
        None => {}
    }
}

/// Settles a write that changes nothing but times in `managedFields`: puts the stored record back and says so (P-44
/// step 7, V-39).
///
/// Both trees are whole objects after defaulting; `metadata.resourceVersion` is not compared.
pub fn settle(live: &Value, new: &mut Value) -> bool {
    let same = same_but(live, new, "metadata", |live, new| {
        live.iter().all(|(name, value)| match name.as_str() {
            "resourceVersion" => true,
            "managedFields" => new.get(name).is_some_and(|other| same_entries(value, other)),
            _ => new.get(name) == Some(value),
        }) && new.keys().all(|name| name == "resourceVersion" || live.contains_key(name))
    });
    let record = new.get_mut("metadata").and_then(Value::as_object_mut);
    if same && let (Some(stored), Some(metadata)) = (live["metadata"].as_object(), record) {
        for name in ["managedFields", "resourceVersion"] {
            match stored.get(name) {
                Some(value) => metadata.insert(name.to_owned(), value.clone()),
                None => metadata.remove(name),
            };
        }
    }
    same
}

/// True if two objects are equal, members called `name` being compared by `compare`.
fn same_but(
    live: &Value,
    new: &Value,
    name: &str,
    compare: impl Fn(&Map<String, Value>, &Map<String, Value>) -> bool,
) -> bool {
    let (Some(live), Some(new)) = (live.as_object(), new.as_object()) else { return live == new };
    live.len() == new.len()
        && live.iter().zip(new).all(|((a, old), (b, value))| {
            a == b
                && match (a == name, old.as_object(), value.as_object()) {
                    (true, Some(old), Some(value)) => compare(old, value),
                    _ => old == value,
                }
        })
}

/// True if two records differ in times only.
fn same_entries(live: &Value, new: &Value) -> bool {
    let (Some(live), Some(new)) = (live.as_array(), new.as_array()) else { return live == new };
    let same_entry = |a: &Value, b: &Value| {
        let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
        a.iter().filter(|(name, _)| *name != "time").eq(b.iter().filter(|(name, _)| *name != "time"))
    };
    // Another time may change the order.
    live.len() == new.len() && live.iter().all(|a| new.iter().any(|b| same_entry(a, b)))
}
