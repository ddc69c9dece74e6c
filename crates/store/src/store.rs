//! The handle.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use store_core::{
    Applied, At, Index, Key, Quarantined, Range, Record, Revision, Slice, StoreState, Stored, Transaction, decode_name,
    decode_record,
};
use tokio::sync::{mpsc, oneshot};

use crate::shared::{FetchError, Shared};
use crate::writer::Message;
use crate::{
    Batch, CommitError, Config, Engine, EngineError, Haste, Metrics, OpenError, ReadError, Timeline, Watch, WatchError,
    Writer,
};

/// Items of a range that are read under one lock, so that a long range does not hold up the writer.
const RANGE_CHUNK: usize = 4_096;
/// How often a latest read starts over when what it was to read was compacted meanwhile.
const RANGE_ATTEMPTS_MAX: usize = 3;

/// A handle to an open store; clones share it. The last one to go closes the store cleanly, if in the background.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    writer: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What a range holds.
#[derive(Clone, Debug)]
pub struct Values {
    /// The revision as of which it is exact: a watch from here misses and repeats nothing (V-62).
    pub revision: Revision,
    /// In the order of keys.
    pub records: Vec<Arc<Record>>,
    /// Keys of the range beyond the limit, at the same revision (V-67).
    pub remaining: usize,
    /// Keys left out because their bytes are corrupt.
    pub quarantined: Vec<Quarantined>,
}

impl Store {
    /// Opens a store and starts its writer on a thread of its own.
    ///
    /// # Errors
    /// [`OpenError`] if the engine cannot be read; damaged records do not stop it, see [`Store::quarantine`].
    pub fn open(config: Config, engine: impl Engine) -> Result<Self, OpenError> {
        let (store, writer) = Self::open_stepped(config, engine)?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| EngineError::new("start the writer thread", error))?;
        *store.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(store)
    }

    /// Opens a store whose writer the caller steps: commits are answered by [`Writer::step`] and by nothing else.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_stepped(config: Config, engine: impl Engine) -> Result<(Self, Writer), OpenError> {
        let mut engine: Box<dyn Engine> = Box::new(engine);
        let index = load(&config, engine.as_mut())?;
        let (sender, inbox) = mpsc::channel(config.queue_max);
        let shared = Arc::new(Shared::new(index, engine.reader(), config));
        let writer = Writer::new(shared.clone(), engine, inbox);
        Ok((Self { shared, writer: sender, thread: Arc::default() }, writer))
    }

    /// Makes a transaction durable, then visible, then returns. Waits for a place if too many are waiting.
    ///
    /// A call whose future is dropped either happens wholly or not at all.
    ///
    /// # Errors
    /// [`CommitError::Refused`] if a precondition fails; others see there.
    pub async fn commit(&self, transaction: Transaction) -> Result<Applied, CommitError> {
        self.commit_with(transaction, Haste::Now).await
    }

    /// As [`Store::commit`], for a transaction that may be in no haste.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn commit_with(&self, transaction: Transaction, haste: Haste) -> Result<Applied, CommitError> {
        let bytes = transaction.size();
        let bytes_max = self.shared.config.transaction_bytes_max;
        if bytes > bytes_max {
            return Err(CommitError::TooLarge { bytes, bytes_max });
        }
        let (answer, answered) = oneshot::channel();
        self.send(Message::Commit { transaction, bytes, haste, answer }).await?;
        answered.await.map_err(|_| CommitError::Closed)?
    }

    /// Forgets history up to `upto` (at most everything published), however young; returns the new floor.
    ///
    /// The store compacts by itself within [`store_core::HistoryLimits`]; this is for tests and operators.
    ///
    /// # Errors
    /// [`CommitError::Broken`] or [`CommitError::Closed`].
    pub async fn compact(&self, upto: Revision) -> Result<Revision, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Compact { upto, answer }).await?;
        answered.await.map_err(|_| CommitError::Closed)?
    }

    async fn send(&self, message: Message) -> Result<(), CommitError> {
        if let Some(why) = self.shared.broken.get() {
            return Err(CommitError::Broken { why: why.clone() });
        }
        self.writer.send(message).await.map_err(|_| CommitError::Closed)
    }

    /// One key; `None` if it does not exist. Answers from memory, or with a read of the engine on this thread.
    ///
    /// # Errors
    /// [`ReadError::Quarantined`] if its bytes are corrupt; [`ReadError::Compacted`] and [`ReadError::Future`] for
    /// revisions that cannot be read.
    pub fn get(&self, key: &[u8], at: At) -> Result<Option<Arc<Record>>, ReadError> {
        for _ in 0..RANGE_ATTEMPTS_MAX {
            let (stored, revision) = {
                let index = self.shared.index();
                let revision = resolve(&index, at)?;
                (index.get(key, revision), revision)
            };
            let Some(stored) = stored else { return Ok(None) };
            let cold = matches!(stored, Stored::Cold(_));
            match self.shared.resolve(stored) {
                Ok(record) if cold => {
                    self.shared.warm(std::slice::from_ref(&record));
                    return Ok(Some(record));
                }
                Ok(record) => return Ok(Some(record)),
                Err(FetchError::Gone) if at == At::Latest => {}
                Err(error) => return Err(error.into_read_error(revision, self.floor())),
            }
        }
        Err(ReadError::Engine { why: "the key changes faster than it can be read".to_owned() })
    }

    /// All keys of a range at one revision. Clones of shared records: 13,000 take a millisecond or two.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] and [`ReadError::Future`] for revisions that cannot be read.
    pub fn range(&self, range: &Range) -> Result<Values, ReadError> {
        let mut outcome = self.range_once(range);
        for _ in 1..RANGE_ATTEMPTS_MAX {
            match outcome {
                Err(ReadError::Compacted { .. }) if range.at == At::Latest => outcome = self.range_once(range),
                Ok(_) | Err(_) => break,
            }
        }
        outcome
    }

    fn range_once(&self, range: &Range) -> Result<Values, ReadError> {
        let limit = range.limit.unwrap_or(usize::MAX);
        let revision = resolve(&self.shared.index(), range.at)?;
        let mut values = Values { revision, records: Vec::new(), remaining: 0, quarantined: Vec::new() };
        let (mut next, mut taken) = (Some(range.start.clone()), 0);
        while let Some(start) = next {
            let index = self.shared.index();
            resolve(&index, At::Revision(revision))?;
            if taken == limit {
                values.remaining = index.count(&start, range.end.as_ref(), revision);
                break;
            }
            let slice = index.range(&start, range.end.as_ref(), revision, RANGE_CHUNK.min(limit - taken));
            drop(index);
            taken += slice.items.len();
            next = slice.next.clone();
            self.take(slice, &mut values)?;
        }
        Ok(values)
    }

    fn take(&self, slice: Slice, values: &mut Values) -> Result<(), ReadError> {
        let mut warmed = Vec::new();
        values.records.reserve(slice.items.len());
        for stored in slice.items {
            let cold = matches!(stored, Stored::Cold(_));
            match self.shared.resolve(stored) {
                Ok(record) => {
                    if cold {
                        warmed.push(record.clone());
                    }
                    values.records.push(record);
                }
                Err(FetchError::Corrupt(quarantined)) => values.quarantined.push(quarantined),
                Err(error) => return Err(error.into_read_error(slice.revision, self.floor())),
            }
        }
        self.shared.warm(&warmed);
        Ok(())
    }

    /// Every event after `from` whose key begins with `prefix`.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] if the store does not remember that far back; [`WatchError::Future`] if `from` has not
    /// been given out.
    pub fn watch(&self, prefix: &Key, from: Revision) -> Result<Watch, WatchError> {
        let (current, floor) = {
            let index = self.shared.index();
            (index.revision(), index.floor())
        };
        if from > current {
            return Err(WatchError::Future { requested: from, current });
        }
        if from < floor {
            return Err(WatchError::Compacted { requested: from, floor });
        }
        if self.shared.hub.is_closed() {
            return Err(WatchError::Closed);
        }
        let (group, id) = self.shared.hub.join(&prefix.0, from, || self.shared.index().revision());
        Ok(Watch::new(self.shared.clone(), group, id, from))
    }

    /// The newest published revision.
    pub fn revision(&self) -> Revision {
        self.shared.index().revision()
    }

    /// The oldest revision that can be read or watched from.
    pub fn floor(&self) -> Revision {
        self.shared.index().floor()
    }

    /// Waits until the store has published `revision` (V-65); the caller sets the time limit.
    pub async fn reached(&self, revision: Revision) {
        let mut revisions = self.shared.revisions.subscribe();
        // The sender lives in what this handle shares, so it cannot go away.
        let _ = revisions.wait_for(|published| *published >= revision).await;
    }

    /// Why the store takes no writes any more; `None` while it is well.
    pub fn broken(&self) -> Option<String> {
        self.shared.broken.get().cloned()
    }

    /// Returns, with the reason, when the store takes no writes any more; never while it is well.
    pub async fn until_broken(&self) -> String {
        loop {
            // Enlisted before looking, so that a failure in between is not missed.
            let breaking = self.shared.breaking.notified();
            if let Some(why) = self.broken() {
                return why;
            }
            breaking.await;
        }
    }

    /// Records whose bytes are corrupt and that nobody is served.
    pub fn quarantine(&self) -> Vec<Quarantined> {
        self.shared.index().quarantine().cloned().collect()
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> Metrics {
        let watches = self.shared.hub.watches();
        let disk_bytes = self.shared.reader.bytes_on_disk();
        let index = self.shared.index();
        let (live, superseded) = index.resident_bytes();
        Metrics {
            revision: index.revision().0,
            floor: index.floor().0,
            keys: index.len(),
            history_events: index.history_len(),
            live_resident_bytes: live,
            superseded_resident_bytes: superseded,
            quarantined: index.quarantine().count(),
            disk_bytes,
            queue: self.writer.max_capacity() - self.writer.capacity(),
            queue_max: self.shared.config.queue_max,
            watches,
            transactions_total: self.shared.transactions.load(Ordering::Relaxed),
            batches_total: self.shared.batches.load(Ordering::Relaxed),
        }
    }

    /// Commits what is waiting, closes the engine and ends all watches. Later commits get [`CommitError::Closed`].
    ///
    /// Dropping the future does not stop it.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.writer.send(Message::Close { answer }).await.is_ok() {
            // An error means that the writer has ended already.
            let _ = answered.await;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends right after its answer; a panic of the writer has been printed by then.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

fn resolve(index: &Index, at: At) -> Result<Revision, ReadError> {
    index.resolve(at).ok_or_else(|| match at {
        At::Revision(requested) if requested > index.revision() => {
            ReadError::Future { requested, current: index.revision() }
        }
        At::Revision(requested) => ReadError::Compacted { requested, floor: index.floor() },
        At::Latest => unreachable!("the latest revision can always be read"),
    })
}

/// Builds the index from what the engine holds, and begins a new timeline if the configuration says so.
fn load(config: &Config, engine: &mut dyn Engine) -> Result<Index, OpenError> {
    let state = engine.state()?.map_or(Ok(StoreState::default()), |bytes| StoreState::decode(&bytes))?;
    let mut index = Index::new(state);
    let now = config.clock.now();
    let mut loaded = 0_usize;
    engine.scan(&mut |revision, bytes| {
        match decode_record(revision, bytes) {
            Ok(record) => {
                let bytes = record.key.len() + record.value.len();
                let resident = index.resident_bytes().0 + bytes <= config.retained.live_bytes_max;
                index.load(&record, resident, now);
            }
            Err(error) => {
                let head = decode_name(revision, bytes);
                let key = head.as_ref().map(|head| head.key.to_string());
                tracing::error!(key, revision = revision.0, why = %error, "stored record is corrupt and quarantined");
                index.load_corrupt(revision, head, error.to_string(), now);
            }
        }
        loaded += 1;
        if loaded.is_multiple_of(RANGE_CHUNK) {
            index.cool(&config.retained);
        }
    })?;
    index.cool(&config.retained);
    if let Timeline::NewAt { unix_secs } = config.timeline {
        let mut staged = index.begin();
        index.stage_jump(&mut staged, index.revision().next_base(unix_secs));
        let batch = Batch { state: Some(staged.state().encode()), records: Vec::new(), dropped: staged.dropped() };
        engine.commit(&batch).map_err(EngineError::from)?;
        index.publish(staged, now);
    }
    Ok(index)
}
