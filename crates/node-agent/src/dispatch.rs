//! The one task that knows which pods are here: it starts a task for each, and passes on what concerns it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use container_runtime::RuntimeEvent;
use informer::{Informer, Key};
use k8s_openapi::api::core::v1::Pod;
use meta::{Timestamp, Uid};
use node_core::admit::{self, Capacity};
use node_core::{Event, PodMachine, StopCause};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adopt::{self, Inventory};
use crate::handles::{Handle, Handles, Home, Homes, Name, node_of};
use crate::pod::{Beginning, INBOX_MAX, Message, PodTask, PodView};
use crate::shared::{Shared, pod_uid};

/// Deaths that may wait to be told.
const DEATHS_MAX: usize = 64;
/// Commands that may wait.
const COMMANDS_MAX: usize = 8;

/// What the agent is told from outside.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop every pod; answered when all are at rest.
    Shutdown { grace: Duration, done: oneshot::Sender<()> },
    /// Run the pods of a node that has become ours.
    Joined { node: String },
}

/// Keys of pods that changed: a set, so that it cannot grow beyond the number of pods.
#[derive(Clone, Default)]
struct Dirty {
    keys: Arc<Mutex<BTreeSet<Key>>>,
    wake: Arc<Notify>,
}

impl Dirty {
    fn add(&self, key: Key) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// From so many pods at once on they are a crowd. Fewer are as quick without threads of their own; and what lives long
/// and was made by several threads keeps more memory.
const CROWD_MIN: usize = 48;

/// A pod whose containers an agent before this one has left, and the signals that stop them.
type Found = (node_core::Found, BTreeMap<String, container_runtime::Signal>);

/// What a dispatcher begins with.
pub(crate) struct Start {
    /// For what concerns no pod in particular.
    pub(crate) shared: Arc<Shared>,
    /// The nodes whose pods it runs.
    pub(crate) homes: Homes,
    /// Where it enters the pods that run.
    pub(crate) handles: Handles,
    /// Pods of these nodes, and maybe others.
    pub(crate) pods: Informer<Pod>,
    /// What happens to containers.
    pub(crate) events: mpsc::Receiver<RuntimeEvent>,
    /// What an agent before this one has left.
    pub(crate) found: Inventory,
    /// Where the pods of a crowd run; `None`: here, as the others.
    pub(crate) crowds: Option<tokio::runtime::Handle>,
}

pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    homes: Homes,
    handles: Handles,
    pods: Informer<Pod>,
    dirty: Dirty,
    /// Tasks of pods and of orphans; each returns its UID.
    running: JoinSet<Uid>,
    /// Pods without an object that are being removed, and the name they block.
    orphans: BTreeMap<Uid, Name>,
    /// Pods whose task has ended and whose deletion the informer has not seen yet.
    finished: BTreeMap<Uid, Name>,
    /// Pods whose last process is dead while they are still being cleaned away: they hold their name no more.
    dead: BTreeSet<Uid>,
    deaths: mpsc::Sender<Uid>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    is_draining: bool,
    crowds: Option<tokio::runtime::Handle>,
}

impl Dispatcher {
    pub(crate) fn spawn(start: Start, tasks: &TaskTracker, cancel: CancellationToken) -> mpsc::Sender<Command> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (deaths, died) = mpsc::channel(DEATHS_MAX);
        let dispatcher = Self {
            shared: start.shared,
            homes: start.homes,
            handles: start.handles,
            pods: start.pods,
            dirty: Dirty::default(),
            running: JoinSet::new(),
            orphans: BTreeMap::new(),
            finished: BTreeMap::new(),
            dead: BTreeSet::new(),
            deaths,
            tasks: tasks.clone(),
            cancel,
            is_draining: false,
            crowds: start.crowds,
        };
        tasks.spawn(dispatcher.run(start.events, inbox, died, start.found));
        commands
    }

    async fn run(
        mut self,
        mut events: mpsc::Receiver<RuntimeEvent>,
        mut commands: mpsc::Receiver<Command>,
        mut died: mpsc::Receiver<Uid>,
        found: Inventory,
    ) {
        let cancel = self.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = self.pods.synced() => {}
        }
        self.begin(found).await;
        let (dirty, homes) = (self.dirty.clone(), self.homes.clone());
        self.pods.on_change(move |change| {
            if node_of(change.newest()).is_some_and(|node| homes.has(node)) {
                dirty.add(change.key());
            }
        });
        let dirty = self.dirty.clone();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => self.pass_on(event).await,
                    None => break,
                },
                Some(uid) = died.recv() => self.died(uid).await,
                Some(ended) = self.running.join_next() => self.ended(ended).await,
                Some(command) = commands.recv() => self.obey(command).await,
                () = dirty.wake.notified() => {
                    let keys = dirty.take();
                    for key in &keys {
                        self.look_at(key, keys.len()).await;
                    }
                }
            }
        }
        // Pod tasks hear the same token and leave their pods as they are.
        while self.running.join_next().await.is_some() {}
    }

    /// The first look: pods of the API meet what was found on the machine.
    async fn begin(&mut self, mut found: Inventory) {
        let pods = self.pods.list();
        let known: BTreeSet<Uid> = pods.iter().map(|cached| pod_uid(cached)).collect();
        let mut left: BTreeSet<Uid> = found.sandboxes.keys().chain(&found.folders).cloned().collect();
        left.extend(found.logged);
        let known = if meta::mutants::is_on("restarted-agent-cleans-up") { BTreeSet::new() } else { known };
        for uid in left.difference(&known) {
            let sandbox = found.sandboxes.remove(uid);
            let name = sandbox.as_ref().map(|one| Name { namespace: one.namespace.clone(), name: one.name.clone() });
            if let Some(name) = name {
                self.orphans.insert(uid.clone(), name);
            }
            let work = adopt::remove_orphan(self.shared.clone(), uid.clone(), sandbox);
            let (cancel, uid) = (self.cancel.clone(), uid.clone());
            self.running.spawn(async move { cancel.run_until_cancelled(work).await.unwrap_or(uid) });
        }
        let together = pods.len();
        for cached in pods {
            let sandbox = found.sandboxes.remove(&pod_uid(&cached));
            let facts = match &sandbox {
                Some(sandbox) => Some((adopt::found(&self.shared, sandbox).await, adopt::stop_signals(sandbox))),
                None => None,
            };
            if let Some(home) = self.homes.of(&cached) {
                self.start_pod(cached.value.clone(), home, facts, together);
            }
        }
    }

    /// Starts the task of a pod, one of so many at once.
    fn start_pod(&mut self, pod: Arc<Pod>, home: Home, found: Option<Found>, together: usize) {
        let Home { shared, cancel } = home;
        let now = shared.now();
        let (uid, name) = (pod_uid(&pod), Name::of(&pod));
        let has_predecessor = !self.holders(&name).is_empty() || self.orphans.values().any(|orphan| *orphan == name);
        let is_new = pod.status.as_ref().is_none_or(|status| status.start_time.is_none());
        let is_ending = pod.metadata.deletion_timestamp.is_some();
        let mut machine = PodMachine::new(pod.clone(), shared.settings(), has_predecessor, now);
        let (is_adopted, signals) = match found {
            Some((found, signals)) => {
                let is_alive = found.sandbox.is_some();
                machine.adopt(found, now);
                (is_alive, signals)
            }
            None => (false, BTreeMap::new()),
        };
        if is_new && !is_ending {
            self.admit(&shared, &pod, &mut machine, now);
        }
        let (sender, receiver) = mpsc::channel(INBOX_MAX);
        let (view, seen) = watch::channel(PodView::default());
        self.handles.put(uid, Handle { shared: shared.clone(), pod, inbox: sender.clone(), view: seen });
        let deaths = self.deaths.clone();
        let beginning = Beginning { machine, inbox: (sender, receiver), view, deaths, signals, is_adopted };
        let task = PodTask::new(shared, beginning);
        match &self.crowds {
            Some(there) if together >= CROWD_MIN => self.running.spawn_on(task.run(cancel), there),
            _ => self.running.spawn(task.run(cancel)),
        };
    }

    /// Turns a pod away that does not fit beside those that came before it (N-37, S29).
    fn admit(&self, shared: &Shared, pod: &Arc<Pod>, machine: &mut PodMachine, now: Timestamp) {
        let others = self.handles.of_node(&shared.config.node_name).into_iter();
        let others: Vec<Arc<Pod>> =
            others.filter(|(uid, other)| self.has_object(uid, &other.pod)).map(|(_, other)| other.pod).collect();
        let capacity = Capacity {
            cpu_millis: shared.machine.cpu_millis,
            memory_bytes: shared.machine.memory_bytes,
            pods: shared.config.pods_max,
        };
        if let Err(rejection) = admit::admit(pod, others.iter().map(AsRef::as_ref), capacity) {
            let about = informer::events::reference_to(pod.as_ref());
            let (reason, message) = (rejection.reason, rejection.message);
            shared.recorder.record(about, informer::EventType::Warning, &reason, message.clone());
            machine.handle(Event::Stop(StopCause::Rejected { reason, message }), now);
        }
    }

    /// True if the API still has the pod. One that was deleted without grace gives its room back at once, though it may
    /// take a moment to end: the scheduler has given the room away, and a refusal would be for good.
    fn has_object(&self, uid: &Uid, pod: &Pod) -> bool {
        let name = Name::of(pod);
        self.pods.get(&name.namespace, &name.name).is_some_and(|cached| pod_uid(&cached) == *uid)
    }

    /// Looks at one name, one of so many at once: what the API has under it now, and what runs here under it.
    async fn look_at(&mut self, key: &Key, together: usize) {
        let name = Name { namespace: key.namespace.clone(), name: key.name.clone() };
        let found = self.pods.get(&key.namespace, &key.name);
        let current = found.and_then(|cached| Some((self.homes.of(&cached)?, cached)));
        let current_uid = current.as_ref().map(|(_, cached)| pod_uid(cached));
        for (uid, handle) in self.handles.of_name(&name) {
            if Some(&uid) != current_uid.as_ref() {
                send(&handle, Message::Event(Box::new(Event::Gone))).await;
            }
        }
        self.finished.retain(|uid, ended| *ended != name || Some(uid) == current_uid.as_ref());
        let Some((home, current)) = current else { return };
        let pod = current.value.clone();
        let uid = pod_uid(&pod);
        match self.handles.get(&uid) {
            Some(handle) => {
                self.handles.put(uid, Handle { pod: pod.clone(), ..handle.clone() });
                send(&handle, Message::Event(Box::new(Event::Updated(pod)))).await;
            }
            None if !self.is_draining && !self.finished.contains_key(&uid) => {
                self.start_pod(pod, home, None, together);
            }
            None => {}
        }
    }

    async fn pass_on(&mut self, event: RuntimeEvent) {
        let (pod, message) = match event {
            RuntimeEvent::ContainerExited { pod, container, exit } => {
                (pod, Message::Exited { container: container.0, exit: Box::new(exit) })
            }
            RuntimeEvent::SandboxDied { pod } => (pod, Message::Event(Box::new(Event::SandboxDied))),
        };
        if let Some(handle) = self.handles.get(&pod) {
            send(&handle, message).await;
        }
    }

    /// A pod's task, or an orphan's, has ended: whoever waited for the name may begin.
    async fn ended(&mut self, ended: Result<Uid, tokio::task::JoinError>) {
        let uid = match ended {
            Ok(uid) => uid,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        let name = match (self.orphans.remove(&uid), self.handles.get(&uid)) {
            (Some(name), _) => name,
            (None, Some(handle)) if !self.is_at_home(&handle) => {
                self.abandon(uid, handle);
                return;
            }
            (None, Some(handle)) => Name::of(&handle.pod),
            (None, None) => return,
        };
        self.handles.remove(&uid);
        self.dead.remove(&uid);
        self.release(&name).await;
        let is_listed = self.pods.get(&name.namespace, &name.name).is_some_and(|cached| pod_uid(&cached) == uid);
        if is_listed {
            self.finished.insert(uid, name);
        }
    }

    /// Whether the node that the pod was started on is still the same.
    fn is_at_home(&self, handle: &Handle) -> bool {
        let home = self.homes.get(&handle.shared.config.node_name);
        home.is_some_and(|home| Arc::ptr_eq(&home.shared, &handle.shared))
    }

    /// Clears a pod away whose virtual node is gone: nothing of it can live on, so its object goes, too.
    fn abandon(&mut self, uid: Uid, handle: Handle) {
        self.handles.remove(&uid);
        self.dead.remove(&uid);
        self.tasks.spawn(async move {
            if let Err(why) = crate::sandbox::remove(&handle.shared, &uid, true).await {
                tracing::warn!(pod = %uid, why, "what a virtual node left behind is not cleared away");
            }
            crate::acts::delete_object(handle.shared, handle.pod, None).await;
        });
    }

    /// The pods of a name that may have living processes, or are to have some.
    fn holders(&self, name: &Name) -> Vec<(Uid, Handle)> {
        self.handles.of_name(name).into_iter().filter(|(uid, _)| !self.dead.contains(uid)).collect()
    }

    async fn died(&mut self, uid: Uid) {
        let Some(handle) = self.handles.get(&uid) else { return };
        self.dead.insert(uid);
        self.release(&Name::of(&handle.pod)).await;
    }

    /// Lets the one pod begin that waits for a name, if nobody else holds it.
    async fn release(&mut self, name: &Name) {
        let is_free = !self.orphans.values().any(|orphan| orphan == name);
        // With several waiting, all but the one in the API are told that they are gone, and end by themselves.
        if let [(_, handle)] = self.holders(name).as_slice()
            && is_free
        {
            send(handle, Message::Event(Box::new(Event::PredecessorGone))).await;
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Joined { node } => {
                let pods = self.pods.matching(None, |pod: &Pod| node_of(pod) == Some(node.as_str()));
                for pod in &pods {
                    let name = Name::of(pod);
                    self.look_at(&Key { namespace: name.namespace, name: name.name }, pods.len()).await;
                }
            }
            Command::Shutdown { grace, done } => {
                self.is_draining = true;
                let handles = self.handles.all();
                self.tasks.spawn(async move {
                    drain(handles, grace).await;
                    let _nobody_waits = done.send(());
                });
            }
        }
    }
}

async fn send(handle: &Handle, message: Message) {
    // A task that has ended is about to be joined; it needs nothing more.
    let _ended = handle.inbox.send(message).await;
}

/// Stops all pods, chain by chain (`node_core::shutdown`).
async fn drain(handles: Vec<(Uid, Handle)>, grace: Duration) {
    let chains = node_core::shutdown::chains(handles.iter().map(|(_, handle)| handle.pod.as_ref()));
    let by_uid: BTreeMap<Uid, Handle> = handles.into_iter().collect();
    let deadline = tokio::time::Instant::now() + grace;
    let stop_chain = async |chain: Vec<Uid>| {
        for uid in chain {
            let Some(handle) = by_uid.get(&uid) else { continue };
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let (done, stopped) = oneshot::channel();
            send(handle, Message::Shutdown { grace: left, done }).await;
            // Kill and clean-up come after the grace; the pod that cannot be stopped does not hold up the others.
            if tokio::time::timeout(left + Duration::from_secs(10), stopped).await.is_err() {
                tracing::warn!(pod = %uid, "the pod does not stop");
            }
        }
    };
    futures::future::join_all(chains.into_iter().map(stop_chain)).await;
}
