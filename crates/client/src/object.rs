//! One stored object, shared by all who read it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use meta::{ResourceVersion, Uid};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One state of one object: the bytes that go over the wire, and their decoded tree once somebody asked for it.
///
/// The bytes hold `apiVersion`, `kind` and `metadata.resourceVersion`: get, list and every watcher are handed the same
/// ones.
#[derive(Debug)]
pub struct Object {
    /// Revision of this state.
    pub resource_version: ResourceVersion,
    /// The JSON text.
    pub json: Bytes,
    tree: OnceLock<Arc<Value>>,
    encoded: OnceLock<Option<Bytes>>,
}

impl Object {
    /// An object from its stored bytes.
    pub fn new(resource_version: ResourceVersion, json: Bytes) -> Self {
        Self { resource_version, json, tree: OnceLock::new(), encoded: OnceLock::new() }
    }

    /// An object from its stored bytes, and the tree that they were made from, whatever revision that names.
    pub fn with_tree(resource_version: ResourceVersion, json: Bytes, mut tree: Value) -> Self {
        if let Some(metadata) = tree.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), resource_version.to_string().into());
        }
        Self { tree: OnceLock::from(Arc::new(tree)), ..Self::new(resource_version, json) }
    }

    /// The decoded tree; decoded at most once.
    ///
    /// # Panics
    /// If the bytes are not JSON: stored bytes are checked by the store and written by the API server only.
    pub fn tree(&self) -> &Arc<Value> {
        self.tree.get_or_init(|| {
            Arc::new(serde_json::from_slice(&self.json).expect("stored objects are JSON that we wrote"))
        })
    }

    /// The object in another encoding, made by `make` at most once: what a crowd of watchers is sent. All callers make
    /// the same one; `None` if the kind has none.
    pub fn encoded(&self, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        self.encoded.get_or_init(make).clone()
    }

    /// A typed view, for controllers: of everything but `metadata.managedFields`, which are a third of a small object
    /// and which no controller reads.
    ///
    /// # Errors
    /// If the object does not have the type's shape.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match without_managed_fields(&self.json) {
            Some(lean) => serde_json::from_slice(&lean),
            None => serde_json::from_slice(&self.json),
        }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.metadata_text("name")
    }

    /// `metadata.namespace`; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.metadata_text("namespace")
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Uid {
        Uid(self.metadata_text("uid").to_owned())
    }

    fn metadata_text(&self, field: &str) -> &str {
        self.tree()["metadata"][field].as_str().unwrap_or_default()
    }
}

/// JSON text without the first member `managedFields` that is an array; `None` if there is none as we write it, without
/// white space. Inside of a string its quotes would be escaped, so nobody's text is taken for it.
fn without_managed_fields(json: &[u8]) -> Option<Vec<u8>> {
    const MEMBER: &[u8] = b"\"managedFields\":[";
    let start = memchr::memmem::find(json, MEMBER)?;
    let end = array_end(json, start + MEMBER.len())?;
    // A comma goes along.
    let (start, end) = match (json.get(end), start.checked_sub(1).map(|before| json[before])) {
        (Some(b','), _) => (start, end + 1),
        (_, Some(b',')) => (start - 1, end),
        _ => (start, end),
    };
    Some([&json[..start], &json[end..]].concat())
}

/// Behind the end of an array, from somewhere directly inside of it.
fn array_end(json: &[u8], from: usize) -> Option<usize> {
    let (mut depth, mut in_string, mut is_escaped) = (1_usize, false, false);
    for (at, byte) in json.iter().enumerate().skip(from) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_view_leaves_out_who_manages_which_fields_and_nothing_else() {
        let text = r#"a ] "managedFields":[ \ } b"#;
        let managed = json!([{"manager": text, "fieldsV1": {"f:spec": {"k:{\"name\":\"]\"}": {}}}}]);
        for metadata in [
            json!({"annotations": {"managedFields": text}, "managedFields": managed, "name": text}),
            json!({"managedFields": managed, "name": text}),
            json!({"annotations": {text: "x"}, "managedFields": managed}),
            json!({"managedFields": managed}),
            json!({"managedFields": []}),
            json!({"name": text}),
        ] {
            // `data` comes before `metadata`.
            let whole = json!({"data": {"managedFields": text}, "metadata": metadata, "status": {"items": [1, [2]]}});
            let mut wanted = whole.clone();
            wanted["metadata"].as_object_mut().map(|metadata| metadata.remove("managedFields"));
            let object = Object::new(ResourceVersion(1), whole.to_string().into());
            assert_eq!(object.view::<Value>().ok(), Some(wanted));
        }
        // What we did not write is read as it is.
        for odd in ["{\"managedFields\": [1]}", "{\"managedFields\":[1", "{\"managedFields\":null}"] {
            assert_eq!(without_managed_fields(odd.as_bytes()), None);
        }
    }
}
