//! The disks on which the contract is tested, and short words for the tests.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::{Clock, Config, MemoryDisk, MemoryEngine, RedbConfig, RedbEngine, Store, Watch};
use store_core::{Applied, EventKind, Expected, Key, Op, Payload, Revision, Transaction};

/// A disk that outlives the store on it.
pub enum Disk {
    Memory(MemoryDisk),
    Redb(tempfile::TempDir),
}

impl Disk {
    pub fn memory() -> Self {
        Self::Memory(MemoryDisk::default())
    }

    pub fn redb() -> Self {
        Self::Redb(tempfile::tempdir().unwrap())
    }

    pub fn open(&self, config: Config) -> Store {
        match self {
            Self::Memory(disk) => Store::open(config, MemoryEngine::open(disk)).unwrap(),
            Self::Redb(dir) => {
                let engine = RedbEngine::open(RedbConfig::standard(dir.path())).unwrap();
                Store::open(config, engine).unwrap()
            }
        }
    }
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A configuration with short history, and the time that it sees, in seconds.
pub fn short_history(events_min: usize, events_max: usize) -> (Config, Arc<AtomicU64>) {
    let secs = Arc::new(AtomicU64::new(0));
    let seen = secs.clone();
    let mut config = Config::standard();
    config.history.events_min = events_min;
    config.history.events_max = events_max;
    config.clock = Clock::injected(move || Duration::from_secs(seen.load(Ordering::SeqCst)));
    (config, secs)
}

pub fn text(value: &str) -> Payload {
    Payload::plain(value.to_owned())
}

pub async fn put(store: &Store, key: &str, value: &str) -> Applied {
    store.commit(Transaction::put(key, text(value), Expected::Any)).await.unwrap()
}

pub async fn delete(store: &Store, key: &str) -> Applied {
    store.commit(Transaction::delete(key, Expected::Any, None)).await.unwrap()
}

pub fn put_op(key: &str, value: &str, expected: Expected) -> Op {
    Op::Put { key: key.into(), payload: text(value), expected }
}

/// `created a=1 @3`, for each of the next `count` events.
pub async fn events(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        for event in watch.next_batch(count - seen.len()).await.unwrap() {
            seen.push(shown(&event));
        }
    }
    seen
}

pub fn shown(event: &store_core::Event) -> String {
    let kind = match event.kind() {
        EventKind::Created => "created",
        EventKind::Updated => "updated",
        EventKind::Deleted => "deleted",
    };
    let value = String::from_utf8_lossy(&event.record.value);
    let before = event.previous.as_ref().map_or(String::new(), |previous| {
        format!(" (was {}@{})", String::from_utf8_lossy(&previous.value), previous.revision)
    });
    format!("{kind} {}={value} @{}{before}", event.record.key, event.revision())
}

pub fn key(text: &str) -> Key {
    Key::from(text)
}

pub fn at(revision: u64) -> Revision {
    Revision(revision)
}
