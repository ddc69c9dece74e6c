//! Following the API: lists, then watches, of everything that the planner looks at.

use anyhow::{Result, anyhow};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::world::{Seen, World};

/// Most changes that wait to be taken; a follower waits then.
const SEEN_MAX: usize = 256;

/// What a follower says.
enum Told {
    /// A change.
    Seen(Seen),
    /// Everything that was there has been told.
    Listed,
    /// The API server does not answer any more.
    Lost(String),
}

/// The followers of one cluster; they stop when this is dropped.
pub(super) struct Followers {
    inbox: mpsc::Receiver<Told>,
    tasks: JoinSet<()>,
    unlisted: usize,
}

impl Followers {
    pub(super) fn start(client: &Client) -> Self {
        let (sender, inbox) = mpsc::channel(SEEN_MAX);
        let mut tasks = JoinSet::new();
        // Sets come as they are on the wire: the planner reads them itself, and compares every field of the template.
        let sets = ApiResource::erase::<StatefulSet>(&());
        let sets = Api::<DynamicObject>::all_with(client.clone(), &sets);
        tasks.spawn(follow(sets, sender.clone(), |set, there| Seen::Set(Box::new(set), there)));
        tasks.spawn(follow(Api::<Pod>::all(client.clone()), sender.clone(), |pod, there| {
            Seen::Pod(Box::new(pod), there)
        }));
        tasks.spawn(follow(Api::<PersistentVolumeClaim>::all(client.clone()), sender.clone(), |claim, there| {
            Seen::Claim(Box::new(claim), there)
        }));
        tasks.spawn(follow(Api::<ControllerRevision>::all(client.clone()), sender.clone(), |revision, there| {
            Seen::Revision(Box::new(revision), there)
        }));
        tasks.spawn(follow(Api::<Event>::all(client.clone()), sender, |event, _| Seen::Event(Box::new(event))));
        let unlisted = tasks.len();
        Self { inbox, tasks, unlisted }
    }

    /// Whether all that was there at the start has been taken.
    pub(super) fn have_listed(&self) -> bool {
        self.unlisted == 0
    }

    /// Waits for a change and takes all that are there. Nothing is lost if this is dropped while it waits.
    ///
    /// # Errors
    /// If the API server does not answer any more, or tells of a set that cannot be understood.
    pub(super) async fn next(&mut self, world: &mut World) -> Result<()> {
        let mut told = self.inbox.recv().await;
        loop {
            match told {
                Some(Told::Seen(seen)) => world.take(seen)?,
                Some(Told::Listed) => self.unlisted = self.unlisted.saturating_sub(1),
                Some(Told::Lost(why)) => {
                    self.tasks.abort_all();
                    return Err(anyhow!(
                        "the connection to the API server was lost ({why}); `roadstead status` tells whether it runs"
                    ));
                }
                None => return Err(anyhow!("nothing follows the API server any more")),
            }
            match self.inbox.try_recv() {
                Ok(more) => told = Some(more),
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Lists, then watches, for ever; starts over when the watch ends.
async fn follow<K>(api: Api<K>, sender: mpsc::Sender<Told>, wrap: fn(K, bool) -> Seen)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut is_first = true;
    loop {
        let list = match api.list(&ListParams::default()).await {
            Ok(list) => list,
            Err(error) => {
                let _ = sender.send(Told::Lost(error.to_string())).await;
                return;
            }
        };
        let mut revision = list.metadata.resource_version.clone().unwrap_or_default();
        for item in list.items {
            if sender.send(Told::Seen(wrap(item, true))).await.is_err() {
                return;
            }
        }
        if std::mem::take(&mut is_first) && sender.send(Told::Listed).await.is_err() {
            return;
        }
        while let Ok(stream) = api.watch(&WatchParams::default(), &revision).await {
            let mut stream = stream.boxed();
            let mut expired = false;
            while let Ok(Some(event)) = stream.try_next().await {
                let (object, there) = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
                    WatchEvent::Deleted(object) => (object, false),
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
                if sender.send(Told::Seen(wrap(object, there))).await.is_err() {
                    return;
                }
            }
            if expired {
                break;
            }
        }
    }
}
