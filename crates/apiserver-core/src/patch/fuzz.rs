//! Whatever the trees are, patches answer and never panic, and what they leave can be patched again: for `cargo fuzz`
//! and for the property tests below.

use api::Gvk;
use meta::{ResourceId, Timestamp};
use serde_json::Value;

use super::place::Place;
use super::{ApplyRequest, FieldSet, Writer, apply, json_patch, merge_patch, settle, strategic_patch, track};

const POD: Gvk<'static> = Gvk::of("", "v1", "Pod");

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "v1", subresource: "", ignored: &[&["status"]], now: Timestamp::UNIX_EPOCH }
}

/// Every patch of a tree by a tree.
pub(crate) fn patch_in_every_way(live: &Value, patch: &Value) {
    let place = Place::root(POD).expect("pods have a schema");
    let _ = json_patch(live.clone(), patch.clone());
    merge_patch(live, patch);
    let _ = strategic_patch(place, live.clone(), patch.clone());
    let mut new = patch.clone();
    track(place, Some(live), &mut new, &writer("a"));
    settle(live, &mut new);
    let resource = ResourceId::of("", "v1", "pods");
    for (manager, force) in [("a", false), ("kubectl", false), ("b", true)] {
        let request = ApplyRequest {
            gvk: POD,
            resource: &resource,
            namespace: "",
            name: "x",
            live: Some(live),
            config: patch.clone(),
            writer: writer(manager),
            force,
        };
        if let Ok(applied) = apply(request) {
            let record = &applied.object["metadata"]["managedFields"];
            for entry in record.as_array().into_iter().flatten() {
                let _ = FieldSet::from_json(&entry["fieldsV1"]).map(|set| set.paths());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meta::LabelSelector;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::place::Place;
    use super::super::{FieldSet, stated};
    use super::{POD, patch_in_every_way};
    use crate::page::ContinueToken;

    /// Names that mean something to some patch.
    const NAMES: &[&str] = &[
        "metadata",
        "spec",
        "status",
        "template",
        "containers",
        "name",
        "image",
        "ports",
        "containerPort",
        "protocol",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "uid",
        "managedFields",
        "volumes",
        "nodeSelector",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "$setElementOrder/finalizers",
        "kubectl.kubernetes.io/last-applied-configuration",
        "apiVersion",
        "kind",
        "fieldsV1",
        "operation",
        "manager",
        "f:spec",
        "k:{\"name\":\"a\"}",
        "v:1",
        ".",
        "op",
        "path",
        "value",
        "from",
    ];

    fn trees() -> impl Strategy<Value = Value> {
        let text = prop::sample::select(vec![
            "a",
            "b",
            "",
            "replace",
            "delete",
            "merge",
            "v1",
            "Pod",
            "Apply",
            "Update",
            "add",
            "copy",
            "move",
            "test",
            "/spec",
            "/spec/containers/0",
            "/metadata/labels/a",
            "{}",
            "x",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2i64..3).prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(prop::sample::select(NAMES), inner, 0..5).prop_map(|members| {
                    let members: BTreeMap<String, Value> =
                        members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
                    Value::Object(Map::from_iter(members))
                }),
            ]
        })
    }

    /// A tree that says it is a pod.
    fn pods() -> impl Strategy<Value = Value> {
        trees().prop_map(|tree| {
            let mut pod = if tree.is_object() { tree } else { Value::Object(Map::new()) };
            pod["apiVersion"] = "v1".into();
            pod["kind"] = "Pod".into();
            if !pod["metadata"].is_object() {
                pod["metadata"] = Value::Object(Map::new());
            }
            pod
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn no_tree_makes_a_patch_panic(live in pods(), patch in pods()) {
            patch_in_every_way(&live, &patch);
        }

        #[test]
        fn no_patch_of_any_shape_panics(live in trees(), patch in trees()) {
            patch_in_every_way(&live, &patch);
        }

        #[test]
        fn field_sets_come_back_as_they_were(tree in pods()) {
            let place = Place::root(POD).expect("pods have a schema");
            let set = stated(Some(place), &tree);
            if !set.is_empty() {
                prop_assert_eq!(FieldSet::from_json(&set.clone().into_json()), Ok(set));
            }
        }

        #[test]
        fn no_text_makes_a_selector_or_a_token_panic(text in "[a-z=!(),<> /\\\\.\"{}:0-9]{0,30}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
            }
            let _ = ContinueToken::decode(&text);
        }
    }
}
