//! Everything else that people ask about: other workloads, services, budgets, namespaces.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Trail, Verdict, counted, kubectl, refusal};
use crate::cluster::{Ref, condition, is_true, list, number, text};

/// What an object of another kind waits for.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    match about.kind.as_str() {
        "Deployment" => deployment(trail, about, object),
        "ReplicaSet" | "DaemonSet" | "Job" => workload(trail, about, object),
        "Service" => service(trail, about, object),
        "PodDisruptionBudget" => budget(trail, about, object),
        "PersistentVolume" => volume(trail, about, object),
        "ResourceQuota" => quota(trail, about, object),
        _ => {
            trail.says(about, "is there");
            Verdict::fine()
        }
    }
}

fn deployment(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let (wanted, ready) = (number(object, "/spec/replicas"), number(object, "/status/readyReplicas"));
    let updated = number(object, "/status/updatedReplicas");
    let mut summary = format!("has {ready} of {wanted} pods ready, {updated} updated");
    let is_late = condition(object, "Progressing").is_some_and(|found| found["reason"] == "ProgressDeadlineExceeded");
    if is_late {
        summary.push_str("; its progress deadline is over");
    }
    if object["spec"]["paused"] == true {
        trail.says(about, format!("{summary}; it is paused"));
        return Verdict::stuck([format!(
            "`{}`",
            kubectl(&about.namespace, &format!("rollout resume deployment {}", about.name))
        )]);
    }
    let uid = text(object, "/metadata/uid");
    let mine = |set: &&Value| list(set, "/metadata/ownerReferences").iter().any(|owner| owner["uid"] == uid);
    let unready: Vec<Ref> = trail
        .cluster
        .list("ReplicaSet", &about.namespace)
        .filter(mine)
        .filter(|set| number(set, "/status/readyReplicas") < number(set, "/spec/replicas"))
        .map(Ref::of)
        .collect();
    match unready.last() {
        Some(set) => {
            trail.says(about, summary);
            let mut verdict = trail.follow(set);
            let sized = trail.cluster.list("ReplicaSet", &about.namespace).filter(mine);
            let is_updating = sized.filter(|set| number(set, "/spec/replicas") > 0).count() > 1;
            if (is_late || is_updating) && verdict.is_stuck() {
                let undo = format!("rollout undo deployment {}", about.name);
                verdict.next.push(format!("go back to the template before: `{}`", kubectl(&about.namespace, &undo)));
            }
            verdict
        }
        None if ready >= wanted && updated >= wanted => {
            trail.says(about, summary);
            Verdict::fine()
        }
        None => {
            trail.says(about, format!("{summary}; the controller is at work"));
            Verdict::working()
        }
    }
}

fn workload(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    if object["spec"]["suspend"] == true {
        trail.says(about, "is suspended");
        return Verdict::stuck([format!(
            "`{}`",
            kubectl(
                &about.namespace,
                &format!("patch {} {} -p '{{\"spec\":{{\"suspend\":false}}}}'", about.kind.to_lowercase(), about.name)
            )
        )]);
    }
    if let Some(failed) = condition(object, "Failed").filter(|failed| failed["status"] == "True") {
        trail.says(about, format!("has failed: {}", text(failed, "/message")));
        return Verdict::stuck([format!(
            "`{}` shows its pods; a Job that failed is not tried again: create it anew",
            kubectl(&about.namespace, &format!("describe job {}", about.name))
        )]);
    }
    let (count, unready) = owned_pods(trail, object);
    if let Some(pod) = unready.first() {
        let pod = Ref::of(pod);
        trail.says(about, format!("has {count} pods, {} of them not ready", unready.len()));
        return trail.follow(&pod);
    }
    if count < number(object, "/spec/replicas")
        && let Some(verdict) = refusal::follow(trail, about, "a pod")
    {
        return verdict;
    }
    trail.says(about, format!("has {count} pods, and none of them waits"));
    Verdict::fine()
}

fn service(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let Some(selector) = object.pointer("/spec/selector").and_then(Value::as_object).filter(|map| !map.is_empty())
    else {
        trail.says(about, "has no selector: its addresses are those of the Endpoints that somebody writes");
        return Verdict::fine();
    };
    let selects = |pod: &&Value| {
        selector
            .iter()
            .all(|(key, value)| pod.pointer("/metadata/labels").and_then(|labels| labels.get(key)) == Some(value))
    };
    let pods: Vec<&Value> = trail.cluster.list("Pod", &about.namespace).filter(selects).collect();
    let Some(first) = pods.first() else {
        let wanted: Vec<String> =
            selector.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        trail.says(about, format!("selects no pod: none has the labels {}", wanted.join(",")));
        return Verdict::stuck([format!(
            "compare them with the pods': `{}`",
            kubectl(&about.namespace, "get pods --show-labels")
        )]);
    };
    let ready = pods.iter().filter(|pod| is_true(pod, "Ready")).count();
    if ready > 0 {
        trail.says(about, format!("leads to {}", counted(ready, "ready pod")));
        return Verdict::fine();
    }
    let first = Ref::of(first);
    trail.says(about, format!("selects {} pods, and none is ready", pods.len()));
    trail.follow(&first)
}

fn budget(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let status = |field: &str| number(object, &format!("/status/{field}"));
    let (allowed, healthy, desired) =
        (status("disruptionsAllowed"), status("currentHealthy"), status("desiredHealthy"));
    if allowed > 0 {
        trail.says(about, format!("lets {} be evicted now", counted(allowed, "pod")));
        return Verdict::fine();
    }
    let are = if healthy == 1 { "is" } else { "are" };
    trail.says(about, format!("lets no pod be evicted: {healthy} {are} healthy, and {desired} must be"));
    let selector = object.pointer("/spec/selector").cloned().unwrap_or_default();
    let Ok(selector) = meta::LabelSelector::from_object(&selector) else { return Verdict::working() };
    let unready = trail.cluster.list("Pod", &about.namespace).find(|pod| {
        let labels =
            pod.pointer("/metadata/labels").and_then(|labels| BTreeMap::<String, String>::deserialize(labels).ok());
        selector.matches(&labels.unwrap_or_default()) && !is_true(pod, "Ready")
    });
    match unready.map(Ref::of) {
        Some(pod) => trail.follow(&pod),
        None => Verdict::stuck([
            "it allows none even when all pods are healthy: raise maxUnavailable or lower minAvailable".to_owned(),
        ]),
    }
}

fn volume(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let claim = Ref::new(
        "PersistentVolumeClaim",
        text(object, "/spec/claimRef/namespace"),
        text(object, "/spec/claimRef/name"),
    );
    match text(object, "/status/phase") {
        "Released" => {
            trail.says(about, format!("was released by {claim} and keeps its data, as its reclaim policy asks"));
            Verdict::stuck([format!(
                "to use its data again: `kubectl patch pv {} --type=merge -p '{{\"spec\":{{\"claimRef\":null}}}}'`",
                about.name
            )])
        }
        "Failed" => {
            trail.says(about, format!("could not be reclaimed: {}", text(object, "/status/message")));
            Verdict::stuck(["remove what the message names; or delete the object and its folder by hand".to_owned()])
        }
        "Bound" => {
            trail.says(about, format!("belongs to {claim}"));
            Verdict::fine()
        }
        _ => {
            trail.says(about, "waits for a claim that it fits");
            Verdict::working()
        }
    }
}

fn quota(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let used = |name: &str| object.pointer("/status/used").map_or("0", |used| text(&used[name], ""));
    let full: Vec<String> = object
        .pointer("/status/hard")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(name, hard)| {
            let amounts =
                used(name).parse::<meta::Quantity>().ok().zip(hard.as_str().and_then(|hard| hard.parse().ok()));
            amounts.is_some_and(|(used, hard)| used >= hard)
        })
        .map(|(name, hard)| format!("{name} {} of {}", used(name), hard.as_str().unwrap_or_default()))
        .collect();
    if full.is_empty() {
        trail.says(about, "has room");
        return Verdict::fine();
    }
    trail.says(about, format!("is used up: {}", full.join(", ")));
    Verdict::stuck([format!(
        "raise it, or delete what uses it: `{}`",
        kubectl(&about.namespace, &format!("describe quota {}", about.name))
    )])
}

/// How many pods a workload owns, and the first one that is not ready.
fn owned_pods<'c>(trail: &Trail<'c>, owner: &Value) -> (i64, Vec<&'c Value>) {
    let uid = text(owner, "/metadata/uid");
    let mine = |pod: &&Value| list(pod, "/metadata/ownerReferences").iter().any(|found| found["uid"] == uid);
    let cluster = trail.cluster;
    let pods: Vec<&Value> = cluster.list("Pod", text(owner, "/metadata/namespace")).filter(mine).collect();
    let is_unready = |pod: &&Value| text(pod, "/status/phase") != "Succeeded" && !is_true(pod, "Ready");
    let unready = pods.iter().copied().filter(is_unready).collect();
    (i64::try_from(pods.len()).unwrap_or(i64::MAX), unready)
}
