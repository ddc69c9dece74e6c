//! The catalogue of known bugs that can be switched on (`meta::mutants`), and the hunt: which seed kills which.

use std::fmt::Write as _;

use crate::run::run;
use crate::scenario::Scenario;
use crate::stories;

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
pub const ALL: [Mutant; 52] = [
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
        "surplus-goes-before-the-status",
        "C-32, S7",
        "a revision is deleted as surplus though the status that still names it could not be replaced",
    ),
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
        "unsure-writes-are-forgotten",
        "B4",
        "a controller takes a write whose answer was lost for one that did not happen",
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
        "claim-waits-for-its-owner",
        "N-9, C-91, L5",
        "a claim waits for its pod to go, which waits for its claim to go: upstream's rules, taken literally",
    ),
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
    mutant(
        "new-pods-ignore-partition",
        "C-44, S6",
        "a pod lost below the partition comes back at the new revision (kubernetes #121534, U-17)",
    ),
    mutant(
        "current-revision-moves-early",
        "C-81, S7",
        "the current revision becomes the new one before every pod is of it (U-14: kubernetes #73492)",
    ),
    mutant(
        "adoption-without-confirmation",
        "C-18, S8",
        "a set takes pods over by its cache, without asking whether it is still there",
    ),
    mutant("agent-forgets-readiness", "S24", "a restarted agent says of what runs on that it is not ready"),
    mutant(
        "future-is-believed",
        "S27, C-39",
        "a pod that became ready by a clock that was years ahead is not available for years",
    ),
    mutant("clocks-go-back", "S27, L2", "a clock that is set back stops every timer for as long"),
    mutant("eviction-charges-nobody", "S11", "an eviction is granted and its budget is not charged"),
    mutant("eviction-overdraws", "S11", "an eviction is granted though the budget allows none"),
];

/// Seeds that are played before the stories are.
const SEEDS_FIRST: u64 = 20;

/// What breaks a promise with a mutant, and does not without it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Killer {
    /// A seed.
    Seed(u64),
    /// A story, by name.
    Story(&'static str),
}

/// What became of one mutant.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Which.
    pub mutant: Mutant,
    /// What killed it and the property that it broke; `None` if it lives.
    pub killed: Option<(Killer, &'static str)>,
    /// Seeds that were played.
    pub played: u64,
}

/// The property that a mutant breaks in a script that breaks none without it.
fn verdict(plain: &Scenario, mutant: Mutant) -> Option<&'static str> {
    let mutated = Scenario { mutant: Some(mutant.name), ..plain.clone() };
    let violation = run(&mutated, false).violation?;
    run(plain, false).violation.is_none().then_some(violation.property)
}

/// Plays seeds, then all stories, then more seeds with a mutant until one breaks a promise.
pub fn hunt(mutant: Mutant, first_seed: u64, seeds_max: u64) -> Fate {
    let first = seeds_max.min(SEEDS_FIRST);
    let seed = |number: u64| (Killer::Seed(number), Scenario::of(number));
    let early = (first_seed..first_seed + first).map(seed);
    let stories = stories::ALL.iter().map(|story| (Killer::Story(story.name), story.scenario()));
    let late = (first_seed + first..first_seed + seeds_max).map(seed);
    let mut played = 0;
    for (killer, plain) in early.chain(stories).chain(late) {
        played += u64::from(matches!(killer, Killer::Seed(_)));
        if let Some(property) = verdict(&plain, mutant) {
            return Fate { mutant, killed: Some((killer, property)), played };
        }
    }
    Fate { mutant, killed: None, played }
}

/// `docs/mutants.md`, as the hunt of a day leaves it.
pub fn page(fates: &[Fate], day: &str, seeds_max: u64) -> String {
    let killed = fates.iter().filter(|fate| fate.killed.is_some()).count();
    format!(
        "# Known bugs, and what kills them\n\n\
         Each is a switch in our own code (`meta::mutants`), on in one run. Written by `cargo xtask sim --mutants`, \
         on {day}, with at\nmost {seeds_max} seeds and {} stories (`crates/sim/src/stories.rs`) for each: {killed} of \
         {} are killed. What kills a mutant\nbreaks no promise without it. By hand: `cargo xtask sim --seed N --mutant \
         NAME`, `cargo xtask sim --story STORY --mutant NAME`.\n\n{}",
        stories::ALL.len(),
        fates.len(),
        table(fates)
    )
}

/// Which mutant breaks which property where.
pub fn table(fates: &[Fate]) -> String {
    let mut text = String::from("| mutant | what is wrong | of | killed by |\n|---|---|---|---|\n");
    for Fate { mutant, killed, played } in fates {
        let by = match killed {
            Some((Killer::Seed(seed), property)) => format!("seed {seed}: {property}"),
            Some((Killer::Story(story), property)) => format!("story `{story}`: {property}"),
            None => format!("alive after {played} seeds and all stories"),
        };
        let _ = writeln!(text, "| `{}` | {} | {} | {by} |", mutant.name, mutant.bug, mutant.class);
    }
    text
}
