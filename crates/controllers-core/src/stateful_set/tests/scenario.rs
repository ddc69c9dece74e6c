//! Scenarios as text: a set, its pods, and the plan for them.
//!
//! `replicas=3; 0 ready@new; 1 pending`: options first, then one clause per pod: ordinal, state, and the revision
//! (`@new` is the template's, `@old` is the current one of a running update, `@other` an unknown one).

use expect_test::Expect;
use serde_json::{Value, json};

use super::super::Plan;
use super::super::revision::RevisionData;
use super::world::{World, seconds};

/// The world of a scenario; image `v2` is wanted, `v1` was before (if some pod is `@old`).
pub(super) fn world(text: &str) -> World {
    let mut clauses = text.split(';').map(str::trim);
    let mut world = World::new(World::spec(1, "v2"));
    for option in clauses.next().unwrap().split_whitespace() {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        option_of(&mut world, key, value);
    }
    let old = data("v1");
    let new = data("v2");
    if text.contains("@old") {
        add_revision(&mut world, "web-old", &old, 1);
        world.set["status"]["currentRevision"] = json!("web-old");
    }
    let new_name = format!("web-{}", new.hash(0));
    if text.contains('@') {
        add_revision(&mut world, &new_name, &new, 2);
        world.set["status"]["updateRevision"] = json!(new_name);
    }
    for clause in clauses.filter(|clause| !clause.is_empty()) {
        add_pod(&mut world, clause, &new_name);
    }
    world
}

pub(super) fn data(image: &str) -> RevisionData {
    RevisionData::of_template(World::spec(1, image)["template"].clone())
}

pub(super) fn add_revision(world: &mut World, name: &str, data: &RevisionData, number: i64) {
    let revision = world.tick();
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set-1", "controller": true}]);
    world.revisions.insert(
        name.to_owned(),
        json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": revision,
                "labels": {"app": "web"}, "ownerReferences": owner},
            "data": data.value, "revision": number,
        }),
    );
}

fn option_of(world: &mut World, key: &str, value: &str) {
    let spec = &mut world.set["spec"];
    match key {
        "replicas" => spec["replicas"] = json!(value.parse::<i32>().unwrap()),
        "start" => spec["ordinals"] = json!({"start": value.parse::<i32>().unwrap()}),
        "parallel" => spec["podManagementPolicy"] = json!("Parallel"),
        "on-delete" => spec["updateStrategy"] = json!({"type": "OnDelete"}),
        "no-block" => spec["updateStrategy"] = json!({"type": "RollingUpdate"}),
        "partition" => spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(value.parse::<i32>().unwrap()),
        "max-unavailable" => {
            let share = value.parse::<i32>().map_or_else(|_| json!(value), |count| json!(count));
            spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = share;
        }
        "min-ready" => spec["minReadySeconds"] = json!(value.parse::<i32>().unwrap()),
        "history" => spec["revisionHistoryLimit"] = json!(value.parse::<i32>().unwrap()),
        "claims" => {
            spec["volumeClaimTemplates"] =
                json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
        }
        "scaled" => spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"] = json!(value),
        "deleted" => spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = json!(value),
        "deleting" => world.set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
        "current" => world.set["status"]["currentReplicas"] = json!(value.parse::<i32>().unwrap()),
        "heal" => world.set["metadata"]["annotations"]["roadstead.dev/heal-rollout"] = json!("never-ready"),
        "held" => world.set["metadata"]["finalizers"] = json!(["example.com/x", meta::RETENTION_FINALIZER]),
        "claim" => add_claim(world, value, json!([])),
        "claim-of-pod" | "claim-of-live-pod" => {
            let pod = value.strip_prefix("data-").unwrap();
            let uid = if key == "claim-of-pod" { "earlier".to_owned() } else { pod.replace("web-", "uid-") };
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid, "controller": true,
                "blockOwnerDeletion": true});
            add_claim(world, value, json!([owner]));
        }
        "claim-of-set" | "claim-of-set-loosely" => {
            let is_controller = key == "claim-of-set";
            let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set-1",
                "controller": is_controller, "blockOwnerDeletion": true});
            add_claim(world, value, json!([owner]));
        }
        "claim-of-other" => {
            let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x", "controller": true});
            add_claim(world, value, json!([owner]));
        }
        "claim-beside-other" => {
            let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"});
            add_claim(world, value, json!([owner]));
        }
        "claim-terminating" => {
            option_of(world, "claim", value);
            world.claims.get_mut(value).unwrap()["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        other => panic!("no such option: {other}"),
    }
}

fn add_claim(world: &mut World, name: &str, owners: Value) {
    let revision = world.tick();
    let meta = json!({"name": name, "uid": name, "resourceVersion": revision, "ownerReferences": owners});
    world.claims.insert(name.to_owned(), json!({"metadata": meta}));
}

fn add_pod(world: &mut World, clause: &str, new_name: &str) {
    let words: Vec<_> = clause.split_whitespace().collect();
    let (ordinal, rest) = (words[0], &words[1..]);
    let (state, revision) = rest[0].split_once('@').unwrap_or((rest[0], "new"));
    let name = format!("web-{ordinal}");
    let uid = format!("uid-{ordinal}");
    let revision_label = match revision {
        "new" => new_name,
        "old" => "web-old",
        other => other,
    };
    let resource_version = world.tick();
    let mut since = world.now - jiff::SignedDuration::from_secs(1000);
    if let Some(age) = rest.iter().find_map(|word| word.strip_prefix("for=")) {
        since = world.now - jiff::SignedDuration::from_secs(age.parse().unwrap());
    }
    let phase = match state {
        "failed" => "Failed",
        "succeeded" => "Succeeded",
        "unknown" => "Unknown",
        "pending" => "Pending",
        _ => "Running",
    };
    let ready = if matches!(state, "ready" | "terminating") { "True" } else { "False" };
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": uid, "resourceVersion": resource_version,
            "labels": {"app": "web", "controller-revision-hash": revision_label,
                "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": ordinal},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set-1",
                "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"containers": [], "nodeName": if phase == "Pending" { "" } else { "n1" }},
        "status": {"phase": phase, "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": seconds(since)}]},
    });
    if world.set["spec"]["volumeClaimTemplates"].is_array() {
        pod["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{name}")}}]);
    }
    for word in &rest[1..] {
        match *word {
            "orphan" => pod["metadata"]["ownerReferences"] = Value::Null,
            "foreign" => pod["metadata"]["ownerReferences"][0]["uid"] = json!("other"),
            "unlabelled" => pod["metadata"]["labels"]["app"] = json!("other"),
            "misnamed" => pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!("x"),
            "terminating" => pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            "young" => pod["metadata"]["creationTimestamp"] = json!(seconds(world.now)),
            "no-volumes" => pod["spec"]["volumes"] = json!([]),
            "no-revision" => {
                pod["metadata"]["labels"].as_object_mut().unwrap().remove("controller-revision-hash");
            }
            "never" | "ever" => {
                let ever = if *word == "ever" { "True" } else { "False" };
                let condition = json!({"type": meta::EVER_READY_CONDITION, "status": ever});
                pod["status"]["conditions"].as_array_mut().unwrap().push(condition);
                pod["spec"]["nodeName"] = json!("n1");
            }
            word => assert!(word.starts_with("for="), "no such word: {word}"),
        }
    }
    if state == "terminating" {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    world.pods.insert(name, pod);
}

/// The plan as text, without the status; the names of revisions shortened.
pub(super) fn show(plan: &Plan) -> String {
    let new_name = format!("web-{}", data("v2").hash(0));
    let mut lines = Vec::new();
    for action in &plan.prepare {
        lines.push(action.to_string());
    }
    for (index, batch) in plan.batches.iter().enumerate() {
        for chain in batch {
            let chain: Vec<_> = chain.iter().map(ToString::to_string).collect();
            lines.push(format!("{}. {}", index + 1, chain.join(", ")));
        }
    }
    for action in &plan.tidy {
        lines.push(action.to_string());
    }
    for wait in &plan.waits {
        lines.push(format!("{} waits: {}", wait.step, wait.on));
    }
    for note in &plan.notes {
        lines.push(format!("{:?} {}: {}", note.tone, note.reason, note.message));
    }
    if let Some(at) = plan.look_again {
        lines.push(format!("look again at {at}"));
    }
    if plan.retry {
        lines.push("retry".to_owned());
    }
    lines.join("\n").replace(&new_name, "new").replace("web-old", "old")
}

#[track_caller]
pub(super) fn check(text: &str, expected: Expect) {
    let world = world(text);
    let plan = world.plan();
    assert_eq!(plan, world.plan(), "planning twice gives the same plan");
    expected.assert_eq(&show(&plan));
}

/// The status after the plan, as text.
#[track_caller]
pub(super) fn check_status(text: &str, expected: Expect) {
    let s = world(text).plan().status_after;
    let new_name = format!("web-{}", data("v2").hash(0));
    let text = format!(
        "replicas={} ready={} available={} current={}@{} updated={}@{}",
        s.replicas,
        s.ready_replicas,
        s.available_replicas,
        s.current_replicas,
        s.current_revision,
        s.updated_replicas,
        s.update_revision
    );
    expected.assert_eq(&text.replace(&new_name, "new").replace("web-old", "old"));
}
