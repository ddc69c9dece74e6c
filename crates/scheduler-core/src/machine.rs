//! The scheduler as a machine: facts in, actions out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meta::{Timestamp, Uid};

use crate::facts::{ClaimFacts, ClassFacts, NodeFacts, PodFacts, VolumeFacts};
use crate::filter::Decision;
use crate::snapshot::{Key, Snapshot};

/// How long a pod that fits nowhere waits for an event that could help before it is looked at again all the same: a
/// safety net, nothing depends on it (D9).
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// How long the claims of a pod may take to be bound before that is told (N-2).
const VOLUMES_WAIT: Duration = Duration::from_secs(600);
/// First and longest pause after a failed call; doubled each time.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What the shell is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Create the binding; answer with [`Scheduler::outcome`].
    Bind {
        /// The pod.
        pod: Key,
        /// Its UID.
        uid: Uid,
        /// Where to.
        node: String,
    },
    /// Write the selected node on the claims; answer with [`Scheduler::outcome`].
    SelectNode {
        /// The pod that needs them.
        pod: Key,
        /// Its UID.
        uid: Uid,
        /// Where to.
        node: String,
        /// The claims with their UIDs.
        claims: Vec<(Key, Uid)>,
    },
    /// Set the condition `PodScheduled=False` and write the event `FailedScheduling`.
    Report {
        /// The pod.
        pod: Key,
        /// Its UID.
        uid: Uid,
        /// Why it cannot be placed.
        message: String,
        /// The condition is `False` already: its transition time stays.
        was_unschedulable: bool,
    },
}

/// How an action ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Done,
    /// The object is gone or somebody else was faster: the caches will tell.
    Superseded,
    /// It failed and may work later.
    Failed {
        /// What was wrong.
        message: String,
    },
}

/// A pod that waits for a node.
#[derive(Clone, Debug)]
struct Pending {
    facts: Arc<PodFacts>,
    /// Order of arrival.
    number: u64,
    state: State,
    /// The last message told.
    reported: String,
    /// The condition is `False`.
    is_reported: bool,
    failures: u32,
}

/// What a pod waits for.
#[derive(Clone, Debug)]
enum State {
    /// Its turn.
    Queued,
    /// Something to change; until then at most.
    Unschedulable(Timestamp),
    /// The answer to a call.
    Calling,
    /// Its claims to be bound; until then at most before that is told.
    AwaitingVolumes(Timestamp),
    /// The caches to show what has been answered already.
    Bound,
    /// The end of a pause after a failed call.
    Pausing(Timestamp),
}

impl State {
    fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Unschedulable(at) | Self::AwaitingVolumes(at) | Self::Pausing(at) => Some(*at),
            Self::Queued | Self::Calling | Self::Bound => None,
        }
    }
}

/// Pods that wait, in the order in which they are looked at: priority first, then arrival.
type Queue = BTreeSet<(Reverse<i32>, u64, Uid)>;

/// The machine. Feed it facts as they change, then [`Scheduler::poll_actions`].
#[derive(Clone, Default, Debug)]
pub struct Scheduler {
    snapshot: Snapshot,
    pending: BTreeMap<Uid, Pending>,
    queue: Queue,
    deadlines: BTreeSet<(Timestamp, Uid)>,
    /// Who is known under a name, so that a re-created pod is told from its predecessor.
    uids: BTreeMap<Key, Uid>,
    next_number: u64,
}

impl Scheduler {
    /// The cluster as it is known.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How many pods wait, for whatever.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// A pod appeared or changed.
    pub fn pod(&mut self, facts: PodFacts) {
        let facts = Arc::new(facts);
        let before = self.uids.insert(facts.key.clone(), facts.uid.clone());
        if let Some(before) = before.filter(|before| *before != facts.uid) {
            self.forget(&before);
        }
        if let Some(node) = facts.node.clone().filter(|_| !facts.is_terminal) {
            self.drop_pending(&facts.uid);
            // Bound where it was assumed, or by somebody else.
            self.snapshot.put_pod(facts, &node);
            return;
        }
        if !facts.is_ours_to_place {
            self.forget(&facts.uid);
            return;
        }
        match self.pending.get_mut(&facts.uid) {
            Some(pending) => {
                let needs_look = changes_placement(&pending.facts, &facts);
                pending.facts = Arc::clone(&facts);
                if needs_look && matches!(pending.state, State::Unschedulable(_) | State::AwaitingVolumes(_)) {
                    self.requeue(&facts.uid);
                }
            }
            None => self.add_pending(facts),
        }
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, key: &Key) {
        if let Some(uid) = self.uids.remove(key) {
            self.forget(&uid);
        }
    }

    /// A node appeared or changed; heartbeats change nothing here.
    pub fn node(&mut self, facts: NodeFacts) {
        if self.snapshot.set_node(facts) {
            self.wake(|_| true);
        }
    }

    /// A node is gone.
    pub fn node_gone(&mut self, name: &str) {
        self.snapshot.remove_node(name);
        self.wake(|_| true);
    }

    /// A claim appeared or changed.
    pub fn claim(&mut self, facts: ClaimFacts) {
        let key = facts.key.clone();
        if self.snapshot.set_claim(facts) {
            self.wake(|pod| pod.claims.contains(&key));
        }
    }

    /// A claim is gone.
    pub fn claim_gone(&mut self, key: &Key) {
        self.snapshot.remove_claim(key);
        self.wake(|pod| pod.claims.contains(key));
    }

    /// A volume appeared or changed.
    pub fn volume(&mut self, facts: VolumeFacts) {
        if self.snapshot.set_volume(facts) {
            self.wake(|pod| !pod.claims.is_empty());
        }
    }

    /// A volume is gone.
    pub fn volume_gone(&mut self, name: &str) {
        self.snapshot.remove_volume(name);
    }

    /// A storage class appeared or changed.
    pub fn class(&mut self, facts: ClassFacts) {
        if self.snapshot.set_class(facts) {
            self.wake(|pod| !pod.claims.is_empty());
        }
    }

    /// A storage class is gone.
    pub fn class_gone(&mut self, name: &str) {
        self.snapshot.remove_class(name);
    }

    /// An action ended.
    pub fn outcome(&mut self, action: &Action, outcome: &Outcome, now: Timestamp) {
        let uid = match action {
            Action::Bind { uid, .. } | Action::SelectNode { uid, .. } => uid,
            // A report that failed is repeated when the message changes; nothing hangs on it.
            Action::Report { .. } => return,
        };
        let Some(pending) = self.pending.get_mut(uid) else { return };
        match (action, outcome) {
            (Action::Bind { .. }, Outcome::Done) => {
                pending.failures = 0;
                self.enter(uid, State::Bound);
            }
            (Action::SelectNode { node, claims, .. }, Outcome::Done) => {
                pending.failures = 0;
                // Our own write is known before the claims' events arrive; asking for it again until then would spin.
                for (claim, _) in claims {
                    if let Some(facts) = self.snapshot.claims.get_mut(claim) {
                        facts.selected_node.clone_from(node);
                    }
                }
                let until = now.checked_add(VOLUMES_WAIT).unwrap_or(Timestamp::MAX);
                self.enter(uid, State::AwaitingVolumes(until));
                // The claims may have been bound before the answer came.
                self.requeue(uid);
            }
            (_, Outcome::Superseded | Outcome::Failed { .. }) => {
                self.snapshot.take_pod(uid);
                let pause = RETRY_MIN.saturating_mul(1 << pending.failures.min(10)).min(RETRY_MAX);
                pending.failures += 1;
                self.enter(uid, State::Pausing(now.checked_add(pause).unwrap_or(Timestamp::MAX)));
                // What it held may be another's now.
                self.wake(|_| true);
            }
            (Action::Report { .. }, Outcome::Done) => {}
        }
    }

    /// When to call [`Scheduler::poll_actions`] again even if nothing happens.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Looks at every pod whose turn it is.
    pub fn poll_actions(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((at, uid)) = self.deadlines.first().cloned().filter(|(at, _)| *at <= now) {
            debug_assert!(
                self.pending.get(&uid).is_some_and(|p| p.state.deadline() == Some(at)),
                "deadlines are exact"
            );
            let Some(pending) = self.pending.get(&uid) else { break };
            if matches!(pending.state, State::AwaitingVolumes(_)) {
                let message = "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded";
                actions.extend(self.report(&uid, message));
            }
            self.requeue(&uid);
        }
        while let Some((_, _, uid)) = self.queue.pop_first() {
            actions.extend(self.look_at(&uid, now));
        }
        actions
    }

    /// Decides for one pod and assumes what it decided.
    fn look_at(&mut self, uid: &Uid, now: Timestamp) -> Option<Action> {
        let facts = Arc::clone(&self.pending.get(uid)?.facts);
        self.snapshot.take_pod(uid);
        let pod = facts.key.clone();
        match self.snapshot.place(&facts) {
            Decision::Bind { node } => {
                self.snapshot.put_pod(facts, &node);
                self.enter(uid, State::Calling);
                Some(Action::Bind { pod, uid: uid.clone(), node })
            }
            Decision::SelectNode { node, claims } => {
                self.snapshot.put_pod(facts, &node);
                self.enter(uid, State::Calling);
                let with_uid = |key: Key| {
                    let uid = self.snapshot.claims.get(&key).map(|claim| claim.uid.clone()).unwrap_or_default();
                    (key, uid)
                };
                let claims = claims.into_iter().map(with_uid).collect();
                Some(Action::SelectNode { pod, uid: uid.clone(), node, claims })
            }
            Decision::AwaitVolumes { node } => {
                self.snapshot.put_pod(facts, &node);
                let until = now.checked_add(VOLUMES_WAIT).unwrap_or(Timestamp::MAX);
                self.enter(uid, State::AwaitingVolumes(until));
                None
            }
            Decision::Unschedulable(why) => {
                let until = now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
                self.enter(uid, State::Unschedulable(until));
                self.report(uid, &why.message)
            }
        }
    }

    /// Tells why a pod waits, unless that is known.
    fn report(&mut self, uid: &Uid, message: &str) -> Option<Action> {
        let pending = self.pending.get_mut(uid)?;
        if pending.reported == message {
            return None;
        }
        let was_unschedulable = std::mem::replace(&mut pending.is_reported, true);
        message.clone_into(&mut pending.reported);
        let pod = pending.facts.key.clone();
        Some(Action::Report { pod, uid: uid.clone(), message: message.to_owned(), was_unschedulable })
    }

    fn add_pending(&mut self, facts: Arc<PodFacts>) {
        self.next_number += 1;
        let uid = facts.uid.clone();
        let pending = Pending {
            number: self.next_number,
            state: State::Queued,
            reported: facts.unschedulable_message.clone(),
            is_reported: !facts.unschedulable_message.is_empty(),
            failures: 0,
            facts,
        };
        self.queue.insert((Reverse(pending.facts.priority), pending.number, uid.clone()));
        self.pending.insert(uid, pending);
    }

    /// Changes the state of a pod and keeps queue and deadlines in step.
    fn enter(&mut self, uid: &Uid, state: State) {
        let Some(pending) = self.pending.get_mut(uid) else { return };
        if let Some(at) = pending.state.deadline() {
            self.deadlines.remove(&(at, uid.clone()));
        }
        let place = (Reverse(pending.facts.priority), pending.number, uid.clone());
        match &state {
            State::Queued => self.queue.insert(place),
            _ => self.queue.remove(&place),
        };
        if let Some(at) = state.deadline() {
            self.deadlines.insert((at, uid.clone()));
        }
        pending.state = state;
    }

    fn requeue(&mut self, uid: &Uid) {
        self.enter(uid, State::Queued);
    }

    /// Looks again at the waiting pods that a change may help.
    fn wake(&mut self, concerns: impl Fn(&PodFacts) -> bool) {
        let waits = |pending: &Pending| matches!(pending.state, State::Unschedulable(_) | State::AwaitingVolumes(_));
        let woken: Vec<Uid> = self
            .pending
            .iter()
            .filter(|(_, pending)| waits(pending) && concerns(&pending.facts))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in woken {
            self.requeue(&uid);
        }
    }

    fn drop_pending(&mut self, uid: &Uid) {
        self.enter(uid, State::Bound);
        self.pending.remove(uid);
    }

    /// A pod no longer counts, in whatever way it did.
    fn forget(&mut self, uid: &Uid) {
        self.drop_pending(uid);
        if self.snapshot.take_pod(uid) {
            self.wake(|_| true);
        }
    }
}

/// True if a change of a waiting pod may change where it can go.
fn changes_placement(before: &PodFacts, after: &PodFacts) -> bool {
    let mut before = before.clone();
    before.unschedulable_message.clone_from(&after.unschedulable_message);
    before != *after
}
