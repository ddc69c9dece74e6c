//! JSON patch, RFC 6902 (P-10, P-11).

use json_patch::PatchOperation;
use meta::{Reason, Status};
use serde_json::Value;

/// Most operations in one JSON patch.
pub const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;

/// Most bytes that the `copy` operations of one patch may copy together, counted as JSON text: as large as the largest
/// request. Without it a short patch could double the document again and again.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Most levels of the patched document: operations can nest deeper than any text that we read, and what is stored must
/// be readable.
const DEPTH_MAX: usize = 100;

/// The document after the patch.
///
/// # Errors
/// 400 if the patch is not a list of operations, 413 if there are more than [`JSON_PATCH_OPERATIONS_MAX`], 422 with
/// upstream's text if an operation fails (a `test` that does not hold included).
pub fn json_patch(mut document: Value, patch: Value) -> Result<Value, Status> {
    if let Some(operations) = patch.as_array().map(Vec::len).filter(|&n| n > JSON_PATCH_OPERATIONS_MAX) {
        let text = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {JSON_PATCH_OPERATIONS_MAX}, \
             got {operations}"
        );
        return Err(Status::new(Reason::RequestEntityTooLarge, text));
    }
    if patch.as_array().is_some_and(|operations| operations.iter().any(is_unknown)) {
        return Err(refused());
    }
    let operations: json_patch::Patch =
        serde_json::from_value(patch).map_err(|error| Status::bad_request(format!("invalid JSON patch: {error}")))?;
    let mut copied_bytes = 0;
    for operation in operations.iter() {
        if let PatchOperation::Copy(copy) = operation {
            copied_bytes += document.pointer(copy.from.as_str()).map_or(0, |part| part.to_string().len());
            if copied_bytes > COPIED_BYTES_MAX {
                return Err(refused());
            }
        }
        if nests_too_deep(&document, operation) {
            return Err(refused());
        }
        // A failed patch leaves a half-patched document, which is dropped.
        json_patch::patch_unsafe(&mut document, std::slice::from_ref(operation)).map_err(|_| refused())?;
    }
    Ok(document)
}

/// True for an operation with a name that nobody knows; upstream notices when it comes to it.
fn is_unknown(operation: &Value) -> bool {
    let name = operation.get("op").and_then(Value::as_str);
    name.is_some_and(|name| !matches!(name, "add" | "remove" | "replace" | "move" | "copy" | "test"))
}

/// True if an operation would make the document deeper than [`DEPTH_MAX`]. Asked before each one: a document that is too
/// deep cannot even be dropped.
fn nests_too_deep(document: &Value, operation: &PatchOperation) -> bool {
    let value = match operation {
        PatchOperation::Add(add) => Some(&add.value),
        PatchOperation::Replace(replace) => Some(&replace.value),
        PatchOperation::Copy(copy) => document.pointer(copy.from.as_str()),
        PatchOperation::Move(move_) => document.pointer(move_.from.as_str()),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
    };
    let levels = operation.path().as_str().matches('/').count();
    levels > DEPTH_MAX || value.is_some_and(|value| is_deeper_than(value, DEPTH_MAX - levels))
}

fn is_deeper_than(value: &Value, levels: usize) -> bool {
    match (levels, value) {
        (0, Value::Array(_) | Value::Object(_)) => true,
        (_, Value::Array(items)) => items.iter().any(|item| is_deeper_than(item, levels - 1)),
        (_, Value::Object(members)) => members.values().any(|member| is_deeper_than(member, levels - 1)),
        _ => false,
    }
}

/// 422 as upstream words it: the library's reason is in no field of the answer.
fn refused() -> Status {
    let mut status = Status::new(Reason::Invalid, "the server rejected our request due to an error in our request");
    status.details = Some(Box::default());
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(patch: Value) -> Result<Value, Status> {
        let document = json!({ "a": { "b": 1 }, "list": [1, 2], "x/y": "s", "t~": "t" });
        json_patch(document, patch)
    }

    #[test]
    fn every_operation_works() {
        let out = patched(json!([
            { "op": "test", "path": "/x~1y", "value": "s" },
            { "op": "test", "path": "/t~0", "value": "t" },
            { "op": "add", "path": "/list/-", "value": 3 },
            { "op": "add", "path": "/list/0", "value": 0 },
            { "op": "replace", "path": "/a/b", "value": 2 },
            { "op": "copy", "from": "/a", "path": "/c" },
            { "op": "move", "from": "/x~1y", "path": "/moved" },
            { "op": "remove", "path": "/t~0" },
        ]));
        let want = json!({ "a": { "b": 2 }, "c": { "b": 2 }, "list": [0, 1, 2, 3], "moved": "s" });
        assert_eq!(out.expect("every operation is good"), want);
    }

    #[test]
    fn a_failing_operation_is_422_without_details() {
        for operation in [
            json!({ "op": "test", "path": "/a/b", "value": 2 }),
            json!({ "op": "replace", "path": "/nothing", "value": 2 }),
            json!({ "op": "remove", "path": "/nothing" }),
            json!({ "op": "add", "path": "/nothing/below", "value": 2 }),
            json!({ "op": "add", "path": "/list/7", "value": 2 }),
        ] {
            let status = patched(json!([operation])).expect_err("it fails");
            assert_eq!(status.code, 422);
            assert_eq!(status.message, "the server rejected our request due to an error in our request");
        }
    }

    #[test]
    fn a_malformed_patch_is_400_and_an_endless_one_413() {
        assert_eq!(patched(json!({ "op": "add" })).expect_err("not a list").code, 400);
        assert_eq!(patched(json!([{ "path": "" }])).expect_err("no operation").code, 400);
        assert_eq!(patched(json!([{ "op": "jump", "path": "" }])).expect_err("no such operation").code, 422);
        let test = json!({ "op": "test", "path": "/a/b", "value": 1 });
        assert!(patched(Value::Array(vec![test.clone(); JSON_PATCH_OPERATIONS_MAX])).is_ok());
        let status = patched(Value::Array(vec![test; JSON_PATCH_OPERATIONS_MAX + 1])).expect_err("one too many");
        assert_eq!(status.code, 413);
    }

    #[test]
    fn copies_cannot_double_the_document_for_ever() {
        let copy = |i: usize| json!({ "op": "copy", "from": "", "path": format!("/a/{i}") });
        let status = patched((0..24).map(copy).collect()).expect_err("it would be gigabytes");
        assert_eq!(status.code, 422);
    }

    #[test]
    fn operations_cannot_nest_deeper_than_can_be_read_back() {
        let nest = |levels: usize| {
            let add = |level: usize| json!({ "op": "add", "path": "/x".repeat(level + 1), "value": {} });
            patched((0..levels).map(add).collect()).map(|_| ()).map_err(|status| status.code)
        };
        assert_eq!(nest(DEPTH_MAX - 1), Ok(()));
        assert_eq!(nest(DEPTH_MAX), Err(422));
        assert_eq!(nest(5_000), Err(422));
        let wrap = |_| {
            json!([
                { "op": "add", "path": "/b", "value": {} },
                { "op": "move", "from": "/a", "path": "/b/a" },
                { "op": "move", "from": "/b", "path": "/a" },
            ])
        };
        let wraps = (0..3_000).map(wrap).flat_map(|three| three.as_array().cloned().unwrap_or_default());
        assert_eq!(patched(wraps.collect()).map(|_| ()).map_err(|status| status.code), Err(422));
    }
}
