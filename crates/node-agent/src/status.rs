//! Writing a pod's status: only what differs from what the API has, in one patch.

use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use meta::Uid;
use serde_json::{Map, Value, json};

/// The generation of the pod that a status, or a condition in it, was made from.
const OBSERVED_GENERATION: &str = "observedGeneration";

/// Fields of a status that the node owns; others are never touched.
const OWNED: [&str; 11] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "initContainerStatuses",
    "containerStatuses",
    OBSERVED_GENERATION,
];

/// The status as a tree, without empty fields.
pub(crate) fn tree(status: &PodStatus) -> Value {
    serde_json::to_value(status).expect("a status of plain strings and numbers is JSON")
}

/// Whether [`patch`] has nothing to tell, as far as that can be seen without trees: most times that a pod is looked at.
pub(crate) fn is_told(known: &PodStatus, wanted: &PodStatus, is_going: bool) -> bool {
    let is_known = |new: &PodCondition| {
        let same = |old: &&PodCondition| {
            old.status == new.status
                && (&old.reason, &old.message) == (&new.reason, &new.message)
                && (&old.last_transition_time, &old.last_probe_time)
                    == (&new.last_transition_time, &new.last_probe_time)
                && (is_going || old.observed_generation == new.observed_generation)
        };
        known.conditions.iter().flatten().find(|old| old.type_ == new.type_).filter(same).is_some()
    };
    known.phase == wanted.phase
        && (&known.reason, &known.message) == (&wanted.reason, &wanted.message)
        && (&known.host_ip, &known.host_ips) == (&wanted.host_ip, &wanted.host_ips)
        && (&known.pod_ip, &known.pod_ips) == (&wanted.pod_ip, &wanted.pod_ips)
        && known.start_time == wanted.start_time
        && known.init_container_statuses == wanted.init_container_statuses
        && known.container_statuses == wanted.container_statuses
        && (is_going || known.observed_generation == wanted.observed_generation)
        && wanted.conditions.iter().flatten().all(is_known)
}

/// The strategic merge patch that takes `known` to `wanted`; `None` if nothing differs. Conditions are merged by type,
/// so that those of others stay. That the deletion of a pod was seen is not worth a write of its own: what follows from
/// it comes at once.
pub(crate) fn patch(known: &Value, wanted: &Value, uid: &Uid, is_going: bool) -> Option<Value> {
    let mut status = Map::new();
    for field in OWNED {
        let (old, new) = (known.get(field), wanted.get(field));
        if old == new {
            continue;
        }
        let value = match (field, new) {
            (_, None) => Value::Null,
            // Merged by address upstream: old addresses would stay.
            ("podIPs" | "hostIPs", Some(Value::Array(items))) => {
                let replace = [json!({"$patch": "replace"})];
                Value::Array(replace.into_iter().chain(items.iter().cloned()).collect())
            }
            (_, Some(new)) => new.clone(),
        };
        status.insert(field.to_owned(), value);
    }
    let changed = conditions(known, wanted);
    if !changed.is_empty() {
        status.insert("conditions".to_owned(), Value::Array(changed));
    }
    let speaks = |field: &String| field != OBSERVED_GENERATION && field != "conditions";
    if is_going && !status.keys().any(speaks) && conditions(&ageless(known), &ageless(wanted)).is_empty() {
        return None;
    }
    if meta::mutants::is_on("status-by-name") {
        return (!status.is_empty()).then(|| json!({"status": status}));
    }
    (!status.is_empty()).then(|| json!({"metadata": {"uid": uid.0}, "status": status}))
}

/// The conditions without the generation that they were observed at.
fn ageless(status: &Value) -> Value {
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
        condition.remove(OBSERVED_GENERATION);
    }
    json!({"conditions": conditions})
}

/// The conditions that differ; a field that has gone is set to null, because a merge would keep it.
fn conditions(known: &Value, wanted: &Value) -> Vec<Value> {
    let all = |status: &Value| status["conditions"].as_array().cloned().unwrap_or_default();
    let known = all(known);
    let mut changed = Vec::new();
    for mut condition in all(wanted) {
        let old = known.iter().find(|old| old["type"] == condition["type"]);
        if let (Some(Value::Object(old)), Value::Object(new)) = (old, &mut condition) {
            let differs = new.iter().any(|(field, value)| old.get(field) != Some(value));
            let gone: Vec<String> = ["reason", "message"]
                .into_iter()
                .filter(|field| old.contains_key(*field) && !new.contains_key(*field))
                .map(str::to_owned)
                .collect();
            if !differs && gone.is_empty() {
                continue;
            }
            new.extend(gone.into_iter().map(|field| (field, Value::Null)));
        }
        changed.push(condition);
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_what_differs_is_written_and_conditions_of_others_stay() {
        let known = json!({"phase": "Pending", "podIPs": [{"ip": "10.0.0.1"}], "reason": "old", "conditions": [
            {"type": "mine.example", "status": "True"}, {"type": "Ready", "status": "False", "message": "m"}]});
        let wanted = json!({"phase": "Pending", "podIPs": [{"ip": "10.0.0.2"}], "conditions": [
            {"type": "Ready", "status": "True"}]});
        let got = patch(&known, &wanted, &Uid("u".to_owned()), false).unwrap();
        assert_eq!(
            got,
            json!({"metadata": {"uid": "u"}, "status": {
                "reason": null,
                "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}],
                "conditions": [{"type": "Ready", "status": "True", "message": null}]}})
        );
    }

    #[test]
    fn a_status_that_is_there_already_needs_no_write() {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(patch(&status, &status, &Uid::default(), false), None);
    }

    /// What the API has of a pod that runs: fields and conditions of others are in it.
    const LIVE: &str = r#"{"phase": "Running", "qosClass": "Burstable", "observedGeneration": 1, "startTime": "2026-11-21T07:00:00Z",
        "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [{"name": "c", "image": "i", "imageID": "",
        "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-11-21T07:00:00Z"}}}], "conditions": [
        {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True", "observedGeneration": 1}]}"#;

    #[test]
    fn what_is_told_needs_no_trees_and_whatever_differs_is_seen() {
        let live: PodStatus = serde_json::from_str(LIVE).unwrap();
        let mut wanted = live.clone();
        (wanted.qos_class, wanted.conditions.as_mut().unwrap()[0]) =
            (None, wanted.conditions.as_ref().unwrap()[1].clone());
        wanted.conditions.as_mut().unwrap().truncate(1);
        let no_patch = |known: &PodStatus, wanted: &PodStatus, is_going| {
            let told = is_told(known, wanted, is_going);
            let patch = patch(&tree(known), &tree(wanted), &Uid::default(), is_going);
            assert_eq!(told, patch.is_none(), "{wanted:?}, going: {is_going}");
            told
        };
        assert!(no_patch(&live, &wanted, false), "fields and conditions of others do not count");
        let changes = [
            json!({"phase": "Succeeded"}),
            json!({"reason": "Evicted"}),
            json!({"message": "m"}),
            json!({"hostIP": "10.0.0.9"}),
            json!({"hostIPs": [{"ip": "10.0.0.9"}]}),
            json!({"podIP": null}),
            json!({"podIPs": null}),
            json!({"startTime": "2026-11-21T07:00:01Z"}),
            json!({"initContainerStatuses": [{"name": "i", "image": "i", "imageID": "", "ready": true, "restartCount": 0}]}),
            json!({"containerStatuses": null}),
            json!({"observedGeneration": 2}),
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]}),
            json!({"conditions": [{"type": "Ready", "status": "False", "observedGeneration": 1}]}),
            json!({"conditions": [{"type": "Ready", "status": "True", "reason": "r", "observedGeneration": 1}]}),
            json!({"conditions": [{"type": "Ready", "status": "True", "message": "m", "observedGeneration": 1}]}),
            json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T07:00:00Z"}]}),
            json!({"conditions": [{"type": "Ready", "status": "True", "lastProbeTime": "2026-11-21T07:00:00Z"}]}),
            json!({"conditions": [{"type": "Initialized", "status": "True"}]}),
        ];
        let named: BTreeSet<&str> =
            changes.iter().flat_map(|change| change.as_object().unwrap().keys()).map(String::as_str).collect();
        assert_eq!(named, OWNED.into_iter().chain(["conditions"]).collect(), "each field has its row");
        for change in changes {
            let mut changed = tree(&wanted);
            changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let changed: PodStatus = serde_json::from_value(changed).unwrap();
            for is_going in [false, true] {
                no_patch(&live, &changed, is_going);
            }
        }
    }

    #[test]
    fn that_a_deletion_was_seen_is_written_with_what_follows_from_it() {
        let at = |generation: u32, phase: &str| {
            json!({"phase": phase, "observedGeneration": generation, "conditions": [
                {"type": "Ready", "status": "True", "observedGeneration": generation}]})
        };
        let (known, seen) = (at(1, "Running"), at(2, "Running"));
        assert!(patch(&known, &seen, &Uid::default(), false).is_some());
        assert_eq!(patch(&known, &seen, &Uid::default(), true), None);
        let ended = at(2, "Succeeded");
        let written = patch(&known, &ended, &Uid::default(), true).unwrap();
        assert_eq!(written["status"], ended);
        let mut unready = at(2, "Running");
        unready["conditions"][0]["status"] = json!("False");
        let written = patch(&known, &unready, &Uid::default(), true).unwrap();
        assert_eq!(written["status"]["conditions"], unready["conditions"]);
    }
}
