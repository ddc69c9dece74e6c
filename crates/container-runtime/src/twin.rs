//! The in-memory twin (D8): sandboxes and containers that live by a script. Virtual nodes run on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use meta::{Timestamp, Uid};
use tokio::sync::{mpsc, oneshot};

use crate::events::{Events, lock};
use crate::{
    ContainerId, ContainerSpec, ContainerState, ContainerStatus, ExecExit, ExecSession, ExecSpec, Exit, ExitReason,
    Runtime, RuntimeError, RuntimeEvent, Sandbox, SandboxSpec, SandboxStatus, Signal,
};

/// What becomes of one container.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Life {
    /// Time from the call until its program runs.
    pub start_after: Duration,
    /// Why its program cannot be started; `None`: it can.
    pub start_failure: Option<String>,
    /// Ends by itself after this time, with this code; `None`: runs until it is told to end.
    pub ends: Option<(Duration, i32)>,
    /// Ends so long after any signal but SIGKILL, with code 0; `None`: such signals do nothing.
    pub obeys_after: Option<Duration>,
}

type LifeOf = dyn Fn(&SandboxSpec, &ContainerSpec) -> Life + Send + Sync;
type ExecOf = dyn Fn(&ContainerSpec, &ExecSpec) -> (i32, Bytes) + Send + Sync;
type Clock = dyn Fn() -> Timestamp + Send + Sync;

/// How virtual containers behave. Waiting is done by the async runtime's clock, which tests may pause.
#[derive(Clone)]
pub struct Script {
    /// What becomes of a container.
    pub life: Arc<LifeOf>,
    /// Exit code and standard output of a program run in a container.
    pub exec: Arc<ExecOf>,
    /// What time it is.
    pub clock: Arc<Clock>,
}

impl Default for Script {
    /// Starts at once, runs for ever, obeys at once; every exec succeeds and prints nothing.
    fn default() -> Self {
        let life = Life { obeys_after: Some(Duration::ZERO), ..Life::default() };
        Self {
            life: Arc::new(move |_, _| life.clone()),
            exec: Arc::new(|_, _| (0, Bytes::new())),
            clock: Arc::new(Timestamp::now),
        }
    }
}

/// A runtime without processes.
#[derive(Clone)]
pub struct VirtualRuntime {
    world: Arc<World>,
}

struct World {
    script: Script,
    pods: Mutex<BTreeMap<Uid, Pod>>,
    events: Events,
}

struct Pod {
    spec: SandboxSpec,
    alive: Option<Sandbox>,
    /// Boxed: a map keeps room for eleven of its values.
    containers: BTreeMap<ContainerId, Box<Container>>,
}

struct Container {
    spec: ContainerSpec,
    status: ContainerStatus,
    life: Life,
}

impl VirtualRuntime {
    /// An empty one that lives by the script.
    pub fn new(script: Script) -> Self {
        Self { world: Arc::new(World { script, pods: Mutex::default(), events: Events::default() }) }
    }

    /// What a killed helper is for the real one: the sandbox and all its containers are dead at once.
    pub async fn lose_sandbox(&self, pod: &Uid) {
        if self.world.kill(pod, ExitReason::SandboxDied).await {
            self.world.events.publish(RuntimeEvent::SandboxDied { pod: pod.clone() }).await;
        }
    }

    fn with<T>(
        &self,
        pod: &Uid,
        container: &ContainerId,
        work: impl FnOnce(&mut Container) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        let mut pods = lock(&self.world.pods);
        let held = pods.get_mut(pod).ok_or_else(|| RuntimeError::NoSandbox { pod: pod.clone() })?;
        let missing = || RuntimeError::NoContainer { pod: pod.clone(), container: container.clone() };
        work(held.containers.get_mut(container).ok_or_else(missing)?)
    }

    /// Ends the container after a while, unless it has ended by then.
    fn end_later(&self, pod: &Uid, container: &ContainerId, after: Duration, code: i32) {
        let (world, pod, container) = (Arc::clone(&self.world), pod.clone(), container.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
            world.end(&pod, &container, code, None, reason).await;
        });
    }
}

impl World {
    async fn end(&self, pod: &Uid, container: &ContainerId, code: i32, signal: Option<i32>, reason: ExitReason) {
        let now = (self.script.clock)();
        let exit = {
            let mut pods = lock(&self.pods);
            let held = pods.get_mut(pod).and_then(|pod| pod.containers.get_mut(container));
            let Some(held) = held else { return };
            let started_at = match &held.status.state {
                ContainerState::Exited(_) => return,
                ContainerState::Created => None,
                ContainerState::Running { started_at, .. } => Some(*started_at),
            };
            let exit = Exit { code, signal, reason, message: String::new(), started_at, finished_at: now };
            held.status.state = ContainerState::Exited(exit.clone());
            exit
        };
        let event = RuntimeEvent::ContainerExited { pod: pod.clone(), container: container.clone(), exit };
        self.events.publish(event).await;
    }

    /// Kills all containers of a pod, and its sandbox; returns whether it was alive.
    async fn kill(&self, pod: &Uid, reason: ExitReason) -> bool {
        let ids: Vec<ContainerId> = {
            let mut pods = lock(&self.pods);
            let Some(held) = pods.get_mut(pod) else { return false };
            if held.alive.take().is_none() {
                return false;
            }
            held.containers.keys().cloned().collect()
        };
        for id in ids {
            self.end(pod, &id, 128 + libc::SIGKILL, Some(libc::SIGKILL), reason).await;
        }
        true
    }
}

#[async_trait]
impl Runtime for VirtualRuntime {
    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let started_at = (self.world.script.clock)();
        let mut pods = lock(&self.world.pods);
        let pod = pods.entry(spec.pod.clone()).or_insert_with(|| Pod {
            spec: SandboxSpec::default(),
            alive: None,
            containers: BTreeMap::new(),
        });
        let sandbox = Sandbox { pod: spec.pod.clone(), pid: 0, netns: None, started_at };
        if pod.alive.is_none() {
            pod.spec = spec;
        }
        Ok(pod.alive.get_or_insert(sandbox).clone())
    }

    async fn create_container(&self, pod: &Uid, spec: ContainerSpec) -> Result<(), RuntimeError> {
        let created_at = (self.world.script.clock)();
        let mut pods = lock(&self.world.pods);
        let none = || RuntimeError::NoSandbox { pod: pod.clone() };
        let held = pods.get_mut(pod).filter(|pod| pod.alive.is_some()).ok_or_else(none)?;
        if held.containers.contains_key(&spec.id) {
            return Err(RuntimeError::WrongState { container: spec.id, why: "exists already".to_owned() });
        }
        let life = (self.world.script.life)(&held.spec, &spec);
        let status = ContainerStatus {
            id: spec.id.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            created_at,
            state: ContainerState::Created,
            log_path: spec.log_path.clone(),
            annotations: spec.annotations.clone(),
        };
        held.containers.insert(spec.id.clone(), Box::new(Container { spec, status, life }));
        Ok(())
    }

    async fn start_container(&self, pod: &Uid, container: &ContainerId) -> Result<ContainerState, RuntimeError> {
        let life = self.with(pod, container, |held| Ok(held.life.clone()))?;
        if !life.start_after.is_zero() {
            tokio::time::sleep(life.start_after).await;
        }
        if let Some(why) = life.start_failure {
            self.world.end(pod, container, 128, None, ExitReason::StartError).await;
            return Err(RuntimeError::Start { why });
        }
        let started_at = (self.world.script.clock)();
        let (state, fresh) = self.with(pod, container, |held| {
            let fresh = held.status.state == ContainerState::Created;
            if fresh {
                held.status.state = ContainerState::Running { pid: 0, started_at };
            }
            Ok((held.status.state.clone(), fresh))
        })?;
        if let (true, Some((after, code))) = (fresh, life.ends) {
            self.end_later(pod, container, after, code);
        }
        Ok(state)
    }

    async fn signal(&self, pod: &Uid, container: &ContainerId, signal: Signal) -> Result<(), RuntimeError> {
        let (over, obeys) = self.with(pod, container, |held| {
            Ok((matches!(held.status.state, ContainerState::Exited(_)), held.life.obeys_after))
        })?;
        match (over, signal, obeys) {
            (true, _, _) => {}
            (false, Signal::KILL, _) => {
                let code = 128 + libc::SIGKILL;
                self.world.end(pod, container, code, Some(libc::SIGKILL), ExitReason::Error).await;
            }
            // A timer of zero would still take its tick of a millisecond.
            (false, _, Some(Duration::ZERO)) => {
                self.world.end(pod, container, 0, None, ExitReason::Completed).await;
            }
            (false, _, Some(after)) => self.end_later(pod, container, after, 0),
            (false, _, None) => {}
        }
        Ok(())
    }

    async fn kill_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.world.kill(pod, ExitReason::Error).await;
        Ok(())
    }

    async fn remove_container(&self, pod: &Uid, container: &ContainerId) -> Result<(), RuntimeError> {
        if let Some(pod) = lock(&self.world.pods).get_mut(pod) {
            pod.containers.remove(container);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.world.kill(pod, ExitReason::Error).await;
        lock(&self.world.pods).remove(pod);
        Ok(())
    }

    async fn exec(&self, pod: &Uid, container: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        let script = self.world.script.clone();
        let (code, output) = self.with(pod, container, |held| match held.status.state {
            ContainerState::Running { .. } => Ok((script.exec)(&held.spec, &spec)),
            _ => Err(RuntimeError::WrongState { container: container.clone(), why: "is not running".to_owned() }),
        })?;
        let (exit, exited) = oneshot::channel();
        let stream = |wanted: bool| wanted.then(|| mpsc::channel(1));
        let (stdin, stdout, stderr) = (stream(spec.stdin), stream(spec.stdout), stream(spec.stderr && !spec.tty));
        if let Some((sender, _)) = &stdout
            && !output.is_empty()
        {
            // There is room for one.
            let _ = sender.try_send(output);
        }
        let _ = exit.send(ExecExit::Code(code));
        Ok(ExecSession {
            stdin: stdin.map(|(sender, _)| sender),
            stdout: stdout.map(|(_, receiver)| receiver),
            stderr: stderr.map(|(_, receiver)| receiver),
            resize: spec.tty.then(|| mpsc::channel(1).0),
            exit: exited,
        })
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        let pods = lock(&self.world.pods);
        let status = |(uid, pod): (&Uid, &Pod)| SandboxStatus {
            pod: uid.clone(),
            name: pod.spec.name.clone(),
            namespace: pod.spec.namespace.clone(),
            annotations: pod.spec.annotations.clone(),
            alive: pod.alive.clone(),
            containers: {
                let mut all: Vec<ContainerStatus> = pod.containers.values().map(|c| c.status.clone()).collect();
                all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
                all
            },
        };
        Ok(pods.iter().map(status).collect())
    }

    fn subscribe(&self) -> mpsc::Receiver<RuntimeEvent> {
        self.world.events.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str) -> ContainerSpec {
        ContainerSpec { id: ContainerId(id.to_owned()), name: id.to_owned(), ..ContainerSpec::default() }
    }

    async fn start(runtime: &VirtualRuntime, id: &str) -> (Uid, ContainerId) {
        let (pod, container_id) = (Uid("p".to_owned()), ContainerId(id.to_owned()));
        runtime.run_sandbox(SandboxSpec { pod: pod.clone(), ..SandboxSpec::default() }).await.unwrap();
        runtime.create_container(&pod, container(id)).await.unwrap();
        runtime.start_container(&pod, &container_id).await.unwrap();
        (pod, container_id)
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_lives_as_long_as_its_script_says() {
        let script = Script {
            life: Arc::new(|_, spec| match spec.name.as_str() {
                "job" => Life { ends: Some((Duration::from_secs(3600), 3)), ..Life::default() },
                _ => Life { obeys_after: Some(Duration::from_secs(5)), ..Life::default() },
            }),
            ..Script::default()
        };
        let runtime = VirtualRuntime::new(script);
        let mut events = runtime.subscribe();
        let before = tokio::time::Instant::now();
        start(&runtime, "job").await;
        let Some(RuntimeEvent::ContainerExited { exit, .. }) = events.recv().await else { panic!("it ends") };
        assert_eq!((exit.code, before.elapsed().as_secs()), (3, 3600));

        let (pod, id) = start(&runtime, "server").await;
        runtime.signal(&pod, &id, Signal::TERM).await.unwrap();
        let Some(RuntimeEvent::ContainerExited { exit, .. }) = events.recv().await else { panic!("it ends") };
        assert_eq!((exit.code, before.elapsed().as_secs()), (0, 3605));
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_runs_when_its_start_delay_is_over_and_not_before() {
        let life = Life { start_after: Duration::from_secs(3600), ..Life::default() };
        let runtime = VirtualRuntime::new(Script { life: Arc::new(move |_, _| life.clone()), ..Script::default() });
        let starting = tokio::spawn({
            let runtime = runtime.clone();
            async move { start(&runtime, "slow").await }
        });
        let state = async || runtime.list().await.unwrap()[0].containers[0].state.clone();
        tokio::time::advance(Duration::ZERO).await;
        tokio::time::advance(Duration::from_secs(3599)).await;
        assert_eq!(state().await, ContainerState::Created);
        tokio::time::advance(Duration::from_secs(1)).await;
        starting.await.unwrap();
        assert!(matches!(state().await, ContainerState::Running { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_cannot_be_started_ends_its_container_with_the_reason() {
        let why = "no such program".to_owned();
        let life = Life { start_after: Duration::from_secs(2), start_failure: Some(why.clone()), ..Life::default() };
        let runtime = VirtualRuntime::new(Script { life: Arc::new(move |_, _| life.clone()), ..Script::default() });
        let mut events = runtime.subscribe();
        let (pod, id) = (Uid("p".to_owned()), ContainerId("broken".to_owned()));
        runtime.run_sandbox(SandboxSpec { pod: pod.clone(), ..SandboxSpec::default() }).await.unwrap();
        runtime.create_container(&pod, container("broken")).await.unwrap();
        let before = tokio::time::Instant::now();
        let refused = runtime.start_container(&pod, &id).await;
        assert!(matches!(&refused, Err(RuntimeError::Start { why: told }) if *told == why), "{refused:?}");
        assert_eq!(before.elapsed(), Duration::from_secs(2), "the delay comes first");
        let Some(RuntimeEvent::ContainerExited { exit, .. }) = events.recv().await else { panic!("it ends") };
        assert_eq!((exit.code, exit.reason, exit.started_at), (128, ExitReason::StartError, None));
    }

    #[tokio::test]
    async fn a_lost_sandbox_ends_its_containers_and_can_come_back() {
        let runtime = VirtualRuntime::new(Script::default());
        let mut events = runtime.subscribe();
        let (pod, _) = start(&runtime, "a").await;
        runtime.lose_sandbox(&pod).await;
        let Some(RuntimeEvent::ContainerExited { exit, .. }) = events.recv().await else { panic!("it ends") };
        assert_eq!(exit.reason, ExitReason::SandboxDied);
        assert_eq!(events.recv().await, Some(RuntimeEvent::SandboxDied { pod: pod.clone() }));
        assert!(runtime.list().await.unwrap()[0].alive.is_none());
        start(&runtime, "b").await;
        let listed = &runtime.list().await.unwrap()[0];
        assert!(listed.alive.is_some() && listed.containers.len() == 2);
        runtime.remove_sandbox(&pod).await.unwrap();
        assert!(runtime.list().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_exec_answers_by_the_script() {
        let script = Script { exec: Arc::new(|_, spec| (4, Bytes::from(spec.args.join(" ")))), ..Script::default() };
        let runtime = VirtualRuntime::new(script);
        let (pod, id) = start(&runtime, "a").await;
        let spec = ExecSpec { args: vec!["redis-cli".into(), "ping".into()], stdout: true, ..ExecSpec::default() };
        let mut session = runtime.exec(&pod, &id, spec).await.unwrap();
        assert_eq!(session.stdout.as_mut().unwrap().recv().await.unwrap(), "redis-cli ping");
        assert_eq!(session.stdout.as_mut().unwrap().recv().await, None);
        assert_eq!(session.exit.await.unwrap(), ExecExit::Code(4));
    }
}
