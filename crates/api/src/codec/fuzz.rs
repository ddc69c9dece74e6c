//! One entry for each parser, for `cargo fuzz` and for the property tests: whatever the bytes are, no panic, and what is
//! accepted keeps its meaning.

use super::{Expected, Media, Mode, decode, normalise, protobuf, yaml_documents};
use crate::Gvk;
use crate::encode::stored;

/// Kinds that together hold every shape of the schema.
const KINDS: &[Gvk<'static>] = &[
    Gvk::of("", "v1", "Pod"),
    Gvk::of("", "v1", "ConfigMap"),
    Gvk::of("", "v1", "Event"),
    Gvk::of("apps", "v1", "StatefulSet"),
    Gvk::of("apps", "v1", "ControllerRevision"),
    Gvk::of("authentication.k8s.io", "v1", "TokenReview"),
];

/// A JSON body of any kind.
pub fn json(body: &[u8]) {
    body_of_any_kind(body, Media::Json);
}

/// A YAML body of any kind, and a YAML file.
pub fn yaml(body: &[u8]) {
    body_of_any_kind(body, Media::Yaml);
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = yaml_documents(text);
    }
}

/// A protobuf body of any kind, with and without an envelope around it.
pub fn protobuf(body: &[u8]) {
    body_of_any_kind(body, Media::Protobuf);
    let mut framed = protobuf::MAGIC.to_vec();
    framed.push(0x12);
    let mut length = body.len();
    while length >= 0x80 {
        framed.push(length as u8 | 0x80);
        length >>= 7;
    }
    framed.push(length as u8);
    framed.extend_from_slice(body);
    body_of_any_kind(&framed, Media::Protobuf);
}

fn body_of_any_kind(body: &[u8], media: Media) {
    for kind in KINDS {
        let expected = Expected::exactly(*kind);
        let _ = decode(body, media, expected, Mode::Sparse);
        let Ok(decoded) = decode(body, media, expected, Mode::Typed) else { continue };
        let again = normalise(decoded.tree.clone(), expected, Mode::Typed).expect("an accepted tree stays accepted");
        assert_eq!(again.tree, decoded.tree, "a typed tree is a fixed point");
        assert!(again.problems.is_empty(), "a typed tree has known fields only");
        let bytes = protobuf::encode(&decoded.tree).expect("a typed tree has a protobuf form");
        let back = decode(&bytes, Media::Protobuf, expected, Mode::Typed).expect("we wrote it").tree;
        assert_eq!(without_nested_types(back), without_nested_types(decoded.tree.clone()));
        let text = stored(&decoded.tree);
        serde_json::from_slice::<serde_json::Value>(&text.bytes).expect("stored objects are JSON");
    }
}

/// Kind and version of claim templates are not in protobuf, nor is an empty list.
fn without_nested_types(mut tree: serde_json::Value) -> serde_json::Value {
    let templates = tree.pointer_mut("/spec/volumeClaimTemplates").and_then(serde_json::Value::as_array_mut);
    for template in templates.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
        template.remove("kind");
        template.remove("apiVersion");
    }
    if let Some(metadata) = tree.get_mut("metadata").and_then(serde_json::Value::as_object_mut)
        && metadata.get("managedFields").is_some_and(|list| list.as_array().is_some_and(Vec::is_empty))
    {
        metadata.remove("managedFields");
    }
    tree
}
