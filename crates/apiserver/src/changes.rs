//! A watch as the API means it: store events seen through a selection (V-75 to V-85, V-95 to V-99).

use std::collections::VecDeque;
use std::sync::Arc;

use apiserver_core::kinds::KindDef;
use apiserver_core::selector::Selector;
use client::Object;
use meta::Status;
use store::Watch;
use store_core::{At, Event, EventKind, Key, Range, Record, Revision};

use crate::keys;
use crate::registry::{Registry, object, read_status, watch_status};
use crate::stored;

/// Events that are taken from the store at once.
const BATCH_MAX: usize = 64;

/// What a watch is asked for.
#[derive(Clone, Debug)]
pub struct WatchRequest {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Which objects.
    pub selector: Arc<Selector>,
    /// Where it begins.
    pub from: WatchFrom,
}

/// Where a watch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchFrom {
    /// Behind a revision.
    After(Revision),
    /// With the current state as additions; not older than the revision.
    Now(Revision),
    /// As [`WatchFrom::Now`], with a marked bookmark behind the current state (V-96).
    NowMarked(Revision),
}

/// One thing that a watcher is told.
#[derive(Clone, Debug)]
pub enum Change {
    /// Appeared, or began to match.
    Added(Arc<Object>),
    /// Changed.
    Modified(Arc<Object>),
    /// Gone, or stopped to match.
    Deleted(Arc<Object>),
    /// The current state has been told, as of the revision.
    InitialEventsEnd(Revision),
}

/// A running watch.
pub struct Changes {
    registry: Arc<Registry>,
    def: &'static KindDef,
    selector: Option<Arc<Selector>>,
    initial: VecDeque<Arc<Record>>,
    initial_end: Option<Revision>,
    watch: Watch,
}

impl Registry {
    /// Begins a watch.
    ///
    /// # Errors
    /// 410 if the store does not remember that far back, 504 for a revision that has not come.
    pub async fn watch(self: &Arc<Self>, def: &'static KindDef, request: WatchRequest) -> Result<Changes, Status> {
        let prefix = keys::prefix(&def.kind, request.namespace.as_deref());
        // A watch of one name in one place listens to one key.
        let one = request.selector.exact_name().filter(|_| request.namespace.is_some() || !def.kind.is_namespaced());
        let range = match one {
            None => Range::prefix(prefix),
            Some(name) => {
                let start = Key::from(format!("{prefix}{name}"));
                Range { end: Some(start.successor()), start, at: At::Latest, limit: None }
            }
        };
        let (initial, initial_end, from) = match request.from {
            WatchFrom::After(revision) => {
                self.reached(revision).await?;
                (VecDeque::new(), None, revision)
            }
            WatchFrom::Now(revision) | WatchFrom::NowMarked(revision) => {
                self.reached(revision).await?;
                let values = self.store.range(&range).map_err(|error| read_status(&error))?;
                let marked = matches!(request.from, WatchFrom::NowMarked(_)).then_some(values.revision);
                (values.records.into(), marked, values.revision)
            }
        };
        let watch = self.store.watch(&range.start, from).map_err(|error| watch_status(&error))?;
        let selector = (!request.selector.selects_everything()).then_some(request.selector);
        Ok(Changes { registry: self.clone(), def, selector, initial, initial_end, watch })
    }
}

impl Changes {
    /// The next changes: at least one. Waits for them. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The Status with which the watch ends.
    pub async fn next(&mut self) -> Result<Vec<Change>, Status> {
        loop {
            if let Some(changes) = self.next_initial() {
                return Ok(changes);
            }
            let events = self.watch.next_batch(BATCH_MAX).await.map_err(|error| watch_status(&error))?;
            let changes: Vec<Change> = events.iter().filter_map(|event| self.change(event)).collect();
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    fn next_initial(&mut self) -> Option<Vec<Change>> {
        let mut changes = Vec::new();
        while changes.len() < BATCH_MAX
            && let Some(record) = self.initial.pop_front()
        {
            let object = object(self.def, &record);
            if self.selector.as_ref().is_none_or(|selector| selector.matches(object.tree())) {
                changes.push(Change::Added(object));
            }
        }
        if self.initial.is_empty()
            && let Some(revision) = self.initial_end.take()
        {
            changes.push(Change::InitialEventsEnd(revision));
        }
        (!changes.is_empty()).then_some(changes)
    }

    /// The revision up to which everything has been told; `None` while there is something to tell (V-82, V-83).
    pub fn progress(&mut self) -> Option<Revision> {
        if self.initial.is_empty() && self.initial_end.is_none() { self.watch.progress() } else { None }
    }

    /// What an event is for this selection (V-80).
    fn change(&self, event: &Event) -> Option<Change> {
        let Some(selector) = &self.selector else {
            let object = self.registry.event_object(self.def, &event.record);
            return Some(match event.kind() {
                EventKind::Created => Change::Added(object),
                EventKind::Updated => Change::Modified(object),
                EventKind::Deleted => Change::Deleted(object),
            });
        };
        let object = self.registry.event_object(self.def, &event.record);
        let matched = || {
            event
                .previous
                .as_ref()
                .is_some_and(|previous| selector.matches(self.registry.event_object(self.def, previous).tree()))
        };
        match event.kind() {
            EventKind::Created => selector.matches(object.tree()).then(|| Change::Added(object.clone())),
            EventKind::Updated => match (matched(), selector.matches(object.tree())) {
                (false, false) => None,
                (false, true) => Some(Change::Added(object)),
                (true, true) => Some(Change::Modified(object)),
                (true, false) if meta::mutants::is_on("exit-from-selection-is-not-told") => None,
                (true, false) => event.previous.as_ref().map(|previous| self.left(previous, event.revision())),
            },
            // Whether the reader knew the object depends on its state before, not on its last one.
            EventKind::Deleted => match event.previous.as_ref() {
                Some(_) => matched().then(|| Change::Deleted(object.clone())),
                None => selector.matches(object.tree()).then(|| Change::Deleted(object.clone())),
            },
        }
    }

    /// The previous state with the revision of the change.
    fn left(&self, previous: &Arc<Record>, revision: Revision) -> Change {
        let object = self.registry.event_object(self.def, previous);
        Change::Deleted(stored::shown(object.tree().as_ref().clone(), revision))
    }
}
