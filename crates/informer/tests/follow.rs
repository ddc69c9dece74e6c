//! An informer against a scripted server: what it lists and watches is said line by line.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use client::{
    Client, Collection, DeleteOptions, Object, ObjectList, Patch, Selection, WatchEvent, WatchStream, WriteOptions,
};
use futures::StreamExt;
use informer::{Ahead, Cacheable, Informer, Kinded, Scope};
use k8s_openapi::api::core::v1::ConfigMap;
use meta::{ObjectId, Reason, ResourceVersion, Status};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Feed = mpsc::UnboundedReceiver<Result<WatchEvent, Status>>;

/// Answers lists, watches and reads from a script; nothing else is ever asked.
#[derive(Default)]
struct Script {
    there: Mutex<Vec<Arc<Object>>>,
    lists: Mutex<VecDeque<Result<ObjectList, Status>>>,
    watches: Mutex<VecDeque<Feed>>,
    asked: Mutex<Vec<String>>,
}

fn object(name: &str, uid: &str, revision: u64, owner: &str) -> Arc<Object> {
    let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "d", "uid": uid, "resourceVersion": revision.to_string(),
            "managedFields": [{"manager": "x"}]}});
    if !owner.is_empty() {
        body["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "X", "name": "o", "uid": owner}]);
    }
    Arc::new(Object::new(ResourceVersion(revision), Bytes::from(body.to_string())))
}

impl Script {
    fn list(&self, revision: u64, items: &[Arc<Object>]) {
        let list = ObjectList { resource_version: ResourceVersion(revision), items: items.to_vec() };
        self.lists.lock().unwrap().push_back(Ok(list));
    }

    fn watch(&self) -> mpsc::UnboundedSender<Result<WatchEvent, Status>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watches.lock().unwrap().push_back(receiver);
        sender
    }
}

#[async_trait]
impl Client for Script {
    async fn list(&self, _: &Collection, _: &Selection) -> Result<ObjectList, Status> {
        self.asked.lock().unwrap().push("list".to_owned());
        let next = self.lists.lock().unwrap().pop_front();
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn watch(&self, _: &Collection, _: &Selection, from: ResourceVersion) -> Result<WatchStream, Status> {
        self.asked.lock().unwrap().push(format!("watch {from}"));
        let next = self.watches.lock().unwrap().pop_front();
        let Some(feed) = next else { return std::future::pending().await };
        Ok(futures::stream::unfold(feed, |mut feed| async { feed.recv().await.map(|event| (event, feed)) }).boxed())
    }

    async fn get(&self, id: &ObjectId) -> Result<Arc<Object>, Status> {
        let there = self.there.lock().unwrap();
        let found = there.iter().find(|object| object.name() == id.name).cloned();
        found.ok_or_else(|| Status::not_found(&id.resource, &id.name))
    }

    async fn create(&self, _: &Collection, _: Option<&str>, _: Value, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Err(Status::bad_request("not in the script"))
    }

    async fn update(&self, _: &ObjectId, _: Option<&str>, _: Value, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Err(Status::bad_request("not in the script"))
    }

    async fn patch(&self, _: &ObjectId, _: Option<&str>, _: Patch, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Err(Status::bad_request("not in the script"))
    }

    async fn delete(&self, _: &ObjectId, _: &DeleteOptions) -> Result<(), Status> {
        Err(Status::bad_request("not in the script"))
    }
}

struct Bed {
    script: Arc<Script>,
    informer: Informer<ConfigMap>,
    changes: Arc<Mutex<Vec<String>>>,
    cancel: CancellationToken,
}

impl Bed {
    fn start(script: Arc<Script>) -> Self {
        let cancel = CancellationToken::new();
        let client: Arc<dyn Client> = script.clone();
        let informer = Informer::start(client, Scope::all(ConfigMap::resource()), &TaskTracker::new(), cancel.clone());
        let changes = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&changes);
        informer.on_change(move |change| {
            let side = |side: &Option<Arc<informer::Cached<ConfigMap>>>| {
                side.as_ref()
                    .map_or_else(|| "-".to_owned(), |cached| format!("{}@{}", cached.uid(), cached.resource_version))
            };
            log.lock().unwrap().push(format!("{} {} -> {}", change.key(), side(&change.before), side(&change.after)));
        });
        Self { script, informer, changes, cancel }
    }

    async fn seen(&self, revision: u64) {
        self.informer.wait_seen(ResourceVersion(revision), Duration::from_secs(10)).await.unwrap();
    }

    fn took(&self) -> Vec<String> {
        std::mem::take(&mut self.changes.lock().unwrap())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[tokio::test]
async fn lists_then_follows_and_knows_its_owners() {
    let script = Arc::new(Script::default());
    script.list(5, &[object("a", "a1", 3, "o1"), object("b", "b1", 4, "")]);
    let feed = script.watch();
    let bed = Bed::start(Arc::clone(&script));
    bed.informer.synced().await;
    assert_eq!(bed.informer.len(), 2);
    assert_eq!(bed.informer.get("d", "a").unwrap().metadata.managed_fields, None);
    assert_eq!(bed.informer.owned_by("o1").len(), 1);
    feed.send(Ok(WatchEvent::Modified(object("a", "a1", 6, "o2")))).unwrap();
    feed.send(Ok(WatchEvent::Deleted(object("b", "b1", 7, "")))).unwrap();
    feed.send(Ok(WatchEvent::Bookmark(ResourceVersion(9)))).unwrap();
    bed.seen(9).await;
    assert_eq!(bed.took(), ["d/a - -> a1@3", "d/b - -> b1@4", "d/a a1@3 -> a1@6", "d/b b1@4 -> -"]);
    assert_eq!((bed.informer.owned_by("o1").len(), bed.informer.owned_by("o2").len()), (0, 1));
    assert_eq!(bed.script.asked.lock().unwrap().as_slice(), ["list", "watch 5"]);
}

#[tokio::test]
async fn an_ended_watch_is_resumed_from_the_last_revision_seen() {
    let script = Arc::new(Script::default());
    script.list(5, &[]);
    let (first, second) = (script.watch(), script.watch());
    let bed = Bed::start(Arc::clone(&script));
    first.send(Ok(WatchEvent::Added(object("a", "a1", 6, "")))).unwrap();
    drop(first);
    second.send(Ok(WatchEvent::Added(object("b", "b1", 8, "")))).unwrap();
    bed.seen(8).await;
    assert_eq!(script.asked.lock().unwrap().as_slice(), ["list", "watch 5", "watch 6"]);
}

#[tokio::test]
async fn a_gone_revision_is_listed_again_and_what_was_missed_is_told() {
    let script = Arc::new(Script::default());
    script.list(5, &[object("a", "a1", 1, ""), object("b", "b1", 2, ""), object("c", "c1", 3, "")]);
    script.list(20, &[object("a", "a1", 1, ""), object("b", "b2", 15, ""), object("e", "e1", 16, "")]);
    let (first, _second) = (script.watch(), script.watch());
    let bed = Bed::start(Arc::clone(&script));
    bed.seen(5).await;
    bed.took();
    first.send(Err(Status::new(Reason::Expired, "too old resource version"))).unwrap();
    bed.seen(20).await;
    assert_eq!(bed.took(), ["d/b b1@2 -> -", "d/b - -> b2@15", "d/e - -> e1@16", "d/c c1@3 -> -"]);
    assert_eq!(script.asked.lock().unwrap()[..3], ["list", "watch 5", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_behind_says_so() {
    // C-10.
    let script = Arc::new(Script::default());
    script.list(5, &[]);
    let bed = Bed::start(script);
    bed.informer.synced().await;
    let error = bed.informer.wait_seen(ResourceVersion(6), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), "the cache has seen revision 5, not yet 6, after 50ms");
}

/// A writer who was not told what became of his write (C-10) asks what the cache has to show before he plans.
#[tokio::test(start_paused = true)]
async fn the_server_is_asked_how_far_it_is_ahead_of_the_cache() {
    let (a, b) = (object("a", "a1", 3, ""), object("b", "b1", 4, ""));
    let (a_changed, b_again, c) = (object("a", "a1", 8, ""), object("b", "b2", 9, ""), object("c", "c1", 7, ""));
    for (what, there, newest, gone) in [
        ("nothing was done", vec![a.clone(), b.clone()], 4, ""),
        ("one was made", vec![a.clone(), b.clone(), c], 7, ""),
        ("one was changed", vec![a_changed, b.clone()], 8, ""),
        ("one is gone", vec![a.clone()], 3, "b1"),
        ("one is gone and there again", vec![a.clone(), b_again], 9, ""),
        ("all are gone", vec![], 0, "a1 b1"),
    ] {
        let script = Arc::new(Script::default());
        script.list(5, &[a.clone(), b.clone()]);
        let bed = Bed::start(Arc::clone(&script));
        bed.informer.synced().await;
        let gone_of = |ahead: &Ahead| ahead.gone.iter().map(|(_, uid)| uid.0.clone()).collect::<Vec<_>>().join(" ");
        script.list(10, &there);
        let ahead = bed.informer.ahead("d", None).await.unwrap();
        assert_eq!((ahead.newest, &*gone_of(&ahead)), (ResourceVersion(newest), gone), "{what}");
        // One by one it is the same.
        script.there.lock().unwrap().extend(there);
        let mut newest_of_each = ResourceVersion::default();
        let mut gone_of_each = Vec::new();
        for name in ["a", "b", "c"] {
            let ahead = bed.informer.ahead("d", Some(name)).await.unwrap();
            newest_of_each = newest_of_each.max(ahead.newest);
            gone_of_each.extend(ahead.gone);
        }
        let of_each = Ahead { newest: newest_of_each, gone: gone_of_each };
        assert_eq!(of_each, ahead, "{what}");
    }
    let script = Arc::new(Script::default());
    script.list(5, &[]);
    let bed = Bed::start(Arc::clone(&script));
    bed.informer.synced().await;
    script.lists.lock().unwrap().push_back(Err(Status::new(Reason::ServiceUnavailable, "not now")));
    assert_eq!(bed.informer.ahead("d", None).await.unwrap_err().message, "not now");
}

#[tokio::test(start_paused = true)]
async fn a_failed_list_is_tried_again() {
    let script = Arc::new(Script::default());
    script.lists.lock().unwrap().push_back(Err(Status::new(Reason::ServiceUnavailable, "not yet")));
    script.list(5, &[object("a", "a1", 1, "")]);
    let bed = Bed::start(script);
    bed.informer.synced().await;
    assert_eq!(bed.informer.len(), 1);
}
