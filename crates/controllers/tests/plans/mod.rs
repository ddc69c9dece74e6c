//! What `plan` says is what the controller does: a random walk of edits, each foretold and then carried out by the real
//! controller against the real API server. Start with [`Walk::go`].

mod draw;
mod look;

use api::resources::*;
use client::{Patch, WriteOptions};
use draw::{Dice, Mishap};
use explain::Cluster;
use explain::forecast::{End, forecast, rehearse};
use look::{Steps, Witness, copy, is_leaving, outline, standstill, the_set};
use meta::{ObjectId, Timestamp};
use serde_json::{Value, json};

use crate::bed::{Bed, set};

/// Edits in a walk.
const EDITS: usize = 12;
/// Walks of each kind of set; more if there is time.
const WALKS: u64 = 6;

/// A set whose life is foretold.
struct Walk {
    bed: Bed,
    witness: Witness,
    policy: String,
    /// What was done so far, for whoever reads a failure.
    story: Vec<String>,
    is_stopped: bool,
}

/// The walks that are gone, from this seed on.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let count = std::env::var("SLOW_TESTS").map_or(WALKS, |_| 20 * WALKS);
    first..first + count
}

impl Walk {
    /// Makes a set and waits until it stands still.
    async fn begin(first: Value) -> Self {
        let bed = Bed::start().await;
        let policy = first["spec"]["podManagementPolicy"].as_str().unwrap_or("OrderedReady").to_owned();
        let story = vec![first["spec"].to_string()];
        let replicas = first["spec"]["replicas"].as_u64().unwrap();
        bed.create(STATEFUL_SETS, first).await;
        bed.settled("web", usize::try_from(replicas).unwrap()).await;
        let witness = Witness::begin(&bed).await;
        Self { bed, witness, policy, story, is_stopped: false }
    }

    /// Edits, mishaps and interruptions as they are drawn.
    async fn go(seed: u64, policy: &str) {
        let mut dice = Dice::of(seed);
        let mut walk = Self::begin(draw::first_set(policy, &mut dice)).await;
        walk.story.insert(0, format!("seed {seed}"));
        for _ in 0..EDITS {
            if dice.one_in(4) {
                let mishap = dice.pick(&[Mishap::PodDeleted, Mishap::ClaimDeleted, Mishap::PodEnded]);
                let names = walk.bed.names(mishap.resource()).await;
                if !names.is_empty() {
                    let index = usize::try_from(dice.below(names.len() as u64)).unwrap();
                    walk.mishap(mishap, &names[index]).await;
                }
            }
            let patch = draw::edit(&mut dice);
            if dice.one_in(3) {
                let after = 1 + usize::try_from(dice.below(4)).unwrap();
                walk.edit_interrupted(&patch, after).await;
            } else {
                walk.edit(&patch).await;
            }
        }
    }

    /// Foretells an edit, makes it, and compares what happens until the cluster stands still.
    async fn edit(&mut self, patch: &Value) {
        let foretold = self.foretell(patch).await;
        self.judge(&foretold).await;
    }

    /// As [`Self::edit`], but the controllers are stopped after so many steps: the next edit meets an unfinished rollout.
    async fn edit_interrupted(&mut self, patch: &Value, after: usize) {
        let foretold = self.foretell(patch).await;
        if foretold.breaks_pods() || after >= foretold.steps.pods.len() {
            return self.judge(&foretold).await;
        }
        self.witness.count(after).await;
        self.stop().await;
        let found = self.at_rest().await;
        if found.list("Pod", "default").any(waits_for_claim) {
            // What becomes of it depends on who is faster now.
            self.start();
            return self.judge(&foretold).await;
        }
        let seen = self.witness.tell(&found).await;
        self.story.push(format!("interrupted after {:?}", seen.steps));
        assert!(seen.steps.begin(&foretold.steps, &self.policy), "{:#?}\n{:#?}", self.story, foretold.steps);
    }

    /// Lets something happen that no controller sees before the next edit.
    async fn mishap(&mut self, mishap: Mishap, name: &str) {
        self.stop().await;
        self.story.push(format!("{mishap:?}: {name}"));
        match mishap {
            Mishap::PodDeleted | Mishap::ClaimDeleted => self.bed.delete(mishap.resource(), name, None).await,
            Mishap::PodEnded => self.bed.end_pod(name, "Failed").await,
        }
        let found = self.at_rest().await;
        self.witness.tell(&found).await;
    }

    /// What an edit will do; and makes it.
    async fn foretell(&mut self, patch: &Value) -> Foretold {
        self.story.push(patch.to_string());
        let before = copy(&self.bed).await;
        let id = ObjectId::namespaced(STATEFUL_SETS, "default", "web");
        let options = WriteOptions { dry_run: true, ..WriteOptions::default() };
        let answer = self.bed.client.patch(&id, None, Patch::Merge(patch.clone()), &options).await.unwrap();
        let after = Value::clone(answer.tree());
        let told = forecast(&before, &after, Timestamp::now()).unwrap();
        let cluster = rehearse(&before, &after, Timestamp::now()).unwrap();
        self.bed.patch(STATEFUL_SETS, "web", patch.clone()).await;
        self.start();
        Foretold { steps: Steps::foretold(&told), end: told.end, cluster }
    }

    /// Compares what was foretold with what happens until the cluster stands still.
    async fn judge(&mut self, foretold: &Foretold) {
        let after = standstill(&self.bed).await;
        let seen = self.witness.tell(&after).await;
        let (story, policy) = (&self.story, self.policy.as_str());
        if seen.a_broken_pod {
            // A forecast believes in its nodes. What happens is what it says, up to where a pod does not start.
            assert!(seen.steps.begin(&foretold.steps, policy), "{story:#?}\n{seen:#?}\n{:#?}", foretold.steps);
            return;
        }
        assert_eq!(seen.steps.sequences(policy), foretold.steps.sequences(policy), "{story:#?}");
        assert_eq!(seen.steps.claims, foretold.steps.claims, "{story:#?}");
        assert_eq!(outline(&after), outline(&foretold.cluster), "{story:#?}");
        let now = forecast(&after, after.get(&the_set()).unwrap(), Timestamp::now()).unwrap();
        assert_eq!(now.end, foretold.end, "{story:#?}");
    }

    async fn stop(&mut self) {
        self.bed.stop_controllers().await;
        self.is_stopped = true;
    }

    fn start(&mut self) {
        if std::mem::take(&mut self.is_stopped) {
            self.bed.start_controllers_afresh();
        }
    }

    /// The cluster without controllers, when the node has done what it can.
    async fn at_rest(&self) -> Cluster {
        let rests = |pod: &Value| !is_leaving(pod) && (has_verdict(pod) || waits_for_claim(pod));
        self.bed.until(PODS, "the node rests", |pods| pods.iter().all(rests)).await;
        copy(&self.bed).await
    }
}

/// What `plan` says.
struct Foretold {
    steps: Steps,
    end: End,
    cluster: Cluster,
}

impl Foretold {
    fn breaks_pods(&self) -> bool {
        self.cluster.list("Pod", "default").any(|pod| pod["spec"]["containers"][0]["image"] == "broken")
    }
}

/// The node has said whether it is ready, or that it has ended.
fn has_verdict(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["status"]["phase"] == "Failed" || conditions.any(|condition| condition["type"] == "Ready")
}

/// No node has it, and it has claims.
fn waits_for_claim(pod: &Value) -> bool {
    let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    pod["spec"]["nodeName"].is_null() && volumes.any(|volume| !volume["persistentVolumeClaim"].is_null())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_set_does_what_plan_says_step_by_step() {
    for seed in seeds(1) {
        Walk::go(seed, "OrderedReady").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parallel_set_does_what_plan_says() {
    for seed in seeds(1001) {
        Walk::go(seed, "Parallel").await;
    }
}

/// A set of three with claims that go with their slots.
async fn with_claims_that_go() -> Walk {
    let mut first = set(3, "v0", true);
    first["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": "Delete", "whenDeleted": "Retain"});
    Walk::begin(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_down_that_is_taken_back_half_way_makes_the_claims_anew() {
    let mut walk = with_claims_that_go().await;
    walk.edit_interrupted(&json!({"spec": {"replicas": 1}}), 1).await;
    walk.edit(&json!({"spec": {"replicas": 3}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_somebody_deletes_is_made_anew_when_a_rollout_replaces_its_pod() {
    let mut walk = with_claims_that_go().await;
    walk.mishap(Mishap::ClaimDeleted, "data-web-1").await;
    walk.edit(&json!({"metadata": {"labels": {"team": "shop"}}})).await;
    walk.edit(&json!({"spec": {"template": {"metadata": {"annotations": {"restarted": "1"}}}}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_ended_just_after_it_was_made_is_replaced_a_little_later() {
    let mut walk = with_claims_that_go().await;
    walk.mishap(Mishap::PodEnded, "web-1").await;
    walk.edit(&json!({"metadata": {"labels": {"team": "shop"}}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_rollout_is_healed_as_plan_says_when_it_is_asked_for() {
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    let heal = json!({"metadata": {"annotations": {controllers_core::stateful_set::HEAL_ROLLOUT: "never-ready"}}});
    let mut walk = with_claims_that_go().await;
    for patch in [image("broken"), image("v1"), heal] {
        walk.edit(&patch).await;
    }
}
