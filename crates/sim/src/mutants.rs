//! The catalogue of known bugs that can be switched on (`meta::mutants`), and the hunt: which seed kills which.

use std::fmt::Write as _;

use crate::run::run;
use crate::scenario::Scenario;

/// A known bug, re-created in our own code.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its switch.
    pub name: &'static str,
    /// The class of reliability.md 1b, or the statement that it breaks.
    pub class: &'static str,
    /// What is wrong, and where it was seen.
    pub bug: &'static str,
}

const fn mutant(name: &'static str, class: &'static str, bug: &'static str) -> Mutant {
    Mutant { name, class, bug }
}

/// All of them.
pub const ALL: [Mutant; 41] = [
    mutant("next-pod-before-last-is-ready", "C-47", "an ordered set creates the next pod before the last is ready"),
    mutant(
        "min-ready-is-ignored",
        "C-39",
        "a pod counts as available the moment it is ready (KEP-961's bug with minReadySeconds)",
    ),
    mutant("scale-down-all-at-once", "C-54", "an ordered set deletes all condemned pods at once"),
    mutant("update-ignores-partition", "C-74", "a rolling update replaces pods below the partition"),
    mutant("update-ignores-budget", "C-75b", "a rolling update takes more pods away than maxUnavailable"),
    mutant("update-lowest-first", "C-75", "a rolling update begins with the lowest ordinal"),
    mutant("deleted-set-goes-on", "C-13", "a set that is being deleted goes on creating pods"),
    mutant("pods-of-others-are-members", "C-17, S8", "pods are the set's by name, whoever owns them"),
    mutant(
        "scaled-claims-go-always",
        "KEP-1847, S5",
        "claims of ordinals that were scaled away go under whenScaled: Retain",
    ),
    mutant("deleted-sets-claims-go-always", "KEP-1847, S5", "claims go with their set under whenDeleted: Retain"),
    mutant("live-revisions-are-surplus", "C-32, S7", "the history limit deletes revisions that are in use"),
    mutant(
        "rollback-is-not-renumbered",
        "C-28",
        "going back to an equal template leaves the newest number on the other revision",
    ),
    mutant("status-is-always-written", "B13, L2", "the status is written again though nothing differs: a hot loop"),
    mutant("patch-names-no-uid", "B2, S8", "controllers patch by name, whichever incarnation has it"),
    mutant(
        "delete-by-name",
        "B2, S8",
        "controllers delete by name, whichever incarnation has it (stale-state pattern of Sieve)",
    ),
    mutant(
        "own-writes-are-not-awaited",
        "B4",
        "a controller plans on caches that lack its own last writes (kubernetes #129795, KEP-5647)",
    ),
    mutant(
        "orphans-are-not-released",
        "C-91, S9",
        "dependents of an owner deleted with Orphan keep their reference and are collected",
    ),
    mutant(
        "collector-trusts-its-cache",
        "B2, S9",
        "the garbage collector believes that an owner its cache does not show is gone",
    ),
    mutant(
        "collector-knows-owners-by-name",
        "B5",
        "the garbage collector takes a new owner of the same name for the old one",
    ),
    mutant("used-claims-are-unprotected", "N-9, S4", "a claim goes while a pod uses it"),
    mutant(
        "agent-starts-what-its-cache-shows",
        "B2, S3",
        "a restarted agent starts pods from its cache without a fresh read (kubernetes #59848)",
    ),
    mutant("successor-does-not-wait", "B12, S2", "a pod starts while another of its name still lives here"),
    mutant("restarted-agent-cleans-up", "S24", "a restarted agent stops the containers that it does not remember"),
    mutant(
        "status-by-name",
        "B12, S8",
        "a pod's status is written by name and lands on its successor (kubernetes #119273, #141473)",
    ),
    mutant(
        "gone-before-dead",
        "S1, S25",
        "the agent reports a pod as removed while its processes live (CrunchyData #1810)",
    ),
    mutant("bytes-go-always", "S5", "the bytes of a volume go whatever its reclaim policy"),
    mutant("failed-flush-is-ignored", "S21", "a failed fsync is taken for success (fsync study, ATC'20)"),
    mutant("bookmark-overtakes-events", "B9, S16", "a bookmark promises events that were not delivered (etcd #15220)"),
    mutant("slow-watch-loses-events", "B9, S16", "a slow watch goes on behind what it missed (kine #238)"),
    mutant("watch-begins-one-late", "B9, S16", "a watch misses the first event behind its revision (etcd #19179)"),
    mutant("create-overwrites", "S14", "a create replaces the object that has the name"),
    mutant("last-write-wins", "S14", "the revision that a write was based on is not compared"),
    mutant("compaction-drops-the-living", "B10, S18", "compaction forgets states that are the latest of their key"),
    mutant(
        "exit-from-selection-is-not-told",
        "B9, S16",
        "an object that leaves a watch's selection is not told as deleted",
    ),
    mutant("relist-keeps-the-gone", "B3", "a cache keeps what was deleted while its watch was away"),
    mutant(
        "expired-watch-is-resumed",
        "B9, L1",
        "a watch that ended with 410 is resumed for ever instead of listed anew",
    ),
    mutant("wake-while-at-work-is-lost", "B3, L1", "a key that changes while it is worked on is not looked at again"),
    mutant("failures-are-forgotten", "B1, L1", "a key whose writes failed is not tried again"),
    mutant("pod-away-from-its-volume", "N-11, S4", "a pod is placed on a node where its volume does not lie"),
    mutant("finalizers-do-not-hold", "S10", "an object is removed though it has finalizers"),
    mutant("preconditions-are-ignored", "B12, S8", "the UID and revision that a deletion names are not compared"),
];

/// What became of one mutant.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Which.
    pub mutant: Mutant,
    /// The seed that killed it and the property that it broke; `None` if it lives.
    pub killed: Option<(u64, &'static str)>,
    /// Seeds that were played.
    pub played: u64,
}

/// Plays seeds with a mutant until one breaks a promise.
pub fn hunt(mutant: Mutant, first_seed: u64, seeds_max: u64) -> Fate {
    for seed in first_seed..first_seed + seeds_max {
        let mut scenario = Scenario::of(seed);
        scenario.mutant = Some(mutant.name);
        if let Some(violation) = run(&scenario, false).violation {
            return Fate { mutant, killed: Some((seed, violation.property)), played: seed - first_seed + 1 };
        }
    }
    Fate { mutant, killed: None, played: seeds_max }
}

/// The table of `docs/mutants.md`.
pub fn table(fates: &[Fate]) -> String {
    let mut text = String::from("| mutant | what is wrong | of | killed by |\n|---|---|---|---|\n");
    for Fate { mutant, killed, played } in fates {
        let by = match killed {
            Some((seed, property)) => format!("seed {seed}: {property}"),
            None => format!("alive after {played} seeds"),
        };
        let _ = writeln!(text, "| `{}` | {} | {} | {by} |", mutant.name, mutant.bug, mutant.class);
    }
    text
}
