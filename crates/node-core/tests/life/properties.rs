//! What holds in every life, however events and failures fall.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::Timestamp;
use node_core::{
    Action, Confirmation, Event, Exit, ExitCause, ImageFact, ImageFailure, PodMachine, ProbeOutcome, Pulled, Settings,
    StartFailure, StopCause,
};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{EPOCH, pod};

/// A node that carries actions out in any order, with any delay, and with failures.
struct Node {
    machine: PodMachine,
    now: Timestamp,
    open: Vec<Action>,
    alive: BTreeMap<String, String>,
    ever: BTreeSet<String>,
    confirmed: bool,
    gone: bool,
    deaths: BTreeMap<String, Vec<Timestamp>>,
}

impl Node {
    fn new(policy: &str) -> Self {
        let spec = json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 5,
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "c", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
                "readinessProbe": {"periodSeconds": 1, "exec": {"command": ["x"]}},
                "livenessProbe": {"periodSeconds": 1, "exec": {"command": ["x"]}}}, {"name": "d"}]});
        let now: Timestamp = EPOCH.parse().unwrap();
        let settings = Settings { host_ips: Vec::new(), runtime_name: "rs".to_owned() };
        let machine = PodMachine::new(Arc::new(pod(spec)), settings, false, now);
        Self {
            machine,
            now,
            open: Vec::new(),
            alive: BTreeMap::new(),
            ever: BTreeSet::new(),
            confirmed: false,
            gone: false,
            deaths: BTreeMap::new(),
        }
    }

    fn poll(&mut self) {
        for action in self.machine.poll_actions(self.now) {
            match &action {
                Action::StartContainer { container, id, .. } => {
                    assert!(self.confirmed, "started without a confirmation");
                    assert!(!self.alive.values().any(|name| name == container), "two live instances of {container}");
                    assert!(self.ever.insert(id.clone()) || !self.alive.contains_key(id), "an id that lives is reused");
                    let deaths = self.deaths.entry(container.clone()).or_default();
                    if let [.., before, last] = deaths.as_slice()
                        && self.now < *last + Duration::from_secs(9)
                        && *last < *before + Duration::from_secs(300)
                    {
                        panic!("{container} restarted {:?} after its second death", self.now.duration_since(*last));
                    }
                }
                Action::TearDown { .. } | Action::DeleteObject => {
                    assert!(self.alive.is_empty(), "removed while {:?} live", self.alive);
                }
                _ => {}
            }
            if !matches!(action, Action::Record(_) | Action::RemoveContainer { .. }) {
                self.open.push(action);
            }
        }
        let _text = self.machine.status(self.now);
        let next = self.machine.next_deadline();
        assert!(next.is_none_or(|at| at > self.now), "a deadline has passed, and nothing is done about it: {next:?}");
    }

    fn die(&mut self, id: &str, code: i32) {
        let Some(name) = self.alive.remove(id) else { return };
        // An init container that did its work runs again, at once, only in a new sandbox.
        if name != "i" || code != 0 {
            self.deaths.entry(name).or_default().push(self.now);
        }
        let exit = Exit {
            code,
            signal: None,
            cause: ExitCause::Program,
            message: String::new(),
            started_at: Some(self.now),
            finished_at: self.now,
        };
        self.machine.handle(Event::Exited { id: id.to_owned(), exit }, self.now);
    }

    /// Answers one open action, well or badly.
    fn answer(&mut self, index: usize, well: bool) {
        if self.open.is_empty() {
            return;
        }
        let action = self.open.remove(index % self.open.len());
        let text = || "no".to_owned();
        let result = || if well { Ok(()) } else { Err(text()) };
        let event = match action {
            Action::Confirm => {
                self.confirmed |= well;
                Event::Confirmed(if well { Confirmation::Wanted } else { Confirmation::Unknown })
            }
            Action::SetUpVolumes => Event::Volumes(result()),
            Action::SetUpSandbox => Event::Sandbox(result().map(|()| Vec::new())),
            Action::FindImage { container } => {
                Event::ImageFound { container, image: Ok(well.then(ImageFact::default)) }
            }
            Action::PullImage { container } => {
                let pulled = Pulled { image: ImageFact::default(), took: Duration::ZERO, size_bytes: 0 };
                let image = if well { Ok(pulled) } else { Err(ImageFailure::Pull(text())) };
                Event::ImagePulled { container, image }
            }
            Action::StartContainer { container, id, .. } if well => {
                self.alive.insert(id.clone(), container);
                Event::Started { id, at: self.now }
            }
            Action::StartContainer { id, .. } => Event::NotStarted { id, failure: StartFailure::Create(text()) },
            Action::RunHook { id, hook, .. } => Event::HookDone { id, hook, result: result() },
            Action::Probe { id, kind, .. } => {
                let outcome = if well { ProbeOutcome::Success } else { ProbeOutcome::Failure(text()) };
                Event::Probed { id, kind, outcome }
            }
            Action::Terminate { id, .. } => {
                if well {
                    self.die(&id, 143);
                }
                return;
            }
            Action::Kill { id, .. } => {
                self.die(&id, 137);
                return;
            }
            Action::TearDown { .. } => Event::TornDown(result()),
            Action::DeleteObject => {
                self.gone |= well;
                Event::Deleted(result())
            }
            Action::RemoveContainer { .. } | Action::Record(_) => return,
        };
        self.machine.handle(event, self.now);
    }

    fn delete(&mut self, secs: u8) {
        let mut pod = (**self.machine.pod()).clone();
        pod.metadata.deletion_timestamp = Some(Time(self.now + Duration::from_secs(u64::from(secs))));
        pod.metadata.deletion_grace_period_seconds = Some(i64::from(secs));
        self.machine.handle(Event::Updated(Arc::new(pod)), self.now);
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Answer(usize, bool),
    Exit(usize, i32),
    Pass(u64),
    SandboxDied,
    Delete(u8),
    Gone,
    Shutdown,
    Sources,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..8_usize, prop::bool::weighted(0.85)).prop_map(|(index, well)| Step::Answer(index, well)),
        2 => (0..3_usize, 0..2_i32).prop_map(|(index, code)| Step::Exit(index, code)),
        4 => (1..12_000_u64).prop_map(Step::Pass),
        1 => Just(Step::SandboxDied),
        1 => (0..40_u8).prop_map(Step::Delete),
        1 => prop::bool::weighted(0.2).prop_map(|gone| if gone { Step::Gone } else { Step::Sources }),
        1 => prop::bool::weighted(0.1).prop_map(|down| if down { Step::Shutdown } else { Step::Sources }),
    ]
}

fn take(node: &mut Node, step: &Step) {
    match step {
        Step::Answer(index, well) => node.answer(*index, *well),
        Step::Exit(index, code) => {
            if let Some(id) = node.alive.keys().nth(*index).cloned() {
                node.die(&id, *code);
            }
        }
        Step::Pass(millis) => node.pass(*millis),
        Step::SandboxDied => {
            node.alive.clear();
            node.confirmed = false;
            // Answers to what was asked of the dead sandbox say that it is dead.
            let open = std::mem::take(&mut node.open);
            for action in open {
                match action {
                    Action::StartContainer { id, .. } => {
                        let failure = StartFailure::Create("the sandbox is dead".to_owned());
                        node.machine.handle(Event::NotStarted { id, failure }, node.now);
                    }
                    Action::RunHook { id, hook, .. } => {
                        let result = Err("the sandbox is dead".to_owned());
                        node.machine.handle(Event::HookDone { id, hook, result }, node.now);
                    }
                    Action::Probe { .. } | Action::Terminate { .. } | Action::Kill { .. } => {}
                    Action::Confirm => {
                        node.machine.handle(Event::Confirmed(Confirmation::Unknown), node.now);
                    }
                    other => node.open.push(other),
                }
            }
            node.machine.handle(Event::SandboxDied, node.now);
        }
        Step::Delete(secs) => node.delete(*secs),
        Step::Gone => node.machine.handle(Event::Gone, node.now),
        Step::Shutdown => {
            let grace = Duration::from_secs(5);
            node.machine.handle(Event::Stop(StopCause::Shutdown { grace }), node.now);
        }
        Step::Sources => node.machine.handle(Event::SourcesChanged, node.now),
    }
    node.poll();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn never_two_live_instances_of_a_name_and_every_deletion_ends(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        steps in prop::collection::vec(step(), 0..120),
    ) {
        // N-41.
        let mut node = Node::new(policy);
        node.poll();
        for step in &steps {
            take(&mut node, step);
        }
        // From here on everything works, and the pod is deleted: it must end, and soon.
        node.delete(3);
        let began = node.now;
        node.poll();
        for _ in 0..200 {
            if node.machine.is_done() {
                break;
            }
            while !node.open.is_empty() {
                node.answer(0, true);
                node.poll();
            }
            if let Some(next) = node.machine.next_deadline() {
                node.now = node.now.max(next);
                node.poll();
            }
        }
        prop_assert!(node.machine.is_done(), "the pod does not end: {:?}", node.machine);
        prop_assert!(node.alive.is_empty());
        let took = node.now.duration_since(began).as_secs();
        prop_assert!(took <= 300, "the end took {took} s");
    }
}
