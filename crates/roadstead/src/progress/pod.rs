//! What one pod is doing, by its own status.

use explain::Ref;
use images::{Transfer, normal_name};
use k8s_openapi::api::core::v1::ContainerStatus;

use super::screen::amount;
use super::world::{Key, Line, Remedy, World};

/// Restarts after which a crash loop is a verdict and no longer a hope.
const RESTARTS_MAX: i32 = 3;

impl World {
    /// The line of a pod, by its own status.
    pub(super) fn pod_line(&self, key: &Key) -> Line {
        let mut line = Line { name: key.1.clone(), ..Line::default() };
        let Some(pod) = self.pods.get(key) else {
            line.doing = "was deleted by somebody".to_owned();
            line.stuck = Some(Remedy::Words("apply it again, or leave it out"));
            return line;
        };
        if pod.metadata.deletion_timestamp.is_some() {
            line.doing = "stopping".to_owned();
            return line;
        }
        let status = pod.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True") {
            line.done = true;
            line.doing = "ready".to_owned();
            return line;
        }
        match status.phase.as_deref() {
            Some("Succeeded") => {
                line.done = true;
                line.doing = "ended well".to_owned();
                return line;
            }
            Some("Failed") => {
                line.doing = format!("failed: {}", status.message.or(status.reason).unwrap_or_default());
                return line;
            }
            _ => {}
        }
        if pod.spec.as_ref().is_none_or(|s| s.node_name.is_none()) {
            let refused = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
            line.doing = match refused.and_then(|c| c.message.clone()) {
                Some(message) => format!("waits for a node: {message}"),
                None => "waits for a node".to_owned(),
            };
            return line;
        }
        let init = status.init_container_statuses.unwrap_or_default();
        let main = status.container_statuses.unwrap_or_default();
        let unfinished = init.iter().find(|c| !is_complete(c)).map(|c| (c, true));
        let unready = main.iter().find(|c| !c.ready).map(|c| (c, false));
        match unfinished.or(unready) {
            Some((container, init)) => self.report_container(key, container, init, &mut line),
            None => line.doing = "waits for its node to take it".to_owned(),
        }
        line
    }

    fn report_container(&self, key: &Key, container: &ContainerStatus, init: bool, line: &mut Line) {
        let name = &container.name;
        let kind = if init { "init container" } else { "container" };
        let state = container.state.clone().unwrap_or_default();
        if let Some(waiting) = state.waiting {
            let reason = waiting.reason.unwrap_or_default();
            let message = waiting.message.map(|m| format!(": {m}")).unwrap_or_default();
            line.doing = match reason.as_str() {
                "" | "ContainerCreating" | "PodInitializing" => match self.transfer_of(&container.image) {
                    Some(transfer) => {
                        line.so_far = Some(amount(transfer));
                        format!("{} image {}", transfer.stage, container.image)
                    }
                    None => {
                        let warning = self.warnings.get(key).map(|w| format!(": {w}")).unwrap_or_default();
                        format!("starts {kind} {name}{warning}")
                    }
                },
                _ => format!("{kind} {name}: {reason}{message}"),
            };
            let about = || Remedy::Why(Ref::new("Pod", &key.0, &key.1));
            line.stuck = needs_somebody(&reason, container).then(about);
        } else if state.running.is_some() {
            let warning = self.warnings.get(key).map(|w| format!(": {w}")).unwrap_or_default();
            line.doing = if init {
                format!("runs {kind} {name}")
            } else {
                format!("{kind} {name} runs, waits for its readiness probe{warning}")
            };
        } else if let Some(ended) = state.terminated {
            line.doing = format!("{kind} {name} ended with code {}", ended.exit_code);
        }
    }

    /// How far an image is on its way to this machine, if it is.
    fn transfer_of(&self, image: &str) -> Option<&Transfer> {
        let name = normal_name(image).ok()?;
        self.transfers.iter().find(|transfer| transfer.name == name)
    }
}

fn is_complete(container: &ContainerStatus) -> bool {
    let ended = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    ended.is_some_and(|t| t.exit_code == 0) || (container.ready && ended.is_none())
}

/// Whether a container gets no further by itself.
fn needs_somebody(reason: &str, container: &ContainerStatus) -> bool {
    match reason {
        "ImagePullBackOff"
        | "ErrImagePull"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError" => true,
        "CrashLoopBackOff" => container.restart_count >= RESTARTS_MAX,
        _ => false,
    }
}
