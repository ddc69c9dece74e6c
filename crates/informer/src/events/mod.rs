//! Events for people: what happened to an object, repeats folded into a count.
//!
//! The deciding half is [`correlate`]: which of the things that happened become a new Event, which raise the count of
//! one that is there, which are dropped (C-89). The recorder here writes what it decides, from one task, so that events
//! neither hold up nor overtake anybody.

pub mod correlate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use client::{Client, Collection, Patch, WriteOptions};
use futures::future::join_all;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use meta::{ObjectId, Reason, ResourceId, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use correlate::{Correlator, Happening, Verdict};

/// Most events that wait to be written; more are dropped and counted.
const WAITING_MAX: usize = 4096;
/// Most events that are written at once.
const TOGETHER_MAX: usize = 64;

/// Where events are stored.
pub const EVENTS: ResourceId = ResourceId::of("", "v1", "events");

/// Whether an event is good news.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl EventType {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// A reference to an object, for `involvedObject`.
pub fn reference_to<T: k8s_openapi::Metadata<Ty = ObjectMeta>>(object: &T) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(T::API_VERSION.to_owned()),
        kind: Some(T::KIND.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// Records events of one component. Clone it freely.
#[derive(Clone)]
pub struct EventRecorder {
    inbox: mpsc::Sender<(Happening, Arc<Source>)>,
    source: Arc<Source>,
    clock: Arc<dyn Clock>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for EventRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventRecorder").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

/// Who writes events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// `source.component`, for example `statefulset-controller`.
    pub component: String,
    /// `source.host`; empty for parts that run on no node.
    pub host: String,
}

impl Source {
    /// A component that runs on no node.
    pub fn component(name: &str) -> Self {
        Self { component: name.to_owned(), host: String::new() }
    }
}

impl EventRecorder {
    /// Starts the writing task; it ends with `cancel`, what waits then is lost.
    pub fn start(
        client: Arc<dyn Client>,
        source: Source,
        clock: Arc<dyn Clock>,
        tasks: &TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        let (inbox, outbox) = mpsc::channel(WAITING_MAX);
        let writer = Writer { client, correlator: Correlator::default() };
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = writer.run(outbox) => {}
            }
        });
        Self { inbox, source: Arc::new(source), clock, dropped: Arc::default() }
    }

    /// The same recorder, for what happens on another host: many virtual nodes share one writing task.
    pub fn on_host(&self, host: &str) -> Self {
        let source = Source { component: self.source.component.clone(), host: host.to_owned() };
        Self { source: Arc::new(source), ..self.clone() }
    }

    /// Records that something happened to an object; returns at once.
    pub fn record(&self, about: ObjectReference, event_type: EventType, reason: &str, message: impl Into<String>) {
        let happening =
            Happening { about, event_type, reason: reason.to_owned(), message: message.into(), at: self.clock.now() };
        if self.inbox.try_send((happening, Arc::clone(&self.source))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What happened, and who says so.
#[derive(Clone, Copy)]
struct What<'a> {
    happening: &'a Happening,
    source: &'a Source,
}

struct Writer {
    client: Arc<dyn Client>,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<(Happening, Arc<Source>)>) {
        let mut waiting = Vec::with_capacity(TOGETHER_MAX);
        while inbox.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
            // One write an event and round: the last that was decided of it says all.
            let mut round: Vec<(Verdict, What<'_>)> = Vec::with_capacity(waiting.len());
            for (happening, source) in &waiting {
                let verdict = self.correlator.handle(happening);
                let what = What { happening, source };
                match round
                    .iter_mut()
                    .find(|(earlier, _)| earlier.name().is_some_and(|name| verdict.name() == Some(name)))
                {
                    Some(earlier) => *earlier = (verdict, what),
                    None => round.push((verdict, what)),
                }
            }
            join_all(round.iter().map(|(verdict, what)| self.write(verdict, *what))).await;
            waiting.clear();
        }
    }

    async fn write(&self, verdict: &Verdict, what: What<'_>) {
        match verdict {
            Verdict::Drop => {}
            Verdict::Create { name, message } => self.create(what, name, message, 1, what.happening.at).await,
            Verdict::Repeat { name, message, count, first } => self.repeat(what, name, message, *count, *first).await,
        }
    }

    async fn create(&self, what: What<'_>, name: &str, message: &str, count: u32, first: Timestamp) {
        let namespace = namespace_of(&what.happening.about);
        let body = event_body(what, name, message, count, first);
        let target = Collection::in_namespace(EVENTS, namespace);
        match self.client.create(&target, None, body, &WriteOptions::patient()).await {
            Ok(_) => {}
            // A namespace that is going away takes no more events (V-39); that is as it should be.
            Err(error) => tracing::debug!(namespace, name, %error, "an event could not be written"),
        }
    }

    async fn repeat(&self, what: What<'_>, name: &str, message: &str, count: u32, first: Timestamp) {
        let id = ObjectId::namespaced(EVENTS, namespace_of(&what.happening.about), name);
        let patch = json!({"count": count, "lastTimestamp": seconds(what.happening.at), "message": message});
        match self.client.patch(&id, None, Patch::Merge(patch), &WriteOptions::patient()).await {
            Ok(_) => {}
            // Expired meanwhile: write it anew, with the count it had reached.
            Err(error) if error.reason == Some(Reason::NotFound) => {
                self.create(what, name, message, count, first).await;
            }
            Err(error) => tracing::debug!(name, %error, "an event's count could not be raised"),
        }
    }
}

fn namespace_of(about: &ObjectReference) -> &str {
    about.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

/// RFC 3339 with whole seconds, as `metav1.Time` prints.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn event_body(what: What<'_>, name: &str, message: &str, count: u32, first: Timestamp) -> Value {
    let What { happening: what, source } = what;
    let mut from = json!({"component": source.component});
    if !source.host.is_empty() {
        from["host"] = json!(source.host);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace_of(&what.about)},
        "involvedObject": what.about,
        "reason": what.reason,
        "message": message,
        "type": what.event_type.as_str(),
        "source": from,
        "firstTimestamp": seconds(first),
        "lastTimestamp": seconds(what.at),
        "count": count,
        "reportingComponent": source.component,
        "reportingInstance": source.host,
    })
}
