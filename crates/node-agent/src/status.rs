//! Writing a pod's status: only what differs from what the API has, in one patch.

use k8s_openapi::api::core::v1::PodStatus;
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
