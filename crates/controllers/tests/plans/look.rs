//! The cluster as `plan` sees it, and what happens in it.

use std::collections::{BTreeMap, BTreeSet};

use api::resources::*;
use client::{Collection, Selection, WatchEvent, WatchStream};
use explain::forecast::{Forecast, Happening, rehearse};
use explain::{Cluster, Ref};
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use meta::{ResourceId, Timestamp};
use serde_json::{Value, json};

use crate::bed::{Bed, NODE, PATIENCE};

pub fn the_set() -> Ref {
    Ref::new("StatefulSet", "default", "web")
}

fn kinds() -> [(ResourceId, &'static str); 4] {
    [
        (STATEFUL_SETS, "StatefulSet"),
        (PODS, "Pod"),
        (PERSISTENT_VOLUME_CLAIMS, "PersistentVolumeClaim"),
        (CONTROLLER_REVISIONS, "ControllerRevision"),
    ]
}

/// The objects that a forecast looks at. Of the node there is nothing but this in the bed.
pub async fn copy(bed: &Bed) -> Cluster {
    let mut cluster = Cluster::default();
    for (resource, kind) in kinds() {
        for mut object in bed.list(resource).await {
            object["kind"] = json!(kind);
            cluster.insert(object);
        }
    }
    for (resource, kind) in [(PERSISTENT_VOLUMES, "PersistentVolume"), (STORAGE_CLASSES, "StorageClass")] {
        for mut object in bed.list_all(resource).await {
            object["kind"] = json!(kind);
            cluster.insert(object);
        }
    }
    let ready = json!([{"type": "Ready", "status": "True"}]);
    cluster.insert(json!({"kind": "Node", "metadata": {"name": NODE}, "status": {"conditions": ready}}));
    cluster
}

/// Waits until nobody has anything to write any more; pods that are stuck may stay so.
pub async fn standstill(bed: &Bed) -> Cluster {
    let mut changes = SelectAll::new();
    let all = kinds().into_iter().map(|(resource, _)| resource).chain([PERSISTENT_VOLUMES]);
    for resource in all {
        changes.push(watch(bed, resource).await);
    }
    loop {
        let found = copy(bed).await;
        let foreseen = rehearse(&found, found.get(&the_set()).unwrap(), Timestamp::now()).unwrap();
        // The second look says that the first was one moment.
        if foreseen == found && copy(bed).await == found {
            return found;
        }
        let change = tokio::time::timeout(PATIENCE, changes.next()).await;
        assert!(change.is_ok(), "{:#?} comes to a halt before {:#?}", outline(&found), outline(&foreseen));
    }
}

async fn watch(bed: &Bed, resource: ResourceId) -> WatchStream {
    let all = Collection::all(resource);
    let list = bed.client.list(&all, &Selection::default()).await.unwrap();
    bed.client.watch(&all, &Selection::default(), list.resource_version).await.unwrap()
}

/// What a cluster comes to, a line each: pods by revision and image, claims by owner, revisions.
pub fn outline(cluster: &Cluster) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for pod in cluster.list("Pod", "default") {
        let revision = &pod["metadata"]["labels"]["controller-revision-hash"];
        lines.insert(format!("{} is at {revision} with {}", name(pod), pod["spec"]["containers"][0]["image"]));
    }
    for claim in cluster.list("PersistentVolumeClaim", "default") {
        let owners = claim["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let owners: Vec<String> = owners.map(|owner| format!("{} {}", owner["kind"], owner["name"])).collect();
        lines.insert(format!("{} belongs to {owners:?}", name(claim)));
    }
    for revision in cluster.list("ControllerRevision", "default") {
        lines.insert(format!("{} is number {}", name(revision), revision["revision"]));
    }
    lines
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

pub fn is_leaving(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// What happens to a set's pods, in order, and to its claims: `create web-0`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    pub pods: Vec<String>,
    /// In any order: the garbage collector takes its time.
    pub claims: Vec<String>,
}

impl Steps {
    pub fn foretold(forecast: &Forecast) -> Self {
        let mut steps = Self::default();
        for step in &forecast.steps {
            match step.what {
                Happening::CreatePod => steps.pods.push(format!("create {}", step.name)),
                Happening::DeletePod => steps.pods.push(format!("delete {}", step.name)),
                Happening::CreateClaim => steps.claims.push(format!("create {}", step.name)),
                Happening::DeleteClaim => steps.claims.push(format!("delete {}", step.name)),
            }
        }
        steps.claims.sort();
        steps
    }

    /// The pods' steps as far as their order is decided: an ordered set's are one sequence, a Parallel set's are one for
    /// each pod.
    pub fn sequences(&self, policy: &str) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::<_, Vec<String>>::new();
        for step in &self.pods {
            let of = if policy == "Parallel" { step.split(' ').nth(1).unwrap() } else { "all" };
            found.entry(of.to_owned()).or_default().push(step.clone());
        }
        found
    }

    /// Whether these are the first of others, and nothing else.
    pub fn begin(&self, all: &Self, policy: &str) -> bool {
        let all = all.sequences(policy);
        self.sequences(policy).iter().all(|(of, steps)| all.get(of).is_some_and(|all| all.starts_with(steps)))
    }
}

/// Somebody who sees every step.
pub struct Witness {
    changes: SelectAll<BoxStream<'static, WatchEvent>>,
    /// The pods and claims that are there, as far as seen: UID and version of each.
    present: BTreeMap<Ref, (String, String)>,
    /// UIDs of those whose deletion was seen.
    leaving: BTreeSet<String>,
    seen: Seen,
}

/// What was seen since it was asked for last.
#[derive(Debug, Default)]
pub struct Seen {
    pub steps: Steps,
    /// A pod was made that will never be ready, which no forecast knows.
    pub a_broken_pod: bool,
}

impl Witness {
    /// Sees what happens to a cluster that stands still now.
    pub async fn begin(bed: &Bed) -> Self {
        let found = standstill(bed).await;
        let mut changes = SelectAll::new();
        for resource in [PODS, PERSISTENT_VOLUME_CLAIMS] {
            changes.push(watch(bed, resource).await.map(|event| event.unwrap()).boxed());
        }
        Self { changes, present: present(&found), leaving: BTreeSet::new(), seen: Seen::default() }
    }

    /// Looks on until so many pods were made or deleted.
    pub async fn count(&mut self, pods: usize) {
        while self.seen.steps.pods.len() < pods {
            self.see_next().await;
        }
    }

    /// Looks on until the cluster is this one, which stands still, and tells.
    pub async fn tell(&mut self, until: &Cluster) -> Seen {
        while self.present != present(until) {
            self.see_next().await;
        }
        let mut seen = std::mem::take(&mut self.seen);
        seen.steps.claims.sort();
        seen
    }

    async fn see_next(&mut self) {
        let event = tokio::time::timeout(PATIENCE, self.changes.next()).await;
        let Ok(Some(event)) = event else { panic!("only {:?} happened", self.seen) };
        let (object, is_new, is_gone) = match event {
            WatchEvent::Added(object) => (object, true, false),
            WatchEvent::Modified(object) => (object, false, false),
            WatchEvent::Deleted(object) => (object, false, true),
            WatchEvent::Bookmark(_) => return,
        };
        let object = object.tree();
        if is_gone {
            self.present.remove(&Ref::of(object));
        } else {
            self.present.insert(Ref::of(object), version(object));
        }
        let goes = (is_gone || is_leaving(object)) && self.leaving.insert(version(object).0);
        let Some(verb) = (if is_new { Some("create") } else { goes.then_some("delete") }) else { return };
        let step = format!("{verb} {}", name(object));
        if object["kind"] == "Pod" {
            self.seen.steps.pods.push(step);
            self.seen.a_broken_pod |= is_new && object["spec"]["containers"][0]["image"] == "broken";
        } else {
            self.seen.steps.claims.push(step);
        }
    }
}

/// The pods and claims of a cluster: UID and version of each.
fn present(cluster: &Cluster) -> BTreeMap<Ref, (String, String)> {
    let all = ["Pod", "PersistentVolumeClaim"].into_iter().flat_map(|kind| cluster.list(kind, "default"));
    all.map(|object| (Ref::of(object), version(object))).collect()
}

fn version(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    (text("uid"), text("resourceVersion"))
}
