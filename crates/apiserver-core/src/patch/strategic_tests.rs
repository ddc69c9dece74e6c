//! One row for each directive and rule of strategic merge patches; then the property that a difference, applied, gives
//! its target.

use api::Gvk;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::place::Place;
use super::strategic_patch;

const POD: Gvk<'static> = Gvk::of("", "v1", "Pod");

fn place(gvk: Gvk<'_>) -> Place {
    Place::root(gvk).expect("the kind is in the schema")
}

/// Patches the spec of a pod.
fn check(spec: Value, patch: Value, want: Expect) {
    let patched = strategic_patch(place(POD), json!({ "spec": spec }), json!({ "spec": patch }));
    want.assert_eq(&match patched {
        Ok(pod) => pod["spec"].to_string(),
        Err(status) => format!("{}: {}", status.code, status.message),
    });
}

fn names(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "name": name })).collect()
}

#[test]
fn maps_merge_null_deletes_scalars_and_plain_lists_replace() {
    check(
        json!({ "nodeSelector": { "a": "1", "b": "2" }, "hostname": "x", "tolerations": [{ "key": "k" }] }),
        json!({ "nodeSelector": { "a": null, "c": "3" }, "hostname": "y", "tolerations": [{ "key": "l" }] }),
        expect![[r#"{"hostname":"y","nodeSelector":{"b":"2","c":"3"},"tolerations":[{"key":"l"}]}"#]],
    );
    check(json!({ "hostname": "x" }), json!({ "hostname": null, "subdomain": null }), expect!["{}"]);
}

#[test]
fn items_merge_by_key_and_new_ones_stand_as_in_the_patch() {
    check(
        json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b", "image": "1", "tty": true }] }),
        json!({ "containers": [{ "name": "b", "image": "2" }] }),
        expect![[r#"{"containers":[{"image":"1","name":"a"},{"image":"2","name":"b","tty":true}]}"#]],
    );
    check(
        json!({ "containers": names(&["a"]) }),
        json!({ "containers": names(&["new"]) }),
        expect![[r#"{"containers":[{"name":"new"},{"name":"a"}]}"#]],
    );
    check(json!({}), json!({ "containers": names(&["a"]) }), expect![[r#"{"containers":[{"name":"a"}]}"#]]);
}

#[test]
fn an_item_without_its_key_is_refused() {
    check(
        json!({ "containers": names(&["a"]) }),
        json!({ "containers": [{ "image": "httpd" }] }),
        expect!["400: map: map[image:httpd] does not contain declared merge key: name"],
    );
}

#[test]
fn directives_in_lists_delete_and_replace() {
    check(
        json!({ "containers": names(&["a", "b"]) }),
        json!({ "containers": [{ "$patch": "delete", "name": "a" }] }),
        expect![[r#"{"containers":[{"name":"b"}]}"#]],
    );
    check(
        json!({ "containers": names(&["a", "b"]) }),
        json!({ "containers": [{ "$patch": "replace" }, { "name": "c" }] }),
        expect![[r#"{"containers":[{"name":"c"}]}"#]],
    );
    check(
        json!({ "containers": names(&["a"]) }),
        json!({ "containers": [{ "$patch": "delete" }] }),
        expect!["400: map: map[$patch:delete] does not contain declared merge key: name"],
    );
    check(
        json!({ "containers": names(&["a"]) }),
        json!({ "containers": [{ "$patch": "merge", "name": "a" }] }),
        expect!["400: merging lists cannot yet be specified in the patch"],
    );
    check(json!({}), json!({ "containers": [{ "$patch": "delete", "name": "a" }] }), expect![[r#"{"containers":[]}"#]]);
}

#[test]
fn directives_in_maps_replace_delete_and_merge() {
    let spec = json!({ "securityContext": { "runAsUser": 1, "fsGroup": 2 } });
    let with = |directive: &str| json!({ "securityContext": { "$patch": directive, "runAsUser": 5 } });
    check(spec.clone(), with("replace"), expect![[r#"{"securityContext":{"runAsUser":5}}"#]]);
    check(spec.clone(), with("delete"), expect![[r#"{"securityContext":{}}"#]]);
    check(spec.clone(), with("merge"), expect![[r#"{"securityContext":{"fsGroup":2,"runAsUser":5}}"#]]);
    check(spec, with("explode"), expect!["400: unknown patch type: explode in map: map[$patch:explode runAsUser:5]"]);
}

#[test]
fn scalars_of_a_merging_list_are_a_set() {
    let metadata = |patch: Value| {
        let pod = json!({ "metadata": { "finalizers": ["a", "b"] } });
        let patched = strategic_patch(place(POD), pod, json!({ "metadata": patch })).expect("the patch is good");
        patched["metadata"]["finalizers"].to_string()
    };
    assert_eq!(metadata(json!({ "finalizers": ["c", "a"] })), r#"["c","a","b"]"#);
    assert_eq!(metadata(json!({ "$deleteFromPrimitiveList/finalizers": ["a", "x"] })), r#"["b"]"#);
    let both = json!({
        "$deleteFromPrimitiveList/finalizers": ["a"],
        "$setElementOrder/finalizers": ["c", "b"],
        "finalizers": ["c"],
    });
    assert_eq!(metadata(both), r#"["c","b"]"#);
}

#[test]
fn retain_keys_drops_what_is_not_listed_and_refuses_what_is_not() {
    let spec = json!({ "volumes": [{ "name": "v", "emptyDir": {} }] });
    check(
        spec.clone(),
        json!({ "volumes": [{ "$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": { "path": "/x" } }] }),
        expect![[r#"{"volumes":[{"hostPath":{"path":"/x"},"name":"v"}]}"#]],
    );
    check(
        spec,
        json!({ "volumes": [{ "$retainKeys": ["name"], "name": "v", "hostPath": { "path": "/x" } }] }),
        expect!["400: invalid patch format of retainKeys"],
    );
}

#[test]
fn set_element_order_orders_and_must_name_every_patched_item() {
    check(
        json!({ "containers": names(&["a", "server", "b"]) }),
        json!({ "$setElementOrder/containers": names(&["b", "a"]), "containers": [{ "name": "b", "image": "2" }] }),
        expect![[r#"{"containers":[{"name":"server"},{"image":"2","name":"b"},{"name":"a"}]}"#]],
    );
    check(
        json!({ "containers": names(&["a", "b"]) }),
        json!({ "$setElementOrder/containers": names(&["b", "a"]) }),
        expect![[r#"{"containers":[{"name":"b"},{"name":"a"}]}"#]],
    );
    check(
        json!({ "containers": names(&["a"]) }),
        json!({ "$setElementOrder/containers": names(&["a"]), "containers": names(&["b"]) }),
        expect![[r#"
            400: The order in patch list:
            [map[name:b]]
             doesn't match $setElementOrder list:
            [map[name:a]]
        "#]],
    );
    check(json!({}), json!({ "$setElementOrder": [] }), expect!["400: invalid patch format of setElementOrder list"]);
}

#[test]
fn a_change_between_map_and_list_is_refused() {
    check(
        json!({ "containers": names(&["a"]) }),
        json!({ "containers": { "name": "b" } }),
        expect!["400: expected a []interface {}, but received a map[string]interface {}"],
    );
    check(
        json!({ "containers": names(&["a"]) }),
        json!({ "containers": [["b"]] }),
        expect!["422: the server rejected our request due to an error in our request"],
    );
}

#[test]
fn a_patch_that_replaces_the_template_of_a_set_leaves_only_the_new_one() {
    let set =
        json!({ "spec": { "replicas": 2, "template": { "spec": { "hostname": "old", "volumes": names(&["v"]) } } } });
    let patch = json!({ "spec": { "template": { "$patch": "replace", "spec": { "containers": names(&["c"]) } } } });
    let patched = strategic_patch(place(Gvk::of("apps", "v1", "StatefulSet")), set, patch).expect("the patch is good");
    let want = json!({ "spec": { "replicas": 2, "template": { "spec": { "containers": names(&["c"]) } } } });
    assert_eq!(patched, want);
}

/// The patch that leads from one tree to another, as kubectl makes it: with the order of every merging list.
fn difference(place: Option<Place>, from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in to {
        let below = place.and_then(|place| place.member(name));
        match (from.get(name), value) {
            (Some(before), after) if before == after => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                patch.insert(name.clone(), Value::Object(difference(below, before, after)));
            }
            (Some(Value::Array(before)), Value::Array(after)) if below.is_some_and(Place::merges) => {
                let list = below.expect("it merges, so it is there");
                list_difference(list, name, before, after, &mut patch);
            }
            (_, after) => {
                patch.insert(name.clone(), after.clone());
            }
        }
    }
    patch
}

fn list_difference(list: Place, name: &str, before: &[Value], after: &[Value], patch: &mut Map<String, Value>) {
    let Some(key) = list.merge_key() else {
        let gone: Vec<Value> = before.iter().filter(|item| !after.contains(item)).cloned().collect();
        let new: Vec<Value> = after.iter().filter(|item| !before.contains(item)).cloned().collect();
        patch.insert(format!("$deleteFromPrimitiveList/{name}"), Value::Array(gone));
        patch.insert(format!("$setElementOrder/{name}"), Value::Array(after.to_vec()));
        patch.insert(name.to_owned(), Value::Array(new));
        return;
    };
    let find = |items: &[Value], id: &Value| items.iter().find(|item| item[key] == id[key]).cloned();
    let mut items = Vec::new();
    for item in after {
        match find(before, item) {
            Some(old) if old == *item => {}
            Some(old) => {
                let (old, new) = (old.as_object().expect("an item"), item.as_object().expect("an item"));
                let mut change = difference(list.item(), old, new);
                change.insert(key.to_owned(), item[key].clone());
                items.push(Value::Object(change));
            }
            None => items.push(item.clone()),
        }
    }
    let gone = before.iter().filter(|item| find(after, item).is_none());
    items.extend(gone.map(|item| json!({ "$patch": "delete", key: item[key] })));
    let order = after.iter().map(|item| json!({ key: item[key] })).collect();
    patch.insert(format!("$setElementOrder/{name}"), order);
    patch.insert(name.to_owned(), Value::Array(items));
}

/// Pods that differ in everything that merges in its own way.
fn pods() -> impl Strategy<Value = Map<String, Value>> {
    let container =
        (0..4u8, any::<bool>(), prop::collection::btree_map("[ab]", "[xy]", 0..3)).prop_map(|(image, tty, env)| {
            let env: Vec<Value> =
                env.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            json!({ "image": image.to_string(), "tty": tty, "env": env, "args": [image] })
        });
    let containers = prop::collection::btree_map("[a-d]", container, 0..4).prop_map(|all| {
        all.into_iter()
            .map(|(name, mut container)| {
                container["name"] = name.into();
                container
            })
            .collect::<Vec<_>>()
    });
    let labels = prop::collection::btree_map("[a-c]", "[xy]", 0..3);
    let finalizers = prop::sample::subsequence(vec!["f/a", "f/b", "f/c"], 0..=3);
    (containers.prop_shuffle(), labels, finalizers.prop_shuffle(), any::<Option<u8>>()).prop_map(
        |(containers, labels, finalizers, grace)| {
            let mut spec = json!({ "containers": containers, "nodeSelector": labels });
            if let Some(grace) = grace {
                spec["terminationGracePeriodSeconds"] = grace.into();
            }
            let pod = json!({ "metadata": { "labels": labels, "finalizers": finalizers }, "spec": spec });
            pod.as_object().expect("an object").clone()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_difference_applied_gives_its_target(from in pods(), to in pods()) {
        let patch = difference(Some(place(POD)), &from, &to);
        let patched = strategic_patch(place(POD), Value::Object(from), Value::Object(patch.clone()));
        prop_assert_eq!(patched.expect("the patch is good"), Value::Object(to), "patch {:?}", patch);
    }

    #[test]
    fn a_patch_never_leaves_a_directive_behind(from in pods(), to in pods()) {
        let patch = difference(Some(place(POD)), &to, &from);
        let patched = strategic_patch(place(POD), json!({}), Value::Object(patch)).expect("the patch is good");
        prop_assert!(!patched.to_string().contains('$'), "{}", patched);
    }
}
