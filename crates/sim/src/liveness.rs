//! L1, L2, L4, L5: with the faults over, everything comes right, and then nothing moves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{DeleteOptions, Patch, WriteOptions};
use informer::Clock;
use meta::{ObjectId, Timestamp, Uid};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clients::{HOLD, NAMESPACE, Person};
use crate::ground::Ground;
use crate::oracle::history::{History, State};
use crate::oracle::order::heals;
use crate::process::VirtualClock;
use crate::world::{STRAY_SECS_MAX, World};

/// How long nothing may be written once everything is right.
const STILL_SECS: u64 = 900;
/// Time for the last echoes: events, bookmarks, a status that follows another.
const ECHO_SECS: u64 = 60;

/// Waits for the first server.
pub async fn wait_for_server(ground: &Ground) {
    while ground.server().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is not as it should be, with the property that says so; `None` if all is right.
fn wrong(history: &History) -> Option<(&'static str, String)> {
    let sets = history.all("/registry/apps/statefulsets/");
    for (key, set) in sets {
        if set.is_terminating() {
            return Some(("L5", format!("{key} is still being deleted")));
        }
        if let Some(why) = wrong_set(history, set) {
            let is_healing = heals(set.tree()) && own_pods(history, set).any(|pod| is_broken(pod.tree(), POD_IMAGE));
            return Some((if is_healing { "L4" } else { "L1" }, format!("{key}: {why}")));
        }
        if let Some(why) = wrong_owners(history, set) {
            return Some(("S5", format!("{key}: {why}")));
        }
    }
    for (key, pod) in history.all("/registry/core/pods/") {
        if pod.is_terminating() {
            return Some(("L5", format!("{key} is still being deleted")));
        }
        // Without a set it may have to wait for its next start (`CrashLoopBackOff`), and be right only then.
        if owner(pod).is_none() && is_starting(pod) {
            return Some(("L1", format!("{key} is not ready")));
        }
        if let Some(uid) = owner(pod)
            && !history.all("/registry/apps/statefulsets/").any(|(_, set)| set.uid() == uid)
        {
            return Some(("L5", format!("{key} is still there though its owner is gone")));
        }
    }
    for (key, claim) in history.all("/registry/core/persistentvolumeclaims/") {
        // While a pod uses it, its protection holds it.
        if claim.is_terminating() && !is_used(history, claim) {
            return Some(("L5", format!("{key} is still being deleted")));
        }
    }
    None
}

/// A claim of a slot whose owners are not those that the retention policy asks for while nothing is scaled away.
fn wrong_owners(history: &History, set: &State) -> Option<String> {
    let spec = &set.tree()["spec"];
    let policy = &spec["persistentVolumeClaimRetentionPolicy"];
    let goes_with_set = policy["whenDeleted"] == "Delete";
    for pod in own_pods(history, set) {
        for claim in claims_of(set, pod.name()) {
            let Some(found) = claim_at(history, set, &claim) else { continue };
            let mut owners = found.tree()["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            if owners.clone().any(|owner| owner["uid"] == set.uid()) != goes_with_set {
                return Some(format!("{claim} is to go with the set: {goes_with_set}, and its owners say otherwise"));
            }
            if owners.any(|owner| owner["kind"] == "Pod") {
                return Some(format!("{claim} is to go with a pod that stays"));
            }
        }
    }
    if policy["whenScaled"] == "Delete" {
        return None;
    }
    let is_slots = |claim: &State| {
        let mut prefixes = claims_of(set, set.name());
        prefixes.any(|prefix| {
            let ordinal = claim.name().strip_prefix(&prefix).and_then(|rest| rest.strip_prefix('-'));
            ordinal.is_some_and(|ordinal| ordinal.parse::<u64>().is_ok())
        })
    };
    let mut claims = history.all("/registry/core/persistentvolumeclaims/").map(|(_, claim)| claim);
    let goes = claims.find(|claim| {
        let owners = claim.tree()["metadata"]["ownerReferences"].as_array();
        is_slots(claim) && owners.into_iter().flatten().any(|owner| owner["kind"] == "Pod")
    });
    goes.map(|claim| format!("{} stays when its slot goes, and a pod owns it", claim.name()))
}

/// Names of the claims that a set makes for a pod.
fn claims_of(set: &State, pod: &str) -> impl Iterator<Item = String> {
    let templates = set.tree()["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    templates.map(move |template| format!("{}-{pod}", template["metadata"]["name"].as_str().unwrap_or_default()))
}

fn claim_at<'h>(history: &'h History, set: &State, claim: &str) -> Option<&'h Arc<State>> {
    history.get(&format!("/registry/core/persistentvolumeclaims/{}/{claim}", set.namespace()))
}

fn own_pods<'h>(history: &'h History, set: &'h State) -> impl Iterator<Item = &'h Arc<State>> {
    history.all("/registry/core/pods/").map(|(_, pod)| pod).filter(|pod| owner(pod) == Some(set.uid()))
}

fn is_used(history: &History, claim: &State) -> bool {
    let mut pods = history.all("/registry/core/pods/").filter(|(_, pod)| pod.namespace() == claim.namespace());
    pods.any(|(_, pod)| {
        let volumes = pod.tree()["spec"]["volumes"].as_array();
        volumes.into_iter().flatten().any(|one| one["persistentVolumeClaim"]["claimName"] == claim.name())
    })
}

fn owner(object: &State) -> Option<&str> {
    let owners = object.tree()["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

/// Whether a pod is on its node, has run, and is to run again.
fn is_starting(pod: &State) -> bool {
    pod.tree()["status"]["phase"] == "Running" && !pod.is_ready()
}

fn wrong_set(history: &History, set: &State) -> Option<String> {
    let (spec, status) = (&set.tree()["spec"], &set.tree()["status"]);
    let replicas = spec["replicas"].as_u64().unwrap_or(1);
    let start = spec["ordinals"]["start"].as_u64().unwrap_or(0);
    let partition = spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
    let on_delete = spec["updateStrategy"]["type"] == "OnDelete";
    if status["observedGeneration"] != set.tree()["metadata"]["generation"] {
        return Some("its status is about an older generation".to_owned());
    }
    let wanted = status["updateRevision"].as_str().unwrap_or_default();
    for ordinal in start..start + replicas {
        let name = format!("{}-{ordinal}", set.name());
        let Some(pod) = history.pod(set.namespace(), &name) else { return Some(format!("{name} is missing")) };
        if owner(pod) != Some(set.uid()) {
            return Some(format!("{name} is not its own"));
        }
        if !pod.is_ready() {
            return Some(format!("{name} is not ready"));
        }
        let revision = pod.tree()["metadata"]["labels"]["controller-revision-hash"].as_str().unwrap_or_default();
        if !on_delete && ordinal >= start + partition && revision != wanted {
            return Some(format!("{name} is at {revision}, not at {wanted}"));
        }
        for claim in claims_of(set, &name) {
            if claim_at(history, set, &claim).is_none_or(|claim| claim.tree()["status"]["phase"] != "Bound") {
                return Some(format!("{claim} is not bound"));
            }
        }
    }
    let mine = own_pods(history, set).count();
    if mine as u64 != replicas {
        return Some(format!("it has {mine} pods, not {replicas}"));
    }
    for field in ["replicas", "readyReplicas", "availableReplicas"] {
        if status[field].as_u64().unwrap_or(0) != replicas {
            return Some(format!("status.{field} is {}, not {replicas}", status[field]));
        }
    }
    None
}

/// Waits until everything is right; `None` if that takes too long, which is then the verdict.
pub async fn come_right(ground: &Arc<Ground>, person: &Person, limit: Duration) -> Option<Duration> {
    let begun = Instant::now();
    loop {
        let repaired = repair(ground, person).await;
        let wrong = wrong(&ground.court().history).or(repaired);
        let Some((property, what)) = wrong else { return Some(begun.elapsed()) };
        if begun.elapsed() > limit {
            ground.violated(property, format!("after {} s without faults, {what}", limit.as_secs()));
            return None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

const IMAGE: &str = "/spec/template/spec/containers/0/image";
const POD_IMAGE: &str = "/spec/containers/0/image";
const PARTITION: &str = "/spec/updateStrategy/rollingUpdate/partition";

/// What a person has to put right.
#[derive(Default)]
struct Repairs {
    /// Patches of sets, by name.
    sets: Vec<(String, Value)>,
    /// Pods to delete.
    pods: Vec<(String, Uid)>,
    /// Pods that a client held and did not let go.
    held: Vec<String>,
}

/// Whether a pod lacks a claim that its set makes for it: it was adopted, and a pod's volumes cannot be changed.
fn lacks_claims(history: &History, pod: &State) -> bool {
    let Some(set) = owner(pod).and_then(|uid| history.of_uid(uid)) else { return false };
    let volumes = pod.tree()["spec"]["volumes"].as_array();
    claims_of(set, pod.name())
        .any(|claim| !volumes.into_iter().flatten().any(|one| one["persistentVolumeClaim"]["claimName"] == *claim))
}

fn is_broken(tree: &Value, image: &str) -> bool {
    tree.pointer(image).is_some_and(|image| image == "missing:v1")
}

/// The steps that upstream's documentation asks of people: a broken template is corrected, a partition that keeps pods
/// on a broken one is lifted, its pods are deleted, unless their set heals by itself (L4); a stranger in a slot's place
/// is removed, and so is an adopted pod without the set's volumes. What `why` asks for: a pod that is not available for
/// years, because the server's clock was ahead when it was made, is deleted.
fn repairs(history: &History, now: Timestamp) -> Repairs {
    let mut repairs = Repairs::default();
    let later = now.checked_add(Duration::from_secs(STRAY_SECS_MAX)).unwrap_or(Timestamp::MAX);
    let mut with_broken_pods: Vec<&str> = Vec::new();
    let is_hold =
        |pod: &State| pod.tree()["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(HOLD)));
    let pods = history.all("/registry/core/pods/").filter(|(_, pod)| is_hold(pod));
    repairs.held = pods.map(|(_, pod)| pod.name().to_owned()).collect();
    for (_, pod) in history.all("/registry/core/pods/").filter(|(_, pod)| !pod.is_terminating()) {
        let labels = &pod.tree()["metadata"]["labels"];
        let is_stranger = labels["app"] == "nobody" || labels["stranger"] == "true";
        let is_broken = is_broken(pod.tree(), POD_IMAGE);
        with_broken_pods.extend(owner(pod).filter(|_| is_broken));
        let set = owner(pod).and_then(|uid| history.of_uid(uid));
        let waits = set.is_some_and(|set| set.tree()["spec"]["minReadySeconds"].as_u64().unwrap_or(0) > 0);
        let created = pod.tree()["metadata"]["creationTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let is_ahead = waits && created.is_some_and(|created| created > later);
        let is_healed = set.is_some_and(|set| heals(set.tree()));
        if is_stranger || is_ahead || is_broken && !is_healed || lacks_claims(history, pod) {
            repairs.pods.push((pod.name().to_owned(), Uid(pod.uid().to_owned())));
        }
    }
    for (_, set) in history.all("/registry/apps/statefulsets/") {
        let is_held = with_broken_pods.contains(&set.uid()) && set.tree().pointer(PARTITION).is_some_and(|at| *at != 0);
        let mut patch = Vec::new();
        if is_broken(set.tree(), IMAGE) {
            patch.push(json!({"op": "replace", "path": IMAGE, "value": "app:v1"}));
        }
        if is_held {
            patch.push(json!({"op": "replace", "path": PARTITION, "value": 0}));
        }
        if !patch.is_empty() {
            repairs.sets.push((set.name().to_owned(), Value::Array(patch)));
        }
    }
    repairs
}

/// Puts right what there is to be put right, and tells what it was.
async fn repair(ground: &Arc<Ground>, person: &Person) -> Option<(&'static str, String)> {
    let Repairs { sets, pods, held } = repairs(&ground.court().history, VirtualClock::new(ground.begun, 0).now());
    let broken = sets.iter().map(|(name, _)| name).chain(pods.iter().map(|(name, _)| name)).chain(&held).next();
    let broken = broken.map(|name| ("L1", format!("{name} could not be put right")));
    for (set, patch) in sets {
        let id = ObjectId::namespaced(api::resources::STATEFUL_SETS, NAMESPACE, &set);
        let _again = person.client().patch(&id, None, Patch::Json(patch), &WriteOptions::default()).await;
    }
    for name in held {
        let _again = person.let_go(&name).await;
    }
    for (name, uid) in pods {
        let id = ObjectId::namespaced(api::resources::PODS, NAMESPACE, &name);
        let options = DeleteOptions { uid: Some(uid), ..DeleteOptions::default() };
        let _again = person.client().delete(&id, &options).await;
    }
    broken
}

/// L2: nothing is written any more but the nodes' heartbeats. S25: nothing is left of pods that are gone.
pub async fn stay_right(ground: &Arc<Ground>, world: &Arc<World>) {
    tokio::time::sleep(Duration::from_secs(ECHO_SECS)).await;
    let from = ground.court().history.revision();
    tokio::time::sleep(Duration::from_secs(STILL_SECS)).await;
    let stray = {
        let court = ground.court();
        let is_heartbeat = |key: &str| key.contains("/leases/") || key.starts_with("/registry/core/nodes/");
        let stray = court.history.since(from).iter().find(|past| !is_heartbeat(&past.key)).cloned();
        stray.map(|past| format!("{} is written at {} though everything is right", past.key, past.revision))
    };
    if let Some(what) = stray {
        ground.violated("L2", what);
    }
    let wrong = wrong(&ground.court().history);
    if let Some((_, what)) = wrong {
        ground.violated("L1", format!("everything was right and did not stay so: {what}"));
    }
    let gone: BTreeSet<Uid> = {
        let court = ground.court();
        let pods = court.history.of_kind("/registry/core/pods/", 0, u64::MAX);
        let mut ever: BTreeSet<Uid> = pods.map(|past| Uid(past.after.uid().to_owned())).collect();
        // Also what no API ever knew.
        ever.extend(world.sandboxes().map(|sandbox| sandbox.pod));
        ever.retain(|uid| court.history.of_uid(&uid.0).is_none());
        ever
    };
    for pod in gone {
        for remains in world.remains(&pod).await {
            ground.violated("S25", format!("{pod} is gone, and there is {remains}"));
        }
    }
}
