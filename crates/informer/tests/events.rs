//! The recorder against a server that writes down what it is asked.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use client::{Client, Collection, DeleteOptions, Object, ObjectList, Patch, Selection, WatchStream, WriteOptions};
use informer::events::Source;
use informer::{EventRecorder, EventType, ManualClock};
use k8s_openapi::api::core::v1::ObjectReference;
use meta::{ObjectId, ResourceVersion, Status, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Has the events that were created and nothing else.
struct Ledger {
    names: Mutex<Vec<String>>,
    written: mpsc::UnboundedSender<String>,
}

impl Ledger {
    fn write(&self, line: String) -> Arc<Object> {
        self.written.send(line).unwrap();
        Arc::new(Object::new(ResourceVersion(1), Bytes::from_static(b"{}")))
    }
}

#[async_trait]
impl Client for Ledger {
    async fn create(
        &self,
        _: &Collection,
        _: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        assert!(options.patient, "nobody waits for an event");
        self.names.lock().unwrap().push(body["metadata"]["name"].as_str().unwrap().to_owned());
        Ok(self.write(format!("create {} x{}", body["message"], body["count"])))
    }

    async fn patch(
        &self,
        id: &ObjectId,
        _: Option<&str>,
        patch: Patch,
        _: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        if !self.names.lock().unwrap().contains(&id.name) {
            return Err(Status::not_found(&id.resource, &id.name));
        }
        let Patch::Merge(patch) = patch else { return Err(Status::bad_request("a merge patch is enough")) };
        Ok(self.write(format!("patch {} x{}", patch["message"], patch["count"])))
    }

    async fn get(&self, _: &ObjectId) -> Result<Arc<Object>, Status> {
        Err(Status::bad_request("a recorder does not read"))
    }

    async fn list(&self, _: &Collection, _: &Selection) -> Result<ObjectList, Status> {
        Err(Status::bad_request("a recorder does not read"))
    }

    async fn watch(&self, _: &Collection, _: &Selection, _: ResourceVersion) -> Result<WatchStream, Status> {
        Err(Status::bad_request("a recorder does not read"))
    }

    async fn update(&self, _: &ObjectId, _: Option<&str>, _: Value, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Err(Status::bad_request("a recorder does not replace"))
    }

    async fn delete(&self, _: &ObjectId, _: &DeleteOptions) -> Result<(), Status> {
        Err(Status::bad_request("a recorder does not delete"))
    }
}

#[tokio::test]
async fn what_happens_at_once_is_one_write_for_each_event_and_repeats_raise_its_count() {
    // C-89.
    let (written, mut lines) = mpsc::unbounded_channel();
    let ledger = Arc::new(Ledger { names: Mutex::default(), written });
    let clock = Arc::new(ManualClock::at(Timestamp::from_second(1_767_225_600).unwrap()));
    let cancel = CancellationToken::new();
    let source = Source::component("test");
    let recorder = EventRecorder::start(ledger, source, clock, &TaskTracker::new(), cancel.clone());
    let pod = ObjectReference { name: Some("web-0".to_owned()), ..ObjectReference::default() };
    let happens = |message: &str| recorder.record(pod.clone(), EventType::Normal, "Test", message);
    // Nothing is written before this task waits.
    for message in ["a", "b", "a", "a"] {
        happens(message);
    }
    let mut next = async || lines.recv().await.unwrap();
    assert_eq!([next().await, next().await], [r#"create "a" x3"#, r#"create "b" x1"#]);
    happens("a");
    assert_eq!(next().await, r#"patch "a" x4"#);
    cancel.cancel();
}
