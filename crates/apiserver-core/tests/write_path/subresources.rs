//! Scale, binding, finalize.

use crate::bed::{POD, SET, def_of, merged, now, refusal, shown, stored, update, yaml};
use apiserver_core::write::{Outcome, apply_scale, decide_binding, decide_finalize, scale_of};
use expect_test::expect;
use serde_json::{Value, json};

#[test]
fn a_set_is_scaled_through_its_scale() {
    // V-133, A-46 to A-50.
    let mut set = stored(yaml(SET));
    set["status"]["replicas"] = 3.into();
    expect![[r#"
        {
          "apiVersion": "autoscaling/v1",
          "kind": "Scale",
          "metadata": {
            "creationTimestamp": "2026-11-21T07:00:00Z",
            "name": "web",
            "namespace": "default",
            "resourceVersion": "100",
            "uid": "11111111-2222-4333-8444-555555555555"
          },
          "spec": {
            "replicas": 1
          },
          "status": {
            "replicas": 3,
            "selector": "app=web"
          }
        }
    "#]]
    .assert_eq(&shown(&scale_of(&set)));
    let mut text = String::new();
    for change in [
        "spec: {replicas: 5}",
        "{metadata: {resourceVersion: null}, spec: {replicas: 5}}",
        "{metadata: {uid: null}, spec: {replicas: 0}}",
        "spec: {replicas: -1}",
        "metadata: {resourceVersion: '99'}",
        "metadata: {uid: other}",
        "metadata: {name: other}",
    ] {
        let said = match apply_scale(def_of(&set), &set, &merged(&scale_of(&set), &yaml(change))) {
            Ok(scaled) => match update(&set, scaled, "scale").expect("no error").outcome {
                Outcome::Write(tree) => {
                    let manager = &tree["metadata"]["managedFields"][1];
                    format!(
                        "replicas {}, generation {}, owned by {} {} {}",
                        tree["spec"]["replicas"],
                        tree["metadata"]["generation"],
                        manager["manager"],
                        manager["subresource"],
                        manager["fieldsV1"]
                    )
                }
                other => format!("{other:?}"),
            },
            Err(status) => refusal(&status),
        };
        text.push_str(&format!("{change}\n   {said}\n"));
    }
    expect![[r#"
        spec: {replicas: 5}
           replicas 5, generation 2, owned by "test" "scale" {"f:spec":{"f:replicas":{}}}
        {metadata: {resourceVersion: null}, spec: {replicas: 5}}
           replicas 5, generation 2, owned by "test" "scale" {"f:spec":{"f:replicas":{}}}
        {metadata: {uid: null}, spec: {replicas: 0}}
           replicas 0, generation 2, owned by "test" "scale" {"f:spec":{"f:replicas":{}}}
        spec: {replicas: -1}
           422 Invalid: Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0
        metadata: {resourceVersion: '99'}
           409 Conflict: Operation cannot be fulfilled on statefulsets.apps "web": the object has been modified; please apply your changes to the latest version and try again
        metadata: {uid: other}
           409 Conflict: Operation cannot be fulfilled on statefulsets.apps "web": Precondition failed: UID in precondition: other, UID in object meta: 11111111-2222-4333-8444-555555555555
        metadata: {name: other}
           400 BadRequest: the name of the object (other) does not match the name on the URL (web)
    "#]].assert_eq(&text);
}

#[test]
fn a_pod_is_bound_once() {
    // K-32.
    let pod = stored(yaml(POD));
    let binding = yaml("{metadata: {name: web-0, annotations: {a: b}}, target: {kind: Node, name: here}}");
    let bound = decide_binding(&pod, &binding, now()).expect("bound");
    let part = json!([bound["spec"]["nodeName"], bound["status"]["conditions"], bound["metadata"]["annotations"]]);
    expect![[r#"
        [
          "here",
          [
            {
              "lastProbeTime": null,
              "lastTransitionTime": "2026-11-21T07:00:00Z",
              "observedGeneration": 1,
              "status": "True",
              "type": "PodScheduled"
            }
          ],
          {
            "a": "b"
          }
        ]
    "#]]
    .assert_eq(&shown(&part));
    let mut text = String::new();
    let mut row = |what: &str, pod: &Value, change: &str| {
        let said = match decide_binding(pod, &merged(&binding, &yaml(change)), now()) {
            Ok(_) => "bound".to_owned(),
            Err(status) => refusal(&status),
        };
        text.push_str(&format!("{what}\n   {said}\n"));
    };
    row("again", &bound, "{}");
    row("other uid", &pod, "metadata: {uid: other}");
    row("no name", &pod, "target: {name: null}");
    row("no node", &pod, "target: {kind: Machine}");
    row("no kind", &pod, "target: {kind: null}");
    let mut ending = pod.clone();
    ending["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z".into();
    row("ending", &ending, "{}");
    let mut gated = pod.clone();
    gated["spec"]["schedulingGates"] = json!([{"name": "a"}]);
    row("gated", &gated, "{}");
    expect![[r#"
        again
           409 Conflict: Operation cannot be fulfilled on pods/binding "web-0": pod web-0 is already assigned to node "here"
        other uid
           409 Conflict: Operation cannot be fulfilled on pods/binding "web-0": Precondition failed: UID in precondition: other, UID in object meta: 11111111-2222-4333-8444-555555555555
        no name
           422 Invalid: Binding "web-0" is invalid: target.name: Required value
        no node
           422 Invalid: Binding "web-0" is invalid: target.kind: Unsupported value: "Machine": supported values: "Node", "<empty>"
        no kind
           bound
        ending
           409 Conflict: Operation cannot be fulfilled on pods/binding "web-0": pod web-0 is being deleted, cannot be assigned to a host
        gated
           409 Conflict: Operation cannot be fulfilled on pods/binding "web-0": pod web-0 has non-empty .spec.schedulingGates
    "#]].assert_eq(&text);
}

#[test]
fn a_namespace_goes_when_it_is_finalized() {
    // M-3.
    let mut namespace = stored(yaml("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"));
    let finalized = merged(&namespace, &yaml("spec: {finalizers: null}"));
    let outcome =
        |current: &Value, body: &Value| decide_finalize(def_of(current), current, body).expect("no error").outcome;
    assert!(matches!(outcome(&namespace, &finalized), Outcome::Write(_)));
    assert_eq!(outcome(&namespace, &namespace), Outcome::Unchanged);
    namespace["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z".into();
    assert!(matches!(outcome(&namespace, &finalized), Outcome::Remove(_)));
    namespace["metadata"]["finalizers"] = json!(["example.com/a"]);
    assert!(matches!(outcome(&namespace, &finalized), Outcome::Write(_)));
}
