//! The scheduler as a machine: facts in, actions out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meta::{ResourceVersion, Timestamp, Uid};

use crate::facts::{BudgetFacts, ClaimFacts, ClassFacts, NodeFacts, PodFacts, VolumeFacts};
use crate::filter::{Decision, NO_NODES, Unschedulable};
use crate::preempt::Preemption;
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
    /// Write the event `Scheduled` about a pod that came with the place it was given ([`Scheduler::place_ahead`]).
    Announce {
        /// The pod.
        pod: Key,
        /// Its UID.
        uid: Uid,
        /// Where it is.
        node: String,
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
    /// Promise the node to the pod, and delete these pods of lower priority; answer with [`Scheduler::outcome`].
    Preempt {
        /// The pod that needs their place.
        pod: Key,
        /// Its UID.
        uid: Uid,
        /// Where.
        node: String,
        /// Who has to go, with their UIDs.
        victims: Vec<(Key, Uid)>,
    },
}

/// Where a pod that is about to be stored goes ([`Scheduler::place_ahead`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ahead {
    /// Where to.
    pub node: String,
    /// The bound claims that this rests on, with their UIDs: others of the same names may be bound elsewhere.
    pub claims: Vec<(Key, Uid)>,
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
    /// Pods that an event may help.
    waiting: BTreeSet<Uid>,
    /// Who is known under a name, so that a re-created pod is told from its predecessor.
    uids: BTreeMap<Key, Uid>,
    next_number: u64,
    /// Pods that were given a place before they were stored; at which revision they are, once that is told.
    ahead: BTreeMap<Uid, Option<ResourceVersion>>,
    /// Those of them that have come, to be announced.
    arrived: Vec<Action>,
    /// All that happened to pods up to this revision is known.
    told_upto: ResourceVersion,
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
        let was_ahead = self.ahead.remove(&facts.uid).is_some();
        if let Some(node) = facts.node.clone().filter(|_| !facts.is_terminal) {
            if was_ahead {
                let (pod, uid) = (facts.key.clone(), facts.uid.clone());
                self.arrived.push(Action::Announce { pod, uid, node: node.clone() });
            }
            self.drop_pending(&facts.uid);
            self.place_pod(facts, &node);
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

    /// Decides for a pod that is about to be stored, and counts it there (decision 24). `None` if others have to be looked
    /// at before it, and if it has to wait for volumes or room: it comes without a node, and its turn comes then.
    pub fn place_ahead(&mut self, facts: PodFacts) -> Option<Ahead> {
        if !self.queue.is_empty() || !facts.is_ours_to_place {
            return None;
        }
        self.snapshot.prepare(&facts);
        let Decision::Bind { node } = self.snapshot.place(&facts) else { return None };
        self.ahead.insert(facts.uid.clone(), None);
        let claims = self.snapshot.with_uids(facts.claims.iter().cloned());
        self.place_pod(Arc::new(facts), &node);
        Some(Ahead { node, claims })
    }

    /// A pod that was given a place is stored, at this revision.
    pub fn stored(&mut self, uid: &Uid, revision: ResourceVersion) {
        if let Some(stored_at) = self.ahead.get_mut(uid) {
            *stored_at = Some(revision);
            self.drop_departed();
        }
    }

    /// A pod that was given a place does not come.
    pub fn give_back(&mut self, uid: &Uid) {
        if self.ahead.remove(uid).is_some() {
            self.forget(uid);
        }
    }

    /// Everything that happened to pods up to this revision has been told.
    pub fn pods_told(&mut self, upto: ResourceVersion) {
        self.told_upto = upto;
        self.drop_departed();
    }

    /// Who was stored before what has been told, and has not come, is gone already.
    fn drop_departed(&mut self) {
        let upto = self.told_upto;
        let is_gone = |stored_at: &Option<ResourceVersion>| stored_at.is_some_and(|revision| revision <= upto);
        let gone: Vec<Uid> =
            self.ahead.iter().filter(|(_, stored_at)| is_gone(stored_at)).map(|(uid, _)| uid.clone()).collect();
        for uid in gone {
            self.give_back(&uid);
        }
    }

    /// Whether [`Scheduler::poll_actions`] has something to do now.
    pub fn has_turns(&self) -> bool {
        !self.queue.is_empty() || !self.arrived.is_empty()
    }

    /// A pod stands on a node: where it was assumed, or where somebody else put it.
    fn place_pod(&mut self, facts: Arc<PodFacts>, node: &str) {
        let matters = |pod: &PodFacts| (pod.node.clone(), pod.is_deleting, pod.labels.clone());
        let is_news = self.snapshot.placed_pod(&facts.uid).is_none_or(|before| matters(before) != matters(&facts));
        self.snapshot.put_pod(facts, node);
        if is_news {
            self.wake(wants_neighbours);
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

    /// A budget appeared or changed.
    pub fn budget(&mut self, facts: BudgetFacts) {
        self.snapshot.set_budget(facts);
    }

    /// A budget is gone.
    pub fn budget_gone(&mut self, key: &Key) {
        self.snapshot.remove_budget(key);
    }

    /// The labels of a namespace; `None`: it is gone.
    pub fn namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) {
        if self.snapshot.set_namespace(name, labels) {
            self.wake(wants_neighbours);
        }
    }

    /// A storage class is gone.
    pub fn class_gone(&mut self, name: &str) {
        self.snapshot.remove_class(name);
    }

    /// An action ended.
    pub fn outcome(&mut self, action: &Action, outcome: &Outcome, now: Timestamp) {
        let uid = match action {
            Action::Bind { uid, .. } | Action::SelectNode { uid, .. } | Action::Preempt { uid, .. } => uid,
            // A report that failed is repeated when the message changes; nothing hangs on it.
            Action::Report { .. } | Action::Announce { .. } => return,
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
            (Action::Preempt { victims, .. }, Outcome::Done) => {
                pending.failures = 0;
                let until = now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
                self.enter(uid, State::Unschedulable(until));
                self.note_endings(victims);
                // They may have been gone before the answer came.
                self.requeue(uid);
            }
            (_, Outcome::Superseded | Outcome::Failed { .. }) => {
                self.snapshot.nominated.remove(uid);
                self.snapshot.take_pod(uid);
                let pause = RETRY_MIN.saturating_mul(1 << pending.failures.min(10)).min(RETRY_MAX);
                pending.failures += 1;
                self.enter(uid, State::Pausing(now.checked_add(pause).unwrap_or(Timestamp::MAX)));
                // What it held may be another's now.
                self.wake(|_| true);
            }
            (Action::Report { .. } | Action::Announce { .. }, Outcome::Done) => {}
        }
    }

    /// Our own deletions are known before their events arrive: asking for more until then would take too many.
    fn note_endings(&mut self, victims: &[(Key, Uid)]) {
        for (_, victim) in victims {
            let Some(facts) = self.snapshot.placed_pod(victim).filter(|facts| !facts.is_deleting) else { continue };
            let ending = PodFacts { is_deleting: true, ..(**facts).clone() };
            if let Some(node) = self.snapshot.node_of(victim).map(str::to_owned) {
                self.snapshot.put_pod(Arc::new(ending), &node);
            }
        }
    }

    /// When to call [`Scheduler::poll_actions`] again even if nothing happens.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Looks at every pod whose turn it is.
    pub fn poll_actions(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = std::mem::take(&mut self.arrived);
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
            self.look_at(&uid, now, &mut actions);
        }
        actions
    }

    /// Decides for one pod and assumes what it decided.
    fn look_at(&mut self, uid: &Uid, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(facts) = self.pending.get(uid).map(|pending| Arc::clone(&pending.facts)) else { return };
        self.snapshot.take_pod(uid);
        self.snapshot.prepare(&facts);
        let pod = facts.key.clone();
        match self.snapshot.place(&facts) {
            Decision::Bind { node } => {
                self.snapshot.nominated.remove(uid);
                self.enter(uid, State::Calling);
                self.place_pod(facts, &node);
                actions.push(Action::Bind { pod, uid: uid.clone(), node });
            }
            Decision::SelectNode { node, claims } => {
                self.snapshot.put_pod(facts, &node);
                self.enter(uid, State::Calling);
                let claims = self.snapshot.with_uids(claims);
                actions.push(Action::SelectNode { pod, uid: uid.clone(), node, claims });
            }
            Decision::AwaitVolumes { node } => {
                self.snapshot.put_pod(facts, &node);
                let until = now.checked_add(VOLUMES_WAIT).unwrap_or(Timestamp::MAX);
                self.enter(uid, State::AwaitingVolumes(until));
            }
            Decision::Unschedulable(why) => self.make_room(uid, &facts, why, now, actions),
        }
    }

    /// A pod fits nowhere: others make room for it if they are less important, or it waits.
    fn make_room(
        &mut self,
        uid: &Uid,
        facts: &Arc<PodFacts>,
        why: Unschedulable,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let until = now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        self.enter(uid, State::Unschedulable(until));
        if why.message == NO_NODES {
            actions.extend(self.report(uid, &why.message));
            return;
        }
        let because = match self.snapshot.preempt(facts, &why.nodes) {
            Preemption::Of { node, victims } => {
                actions.extend(self.report(uid, &why.message));
                // What was promised there to less important pods is promised no more.
                self.snapshot.nominated.retain(|_, (other, pod)| *other != node || pod.priority >= facts.priority);
                self.snapshot.nominated.insert(uid.clone(), (node.clone(), Arc::clone(facts)));
                self.enter(uid, State::Calling);
                actions.push(Action::Preempt { pod: facts.key.clone(), uid: uid.clone(), node, victims });
                return;
            }
            Preemption::None(because) => {
                self.snapshot.nominated.remove(uid);
                because
            }
            Preemption::Ending(node) => {
                self.snapshot.nominated.insert(uid.clone(), (node, Arc::clone(facts)));
                "not eligible due to a terminating pod on the nominated node.".to_owned()
            }
        };
        actions.extend(self.report(uid, &format!("{} preemption: {because}", why.message)));
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
        if matches!(state, State::Unschedulable(_) | State::AwaitingVolumes(_)) {
            self.waiting.insert(uid.clone());
        } else {
            self.waiting.remove(uid);
        }
        pending.state = state;
    }

    fn requeue(&mut self, uid: &Uid) {
        self.enter(uid, State::Queued);
    }

    /// Looks again at the waiting pods that a change may help.
    fn wake(&mut self, concerns: impl Fn(&PodFacts) -> bool) {
        let is_concerned = |uid: &&Uid| self.pending.get(*uid).is_some_and(|pending| concerns(&pending.facts));
        let woken: Vec<Uid> = self.waiting.iter().filter(is_concerned).cloned().collect();
        for uid in woken {
            self.requeue(&uid);
        }
    }

    fn drop_pending(&mut self, uid: &Uid) {
        self.enter(uid, State::Bound);
        self.pending.remove(uid);
        self.snapshot.nominated.remove(uid);
    }

    /// A pod no longer counts, in whatever way it did.
    fn forget(&mut self, uid: &Uid) {
        self.drop_pending(uid);
        if self.snapshot.take_pod(uid) {
            self.wake(|_| true);
        }
    }
}

/// True of a pod that others beside it may help.
fn wants_neighbours(pod: &PodFacts) -> bool {
    pod.neighbours.as_ref().is_some_and(|wants| !wants.near.is_empty() || !wants.spread.is_empty())
}

/// True if a change of a waiting pod may change where it can go.
fn changes_placement(before: &PodFacts, after: &PodFacts) -> bool {
    let mut before = before.clone();
    before.unschedulable_message.clone_from(&after.unschedulable_message);
    before.nominated_node.clone_from(&after.nominated_node);
    before != *after
}
