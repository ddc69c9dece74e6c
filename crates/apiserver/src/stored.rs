//! The bytes of an object as they are stored, listed and watched: encoded once, with a hole for their own revision.

use std::sync::Arc;

use client::Object;
use meta::ResourceVersion;
use serde_json::Value;
use store_core::{Payload, Record, Revision, Seed};

/// Encodes an object for the store, and leaves its tree for the first reader.
pub fn encode(object: Value) -> Payload {
    let api::encode::Stored { bytes, revision_at } = api::encode::stored(&object);
    Payload { bytes, revision_at, seed: Seed::new(object) }
}

/// The object of a tree that is not stored as it is (a dry run's, another version's), as of a revision.
pub fn shown(tree: Value, revision: Revision) -> Arc<Object> {
    let api::encode::Stored { bytes, revision_at } = api::encode::stored(&tree);
    let bytes = Payload { bytes, revision_at, seed: Seed::default() }.at(revision);
    Arc::new(Object::with_tree(ResourceVersion(revision.0), bytes, tree))
}

/// The object of a record, shared by all who ask; in the stored representation.
pub fn object(record: &Record, made: impl FnOnce()) -> Arc<Object> {
    record.companion(|seed| {
        made();
        let (revision, json) = (ResourceVersion(record.revision.0), record.value.clone());
        match seed.take() {
            Some(tree) => Object::with_tree(revision, json, tree),
            None => Object::new(revision, json),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store_core::Revision;

    use super::*;

    #[test]
    fn the_first_reader_gets_the_tree_that_the_bytes_say() {
        let tree = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "web-0", "uid": "u", "resourceVersion": "3", "labels": {"a": "é\u{1}\""}},
            "spec": {"whole": 3, "negative": -1, "large": u64::MAX, "fraction": 0.1, "round": 2.0, "none": null, "no": []},
        });
        let payload = encode(tree);
        let bytes = payload.at(Revision(7));
        let seed = payload.seed.take().unwrap();
        let (revision, read) = (ResourceVersion(7), Object::new(ResourceVersion(7), bytes.clone()));
        assert_eq!(Object::with_tree(revision, bytes, seed).tree(), read.tree());
        assert!(payload.seed.take::<Value>().is_none());
    }
}
