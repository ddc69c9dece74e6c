//! What `up` shows while it waits: one line for each pod, and the verdict.
//!
//! The deciding half is [`World::report`]: from the objects as they are to lines and a verdict. The acting half,
//! [`wait`], follows the API and draws.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::{StreamExt, TryStreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;

use crate::terminal;

/// Restarts after which a crash loop is a verdict and no longer a hope.
const RESTARTS_MAX: i32 = 3;

/// Namespace and name.
type Key = (String, String);

/// Everything `up` waits for, as last seen.
#[derive(Default, Debug)]
pub struct World {
    /// Sets and pods that were applied; the ones to wait for.
    pub awaited_sets: Vec<Key>,
    /// Pods that were applied without a set.
    pub awaited_pods: Vec<Key>,
    sets: BTreeMap<Key, StatefulSet>,
    pods: BTreeMap<Key, Pod>,
    warnings: BTreeMap<Key, String>,
}

/// One line: who, and what it is doing or waiting for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Name of the pod.
    pub name: String,
    /// What it does, or the one thing it waits for.
    pub doing: String,
    /// Ready.
    pub done: bool,
    /// It will not get further by itself: what to do about it.
    pub stuck: Option<String>,
}

impl World {
    /// The lines, sets in the order applied, pods by ordinal.
    pub fn report(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for key in &self.awaited_sets {
            self.report_set(key, &mut lines);
        }
        for key in &self.awaited_pods {
            lines.push(self.report_pod(key, "its creation"));
        }
        lines
    }

    fn report_set(&self, key: &Key, lines: &mut Vec<Line>) {
        let Some(set) = self.sets.get(key) else {
            return;
        };
        let spec = &set.spec;
        let first = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
        let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
        let mut predecessor: Option<String> = None;
        for ordinal in first..first + spec.replicas.unwrap_or(1) {
            let name = format!("{}-{ordinal}", key.1);
            let wait = match &predecessor {
                Some(lower) if ordered => format!("{lower} to be ready"),
                _ => self.warnings.get(key).map_or_else(|| "its creation".to_owned(), |w| format!("its creation: {w}")),
            };
            let mut line = self.report_pod(&(key.0.clone(), name.clone()), &wait);
            if line.done && self.is_outdated(key, &name) {
                line.done = false;
                line.doing = "waits for its rolling update".to_owned();
            }
            if !line.done && predecessor.is_none() {
                predecessor = Some(name);
            }
            lines.push(line);
        }
    }

    /// True while a rolling update has still to replace the pod.
    fn is_outdated(&self, set: &Key, pod: &str) -> bool {
        let Some(set) = self.sets.get(set) else {
            return true;
        };
        let Some(status) = &set.status else {
            return true;
        };
        if status.observed_generation.unwrap_or(0) < set.metadata.generation.unwrap_or(0) {
            return true;
        }
        let strategy = set.spec.update_strategy.as_ref();
        let partition = strategy.and_then(|s| s.rolling_update.as_ref()).and_then(|r| r.partition).unwrap_or(0);
        if partition > 0 || strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return false;
        }
        let key = (set.namespace().unwrap_or_default(), pod.to_owned());
        let revision = self.pods.get(&key).and_then(|p| p.labels().get("controller-revision-hash").cloned());
        revision.is_some() && status.update_revision.is_some() && revision != status.update_revision
    }

    fn report_pod(&self, key: &Key, wait: &str) -> Line {
        let mut line = Line { name: key.1.clone(), doing: format!("waits for {wait}"), done: false, stuck: None };
        let Some(pod) = self.pods.get(key) else {
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
                "" | "ContainerCreating" | "PodInitializing" => {
                    let warning = self.warnings.get(key).map(|w| format!(": {w}")).unwrap_or_default();
                    format!("starts {kind} {name}{warning}")
                }
                _ => format!("{kind} {name}: {reason}{message}"),
            };
            line.stuck = remedy(&reason, container, &key.1);
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
}

fn is_complete(container: &ContainerStatus) -> bool {
    let ended = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    ended.is_some_and(|t| t.exit_code == 0) || (container.ready && ended.is_none())
}

/// What a person can do about a container that gets no further by itself.
fn remedy(reason: &str, container: &ContainerStatus, pod: &str) -> Option<String> {
    let name = &container.name;
    let image = &container.image;
    match reason {
        "ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" => Some(format!(
            "check the name {image:?}; an image that no registry has comes here by `roadstead image import FILE`"
        )),
        "InvalidImageName" => Some(format!("correct the image name {image:?}")),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(format!("`kubectl describe pod {pod}` shows the container's configuration and its events"))
        }
        "CrashLoopBackOff" if container.restart_count >= RESTARTS_MAX => {
            Some(format!("`kubectl logs {pod} -c {name} --previous` shows what it printed before it ended"))
        }
        _ => None,
    }
}

/// A change that a follower saw.
enum Seen {
    Set(Box<StatefulSet>, bool),
    Pod(Box<Pod>, bool),
    Event(Box<Event>),
}

impl World {
    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Set(set, true) => drop(self.sets.insert(key_of(&*set), *set)),
            Seen::Set(set, false) => drop(self.sets.remove(&key_of(&*set))),
            Seen::Pod(pod, true) => drop(self.pods.insert(key_of(&*pod), *pod)),
            Seen::Pod(pod, false) => drop(self.pods.remove(&key_of(&*pod))),
            Seen::Event(event) => {
                if event.type_.as_deref() == Some("Warning") {
                    let about = &event.involved_object;
                    let key = (about.namespace.clone().unwrap_or_default(), about.name.clone().unwrap_or_default());
                    self.warnings.insert(key, event.message.clone().unwrap_or_default());
                }
            }
        }
    }
}

fn key_of<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Follows the cluster until everything awaited is ready; draws the lines meanwhile. Returns how many pods are ready.
///
/// # Errors
/// If a pod is stuck or the time is up: which one, why, and what to do.
pub async fn wait(client: &Client, mut world: World, limit: Duration) -> Result<usize> {
    let (sender, mut inbox) = mpsc::channel(256);
    let mut followers = tokio::task::JoinSet::new();
    followers.spawn(follow(Api::<StatefulSet>::all(client.clone()), sender.clone(), |s, there| {
        Seen::Set(Box::new(s), there)
    }));
    followers.spawn(follow(Api::<Pod>::all(client.clone()), sender.clone(), |p, there| Seen::Pod(Box::new(p), there)));
    followers.spawn(follow(Api::<Event>::all(client.clone()), sender, |e, _| Seen::Event(Box::new(e))));

    let mut screen = Screen::new();
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            seen = inbox.recv() => match seen {
                Some(seen) => world.take(seen),
                None => return Err(anyhow!("the connection to the API server was lost; `roadstead status` tells more")),
            },
            () = &mut deadline => {
                screen.finish();
                return Err(too_late(&world.report(), limit));
            }
        }
        while let Ok(seen) = inbox.try_recv() {
            world.take(seen);
        }
        let lines = world.report();
        screen.draw(&lines);
        let sets_seen = world.awaited_sets.iter().all(|k| world.sets.contains_key(k));
        if sets_seen && lines.iter().all(|l| l.done) {
            screen.finish();
            return Ok(lines.len());
        }
        if let Some(line) = lines.iter().find(|l| l.stuck.is_some()) {
            screen.finish();
            let remedy = line.stuck.clone().unwrap_or_default();
            return Err(anyhow!("pod {} gets no further: {}\nwhat to do: {remedy}", line.name, line.doing));
        }
    }
}

fn too_late(lines: &[Line], limit: Duration) -> anyhow::Error {
    let first = lines.iter().find(|l| !l.done);
    match first {
        Some(line) => anyhow!(
            "not ready after {} s: pod {}: {}\nwhat to do: `kubectl describe pod {}` shows its events; `--timeout` waits longer",
            limit.as_secs(),
            line.name,
            line.doing,
            line.name
        ),
        None => anyhow!("not ready after {} s: the StatefulSet was not seen", limit.as_secs()),
    }
}

/// Lists, then watches, for ever; starts over when the watch ends.
async fn follow<K>(api: Api<K>, sender: mpsc::Sender<Seen>, wrap: fn(K, bool) -> Seen)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    loop {
        let Ok(list) = api.list(&ListParams::default()).await else {
            return;
        };
        let mut revision = list.metadata.resource_version.clone().unwrap_or_default();
        for item in list.items {
            if sender.send(wrap(item, true)).await.is_err() {
                return;
            }
        }
        while let Ok(stream) = api.watch(&WatchParams::default(), &revision).await {
            let mut stream = stream.boxed();
            let mut expired = false;
            while let Ok(Some(event)) = stream.try_next().await {
                let (object, there) = match event {
                    WatchEvent::Added(o) | WatchEvent::Modified(o) => (o, true),
                    WatchEvent::Deleted(o) => (o, false),
                    WatchEvent::Bookmark(mark) => {
                        revision = mark.metadata.resource_version;
                        continue;
                    }
                    WatchEvent::Error(_) => {
                        expired = true;
                        break;
                    }
                };
                revision = object.meta().resource_version.clone().unwrap_or(revision);
                if sender.send(wrap(object, there)).await.is_err() {
                    return;
                }
            }
            if expired {
                break;
            }
        }
    }
}

/// The lines on the terminal, redrawn; or printed as they change where there is none.
struct Screen {
    bars: MultiProgress,
    by_name: BTreeMap<String, ProgressBar>,
    last: BTreeMap<String, String>,
    interactive: bool,
}

impl Screen {
    fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
            by_name: BTreeMap::new(),
            last: BTreeMap::new(),
            interactive: terminal::is_interactive(),
        }
    }

    fn draw(&mut self, lines: &[Line]) {
        for line in lines {
            if self.last.get(&line.name) == Some(&line.doing) {
                continue;
            }
            self.last.insert(line.name.clone(), line.doing.clone());
            if !self.interactive {
                eprintln!("{}: {}", line.name, line.doing);
                continue;
            }
            let bar = self.by_name.entry(line.name.clone()).or_insert_with(|| {
                let style = ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold}  {wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner());
                let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
                bar.enable_steady_tick(Duration::from_millis(100));
                bar.set_prefix(line.name.clone());
                bar
            });
            if line.done {
                bar.finish_with_message(format!("{} ✓", line.doing));
            } else {
                bar.set_message(line.doing.clone());
            }
        }
    }

    fn finish(&mut self) {
        for bar in self.by_name.values().filter(|b| !b.is_finished()) {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn set(replicas: i32) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "redis", "namespace": "default", "generation": 1},
            "spec": {"replicas": replicas, "selector": {}, "template": {}, "serviceName": "redis"},
            "status": {"replicas": 0, "observedGeneration": 1, "updateRevision": "redis-1"},
        }))
        .expect("a set")
    }

    fn pod(name: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"controller-revision-hash": "redis-1"}},
            "spec": {"containers": [], "nodeName": "n"},
            "status": status,
        }))
        .expect("a pod")
    }

    fn check(pods: Vec<Pod>, expected: &Expect) {
        let key = ("default".to_owned(), "redis".to_owned());
        let mut world = World { awaited_sets: vec![key], ..World::default() };
        world.take(Seen::Set(Box::new(set(3)), true));
        for pod in pods {
            world.take(Seen::Pod(Box::new(pod), true));
        }
        let mut text = String::new();
        for line in world.report() {
            text.push_str(&format!("{}: {}\n", line.name, line.doing));
            if let Some(remedy) = line.stuck {
                text.push_str(&format!("  do: {remedy}\n"));
            }
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn pods_that_are_not_there_wait_for_the_lowest_unready_one() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        check(
            vec![pod("redis-0", &ready)],
            &expect![[r#"
                redis-0: ready
                redis-1: waits for its creation
                redis-2: waits for redis-1 to be ready
            "#]],
        );
    }

    #[test]
    fn a_missing_image_is_a_verdict_with_a_remedy() {
        let status = json!({"containerStatuses": [{
            "name": "redis", "image": "redis:nope", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
        }]});
        check(
            vec![pod("redis-0", &status)],
            &expect![[r#"
                redis-0: container redis: ErrImagePull: not found
                  do: check the name "redis:nope"; an image that no registry has comes here by `roadstead image import FILE`
                redis-1: waits for redis-0 to be ready
                redis-2: waits for redis-0 to be ready
            "#]],
        );
    }
}
