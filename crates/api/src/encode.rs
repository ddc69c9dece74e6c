//! From trees to the bytes that are stored, listed and watched: JSON, encoded once per revision.

use bytes::Bytes;
use serde_json::{Map, Value};

/// An object as it is stored: JSON with a hole for the revision that the store will give it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The text; `metadata.resourceVersion` is empty in it.
    pub bytes: Bytes,
    /// Where the decimal revision goes: between the quotes of `metadata.resourceVersion`. `None` without metadata.
    pub revision_at: Option<usize>,
}

/// Encodes an object for the store: `kind`, `apiVersion` and `metadata` first, the rest in the order of their names.
///
/// A `metadata.resourceVersion` of the tree is left out.
pub fn stored(tree: &Value) -> Stored {
    let mut out = Vec::with_capacity(2048);
    let Value::Object(map) = tree else {
        write(&mut out, tree);
        return Stored { bytes: out.into(), revision_at: None };
    };
    let mut revision_at = None;
    out.push(b'{');
    for name in ["kind", "apiVersion"] {
        if let Some(value) = map.get(name) {
            key(&mut out, name);
            write(&mut out, value);
        }
    }
    if let Some(Value::Object(metadata)) = map.get("metadata") {
        key(&mut out, "metadata");
        revision_at = Some(metadata_with_hole(&mut out, metadata));
    }
    for (name, value) in map {
        if !matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
            key(&mut out, name);
            write(&mut out, value);
        }
    }
    out.push(b'}');
    Stored { bytes: out.into(), revision_at }
}

fn metadata_with_hole(out: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    const NAME: &str = "resourceVersion";
    out.push(b'{');
    for (name, value) in metadata.iter().take_while(|(name, _)| name.as_str() < NAME) {
        key(out, name);
        write(out, value);
    }
    key(out, NAME);
    out.push(b'"');
    let at = out.len();
    out.push(b'"');
    for (name, value) in metadata.iter().filter(|(name, _)| name.as_str() > NAME) {
        key(out, name);
        write(out, value);
    }
    out.push(b'}');
    at
}

/// A member's name, after a comma unless it is the first.
fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    write(out, name);
    out.push(b':');
}

fn write(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a tree has text keys, and a buffer takes all bytes");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(tree: Value, expected: &str) {
        let stored = stored(&tree);
        let mut text = String::from_utf8(stored.bytes.to_vec()).unwrap();
        if let Some(at) = stored.revision_at {
            text.insert_str(at, "42");
        }
        assert_eq!(text, expected);
        serde_json::from_str::<Value>(&text).unwrap();
    }

    #[test]
    fn the_hole_is_where_the_revision_goes() {
        check(
            json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "b"},
                "metadata": {"name": "x", "resourceVersion": "7", "uid": "u", "annotations": {}}}),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"annotations":{},"name":"x","resourceVersion":"42","uid":"u"},"data":{"a":"b"}}"#,
        );
        check(json!({"metadata": {}}), r#"{"metadata":{"resourceVersion":"42"}}"#);
        check(json!({"metadata": {"uid": "u"}}), r#"{"metadata":{"resourceVersion":"42","uid":"u"}}"#);
        check(json!({"kind": "x"}), r#"{"kind":"x"}"#);
    }
}
