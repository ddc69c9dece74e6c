//! The judges: they see every commit, every request and everything that runs, and say when a promise was broken.
//!
//! They never ask the code under test what it meant to do; they compare what it did with a shadow of the store.

pub mod budgets;
pub mod claims;
pub mod history;
pub mod identity;
pub mod order;
pub mod readiness;
pub mod reads;
pub mod revisions;
pub mod rollout;
#[cfg(test)]
mod testing;
pub mod watches;
pub mod writes;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use client::Propagation;
use container_runtime::SandboxStatus;
use meta::{Status, Uid};
use store::Store;
use store_core::{Event, EventKind};
use tokio::time::Instant;

use crate::wire::{Answer, Call, Verb};
use history::History;
use identity::{Deed, Identity};
use order::Order;
use writes::Writes;

/// What a judge found: the property and a sentence.
pub type Found = Vec<(&'static str, String)>;

/// The property in words.
pub fn in_words(property: &str) -> &'static str {
    match property {
        "S1" => "at any instant at most one running pod of an identity",
        "S2" => "a new UID of an identity starts nothing before the old one's death is confirmed",
        "S3" => "an agent starts only what a fresh read says is wanted here under that UID",
        "S4" => "a claim is used by its ordinal only, and a volume is mounted on one node at most",
        "S5" => "nothing deletes a claim or its bytes unless the policy in force asks for it",
        "S6" => "pods are created, deleted and updated in order and within the budget",
        "S7" => "revisions are immutable, re-used and kept while used; a status moves along them",
        "S8" => "a controller's write names the UID it means, and takes over only what its owner selects and asks for",
        "S9" => "the garbage collector deletes only what has no living owner",
        "S10" => "an object goes only without finalizers; a deletion is never taken back, grace only shortens",
        "S11" => "an eviction is charged to its budget, once, and no budget is overdrawn",
        "S12" => "what was acknowledged or shown survives",
        "S13" => "revisions strictly increase and are never given out twice, nor are UIDs",
        "S14" => "of two writes on one revision at most one wins",
        "S15" => "a list is a snapshot at its revision",
        "S16" => "a watch delivers every event of its selection once and in order, or ends",
        "S17" => "nobody sees time run backwards",
        "S18" => "compaction removes nothing that can still be seen",
        "S22" => "a refused request changes nothing",
        "S24" => "a restart of the agent touches no container and no readiness",
        "S25" => "when the API says that a pod is gone, nothing of it is left",
        "L1" => "once edits and faults stop, what is wanted comes to be",
        "L2" => "once it has come to be, nothing is written any more",
        "L4" => "a predecessor that heals does not block its successors",
        "L5" => "what is deleted goes away",
        "PANIC" => "no part panics",
        "ERROR" => "no part logs an error",
        "REPLAY" => "the same seed gives the same trace",
        _ => "an unnamed property",
    }
}

/// UIDs of owners whose dependents are to stay, each with the revision at which it was gone.
type Orphaning = BTreeMap<String, Option<u64>>;

/// All judges of one run.
#[derive(Default)]
pub struct Court {
    /// The shadow of the store.
    pub history: History,
    /// Who runs where.
    pub identity: Identity,
    /// In which order sets act.
    pub order: Order,
    writes: Writes,
    /// Owners that were deleted so that their dependents stay.
    orphaning: Orphaning,
    /// Where the garbage collector last read an owner: the newest revision when it asked, by the owner's UID.
    collected_by: BTreeMap<String, u64>,
}

impl std::fmt::Debug for Court {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Court")
    }
}

/// What was true when a request reached the server.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Newest revision.
    pub revision: u64,
    /// Number of the write; 0 for a read.
    number: u64,
}

impl Court {
    /// A store was opened on the disk.
    pub fn reopened(&mut self, store: &Store) -> Found {
        self.writes.forget();
        self.history.reopened(store)
    }

    /// Something was committed.
    pub fn committed(&mut self, event: &Arc<Event>, millis: u64) -> Found {
        let mut found = self.history.committed(event, millis);
        if let Some(past) = self.history.newest() {
            if past.kind == EventKind::Deleted
                && let Some(gone) = self.orphaning.get_mut(past.after.uid())
            {
                *gone = Some(past.revision);
            }
            found.extend(self.identity.committed(past));
            found.extend(self.identity.claim_gone(past, &self.history));
            found.extend(claims::committed(past, &self.history));
            found.extend(writes::committed(past));
            found.extend(budgets::committed(past));
            found.extend(revisions::committed(past, &self.history));
        }
        found
    }

    /// A request reached the server.
    pub fn asked(&mut self, call: &Call) -> Ticket {
        self.identity.asked(call, &self.history);
        self.identity.readiness.asked(call);
        let propagation = call.delete.as_ref().and_then(|options| options.propagation);
        if let (Some(propagation), Some(owner)) = (propagation, self.history.get(&writes::key(call))) {
            // The last policy counts (V-50).
            if propagation == Propagation::Orphan {
                self.orphaning.insert(owner.uid().to_owned(), None);
            } else {
                self.orphaning.remove(owner.uid());
            }
        }
        let number = if call.is_write() { self.writes.begun() } else { 0 };
        Ticket { revision: self.history.revision(), number }
    }

    /// The server has an answer.
    pub fn answered(&mut self, call: &Call, ticket: Ticket, answer: Result<Answer<'_>, &Status>) -> Found {
        let mut found = reads::answered(call, &self.history, ticket.revision, answer);
        if let Ok(Answer::List(list)) = answer {
            found.extend(watches::listed(&self.history, call, list));
        }
        match answer {
            Ok(Answer::Object(object)) => {
                self.identity.answered(call, &object.uid().0);
                if call.verb == Verb::Get && call.user.contains("garbage-collector") {
                    self.collected_by.insert(object.uid().0, ticket.revision);
                }
                found.extend(self.order.idle(call, ticket.revision, object));
                self.order.rollout.read(call, ticket.revision, object);
            }
            Ok(Answer::List(_) | Answer::Stream | Answer::Done) => {}
            Err(status) => {
                self.not_orphaned(call, ticket, status);
                found.extend(self.order.refused(call, &self.history, status));
            }
        }
        if call.is_write() {
            let alone = self.writes.ended(ticket.number);
            let is_done = answer.is_ok();
            let owners = writes::Owners { orphaning: &self.orphaning, read: &self.collected_by };
            found.extend(writes::answered(call, &self.history, ticket.revision, alone, answer, owners));
            if is_done {
                found.extend(claims::answered(call, &self.history, ticket.revision));
                found.extend(budgets::answered(call, &self.history, ticket.revision));
                found.extend(revisions::answered(call, &self.history, ticket.revision));
                found.extend(self.order.done(call, &self.history, ticket.revision));
            }
            if let Ok(Answer::Object(object)) = answer {
                found.extend(self.wrote(call, ticket.revision, object.resource_version.0));
            }
        }
        found
    }

    /// A deletion that would have left dependents behind was refused: somebody else's was done.
    fn not_orphaned(&mut self, call: &Call, ticket: Ticket, status: &Status) {
        let is_orphaning = call.delete.as_ref().is_some_and(|one| one.propagation == Some(Propagation::Orphan));
        if !is_orphaning || ![404, 409].contains(&status.code) {
            return;
        }
        let key = writes::key(call);
        if let Some(owner) = self.history.snapshot(history::kind_prefix(&key), ticket.revision).get(key.as_str()) {
            self.orphaning.remove(owner.uid());
        }
    }

    /// A write was answered with the revision at which it was done.
    fn wrote(&mut self, call: &Call, from: u64, written: u64) -> Found {
        let is_calm = self.order.is_calm;
        let mut found = self.order.rollout.done(call, &self.history, from, written, is_calm);
        // A probe is due by its agent's own clock.
        if !self.order.clocks_jumped {
            found.extend(self.identity.readiness.done(call, &self.history, from, written, Instant::now()));
        }
        found
    }

    /// History was forgotten: what is there stays (S18).
    pub fn compacted(&self, store: &Store, upto: u64) -> Found {
        self.history.compacted(store, upto)
    }

    /// What runs on a node.
    pub fn running(&mut self, node: &str, sandboxes: &[SandboxStatus]) -> Found {
        self.identity.running(node, sandboxes)
    }

    /// An agent is about to do something to its machine.
    pub fn doing(&mut self, node: &str, deed: &Deed<'_>, sandboxes: &[SandboxStatus]) -> Found {
        self.identity.doing(node, deed, sandboxes, &self.history)
    }

    /// A pod was given an address.
    pub fn attached(&mut self, node: &str, pod: &Uid, address: IpAddr) -> Found {
        self.identity.attached(node, pod, address)
    }

    /// A pod's address was taken away.
    pub fn detached(&mut self, pod: &Uid) {
        self.identity.detached(pod);
    }
}
