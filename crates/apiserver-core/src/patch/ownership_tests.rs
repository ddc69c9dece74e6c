//! Who owns what after which writes: creates, updates and applies as scenarios, then as properties.

use std::fmt::Write as _;

use api::Gvk;
use expect_test::{Expect, expect};
use meta::{ResourceId, Status, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fields::{difference, stated};
use super::place::Place;
use super::{ApplyRequest, FieldSet, Writer, apply, settle, track};

/// One object and its clock. Each write takes a second.
#[derive(Clone)]
struct World {
    gvk: Gvk<'static>,
    object: Option<Value>,
    second: i64,
    subresource: &'static str,
}

impl World {
    fn of(gvk: Gvk<'static>) -> Self {
        Self { gvk, object: None, second: 0, subresource: "" }
    }

    fn stateful_set() -> Self {
        Self::of(Gvk::of("apps", "v1", "StatefulSet"))
    }

    fn config_map() -> Self {
        Self::of(Gvk::of("", "v1", "ConfigMap"))
    }

    fn place(&self) -> Place {
        Place::root(self.gvk).expect("the kind is in the schema")
    }

    fn writer<'a>(&mut self, manager: &'a str, api_version: &'a str) -> Writer<'a> {
        self.second += 1;
        let ignored: &[&[&str]] = if self.subresource == "status" { &[&["spec"]] } else { &[&["status"]] };
        let now = Timestamp::from_second(self.second).expect("a small number");
        Writer { manager, api_version, subresource: self.subresource, ignored, now }
    }

    fn stamp(&self, mut tree: Value) -> Value {
        tree["apiVersion"] = self.gvk.api_version().into();
        tree["kind"] = self.gvk.kind.into();
        tree["metadata"]["name"] = "x".into();
        tree["metadata"]["namespace"] = "default".into();
        tree
    }

    /// A create, or an update to exactly this tree.
    fn put(&mut self, manager: &str, tree: Value) -> &mut Self {
        let mut new = self.stamp(tree);
        let version = self.gvk.api_version();
        let writer = self.writer(manager, &version);
        let live = self.object.take();
        track(self.place(), live.as_ref(), &mut new, &writer);
        if let Some(live) = live {
            settle(&live, &mut new);
        }
        self.object = Some(new);
        self
    }

    fn try_apply(&mut self, manager: &str, config: Value, force: bool) -> Result<(), Status> {
        let config = self.stamp(config);
        let version = self.gvk.api_version();
        let writer = self.writer(manager, &version);
        let resource = ResourceId::of("apps", "v1", "statefulsets");
        let live = self.object.as_ref();
        let request = ApplyRequest {
            gvk: self.gvk,
            resource: &resource,
            namespace: "default",
            name: "x",
            live,
            config,
            writer,
            force,
        };
        let mut new = apply(request)?.object;
        if let Some(live) = &self.object {
            settle(live, &mut new);
        }
        self.object = Some(new);
        Ok(())
    }

    fn apply(&mut self, manager: &str, config: Value) -> &mut Self {
        self.try_apply(manager, config, false).expect("the apply is good");
        self
    }

    fn force(&mut self, manager: &str, config: Value) -> &mut Self {
        self.try_apply(manager, config, true).expect("the apply is good");
        self
    }

    fn refusal(&mut self, manager: &str, config: Value) -> String {
        let status = self.try_apply(manager, config, false).expect_err("the apply is refused");
        let causes: Vec<String> =
            status.details.iter().flat_map(|d| &d.causes).map(|c| format!("\n  {}: {}", c.field, c.message)).collect();
        format!("{}: {}{}", status.code, status.message, causes.concat())
    }

    /// Each manager with its paths, and the object without its record.
    fn show(&self) -> String {
        let mut out = String::new();
        let mut object = self.object.clone().expect("there is an object");
        let record = object["metadata"].as_object_mut().expect("an object").remove("managedFields");
        for entry in record.iter().flat_map(|r| r.as_array().into_iter().flatten()) {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let set = FieldSet::from_json(&entry["fieldsV1"]).expect("it is a field set");
            let place = [text("operation"), text("apiVersion"), text("subresource")].join(" ");
            let time = text("time").trim_start_matches("1970-01-01T00:00:");
            writeln!(out, "{} ({}) {time} {}", text("manager"), place.trim_end(), set.paths().join(" ")).expect("text");
        }
        for name in ["apiVersion", "kind"] {
            object.as_object_mut().expect("an object").remove(name);
        }
        for name in ["name", "namespace"] {
            object["metadata"].as_object_mut().expect("an object").remove(name);
        }
        out + &object.to_string()
    }

    fn check(&self, want: Expect) {
        want.assert_eq(&self.show());
    }
}

fn data(members: Value) -> Value {
    json!({ "data": members })
}

fn replicas(n: i64) -> Value {
    json!({ "spec": { "replicas": n } })
}

fn containers(containers: Value) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": containers } } } })
}

#[test]
fn a_create_owns_every_leaf_and_the_containers_of_its_own() {
    World::stateful_set()
        .put(
            "kubectl-create",
            json!({
                "metadata": { "labels": { "app": "db" }, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" },
                "spec": {
                    "replicas": 1,
                    "selector": { "matchLabels": { "app": "db" } },
                    "template": { "spec": { "containers": [{
                        "name": "c", "image": "i", "resources": {},
                        "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                    }] } },
                },
                "status": { "replicas": 0 },
            }),
        )
        .check(expect![[r#"
            kubectl-create (Update apps/v1) 01Z .metadata.labels .metadata.labels.app .spec.replicas .spec.selector .spec.template.spec.containers[name="c"] .spec.template.spec.containers[name="c"].image .spec.template.spec.containers[name="c"].name .spec.template.spec.containers[name="c"].ports .spec.template.spec.containers[name="c"].resources .spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"] .spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort .spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].protocol
            {"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app":"db"},"uid":"u"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"db"}},"template":{"spec":{"containers":[{"image":"i","name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{}}]}}},"status":{"replicas":0}}"#]]);
}

#[test]
fn an_update_takes_what_it_changes_and_forgets_what_it_removes() {
    World::config_map()
        .put("a", data(json!({ "x": "1", "y": "1", "z": "1" })))
        .put("b", data(json!({ "x": "2", "y": "1" })))
        .check(expect![[r#"
            a (Update v1) 01Z .data .data.y
            b (Update v1) 02Z .data.x
            {"data":{"x":"2","y":"1"},"metadata":{}}"#]]);
}

#[test]
fn an_update_that_changes_nothing_changes_no_time() {
    let mut world = World::config_map();
    let before = world.put("a", data(json!({ "x": "1" }))).object.clone();
    assert_eq!(world.put("a", data(json!({ "x": "1" }))).object, before);
    assert_eq!(world.put("b", data(json!({ "x": "1" }))).object, before);
}

#[test]
fn the_status_endpoint_records_its_subresource_and_nothing_of_the_spec() {
    // A-7.
    let mut world = World::stateful_set();
    world.put("a", replicas(1));
    world.subresource = "status";
    world.put("kubelet", json!({ "spec": { "replicas": 7 }, "status": { "replicas": 1 } }));
    world.check(expect![[r#"
        a (Update apps/v1) 01Z .spec.replicas
        kubelet (Update apps/v1 status) 02Z .status .status.replicas
        {"metadata":{},"spec":{"replicas":7},"status":{"replicas":1}}"#]]);
}

#[test]
fn apply_creates_what_is_missing_and_owns_what_it_states() {
    World::stateful_set()
        .apply("m", json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "replicas": 2 }, "status": {} }))
        .check(expect![[r#"
            m (Apply apps/v1) 01Z .metadata.labels.a .spec.replicas
            {"metadata":{"labels":{"a":"b"}},"spec":{"replicas":2},"status":{}}"#]]);
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let mut world = World::stateful_set();
    let config = containers(json!([{ "name": "c", "image": "i", "ports": [{ "containerPort": 80 }] }]));
    let before = world.apply("m", config.clone()).object.clone();
    assert_eq!(world.apply("m", config).object, before);
}

#[test]
fn what_is_no_longer_applied_goes_unless_somebody_else_owns_it() {
    let mut world = World::config_map();
    world.apply("a", data(json!({ "x": "1", "y": "1", "z": "1" })));
    world.apply("b", data(json!({ "y": "1" })));
    world.apply("a", data(json!({ "x": "1" }))).check(expect![[r#"
        b (Apply v1) 02Z .data.y
        a (Apply v1) 03Z .data.x
        {"data":{"x":"1","y":"1"},"metadata":{}}"#]]);
}

#[test]
fn items_that_are_no_longer_applied_go_with_the_defaults_nobody_owns() {
    let mut world = World::stateful_set();
    world.apply("m", containers(json!([{ "name": "a", "image": "i" }, { "name": "b", "image": "i" }])));
    let object = world.object.as_mut().expect("there is one");
    object["spec"]["template"]["spec"]["containers"][1]["terminationMessagePath"] = "/dev/termination-log".into();
    world.apply("m", containers(json!([{ "name": "a", "image": "i" }]))).check(expect![[r#"
        m (Apply apps/v1) 02Z .spec.template.spec.containers[name="a"] .spec.template.spec.containers[name="a"].image .spec.template.spec.containers[name="a"].name
        {"metadata":{},"spec":{"template":{"spec":{"containers":[{"image":"i","name":"a"}]}}}}"#]]);
}

#[test]
fn a_struct_that_is_no_longer_applied_goes_with_its_defaults() {
    let mut world = World::stateful_set();
    let probe = json!({ "name": "a", "readinessProbe": { "exec": { "command": ["true"] } } });
    world.apply("m", containers(json!([probe])));
    let object = world.object.as_mut().expect("there is one");
    object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = 10.into();
    world.apply("m", containers(json!([{ "name": "a" }])));
    let pod = &world.object.as_ref().expect("there is one")["spec"]["template"]["spec"];
    assert_eq!(*pod, json!({ "containers": [{ "name": "a" }] }));
}

#[test]
fn a_conflict_names_manager_and_field() {
    let mut world = World::stateful_set();
    world.put("kubectl-client-side-apply", replicas(1));
    expect![[r#"
        409: Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas
          .spec.replicas: conflict with "kubectl-client-side-apply" using apps/v1"#]]
    .assert_eq(&world.refusal("m", replicas(2)));
    world.apply("m", replicas(1)).check(expect![[r#"
        m (Apply apps/v1) 03Z .spec.replicas
        kubectl-client-side-apply (Update apps/v1) 01Z .spec.replicas
        {"metadata":{},"spec":{"replicas":1}}"#]]);
    world.force("m", replicas(2)).check(expect![[r#"
        m (Apply apps/v1) 04Z .spec.replicas
        {"metadata":{},"spec":{"replicas":2}}"#]]);
}

#[test]
fn several_conflicts_are_told_by_manager() {
    let mut world = World::stateful_set();
    world.apply("a", containers(json!([{ "name": "web", "image": "1" }])));
    world.subresource = "scale";
    world.put(
        "hpa",
        json!({
            "spec": { "replicas": 3, "template": { "spec": { "containers": [{ "name": "web", "image": "1" }] } } },
        }),
    );
    world.subresource = "";
    let mut config = containers(json!([{ "name": "web", "image": "2" }]));
    config["spec"]["replicas"] = 1.into();
    expect![[r#"
        409: Apply failed with 2 conflicts: conflicts with "a":
        - .spec.template.spec.containers[name="web"].image
        conflicts with "hpa" with subresource "scale" using apps/v1:
        - .spec.replicas
          .spec.template.spec.containers[name="web"].image: conflict with "a"
          .spec.replicas: conflict with "hpa" with subresource "scale" using apps/v1"#]]
    .assert_eq(&world.refusal("b", config));
}

#[test]
fn an_atomic_map_and_an_atomic_list_are_owned_whole() {
    let mut world = World::of(Gvk::of("", "v1", "Pod"));
    let spec = |selector: Value, tolerations: Value| json!({ "spec": { "nodeSelector": selector, "tolerations": tolerations } });
    world.apply("a", spec(json!({ "a": "1" }), json!([{ "key": "k" }])));
    expect![[r#"
        409: Apply failed with 2 conflicts: conflicts with "a":
        - .spec.nodeSelector
        - .spec.tolerations
          .spec.nodeSelector: conflict with "a"
          .spec.tolerations: conflict with "a""#]]
    .assert_eq(&world.refusal("b", spec(json!({ "b": "1" }), json!([]))));
    world.force("b", spec(json!({ "b": "1" }), json!([]))).check(expect![[r#"
        b (Apply v1) 03Z .spec.nodeSelector .spec.tolerations
        {"metadata":{},"spec":{"nodeSelector":{"b":"1"},"tolerations":[]}}"#]]);
}

#[test]
fn sets_are_owned_by_value() {
    let mut world = World::config_map();
    let finalizers = |values: Value| json!({ "metadata": { "finalizers": values } });
    world.apply("a", finalizers(json!(["f/1", "f/2"])));
    world.apply("b", finalizers(json!(["f/2", "f/3"])));
    world.apply("a", finalizers(json!(["f/1"]))).check(expect![[r#"
        b (Apply v1) 02Z .metadata.finalizers[="f/2"] .metadata.finalizers[="f/3"]
        a (Apply v1) 03Z .metadata.finalizers[="f/1"]
        {"metadata":{"finalizers":["f/1","f/2","f/3"]}}"#]]);
}

#[test]
fn items_of_others_keep_their_place() {
    let mut world = World::of(Gvk::of("", "v1", "Pod"));
    let spec = |names: &[&str]| {
        let items: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({ "spec": { "containers": items } })
    };
    let order = |world: &World| {
        let object = world.object.clone().expect("there is one");
        let items = object["spec"]["containers"].as_array().cloned().expect("a list");
        items.iter().map(|c| c["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
    };
    world.put("other", spec(&["a", "x", "b"]));
    assert_eq!(order(world.apply("m", spec(&["n", "a", "b"]))), "n a x b");
    assert_eq!(order(world.apply("m", spec(&["b", "n", "a"]))), "x b n a");
}

#[test]
fn a_key_that_is_left_out_takes_its_default() {
    let mut world = World::of(Gvk::of("", "v1", "Service"));
    world.put("a", json!({ "spec": { "ports": [{ "port": 80, "protocol": "TCP" }] } }));
    world.apply("b", json!({ "spec": { "ports": [{ "port": 80, "name": "http" }] } }));
    let ports = world.object.expect("there is one")["spec"]["ports"].take();
    assert_eq!(ports, json!([{ "name": "http", "port": 80, "protocol": "TCP" }]));
}

#[test]
fn what_does_not_fit_the_schema_is_refused() {
    let mut world = World::stateful_set();
    for (config, want) in [
        (json!({ "spec": { "foo": 1 } }), ".spec.foo: field not declared in schema"),
        (json!({ "spec": { "replicas": "3" } }), ".spec.replicas: expected numeric (int or float), got string"),
        (json!({ "spec": { "serviceName": 3 } }), ".spec.serviceName: expected string, got 3"),
        (json!({ "spec": [] }), ".spec: expected map, got []"),
        (containers(json!({})), ".spec.template.spec.containers: expected list, got {}"),
        (
            containers(json!([{ "image": "i" }])),
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key field \
             \"name\" (and doesn't have default value)",
        ),
        (
            containers(json!([{ "name": "a" }, { "name": "a" }])),
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
    ] {
        let want = format!("400: failed to create typed patch object (default/x; apps/v1, Kind=StatefulSet): {want}");
        assert_eq!(world.refusal("m", config), want);
    }
    let with_record = json!({ "metadata": { "managedFields": [{}] } });
    assert_eq!(world.refusal("m", with_record), "400: metadata.managedFields must be nil");
    let with_uid = json!({ "metadata": { "uid": "u" } });
    assert!(
        world
            .refusal("m", with_uid)
            .ends_with("uid mismatch: the provided object specified uid u, and no existing object was found")
    );
}

#[test]
fn an_object_without_a_record_was_written_before_the_first_apply() {
    let mut world = World::config_map();
    world.put("a", json!({ "metadata": { "labels": { "l": "1" } }, "data": { "x": "1" } }));
    world.put("a", json!({ "metadata": { "managedFields": [], "labels": { "l": "1" } }, "data": { "x": "1" } }));
    world.check(expect![[r#"{"data":{"x":"1"},"metadata":{"labels":{"l":"1"}}}"#]]);
    world.put("a", data(json!({ "x": "2" }))).check(expect![[r#"{"data":{"x":"2"},"metadata":{}}"#]]);
    world.apply("m", data(json!({ "y": "1" }))).check(expect![[r#"
        m (Apply v1) 04Z .data.y
        before-first-apply (Update v1) 04Z .data .data.x
        {"data":{"x":"2","y":"1"},"metadata":{}}"#]]);
}

#[test]
fn a_client_may_write_the_record_itself_and_a_broken_one_is_ignored() {
    let mut world = World::config_map();
    world.put("a", data(json!({ "x": "1" })));
    let with = |entry: Value| json!({ "metadata": { "managedFields": [entry] }, "data": { "x": "1" } });
    let entry = |fields: Value| json!({ "manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields });
    world.put("b", with(entry(json!({ "x:broken": {} })))).check(expect![[r#"
        a (Update v1) 01Z .data .data.x
        {"data":{"x":"1"},"metadata":{}}"#]]);
    world.put("b", with(entry(json!({ "f:data": { "f:x": {} } })))).check(expect![[r#"
        kubectl (Apply v1)  .data.x
        {"data":{"x":"1"},"metadata":{}}"#]]);
}

#[test]
fn more_than_ten_updaters_are_merged_from_the_oldest() {
    let mut world = World::config_map();
    let mut members = Map::new();
    for i in 0..12 {
        members.insert(format!("k{i:02}"), "1".into());
        world.put(&format!("m{i:02}"), data(Value::Object(members.clone())));
    }
    let shown = world.show();
    assert_eq!(shown.lines().filter(|line| line.contains("(Update")).count(), 10);
    assert!(shown.starts_with("ancient-changes (Update v1) 03Z .data .data.k00 .data.k01 .data.k02\n"), "{shown}");
}

#[test]
fn kubectl_takes_what_its_client_side_apply_wrote_and_keeps_the_annotation_fresh() {
    let mut world = World::config_map();
    let last = world.stamp(data(json!({ "x": "1" }))).to_string();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let live = json!({ "metadata": { "annotations": { annotation: last } }, "data": { "x": "1" } });
    world.put("kubectl-client-side-apply", live);
    assert!(world.refusal("other", data(json!({ "x": "2" }))).starts_with("409: Apply failed with 1 conflict"));
    world.apply("kubectl", data(json!({ "x": "2" })));
    let object = world.object.as_ref().expect("there is one");
    assert_eq!(object["data"]["x"], "2");
    let text = object["metadata"]["annotations"][annotation].as_str().expect("it is there");
    let last: Value = serde_json::from_str(text).expect("it is JSON");
    assert_eq!(last["data"]["x"], "2");
}

#[test]
fn two_managers_of_disjoint_fields_take_turns_without_conflict_or_change() {
    let mut world = World::stateful_set();
    world.apply("a", replicas(1));
    world.apply("b", json!({ "spec": { "serviceName": "s" } }));
    let settled = world.object.clone();
    for _ in 0..3 {
        world.apply("a", replicas(1)).apply("b", json!({ "spec": { "serviceName": "s" } }));
        assert_eq!(world.object, settled);
    }
}

#[test]
fn null_in_a_configuration_is_owned_and_removes_nothing_of_others() {
    let mut world = World::stateful_set();
    world.apply(
        "m",
        json!({ "metadata": { "creationTimestamp": null }, "spec": { "replicas": null, "serviceName": "s" } }),
    );
    world.check(expect![[r#"
        m (Apply apps/v1) 01Z .spec.replicas .spec.serviceName
        {"metadata":{},"spec":{"serviceName":"s"}}"#]]);
}

/// Writes by three managers over a small object in all the ways there are.
#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, Value),
    Apply(&'static str, Value, bool),
}

fn trees() -> impl Strategy<Value = Value> {
    let container = (prop::option::of("[ij]"), prop::option::of(prop::collection::vec(1..3u8, 0..3)), any::<bool>())
        .prop_map(|(image, args, probe)| {
            let mut container = json!({});
            if let Some(image) = image {
                container["image"] = image.into();
            }
            if let Some(args) = args {
                container["args"] = args.iter().map(u8::to_string).collect();
            }
            if probe {
                container["livenessProbe"] = json!({ "periodSeconds": 3 });
            }
            container
        });
    let containers = prop::collection::btree_map("[ab]", container, 0..3);
    let labels = prop::option::of(prop::collection::btree_map("[a-c]", "[xy]", 0..3));
    let finalizers = prop::option::of(prop::sample::subsequence(vec!["f/a", "f/b"], 0..=2));
    (containers, labels, finalizers, prop::option::of(0..3u8)).prop_map(|(containers, labels, finalizers, replicas)| {
        let mut tree = json!({ "metadata": {}, "spec": {} });
        if !containers.is_empty() {
            let named = containers.into_iter().map(|(name, mut container)| {
                container["name"] = name.into();
                container
            });
            tree["spec"]["template"] = json!({ "spec": { "containers": named.collect::<Vec<_>>() } });
        }
        if let Some(labels) = labels {
            tree["metadata"]["labels"] = json!(labels);
        }
        if let Some(finalizers) = finalizers {
            tree["metadata"]["finalizers"] = json!(finalizers);
        }
        if let Some(replicas) = replicas {
            tree["spec"]["replicas"] = replicas.into();
        }
        drop_empty(&mut tree);
        tree
    })
}

/// What decoding does to lists and maps without content.
fn drop_empty(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| {
            drop_empty(member);
            !(member.as_object().is_some_and(Map::is_empty) || member.as_array().is_some_and(Vec::is_empty))
        });
    }
    if let Value::Array(items) = value {
        items.iter_mut().for_each(drop_empty);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let manager = prop::sample::select(vec!["a", "b", "c"]);
    let step =
        (manager, trees(), any::<bool>(), any::<bool>()).prop_map(|(manager, tree, applies, force)| match applies {
            true => Step::Apply(manager, tree, force),
            false => Step::Put(manager, tree),
        });
    prop::collection::vec(step, 1..7)
}

impl World {
    /// Takes a step; refused ones change nothing.
    fn take(&mut self, step: &Step) -> bool {
        match step {
            Step::Put(manager, tree) => {
                self.put(manager, tree.clone());
                true
            }
            Step::Apply(manager, tree, force) => self.try_apply(manager, tree.clone(), *force).is_ok(),
        }
    }

    fn after(steps: &[Step]) -> Self {
        let mut world = Self::stateful_set();
        for step in steps {
            world.take(step);
        }
        world
    }

    /// The union of all managers' sets.
    fn owned(&self) -> FieldSet {
        let mut owned = FieldSet::default();
        let object = self.object.as_ref().expect("there is one");
        for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
            owned.union(FieldSet::from_json(&entry["fieldsV1"]).expect("it is a field set"));
        }
        owned
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_is_applying_once(steps in steps(), config in trees()) {
        let mut world = World::after(&steps);
        world.force("a", config.clone());
        let once = world.object.clone();
        world.force("a", config.clone());
        prop_assert_eq!(&world.object, &once);
        prop_assert!(world.try_apply("a", config, false).is_ok(), "what was forced is no conflict any more");
        prop_assert_eq!(&world.object, &once);
    }

    #[test]
    fn what_was_applied_is_there(steps in steps(), config in trees()) {
        let mut world = World::after(&steps);
        world.force("a", config.clone());
        let object = world.object.clone().expect("there is one");
        let mut stated_paths = stated(Some(world.place()), &world.stamp(config.clone()));
        let found = difference(Some(world.place()), Some(&world.stamp(config)), Some(&object));
        prop_assert!(found.removed.is_empty(), "{:?}", found.removed.paths());
        // What the object has beside the configuration is there, but nothing that is stated has another value.
        stated_paths = stated_paths.intersection(&found.changed);
        prop_assert!(stated_paths.is_empty(), "{:?}", stated_paths.paths());
    }

    #[test]
    fn every_leaf_of_a_recorded_object_has_an_owner(steps in steps()) {
        let mut world = World::stateful_set();
        for step in &steps {
            world.take(step);
            let Some(object) = world.object.clone() else { continue };
            let mut leaves = stated(Some(world.place()), &object);
            world.clone().writer("x", "apps/v1").strip(&mut leaves);
            leaves.subtract(&world.owned());
            let is_recorded = object["metadata"].get("managedFields").is_some();
            prop_assert!(leaves.is_empty() || !is_recorded, "{:?} after {:?}\n{}", leaves.paths(), step, world.show());
        }
    }

    #[test]
    fn nobody_owns_what_is_not_there(steps in steps()) {
        let world = World::after(&steps);
        let Some(object) = &world.object else { return Ok(()) };
        let place = Some(world.place());
        // Updaters may own what holds others' fields, too.
        let there = difference(place, None, Some(object)).changed;
        let mut owned = world.owned();
        owned.subtract(&there);
        prop_assert!(owned.is_empty(), "{:?} after {:?}\n{}", owned.paths(), steps, world.show());
    }
}
