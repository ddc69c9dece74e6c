//! One watch.

use std::sync::Arc;

use futures::stream::{self, Stream};
use store_core::{Event, Revision, Stored};

use crate::WatchError;
use crate::hub::Group;
use crate::shared::{FetchError, Shared};

/// Changes that a lagging watch looks at in one go.
const CATCH_UP_SCAN_MAX: usize = 2_048;

/// Every event of one prefix behind a revision, exactly once and in order, or an error (D3, S16).
///
/// After an error the watch is at its end: every further call gives the same error.
pub struct Watch {
    shared: Arc<Shared>,
    group: Arc<Group>,
    id: u64,
    position: Revision,
    ended: Option<WatchError>,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, group: Arc<Group>, id: u64, position: Revision) -> Self {
        Self { shared, group, id, position, ended: None }
    }

    /// The next events: at least one, usually at most `max`. Waits for them. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] if the watch was slower than the history is long: list again.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        loop {
            let group = self.group.clone();
            // Registered before looking, so that no event falls in between.
            let changed = group.changed.notified();
            let closed = self.shared.hub.is_closed();
            let events = self.try_next_batch(max)?;
            if !events.is_empty() {
                return Ok(events);
            }
            if closed {
                self.ended = Some(WatchError::Closed);
                return Err(WatchError::Closed);
            }
            changed.await;
        }
    }

    /// The next events if there are any now; empty otherwise.
    ///
    /// # Errors
    /// As [`Watch::next_batch`].
    pub fn try_next_batch(&mut self, max: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let taken = self.take(max);
        if let Err(error) = &taken {
            self.ended = Some(error.clone());
        }
        taken
    }

    /// Every event of this prefix up to the returned revision has been handed out: what a bookmark promises (V-82,
    /// V-83). `None` while there is something to take.
    pub fn progress(&mut self) -> Option<Revision> {
        if self.ended.is_some() {
            return None;
        }
        // Asked first: what is in the ring afterwards covers everything up to it.
        let announced = self.shared.hub.announced();
        if !meta::mutants::is_on("bookmark-overtakes-events") && !self.group.take(self.id, self.position, 1)?.is_empty()
        {
            // Taking one moved the position that holds the history; put it back.
            self.group.advance(self.id, self.position);
            return None;
        }
        self.position = self.position.max(announced);
        self.group.advance(self.id, self.position);
        Some(self.position)
    }

    /// The revision of the last event that was handed out, or where the watch began.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// The watch as a stream of single events; ends after its first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Arc<Event>, WatchError>> + Send {
        let start = (Some(self), Vec::new().into_iter());
        stream::unfold(start, |(watch, mut ready)| async move {
            if let Some(event) = ready.next() {
                return Some((Ok(event), (watch, ready)));
            }
            let mut watch = watch?;
            match watch.next_batch(64).await {
                Ok(events) => {
                    let mut ready = events.into_iter();
                    let event = ready.next()?;
                    Some((Ok(event), (Some(watch), ready)))
                }
                Err(error) => Some((Err(error), (None, ready))),
            }
        })
    }

    fn take(&mut self, max: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        loop {
            if let Some(events) = self.group.take(self.id, self.position, max) {
                if let Some(last) = events.last() {
                    self.position = last.revision();
                }
                return Ok(events);
            }
            let events = self.catch_up()?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Reads a stretch of history; moves the position even if nothing of it matched.
    fn catch_up(&mut self) -> Result<Vec<Arc<Event>>, WatchError> {
        if meta::mutants::is_on("slow-watch-loses-events") {
            self.position = self.shared.hub.announced();
            return Ok(Vec::new());
        }
        let catchup = {
            let index = self.shared.index();
            index
                .catch_up(&self.group.prefix, self.position, index.revision(), CATCH_UP_SCAN_MAX)
                .ok_or(WatchError::Compacted { requested: self.position, floor: index.floor() })?
        };
        let mut events = Vec::with_capacity(catchup.changes.len());
        for (record, previous) in catchup.changes {
            let record = self.shared.resolve(record).map_err(|error| self.end(error))?;
            let previous = previous.map(|previous| self.previous(previous)).transpose()?.flatten();
            events.push(Arc::new(Event { record, previous }));
        }
        self.position = catchup.upto;
        self.group.advance(self.id, self.position);
        Ok(events)
    }

    /// A corrupt earlier state is left out, as in a live event; one that was compacted ends the watch.
    fn previous(&self, stored: Stored) -> Result<Option<Arc<store_core::Record>>, WatchError> {
        match self.shared.resolve(stored) {
            Ok(record) => Ok(Some(record)),
            Err(FetchError::Corrupt(_)) => Ok(None),
            Err(error) => Err(self.end(error)),
        }
    }

    fn end(&self, error: FetchError) -> WatchError {
        let after = self.position;
        match error {
            FetchError::Gone => WatchError::Compacted { requested: after, floor: self.shared.index().floor() },
            FetchError::Corrupt(quarantined) => WatchError::Unreadable { after, why: quarantined.why },
            FetchError::Engine(why) => WatchError::Unreadable { after, why },
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.hub.leave(&self.group, self.id);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("prefix", &self.group.prefix).field("position", &self.position).finish()
    }
}
