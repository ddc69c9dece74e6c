//! JSON merge patch, RFC 7386 (P-15).

use serde_json::{Map, Value};

/// The document after the patch: objects merge, null deletes, all else replaces.
pub fn merge_patch(document: &Value, patch: &Value) -> Value {
    let mut merged = kept(document, patch);
    json_patch::merge(&mut merged, patch);
    merged
}

/// A copy of the document without what the patch replaces or deletes anyway: a list of a hundred endpoints, often.
fn kept(document: &Value, patch: &Value) -> Value {
    let (Value::Object(members), Value::Object(patch)) = (document, patch) else { return document.clone() };
    let kept = members.iter().filter_map(|(name, member)| match patch.get(name) {
        None => Some((name.clone(), member.clone())),
        Some(patch @ Value::Object(_)) => Some((name.clone(), kept(member, patch))),
        Some(_) => None,
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
