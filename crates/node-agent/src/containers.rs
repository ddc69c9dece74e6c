//! Making, starting, signalling and removing containers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use container_runtime::{
    ContainerId, ContainerSpec, ContainerState, Exit as RuntimeExit, ExitReason, Mount, Propagation, Resources, RootFs,
    RuntimeError, Seccomp, Security, Signal, User,
};
use images::Image;
use k8s_openapi::api::core::v1::{Container, Pod};
use meta::{Timestamp, Uid};
use node_core::run::{self, ImageConfig, Run, SeccompChoice};
use node_core::script::{self, Life};
use node_core::{Event, Exit, ExitCause, StartFailure};
use volumes::BindRequest;

use crate::pod::{Done, PodView};
use crate::sandbox::sentence;
use crate::shared::{Shared, pod_uid};
use crate::sources::{self, Tokens};

/// Container annotation: the signal that asks it to end, for an agent that finds it.
pub(crate) const STOP_SIGNAL: &str = "roadstead.dev/stop-signal";
/// Most processes of one container.
const PIDS_MAX: i64 = 16_384;

/// Which container to start.
pub(crate) struct Start {
    pub(crate) container: String,
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) image: Option<Image>,
    pub(crate) ips: Vec<IpAddr>,
}

pub(crate) fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
}

/// How a container ended, in the machine's words.
pub(crate) fn exit(exit: RuntimeExit) -> Exit {
    let cause = match exit.reason {
        ExitReason::Completed | ExitReason::Error => ExitCause::Program,
        ExitReason::OomKilled => ExitCause::OutOfMemory,
        ExitReason::StartError => ExitCause::Start,
        ExitReason::SandboxDied => ExitCause::Sandbox,
    };
    Exit {
        code: exit.code,
        signal: exit.signal,
        cause,
        message: exit.message,
        started_at: exit.started_at,
        finished_at: exit.finished_at,
    }
}

/// The container whose log holds its last words: it failed, left no message, and its policy says so.
pub(crate) fn last_words_in_log(pod: &Pod, view: &PodView, id: &str, exit: &Exit) -> Option<(String, u32)> {
    let (name, known) = view.containers.iter().find(|(_, known)| known.running.as_deref() == Some(id))?;
    let policy = find(pod, name)?.termination_message_policy.as_deref();
    let wanted = policy == Some("FallbackToLogsOnError") && exit.code != 0 && exit.message.is_empty();
    if wanted { Some((name.clone(), known.current?)) } else { None }
}

/// Makes a container and starts it.
pub(crate) async fn start(shared: Arc<Shared>, pod: Arc<Pod>, start: Start, tokens: Tokens) -> Done {
    let id = start.id.clone();
    match try_start(&shared, &pod, &start, &tokens).await {
        Ok((state, signal)) => {
            let events = match state {
                ContainerState::Created => vec![Event::Started { id, at: shared.now() }],
                ContainerState::Running { started_at, .. } => {
                    let held = held_until(&shared, &pod, &start.container, started_at);
                    let hold = held.map(|until| Event::HoldReadiness { id: id.clone(), until });
                    [Event::Started { id, at: started_at }].into_iter().chain(hold).collect()
                }
                // It was quick; its end comes, or came, as an event of the runtime, too.
                ContainerState::Exited(ended) => {
                    let at = ended.started_at.unwrap_or(ended.finished_at);
                    vec![Event::Started { id: id.clone(), at }, Event::Exited { id, exit: exit(ended) }]
                }
            };
            Done::Started { container: start.container, signal, events }
        }
        Err(failure) => Done::Event(Event::NotStarted { id, failure }),
    }
}

/// Until when the script of a virtual pod says that a container is not ready.
fn held_until(shared: &Shared, pod: &Pod, container: &str, started_at: Timestamp) -> Option<Timestamp> {
    if !shared.is_virtual() {
        return None;
    }
    let delay = Life::of(pod, container).ok()?.ready_delay;
    started_at.checked_add(delay).ok().filter(|_| !delay.is_zero())
}

async fn try_start(
    shared: &Shared,
    pod: &Pod,
    start: &Start,
    tokens: &Tokens,
) -> Result<(ContainerState, Signal), StartFailure> {
    let container =
        find(pod, &start.container).ok_or_else(|| StartFailure::Config("the pod has no such container".to_owned()))?;
    if shared.is_virtual() {
        Life::of(pod, &start.container).map_err(|bad| StartFailure::Config(bad.to_string()))?;
    }
    let image = match &start.image {
        Some(image) => image.clone(),
        None => {
            let name = container.image.as_deref().unwrap_or_default();
            let found = shared.parts.images.find(name).await.map_err(|error| StartFailure::Create(sentence(&error)))?;
            found.ok_or_else(|| StartFailure::Create(format!("image {name:?} is not on this machine any more")))?
        }
    };
    let gathered = sources::gather(shared, pod, start.ips.clone(), tokens).await;
    let mut gathered = gathered.map_err(StartFailure::Config)?.sources;
    sources::add_services(shared, pod, &mut gathered).await.map_err(StartFailure::Config)?;
    let config = ImageConfig {
        entrypoint: image.entrypoint.clone(),
        cmd: image.cmd.clone(),
        env: image.env.clone(),
        working_dir: image.working_dir.clone(),
        user: image.user.clone(),
        stop_signal: image.stop_signal.clone(),
    };
    let run = run::run(container, pod, &config, &gathered).map_err(|error| StartFailure::Config(error.to_string()))?;
    let signal = Signal::parse(&run.stop_signal).unwrap_or(Signal::TERM);
    let mounts = mounts(shared, pod, &run).await.map_err(StartFailure::Config)?;
    let mut spec = spec(shared, pod, start, &image, run, mounts, signal);
    if shared.is_virtual() {
        spec.annotations.extend(script::notes(pod));
    }
    let (uid, id) = (pod_uid(pod), ContainerId(start.id.clone()));
    let runtime = &shared.parts.runtime;
    create(shared, &uid, spec).await.map_err(|error| StartFailure::Create(sentence(&error)))?;
    match runtime.start_container(&uid, &id).await {
        Ok(ContainerState::Exited(ended)) if ended.reason == ExitReason::StartError => {
            Err(StartFailure::Start(ended.message))
        }
        Ok(state) => Ok((state, signal)),
        Err(error) => Err(StartFailure::Start(sentence(&error))),
    }
}

/// Makes a container, in place of one that is there under the same id and was never started, also if its sandbox is dead
/// since: an agent that was killed between the two has left it, or a runtime that made it and said that it failed.
async fn create(shared: &Shared, pod: &Uid, spec: ContainerSpec) -> Result<(), RuntimeError> {
    let runtime = &shared.parts.runtime;
    let taken = match runtime.create_container(pod, spec.clone()).await {
        Err(error @ RuntimeError::WrongState { .. }) => error,
        outcome => return outcome,
    };
    let sandboxes = runtime.list().await?;
    let mut containers = sandboxes.iter().filter(|one| one.pod == *pod).flat_map(|one| &one.containers);
    let was_started = |state: &ContainerState| match state {
        ContainerState::Created => false,
        ContainerState::Running { .. } => true,
        ContainerState::Exited(exit) => exit.started_at.is_some(),
    };
    if !containers.any(|one| one.id == spec.id && !was_started(&one.state)) {
        return Err(taken);
    }
    runtime.remove_container(pod, &spec.id).await?;
    runtime.create_container(pod, spec).await
}

/// The pod's own files, then its volumes; a volume at the place of a file wins.
async fn mounts(shared: &Shared, pod: &Pod, run: &Run) -> Result<Vec<Mount>, String> {
    let uid = pod_uid(pod);
    let own = shared.pod_dir(&uid);
    let files = [("etc-hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname")];
    let mut mounts = Vec::new();
    for (file, target) in files {
        if !run.mounts.iter().any(|mount| Path::new(&mount.target) == Path::new(target)) {
            mounts.push(Mount {
                source: own.join(file),
                target: PathBuf::from(target),
                read_only: true,
                ..Mount::default()
            });
        }
    }
    for mount in &run.mounts {
        let request = BindRequest {
            pod: uid.clone(),
            volume: mount.volume.clone(),
            sub_path: mount.sub_path.clone(),
            fs_group: sources::fs_group(pod),
        };
        let source = shared.parts.volumes.bind_source(&request).await.map_err(|error| error.sentence())?;
        mounts.push(Mount {
            source,
            sub_path: Some(&mount.sub_path).filter(|path| !path.is_empty()).map(PathBuf::from),
            target: PathBuf::from(&mount.target),
            read_only: mount.read_only,
            propagation: match mount.propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::None,
            },
        });
    }
    Ok(mounts)
}

fn spec(
    shared: &Shared,
    pod: &Pod,
    start: &Start,
    image: &Image,
    run: Run,
    mounts: Vec<Mount>,
    signal: Signal,
) -> ContainerSpec {
    let seccomp = match run.seccomp {
        SeccompChoice::Default => Seccomp::Default,
        SeccompChoice::Unconfined => Seccomp::Unconfined,
        SeccompChoice::Localhost(path) => Seccomp::Localhost(shared.config.data_dir.join("seccomp").join(path)),
    };
    ContainerSpec {
        id: ContainerId(start.id.clone()),
        name: start.container.clone(),
        attempt: start.attempt,
        rootfs: RootFs { layers: image.layers.clone() },
        mounts,
        args: run.args,
        env: run.env,
        cwd: run.cwd,
        user: User {
            uid: run.uid,
            gid: run.gid,
            image_user: run.image_user,
            supplementary_gids: run.supplementary_gids,
        },
        security: Security {
            privileged: run.privileged,
            capabilities_add: run.capabilities_add,
            capabilities_drop: run.capabilities_drop,
            no_new_privileges: run.no_new_privileges,
            read_only_root: run.read_only_root,
            seccomp,
            unmasked_proc: run.unmasked_proc,
        },
        resources: Resources {
            memory_bytes_max: run.memory_bytes_max,
            cpu_shares: Some(run.cpu_shares),
            cpu_quota_micros: run.cpu_quota_micros,
            cpu_period_micros: run.cpu_quota_micros.map(|_| 100_000),
            pids_max: Some(PIDS_MAX),
        },
        oom_score_adj: Some(run.oom_score_adj),
        tty: run.tty,
        stdin: run.stdin,
        log_path: shared.log_path(pod, &start.container, start.attempt),
        termination_message_path: run.termination_message_path.map(PathBuf::from),
        annotations: BTreeMap::from([(STOP_SIGNAL.to_owned(), signal.0.to_string())]),
    }
}

/// Sends a signal. Whatever goes wrong, the machine tries harder when its deadline comes.
pub(crate) async fn signal(shared: Arc<Shared>, pod: Uid, id: String, signal: Signal) -> Done {
    match shared.parts.runtime.signal(&pod, &ContainerId(id.clone()), signal).await {
        Ok(()) => Done::Nothing,
        Err(RuntimeError::NoSandbox { .. }) => Done::Event(Event::SandboxDied),
        Err(error) => {
            tracing::warn!(%pod, container = id, signal = signal.0, error = sentence(&error), "not signalled");
            Done::Nothing
        }
    }
}

/// Removes a dead instance and its log files.
pub(crate) async fn remove(shared: Arc<Shared>, pod: Arc<Pod>, container: String, id: String, attempt: u32) -> Done {
    let uid = pod_uid(&pod);
    match shared.parts.runtime.remove_container(&uid, &ContainerId(id.clone())).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => tracing::warn!(pod = %uid, container = id, error = sentence(&error), "not removed"),
    }
    if shared.is_virtual() {
        return Done::Nothing;
    }
    for part in container_runtime::logs::parts(&shared.log_path(&pod, &container, attempt)) {
        if let Err(error) = std::fs::remove_file(&part) {
            tracing::warn!(path = %part.display(), %error, "log not removed");
        }
    }
    Done::Nothing
}
