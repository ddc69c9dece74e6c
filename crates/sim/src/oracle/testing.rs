//! Histories and requests for the judges' own tests.

use std::sync::Arc;

use bytes::Bytes;
use client::Object;
use meta::{ResourceId, ResourceVersion};
use serde_json::Value;
use store_core::{Event, Key, Record, Revision};

use super::history::History;
use crate::wire::{Call, Verb};

/// A history that is written by hand.
#[derive(Default)]
pub(super) struct Play {
    pub(super) history: History,
    last: std::collections::BTreeMap<String, Arc<Record>>,
}

impl Play {
    fn commit(&mut self, key: &str, value: Option<Value>) -> u64 {
        let revision = Revision(self.history.revision() + 1);
        let previous = self.last.remove(key);
        let bytes = value.as_ref().map(|value| Bytes::from(value.to_string()));
        let bytes = bytes.or_else(|| previous.as_ref().map(|record| record.value.clone())).unwrap_or_default();
        let created = previous.as_ref().map_or(revision, |record| record.created);
        let record = Arc::new(Record::new(Key::from(key), bytes, created, revision, value.is_none()));
        if value.is_some() {
            self.last.insert(key.to_owned(), Arc::clone(&record));
        }
        let found = self.history.committed(&Arc::new(Event { record, previous }), revision.0 * 10);
        assert!(found.is_empty(), "{found:?}");
        revision.0
    }

    /// Stores an object; the revision.
    pub(super) fn put(&mut self, key: &str, value: Value) -> u64 {
        self.commit(key, Some(value))
    }

    /// Removes an object; the revision.
    pub(super) fn drop(&mut self, key: &str) -> u64 {
        self.commit(key, None)
    }

    /// An object as the server answers it.
    pub(super) fn object(&self, key: &str) -> Arc<Object> {
        let record = &self.last[key];
        Arc::new(Object::new(ResourceVersion(record.revision.0), record.value.clone()))
    }
}

/// A request about something in the namespace `default`.
pub(super) fn call(verb: Verb, resource: &'static str, name: &str, user: &str, incarnation: u64) -> Call {
    let group = if ["statefulsets", "controllerrevisions"].contains(&resource) { "apps" } else { "" };
    Call {
        part: if user.contains("controller") { "controllers" } else { user }.to_owned(),
        incarnation,
        user: user.to_owned(),
        verb,
        resource: ResourceId::of(group, "v1", resource),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
        body: Arc::new(Value::Null),
        delete: None,
        dry_run: false,
    }
}
