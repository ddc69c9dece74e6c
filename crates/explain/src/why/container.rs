//! Containers that do not run, or run and are not ready.

use jiff::SignedDuration;
use meta::Timestamp;
use serde_json::Value;

use super::{Trail, Verdict, kubectl, since};
use crate::cluster::{Ref, number, text, time};

/// Exit codes that say more than that a program failed.
fn meaning(code: i64) -> &'static str {
    match code {
        126 => " (the command cannot be executed)",
        127 => " (command not found)",
        137 => " (killed by SIGKILL)",
        139 => " (segmentation fault)",
        143 => " (ended by SIGTERM)",
        _ => "",
    }
}

fn times(count: i64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// What one container waits for. `init` tells which list it stands in.
pub(super) fn follow(trail: &mut Trail<'_>, pod: &Ref, object: &Value, status: &Value, init: bool) -> Verdict {
    let name = text(status, "/name");
    let what = if init { format!("init container {name}") } else { format!("container {name}") };
    if let Some(waiting) = status.pointer("/state/waiting") {
        return waits(trail, pod, object, status, waiting, &what);
    }
    if let Some(ended) = status.pointer("/state/terminated") {
        let code = number(ended, "/exitCode");
        trail.says(pod, format!("{what} ended with exit code {code}{} and is started again", meaning(code)));
        return Verdict::working();
    }
    if init {
        trail.says(pod, format!("{what} runs{}", since(status, "/state/running/startedAt", trail.now)));
        return working_or_slow(pod, name);
    }
    probing(trail, pod, object, status, &what)
}

fn working_or_slow(pod: &Ref, name: &str) -> Verdict {
    Verdict {
        next: vec![format!(
            "`{}` shows what it does; the pod's other containers start when it ends",
            kubectl(&pod.namespace, &format!("logs {} -c {name}", pod.name))
        )],
        ..Verdict::working()
    }
}

fn waits(trail: &mut Trail<'_>, pod: &Ref, object: &Value, status: &Value, waiting: &Value, what: &str) -> Verdict {
    let (reason, message) = (text(waiting, "/reason"), text(waiting, "/message"));
    let image = text(status, "/image");
    let told = if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
    match reason {
        "" | "ContainerCreating" => {
            trail.says(pod, format!("{what} is being created"));
            Verdict::working()
        }
        "PodInitializing" => {
            trail.says(pod, format!("{what} waits for the init containers"));
            Verdict::working()
        }
        "ErrImagePull" | "ImagePullBackOff" => {
            trail.says(pod, format!("{what}: {told}"));
            image_pull(trail, pod, object, message, image)
        }
        "ErrImageNeverPull" => {
            trail.says(pod, format!("{what}: {told}"));
            Verdict::stuck([format!(
                "bring {image:?} here by `roadstead image import FILE`, or change imagePullPolicy from Never"
            )])
        }
        "InvalidImageName" => {
            trail.says(pod, format!("{what}: {told}"));
            Verdict::stuck([format!("correct the image name {image:?} in the template")])
        }
        "CreateContainerConfigError" => {
            trail.says(pod, format!("{what}: {told}"));
            config(pod, message)
        }
        "CrashLoopBackOff" => crash(trail, pod, status, what),
        "RunContainerError" | "CreateContainerError" | "PostStartHookError" => {
            trail.says(pod, format!("{what}: {told}"));
            Verdict::stuck([format!(
                "correct command, working directory or security context of the container: `{}`",
                kubectl(&pod.namespace, &format!("describe pod {}", pod.name))
            )])
        }
        _ => {
            trail.says(pod, format!("{what}: {told}"));
            Verdict::stuck([format!(
                "`{}` shows its events",
                kubectl(&pod.namespace, &format!("describe pod {}", pod.name))
            )])
        }
    }
}

fn image_pull(trail: &Trail<'_>, pod: &Ref, object: &Value, message: &str, image: &str) -> Verdict {
    let lower = message.to_lowercase();
    if ["authorized", "authentication", "denied", "forbidden", "401", "403"].iter().any(|word| lower.contains(word)) {
        let secrets = crate::cluster::list(object, "/spec/imagePullSecrets");
        let missing = secrets
            .iter()
            .map(|secret| text(secret, "/name"))
            .find(|name| trail.cluster.get(&Ref::new("Secret", &pod.namespace, name)).is_none());
        return Verdict::stuck([match missing {
            Some(name) => format!(
                "create the pull secret {name:?} that the pod names: `{}`",
                kubectl(
                    &pod.namespace,
                    &format!(
                        "create secret docker-registry {name} --docker-server=… --docker-username=… --docker-password=…"
                    )
                )
            ),
            None if secrets.is_empty() => {
                "the registry wants a login: create a secret of type docker-registry and name it in imagePullSecrets"
                    .to_owned()
            }
            None => "the registry refuses the login in the pull secret: correct its user name and password".to_owned(),
        }]);
    }
    if ["no such host", "connection refused", "timed out", "network is unreachable", "dns error"]
        .iter()
        .any(|word| lower.contains(word))
    {
        return Verdict::stuck([
            "the registry cannot be reached from this machine: look at its network and the registry's address"
                .to_owned(),
            format!("bring {image:?} here without a registry: `roadstead image import FILE`"),
        ]);
    }
    Verdict::stuck([
        format!("check the name {image:?}: no registry knows it"),
        "an image that no registry has comes here by `roadstead image import FILE`".to_owned(),
    ])
}

fn config(pod: &Ref, message: &str) -> Verdict {
    let create = |kind: &str| {
        let name = quoted(message).unwrap_or("NAME");
        format!(
            "create it, or mark the reference `optional: true`: `{}`",
            kubectl(&pod.namespace, &format!("create {kind} {name} --from-literal=KEY=VALUE"))
        )
    };
    if message.contains("couldn't find key") {
        return Verdict::stuck([
            "add the key to the object that the message names, or correct the reference".to_owned()
        ]);
    }
    if message.contains("secret") {
        return Verdict::stuck([create("secret generic")]);
    }
    if message.contains("configmap") {
        return Verdict::stuck([create("configmap")]);
    }
    if message.contains("runAsNonRoot") || message.contains("non-root") {
        return Verdict::stuck([
            "set securityContext.runAsUser to a number other than 0; the image runs as root".to_owned()
        ]);
    }
    Verdict::stuck(["correct what the message names in the template".to_owned()])
}

/// The first text between quotation marks.
fn quoted(message: &str) -> Option<&str> {
    message.split('"').nth(1)
}

fn crash(trail: &mut Trail<'_>, pod: &Ref, status: &Value, what: &str) -> Verdict {
    let name = text(status, "/name");
    let restarts = number(status, "/restartCount");
    let last = &status["lastState"]["terminated"];
    let code = number(last, "/exitCode");
    let logs = kubectl(&pod.namespace, &format!("logs {} -c {name} --previous", pod.name));
    if text(last, "/reason") == "OOMKilled" {
        trail.says(pod, format!("{what} needs more memory than its limit: killed {restarts} times (OOMKilled)"));
        return Verdict::stuck([
            "raise resources.limits.memory of the container, or make the program use less".to_owned(),
            format!("`{logs}` shows what it printed before"),
        ]);
    }
    if let Some(message) = trail.warning(pod, &["Unhealthy"]).filter(|message| message.starts_with("Liveness")) {
        trail.says(pod, format!("{what} is killed again and again, {} by now: {message}", times(restarts)));
        return Verdict::stuck([
            "give a slow start a startupProbe, or the livenessProbe a longer timeout".to_owned(),
            format!("`{logs}` shows what it printed before"),
        ]);
    }
    let said = text(last, "/message");
    let said = if said.is_empty() { String::new() } else { format!(", saying: {}", said.trim()) };
    trail.says(
        pod,
        format!(
            "{what} ends right after its start, {} by now: exit code {code}{}{said}",
            times(restarts),
            meaning(code)
        ),
    );
    Verdict::stuck([format!("`{logs}` shows what it printed before it ended")])
}

fn probing(trail: &mut Trail<'_>, pod: &Ref, object: &Value, status: &Value, what: &str) -> Verdict {
    let name = text(status, "/name");
    let spec = crate::cluster::list(object, "/spec/containers").iter().find(|container| container["name"] == name);
    let has = |probe: &str| spec.is_some_and(|spec| spec.get(probe).is_some());
    let kind = if has("startupProbe") && status["started"] != true { "startup" } else { "readiness" };
    let for_how_long = since(status, "/state/running/startedAt", trail.now);
    let failed = trail.warning(pod, &["Unhealthy"]).filter(|message| message.to_lowercase().starts_with(kind));
    let Some(message) = failed else {
        trail.says(pod, format!("{what} runs{for_how_long}, and waits for its {kind} probe"));
        return Verdict::working();
    };
    trail.says(pod, format!("{what} runs{for_how_long}, and is not ready: {message}"));
    if spec.is_some_and(|spec| is_patient(&spec[format!("{kind}Probe")], status, trail.now)) {
        return Verdict::working();
    }
    Verdict::stuck([
        format!(
            "`{}` shows what the program waits for",
            kubectl(&pod.namespace, &format!("logs {} -c {name}", pod.name))
        ),
        format!("correct spec.containers[{name}].{kind}Probe if the program is well"),
    ])
}

/// Whether a container is so young that its probe may fail yet: it would not have failed often enough to count.
fn is_patient(probe: &Value, status: &Value, now: Timestamp) -> bool {
    let of = |field: &str, default: i64| probe[field].as_i64().unwrap_or(default);
    let patience =
        of("initialDelaySeconds", 0).saturating_add(of("failureThreshold", 3).saturating_mul(of("periodSeconds", 10)));
    let started = time(status, "/state/running/startedAt");
    started.is_some_and(|started| now.duration_since(started) < SignedDuration::from_secs(patience))
}
