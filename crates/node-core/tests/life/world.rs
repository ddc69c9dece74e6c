//! A text language for the life of a pod: one line is one event, then everything the machine wants is printed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::Timestamp;
use node_core::{
    Action, Confirmation, Event, EventType, Exit, ExitCause, Found, FoundContainer, Hook, ImageFact, ImageFailure,
    PodMachine, ProbeKind, ProbeOutcome, Pulled, Settings, StartFailure, StopCause,
};
use serde_json::{Value, json};

pub const EPOCH: &str = "2026-11-21T07:00:00Z";

pub struct World {
    pub machine: PodMachine,
    pub now: Timestamp,
    start: Timestamp,
    ids: BTreeMap<String, String>,
}

/// A pod named `p-0` with the given spec; containers may be short of everything but a name.
pub fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["image"] = json!("img");
        }
    }
    if spec["initContainers"].is_null() {
        spec.as_object_mut().unwrap().remove("initContainers");
    }
    let metadata = json!({"name": "p-0", "namespace": "ns", "uid": "u1"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

impl World {
    pub fn new(pod: Pod) -> Self {
        let start: Timestamp = EPOCH.parse().unwrap();
        let settings = Settings { host_ips: vec!["10.0.0.1".parse().unwrap()], runtime_name: "rs".to_owned() };
        let machine = PodMachine::new(Arc::new(pod), settings, false, start);
        Self { machine, now: start, start, ids: BTreeMap::new() }
    }

    fn id(&self, container: &str) -> String {
        self.ids.get(container).cloned().unwrap_or_else(|| container.to_owned())
    }

    /// Carries out one line; returns what the machine then wants.
    pub fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rest = |from: usize| words.get(from..).unwrap_or_default().join(" ");
        if let Some(event) = self.event(&words, &rest) {
            self.machine.handle(event, self.now);
        }
        self.poll()
    }

    fn event(&mut self, words: &[&str], rest: &dyn Fn(usize) -> String) -> Option<Event> {
        let answer = |from: usize| if words[from] == "ok" { Ok(()) } else { Err(rest(from + 1)) };
        Some(match words {
            [] => return None,
            [at, ..] if at.starts_with('@') => {
                let millis: f64 = at[1..].parse::<f64>().unwrap() * 1000.0;
                self.now = self.start + Duration::from_millis(millis as u64);
                return None;
            }
            ["confirm", "yes"] => Event::Confirmed(Confirmation::Wanted),
            ["confirm", "no"] => Event::Confirmed(Confirmation::NotWanted),
            ["confirm", ..] => Event::Confirmed(Confirmation::Unknown),
            ["volumes", ..] => Event::Volumes(answer(1)),
            ["sandbox", ..] => Event::Sandbox(answer(1).map(|()| vec!["10.1.0.7".parse().unwrap()])),
            ["died"] => Event::SandboxDied,
            ["found", c] => Event::ImageFound { container: (*c).into(), image: Ok(Some(ImageFact { id: "i".into() })) },
            ["missing", c] => Event::ImageFound { container: (*c).into(), image: Ok(None) },
            ["pulled", c, "ok"] => {
                let image = ImageFact { id: "i".into() };
                let pulled = Pulled { image, took: Duration::from_millis(1234), size_bytes: 99 };
                Event::ImagePulled { container: (*c).into(), image: Ok(pulled) }
            }
            ["pulled", c, ..] => Event::ImagePulled { container: (*c).into(), image: Err(ImageFailure::Pull(rest(2))) },
            ["started", c] => Event::Started { id: self.id(c), at: self.now },
            ["failed", c, kind, ..] => {
                let why = rest(3);
                let failure = match *kind {
                    "config" => StartFailure::Config(why),
                    "create" => StartFailure::Create(why),
                    _ => StartFailure::Start(why),
                };
                Event::NotStarted { id: self.id(c), failure }
            }
            ["exit", c, code] => Event::Exited {
                id: self.id(c),
                exit: Exit {
                    code: code.parse().unwrap(),
                    signal: None,
                    cause: ExitCause::Program,
                    message: String::new(),
                    started_at: None,
                    finished_at: self.now,
                },
            },
            ["hook", c, kind, ..] => {
                let hook = if *kind == "poststart" { Hook::PostStart } else { Hook::PreStop };
                Event::HookDone { id: self.id(c), hook, result: answer(3) }
            }
            ["probe", c, kind, result, ..] => {
                let kind = match *kind {
                    "startup" => ProbeKind::Startup,
                    "liveness" => ProbeKind::Liveness,
                    _ => ProbeKind::Readiness,
                };
                let outcome = if *result == "ok" { ProbeOutcome::Success } else { ProbeOutcome::Failure(rest(3)) };
                Event::Probed { id: self.id(c), kind, outcome }
            }
            ["delete", secs] => {
                let mut pod = (**self.machine.pod()).clone();
                let secs: i64 = secs.parse().unwrap();
                pod.metadata.deletion_timestamp = Some(Time(self.now + Duration::from_secs(secs as u64)));
                pod.metadata.deletion_grace_period_seconds = Some(secs);
                Event::Updated(Arc::new(pod))
            }
            ["set-image", image] => {
                let mut pod = (**self.machine.pod()).clone();
                pod.spec.as_mut().unwrap().containers[0].image = Some((*image).to_owned());
                Event::Updated(Arc::new(pod))
            }
            ["gone"] => Event::Gone,
            ["predecessor-gone"] => Event::PredecessorGone,
            ["sources"] => Event::SourcesChanged,
            ["shutdown", secs] => {
                Event::Stop(StopCause::Shutdown { grace: Duration::from_secs(secs.parse().unwrap()) })
            }
            ["torn", ..] => Event::TornDown(answer(1)),
            ["deleted", ..] => Event::Deleted(answer(1)),
            other => panic!("unknown line {other:?}"),
        })
    }

    pub fn poll(&mut self) -> String {
        let actions = self.machine.poll_actions(self.now);
        let texts: Vec<String> = actions.iter().map(|action| self.text(action)).collect();
        assert_eq!(self.machine.poll_actions(self.now), [], "asking again gives nothing");
        let next = self.machine.next_deadline();
        assert!(next.is_none_or(|at| at > self.now), "a deadline has passed, and nothing is done about it: {next:?}");
        if texts.is_empty() { "-".to_owned() } else { texts.join("; ") }
    }

    fn text(&mut self, action: &Action) -> String {
        match action {
            Action::StartContainer { container, id, attempt } => {
                self.ids.insert(container.clone(), id.clone());
                format!("start {container}#{attempt}")
            }
            Action::Confirm => "confirm?".to_owned(),
            Action::SetUpVolumes => "volumes!".to_owned(),
            Action::SetUpSandbox => "sandbox!".to_owned(),
            Action::FindImage { container } => format!("find {container}"),
            Action::PullImage { container } => format!("pull {container}"),
            Action::RunHook { container, hook, .. } => format!("{hook:?} {container}"),
            Action::Probe { container, kind, .. } => format!("{kind:?}? {container}"),
            Action::Terminate { container, .. } => format!("TERM {container}"),
            Action::Kill { container, .. } => format!("KILL {container}"),
            Action::RemoveContainer { container, attempt, .. } => format!("remove {container}#{attempt}"),
            Action::TearDown { volumes, logs } => {
                format!("tear-down{}{}", if *volumes { " volumes" } else { "" }, if *logs { " logs" } else { "" })
            }
            Action::DeleteObject => "delete-object".to_owned(),
            Action::Record(record) => {
                let mark = if record.event_type == EventType::Warning { "!" } else { "" };
                format!("{mark}{}[{}]", record.reason, record.message)
            }
        }
    }

    pub fn status(&mut self) -> String {
        let status = self.machine.status(self.now);
        let condition = |name: &str| {
            let all = status.conditions.iter().flatten();
            all.into_iter().any(|one| one.type_ == name && one.status == "True")
        };
        let mut text = status.phase.clone().unwrap_or_default();
        if let Some(reason) = &status.reason {
            text.push_str(&format!("({reason})"));
        }
        if condition("Ready") {
            text.push_str(" Ready");
        }
        let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        for one in all {
            let describe = |state: Option<&k8s_openapi::api::core::v1::ContainerState>| {
                let state = state?;
                if let Some(waiting) = &state.waiting {
                    let message = waiting.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
                    return Some(format!("{}{message}", waiting.reason.as_deref().unwrap_or_default()));
                }
                if let Some(ended) = &state.terminated {
                    return Some(format!("{}({})", ended.reason.as_deref().unwrap_or_default(), ended.exit_code));
                }
                state.running.as_ref().map(|_| "running".to_owned())
            };
            text.push_str(&format!(" | {} {}", one.name, describe(one.state.as_ref()).unwrap_or_default()));
            if let Some(last) = describe(one.last_state.as_ref()) {
                text.push_str(&format!(", last {last}"));
            }
            if one.restart_count > 0 {
                text.push_str(&format!(", restarts {}", one.restart_count));
            }
            if one.ready {
                text.push_str(", ready");
            }
        }
        text
    }

    pub fn run(&mut self, script: &str) -> String {
        let mut out = String::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let answer = if line == "status" { self.status() } else { self.step(line) };
            out.push_str(&format!("{line} -> {answer}\n"));
        }
        out
    }
}

/// What an agent finds of containers: `name#attempt alive` or `name#attempt code`.
pub fn found(sandbox: bool, containers: &[(&str, u32, Option<i32>)], now: Timestamp) -> Found {
    Found {
        sandbox: sandbox.then(|| vec!["10.1.0.7".parse().unwrap()]),
        containers: containers
            .iter()
            .map(|(name, attempt, code)| FoundContainer {
                id: format!("id-{name}-{attempt}"),
                name: (*name).to_owned(),
                attempt: *attempt,
                state: match code {
                    None => Ok(now),
                    Some(code) => Err(Exit {
                        code: *code,
                        signal: None,
                        cause: ExitCause::Program,
                        message: String::new(),
                        started_at: Some(now),
                        finished_at: now,
                    }),
                },
            })
            .collect(),
    }
}
