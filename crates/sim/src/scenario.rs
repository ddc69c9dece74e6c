//! What happens in a run: topology, edits and faults, drawn from the seed beforehand, so that any of them can be left
//! out of a replay.

use std::fmt;
use std::time::Duration;

use crate::weather::Mishap;

/// A run's script.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed it was drawn from; it also decides all small things.
    pub seed: u64,
    /// The story that it tells, if it was not drawn.
    pub story: Option<&'static str>,
    /// Number of nodes.
    pub nodes: usize,
    /// How containers behave.
    pub temper: Temper,
    /// The store lies on a disk that can tear what was not flushed (redb), instead of in memory.
    pub is_on_disk: bool,
    /// How many millionths each part's clock may run too fast or too slow.
    pub drift_ppm: u32,
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
    /// A client takes away the label that says which pod a pod is.
    Unname {
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
    /// A client deletes a set and creates one of the same name as soon as it can.
    Recreate {
        /// The new one.
        spec: SetSpec,
        /// What becomes of the old one's pods.
        cascade: Cascade,
    },
    /// A client puts a pod of its own in a slot's place.
    Intrude {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
        /// It has the labels that the set selects, and another owner.
        is_selected: bool,
    },
    /// A client looks at a pod and deletes, later, the incarnation that it saw.
    DeleteAsSeen {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
        /// How much later.
        secs: u64,
    },
    /// A client makes a claim's volume one that is retained.
    KeepVolume {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
    },
    /// A client deletes the volumes of a claim's name.
    DeleteVolume {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
    },
    /// A client creates a disruption budget for a set, or changes it.
    Budget {
        /// For which set.
        set: usize,
        /// `spec.maxUnavailable`.
        unavailable_max: u32,
    },
    /// A client puts a finalizer on a pod, and takes it off later.
    Hold {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
        /// How much later.
        secs: u64,
    },
    /// A client evicts a pod.
    Evict {
        /// Of which set.
        set: usize,
        /// Which ordinal.
        ordinal: u32,
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
    /// RollingUpdate with a `maxUnavailable` in percent of the replicas.
    RollingShare {
        /// `maxUnavailable`.
        percent: u32,
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
    /// A template that names its node and asks for more than that has: the node turns its pods away.
    Crowd,
    /// The strategy.
    Strategy(Strategy),
    /// The retention of claims.
    Retention(bool, bool),
    /// `spec.minReadySeconds`.
    MinReady(u32),
    /// `spec.ordinals.start`: the window of ordinals is shifted.
    Start(u32),
    /// `spec.revisionHistoryLimit`.
    History(u32),
    /// The annotations by which a set heals and rolls back, there or not.
    Heal(bool),
    /// `spec.replicas`, by server-side apply.
    Apply(u32),
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
    /// The store's disk flushes nothing for a while.
    DiskStall {
        /// For how long.
        millis: u64,
    },
    /// A node's container runtime, network and volumes answer badly for a while.
    Trouble {
        /// On which node.
        node: usize,
        /// How.
        trouble: Trouble,
        /// How many of a thousand calls.
        permille: u64,
        /// For how long.
        millis: u64,
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

/// How a machine's runtime, network and volumes fail those who ask them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nothing is done, and it says so.
    Refuses,
    /// It is done, and it says that it is not.
    Lies,
    /// It answers when the trouble is over.
    Hangs,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Refuses, Self::Lies, Self::Hangs];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuses => "runtime refuses",
            Self::Lies => "runtime lies",
            Self::Hangs => "runtime hangs",
        }
    }
}

impl Fault {
    /// Names of all kinds, as in tables.
    pub const NAMES: [&'static str; 14] = [
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
        "disk stall",
        "runtime trouble",
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
            Self::DiskStall { .. } => "disk stall",
            Self::Trouble { .. } => "runtime trouble",
        }
    }
}

impl Act {
    /// Names of all acts of clients, as in tables.
    pub const NAMES: [&'static str; 28] = [
        "create set",
        "scale",
        "roll",
        "break template",
        "crowd",
        "edit strategy",
        "edit retention",
        "edit minReadySeconds",
        "delete set",
        "delete pod",
        "delete pod by force",
        "estrange pod",
        "unname pod",
        "delete claim",
        "delete revision",
        "recreate set",
        "intrude",
        "delete pod as seen",
        "keep volume",
        "delete volume",
        "budget",
        "evict",
        "follow",
        "shift ordinals",
        "edit history limit",
        "edit annotations",
        "apply",
        "hold pod",
    ];

    /// Its name in tables; empty for a fault.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create set",
            Self::Edit { edit, .. } => match edit {
                Edit::Scale(_) => "scale",
                Edit::Roll(_) => "roll",
                Edit::Break => "break template",
                Edit::Crowd => "crowd",
                Edit::Strategy(_) => "edit strategy",
                Edit::Retention(..) => "edit retention",
                Edit::MinReady(_) => "edit minReadySeconds",
                Edit::Start(_) => "shift ordinals",
                Edit::History(_) => "edit history limit",
                Edit::Heal(_) => "edit annotations",
                Edit::Apply(_) => "apply",
            },
            Self::DeleteSet { .. } => "delete set",
            Self::DeletePod { force: false, .. } => "delete pod",
            Self::DeletePod { force: true, .. } => "delete pod by force",
            Self::Estrange { .. } => "estrange pod",
            Self::Unname { .. } => "unname pod",
            Self::DeleteClaim { .. } => "delete claim",
            Self::DeleteRevision { .. } => "delete revision",
            Self::Recreate { .. } => "recreate set",
            Self::Intrude { .. } => "intrude",
            Self::DeleteAsSeen { .. } => "delete pod as seen",
            Self::KeepVolume { .. } => "keep volume",
            Self::DeleteVolume { .. } => "delete volume",
            Self::Budget { .. } => "budget",
            Self::Hold { .. } => "hold pod",
            Self::Evict { .. } => "evict",
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

impl Scenario {
    /// Its name, as commands take it.
    pub fn name(&self) -> String {
        self.story.map_or_else(|| format!("seed {}", self.seed), |story| format!("story {story}"))
    }

    /// The same script without some steps.
    pub fn without(&self, left_out: &[usize]) -> Self {
        let mut copy = self.clone();
        copy.steps.retain(|step| !left_out.contains(&step.number));
        copy
    }
}
