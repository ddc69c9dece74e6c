//! What happens in a run: topology, edits and faults, drawn from the seed beforehand, so that any of them can be left
//! out of a replay.

use std::fmt;
use std::time::Duration;

use crate::rng::Rng;
use crate::weather::Mishap;

/// A run's script.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed it was drawn from; it also decides all small things.
    pub seed: u64,
    /// Number of nodes.
    pub nodes: usize,
    /// How containers behave.
    pub temper: Temper,
    /// The store lies on a disk that can tear what was not flushed (redb), instead of in memory.
    pub is_on_disk: bool,
    /// A known bug that is switched on.
    pub mutant: Option<&'static str>,
    /// What happens when, ascending.
    pub steps: Vec<Step>,
}

/// How containers behave in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Temper {
    /// How many of a thousand containers end by themselves some time after their start, while faults are allowed.
    pub crash_permille: u64,
    /// How many of a thousand readiness probes fail for no reason, while faults are allowed.
    pub flap_permille: u64,
    /// Longest start of a container.
    pub start_millis_max: u64,
    /// Longest time a container takes to obey.
    pub stop_millis_max: u64,
    /// Most probes until a container is ready.
    pub probes_max: u64,
}

/// One thing that happens.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// Its number, by which it can be left out.
    pub number: usize,
    /// When, after the beginning.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// What happens.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// A client creates a set.
    Create(SetSpec),
    /// A client changes a set.
    Edit {
        /// Which.
        set: usize,
        /// What of it.
        edit: Edit,
    },
    /// A client deletes a set.
    DeleteSet {
        /// Which.
        set: usize,
        /// What becomes of its pods.
        cascade: Cascade,
    },
    /// A client deletes a pod.
    DeletePod {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
        /// At once, without waiting for its node.
        force: bool,
    },
    /// A client takes the labels off a pod, so that its set lets it go.
    Estrange {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
    },
    /// A client deletes a claim.
    DeleteClaim {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
    },
    /// A client deletes the newest revision.
    DeleteRevision {
        /// Of which set.
        set: usize,
    },
    /// A client watches everything of a kind for a while.
    Follow {
        /// The resource.
        resource: &'static str,
        /// For how long.
        secs: u64,
    },
    /// Something fails.
    Fault(Fault),
}

/// A StatefulSet to be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetSpec {
    /// Its number; its name is `s<number>`.
    pub set: usize,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `podManagementPolicy: Parallel`.
    pub parallel: bool,
    /// `spec.ordinals.start`.
    pub start: u32,
    /// How it is updated.
    pub strategy: Strategy,
    /// `spec.minReadySeconds`.
    pub min_ready_secs: u32,
    /// Claims, and their retention `(whenDeleted, whenScaled)`, true for `Delete`.
    pub claims: Option<(bool, bool)>,
    /// Grace of its pods.
    pub grace_secs: u32,
    /// Its containers do not obey.
    pub stubborn: bool,
    /// `spec.revisionHistoryLimit`.
    pub history_max: u32,
    /// `roadstead.dev/heal-rollout` and `roadstead.dev/rollback-after`.
    pub heals: bool,
}

/// `spec.updateStrategy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// RollingUpdate.
    Rolling {
        /// `partition`.
        partition: u32,
        /// `maxUnavailable`; 0 leaves it out.
        unavailable_max: u32,
    },
    /// OnDelete.
    OnDelete,
}

/// A change of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edit {
    /// `spec.replicas`.
    Scale(u32),
    /// Another template.
    Roll(u32),
    /// A template whose image does not exist.
    Break,
    /// The strategy.
    Strategy(Strategy),
    /// The retention of claims.
    Retention(bool, bool),
    /// `spec.minReadySeconds`.
    MinReady(u32),
}

/// `propagationPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cascade {
    /// Pods stay.
    Orphan,
    /// Pods go afterwards.
    Background,
    /// Pods go first.
    Foreground,
}

/// What fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A part is killed, and starts anew after a while.
    Kill {
        /// Which.
        part: String,
        /// How long it is away.
        millis: u64,
    },
    /// Everything is killed at once; containers go on.
    KillAll {
        /// How long it is away.
        millis: u64,
    },
    /// Requests of a part fare badly for a while.
    Squall {
        /// Which; empty for all.
        part: String,
        /// How.
        mishap: Mishap,
        /// How many of a thousand.
        permille: u64,
        /// For how long.
        millis: u64,
    },
    /// Watches of a part stand still: it sees old states.
    Stale {
        /// Which; empty for all.
        part: String,
        /// Of one resource, or of all if empty.
        resource: &'static str,
        /// For how long.
        millis: u64,
    },
    /// History is forgotten.
    Compact,
    /// A part stands still.
    Pause {
        /// Which.
        part: String,
        /// For how long.
        millis: u64,
    },
    /// A node loses its power: its containers are dead.
    Reboot {
        /// Which.
        node: usize,
        /// How long it is away.
        millis: u64,
    },
    /// One pod's sandbox dies.
    LoseSandbox {
        /// On which node.
        node: usize,
    },
    /// A part's clock is wrong from now on.
    ClockJump {
        /// Which.
        part: String,
        /// By how much.
        secs: i64,
    },
    /// The store's disk fails after so many flushes.
    FlushFails {
        /// How many succeed.
        flushes: u32,
    },
    /// The power of the store's machine fails in the middle of so many operations on its disk: what was not flushed
    /// is kept, lost or torn.
    PowerCut {
        /// Operations until then.
        operations: u32,
        /// How long it is away.
        millis: u64,
    },
    /// The store's disk is full for a while.
    DiskFull {
        /// Wholly.
        wholly: bool,
        /// For how long.
        millis: u64,
    },
}

impl Fault {
    /// Names of all kinds, as in tables.
    pub const NAMES: [&'static str; 12] = [
        "kill a part",
        "kill everything",
        "squall",
        "stale watches",
        "compaction",
        "pause",
        "node reboot",
        "sandbox lost",
        "clock jump",
        "flush fails",
        "disk full",
        "power cut",
    ];

    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill a part",
            Self::KillAll { .. } => "kill everything",
            Self::Squall { .. } => "squall",
            Self::Stale { .. } => "stale watches",
            Self::Compact => "compaction",
            Self::Pause { .. } => "pause",
            Self::Reboot { .. } => "node reboot",
            Self::LoseSandbox { .. } => "sandbox lost",
            Self::ClockJump { .. } => "clock jump",
            Self::FlushFails { .. } => "flush fails",
            Self::DiskFull { .. } => "disk full",
            Self::PowerCut { .. } => "power cut",
        }
    }
}

impl Act {
    /// Names of all acts of clients, as in tables.
    pub const NAMES: [&'static str; 14] = [
        "create set",
        "scale",
        "roll",
        "break template",
        "edit strategy",
        "edit retention",
        "edit minReadySeconds",
        "delete set",
        "delete pod",
        "delete pod by force",
        "estrange pod",
        "delete claim",
        "delete revision",
        "follow",
    ];

    /// Its name in tables; empty for a fault.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create set",
            Self::Edit { edit, .. } => match edit {
                Edit::Scale(_) => "scale",
                Edit::Roll(_) => "roll",
                Edit::Break => "break template",
                Edit::Strategy(_) => "edit strategy",
                Edit::Retention(..) => "edit retention",
                Edit::MinReady(_) => "edit minReadySeconds",
            },
            Self::DeleteSet { .. } => "delete set",
            Self::DeletePod { force: false, .. } => "delete pod",
            Self::DeletePod { force: true, .. } => "delete pod by force",
            Self::Estrange { .. } => "estrange pod",
            Self::DeleteClaim { .. } => "delete claim",
            Self::DeleteRevision { .. } => "delete revision",
            Self::Follow { .. } => "follow",
            Self::Fault(_) => "",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} at {:?}: {:?}", self.number, self.at, self.act)
    }
}

/// Longest time in which things happen.
const SECS_MAX: u64 = 120;

impl Scenario {
    /// The script of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::of(seed, "scenario");
        let nodes = match rng.below(10) {
            0..=4 => 1,
            5..=8 => usize::try_from(rng.between(2, 3)).unwrap_or(2),
            _ => usize::try_from(rng.between(4, 7)).unwrap_or(4),
        };
        let is_rough = rng.chance(300);
        let temper = Temper {
            crash_permille: if is_rough { rng.below(300) } else { 0 },
            flap_permille: if is_rough && rng.chance(500) { rng.below(100) } else { 0 },
            start_millis_max: rng.below(2000),
            stop_millis_max: rng.below(3000),
            probes_max: rng.below(4),
        };
        let span = rng.between(20, SECS_MAX) * 1000;
        let mut drawn = Draw { rng, nodes, sets: 0, version: 1, kinds: Vec::new() };
        drawn.choose_faults();
        let mut steps = vec![(0, Act::Create(drawn.set()))];
        let edits = drawn.rng.between(2, 14);
        for _ in 0..edits {
            let at = drawn.rng.below(span);
            steps.push((at, drawn.client()));
        }
        let faults = if drawn.kinds.is_empty() { 0 } else { drawn.rng.between(1, 12) };
        for _ in 0..faults {
            let at = drawn.rng.below(span);
            steps.push((at, Act::Fault(drawn.fault())));
        }
        steps.sort_by_key(|(at, _)| *at);
        let numbered = steps.into_iter().enumerate();
        let steps = numbered.map(|(number, (at, act))| Step { number, at: Duration::from_millis(at), act }).collect();
        let is_on_disk = drawn.kinds.iter().any(|kind| Fault::NAMES[*kind] == "power cut") || seed.is_multiple_of(8);
        Self { seed, nodes, temper, is_on_disk, mutant: None, steps }
    }

    /// The same script without some steps.
    pub fn without(&self, left_out: &[usize]) -> Self {
        let mut copy = self.clone();
        copy.steps.retain(|step| !left_out.contains(&step.number));
        copy
    }
}

/// Draws acts.
struct Draw {
    rng: Rng,
    nodes: usize,
    sets: usize,
    version: u32,
    /// Kinds of faults that this run has (swarm testing: few at a time, in all combinations).
    kinds: Vec<usize>,
}

impl Draw {
    fn choose_faults(&mut self) {
        if self.rng.chance(80) {
            return;
        }
        let share = self.rng.between(150, 800);
        self.kinds = (0..Fault::NAMES.len()).filter(|_| self.rng.chance(share)).collect();
    }

    fn set(&mut self) -> SetSpec {
        self.sets += 1;
        self.set_named(self.sets - 1)
    }

    fn set_named(&mut self, set: usize) -> SetSpec {
        let rng = &mut self.rng;
        let start = if rng.chance(150) { u32::try_from(rng.between(1, 5)).unwrap_or(1) } else { 0 };
        SetSpec {
            set,
            replicas: small(rng, 0, 5),
            parallel: rng.chance(350),
            start,
            strategy: strategy(rng),
            min_ready_secs: if rng.chance(250) { small(rng, 1, 8) } else { 0 },
            claims: rng.chance(500).then(|| (rng.chance(500), rng.chance(500))),
            grace_secs: if rng.chance(30) { 0 } else { small(rng, 1, 5) },
            stubborn: rng.chance(100),
            history_max: if rng.chance(500) { small(rng, 0, 2) } else { 10 },
            heals: rng.chance(200),
        }
    }

    fn client(&mut self) -> Act {
        let set = usize::try_from(self.rng.below(self.sets as u64)).unwrap_or(0);
        let ordinal = small(&mut self.rng, 0, 4);
        match self.rng.below(100) {
            0..=3 => {
                // A name that was used before, perhaps by a set that is gone.
                let again = self.set_named(set);
                Act::Create(again)
            }
            4..=8 if self.sets < 4 => Act::Create(self.set()),
            4..=27 => Act::Edit { set, edit: Edit::Scale(small(&mut self.rng, 0, 6)) },
            28..=45 => {
                self.version += 1;
                // Often back to an earlier template.
                let version = if self.rng.chance(400) { small(&mut self.rng, 1, self.version) } else { self.version };
                Act::Edit { set, edit: Edit::Roll(version) }
            }
            46..=50 => Act::Edit { set, edit: Edit::Break },
            51..=57 => Act::Edit { set, edit: Edit::Strategy(strategy(&mut self.rng)) },
            58..=63 => Act::Edit { set, edit: Edit::Retention(self.rng.chance(500), self.rng.chance(500)) },
            64..=67 => Act::Edit { set, edit: Edit::MinReady(small(&mut self.rng, 0, 6)) },
            68..=73 => {
                let cascade = *self.rng.pick(&[Cascade::Orphan, Cascade::Background, Cascade::Foreground]);
                Act::DeleteSet { set, cascade }
            }
            74..=83 => Act::DeletePod { set, ordinal, force: false },
            84..=85 => Act::DeletePod { set, ordinal, force: true },
            86..=89 => Act::Estrange { set, ordinal },
            90..=92 => Act::DeleteClaim { set, ordinal },
            93..=94 => Act::DeleteRevision { set },
            _ => {
                let resource = *self.rng.pick(&["pods", "statefulsets", "persistentvolumeclaims", "events"]);
                Act::Follow { resource, secs: self.rng.between(1, 60) }
            }
        }
    }

    fn part(&mut self) -> String {
        match self.rng.below(8) {
            0..=2 => "controllers".to_owned(),
            3 => "scheduler".to_owned(),
            4 => "server".to_owned(),
            _ => format!("agent-n{}", self.rng.between(1, self.nodes as u64)),
        }
    }

    fn caller(&mut self) -> String {
        match self.rng.below(6) {
            0 => String::new(),
            1 => "client".to_owned(),
            _ => match self.part() {
                part if part == "server" => "controllers".to_owned(),
                part => part,
            },
        }
    }

    fn fault(&mut self) -> Fault {
        let kind = *self.rng.pick(&self.kinds);
        let node = usize::try_from(self.rng.between(1, self.nodes as u64)).unwrap_or(1);
        let millis = if self.rng.chance(700) { self.rng.between(1, 4000) } else { self.rng.between(1, 40_000) };
        match Fault::NAMES[kind] {
            "kill a part" => Fault::Kill { part: self.part(), millis: millis / 2 },
            "kill everything" => Fault::KillAll { millis: millis / 2 },
            "squall" => Fault::Squall {
                part: self.caller(),
                mishap: *self.rng.pick(&Mishap::ALL),
                permille: *self.rng.pick(&[50, 200, 500, 1000]),
                millis,
            },
            "stale watches" => Fault::Stale {
                part: self.caller(),
                resource: self.rng.pick::<&str>(&[
                    "",
                    "pods",
                    "pods",
                    "statefulsets",
                    "persistentvolumeclaims",
                    "controllerrevisions",
                    "persistentvolumes",
                ]),
                millis,
            },
            "compaction" => Fault::Compact,
            "pause" => Fault::Pause { part: self.caller(), millis },
            "node reboot" => Fault::Reboot { node, millis },
            "sandbox lost" => Fault::LoseSandbox { node },
            "clock jump" => {
                let secs = i64::try_from(self.rng.between(1, 90)).unwrap_or(1);
                let secs = if self.rng.chance(500) { -secs } else { secs };
                Fault::ClockJump { part: self.part(), secs }
            }
            "flush fails" => Fault::FlushFails { flushes: small(&mut self.rng, 0, 20) },
            "power cut" => Fault::PowerCut { operations: small(&mut self.rng, 0, 40), millis: millis / 2 },
            _ => Fault::DiskFull { wholly: self.rng.chance(500), millis },
        }
    }
}

fn small(rng: &mut Rng, low: u32, high: u32) -> u32 {
    u32::try_from(rng.between(u64::from(low), u64::from(high))).unwrap_or(low)
}

fn strategy(rng: &mut Rng) -> Strategy {
    if rng.chance(150) {
        return Strategy::OnDelete;
    }
    let partition = if rng.chance(250) { small(rng, 1, 4) } else { 0 };
    let unavailable_max = if rng.chance(300) { small(rng, 1, 3) } else { 0 };
    Strategy::Rolling { partition, unavailable_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_script_and_steps_can_be_left_out() {
        let script = Scenario::of(7);
        assert_eq!(script.steps, Scenario::of(7).steps);
        let shorter = script.without(&[1]);
        assert_eq!(shorter.steps.len() + 1, script.steps.len());
        assert!(shorter.steps.iter().all(|step| step.number != 1));
    }
}
