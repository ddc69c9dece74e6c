//! JSON merge patch, RFC 7386 (P-15).

use serde_json::{Map, Value};

/// The document after the patch: objects merge, null deletes, all else replaces.
pub fn merge_patch(document: &Value, patch: &Value) -> Value {
    // A copy of what the patch replaces would be for nothing: of a list of a hundred endpoints, often.
    merge_copy(copy_without(document, &[patch]), patch)
}

/// Merges a patch into a copy that lacks nothing which the patch leaves as it is.
pub(crate) fn merge_copy(mut copy: Value, patch: &Value) -> Value {
    json_patch::merge(&mut copy, patch);
    copy
}

/// A copy of the document without the members that are null, or anything else but an object, in one of the masks.
pub(crate) fn copy_without(document: &Value, masks: &[&Value]) -> Value {
    let Value::Object(members) = document else { return document.clone() };
    let kept = members.iter().filter_map(|(name, member)| {
        let masks: Vec<&Value> = masks.iter().filter_map(|mask| mask.as_object()?.get(name)).collect();
        match masks.as_slice() {
            [] => Some((name.clone(), member.clone())),
            masks if masks.iter().all(|mask| mask.is_object()) => Some((name.clone(), copy_without(member, masks))),
            _ => None,
        }
    });
    Value::Object(kept.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_copied_is_what_the_patch_replaces() {
        let document = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": [1], "f": {"g": 1}, "h": null});
        for patch in [
            json!({}),
            json!({"a": {"b": null}, "d": null}),
            json!({"a": {"c": [3]}, "d": {"new": {"deep": null}}}),
            json!({"a": null, "e": {"now": "an object"}, "f": "a text", "h": 1}),
            json!(["replaced"]),
            json!(null),
        ] {
            let mut expected = document.clone();
            json_patch::merge(&mut expected, &patch);
            assert_eq!(merge_patch(&document, &patch), expected, "{patch}");
        }
    }
}
