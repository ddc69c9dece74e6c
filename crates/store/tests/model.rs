//! The store against a model that keeps every state it ever had.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::*;
use proptest::prelude::*;
use store::{Config, MemoryDisk, MemoryEngine, Store, WatchError, Writer};
use store_core::{At, Expected, Op, Range, Revision, Transaction, TransactionError};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, Act, u8)>),
    /// Commits that share a batch.
    Batch(Vec<Vec<(u8, Act, u8)>>),
    Compact(u8),
    Reopen,
    ReadAt(u8, u8),
    Page(u8, u8),
    Watch(u8),
    Take(u8),
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Create,
    Put,
    Swap,
    Delete,
    Require,
}

type State = BTreeMap<String, (Bytes, Revision)>;

/// Every state by revision; states in the middle of a transaction included.
#[derive(Default)]
struct Model {
    states: Vec<State>,
    floor: u64,
}

fn name(key: u8) -> String {
    format!("{}/{}", ["a", "b"][usize::from(key % 2)], key % 5)
}

impl Model {
    fn now(&self) -> &State {
        self.states.last().expect("there is always one")
    }

    fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// The naive reading of a transaction: check all against the state before, then do one after the other.
    fn apply(&mut self, transaction: &Transaction) -> Result<u64, TransactionError> {
        for (position, op) in transaction.ops.iter().enumerate() {
            if transaction.ops[..position].iter().any(|earlier| earlier.key() == op.key()) {
                return Err(TransactionError::Repeated { key: op.key().clone() });
            }
            let key = op.key().clone();
            let actual = self.now().get(&key.to_string()).map(|(_, revision)| *revision);
            let must_exist = !matches!(op, Op::Put { expected: Expected::Any, .. });
            match (op, actual) {
                (Op::Create { .. }, Some(revision)) => return Err(TransactionError::Exists { key, revision }),
                (Op::Create { .. }, None) => {}
                (_, None) if must_exist => return Err(TransactionError::NotFound { key }),
                (Op::Put { expected: Expected::At(expected), .. }, Some(actual)) if *expected != actual => {
                    return Err(TransactionError::Conflict { key, expected: *expected, actual });
                }
                _ => {}
            }
        }
        for op in &transaction.ops {
            let mut next = self.now().clone();
            let revision = Revision(self.revision() + 1);
            match op {
                Op::Create { key, payload } | Op::Put { key, payload, .. } => {
                    next.insert(key.to_string(), (payload.at(revision), revision));
                }
                Op::Delete { key, .. } => {
                    next.remove(&key.to_string());
                }
                Op::Require { .. } => continue,
            }
            self.states.push(next);
        }
        Ok(self.revision())
    }
}

struct Bench {
    disk: MemoryDisk,
    store: Store,
    writer: Writer,
    model: Model,
    watch: Option<(store::Watch, State, &'static str)>,
    cold: bool,
}

fn config(cold: bool) -> Config {
    let mut config = Config::standard();
    config.watch_ring_events_max = 3;
    if cold {
        config.retained.live_bytes_max = 20;
        config.retained.superseded_bytes_max = 10;
    }
    config
}

impl Bench {
    fn new(cold: bool) -> Self {
        let disk = MemoryDisk::default();
        let (store, writer) = Store::open_stepped(config(cold), MemoryEngine::open(&disk)).unwrap();
        let model = Model { states: vec![State::new()], floor: 0 };
        Self { disk, store, writer, model, watch: None, cold }
    }

    fn transaction(&self, acts: &[(u8, Act, u8)]) -> Transaction {
        let ops = acts.iter().map(|&(key, act, number)| {
            let (payload, key) = (text(&format!("v{number}")), name(key).into());
            // Half of the swaps know the right revision.
            let known = self.model.now().get(&format!("{key}")).map_or(Revision(1), |(_, revision)| *revision);
            let expected = Expected::At(Revision(known.0 + u64::from(number % 2)));
            match act {
                Act::Create => Op::Create { key, payload },
                Act::Put => Op::Put { key, payload, expected: Expected::Any },
                Act::Swap => Op::Put { key, payload, expected },
                Act::Delete => Op::Delete { key, expected: Expected::Any, last: None },
                Act::Require => Op::Require { key, expected: Expected::Any },
            }
        });
        Transaction { ops: ops.collect() }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(acts) => self.commit(&[self.transaction(acts)]).await,
            Step::Batch(batch) => {
                let batch: Vec<_> = batch.iter().map(|acts| self.transaction(acts)).collect();
                self.commit(&batch).await;
            }
            Step::Compact(part) => self.compact(u64::from(*part) % (self.model.revision() + 1)).await,
            Step::Reopen => self.reopen(),
            Step::ReadAt(key, back) => self.read(*key, u64::from(*back) % (self.model.revision() + 3)),
            Step::Page(limit, back) => self.page(usize::from(*limit % 4), u64::from(*back)),
            Step::Watch(back) => self.begin_watch(u64::from(*back) % (self.model.revision() + 2)),
            Step::Take(count) => self.take(usize::from(*count % 5) + 1),
        }
        assert_eq!(self.store.revision(), Revision(self.model.revision()));
        assert_eq!(self.store.floor(), Revision(self.model.floor));
    }

    async fn commit(&mut self, batch: &[Transaction]) {
        let mut waiting: Vec<_> =
            batch.iter().map(|transaction| Box::pin(self.store.commit(transaction.clone()))).collect();
        for future in &mut waiting {
            assert!(futures::poll!(future).is_pending());
        }
        while self.writer.step() > 0 {}
        for (future, transaction) in waiting.into_iter().zip(batch) {
            let got = future.await.map(|applied| applied.revision.0);
            assert_eq!(got, self.model.apply(transaction).map_err(Into::into));
        }
    }

    async fn compact(&mut self, upto: u64) {
        let mut waiting = Box::pin(self.store.compact(Revision(upto)));
        assert!(futures::poll!(&mut waiting).is_pending());
        self.writer.step();
        self.model.floor = self.model.floor.max(upto);
        assert_eq!(waiting.await, Ok(Revision(self.model.floor)));
    }

    /// As after a kill: the engine is simply opened again.
    fn reopen(&mut self) {
        self.watch = None;
        let (store, writer) = Store::open_stepped(config(self.cold), MemoryEngine::open(&self.disk)).unwrap();
        (self.store, self.writer) = (store, writer);
        // Nothing lies on the disk that no reader can reach.
        let reachable = self.model.states[self.model.floor as usize..].iter().flat_map(|state| state.values());
        let reachable: std::collections::BTreeSet<_> = reachable.map(|(_, revision)| *revision).collect();
        for revision in self.disk.revisions() {
            let tombstone = revision.0 > self.model.floor;
            assert!(reachable.contains(&revision) || tombstone, "{revision:?} is garbage");
        }
    }

    fn read(&self, key: u8, revision: u64) {
        let found = self.store.get(name(key).as_bytes(), At::Revision(Revision(revision)));
        if revision < self.model.floor || revision > self.model.revision() {
            assert!(found.is_err());
            return;
        }
        let found = found.unwrap().map(|record| (record.value.clone(), record.revision));
        assert_eq!(found, self.model.states[revision as usize].get(&name(key)).cloned());
    }

    fn page(&self, limit: usize, back: u64) {
        let revision = self.model.revision() - back % (self.model.revision() - self.model.floor + 1);
        let expected: Vec<_> =
            self.model.states[revision as usize].iter().filter(|(key, _)| key.starts_with("a/")).collect();
        let range = Range { at: At::Revision(Revision(revision)), limit: Some(limit), ..Range::prefix("a/") };
        let values = self.store.range(&range).unwrap();
        let got: Vec<_> = values.records.iter().map(|r| (r.key.to_string(), (r.value.clone(), r.revision))).collect();
        let first: Vec<_> =
            expected.iter().take(limit).map(|(key, state)| ((*key).clone(), (*state).clone())).collect();
        assert_eq!(got, first);
        assert_eq!(values.remaining, expected.len() - got.len());
    }

    fn begin_watch(&mut self, from: u64) {
        let prefix = ["a/", ""][from as usize % 2];
        match self.store.watch(&key(prefix), Revision(from)) {
            Ok(watch) => {
                assert!(self.model.floor <= from && from <= self.model.revision());
                let seen = filtered(&self.model.states[from as usize], prefix);
                self.watch = Some((watch, seen, prefix));
            }
            Err(WatchError::Future { .. }) => assert!(from > self.model.revision()),
            Err(error) => assert!(from < self.model.floor, "{error}"),
        }
    }

    /// Applies the next events to what the watcher knows: it must have exactly the state of that revision.
    fn take(&mut self, count: usize) {
        let Some((watch, seen, prefix)) = &mut self.watch else { return };
        let before = watch.position();
        match watch.try_next_batch(count) {
            Ok(events) => {
                for event in &events {
                    let key = event.record.key.to_string();
                    assert!(event.revision() > before);
                    let previous = event.previous.as_ref().map(|record| (record.value.clone(), record.revision));
                    assert_eq!(previous, seen.get(&key).cloned());
                    match event.record.deleted {
                        true => seen.remove(&key),
                        false => seen.insert(key, (event.record.value.clone(), event.revision())),
                    };
                    assert_eq!(*seen, filtered(&self.model.states[event.revision().0 as usize], prefix));
                }
                if events.is_empty() {
                    assert_eq!(*seen, filtered(self.model.now(), prefix), "an event is missing");
                    assert_eq!(watch.progress(), Some(Revision(self.model.revision())));
                }
            }
            Err(error) => {
                assert!(matches!(error, WatchError::Compacted { .. }) && before.0 < self.model.floor, "{error}");
                self.watch = None;
            }
        }
    }
}

fn filtered(state: &State, prefix: &str) -> State {
    state.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn acts() -> impl Strategy<Value = Vec<(u8, Act, u8)>> {
    let act = prop_oneof![
        2 => Just(Act::Create),
        4 => Just(Act::Put),
        3 => Just(Act::Swap),
        3 => Just(Act::Delete),
        1 => Just(Act::Require),
    ];
    proptest::collection::vec((0..10_u8, act, any::<u8>()), 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => acts().prop_map(Step::Commit),
        4 => proptest::collection::vec(acts(), 1..6).prop_map(Step::Batch),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(key, back)| Step::ReadAt(key, back)),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(limit, back)| Step::Page(limit, back)),
        2 => any::<u8>().prop_map(Step::Watch),
        6 => any::<u8>().prop_map(Step::Take),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_like_the_model(steps in proptest::collection::vec(step(), 1..80), cold in any::<bool>()) {
        // Unconstrained: this task polls and steps by hand, so it must not be told to come back later.
        run(tokio::task::unconstrained(async {
            let mut bench = Bench::new(cold);
            for step in &steps {
                bench.step(step).await;
            }
        }));
    }
}
