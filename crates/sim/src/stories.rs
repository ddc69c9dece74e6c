//! Scripts that are written by hand: what chance would hardly ever draw, played and judged like a seed.

use std::time::Duration;

use crate::scenario::{Act, Cascade, Edit, Fault, Scenario, SetSpec, Step, Strategy, Temper};
use crate::weather::Mishap;

/// A script by name.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// What happens in it.
    pub what: &'static str,
    acts: fn() -> Vec<(u64, Act)>,
}

/// All of them.
pub const ALL: [Story; 25] = [
    Story {
        name: "foreground",
        what: "a Parallel set whose pods take long to stop is deleted in the foreground",
        acts: foreground,
    },
    Story {
        name: "stranger",
        what: "a pod that belongs to something else stands in a slot's place while its set rolls and shrinks",
        acts: stranger,
    },
    Story {
        name: "own-writes",
        what: "the controllers' cache of pods stands still while their set grows and is edited",
        acts: own_writes,
    },
    Story {
        name: "unheard",
        what: "a deletion is not answered and not seen, and what is to be deleted changes meanwhile",
        acts: unheard,
    },
    Story {
        name: "repeated",
        what: "a deletion comes twice and only the refusal is heard, and what is to be deleted changes meanwhile",
        acts: repeated,
    },
    Story {
        name: "same-name",
        what: "a set is deleted and one of its name is made while the controllers are away",
        acts: same_name,
    },
    Story { name: "claim-in-use", what: "a claim is deleted while its pod runs", acts: claim_in_use },
    Story {
        name: "successor",
        what: "a pod is deleted by force again and again, and its successor comes to the same node",
        acts: successor,
    },
    Story {
        name: "retained",
        what: "a volume that is to be retained loses its set, its claim and its object",
        acts: retained,
    },
    Story {
        name: "forced-volume",
        what: "a pod that was deleted by force still runs while its claim and its volume go",
        acts: forced_volume,
    },
    Story {
        name: "leaves-selection",
        what: "a pod loses its labels while somebody watches those with them",
        acts: leaves_selection,
    },
    Story { name: "gap", what: "a pod goes while the controllers stand still and history is forgotten", acts: gap },
    Story {
        name: "as-seen",
        what: "a client deletes the incarnation that it saw, which has a successor by now",
        acts: as_seen,
    },
    Story { name: "drain", what: "pods under a budget are evicted side by side", acts: drain },
    Story {
        name: "bad-revision",
        what: "a broken template, one that works again, and the annotations that heal and roll back",
        acts: bad_revision,
    },
    Story { name: "race", what: "many clients edit one set at once while its controller writes", acts: race },
    Story {
        name: "scaled-away",
        what: "a set whose claims stay with it and go only with itself is scaled down and up",
        acts: scaled_away,
    },
    Story {
        name: "regret",
        what: "an ordered set whose claims go with its slots is scaled down and up again while nobody looks",
        acts: regret,
    },
    Story {
        name: "rollback-refused",
        what: "a set that rolls back by itself while its controller's requests are refused now and then",
        acts: rollback_refused,
    },
    Story {
        name: "foreground-scaled",
        what: "a set whose claims go with its slots is deleted in the foreground while it shrinks",
        acts: foreground_scaled,
    },
    Story {
        name: "status-refused",
        what: "a set without history is rolled while its controller's requests are refused now and then",
        acts: status_refused,
    },
    Story { name: "crowd", what: "a template whose pods their node turns away, and one that it takes", acts: crowd },
    Story {
        name: "ahead",
        what: "pods become ready by a clock that is ten years ahead, and have to stay ready for a while",
        acts: ahead,
    },
    Story {
        name: "set-back",
        what: "a node's clock is set back while it cannot say that a pod's sandbox has died",
        acts: set_back,
    },
    Story { name: "wholly-full", what: "the store's disk is full while sets come and go", acts: wholly_full },
];

impl Story {
    /// The story of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|story| story.name == name)
    }

    /// Its script.
    pub fn scenario(&self) -> Scenario {
        let acts = (self.acts)().into_iter().enumerate();
        let steps = acts.map(|(number, (secs, act))| Step { number, at: Duration::from_secs(secs), act }).collect();
        let temper =
            Temper { crash_permille: 0, flap_permille: 0, start_millis_max: 300, stop_millis_max: 3000, probes_max: 1 };
        Scenario {
            seed: 0,
            story: Some(self.name),
            nodes: 1,
            temper,
            is_on_disk: false,
            drift_ppm: 0,
            mutant: None,
            steps,
        }
    }
}

/// A plain set.
fn set(replicas: u32) -> SetSpec {
    SetSpec {
        set: 0,
        replicas,
        parallel: false,
        start: 0,
        strategy: Strategy::Rolling { partition: 0, unavailable_max: 0 },
        min_ready_secs: 0,
        claims: None,
        grace_secs: 5,
        stubborn: false,
        history_max: 10,
        heals: false,
    }
}

fn edit(edit: Edit) -> Act {
    Act::Edit { set: 0, edit }
}

fn agent() -> String {
    "agent-n1".to_owned()
}

fn controllers() -> String {
    "controllers".to_owned()
}

fn foreground() -> Vec<(u64, Act)> {
    let stubborn = SetSpec { parallel: true, stubborn: true, ..set(3) };
    vec![
        (0, Act::Create(stubborn)),
        (20, Act::DeletePod { set: 0, ordinal: 1, force: false }),
        (22, Act::DeleteSet { set: 0, cascade: Cascade::Foreground }),
    ]
}

fn stranger() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Intrude { set: 0, ordinal: 1, is_selected: true }),
        (5, Act::Create(SetSpec { parallel: true, ..set(3) })),
        (25, edit(Edit::Roll(2))),
        (40, edit(Edit::Scale(1))),
    ]
}

fn own_writes() -> Vec<(u64, Act)> {
    let stale = Fault::Stale { part: controllers(), resource: "pods", millis: 12_000 };
    vec![
        (0, Act::Create(SetSpec { parallel: true, ..set(2) })),
        (10, Act::Fault(stale)),
        (11, edit(Edit::Scale(4))),
        (13, edit(Edit::MinReady(1))),
        (15, edit(Edit::MinReady(2))),
    ]
}

fn unheard() -> Vec<(u64, Act)> {
    misheard(Mishap::AnswerLost)
}

fn repeated() -> Vec<(u64, Act)> {
    misheard(Mishap::Repeated)
}

fn misheard(mishap: Mishap) -> Vec<(u64, Act)> {
    let rolling = |partition| Strategy::Rolling { partition, unavailable_max: 0 };
    let misheard = Fault::Squall { part: controllers(), mishap, permille: 1000, millis: 2000 };
    vec![
        // The last pod has the second template, the others the first.
        (0, Act::Create(SetSpec { strategy: rolling(2), grace_secs: 20, stubborn: true, ..set(3) })),
        (10, edit(Edit::Roll(2))),
        // A third, that nobody gets yet.
        (45, edit(Edit::Strategy(rolling(3)))),
        (46, edit(Edit::Roll(3))),
        (50, Act::Fault(Fault::Stale { part: controllers(), resource: "pods", millis: 30_000 })),
        // The last pod is deleted for it and takes its time, and its controller does not hear that.
        (51, Act::Fault(misheard)),
        (52, edit(Edit::Strategy(rolling(2)))),
        // The second template is wanted, everywhere: the last pod would be the one that has it.
        (55, edit(Edit::Roll(2))),
        (56, edit(Edit::Strategy(rolling(0)))),
        // Faults end with the last step.
        (82, Act::Follow { resource: "pods", secs: 1 }),
    ]
}

fn same_name() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(set(2))),
        (20, Act::Fault(Fault::Kill { part: controllers(), millis: 10_000 })),
        (22, Act::Recreate { spec: set(2), cascade: Cascade::Background }),
    ]
}

fn claim_in_use() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { claims: Some((false, false)), ..set(2) })),
        (20, Act::DeleteClaim { set: 0, ordinal: 1 }),
        (30, edit(Edit::Scale(1))),
    ]
}

fn successor() -> Vec<(u64, Act)> {
    let mut acts = vec![(0, Act::Create(SetSpec { stubborn: true, ..set(2) }))];
    for number in 0..8 {
        let stale = Fault::Stale { part: agent(), resource: "pods", millis: 900 };
        let force = Act::DeletePod { set: 0, ordinal: 1, force: true };
        acts.extend([(20 + number * 8, Act::Fault(stale)), (20 + number * 8, force)]);
    }
    acts
}

fn retained() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { claims: Some((true, true)), ..set(2) })),
        (20, Act::KeepVolume { set: 0, ordinal: 1 }),
        (22, Act::DeleteVolume { set: 0, ordinal: 1 }),
        (25, Act::DeleteSet { set: 0, cascade: Cascade::Background }),
    ]
}

fn forced_volume() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { parallel: true, claims: Some((true, true)), stubborn: true, ..set(2) })),
        (20, Act::DeletePod { set: 0, ordinal: 1, force: true }),
        (21, Act::DeleteSet { set: 0, cascade: Cascade::Foreground }),
    ]
}

fn leaves_selection() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(set(3))),
        (15, Act::Follow { resource: "pods", secs: 60 }),
        (20, Act::Estrange { set: 0, ordinal: 1 }),
        (30, Act::DeletePod { set: 0, ordinal: 2, force: false }),
    ]
}

fn gap() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { parallel: true, ..set(3) })),
        (15, Act::Fault(Fault::Pause { part: controllers(), millis: 20_000 })),
        (16, Act::Fault(Fault::Kill { part: "server".to_owned(), millis: 500 })),
        (20, Act::DeletePod { set: 0, ordinal: 1, force: true }),
        (26, Act::Fault(Fault::Compact)),
        (27, edit(Edit::MinReady(1))),
        (28, Act::Fault(Fault::Compact)),
    ]
}

fn as_seen() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(set(2))),
        (15, Act::DeleteAsSeen { set: 0, ordinal: 1, secs: 15 }),
        (16, Act::DeletePod { set: 0, ordinal: 1, force: false }),
    ]
}

fn drain() -> Vec<(u64, Act)> {
    let mut acts =
        vec![(0, Act::Create(SetSpec { parallel: true, ..set(4) })), (3, Act::Budget { set: 0, unavailable_max: 1 })];
    acts.extend((0..4).map(|ordinal| (20, Act::Evict { set: 0, ordinal })));
    acts.push((40, Act::Budget { set: 0, unavailable_max: 0 }));
    acts.extend((0..4).map(|ordinal| (45, Act::Evict { set: 0, ordinal })));
    acts
}

fn bad_revision() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { heals: true, ..set(3) })),
        (15, edit(Edit::Break)),
        (25, edit(Edit::Roll(2))),
        (40, edit(Edit::Break)),
        (150, edit(Edit::Roll(3))),
    ]
}

fn scaled_away() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { claims: Some((true, false)), ..set(3) })),
        (20, edit(Edit::Scale(1))),
        (40, edit(Edit::Scale(2))),
    ]
}

fn race() -> Vec<(u64, Act)> {
    let edits = (1..=24).map(|number| (20, edit(Edit::MinReady(number % 5))));
    let first = [(0, Act::Create(SetSpec { parallel: true, ..set(4) }))];
    first.into_iter().chain(edits).collect()
}

fn regret() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { claims: Some((false, true)), stubborn: true, ..set(3) })),
        (20, edit(Edit::Scale(2))),
        (21, Act::Fault(Fault::Pause { part: controllers(), millis: 12_000 })),
        (29, edit(Edit::Scale(3))),
        (40, Act::Follow { resource: "pods", secs: 1 }),
    ]
}

fn rollback_refused() -> Vec<(u64, Act)> {
    let refused = |permille| Fault::Squall { part: controllers(), mishap: Mishap::Refused, permille, millis: 20_000 };
    vec![(0, Act::Create(SetSpec { heals: true, ..set(3) })), (15, edit(Edit::Break)), (40, Act::Fault(refused(600)))]
}

fn foreground_scaled() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(SetSpec { claims: Some((false, true)), stubborn: true, ..set(3) })),
        (20, edit(Edit::Scale(1))),
        (22, Act::DeleteSet { set: 0, cascade: Cascade::Foreground }),
    ]
}

fn status_refused() -> Vec<(u64, Act)> {
    let refused = Fault::Squall { part: controllers(), mishap: Mishap::Refused, permille: 500, millis: 60_000 };
    let first = [
        (0, Act::Create(SetSpec { strategy: Strategy::OnDelete, history_max: 0, ..set(2) })),
        (10, Act::Fault(refused)),
    ];
    let rolls = (2..10).map(|number| (5 + u64::from(number) * 5, edit(Edit::Roll(number))));
    first.into_iter().chain(rolls).collect()
}

fn crowd() -> Vec<(u64, Act)> {
    vec![(0, Act::Create(SetSpec { parallel: true, ..set(3) })), (15, edit(Edit::Crowd)), (50, edit(Edit::Roll(2)))]
}

fn ahead() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Fault(Fault::ClockJump { part: agent(), secs: 10 * 365 * 86_400 })),
        (1, Act::Create(SetSpec { min_ready_secs: 4, ..set(2) })),
        (10, Act::Follow { resource: "pods", secs: 20 }),
    ]
}

fn set_back() -> Vec<(u64, Act)> {
    let refused = Fault::Squall { part: agent(), mishap: Mishap::Refused, permille: 1000, millis: 30_000 };
    vec![
        (0, Act::Create(set(2))),
        (15, Act::Fault(Fault::ClockJump { part: agent(), secs: 150 })),
        (20, Act::Fault(refused)),
        (21, Act::Fault(Fault::LoseSandbox { node: 1 })),
    ]
}

fn wholly_full() -> Vec<(u64, Act)> {
    vec![
        (0, Act::Create(set(2))),
        (15, Act::Fault(Fault::DiskFull { wholly: true, millis: 15_000 })),
        (18, edit(Edit::Scale(4))),
        (20, Act::DeletePod { set: 0, ordinal: 0, force: false }),
    ]
}
