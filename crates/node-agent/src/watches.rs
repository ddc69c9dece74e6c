//! Watches of the single objects that pods name, shared by all pods that name the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Client, Collection, Selection, WatchEvent};
use futures::StreamExt;
use meta::{ObjectId, Status, Uid};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pod::Message;

/// Pause after a list or watch that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Who wants to know of which object.
pub(crate) struct Watches {
    client: Arc<dyn Client>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

struct Entry {
    readers: BTreeMap<Uid, mpsc::Sender<Message>>,
    stop: CancellationToken,
}

type Entries = Arc<Mutex<BTreeMap<String, Entry>>>;

impl Watches {
    pub(crate) fn new(client: Arc<dyn Client>, tasks: TaskTracker, cancel: CancellationToken) -> Self {
        Self { client, tasks, cancel, entries: Arc::default() }
    }

    /// From now on the pod is told whenever one of these objects changes. Objects it was told of before stay.
    pub(crate) fn add(&self, pod: &Uid, objects: BTreeSet<ObjectKey>, inbox: &mpsc::Sender<Message>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for object in objects {
            let key = object.0.to_string();
            let entry = entries.entry(key.clone()).or_insert_with(|| {
                let stop = self.cancel.child_token();
                let follow = follow(self.client.clone(), object.0, key, self.entries.clone());
                self.tasks.spawn(stop.clone().run_until_cancelled_owned(follow));
                Entry { readers: BTreeMap::new(), stop }
            });
            entry.readers.insert(pod.clone(), inbox.clone());
        }
    }

    /// Nothing more is told to the pod.
    pub(crate) fn remove(&self, pod: &Uid) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| {
            entry.readers.remove(pod);
            if entry.readers.is_empty() {
                entry.stop.cancel();
            }
            !entry.readers.is_empty()
        });
    }
}

/// An object id with an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ObjectKey(pub(crate) ObjectId);

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_string().cmp(&other.0.to_string())
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Follows one object for ever. Every change after the first list is told, and every gap counts as a change.
async fn follow(client: Arc<dyn Client>, object: ObjectId, key: String, entries: Entries) {
    let mut is_first = true;
    loop {
        if let Err(error) = follow_once(client.as_ref(), &object, &key, &entries, is_first).await {
            tracing::debug!(object = %object, %error, "watch ended");
        }
        is_first = false;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn follow_once(
    client: &dyn Client,
    object: &ObjectId,
    key: &str,
    entries: &Entries,
    is_first: bool,
) -> Result<(), Status> {
    let target = Collection { resource: object.resource.clone(), namespace: object.namespace.clone() };
    let selection = Selection { fields: format!("metadata.name={}", object.name), ..Selection::default() };
    let list = client.list(&target, &selection).await?;
    if !is_first {
        tell(key, entries);
    }
    let mut events = client.watch(&target, &selection, list.resource_version).await?;
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_) => tell(key, entries),
            WatchEvent::Bookmark(_) => {}
        }
    }
    Ok(())
}

fn tell(key: &str, entries: &Entries) {
    let entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
    for inbox in entries.get(key).into_iter().flat_map(|entry| entry.readers.values()) {
        // A pod whose inbox is full has work to do anyway and looks at its sources when it retries.
        let _full = inbox.try_send(Message::SourcesChanged);
    }
}
