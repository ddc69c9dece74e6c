//! StatefulSets: the planner says what waits.

use controllers_core::stateful_set::{
    Action, Fact, HEAL_ROLLOUT, HealRollout, Ordinal, Plan, PodManagement, REVISION_LABEL, SetFacts, UpdateStrategy,
    View, plan,
};
use jiff::SignedDuration;
use meta::Timestamp;
use serde_json::Value;

use super::{Trail, Verdict, kubectl, refusal};
use crate::cluster::{Cluster, Ref, condition, is_terminating, text};

/// A pod that has to wait that much longer than `minReadySeconds` became ready by a clock that was far ahead.
const AHEAD_MIN: SignedDuration = SignedDuration::from_secs(60);

/// What a set waits for.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, object: &Value) -> Verdict {
    let set = match SetFacts::read(object.to_string().as_bytes()) {
        Ok(set) => set,
        Err(error) => {
            trail.says(about, format!("cannot be read: {error}"));
            return Verdict::stuck([
                "delete the set with --cascade=orphan and create it anew; its pods stay".to_owned()
            ]);
        }
    };
    let plan = planned(trail.cluster, &set, trail.now);
    for note in &plan.notes {
        if note.reason == "ServiceNotFound" {
            trail.also.push(note.message.clone());
        }
    }
    let summary = summary(&set, &plan);
    let Some(on) = blocking(&plan) else {
        return unblocked(trail, about, &set, &plan, &summary);
    };
    let creates = plan.actions().any(|a| matches!(a, Action::CreatePod { .. } | Action::CreateClaim { .. }));
    if creates && let Some(verdict) = refusal::follow(trail, about, "a pod") {
        return verdict;
    }
    trail.says(about, format!("{summary}; {}", on.describe(&set)));
    fact(trail, about, &set, &plan, &on)
}

/// The set that wants a pod of this name.
pub(super) fn that_makes(cluster: &Cluster, pod: &Ref) -> Option<Ref> {
    let wants = |set: &&Value| {
        let facts = SetFacts::read(set.to_string().as_bytes());
        facts.is_ok_and(|set| set.ordinal_of(&pod.name).is_some_and(|ordinal| set.has_slot(ordinal)))
    };
    let mut sets = cluster.list("StatefulSet", &pod.namespace).filter(|_| pod.kind == "Pod");
    sets.find(wants).map(Ref::of)
}

/// What the planner would do now.
pub(crate) fn planned(cluster: &Cluster, set: &SetFacts, now: Timestamp) -> Plan {
    let namespace = set.namespace.as_str();
    let pods: Vec<_> = cluster.list("Pod", namespace).filter_map(typed).collect();
    let claims: Vec<_> = cluster.list("PersistentVolumeClaim", namespace).filter_map(typed).collect();
    let revisions: Vec<_> = cluster.list("ControllerRevision", namespace).filter_map(typed).collect();
    let service = Ref::new("Service", namespace, &set.service_name);
    let service_exists = set.service_name.is_empty() || cluster.get(&service).is_some();
    let view = View::of(set, &pods, &claims, &revisions, service_exists);
    plan(&view.with_heal_rollout(cluster.heal_rollout()), now)
}

/// The object as its type; `None` if it does not have that shape.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> Option<T> {
    T::deserialize(object).ok()
}

fn summary(set: &SetFacts, plan: &Plan) -> String {
    let status = &plan.status_after;
    let ready = format!("has {} of {} pods ready", status.ready_replicas, set.replicas);
    if status.current_revision == status.update_revision || status.update_revision.is_empty() {
        return ready;
    }
    format!("{ready}, {} updated", status.updated_replicas)
}

/// The fact at the bottom: what holds others back, before what was asked to be so.
fn blocking(plan: &Plan) -> Option<Fact> {
    let by_choice = |on: &Fact| matches!(on, Fact::OnDelete(_) | Fact::Partition(_));
    let mut facts = plan.waits.iter().map(|wait| &wait.on);
    facts.clone().find(|on| !by_choice(on)).or_else(|| facts.find(|on| by_choice(on))).cloned()
}

fn unblocked(trail: &mut Trail<'_>, about: &Ref, set: &SetFacts, plan: &Plan, summary: &str) -> Verdict {
    if set.generation > set.status.observed_generation {
        trail.says(about, format!("{summary}; its last change has not been seen by the controller yet"));
        return Verdict::working();
    }
    if !plan.is_settled() {
        trail.says(about, format!("{summary}; the controller is at work"));
        return Verdict::working();
    }
    trail.says(about, summary.to_owned());
    Verdict::fine()
}

/// Goes on from the fact that the planner waits for.
fn fact(trail: &mut Trail<'_>, about: &Ref, set: &SetFacts, plan: &Plan, on: &Fact) -> Verdict {
    let namespace = about.namespace.as_str();
    let pod = |ordinal: &Ordinal| Ref::new("Pod", namespace, &set.pod_name(*ordinal));
    match on {
        Fact::NotReady(ordinal) => not_ready(trail, set, plan, *ordinal),
        Fact::Terminating(ordinal) => {
            if trail.cluster.get(&pod(ordinal)).is_some_and(is_terminating) {
                trail.follow(&pod(ordinal))
            } else {
                Verdict::working()
            }
        }
        Fact::NotAvailable(ordinal, until) => not_available(trail, set, *ordinal, *until),
        Fact::EndedEarly(..) | Fact::Missing(_) | Fact::Adoption => Verdict::working(),
        Fact::BudgetSpent { .. } => match first_unready(trail, set) {
            Some(ordinal) => not_ready(trail, set, plan, ordinal),
            None => Verdict::working(),
        },
        Fact::OnDelete(ordinal) => Verdict::stuck([
            format!(
                "replace it when it suits you: `{}`",
                kubectl(namespace, &format!("delete pod {}", set.pod_name(*ordinal)))
            ),
            "let the set do it: spec.updateStrategy.type: RollingUpdate".to_owned(),
        ]),
        Fact::Partition(_) => Verdict::stuck([format!(
            "when the updated pods are good, lower spec.updateStrategy.rollingUpdate.partition of {about}"
        )]),
        Fact::ClaimTerminating(claim) => trail.follow(&Ref::new("PersistentVolumeClaim", namespace, claim)),
        Fact::ClaimStale(claim) => {
            trail.says(
                &Ref::new("PersistentVolumeClaim", namespace, claim),
                "belongs to an earlier pod of this name and is deleted with it, as persistentVolumeClaimRetentionPolicy asks",
            );
            Verdict::working()
        }
        Fact::NameTaken(name) => name_taken(trail, about, name),
        Fact::StorageMismatch(ordinal) => {
            let name = set.pod_name(*ordinal);
            Verdict::stuck([format!(
                "a pod's volumes cannot be changed; have it made anew: `{}`",
                kubectl(namespace, &format!("delete pod {name}"))
            )])
        }
        Fact::RollingBack | Fact::SetDeleted => Verdict::working(),
    }
}

/// A pod that has to stay ready for a while; for years, if the clock was ahead when it became ready.
fn not_available(trail: &mut Trail<'_>, set: &SetFacts, ordinal: Ordinal, until: Timestamp) -> Verdict {
    let wait = SignedDuration::from_secs(i64::from(set.min_ready_secs)) + AHEAD_MIN;
    if until.duration_since(trail.now) <= wait {
        return Verdict::working();
    }
    let pod = Ref::new("Pod", &set.namespace, &set.pod_name(ordinal));
    trail.says(&pod, "became ready in the future: a clock was ahead then");
    let renew = kubectl(&set.namespace, &format!("delete pod {}", pod.name));
    Verdict::stuck([format!("have it made anew; its volumes stay: `{renew}`")])
}

fn name_taken(trail: &mut Trail<'_>, about: &Ref, name: &str) -> Verdict {
    let pod = Ref::new("Pod", &about.namespace, name);
    let owner = trail.cluster.get(&pod).map(|pod| &pod["metadata"]["ownerReferences"][0]);
    let whose = match owner.map(|owner| (text(owner, "/kind"), text(owner, "/name"))) {
        Some((kind, owner)) if !kind.is_empty() => format!("belongs to {}/{owner}", kind.to_lowercase()),
        _ => "belongs to nobody, and its labels do not match the set's selector".to_owned(),
    };
    trail.says(&pod, format!("has the name that the set needs, and {whose}"));
    Verdict::stuck([
        format!("delete or rename it: `{}`", kubectl(&about.namespace, &format!("delete pod {name}"))),
        "give the set another name".to_owned(),
    ])
}

/// The lowest slot whose pod is there and not ready.
fn first_unready(trail: &Trail<'_>, set: &SetFacts) -> Option<Ordinal> {
    (set.start..set.end()).map(Ordinal).find(|ordinal| {
        let pod = trail.cluster.get(&Ref::new("Pod", &set.namespace, &set.pod_name(*ordinal)));
        pod.is_some_and(|pod| !crate::cluster::is_true(pod, "Ready"))
    })
}

/// A pod that holds the others back; if it is on a revision that nobody wants any more, that is the way out.
fn not_ready(trail: &mut Trail<'_>, set: &SetFacts, plan: &Plan, ordinal: Ordinal) -> Verdict {
    let pod = Ref::new("Pod", &set.namespace, &set.pod_name(ordinal));
    let mut verdict = trail.follow(&pod);
    let wanted = &plan.status_after.update_revision;
    let revision = trail.cluster.get(&pod).map(|pod| text(&pod["metadata"]["labels"][REVISION_LABEL], "").to_owned());
    let in_the_way = revision.is_some_and(|revision| revision != *wanted && !revision.is_empty())
        && set.pod_management == PodManagement::OrderedReady
        && takes_update(set, ordinal);
    let renew = format!("`{}`", kubectl(&set.namespace, &format!("delete pod {}", pod.name)));
    let healing = Healing::of(trail, set, &pod);
    if in_the_way {
        if let Some(link) = trail.chain.iter_mut().find(|link| link.about == pod) {
            link.says =
                format!("{}; it runs an old template, and an ordered update waits for it all the same", link.says);
        }
        verdict = Verdict::stuck([format!("have it made anew from the new template; its volumes stay: {renew}")]);
        if let Healing::WouldHelp(heal) = healing {
            verdict.next.push(format!("let Roadstead do so whenever a pod was never ready: {heal}"));
        }
    } else if verdict.is_stuck() && is_updating_in_order(set, plan) {
        let undo = kubectl(&set.namespace, &format!("rollout undo statefulset {}", set.name));
        let follow = match healing {
            Healing::Happens => "this pod follows it by itself".to_owned(),
            Healing::WouldHelp(heal) => format!("have this pod follow it ({heal})"),
            Healing::NotOfThis => format!("have this pod follow it ({renew})"),
        };
        verdict.next.push(format!("if the new template is wrong: correct it or go back (`{undo}`), and {follow}"));
    }
    verdict
}

/// Whether a pod is replaced by itself once its template is no longer wanted.
enum Healing {
    /// It is: it was never ready, and the set or the cluster asks for it.
    Happens,
    /// It was never ready, and this command would ask for it.
    WouldHelp(String),
    /// It may have been ready.
    NotOfThis,
}

impl Healing {
    fn of(trail: &Trail<'_>, set: &SetFacts, pod: &Ref) -> Self {
        let found = trail.cluster.get(pod).and_then(|pod| condition(pod, meta::EVER_READY_CONDITION));
        if !found.is_some_and(|found| found["status"] == "False") {
            return Self::NotOfThis;
        }
        let said = set.annotations.get(HEAL_ROLLOUT);
        match said.and_then(|word| word.parse().ok()).unwrap_or_else(|| trail.cluster.heal_rollout()) {
            HealRollout::NeverReady => Self::Happens,
            HealRollout::Off => {
                let overwrite = if said.is_some() { " --overwrite" } else { "" };
                let annotate = format!("annotate statefulset {} {HEAL_ROLLOUT}=never-ready{overwrite}", set.name);
                Self::WouldHelp(format!("`{}`", kubectl(&set.namespace, &annotate)))
            }
        }
    }
}

fn is_updating_in_order(set: &SetFacts, plan: &Plan) -> bool {
    let status = &plan.status_after;
    let is_updating = !status.current_revision.is_empty() && status.current_revision != status.update_revision;
    is_updating && set.pod_management == PodManagement::OrderedReady
}

fn takes_update(set: &SetFacts, ordinal: Ordinal) -> bool {
    match &set.update_strategy {
        UpdateStrategy::OnDelete => false,
        UpdateStrategy::RollingUpdate(block) => {
            ordinal.0 >= set.start.saturating_add(block.as_ref().map_or(0, |block| block.partition))
        }
    }
}
