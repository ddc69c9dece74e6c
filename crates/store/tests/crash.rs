//! A process that is killed at a random moment: nothing acknowledged is missing, nothing half done is visible, no
//! revision is reused (S12, S13).
//!
//! `STORE_CRASH_ROUNDS` (default 200) kills one store so many times; each round goes on where the last one died.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::*;
use store::{Config, RedbConfig, RedbEngine, Store};
use store_core::{At, Expected, Range, Revision, Transaction};

const WRITERS: usize = 6;

/// History is short, so that kills meet compaction too; a part of the values is out of memory.
fn config() -> Config {
    let mut config = Config::standard();
    config.history.events_min = 200;
    config.history.age_min = Duration::ZERO;
    config.retained.live_bytes_max = 16 << 10;
    config
}

fn open(dir: &Path) -> Store {
    Store::open(config(), RedbEngine::open(RedbConfig::standard(dir)).unwrap()).unwrap()
}

/// What the parent knows from the child's reports.
#[derive(Default)]
struct Witness {
    /// The last acknowledged step of each writer, and its revision.
    acknowledged: BTreeMap<usize, (u64, Revision)>,
    highest: Revision,
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let rounds: u32 = std::env::var("STORE_CRASH_ROUNDS").map_or(200, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut witness = Witness::default();
    let mut chance = 0x2545_F491_4F6C_DD1D_u64;
    let mut acknowledged = 0;
    for round in 0..rounds {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let reports = run_and_kill(dir.path(), Duration::from_micros(chance % 25_000));
        acknowledged += reports.len();
        for (writer, step, revision) in reports {
            assert!(revision > witness.acknowledged.get(&writer).map_or(at(0), |(_, last)| *last), "round {round}");
            witness.acknowledged.insert(writer, (step, revision));
            witness.highest = witness.highest.max(revision);
        }
        run(judge(dir.path(), &mut witness, round));
    }
    println!("rounds={rounds} acknowledged={acknowledged} highest_revision={}", witness.highest);
    assert!(rounds < 20 || acknowledged > rounds as usize, "most rounds saw writes");
}

/// Starts a writing child, kills it `after` its first report, and returns all that it reported.
fn run_and_kill(dir: &Path, after: Duration) -> Vec<(usize, u64, Revision)> {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writing_child", "--nocapture", "--test-threads=1"])
        .env("STORE_CRASH_DIR", dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut reports = Vec::new();
    let mut killed = false;
    // A line is one write to the pipe: what arrived whole was acknowledged before the kill.
    while let Some(Ok(line)) = lines.next() {
        if let Some(report) = parse(&line) {
            reports.push(report);
        }
        if !killed && !reports.is_empty() {
            // The moment of death is what this test varies; nothing is waited for.
            std::thread::sleep(after);
            child.kill().unwrap();
            killed = true;
        }
    }
    let status = child.wait().unwrap();
    assert!(killed, "the child ended by itself: {status}");
    reports
}

fn parse(line: &str) -> Option<(usize, u64, Revision)> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "ack").skip(1);
    let (writer, step, revision) = (words.next()?, words.next()?, words.next()?);
    (words.next()? == ".").then_some(())?;
    Some((writer.parse().ok()?, step.parse().ok()?, Revision(revision.parse().ok()?)))
}

async fn judge(dir: &Path, witness: &mut Witness, round: u32) {
    let store = open(dir);
    assert!(store.revision() >= witness.highest, "round {round}: an acknowledged revision is gone");
    assert!(store.quarantine().is_empty(), "round {round}");
    for writer in 0..WRITERS {
        let step_of = |side: &str| {
            let found = store.get(format!("/{side}/{writer}").as_bytes(), At::Latest).unwrap()?;
            let step: u64 = std::str::from_utf8(&found.value).unwrap().split(' ').next().unwrap().parse().unwrap();
            Some((step, found.revision))
        };
        let (left, right) = (step_of("left"), step_of("right"));
        let steps = (left.map(|(step, _)| step), right.map(|(step, _)| step));
        assert_eq!(steps.0, steps.1, "round {round}: half of a transaction of writer {writer}");
        let (acked, revision) = witness.acknowledged.get(&writer).copied().unwrap_or_default();
        let Some((step, at_revision)) = right else {
            // Every fourth step deletes the pair.
            assert!(acked % 4 == 0 || (acked + 1) % 4 == 0, "round {round}: writer {writer} lost step {acked}");
            continue;
        };
        assert!(step == acked || step == acked + 1, "round {round}: step {step} after ack {acked}");
        assert!(step != acked || at_revision == revision, "round {round}: step {step} moved to another revision");
    }
    judge_history(&store, round).await;
    // What was in flight at the kill is settled now: the next round counts from here.
    let settled = put(&store, "/judge", &round.to_string()).await.revision;
    witness.highest = witness.highest.max(settled);
    for writer in 0..WRITERS {
        if let Some(found) = store.get(format!("/step/{writer}").as_bytes(), At::Latest).unwrap() {
            let step = std::str::from_utf8(&found.value).unwrap().parse().unwrap();
            // The note is the first of the three operations; a writer is told the revision of the last.
            witness.acknowledged.insert(writer, (step, Revision(found.revision.0 + 2)));
        }
    }
    store.close().await;
}

/// The remembered events are in order and lead to the present state.
async fn judge_history(store: &Store, round: u32) {
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
            assert_eq!(event.revision(), last.next(), "round {round}: an event is missing");
            last = event.revision();
            assert_eq!(event.previous, state.get(&event.record.key).cloned(), "round {round}");
            match event.record.deleted {
                true => state.remove(&event.record.key),
                false => state.insert(event.record.key.clone(), event.record.clone()),
            };
        }
    }
    assert_eq!(last, store.revision());
    let now: Vec<_> = store.range(&Range::prefix("")).unwrap().records;
    assert_eq!(now, state.into_values().collect::<Vec<_>>(), "round {round}");
}

/// Not a test of its own: the child that is killed.
#[test]
fn writing_child() {
    let Some(dir) = std::env::var_os("STORE_CRASH_DIR") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = open(Path::new(&dir));
    runtime.block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write_for_ever(store.clone(), writer));
        }
        writers.join_next().await;
    });
    panic!("a writer ended");
}

/// Each step changes or deletes a pair of keys and notes the step, in one transaction.
async fn write_for_ever(store: Store, writer: usize) {
    let noted = store.get(format!("/step/{writer}").as_bytes(), At::Latest).unwrap();
    let mut step: u64 = noted.map_or(0, |found| std::str::from_utf8(&found.value).unwrap().parse().unwrap());
    loop {
        step += 1;
        let note = put_op(&format!("/step/{writer}"), &step.to_string(), Expected::Any);
        let (left, right) = (format!("/left/{writer}"), format!("/right/{writer}"));
        let pair = if step.is_multiple_of(4) {
            Transaction::delete(left, Expected::Any, None).and(store_core::Op::Delete {
                key: right.into(),
                expected: Expected::Any,
                last: None,
            })
        } else {
            let value = format!("{step} {}", "x".repeat(step as usize % 3_000));
            Transaction::put(left, text(&value), Expected::Any).and(put_op(&right, &value, Expected::Any))
        };
        let mut transaction = Transaction { ops: vec![note] };
        transaction.ops.extend(pair.ops);
        let applied = store.commit(transaction).await.unwrap();
        let report = format!("ack {writer} {step} {} .\n", applied.revision);
        std::io::stdout().write_all(report.as_bytes()).unwrap();
    }
}
