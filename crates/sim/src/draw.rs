//! Draws a script from a seed: topology, acts of clients, faults.

use std::time::Duration;

use crate::rng::Rng;
use crate::scenario::{Act, Cascade, Edit, Fault, Scenario, SetSpec, Step, Strategy, Temper, Trouble};
use crate::weather::Mishap;

/// Longest time in which things happen, in a script without long faults.
const SECS_MAX: u64 = 120;
/// The same in a run with long faults, and the longest of these: ten minutes (reliability.md 2.0).
const LONG_SPAN_MILLIS: u64 = 900_000;
const LONG_FAULT_MILLIS: u64 = 600_000;
/// A clock jumps by ten years at most.
const JUMP_SECS_MAX: u64 = 10 * 365 * 86_400;
/// A clock drifts by so many millionths at most.
const DRIFT_PPM_MAX: u32 = 500;
/// Kinds of faults, the first ones of [`Fault::NAMES`], that every script may have.
const PLAIN_FAULTS: usize = 12;

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
        let is_on_disk = drawn.kinds.iter().any(|kind| Fault::NAMES[*kind] == "power cut") || seed.is_multiple_of(8);
        let drift_ppm = drawn.more(seed, span, &mut steps);
        steps.sort_by_key(|(at, _)| *at);
        let numbered = steps.into_iter().enumerate();
        let steps = numbered.map(|(number, (at, act))| Step { number, at: Duration::from_millis(at), act }).collect();
        Self { seed, story: None, nodes, temper, is_on_disk, drift_ppm, mutant: None, steps }
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
        self.kinds = (0..PLAIN_FAULTS).filter(|_| self.rng.chance(share)).collect();
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
            68..=70 => Act::DeleteSet { set, cascade: self.cascade() },
            71..=73 => {
                let spec = self.set_named(set);
                Act::Recreate { spec, cascade: self.cascade() }
            }
            74..=78 => Act::DeletePod { set, ordinal, force: false },
            79..=80 => Act::DeletePod { set, ordinal, force: true },
            81..=82 => Act::DeleteAsSeen { set, ordinal, secs: self.rng.between(1, 15) },
            83..=84 => Act::Estrange { set, ordinal },
            85 => Act::Unname { set, ordinal },
            86 => Act::Intrude { set, ordinal, is_selected: ordinal % 2 == 1 },
            87..=88 => Act::DeleteClaim { set, ordinal },
            89 => Act::KeepVolume { set, ordinal },
            90 => Act::DeleteVolume { set, ordinal },
            91 => Act::DeleteRevision { set },
            92..=93 => Act::Budget { set, unavailable_max: small(&mut self.rng, 0, 2) },
            94..=96 => Act::Evict { set, ordinal },
            _ => {
                let resource = *self.rng.pick(&["pods", "statefulsets", "persistentvolumeclaims", "events"]);
                Act::Follow { resource, secs: self.rng.between(1, 60) }
            }
        }
    }

    /// What comes to some scripts on top, drawn apart so that the rest of a seed's script stays as it was: harder faults,
    /// rarer edits. Tells how much clocks drift.
    fn more(&mut self, seed: u64, span: u64, steps: &mut Vec<(u64, Act)>) -> u32 {
        self.rng = Rng::of(seed, "more");
        if self.rng.chance(400) {
            return 0;
        }
        if self.rng.chance(500) {
            for _ in 0..self.rng.between(1, 6) {
                let at = self.rng.below(span);
                steps.push((at, self.rare_edit()));
            }
        }
        // Without faults the judges know more: the seeds that have none keep none.
        if self.kinds.is_empty() {
            return 0;
        }
        for _ in 0..self.some(250) {
            let at = self.rng.below(span);
            let trouble = Fault::Trouble {
                node: self.node(),
                trouble: *self.rng.pick(&Trouble::ALL),
                permille: *self.rng.pick(&[100, 300, 1000]),
                millis: self.rng.between(500, 30_000),
            };
            steps.push((at, Act::Fault(trouble)));
        }
        for _ in 0..self.some(150) {
            let at = self.rng.below(span);
            steps.push((at, Act::Fault(Fault::DiskStall { millis: self.rng.between(1_000, 60_000) })));
        }
        for _ in 0..self.some(150) {
            let at = self.rng.below(span);
            let secs = i64::try_from(self.rng.between(90, JUMP_SECS_MAX)).unwrap_or(90);
            let secs = if self.rng.chance(500) { -secs } else { secs };
            steps.push((at, Act::Fault(Fault::ClockJump { part: self.part(), secs })));
        }
        for _ in 0..self.some(120) {
            let at = self.rng.below(span);
            steps.push((at, Act::Fault(self.long_fault())));
            for _ in 0..self.rng.between(1, 5) {
                let at = self.rng.below(LONG_SPAN_MILLIS);
                steps.push((at, self.client()));
            }
        }
        if self.rng.chance(200) { DRIFT_PPM_MAX } else { 0 }
    }

    /// None, or up to three, in `permille` of a thousand scripts.
    fn some(&mut self, permille: u64) -> u64 {
        if self.rng.chance(permille) { self.rng.between(1, 3) } else { 0 }
    }

    fn rare_edit(&mut self) -> Act {
        let set = usize::try_from(self.rng.below(self.sets as u64)).unwrap_or(0);
        let ordinal = small(&mut self.rng, 0, 4);
        let edit = match self.rng.below(6) {
            0 => Edit::Start(small(&mut self.rng, 0, 4)),
            1 => Edit::History(small(&mut self.rng, 0, 3)),
            2 => Edit::Heal(self.rng.chance(600)),
            3 => Edit::Apply(small(&mut self.rng, 0, 6)),
            4 => Edit::Strategy(Strategy::RollingShare { percent: small(&mut self.rng, 1, 100) }),
            _ => return Act::Hold { set, ordinal, secs: self.rng.between(1, 40) },
        };
        Act::Edit { set, edit }
    }

    fn long_fault(&mut self) -> Fault {
        let millis = self.rng.between(60_000, LONG_FAULT_MILLIS);
        match self.rng.below(5) {
            0 => Fault::Pause { part: self.caller(), millis },
            1 | 2 => Fault::Stale { part: self.caller(), resource: "", millis },
            3 => Fault::Reboot { node: self.node(), millis },
            _ => Fault::Kill { part: self.part(), millis },
        }
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.rng.between(1, self.nodes as u64)).unwrap_or(1)
    }

    fn cascade(&mut self) -> Cascade {
        *self.rng.pick(&[Cascade::Orphan, Cascade::Background, Cascade::Foreground])
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
        let node = self.node();
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
