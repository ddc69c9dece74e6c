//! Power cuts, failed flushes and a full disk, below redb (reliability 2.0; S12, S13, S20, S21).
//!
//! Each seed is a life of several boots on one [`SimulatedDisk`]; each boot ends with another fault. Nothing acknowledged
//! may be missing, nothing half done visible, no revision given out twice. `STORE_POWER_LOSS_SEEDS` (default 300) says
//! how many lives, `STORE_POWER_LOSS_SEED` runs a single one.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::*;
use store::simulated_disk::{SimulatedDisk, SyncFailure};
use store::{CommitError, Config, OpenError, RedbEngine, Store, Writer};
use store_core::{At, Expected, Op, Range, Revision, Transaction};

const WRITERS: usize = 5;
const BOOTS: u64 = 6;

/// How a boot ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// The power goes in the middle of some operation.
    Cut,
    /// The power goes while nothing is being done.
    IdleCut,
    /// A flush fails once; then the process is restarted, and later the power goes.
    SyncOnce,
    /// All flushes fail; then the power goes.
    SyncForGood,
    /// The disk is full for a while.
    Full,
}

const FAULTS: [Fault; 6] = [Fault::Cut, Fault::Cut, Fault::IdleCut, Fault::SyncOnce, Fault::SyncForGood, Fault::Full];

/// What a writer knows of its three keys: the step they show, and the revision of the step's last operation.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Known {
    step: u64,
    revision: Revision,
}

struct Life {
    seed: u64,
    chance: u64,
    disk: SimulatedDisk,
    acknowledged: BTreeMap<usize, Known>,
    /// Writers whose last step was not answered, or with "broken": it may be there.
    uncertain: BTreeMap<usize, u64>,
    /// The highest revision that anybody was shown.
    highest: Revision,
    struck: BTreeMap<&'static str, u32>,
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("STORE_POWER_LOSS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STORE_POWER_LOSS_SEEDS").unwrap_or(300),
    };
    let lives = seeds.end - seeds.start;
    let mut struck: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in seeds {
        for (what, times) in Life::new(seed).live() {
            *struck.entry(what).or_default() += times;
        }
    }
    println!("lives={lives} {struck:?}");
    if lives >= 100 {
        for what in ["acknowledged", "broken", "disk full", "cut in a commit", "settled: there", "settled: not there"] {
            assert!(struck.get(what).is_some_and(|times| *times > 20), "{what} is hardly tested: {struck:?}");
        }
    }
}

#[test]
fn after_a_failed_flush_the_store_says_why_it_takes_no_writes_and_still_reads() {
    run(async {
        let disk = SimulatedDisk::new(1);
        let store = Store::open(Config::standard(), RedbEngine::open_simulated(&disk).unwrap()).unwrap();
        put(&store, "a", "1").await;
        disk.fail_syncs(SyncFailure::Once);
        let failed = store.commit(Transaction::create("b", text("1"))).await.unwrap_err();
        let later = store.commit(Transaction::create("c", text("1"))).await.unwrap_err();
        for error in [failed, later] {
            assert!(matches!(error, CommitError::Broken { .. }), "{error}");
            assert!(error.to_string().contains("failed to flush"), "{error}");
            assert!(error.to_string().ends_with("restart to recover from what is durable"), "{error}");
        }
        assert_eq!(store.get(b"a", At::Latest).unwrap().unwrap().value, "1");
        assert_eq!(store.get(b"b", At::Latest).unwrap(), None, "not durable, so not shown");
    });
}

#[test]
fn a_full_disk_names_the_way_out_loses_nothing_and_goes_on_by_itself_when_space_is_freed() {
    run(async {
        let disk = SimulatedDisk::new(1);
        // Room is asked now and then only: the disk fills between two looks. Values are read from the disk.
        let mut config = Config::standard();
        config.retained.live_bytes_max = 0;
        let store = Store::open(config, RedbEngine::open_simulated(&disk).unwrap()).unwrap();
        put(&store, "a", "precious").await;
        let allocated = disk.allocated_bytes();
        disk.set_capacity(Some(allocated));
        let big = "x".repeat(3 << 20);
        for _ in 0..2 {
            let error = store.commit(Transaction::create("b", text(&big))).await.unwrap_err();
            assert!(error == CommitError::DiskFull && error.is_retryable(), "{error}");
            assert!(error.to_string().contains("until space is freed"), "{error}");
            assert_eq!(store.get(b"a", At::Latest).unwrap().unwrap().value, "precious", "reads go on");
        }
        assert_eq!((store.broken(), store.revision()), (None, at(1)));
        disk.set_capacity(Some(allocated + (256 << 20)));
        let applied = store.commit(Transaction::create("b", text(&big))).await.unwrap();
        assert_eq!(applied.revision, at(2), "no human step, and no revision was used up");
        store.close().await;
    });
}

#[test]
fn a_disk_that_is_full_at_the_very_first_write_breaks_nothing() {
    run(async {
        let disk = SimulatedDisk::new(1);
        let store = Store::open(Config::standard(), RedbEngine::open_simulated(&disk).unwrap()).unwrap();
        disk.set_capacity(Some(disk.allocated_bytes()));
        let big = "x".repeat(3 << 20);
        let error = store.commit(Transaction::create("a", text(&big))).await.unwrap_err();
        assert_eq!((error, store.broken()), (CommitError::DiskFull, None));
        disk.set_capacity(None);
        assert_eq!(put(&store, "a", "1").await.revision, at(1));
    });
}

impl Life {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            chance: seed ^ 0xA076_1D64_78BD_642F,
            disk: SimulatedDisk::new(seed),
            acknowledged: BTreeMap::new(),
            uncertain: BTreeMap::new(),
            highest: Revision(0),
            struck: BTreeMap::new(),
        }
    }

    fn live(mut self) -> BTreeMap<&'static str, u32> {
        run(async {
            // The very first boot may lose power while the file is made.
            for boot in 0..BOOTS {
                let fault = FAULTS[self.below(FAULTS.len() as u64) as usize];
                self.boot(boot, fault).await;
            }
            let (store, writer) = self.open().unwrap();
            self.judge(&store);
            drop((store, writer));
        });
        self.struck
    }

    /// Splitmix, apart from the disk's own.
    fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn count(&mut self, what: &'static str) {
        *self.struck.entry(what).or_default() += 1;
    }

    /// History is short, so that faults meet compaction too; a part of the values is out of memory.
    fn open(&self) -> Result<(Store, Writer), OpenError> {
        let mut config = Config::standard();
        config.history.events_min = 40;
        config.history.age_min = Duration::ZERO;
        config.retained.live_bytes_max = 4 << 10;
        Store::open_stepped(config, RedbEngine::open_simulated(&self.disk)?)
    }

    async fn boot(&mut self, boot: u64, fault: Fault) {
        if fault == Fault::Cut && self.below(4) == 0 {
            let operations = self.below(12);
            self.disk.cut_power_after(operations);
        }
        let opened = self.open();
        let (store, mut writer) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                assert!(self.disk.is_dark(), "seed {} boot {boot}: {error:?}", self.seed);
                self.count("cut while opening");
                self.disk.cut_power();
                return;
            }
        };
        self.judge(&store);
        let before = self.below(6);
        for _ in 0..before {
            self.batch(&store, &mut writer).await;
        }
        self.begin(fault);
        for _ in 0..6 {
            self.batch(&store, &mut writer).await;
        }
        if self.disk.is_dark() && store.broken().is_some() {
            self.count("cut in a commit");
        }
        self.end(fault, store, writer);
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Cut => {
                let operations = self.below(60);
                self.disk.cut_power_after(operations);
            }
            Fault::IdleCut => {}
            Fault::SyncOnce => self.disk.fail_syncs(SyncFailure::Once),
            Fault::SyncForGood => self.disk.fail_syncs(SyncFailure::ForGood),
            Fault::Full => {
                let left = self.below(8) * 4_096;
                self.disk.set_capacity(Some(self.disk.allocated_bytes() + left));
            }
        }
    }

    fn end(&mut self, fault: Fault, store: Store, writer: Writer) {
        match fault {
            // The process is restarted, or closes in good order; the power stays.
            Fault::SyncOnce => drop((store, writer)),
            Fault::Full => {
                drop((store, writer));
                self.disk.set_capacity(None);
            }
            Fault::Cut | Fault::IdleCut | Fault::SyncForGood => {
                // A store that is dropped after the cut must not write to the disk of the next boot.
                self.disk.cut_power();
                drop((store, writer));
            }
        }
    }

    /// Some writers do a step each, in one batch of the store.
    async fn batch(&mut self, store: &Store, writer: &mut Writer) {
        let mut waiting = Vec::new();
        for number in 0..WRITERS {
            if self.uncertain.contains_key(&number) || self.below(3) == 0 {
                continue;
            }
            let step = self.acknowledged.get(&number).map_or(0, |known| known.step) + 1;
            let transaction = self.transaction(number, step);
            let store = store.clone();
            waiting.push((number, step, tokio::spawn(async move { store.commit(transaction).await })));
        }
        tokio::task::yield_now().await;
        writer.step();
        for (number, step, answer) in waiting {
            match answer.await.unwrap() {
                Ok(applied) => {
                    assert!(
                        applied.revision > self.highest,
                        "seed {}: {} given out twice",
                        self.seed,
                        applied.revision
                    );
                    self.acknowledged.insert(number, Known { step, revision: applied.revision });
                    self.count("acknowledged");
                }
                Err(CommitError::DiskFull) => self.count("disk full"),
                Err(CommitError::Broken { .. }) => {
                    self.uncertain.insert(number, step);
                    self.count("broken");
                }
                Err(error) => panic!("seed {}: {error}", self.seed),
            }
        }
        self.highest = self.highest.max(store.revision());
    }

    /// Three operations: the step is noted, and a pair changes or, every fourth step, goes.
    fn transaction(&mut self, writer: usize, step: u64) -> Transaction {
        let [note, left, right] = keys(writer);
        let size = self.below(5_000) as usize;
        let value = format!("{step} {}", "x".repeat(size));
        let pair = |key: &str| match step.is_multiple_of(4) {
            true => Op::Delete { key: key.into(), expected: Expected::Any, last: None },
            false => put_op(key, &value, Expected::Any),
        };
        Transaction { ops: vec![put_op(&note, &step.to_string(), Expected::Any), pair(&left), pair(&right)] }
    }

    /// Compares a store that was just opened with what was acknowledged, and settles what was not.
    fn judge(&mut self, store: &Store) {
        let seed = self.seed;
        assert!(store.revision() >= self.highest, "seed {seed}: revision {} is gone", self.highest);
        assert!(store.quarantine().is_empty(), "seed {seed}");
        for writer in 0..WRITERS {
            let known = self.acknowledged.get(&writer).copied().unwrap_or_default();
            let found = found(store, writer);
            let may_be = self.uncertain.remove(&writer);
            assert!(
                found.step == known.step || Some(found.step) == may_be,
                "seed {seed}: writer {writer} shows {found:?}, acknowledged is {known:?}, perhaps {may_be:?}"
            );
            if found.step == known.step {
                assert_eq!(found, known, "seed {seed}: writer {writer}: a step moved to another revision");
            }
            if let Some(step) = may_be {
                self.count(if found.step == step { "settled: there" } else { "settled: not there" });
            }
            self.acknowledged.insert(writer, found);
        }
        judge_history(store, seed);
        self.highest = store.revision();
    }
}

fn keys(writer: usize) -> [String; 3] {
    ["step", "left", "right"].map(|side| format!("/{side}/{writer}"))
}

/// What the store shows of a writer; its three keys must be of one transaction.
fn found(store: &Store, writer: usize) -> Known {
    let [note, left, right] = keys(writer).map(|key| store.get(key.as_bytes(), At::Latest).unwrap());
    let first = |record: &store_core::Record| {
        std::str::from_utf8(&record.value).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let Some(note) = note else {
        assert!(left.is_none() && right.is_none(), "half of writer {writer}'s first transaction");
        return Known::default();
    };
    // The note is the first of the three operations; a writer is told the revision of the last.
    let known = Known { step: first(&note), revision: Revision(note.revision.0 + 2) };
    if known.step.is_multiple_of(4) {
        assert!(left.is_none() && right.is_none(), "half of writer {writer}'s deletion");
    } else {
        let pair = [left.unwrap(), right.unwrap()];
        assert_eq!(pair.each_ref().map(|record| first(record)), [known.step; 2], "half of a transaction");
        let revisions = pair.map(|record| record.revision.0);
        assert_eq!(revisions, [note.revision.0 + 1, note.revision.0 + 2], "one transaction, three revisions");
    }
    known
}

/// The remembered events have no gap and lead to the present state.
fn judge_history(store: &Store, seed: u64) {
    let floor = store.floor();
    let before = store.range(&Range { at: At::Revision(floor), ..Range::prefix("") }).unwrap();
    let mut state: BTreeMap<_, _> = before.records.into_iter().map(|record| (record.key.clone(), record)).collect();
    let mut watch = store.watch(&key(""), floor).unwrap();
    let mut last = floor;
    loop {
        let events = watch.try_next_batch(1_000).unwrap();
        if events.is_empty() {
            break;
        }
        for event in events {
            assert_eq!(event.revision(), last.next(), "seed {seed}: an event is missing");
            last = event.revision();
            match event.record.deleted {
                true => state.remove(&event.record.key),
                false => state.insert(event.record.key.clone(), event.record.clone()),
            };
        }
    }
    assert_eq!(last, store.revision(), "seed {seed}");
    let now: Vec<_> = store.range(&Range::prefix("")).unwrap().records;
    assert_eq!(now, state.into_values().collect::<Vec<_>>(), "seed {seed}");
}
