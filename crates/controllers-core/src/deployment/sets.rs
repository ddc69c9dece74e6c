//! Which ReplicaSet is the new one; its name, annotations and number; which old ones are forgotten.

use serde_json::{Map, Value, json};

use super::scale::scaled;
use super::status::{self, Conditions};
use super::view::{DeploymentFacts, View};
use super::{Wait, rolling};
use crate::replicas::{KIND, SetFacts};
use crate::subject::{Claim, Labels, claim};
use crate::template::{dump, template_hash};
use crate::words::{Note, Tone};
use crate::writes::{Plan, Write};

/// Label of ReplicaSets and pods that holds the template's hash.
const HASH_LABEL: &str = "pod-template-hash";
/// Annotation: which revision of the Deployment this is.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation: which revisions it was before.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotation: the Deployment's size when the ReplicaSet was sized.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Annotation: that size and the surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// Longest revision history annotation.
const HISTORY_BYTES_MAX: usize = 2000;
/// Longest name of an object.
const NAME_BYTES_MAX: usize = 253;

/// The ReplicaSet of the template as it is now.
pub(super) enum NewSet<'a> {
    /// It is there.
    Found(&'a SetFacts),
    /// It is to be made.
    Missing(Missing),
}

/// The name that a missing ReplicaSet gets.
pub(super) struct Missing {
    pub(super) name: String,
    hash: String,
}

/// A Deployment's ReplicaSets.
pub(super) struct Sets<'a> {
    /// All but the new one, oldest first.
    pub(super) old: Vec<&'a SetFacts>,
    /// The new one.
    pub(super) new: NewSet<'a>,
}

impl<'a> Sets<'a> {
    /// Sorts the ReplicaSets of a view; the oldest one with the template is the new one.
    pub(super) fn sort(view: &View<'a>) -> Self {
        let deployment = view.deployment;
        let is_ours =
            |set: &&&SetFacts| claim(&deployment.subject, &deployment.selector, set.subject.candidate()) == Claim::Ours;
        let mut old: Vec<&SetFacts> = view.sets.iter().filter(is_ours).copied().collect();
        old.sort_by_key(|set| (set.subject.created, set.subject.name.clone()));
        let exact = old.iter().position(|set| without_hash(&set.template) == deployment.template);
        let found = exact.or_else(|| {
            let wanted = dump(&deployment.template);
            old.iter().position(|set| dump(&without_hash(&set.template)) == wanted)
        });
        let new = match found {
            Some(index) => NewSet::Found(old.remove(index)),
            None => NewSet::Missing(Missing::of(deployment)),
        };
        Self { old, new }
    }

    /// The old ones, then the new one.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a SetFacts> {
        let new = match &self.new {
            NewSet::Found(new) => Some(*new),
            NewSet::Missing(_) => None,
        };
        self.old.iter().copied().chain(new)
    }

    /// Wanted pods of the old ones.
    pub(super) fn old_replicas(&self) -> i32 {
        self.old.iter().map(|set| set.replicas).sum()
    }
}

impl Missing {
    fn of(deployment: &DeploymentFacts) -> Self {
        let hash = template_hash(&deployment.template, deployment.status.collision_count);
        let mut cut = deployment.subject.name.len().min(NAME_BYTES_MAX - 1 - hash.len());
        while !deployment.subject.name.is_char_boundary(cut) {
            cut -= 1;
        }
        Self { name: format!("{}-{hash}", &deployment.subject.name[..cut]), hash }
    }
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}

fn revision_of(set: &SetFacts) -> i64 {
    set.subject.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The number that the template's revision has: one more than that of any other.
fn next_revision(sets: &Sets<'_>) -> i64 {
    sets.old.iter().map(|set| revision_of(set)).max().unwrap_or(0) + 1
}

/// Brings annotations and `minReadySeconds` of the new ReplicaSet, then the Deployment's own revision annotation, up to
/// date; one write a plan.
pub(super) fn sync_revision(view: &View<'_>, sets: &Sets<'_>) -> Option<Plan<Wait>> {
    let NewSet::Found(new) = &sets.new else { return None };
    let deployment = view.deployment;
    let annotations = changed_annotations(deployment, Some(new), next_revision(sets));
    let write = if !annotations.is_empty() || new.min_ready_secs != deployment.min_ready_secs {
        let fields = json!({
            "metadata": {"annotations": annotations},
            "spec": {"minReadySeconds": deployment.min_ready_secs},
        });
        Write::patch(KIND.resource.clone(), new.subject.target(), fields)
    } else {
        let revision = new.subject.annotations.get(REVISION)?;
        if deployment.subject.annotations.get(REVISION) == Some(revision) {
            return None;
        }
        // Through the status, as upstream: the generation counts changes of annotations, but not these.
        deployment.subject.write_status(json!({})).annotating(&json!({REVISION: revision}))
    };
    Some(Plan { stages: vec![vec![write]], ..Plan::default() })
}

/// Annotations of the new ReplicaSet that are not what they should be.
fn changed_annotations(deployment: &DeploymentFacts, new: Option<&SetFacts>, revision: i64) -> Map<String, Value> {
    let none = Labels::new();
    let present = new.map_or(&none, |set| &set.subject.annotations);
    let copied = deployment.subject.annotations.iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
    let mut changed: Map<String, Value> = copied
        .filter(|(key, value)| present.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let before = present.get(REVISION).map(String::as_str).unwrap_or_default();
    // Somebody's text that is no number is left alone, as upstream leaves it.
    let number: Option<i64> = if before.is_empty() { Some(0) } else { before.parse().ok() };
    if number.is_some_and(|number| number < revision) {
        changed.insert(REVISION.to_owned(), json!(revision.to_string()));
        if !before.is_empty() {
            let history = present.get(HISTORY).map(String::as_str).unwrap_or_default();
            if let Some(longer) = appended(history, before) {
                changed.insert(HISTORY.to_owned(), json!(longer));
            }
        }
    }
    if new.is_none() {
        changed.insert(DESIRED.to_owned(), json!(deployment.replicas.to_string()));
        changed.insert(MAX.to_owned(), json!((deployment.replicas + deployment.max_surge()).to_string()));
    }
    changed
}

/// A history with one more revision, without its oldest ones if it would be too long.
fn appended(history: &str, revision: &str) -> Option<String> {
    if history.is_empty() {
        return Some(revision.to_owned());
    }
    let mut rest = history;
    while rest.len() + 1 + revision.len() > HISTORY_BYTES_MAX {
        rest = rest.split_once(',')?.1;
    }
    Some(format!("{rest},{revision}"))
}

/// Makes the new ReplicaSet, and says so in the status once it is there.
pub(super) fn make(
    view: &View<'_>,
    sets: &Sets<'_>,
    missing: &Missing,
    base: &Conditions,
    now: meta::Timestamp,
) -> Plan<Wait> {
    let deployment = view.deployment;
    let Missing { name, .. } = missing;
    if view.taken.contains(name.as_str()) {
        let count = deployment.status.collision_count.unwrap_or(0).saturating_add(1);
        return Plan {
            status: Some(deployment.subject.write_status(json!({"collisionCount": count}))),
            waits: vec![Wait::NameTaken(name.clone())],
            ..Plan::default()
        };
    }
    let replicas = rolling::new_size(deployment, sets.old_replicas(), 0);
    let mut create = Write::create(KIND.resource.clone(), body(deployment, missing, replicas, next_revision(sets)));
    create.done = (replicas > 0).then(|| scaled(name, 0, replicas));
    create.failed = Some(Note {
        tone: Tone::Warning,
        reason: status::CREATE_ERROR,
        message: status::create_error_text(name, "{}"),
    });
    // What the last attempt ended with stands in the status until one succeeds.
    if view.failure.is_some() {
        return Plan { stages: vec![vec![create]], status: status::plain(view, sets, base, now), ..Plan::default() };
    }
    let revision = json!({REVISION: next_revision(sets).to_string()});
    let told = status::created(view, sets, base, name, now).map(|write| write.annotating(&revision));
    Plan { stages: [create].into_iter().chain(told).map(|write| vec![write]).collect(), ..Plan::default() }
}

fn body(deployment: &DeploymentFacts, missing: &Missing, replicas: i32, revision: i64) -> Value {
    let mut template = deployment.template.clone();
    set_hash(&mut template["metadata"], "labels", &missing.hash);
    let mut selector = deployment.selector_tree.clone();
    set_hash(&mut selector, "matchLabels", &missing.hash);
    json!({
        "apiVersion": KIND.api_version,
        "kind": KIND.kind,
        "metadata": {
            "name": missing.name,
            "namespace": deployment.subject.namespace,
            "labels": template["metadata"]["labels"],
            "annotations": changed_annotations(deployment, None, revision),
            "ownerReferences": [deployment.subject.owner_reference()],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.min_ready_secs,
            "selector": selector,
            "template": template,
        },
    })
}

fn set_hash(parent: &mut Value, map: &str, hash: &str) {
    if !parent.is_object() {
        *parent = json!({});
    }
    if !parent[map].is_object() {
        parent[map] = json!({});
    }
    parent[map][HASH_LABEL] = json!(hash);
}

/// Old ReplicaSets beyond the history limit, lowest revision first; those with pods, or with news that their controller
/// has not seen, stay.
pub(super) fn surplus(deployment: &DeploymentFacts, sets: &Sets<'_>, planned: &[Write]) -> Vec<Write> {
    let Some(limit) = deployment.history_limit else { return Vec::new() };
    let mut old: Vec<_> = sets.old.iter().filter(|set| !set.subject.deleting).collect();
    old.sort_by_key(|set| (revision_of(set), set.subject.created, set.subject.name.clone()));
    let excess = old.len().saturating_sub(limit);
    let is_idle = |set: &SetFacts| {
        set.replicas == 0 && set.status.replicas == 0 && set.subject.generation <= set.status.observed_generation
    };
    let is_planned = |set: &SetFacts| planned.iter().any(|write| write.target_name() == Some(&set.subject.name));
    let idle = old[..excess].iter().filter(|set| is_idle(set) && !is_planned(set));
    idle.map(|set| Write::delete(KIND.resource.clone(), set.subject.target())).collect()
}
