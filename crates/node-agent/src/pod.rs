//! One task per pod: it owns the pod's machine, carries out its actions, and keeps the API's status up to date.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Patch, WriteOptions};
use container_runtime::{Exit as RuntimeExit, Signal};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use images::Image;
use informer::EventType as RecordType;
use informer::events::reference_to;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use meta::{Reason, Status, Timestamp, Uid};
use node_core::{Action, Event, EventType, PodMachine, Record, StopCause};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::shared::{Shared, pod_id};
use crate::sources::Tokens;
use crate::{acts, containers, sandbox, sources, status};

/// Messages taken at once.
const BATCH_MAX: usize = 32;
/// Messages that may wait for a pod.
pub(crate) const INBOX_MAX: usize = 256;
/// Shortest sleep between two looks at a pod.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// First pause after a status write that failed; doubles up to [`WRITE_PAUSE_MAX`].
const WRITE_PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between status writes that fail.
const WRITE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a pod's task is told. Small: an inbox keeps room for 32, however empty.
#[derive(Debug)]
pub(crate) enum Message {
    /// Something the machine must know.
    Event(Box<Event>),
    /// A container ended.
    Exited { container: String, exit: Box<RuntimeExit> },
    /// An object that the pod names has changed.
    SourcesChanged,
    /// The node shuts down; answered when the pod is at rest and its status written.
    Shutdown { grace: Duration, done: oneshot::Sender<()> },
}

/// What others may know of a pod without asking its task.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct PodView {
    pub(crate) containers: BTreeMap<String, ContainerView>,
}

/// What others may know of a container.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct ContainerView {
    /// Id of the instance that runs.
    pub(crate) running: Option<String>,
    /// Instance whose log is the current one.
    pub(crate) current: Option<u32>,
    /// Instance whose log is the previous one.
    pub(crate) previous: Option<u32>,
    /// Why there is none.
    pub(crate) waiting: Option<&'static str>,
}

/// The outcome of something that was carried out.
pub(crate) enum Done {
    /// For the machine.
    Event(Event),
    /// For the machine, in order.
    Events(Vec<Event>),
    /// An image, for the start of its container.
    Image { container: String, image: Box<Image>, event: Event },
    /// The volumes are there, or not; with the tokens that were issued.
    Volumes { tokens: Option<Tokens>, result: Result<(), String> },
    /// The content of volumes was brought up to date, or not.
    Refreshed { tokens: Option<Tokens>, result: Result<(), String> },
    /// A container runs; how it is asked to stop.
    Started { container: String, signal: Signal, events: Vec<Event> },
    /// The status was written, or not.
    Written { wanted: Box<PodStatus>, result: Result<(), Status> },
    /// Nothing to tell.
    Nothing,
}

impl Done {
    /// What it is about, for traces.
    fn name(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Events(_) => "event",
            Self::Image { .. } => "image",
            Self::Volumes { .. } => "volumes",
            Self::Refreshed { .. } => "refreshed",
            Self::Started { .. } => "started",
            Self::Written { .. } => "written",
            Self::Nothing => "nothing",
        }
    }
}

pub(crate) struct PodTask {
    pub(crate) shared: Arc<Shared>,
    pub(crate) machine: PodMachine,
    pub(crate) uid: Uid,
    inbox: mpsc::Receiver<Message>,
    own_inbox: mpsc::Sender<Message>,
    view: watch::Sender<PodView>,
    deaths: mpsc::Sender<Uid>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Boxed: a map keeps room for eleven of its values.
    images: BTreeMap<String, Box<Image>>,
    signals: BTreeMap<String, Signal>,
    content: Content,
    writer: Writer,
    shutdowns: Vec<oneshot::Sender<()>>,
    wants_deletion: bool,
    /// The object's deletion is under way, and takes the status along.
    is_deleting: bool,
    is_gone: bool,
}

/// The volumes whose content changes.
#[derive(Default)]
struct Content {
    tokens: Tokens,
    is_set_up: bool,
    is_refreshing: bool,
    is_stale: bool,
    renew_at: Option<Timestamp>,
}

/// The status that the API is known to have.
enum Known {
    /// That of a state that was read.
    Read(Arc<Pod>),
    /// One that was written since.
    Written(Box<PodStatus>),
}

impl Known {
    fn status(&self) -> Option<&PodStatus> {
        match self {
            Self::Read(pod) => pod.status.as_ref(),
            Self::Written(status) => Some(status),
        }
    }

    fn tree(&self) -> Value {
        self.status().map(status::tree).unwrap_or_default()
    }
}

/// The last known status in the API, and the write under way.
struct Writer {
    known: Known,
    is_writing: bool,
    retry_at: Option<Timestamp>,
    pause: Duration,
}

/// What a task begins with.
pub(crate) struct Beginning {
    pub(crate) machine: PodMachine,
    pub(crate) inbox: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    pub(crate) view: watch::Sender<PodView>,
    /// Where the death of its last process is told.
    pub(crate) deaths: mpsc::Sender<Uid>,
    /// Stop signals of adopted containers, by name.
    pub(crate) signals: BTreeMap<String, Signal>,
    /// The pod was found running.
    pub(crate) is_adopted: bool,
}

impl PodTask {
    pub(crate) fn new(shared: Arc<Shared>, beginning: Beginning) -> Self {
        let pod = beginning.machine.pod().clone();
        let known = Known::Read(pod.clone());
        // Tokens of an agent before this one are not known here: they are replaced at once.
        let renew_at = beginning.is_adopted.then(|| shared.now());
        Self {
            uid: crate::shared::pod_uid(&pod),
            machine: beginning.machine,
            own_inbox: beginning.inbox.0,
            inbox: beginning.inbox.1,
            view: beginning.view,
            deaths: beginning.deaths,
            running: FuturesUnordered::new(),
            images: BTreeMap::new(),
            signals: beginning.signals,
            content: Content { is_set_up: beginning.is_adopted, renew_at, ..Content::default() },
            writer: Writer { known, is_writing: false, retry_at: None, pause: WRITE_PAUSE_FIRST },
            shutdowns: Vec::new(),
            wants_deletion: false,
            is_deleting: false,
            is_gone: false,
            shared,
        }
    }

    /// Runs until nothing of the pod is left, or until cancelled. Dropped, it leaves the pod as it is: the next agent
    /// adopts it.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Uid {
        self.shared.watches.add(&self.uid, sources::watched(self.machine.pod(), false), &self.own_inbox);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let looked_at = self.obey();
            if self.machine.is_done() {
                break;
            }
            // A deadline that had passed by then without anything being done about it must not become a busy loop.
            let soonest = looked_at.checked_add(PAUSE_MIN).unwrap_or(Timestamp::MAX);
            let wake = self.next_wake().map(|at| if at <= looked_at { soonest } else { at });
            let clock = self.shared.clock.clone();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                taken = self.inbox.recv_many(&mut batch, BATCH_MAX) => if taken == 0 { break },
                Some(done) = self.running.next() => self.finish(done),
                () = sleep_until(clock.as_ref(), wake) => {}
            }
            for message in batch.drain(..) {
                self.take(message);
            }
        }
        self.shared.watches.remove(&self.uid);
        self.uid
    }

    fn take(&mut self, message: Message) {
        let now = self.shared.now();
        match message {
            Message::Event(event) => {
                let has_new_notes = match &*event {
                    Event::Updated(pod) => self.note_update(pod),
                    _ => false,
                };
                self.is_gone |= matches!(*event, Event::Gone);
                self.machine.handle(*event, now);
                if has_new_notes && self.shared.is_virtual() {
                    // The pod's script may be right now.
                    self.machine.handle(Event::SourcesChanged, now);
                }
            }
            Message::Exited { container, exit } => self.take_exit(container, *exit),
            Message::SourcesChanged => {
                self.content.is_stale = true;
                self.machine.handle(Event::SourcesChanged, now);
            }
            Message::Shutdown { grace, done } => {
                self.shutdowns.push(done);
                self.machine.handle(Event::Stop(StopCause::Shutdown { grace }), now);
            }
        }
    }

    /// Labels and annotations may stand in files of the pod; returns whether they changed.
    fn note_update(&mut self, pod: &Arc<Pod>) -> bool {
        let old = &self.machine.pod().metadata;
        let has_new_notes = (&old.labels, &old.annotations) != (&pod.metadata.labels, &pod.metadata.annotations);
        self.content.is_stale |= has_new_notes;
        if old.resource_version != pod.metadata.resource_version && !self.writer.is_writing {
            // What the API has is the truth, also where somebody else wrote it.
            self.writer.known = Known::Read(pod.clone());
        }
        has_new_notes
    }

    fn take_exit(&mut self, id: String, exit: RuntimeExit) {
        let exit = containers::exit(exit);
        let pod = self.machine.pod();
        let Some((container, attempt)) = containers::last_words_in_log(pod, &self.view.borrow(), &id, &exit) else {
            self.machine.handle(Event::Exited { id, exit }, self.shared.now());
            return;
        };
        let path = self.shared.log_path(pod, &container, attempt);
        self.running.push(Box::pin(async move {
            let message = crate::logs::last_words(path).await;
            Done::Event(Event::Exited { id, exit: node_core::Exit { message, ..exit } })
        }));
    }

    fn finish(&mut self, done: Done) {
        let now = self.shared.now();
        tracing::trace!(pod = %self.uid, what = done.name(), "done");
        match done {
            Done::Nothing => {}
            Done::Event(event) => {
                self.is_gone |= matches!(event, Event::Gone);
                self.is_deleting &= !matches!(event, Event::Deleted(_));
                self.machine.handle(event, now);
            }
            Done::Events(events) => events.into_iter().for_each(|event| self.machine.handle(event, now)),
            Done::Image { container, image, event } => {
                self.images.insert(container, image);
                self.machine.handle(event, now);
            }
            Done::Volumes { tokens, result } => {
                self.keep_tokens(tokens);
                self.content.is_set_up = result.is_ok();
                if result.is_err() {
                    self.shared.watches.add(&self.uid, sources::watched(self.machine.pod(), true), &self.own_inbox);
                }
                self.machine.handle(Event::Volumes(result), now);
            }
            Done::Refreshed { tokens, result } => {
                self.content.is_refreshing = false;
                self.keep_tokens(tokens);
                if let Err(why) = result {
                    tracing::warn!(pod = %self.uid, why, "volumes were not brought up to date");
                    self.content.renew_at = now.checked_add(Duration::from_secs(10)).ok();
                }
            }
            Done::Started { container, signal, events } => {
                self.signals.insert(container, signal);
                events.into_iter().for_each(|event| self.machine.handle(event, now));
            }
            Done::Written { wanted, result } => self.written(wanted, result, now),
        }
    }

    fn keep_tokens(&mut self, tokens: Option<Tokens>) {
        if let Some(tokens) = tokens {
            self.content.renew_at = tokens.values().map(|issued| issued.renew_at).min();
            self.content.tokens = tokens;
        }
    }

    /// Carries out what the machine wants, then what follows from it: content, status, view, answers. Returns the moment up
    /// to which deadlines were looked at.
    fn obey(&mut self) -> Timestamp {
        let mut now = self.shared.now();
        loop {
            for action in self.machine.poll_actions(now) {
                self.act(action);
            }
            // What is done at once needs no status in between: what takes no time is written together.
            let mut has_more = false;
            while let Some(Some(done)) = futures::FutureExt::now_or_never(self.running.next()) {
                self.finish(done);
                has_more = true;
            }
            if !has_more {
                break;
            }
            now = self.shared.now();
        }
        self.refresh_content(now);
        if self.wants_deletion && !self.writer.is_writing {
            self.wants_deletion = false;
            self.is_deleting = true;
            let wanted = self.machine.status(now);
            let last_status = self.status_patch(&wanted);
            let pod = self.machine.pod().clone();
            self.running.push(Box::pin(acts::delete_object(self.shared.clone(), pod, last_status)));
        }
        let is_written = self.write_status(now);
        self.publish();
        if is_written && self.machine.is_at_rest() {
            for done in self.shutdowns.drain(..) {
                let _nobody_waits = done.send(());
            }
        }
        now
    }

    fn act(&mut self, action: Action) {
        tracing::trace!(pod = %self.uid, ?action, "act");
        let shared = self.shared.clone();
        let pod = self.machine.pod().clone();
        let ips: Vec<IpAddr> = self.machine.ips().to_vec();
        let future: BoxFuture<'static, Done> = match action {
            Action::Confirm => Box::pin(acts::confirm(shared, pod)),
            Action::SetUpVolumes => Box::pin(acts::set_up_volumes(shared, pod, self.content.tokens.clone())),
            Action::SetUpSandbox => Box::pin(sandbox::set_up(shared, pod)),
            Action::FindImage { container } => Box::pin(acts::find_image(shared, pod, container)),
            Action::PullImage { container } => Box::pin(acts::pull_image(shared, pod, container)),
            Action::StartContainer { container, id, attempt } => {
                let image = self.images.get(&container).map(|image| Image::clone(image));
                let start = containers::Start { container, id, attempt, image, ips };
                Box::pin(containers::start(shared, pod, start, self.content.tokens.clone()))
            }
            Action::RunHook { container, id, hook, limit } => {
                Box::pin(crate::probe::run_hook(shared, pod, ips, container, id, hook, limit))
            }
            Action::Probe { container, id, kind, .. } if shared.is_virtual() => {
                let age = self.machine.started_at(&container).map(|at| shared.now().duration_since(at));
                let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default();
                Box::pin(std::future::ready(crate::probe::scripted(&pod, &container, id, kind, age)))
            }
            Action::Probe { container, id, kind, limit } => {
                Box::pin(crate::probe::run_probe(shared, pod, ips, container, id, kind, limit))
            }
            Action::Terminate { container, id } => {
                let signal = self.signals.get(&container).copied().unwrap_or(Signal::TERM);
                Box::pin(containers::signal(shared, self.uid.clone(), id, signal))
            }
            Action::Kill { id, .. } => Box::pin(containers::signal(shared, self.uid.clone(), id, Signal::KILL)),
            Action::RemoveContainer { id, attempt, container } => {
                Box::pin(containers::remove(shared, pod, container, id, attempt))
            }
            Action::TearDown { volumes, logs } => {
                self.content = Content::default();
                Box::pin(sandbox::tear_down(shared, pod, self.deaths.clone(), volumes, logs))
            }
            Action::DeleteObject => {
                self.wants_deletion = true;
                return;
            }
            Action::Record(record) => {
                self.record(record);
                return;
            }
        };
        self.running.push(future);
    }

    fn record(&self, record: Record) {
        if self.shared.is_virtual() && matches!(record.reason, "Pulled" | "Created" | "Started") {
            // It did not happen: there is no image and no container.
            return;
        }
        let pod = self.machine.pod();
        let mut about = reference_to(pod.as_ref());
        about.field_path = record.container.map(|container| {
            let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
            let is_init = inits.into_iter().any(|one| one.name == container);
            let field = if is_init { "initContainers" } else { "containers" };
            format!("spec.{field}{{{container}}}")
        });
        let event_type = match record.event_type {
            EventType::Normal => RecordType::Normal,
            EventType::Warning => RecordType::Warning,
        };
        self.shared.recorder.record(about, event_type, record.reason, record.message);
    }

    /// Brings files up to date that changed in the API, or whose token grows old.
    fn refresh_content(&mut self, now: Timestamp) {
        let is_due = self.content.is_stale || self.content.renew_at.is_some_and(|at| at <= now);
        if !is_due || !self.content.is_set_up || self.content.is_refreshing || self.machine.is_at_rest() {
            return;
        }
        self.content.is_stale = false;
        self.content.is_refreshing = true;
        self.content.renew_at = None;
        let (shared, pod) = (self.shared.clone(), self.machine.pod().clone());
        let (ips, tokens) = (self.machine.ips().to_vec(), self.content.tokens.clone());
        self.running.push(Box::pin(acts::refresh(shared, pod, ips, tokens)));
    }

    /// Begins to write the status if it differs; returns whether the API has it.
    fn write_status(&mut self, now: Timestamp) -> bool {
        if self.is_gone {
            return true;
        }
        if self.writer.is_writing || self.is_deleting || self.writer.retry_at.is_some_and(|at| at > now) {
            return false;
        }
        let wanted = self.machine.status(now);
        let Some(patch) = self.status_patch(&wanted) else {
            self.writer.retry_at = None;
            return true;
        };
        let wanted = Box::new(wanted);
        self.writer.is_writing = true;
        let (shared, id) = (self.shared.clone(), pod_id(self.machine.pod()));
        self.running.push(Box::pin(async move {
            let patch = Patch::Strategic(patch);
            let result = shared.parts.client.patch(&id, Some("status"), patch, &WriteOptions::default()).await;
            Done::Written { wanted, result: result.map(|_| ()) }
        }));
        false
    }

    /// What the API does not know yet of a status; `None` if it knows all.
    fn status_patch(&self, wanted: &PodStatus) -> Option<Value> {
        let known = &self.writer.known;
        let is_going = self.machine.pod().metadata.deletion_timestamp.is_some();
        if known.status().is_some_and(|known| status::is_told(known, wanted, is_going)) {
            return None;
        }
        status::patch(&known.tree(), &status::tree(wanted), &self.uid, is_going)
    }

    fn written(&mut self, wanted: Box<PodStatus>, result: Result<(), Status>, now: Timestamp) {
        self.writer.is_writing = false;
        match result {
            Ok(()) => {
                self.writer.known = Known::Written(wanted);
                self.writer.retry_at = None;
                self.writer.pause = WRITE_PAUSE_FIRST;
            }
            Err(status) if matches!(status.reason, Some(Reason::NotFound | Reason::Conflict)) => {
                // Gone, or another pod of that name: the informer says which, and soon.
                tracing::debug!(pod = %self.uid, %status, "status not written");
                self.retry_write(now);
            }
            Err(status) => {
                tracing::warn!(pod = %self.uid, %status, "status not written");
                self.retry_write(now);
            }
        }
    }

    fn retry_write(&mut self, now: Timestamp) {
        self.writer.retry_at = Some(now.checked_add(self.writer.pause).unwrap_or(Timestamp::MAX));
        self.writer.pause = (self.writer.pause * 2).min(WRITE_PAUSE_MAX);
    }

    fn publish(&self) {
        let spec = self.machine.pod().spec.as_ref();
        let all = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
        let view = PodView {
            containers: all
                .map(|one| {
                    let name = one.name.as_str();
                    let view = ContainerView {
                        running: self.machine.running_id(name).map(str::to_owned),
                        current: self.machine.log_attempt(name, false),
                        previous: self.machine.log_attempt(name, true),
                        waiting: self.machine.waiting_reason(name),
                    };
                    (one.name.clone(), view)
                })
                .collect(),
        };
        self.view.send_if_modified(|old| {
            let differs = *old != view;
            *old = view;
            differs
        });
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let renew = self.content.renew_at.filter(|_| self.content.is_set_up && !self.content.is_refreshing);
        let write = self.writer.retry_at.filter(|_| !self.writer.is_writing);
        self.machine.next_deadline().into_iter().chain(renew).chain(write).min()
    }
}

async fn sleep_until(clock: &dyn informer::Clock, at: Option<Timestamp>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}
