//! Deletion: grace, finalizers, preconditions, propagation (V-45 to V-50, N-39 to N-41).

use crate::bed::{POD, SET, check_update_of, delete, refusal, stored, update, yaml};
use apiserver_core::write::{Deletion, DeletionOptions, Outcome, Propagation};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

/// What is done to the object, and what its metadata says then about deletion.
fn said(result: Result<Deletion, meta::Status>) -> String {
    let marks = |tree: &Value| {
        let metadata = &tree["metadata"];
        let part = json!({
            "at": metadata.get("deletionTimestamp"), "grace": metadata.get("deletionGracePeriodSeconds"),
            "generation": metadata.get("generation"), "finalizers": metadata.get("finalizers"),
        });
        let Value::Object(part) = part else { return String::new() };
        let shown: Vec<String> =
            part.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| format!("{key}={value}")).collect();
        shown.join(" ")
    };
    match result {
        Ok(Deletion::Remove(tree)) => format!("remove {}", marks(&tree)).trim_end().to_owned(),
        Ok(Deletion::Mark(tree)) => format!("mark {}", marks(&tree)),
        Ok(Deletion::Unchanged) => "unchanged".to_owned(),
        Err(status) => refusal(&status),
    }
}

fn check(current: &Value, options: &DeletionOptions, expected: Expect) {
    expected.assert_eq(&said(delete(current, options)));
}

fn grace(secs: i64) -> DeletionOptions {
    DeletionOptions { grace_period_secs: Some(secs), ..DeletionOptions::default() }
}

fn running_pod() -> Value {
    let mut pod = stored(yaml(POD));
    pod["spec"]["nodeName"] = "here".into();
    pod["status"]["phase"] = "Running".into();
    pod
}

fn marked(current: &Value, options: &DeletionOptions) -> Value {
    match delete(current, options) {
        Ok(Deletion::Mark(mut tree)) => {
            tree["metadata"]["resourceVersion"] = "101".into();
            tree
        }
        other => panic!("not marked: {other:?}"),
    }
}

#[test]
fn a_running_pod_gets_its_grace_period() {
    // N-39.
    check(
        &running_pod(),
        &DeletionOptions::default(),
        expect![[r#"mark at="2026-11-21T07:00:30Z" generation=2 grace=30"#]],
    );
    check(&running_pod(), &grace(5), expect![[r#"mark at="2026-11-21T07:00:05Z" generation=2 grace=5"#]]);
    check(&running_pod(), &grace(-7), expect![[r#"mark at="2026-11-21T07:00:01Z" generation=2 grace=1"#]]);
    check(&running_pod(), &grace(0), expect![[r#"remove at="2026-11-21T07:00:00Z" generation=2 grace=0"#]]);
}

#[test]
fn a_grace_period_can_be_shortened_and_never_lengthened() {
    // N-40.
    let pod = marked(&running_pod(), &grace(20));
    check(&pod, &DeletionOptions::default(), expect!["unchanged"]);
    check(&pod, &grace(20), expect!["unchanged"]);
    check(&pod, &grace(21), expect!["unchanged"]);
    check(&pod, &grace(19), expect![[r#"mark at="2026-11-21T07:00:19Z" generation=2 grace=19"#]]);
    check(&pod, &grace(0), expect![[r#"remove at="2026-11-21T07:00:00Z" generation=2 grace=0"#]]);
}

#[test]
fn a_pod_that_no_node_has_or_that_is_over_goes_at_once() {
    // N-39.
    check(
        &stored(yaml(POD)),
        &DeletionOptions::default(),
        expect![[r#"remove at="2026-11-21T07:00:00Z" generation=2 grace=0"#]],
    );
    let mut finished = running_pod();
    finished["status"]["phase"] = "Failed".into();
    check(&finished, &grace(30), expect![[r#"remove at="2026-11-21T07:00:00Z" generation=2 grace=0"#]]);
}

#[test]
fn finalizers_hold_an_object_until_the_last_one_is_gone() {
    let mut set = stored(yaml(SET));
    set["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    check(
        &set,
        &DeletionOptions::default(),
        expect![[
            r#"mark at="2026-11-21T07:00:00Z" finalizers=["example.com/a","example.com/b"] generation=2 grace=0"#
        ]],
    );
    let held = marked(&set, &DeletionOptions::default());
    check(&held, &DeletionOptions::default(), expect!["unchanged"]);
    check_update_of(
        &held,
        "",
        &[
            "metadata: {finalizers: [example.com/a]}",
            "metadata: {finalizers: null}",
            "metadata: {finalizers: [example.com/a, example.com/b, example.com/c]}",
            "metadata: {deletionTimestamp: null}",
        ],
        expect![[r#"
            metadata: {finalizers: [example.com/a]}
               written, generation 2
            metadata: {finalizers: null}
               removed
            metadata: {finalizers: [example.com/a, example.com/b, example.com/c]}
               metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/c"}
            metadata: {deletionTimestamp: null}
               unchanged
        "#]],
    );
    // The last state says who made what, also when the client said nothing of it.
    let mut put = held.clone();
    let metadata = put["metadata"].as_object_mut().expect("metadata");
    metadata.remove("managedFields");
    metadata.remove("finalizers");
    let plan = update(&held, put, "").expect("the last finalizers go");
    let Outcome::Remove(last) = plan.outcome else { panic!("{plan:?}") };
    assert_eq!(last["metadata"]["managedFields"], held["metadata"]["managedFields"]);
    check_update_of(
        &held,
        "status",
        &["metadata: {finalizers: null}"],
        expect![[r#"
        metadata: {finalizers: null}
           removed
    "#]],
    );
}

#[test]
fn a_pod_with_finalizers_stays_after_its_grace_period() {
    let mut pod = running_pod();
    pod["metadata"]["finalizers"] = json!(["example.com/a"]);
    let ending = marked(&pod, &DeletionOptions::default());
    check(
        &ending,
        &grace(0),
        expect![[r#"mark at="2026-11-21T07:00:00Z" finalizers=["example.com/a"] generation=2 grace=0"#]],
    );
    let over = marked(&ending, &grace(0));
    check(&over, &grace(0), expect!["unchanged"]);
    check_update_of(
        &ending,
        "",
        &["metadata: {finalizers: null}"],
        expect![[r#"
        metadata: {finalizers: null}
           written, generation 2
    "#]],
    );
    check_update_of(
        &over,
        "",
        &["metadata: {finalizers: null}"],
        expect![[r#"
        metadata: {finalizers: null}
           removed
    "#]],
    );
}

#[test]
fn the_fate_of_dependents_is_a_finalizer() {
    // A-6.
    let set = stored(yaml(SET));
    let with = |propagation| DeletionOptions { propagation: Some(propagation), ..DeletionOptions::default() };
    check(&set, &with(Propagation::Background), expect!["remove generation=1"]);
    check(
        &set,
        &with(Propagation::Foreground),
        expect![[r#"mark at="2026-11-21T07:00:00Z" finalizers=["foregroundDeletion"] generation=2 grace=0"#]],
    );
    check(
        &set,
        &with(Propagation::Orphan),
        expect![[r#"mark at="2026-11-21T07:00:00Z" finalizers=["orphan"] generation=2 grace=0"#]],
    );
    let waiting = marked(&set, &with(Propagation::Foreground));
    check(&waiting, &with(Propagation::Foreground), expect!["unchanged"]);
    check(
        &waiting,
        &with(Propagation::Orphan),
        expect![[r#"mark at="2026-11-21T07:00:00Z" finalizers=["orphan"] generation=2 grace=0"#]],
    );
    check(
        &waiting,
        &with(Propagation::Background),
        expect![[r#"remove at="2026-11-21T07:00:00Z" generation=2 grace=0"#]],
    );
    check(&waiting, &DeletionOptions::default(), expect!["unchanged"]);
}

#[test]
fn preconditions_name_the_object_that_was_meant() {
    let pod = running_pod();
    let uid = |uid: &str| DeletionOptions { uid: Some(uid.to_owned()), ..grace(0) };
    check(&pod, &uid(crate::bed::UID), expect![[r#"remove at="2026-11-21T07:00:00Z" generation=2 grace=0"#]]);
    check(
        &pod,
        &uid("other"),
        expect![[
            r#"409 Conflict: Operation cannot be fulfilled on pods "web-0": the UID in the precondition (other) does not match the UID in record (11111111-2222-4333-8444-555555555555). The object might have been deleted and then recreated"#
        ]],
    );
    let version = |version: &str| DeletionOptions { resource_version: Some(version.to_owned()), ..grace(0) };
    check(&pod, &version("100"), expect![[r#"remove at="2026-11-21T07:00:00Z" generation=2 grace=0"#]]);
    check(
        &pod,
        &version("99"),
        expect![[
            r#"409 Conflict: Operation cannot be fulfilled on pods "web-0": the ResourceVersion in the precondition (99) does not match the ResourceVersion in record (100). The object might have been modified"#
        ]],
    );
}

#[test]
fn a_namespace_waits_for_its_content_and_some_never_go() {
    let namespace =
        |name: &str| stored(yaml(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")));
    check(
        &namespace("default"),
        &DeletionOptions::default(),
        expect![[r#"403 Forbidden: namespaces "default" is forbidden: this namespace may not be deleted"#]],
    );
    let namespace = namespace("shop");
    check(&namespace, &DeletionOptions::default(), expect![[r#"mark at="2026-11-21T07:00:00Z""#]]);
    let ending = marked(&namespace, &DeletionOptions::default());
    assert_eq!(ending["status"]["phase"], "Terminating");
    check(&ending, &DeletionOptions::default(), expect!["unchanged"]);
    check_update_of(
        &ending,
        "",
        &["metadata: {labels: {a: b}}"],
        expect![[r#"
        metadata: {labels: {a: b}}
           written
    "#]],
    );
}

#[test]
fn options_are_read_and_checked() {
    // C-93.
    let read = |text: &str| match DeletionOptions::from_tree(&yaml(text)) {
        Ok(options) => format!("{options:?}"),
        Err(status) => refusal(&status),
    };
    let rows = [
        "{}",
        "{propagationPolicy: Foreground, gracePeriodSeconds: 5, preconditions: {uid: u, resourceVersion: '7'}}",
        "{orphanDependents: true}",
        "{orphanDependents: false, propagationPolicy: Orphan}",
        "{propagationPolicy: Later}",
        "{dryRun: [All]}",
        "{dryRun: [Some]}",
    ];
    let text: Vec<String> = rows.iter().map(|row| format!("{row}\n   {}\n", read(row))).collect();
    expect![[r#"
        {}
           DeletionOptions { uid: None, resource_version: None, grace_period_secs: None, propagation: None, orphan_dependents_false: false, dry_run: false }
        {propagationPolicy: Foreground, gracePeriodSeconds: 5, preconditions: {uid: u, resourceVersion: '7'}}
           DeletionOptions { uid: Some("u"), resource_version: Some("7"), grace_period_secs: Some(5), propagation: Some(Foreground), orphan_dependents_false: false, dry_run: false }
        {orphanDependents: true}
           DeletionOptions { uid: None, resource_version: None, grace_period_secs: None, propagation: Some(Orphan), orphan_dependents_false: false, dry_run: false }
        {orphanDependents: false, propagationPolicy: Orphan}
           422 Invalid: DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set
        {propagationPolicy: Later}
           422 Invalid: DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Later": supported values: "Foreground", "Background", "Orphan", "nil"
        {dryRun: [All]}
           DeletionOptions { uid: None, resource_version: None, grace_period_secs: None, propagation: None, orphan_dependents_false: false, dry_run: true }
        {dryRun: [Some]}
           422 Invalid: DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"
    "#]].assert_eq(&text.concat());
}

#[test]
fn a_job_leaves_its_pods_unless_it_is_told_otherwise() {
    let job = stored(yaml(crate::jobs::JOB));
    let finalizers = |options: &DeletionOptions| match delete(&job, options).expect("a good deletion") {
        Deletion::Mark(tree) => tree["metadata"]["finalizers"].to_string(),
        Deletion::Remove(_) => "removed".to_owned(),
        Deletion::Unchanged => "unchanged".to_owned(),
    };
    assert_eq!(finalizers(&DeletionOptions::default()), "[\"orphan\"]");
    let background = DeletionOptions { propagation: Some(Propagation::Background), ..DeletionOptions::default() };
    assert_eq!(finalizers(&background), "removed");
}
