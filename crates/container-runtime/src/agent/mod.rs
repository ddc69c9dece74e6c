//! The runtime as the agent sees it: finds the helpers of an agent before, has new ones made, talks to them.

mod connection;
mod exec;
mod mounts;
mod pod;
mod zygote;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use meta::Uid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use self::connection::{Answer, COMMANDS_MAX, Command, Connection};
use self::exec::{Kill, Streams};
use self::pod::PodEntry;
use self::zygote::Zygote;
use crate::cgroup::{Cgroups, REMOVE_LIMIT};
use crate::error::Refusal;
use crate::events::{Events, lock};
use crate::wire::{self, Reply, RequestBody, SandboxRecord, Spawn};
use crate::{
    Config, ContainerId, ContainerSpec, ContainerState, ContainerStatus, ExecSession, ExecSpec, Runtime, RuntimeError,
    RuntimeEvent, Sandbox, SandboxSpec, SandboxStatus, Signal, helper,
};

/// How long a helper may take to say hello.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// How often a helper that was found is asked for its hello before its pod is given up.
const HELLO_TRIES_MAX: u32 = 6;
/// How long a pod's processes may take to die after SIGKILL before somebody is told.
const POD_KILL_LIMIT: Duration = Duration::from_secs(10);

/// Containers by libcontainer, held by one helper process for each pod.
///
/// Dropping it leaves every helper and container as it is; the next one finds them.
pub struct LibcontainerRuntime {
    config: Config,
    cgroups: Arc<Cgroups>,
    zygote: Mutex<Option<Zygote>>,
    pods: Mutex<BTreeMap<Uid, Arc<PodEntry>>>,
    events: Arc<Events>,
    next_exec: AtomicU64,
}

impl LibcontainerRuntime {
    /// Opens the runtime and finds the pods that are there, alive or dead.
    ///
    /// # Errors
    /// [`RuntimeError::Os`] if the state folder cannot be made, no control groups are mounted, or the program cannot be
    /// run as a helper.
    pub async fn open(config: Config) -> Result<Self, RuntimeError> {
        check_cluster_id(&config.cluster_id)?;
        let pods_dir = config.state_dir.join("pods");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&pods_dir)
            .map_err(RuntimeError::os(format!("make {}", pods_dir.display())))?;
        let cgroups = Cgroups::detect().map_err(RuntimeError::os("look at the control groups"))?;
        let program = config.program.clone();
        let zygote = blocking("start the helper process", move || Zygote::start(&program)).await?;
        let runtime = Self {
            config,
            cgroups: Arc::new(cgroups),
            zygote: Mutex::new(Some(zygote)),
            pods: Mutex::default(),
            events: Arc::default(),
            next_exec: AtomicU64::new(1),
        };
        let entries = fs::read_dir(&pods_dir).map_err(RuntimeError::os(format!("read {}", pods_dir.display())))?;
        for entry in entries.flatten() {
            if let Some(uid) = entry.file_name().to_str() {
                runtime.adopt(Uid(uid.to_owned())).await?;
            }
        }
        Ok(runtime)
    }

    /// Takes over a pod of an agent before this one.
    async fn adopt(&self, uid: Uid) -> Result<(), RuntimeError> {
        let pod = self.entry(&uid);
        pod.load();
        if let Some(connection) = find_helper(&pod).await? {
            tracing::info!(pod = %uid, pid = connection.hello.pid, "found a running pod");
            self.attach(&pod, connection, None);
            return Ok(());
        }
        tracing::info!(pod = %uid, "found a dead pod");
        let (cgroups, group) = (Arc::clone(&self.cgroups), pod.cgroup.clone());
        let _ = tokio::task::spawn_blocking(move || cgroups.kill(&group, POD_KILL_LIMIT)).await;
        pod.died();
        Ok(())
    }

    fn attach(&self, pod: &Arc<PodEntry>, mut connection: Connection, record: Option<SandboxRecord>) -> Sandbox {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let sandbox = Sandbox {
            pod: pod.uid.clone(),
            pid: connection.hello.pid,
            netns: connection.netns.take().map(Arc::new),
            started_at: connection.hello.started_at,
        };
        let containers = std::mem::take(&mut connection.hello.containers);
        pod.lives(sandbox.clone(), record, containers, commands);
        let (events, cgroups) = (Arc::clone(&self.events), Arc::clone(&self.cgroups));
        tokio::spawn(connection::run(connection, inbox, Arc::clone(pod), events, cgroups));
        sandbox
    }

    fn entry(&self, uid: &Uid) -> Arc<PodEntry> {
        let mut pods = lock(&self.pods);
        let make = || {
            let dir = self.config.state_dir.join("pods").join(&uid.0);
            Arc::new(PodEntry::new(uid.clone(), dir, pod_cgroup(&self.config.cluster_id, uid)))
        };
        Arc::clone(pods.entry(uid.clone()).or_insert_with(make))
    }

    fn existing(&self, uid: &Uid) -> Result<Arc<PodEntry>, RuntimeError> {
        lock(&self.pods).get(uid).cloned().ok_or_else(|| RuntimeError::NoSandbox { pod: uid.clone() })
    }

    /// Has the zygote fork a helper and waits for its first word. A zygote that is gone, or goes while it is being
    /// asked, is replaced once.
    async fn new_helper(&self, request: Spawn) -> Result<Connection, RuntimeError> {
        let first = lock(&self.zygote).as_ref().map(|zygote| zygote.spawn(&request));
        if let Some(Ok(socket)) = first {
            match Connection::greet(socket, HELLO_LIMIT).await {
                Err(RuntimeError::Helper { why, .. }) => {
                    tracing::warn!(why, "a helper ended without a word; trying again")
                }
                other => return other,
            }
        }
        let old = lock(&self.zygote).take();
        let program = self.config.program.clone();
        let start = move || {
            drop(old);
            let zygote = Zygote::start(&program)?;
            let socket = zygote.spawn(&request)?;
            Ok((zygote, socket))
        };
        let (zygote, socket) = blocking("start the helper process", start).await?;
        *lock(&self.zygote) = Some(zygote);
        Connection::greet(socket, HELLO_LIMIT).await
    }

    async fn ask(&self, pod: &PodEntry, body: RequestBody, fds: Vec<OwnedFd>) -> Result<Answer, RuntimeError> {
        let none = || RuntimeError::NoSandbox { pod: pod.uid.clone() };
        let commands = pod.commands().ok_or_else(none)?;
        let (reply, answer) = oneshot::channel();
        commands.send(Command::Ask { body, fds, reply }).await.map_err(|_| none())?;
        answer.await.map_err(|_| none())
    }

    async fn simple(
        &self,
        pod: &PodEntry,
        container: &ContainerId,
        body: RequestBody,
        doing: &str,
    ) -> Result<Reply, RuntimeError> {
        let (result, _) = self.ask(pod, body, Vec::new()).await?;
        result.map_err(|refusal| refusal.into_error(&pod.uid, container, doing))
    }

    /// Takes away what a sandbox that never lived has left, but not the records of one before it.
    async fn give_up(&self, pod: &PodEntry) {
        let fresh = pod.status().containers.is_empty();
        let (cgroups, group, dir) = (Arc::clone(&self.cgroups), pod.cgroup.clone(), pod.dir.clone());
        let removed = blocking("remove a sandbox", move || {
            cgroups.kill(&group, POD_KILL_LIMIT);
            if fresh { remove_pod(&cgroups, &group, &dir) } else { Ok(()) }
        });
        if let Err(error) = removed.await {
            tracing::warn!(pod = %pod.uid, %error, "rests of a sandbox cannot be removed");
        }
        if fresh {
            lock(&self.pods).remove(&pod.uid);
        }
    }

    async fn kill(&self, pod: &PodEntry) {
        if pod.sandbox().is_none() {
            return;
        }
        pod.set_ending();
        let gone = async {
            let _ = self.ask(pod, RequestBody::Shutdown, Vec::new()).await;
            pod.until_dead().await;
        };
        if tokio::time::timeout(POD_KILL_LIMIT, gone).await.is_err() {
            tracing::warn!(pod = %pod.uid, "helper does not end; killing it");
            let (cgroups, group) = (Arc::clone(&self.cgroups), pod.cgroup.clone());
            let _ = tokio::task::spawn_blocking(move || cgroups.kill(&group, POD_KILL_LIMIT)).await;
            pod.until_dead().await;
        }
    }
}

/// Connects to a pod's helper; `None` if it is dead, or so stuck that its pod is better dead. A slow machine is no
/// reason to end a pod that serves: it is asked again.
async fn find_helper(pod: &PodEntry) -> Result<Option<Connection>, RuntimeError> {
    for _ in 0..HELLO_TRIES_MAX {
        let dir = pod.dir.clone();
        let connect = move || -> io::Result<Option<OwnedFd>> {
            use rustix::fs::{Mode, OFlags};
            let dir = rustix::fs::open(&dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            match UnixStream::connect(wire::short_path(&dir, helper::SOCKET)) {
                Ok(socket) => Ok(Some(socket.into())),
                // Only of these is it certain that nobody listens.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let Some(socket) = blocking("connect to a helper", connect).await? else { return Ok(None) };
        match Connection::greet(socket, HELLO_LIMIT).await {
            Ok(connection) => return Ok(Some(connection)),
            Err(RuntimeError::Helper { why, .. }) => tracing::debug!(pod = %pod.uid, why, "a helper hung up"),
            Err(error) => tracing::warn!(pod = %pod.uid, %error, "a helper is slow to answer; asking again"),
        }
    }
    tracing::error!(pod = %pod.uid, "a helper does not answer; its pod is given up");
    Ok(None)
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RuntimeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(RuntimeError::os(doing))
}

/// A descriptor that tasks can wait for.
fn watch_fd(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor stays open, and the same one, for as long as it is registered.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Cgroup of everything of a cluster, from the root of each hierarchy.
pub(crate) fn cluster_cgroup(cluster_id: &str) -> String {
    format!("/roadstead-{cluster_id}")
}

fn pod_cgroup(cluster_id: &str, uid: &Uid) -> String {
    format!("{}/pod{uid}", cluster_cgroup(cluster_id))
}

/// Names that become folders and control groups must be nothing else.
fn check_name(what: &str, name: &str) -> Result<(), RuntimeError> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if plain && !name.is_empty() && name.len() <= 64 && !name.starts_with('.') {
        return Ok(());
    }
    Err(RuntimeError::Create { why: format!("{what} {name:?} cannot name a folder") })
}

fn check_cluster_id(id: &str) -> Result<(), RuntimeError> {
    if id.len() == 8 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "it must be 8 lower-case hex digits");
    Err(RuntimeError::Os { doing: format!("use the cluster id {id:?}"), source })
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[async_trait]
impl Runtime for LibcontainerRuntime {
    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        check_name("pod UID", &spec.pod.0)?;
        let pod = self.entry(&spec.pod);
        let _gate = pod.gate.lock().await;
        if let Some(sandbox) = pod.sandbox() {
            return Ok(sandbox);
        }
        make_private_dir(&pod.dir).map_err(RuntimeError::os(format!("make {}", pod.dir.display())))?;
        let record = SandboxRecord {
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            annotations: spec.annotations.clone(),
        };
        let request = Spawn {
            pod_dir: pod.dir.clone(),
            cgroup: pod.cgroup.clone(),
            hide_mounts_below: self.config.volume_dirs.clone(),
            logs: self.config.logs,
            spec,
        };
        match self.new_helper(request).await {
            Ok(connection) => Ok(self.attach(&pod, connection, Some(record))),
            Err(error) => {
                self.give_up(&pod).await;
                Err(error)
            }
        }
    }

    async fn create_container(&self, pod: &Uid, spec: ContainerSpec) -> Result<(), RuntimeError> {
        check_name("container id", &spec.id.0)?;
        let pod = self.existing(pod)?;
        let mounts = spec.mounts.clone();
        let opened = tokio::task::spawn_blocking(move || mounts::open_all(&mounts)).await;
        let fds = opened.map_err(|panic| RuntimeError::Create { why: panic.to_string() })??;
        let status = ContainerStatus {
            id: spec.id.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            created_at: meta::clock::now(),
            state: ContainerState::Created,
            log_path: spec.log_path.clone(),
            annotations: spec.annotations.clone(),
        };
        let id = spec.id.clone();
        if pod.container(&id).is_some() {
            return Err(RuntimeError::WrongState { container: id, why: "exists already".to_owned() });
        }
        // Known before it is made, so that its end finds it.
        pod.put(status);
        let done = match self.ask(&pod, RequestBody::Create(Box::new(spec)), fds).await {
            Ok((result, _)) => result.map(drop).map_err(|r| r.into_error(&pod.uid, &id, "create a container")),
            Err(error) => Err(error),
        };
        if done.is_err() {
            pod.forget(&id);
        }
        done
    }

    async fn start_container(&self, pod: &Uid, container: &ContainerId) -> Result<ContainerState, RuntimeError> {
        let pod = self.existing(pod)?;
        let body = RequestBody::Start { container: container.clone() };
        match self.simple(&pod, container, body, "start a container").await? {
            Reply::State(state) => {
                pod.set_state(container, &state);
                Ok(state)
            }
            Reply::Done => Err(RuntimeError::Helper {
                doing: "start a container".to_owned(),
                why: "the answer has no state".to_owned(),
            }),
        }
    }

    async fn signal(&self, pod: &Uid, container: &ContainerId, signal: Signal) -> Result<(), RuntimeError> {
        let pod = self.existing(pod)?;
        if pod.sandbox().is_none() && pod.container(container).is_some() {
            return Ok(());
        }
        let body = RequestBody::Signal { container: container.clone(), signal };
        self.simple(&pod, container, body, "signal a container").await.map(drop)
    }

    async fn kill_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        let Ok(pod) = self.existing(pod) else { return Ok(()) };
        let _gate = pod.gate.lock().await;
        self.kill(&pod).await;
        Ok(())
    }

    async fn remove_container(&self, pod: &Uid, container: &ContainerId) -> Result<(), RuntimeError> {
        check_name("container id", &container.0)?;
        let Ok(pod) = self.existing(pod) else { return Ok(()) };
        pod.forget(container);
        if pod.sandbox().is_some() {
            let body = RequestBody::Remove { container: container.clone() };
            match self.simple(&pod, container, body, "remove a container").await {
                Err(error) if error.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        // Of a sandbox that is dead: nobody else looks after it.
        let dir = pod.dir.join(helper::CONTAINERS).join(&container.0);
        let (cgroups, group) = (Arc::clone(&self.cgroups), format!("{}/{container}", pod.cgroup));
        blocking("remove a container", move || {
            cgroups.remove(&group, REMOVE_LIMIT);
            Ok(host_files::remove_tree(&dir)?)
        })
        .await
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        let Ok(pod) = self.existing(pod) else { return Ok(()) };
        let _gate = pod.gate.lock().await;
        self.kill(&pod).await;
        let (cgroups, group, dir) = (Arc::clone(&self.cgroups), pod.cgroup.clone(), pod.dir.clone());
        blocking("remove a sandbox", move || remove_pod(&cgroups, &group, &dir)).await?;
        lock(&self.pods).remove(&pod.uid);
        Ok(())
    }

    async fn exec(&self, pod: &Uid, container: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        let pod = self.existing(pod)?;
        let commands = pod.commands().ok_or_else(|| RuntimeError::NoSandbox { pod: pod.uid.clone() })?;
        let number = self.next_exec.fetch_add(1, Ordering::Relaxed);
        let mut streams = Streams::new(&spec).map_err(RuntimeError::os("make the pipes of an exec"))?;
        let (ended, end) = oneshot::channel();
        let _ = commands.send(Command::Watch { exec: number, ended }).await;
        let body = RequestBody::Exec { container: container.clone(), exec: number, spec: exec::request(&spec) };
        let (result, mut fds) = self.ask(&pod, body, std::mem::take(&mut streams.theirs)).await?;
        result.map_err(|refusal: Refusal| refusal.into_error(&pod.uid, container, "run a program in a container"))?;
        let kill = Kill { exec: number, commands };
        streams
            .session(&spec, if spec.tty { fds.pop() } else { None }, end, kill)
            .map_err(RuntimeError::os("carry the streams of an exec"))
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        let pods: Vec<Arc<PodEntry>> = lock(&self.pods).values().cloned().collect();
        Ok(pods.iter().map(|pod| pod.status()).collect())
    }

    fn subscribe(&self) -> mpsc::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}

/// Takes a dead pod's groups and folder away.
pub(crate) fn remove_pod(cgroups: &Cgroups, group: &str, dir: &Path) -> io::Result<()> {
    if !cgroups.remove(group, REMOVE_LIMIT) {
        let text = format!("the control group {group} is not let go of within {REMOVE_LIMIT:?}");
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
    }
    Ok(host_files::remove_tree(dir)?)
}
