//! ControllerRevisions of a DaemonSet: which is the template's, and which are forgotten.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::{Value, json};

use super::{HASH_LABEL, View};
use crate::pods;
use crate::subject::{Candidate, Claim, claim};
use crate::template::{dump, template_hash};
use crate::words::{Target, is_terminating};
use crate::writes::Write;

/// The revision of the template as it is now.
pub(super) enum Choice {
    /// Its hash, and what is to be written first.
    Hash { hash: String, prepare: Vec<Write> },
    /// Its name is another template's; the status counts that.
    Taken { name: String, status: Box<Write> },
}

fn own<'v>(view: &View<'v>) -> Vec<&'v ControllerRevision> {
    let set = view.set;
    let is_ours = |revision: &&&ControllerRevision| {
        claim(&set.subject, &set.selector, Candidate::of(&revision.metadata)) == Claim::Ours
    };
    let mut own: Vec<_> = view.revisions.iter().filter(is_ours).copied().collect();
    own.sort_by_key(|revision| (number(revision), revision.metadata.name.clone()));
    own
}

fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

fn hash_of(revision: &ControllerRevision) -> String {
    let label = revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL));
    label.cloned().unwrap_or_else(|| name(revision).to_owned())
}

/// Whether a stored revision holds the set's template.
fn holds(revision: &ControllerRevision, template: &Value, dumped: &str) -> bool {
    let Some(mut stored) = revision.data.0.pointer("/spec/template").cloned() else { return false };
    if let Some(fields) = stored.as_object_mut() {
        fields.remove("$patch");
    }
    stored == *template || dump(&stored) == dumped
}

/// Finds the revision of the template, makes it the latest, or makes it.
pub(super) fn choose(view: &View<'_>) -> Choice {
    let set = view.set;
    let own = own(view);
    let dumped = dump(&set.template);
    let (equal, old): (Vec<_>, Vec<_>) = own.into_iter().partition(|revision| holds(revision, &set.template, &dumped));
    let latest = old.iter().map(|revision| number(revision)).max().unwrap_or(0) + 1;
    if let Some(current) = equal.last() {
        let renumber = || {
            let target = Target::of(&current.metadata);
            Write::patch(api::resources::CONTROLLER_REVISIONS, target, json!({"revision": latest}))
        };
        let prepare = (number(current) < latest).then(renumber).into_iter().collect();
        return Choice::Hash { hash: hash_of(current), prepare };
    }
    let hash = template_hash(&set.template, set.status.collision_count);
    let wanted = format!("{}-{hash}", set.subject.name);
    match view.revisions.iter().find(|revision| name(revision) == wanted) {
        Some(taken) if !holds(taken, &set.template, &dumped) => {
            let count = set.status.collision_count.unwrap_or(0).saturating_add(1);
            let status = Box::new(set.subject.write_status(json!({"collisionCount": count})));
            Choice::Taken { name: wanted, status }
        }
        Some(_) => Choice::Hash { hash, prepare: Vec::new() },
        None => {
            let body = body(view, &wanted, &hash, latest);
            Choice::Hash { hash, prepare: vec![Write::create(api::resources::CONTROLLER_REVISIONS, body)] }
        }
    }
}

fn body(view: &View<'_>, name: &str, hash: &str, number: i64) -> Value {
    let set = view.set;
    let mut template = set.template.clone();
    template["$patch"] = json!("replace");
    let mut labels = set.template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    labels[HASH_LABEL] = json!(hash);
    let mut metadata = json!({
        "name": name,
        "namespace": set.subject.namespace,
        "labels": labels,
        "ownerReferences": [set.subject.owner_reference()],
    });
    if !set.subject.annotations.is_empty() {
        metadata["annotations"] = json!(set.subject.annotations);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": {"spec": {"template": template}},
        "revision": number,
    })
}

/// Old revisions beyond the limit that no pod has, lowest first.
pub(super) fn surplus(view: &View<'_>, current: &str) -> Vec<Write> {
    let live: BTreeSet<&str> = view.pods.iter().filter_map(|pod| pods::label(pod, HASH_LABEL)).collect();
    let old: Vec<_> = own(view).into_iter().filter(|revision| hash_of(revision) != current).collect();
    let excess = old.len().saturating_sub(view.set.history_limit);
    let unused = old.iter().filter(|r| !live.contains(hash_of(r).as_str()) && !is_terminating(&r.metadata));
    let target = |revision: &&ControllerRevision| Target::of(&revision.metadata);
    unused.take(excess).map(|r| Write::delete(api::resources::CONTROLLER_REVISIONS, target(r))).collect()
}
