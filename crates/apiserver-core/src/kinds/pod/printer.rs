//! The line that `kubectl get pods` prints (V-150).

use meta::Timestamp;
use serde_json::Value;

use crate::kinds::cells;
use crate::kinds::columns::{Column, Completed, Row};
use crate::tree::{at, flag, has, int, items, member, text};

pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready", "Ready containers of all."),
    Column::text("Status", "What it is doing."),
    Column::text("Restarts", "How often its containers were started again."),
    Column::AGE,
    Column::text("IP", "Its address.").wide(),
    Column::text("Node", "Where it runs.").wide(),
    Column::text("Nominated Node", "Where it may run after others were moved.").wide(),
    Column::text("Readiness Gates", "Conditions it waits for, met of all.").wide(),
];

/// What the walk over the container statuses found.
#[derive(Default)]
struct Found {
    word: String,
    ready: i64,
    total: i64,
    restarts: i64,
    last_restart: Option<Timestamp>,
    initializing: bool,
}

pub(super) fn row(pod: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(pod, "spec"), member(pod, "status"));
    let found = look_at(pod);
    let restarts = match found.last_restart.filter(|_| found.restarts > 0) {
        Some(time) => format!("{} ({} ago)", found.restarts, cells::human_duration(now.as_second() - time.as_second())),
        None => found.restarts.to_string(),
    };
    let cells = vec![
        cells::name(pod),
        format!("{}/{}", found.ready, found.total).into(),
        found.word.into(),
        restarts.into(),
        cells::age(pod, now),
        cells::or_none(text(status, "podIP")),
        cells::or_none(text(spec, "nodeName")),
        cells::or_none(text(status, "nominatedNodeName")),
        readiness_gates(pod),
    ];
    let completed = match text(status, "phase") {
        "Succeeded" => Some(Completed { reason: "Succeeded", message: "The pod has completed successfully." }),
        "Failed" => Some(Completed { reason: "Failed", message: "The pod failed." }),
        _ => None,
    };
    Row { cells, completed }
}

fn look_at(pod: &Value) -> Found {
    let (spec, status) = (member(pod, "spec"), member(pod, "status"));
    let phase = text(status, "phase");
    let reason = text(status, "reason");
    let mut found = Found {
        word: if reason.is_empty() { phase } else { reason }.to_owned(),
        total: items(spec, "containers").len() as i64,
        ..Found::default()
    };
    let gated = condition(status, "PodScheduled").is_some_and(|c| text(c, "reason") == "SchedulingGated");
    if gated {
        "SchedulingGated".clone_into(&mut found.word);
    }
    look_at_init_containers(spec, status, &mut found);
    if !found.initializing || is_true(status, "Initialized") {
        look_at_containers(spec, status, &mut found);
    }
    let metadata = member(pod, "metadata");
    if has(metadata, "deletionTimestamp") {
        if reason == "NodeLost" {
            "Unknown".clone_into(&mut found.word);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut found.word);
        }
    }
    found
}

fn is_sidecar(spec: &Value, name: &str) -> bool {
    let containers = items(spec, "initContainers");
    containers.iter().any(|container| text(container, "name") == name && text(container, "restartPolicy") == "Always")
}

fn look_at_init_containers(spec: &Value, status: &Value, found: &mut Found) {
    let init_total = items(spec, "initContainers").len();
    found.total +=
        items(spec, "initContainers").iter().filter(|container| text(container, "restartPolicy") == "Always").count()
            as i64;
    for (index, container) in items(status, "initContainerStatuses").iter().enumerate() {
        found.restarts += int(container, "restartCount").unwrap_or(0);
        note_restart(container, found);
        let (terminated, waiting) = (at(container, &["state", "terminated"]), at(container, &["state", "waiting"]));
        let sidecar = is_sidecar(spec, text(container, "name"));
        if !terminated.is_null() && int(terminated, "exitCode").unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && flag(container, "started") {
            found.ready += i64::from(flag(container, "ready"));
            continue;
        }
        found.word = if !terminated.is_null() {
            match text(terminated, "reason") {
                "" => format!("Init:{}", exit_word(terminated)),
                reason => format!("Init:{reason}"),
            }
        } else {
            match text(waiting, "reason") {
                "" | "PodInitializing" => format!("Init:{index}/{init_total}"),
                reason => format!("Init:{reason}"),
            }
        };
        found.initializing = true;
        return;
    }
}

fn exit_word(terminated: &Value) -> String {
    match int(terminated, "signal").filter(|signal| *signal != 0) {
        Some(signal) => format!("Signal:{signal}"),
        None => format!("ExitCode:{}", int(terminated, "exitCode").unwrap_or(0)),
    }
}

fn note_restart(container: &Value, found: &mut Found) {
    let finished = text(at(container, &["lastState", "terminated"]), "finishedAt");
    if let Ok(time) = finished.parse::<Timestamp>() {
        found.last_restart = found.last_restart.max(Some(time));
    }
}

fn look_at_containers(spec: &Value, status: &Value, found: &mut Found) {
    found.restarts = 0;
    found.last_restart = None;
    for container in items(status, "initContainerStatuses") {
        if is_sidecar(spec, text(container, "name")) {
            found.restarts += int(container, "restartCount").unwrap_or(0);
            note_restart(container, found);
        }
    }
    let mut running = false;
    let mut error_word = String::new();
    for container in items(status, "containerStatuses").iter().rev() {
        found.restarts += int(container, "restartCount").unwrap_or(0);
        note_restart(container, found);
        let (terminated, waiting) = (at(container, &["state", "terminated"]), at(container, &["state", "waiting"]));
        let waiting_reason = text(waiting, "reason");
        if !waiting_reason.is_empty() {
            waiting_reason.clone_into(&mut found.word);
        } else if !terminated.is_null() {
            found.word = match text(terminated, "reason") {
                "" => exit_word(terminated),
                reason => reason.to_owned(),
            };
            if int(terminated, "exitCode").unwrap_or(0) != 0 {
                found.word.clone_into(&mut error_word);
            }
        } else if flag(container, "ready") && has(member(container, "state"), "running") {
            running = true;
            found.ready += 1;
        }
    }
    if found.word == "Completed" {
        if running && is_true(status, "Ready") {
            "Running".clone_into(&mut found.word);
        } else if !error_word.is_empty() {
            found.word = error_word;
        } else if running {
            "NotReady".clone_into(&mut found.word);
        }
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    items(status, "conditions").iter().find(|condition| text(condition, "type") == kind)
}

fn is_true(status: &Value, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| text(condition, "status") == "True")
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = items(member(pod, "spec"), "readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let status = member(pod, "status");
    let met = gates.iter().filter(|gate| is_true(status, text(gate, "conditionType"))).count();
    format!("{met}/{}", gates.len()).into()
}
