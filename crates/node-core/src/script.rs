//! The life of a container on a virtual node, as its pod's annotations tell it.
//!
//! A virtual node starts no process; what a container would do is written on its pod. Every annotation may be given for
//! all containers (`roadstead.dev/fail`) or for one (`roadstead.dev/fail.sidecar`, which wins).
//!
//! | annotation | value | without it |
//! |---|---|---|
//! | `roadstead.dev/start-delay` | time until the program runs | `0s` |
//! | `roadstead.dev/ready-delay` | time from its start in which it is not ready | `0s` |
//! | `roadstead.dev/stop-delay` | time from SIGTERM to its end, or `never` | `0s` |
//! | `roadstead.dev/fail` | `image`, `start`, or `exit CODE [after TIME] [N times]` | runs for ever |
//! | `roadstead.dev/{startup,liveness,readiness}-probe` | `fail`, `fail for TIME`, `fail after TIME` | succeeds |

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::step::ProbeKind;

/// What every annotation of a script begins with.
pub const PREFIX: &str = "roadstead.dev/";

const START_DELAY: &str = "start-delay";
const READY_DELAY: &str = "ready-delay";
const STOP_DELAY: &str = "stop-delay";
const FAIL: &str = "fail";
const STARTUP: &str = "startup-probe";
const LIVENESS: &str = "liveness-probe";
const READINESS: &str = "readiness-probe";
const NAMES: [&str; 7] = [START_DELAY, READY_DELAY, STOP_DELAY, FAIL, STARTUP, LIVENESS, READINESS];

/// Longest time that a script may name.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);
const TIME_WANTED: &str = "must be a time of at most 8760h, for example 50ms, 2s or 1m30s";

/// What becomes of the instances of one container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Life {
    /// Time until the program runs.
    pub start_delay: Duration,
    /// Time from its start in which it is not ready, whatever its probes say.
    pub ready_delay: Duration,
    /// Time from SIGTERM to its end; `None`: only SIGKILL ends it.
    pub stop_delay: Option<Duration>,
    /// What goes wrong, or ends.
    pub fault: Option<Fault>,
    probes: BTreeMap<ProbeKind, Probes>,
}

/// What goes wrong with a container, or how it ends by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its image cannot be pulled.
    Image,
    /// Its program cannot be started.
    Start,
    /// It ends by itself.
    Exit {
        /// Its exit code.
        code: i32,
        /// After so long.
        after: Duration,
        /// So many instances do, and the next one runs for ever; `None`: every one.
        times: Option<u32>,
    },
}

/// What a probe finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Probes {
    Fail,
    FailFor(Duration),
    FailAfter(Duration),
}

/// An annotation that cannot be obeyed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("metadata.annotations[{key}]: Invalid value: {value:?}: {wanted}")]
pub struct BadScript {
    key: String,
    value: String,
    wanted: String,
}

impl Life {
    /// Reads what a pod's annotations say of one of its containers.
    ///
    /// # Errors
    /// [`BadScript`] for the first value that is none, or that is about a container which the pod does not have.
    pub fn of(pod: &Pod, container: &str) -> Result<Self, BadScript> {
        let none = BTreeMap::new();
        let notes = pod.metadata.annotations.as_ref().unwrap_or(&none);
        let spec = pod.spec.iter();
        let containers: Vec<&str> = spec
            .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
            .map(|container| container.name.as_str())
            .collect();
        for (key, value) in notes {
            let Some((name, about)) = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.')) else { continue };
            if NAMES.contains(&name) && !containers.contains(&about) {
                let wanted = format!("the pod has no container {about:?}, only [{}]", containers.join(" "));
                return Err(BadScript { key: key.clone(), value: value.clone(), wanted });
            }
        }
        Self::read(notes, container)
    }

    /// As [`Life::of`], from annotations whose names were checked before.
    ///
    /// # Errors
    /// [`BadScript`] for the first value that is none.
    pub fn read(notes: &BTreeMap<String, String>, container: &str) -> Result<Self, BadScript> {
        let note = |name: &str| {
            let [own, all] = [format!("{PREFIX}{name}.{container}"), format!("{PREFIX}{name}")];
            notes.get_key_value(&own).or_else(|| notes.get_key_value(&all))
        };
        let bad = |(key, value): (&String, &String), wanted: &str| BadScript {
            key: key.clone(),
            value: value.clone(),
            wanted: wanted.to_owned(),
        };
        let delay = |name: &str| match note(name) {
            None => Ok(Duration::ZERO),
            Some(note) => time(note.1).ok_or_else(|| bad(note, TIME_WANTED)),
        };
        let stop_delay = match note(STOP_DELAY) {
            Some((_, never)) if never == "never" => None,
            Some(note) => Some(time(note.1).ok_or_else(|| bad(note, &format!("{TIME_WANTED}, or \"never\"")))?),
            None => Some(Duration::ZERO),
        };
        let fault = match note(FAIL) {
            None => None,
            Some(note) => Some(fault(note.1).ok_or_else(|| {
                let wanted = "must be \"image\", \"start\" or \"exit CODE [after TIME] [N times]\", for example \
                              \"exit 1 after 2s\"";
                bad(note, wanted)
            })?),
        };
        let mut probes = BTreeMap::new();
        let kinds = [(STARTUP, ProbeKind::Startup), (LIVENESS, ProbeKind::Liveness), (READINESS, ProbeKind::Readiness)];
        for (name, kind) in kinds {
            if let Some(note) = note(name) {
                let wanted = "must be \"fail\", \"fail for TIME\" or \"fail after TIME\", for example \"fail for 10s\"";
                probes.insert(kind, probe(note.1).ok_or_else(|| bad(note, wanted))?);
            }
        }
        Ok(Self { start_delay: delay(START_DELAY)?, ready_delay: delay(READY_DELAY)?, stop_delay, fault, probes })
    }

    /// When and how this instance ends by itself; `attempt` counts the instances before it.
    pub fn end(&self, attempt: u32) -> Option<(Duration, i32)> {
        match &self.fault {
            Some(Fault::Exit { code, after, times }) if times.is_none_or(|times| attempt < times) => {
                Some((*after, *code))
            }
            Some(Fault::Exit { .. } | Fault::Image | Fault::Start) | None => None,
        }
    }

    /// Whether a probe succeeds so long after the start.
    pub fn probe_succeeds(&self, kind: ProbeKind, age: Duration) -> bool {
        match self.probes.get(&kind) {
            None => true,
            Some(Probes::Fail) => false,
            Some(Probes::FailFor(time)) => age >= *time,
            Some(Probes::FailAfter(time)) => age < *time,
        }
    }
}

/// The annotations of a pod that may be part of its script.
pub fn notes(pod: &Pod) -> BTreeMap<String, String> {
    let all = pod.metadata.annotations.iter().flatten();
    let is_ours = |key: &str| {
        let name = key.strip_prefix(PREFIX).map(|rest| rest.split_once('.').map_or(rest, |(name, _)| name));
        name.is_some_and(|name| NAMES.contains(&name))
    };
    all.filter(|(key, _)| is_ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn fault(text: &str) -> Option<Fault> {
    match text {
        "image" => return Some(Fault::Image),
        "start" => return Some(Fault::Start),
        _ => {}
    }
    let mut words = text.split_ascii_whitespace();
    if words.next() != Some("exit") {
        return None;
    }
    let code = words.next()?.parse::<u8>().ok()?;
    let (mut after, mut times) = (Duration::ZERO, None);
    let mut next = words.next();
    if next == Some("after") {
        after = time(words.next()?)?;
        next = words.next();
    }
    if let Some(count) = next {
        times = Some(count.parse::<u32>().ok()?);
        if !matches!(words.next(), Some("times" | "time")) {
            return None;
        }
    }
    words.next().is_none().then_some(Fault::Exit { code: i32::from(code), after, times })
}

fn probe(text: &str) -> Option<Probes> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["fail"] => Some(Probes::Fail),
        ["fail", "for", span] => time(span).map(Probes::FailFor),
        ["fail", "after", span] => time(span).map(Probes::FailAfter),
        _ => None,
    }
}

/// Reads `50ms`, `1.5s`, `1m30s`; `0` needs no unit.
fn time(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let secs = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * secs).ok()?)?;
        rest = tail;
    }
    (!text.is_empty() && total <= TIME_MAX).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(notes: &[(&str, &str)]) -> Pod {
        let mut pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"}, "spec": {"containers": [{"name": "main"}, {"name": "log"}]},
        }))
        .unwrap();
        pod.metadata.annotations =
            Some(notes.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect());
        pod
    }

    fn life(notes: &[(&str, &str)]) -> Life {
        Life::of(&pod(notes), "main").unwrap()
    }

    #[test]
    fn without_annotations_a_container_starts_at_once_and_runs_for_ever() {
        let life = life(&[]);
        assert_eq!(
            (life.start_delay, life.ready_delay, life.stop_delay),
            (Duration::ZERO, Duration::ZERO, Some(Duration::ZERO))
        );
        assert_eq!((life.fault.clone(), life.end(0)), (None, None));
        assert!(life.probe_succeeds(ProbeKind::Readiness, Duration::ZERO));
    }

    #[test]
    fn times_read_as_people_write_them() {
        let cases = [("0", 0), ("50ms", 50), ("1.5s", 1500), ("1m30s", 90_000), ("2h", 7_200_000), ("1s500ms", 1500)];
        for (text, millis) in cases {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1s2", "9000h", "1e9s", "..s"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn faults_end_as_many_instances_as_they_say() {
        let end = |text: &str, attempt: u32| life(&[("fail", text)]).end(attempt);
        assert_eq!(end("exit 1 after 2s", 9), Some((Duration::from_secs(2), 1)));
        assert_eq!(end("exit 0", 0), Some((Duration::ZERO, 0)));
        assert_eq!(end("exit 3 after 1s 2 times", 1), Some((Duration::from_secs(1), 3)));
        assert_eq!(end("exit 3 after 1s 2 times", 2), None);
        assert_eq!(life(&[("fail", "image")]).fault, Some(Fault::Image));
        assert_eq!(life(&[("fail", "start")]).fault, Some(Fault::Start));
    }

    #[test]
    fn the_annotation_of_one_container_wins() {
        let notes = [("start-delay", "1s"), ("start-delay.log", "2s")];
        assert_eq!(life(&notes).start_delay, Duration::from_secs(1));
        assert_eq!(Life::of(&pod(&notes), "log").unwrap().start_delay, Duration::from_secs(2));
    }

    #[test]
    fn probes_fail_for_a_time_or_after_one() {
        let at = |text: &str, secs: u64| {
            life(&[("readiness-probe", text)]).probe_succeeds(ProbeKind::Readiness, Duration::from_secs(secs))
        };
        assert_eq!([at("fail", 0), at("fail", 99)], [false, false]);
        assert_eq!([at("fail for 10s", 9), at("fail for 10s", 10)], [false, true]);
        assert_eq!([at("fail after 10s", 9), at("fail after 10s", 10)], [true, false]);
    }

    #[test]
    fn a_bad_value_is_named_with_its_field_and_the_way_out() {
        let check = |note: (&str, &str), wanted: &str| {
            assert_eq!(Life::of(&pod(&[note]), "main").unwrap_err().to_string(), wanted);
        };
        check(
            ("start-delay", "soon"),
            "metadata.annotations[roadstead.dev/start-delay]: Invalid value: \"soon\": must be a time of at most 8760h, \
             for example 50ms, 2s or 1m30s",
        );
        check(
            ("stop-delay", "x"),
            "metadata.annotations[roadstead.dev/stop-delay]: Invalid value: \"x\": must be a time of at most 8760h, for \
             example 50ms, 2s or 1m30s, or \"never\"",
        );
        check(
            ("fail", "exit 300"),
            "metadata.annotations[roadstead.dev/fail]: Invalid value: \"exit 300\": must be \"image\", \"start\" or \
             \"exit CODE [after TIME] [N times]\", for example \"exit 1 after 2s\"",
        );
        check(
            ("readiness-probe", "ok"),
            "metadata.annotations[roadstead.dev/readiness-probe]: Invalid value: \"ok\": must be \"fail\", \
             \"fail for TIME\" or \"fail after TIME\", for example \"fail for 10s\"",
        );
        check(
            ("fail.web", "start"),
            "metadata.annotations[roadstead.dev/fail.web]: Invalid value: \"start\": the pod has no container \"web\", \
             only [main log]",
        );
    }
}
