//! What every engine must keep: each scenario runs on memory and on disk.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::time::Duration;

use common::*;
use store::{CommitError, Config, Haste, ReadError, Timeline, WatchError};
use store_core::{At, Expected, Key, Op, Payload, Range, Revision, Transaction, TransactionError};

macro_rules! on_every_engine {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $scenario() { super::run(super::scenarios::$scenario(&super::Disk::memory())) })*
        }
        mod redb {
            $(#[test] fn $scenario() { super::run(super::scenarios::$scenario(&super::Disk::redb())) })*
        }
    };
}

on_every_engine![
    a_key_is_created_once,
    a_swap_at_a_stale_revision_changes_nothing,
    a_transaction_happens_wholly_or_not_at_all,
    every_operation_has_its_own_revision_and_the_published_one_moves_at_the_end,
    the_revision_is_inserted_into_the_stored_bytes,
    a_deletion_shows_the_last_state_at_its_own_revision,
    a_required_key_takes_no_revision,
    a_range_has_a_limit_and_counts_the_rest,
    pages_at_one_revision_are_one_snapshot,
    old_states_are_read_back_to_the_floor_and_not_beyond,
    a_watch_delivers_past_and_coming_events_once_and_in_order,
    a_watch_sees_its_prefix_only,
    a_watch_from_the_future_or_from_before_the_floor_is_refused,
    everything_is_there_after_reopening_including_history,
    no_revision_is_reused_after_the_newest_record_was_compacted_away,
    a_new_timeline_jumps_ahead_and_expires_old_watches,
    values_that_are_not_in_memory_are_served_all_the_same,
    a_watch_that_lags_reads_history_and_ends_when_it_is_too_slow,
    a_lagging_watch_holds_history_up_to_the_hard_limit,
    a_bookmark_moves_with_the_revision_of_the_whole_store,
    closing_commits_what_waits_and_ends_watches,
    concurrent_swaps_have_one_winner_for_each_revision,
    too_large_a_transaction_is_refused,
    a_transaction_that_may_wait_is_flushed_with_the_next,
    a_transaction_that_may_wait_does_not_wait_for_ever,
];

mod scenarios {
    use super::*;

    pub async fn a_transaction_that_may_wait_is_flushed_with_the_next(disk: &Disk) {
        let store = disk.open(Config { patience: Duration::from_secs(3_600), ..Config::standard() });
        let mut first = std::pin::pin!(store.commit_with(Transaction::create("a", text("1")), Haste::MayWait));
        assert!(futures::poll!(&mut first).is_pending());
        let second = store.commit(Transaction::create("b", text("2"))).await.unwrap();
        // Who is in haste goes first.
        assert_eq!((first.await.unwrap().revision, second.revision), (at(2), at(1)));
        assert_eq!(store.metrics().batches_total, 1);
    }

    pub async fn a_transaction_that_may_wait_does_not_wait_for_ever(disk: &Disk) {
        let store = disk.open(Config::standard());
        let applied = store.commit_with(Transaction::create("a", text("1")), Haste::MayWait).await.unwrap();
        assert_eq!(applied.revision, at(1));
    }

    pub async fn a_key_is_created_once(disk: &Disk) {
        let store = disk.open(Config::standard());
        assert_eq!(store.revision(), at(0));
        let applied = store.commit(Transaction::create("a", text("1"))).await.unwrap();
        assert_eq!(applied.revision, at(1));
        let refused = store.commit(Transaction::create("a", text("2"))).await.unwrap_err();
        assert_eq!(refused, CommitError::Refused(TransactionError::Exists { key: key("a"), revision: at(1) }));
        assert_eq!(store.revision(), at(1));
        assert_eq!(store.get(b"a", At::Latest).unwrap().unwrap().value, "1");
    }

    pub async fn a_swap_at_a_stale_revision_changes_nothing(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "a", "1").await;
        let swap = |revision| Transaction::put("a", text("2"), Expected::At(at(revision)));
        assert_eq!(store.commit(swap(1)).await.unwrap().revision, at(2));
        let conflict = TransactionError::Conflict { key: key("a"), expected: at(1), actual: at(2) };
        assert_eq!(store.commit(swap(1)).await.unwrap_err(), CommitError::Refused(conflict));
        let stale = Transaction::delete("a", Expected::At(at(1)), None);
        assert!(matches!(store.commit(stale).await, Err(CommitError::Refused(TransactionError::Conflict { .. }))));
        let missing = Transaction::delete("b", Expected::Any, None);
        let not_found = TransactionError::NotFound { key: key("b") };
        assert_eq!(store.commit(missing).await.unwrap_err(), CommitError::Refused(not_found));
        assert_eq!(store.revision(), at(2));
    }

    pub async fn a_transaction_happens_wholly_or_not_at_all(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "b", "1").await;
        let both = |expected| {
            Transaction::create("a", text("new")).and(put_op("b", "2", expected)).and(put_op(
                "c",
                "3",
                Expected::Absent,
            ))
        };
        assert!(store.commit(both(Expected::At(at(7)))).await.is_err());
        assert_eq!(store.get(b"a", At::Latest).unwrap(), None);
        assert_eq!(store.get(b"c", At::Latest).unwrap(), None);
        let applied = store.commit(both(Expected::At(at(1)))).await.unwrap();
        assert_eq!(applied.revision, at(4));
        let twice = Transaction::create("x", text("1")).and(put_op("x", "2", Expected::Any));
        let repeated = TransactionError::Repeated { key: key("x") };
        assert_eq!(store.commit(twice).await.unwrap_err(), CommitError::Refused(repeated));
    }

    pub async fn every_operation_has_its_own_revision_and_the_published_one_moves_at_the_end(disk: &Disk) {
        let store = disk.open(Config::standard());
        let pair = Transaction::create("a", text("1")).and(put_op("b", "1", Expected::Any));
        let applied = store.commit(pair).await.unwrap();
        let revisions: Vec<_> = applied.records.iter().map(|record| record.revision).collect();
        assert_eq!(revisions, [at(1), at(2)]);
        assert_eq!((applied.revision, store.revision()), (at(2), at(2)));
        // A client that was cut off between the two resumes behind the first.
        let mut watch = store.watch(&key(""), at(1)).unwrap();
        assert_eq!(events(&mut watch, 1).await, ["created b=1 @2"]);
    }

    pub async fn the_revision_is_inserted_into_the_stored_bytes(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "x", "-").await;
        let payload = Payload::with_revision_at(r#"{"resourceVersion":"","name":"a"}"#, 20);
        let applied = store.commit(Transaction::create("a", payload.clone())).await.unwrap();
        let expected = r#"{"resourceVersion":"2","name":"a"}"#;
        assert_eq!(applied.records[0].value, expected);
        assert_eq!(store.get(b"a", At::Latest).unwrap().unwrap().value, expected);
        store.commit(Transaction::delete("a", Expected::Any, Some(payload))).await.unwrap();
        store.close().await;
        drop(store);
        let store = disk.open(Config::standard());
        let mut watch = store.watch(&key("a"), at(0)).unwrap();
        let shown = [
            format!("created a={expected} @2"),
            format!(r#"deleted a={{"resourceVersion":"3","name":"a"}} @3 (was {expected}@2)"#),
        ];
        assert_eq!(events(&mut watch, 2).await, shown);
    }

    pub async fn a_deletion_shows_the_last_state_at_its_own_revision(disk: &Disk) {
        let store = disk.open(Config::standard());
        let mut watch = store.watch(&key(""), at(0)).unwrap();
        put(&store, "a", "1").await;
        put(&store, "a", "2").await;
        delete(&store, "a").await;
        put(&store, "a", "3").await;
        let expected = ["created a=1 @1", "updated a=2 @2 (was 1@1)", "deleted a=2 @3 (was 2@2)", "created a=3 @4"];
        assert_eq!(events(&mut watch, 4).await, expected);
        assert_eq!(store.get(b"a", At::Revision(at(3))).unwrap(), None);
    }

    pub async fn a_required_key_takes_no_revision(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "ns", "1").await;
        let require = |expected| Transaction::create("pod", text("1")).and(Op::Require { key: key("ns"), expected });
        assert!(store.commit(require(Expected::Absent)).await.is_err());
        let applied = store.commit(require(Expected::At(at(1)))).await.unwrap();
        assert_eq!((applied.revision, applied.records.len()), (at(2), 1));
        let only = Transaction { ops: vec![Op::Require { key: key("ns"), expected: Expected::Any }] };
        assert_eq!(store.commit(only).await.unwrap().revision, at(2));
    }

    pub async fn a_range_has_a_limit_and_counts_the_rest(disk: &Disk) {
        let store = disk.open(Config::standard());
        for name in ["p/a", "p/b", "p/c", "q/a", "o/z"] {
            put(&store, name, name).await;
        }
        delete(&store, "p/b").await;
        put(&store, "p/d", "p/d").await;
        let names = |range: &Range| {
            let values = store.range(range).unwrap();
            let names: Vec<_> = values.records.iter().map(|record| record.key.to_string()).collect();
            (names.join(" "), values.remaining)
        };
        let all = Range::prefix("p/");
        assert_eq!(names(&all), ("p/a p/c p/d".to_owned(), 0));
        assert_eq!(names(&Range { limit: Some(1), ..all.clone() }), ("p/a".to_owned(), 2));
        assert_eq!(names(&Range { limit: Some(3), ..all.clone() }), ("p/a p/c p/d".to_owned(), 0));
        assert_eq!(names(&Range { start: key("p/a").successor(), ..all.clone() }), ("p/c p/d".to_owned(), 0));
        assert_eq!(names(&Range { start: key("z"), ..all }), (String::new(), 0));
        assert_eq!(store.range(&Range::prefix("none/")).unwrap().revision, at(7));
    }

    pub async fn pages_at_one_revision_are_one_snapshot(disk: &Disk) {
        let store = disk.open(Config::standard());
        for name in ["a", "b", "c", "d"] {
            put(&store, name, "old").await;
        }
        let first = store.range(&Range { limit: Some(2), ..Range::prefix("") }).unwrap();
        assert_eq!((first.revision, first.remaining), (at(4), 2));
        put(&store, "c", "new").await;
        delete(&store, "d").await;
        put(&store, "e", "new").await;
        let start = first.records[1].key.successor();
        let second =
            store.range(&Range { start, end: None, at: At::Revision(first.revision), limit: Some(2) }).unwrap();
        let rest: Vec<_> = second.records.iter().map(|record| (record.key.to_string(), record.value.clone())).collect();
        assert_eq!(rest, [("c".to_owned(), "old".into()), ("d".to_owned(), "old".into())]);
        assert_eq!(second.remaining, 0);
    }

    pub async fn old_states_are_read_back_to_the_floor_and_not_beyond(disk: &Disk) {
        let store = disk.open(Config::standard());
        for value in ["1", "2", "3", "4"] {
            put(&store, "a", value).await;
        }
        delete(&store, "a").await;
        put(&store, "b", "1").await;
        assert_eq!(store.compact(at(3)).await.unwrap(), at(3));
        let value = |revision| store.get(b"a", At::Revision(at(revision))).map(|found| found.map(|r| r.value.clone()));
        assert_eq!(value(2), Err(ReadError::Compacted { requested: at(2), floor: at(3) }));
        assert_eq!(value(3), Ok(Some("3".into())));
        assert_eq!(value(4), Ok(Some("4".into())));
        assert_eq!(value(5), Ok(None));
        assert_eq!(value(7), Err(ReadError::Future { requested: at(7), current: at(6) }));
    }

    pub async fn a_watch_delivers_past_and_coming_events_once_and_in_order(disk: &Disk) {
        let mut config = Config::standard();
        config.watch_ring_events_max = 4;
        let store = disk.open(config);
        for number in 0..50 {
            put(&store, &format!("k{number:03}"), "-").await;
        }
        let mut watch = store.watch(&key("k"), at(10)).unwrap();
        let mut expected = 11;
        for number in 50..300 {
            put(&store, &format!("k{number:03}"), "-").await;
            if number % 7 == 0 {
                for event in watch.try_next_batch(3).unwrap() {
                    assert_eq!(event.revision(), at(expected));
                    expected += 1;
                }
            }
        }
        while expected <= 300 {
            for event in watch.next_batch(64).await.unwrap() {
                assert_eq!(event.revision(), at(expected));
                expected += 1;
            }
        }
        assert!(watch.try_next_batch(1).unwrap().is_empty());
    }

    pub async fn a_watch_sees_its_prefix_only(disk: &Disk) {
        let store = disk.open(Config::standard());
        let mut pods = store.watch(&key("pods/"), at(0)).unwrap();
        let mut one = store.watch(&key("pods/b/x"), at(0)).unwrap();
        let mut all = store.watch(&key(""), at(0)).unwrap();
        for name in ["pods/a/x", "nodes/n", "pods/b/x", "pod"] {
            put(&store, name, "-").await;
        }
        assert_eq!(events(&mut pods, 2).await, ["created pods/a/x=- @1", "created pods/b/x=- @3"]);
        assert_eq!(events(&mut one, 1).await, ["created pods/b/x=- @3"]);
        assert_eq!(events(&mut all, 4).await.len(), 4);
        assert!(pods.try_next_batch(9).unwrap().is_empty() && one.try_next_batch(9).unwrap().is_empty());
    }

    pub async fn a_watch_from_the_future_or_from_before_the_floor_is_refused(disk: &Disk) {
        let store = disk.open(Config::standard());
        for value in ["1", "2", "3"] {
            put(&store, "a", value).await;
        }
        store.compact(at(2)).await.unwrap();
        let refused = |revision| store.watch(&key("a"), at(revision)).map(|_| ()).unwrap_err();
        assert_eq!(refused(4), WatchError::Future { requested: at(4), current: at(3) });
        assert_eq!(refused(1), WatchError::Compacted { requested: at(1), floor: at(2) });
        let mut watch = store.watch(&key("a"), at(2)).unwrap();
        assert_eq!(events(&mut watch, 1).await, ["updated a=3 @3 (was 2@2)"]);
    }

    pub async fn everything_is_there_after_reopening_including_history(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "a", "1").await;
        put(&store, "a", "2").await;
        put(&store, "b", "1").await;
        delete(&store, "b").await;
        store.close().await;
        drop(store);
        let store = disk.open(Config::standard());
        assert_eq!(store.revision(), at(4));
        let a = store.get(b"a", At::Latest).unwrap().unwrap();
        assert_eq!((&a.value[..], a.created, a.revision), (&b"2"[..], at(1), at(2)));
        assert_eq!(store.get(b"a", At::Revision(at(1))).unwrap().unwrap().value, "1");
        let mut watch = store.watch(&key(""), at(1)).unwrap();
        let expected = ["updated a=2 @2 (was 1@1)", "created b=1 @3", "deleted b=1 @4 (was 1@3)"];
        assert_eq!(events(&mut watch, 3).await, expected);
        assert_eq!(put(&store, "c", "1").await.revision, at(5));
    }

    pub async fn no_revision_is_reused_after_the_newest_record_was_compacted_away(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "a", "1").await;
        delete(&store, "a").await;
        store.compact(store.revision()).await.unwrap();
        store.close().await;
        drop(store);
        let store = disk.open(Config::standard());
        assert_eq!((store.revision(), store.floor()), (at(2), at(2)));
        assert_eq!(put(&store, "a", "1").await.revision, at(3));
    }

    pub async fn a_new_timeline_jumps_ahead_and_expires_old_watches(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "a", "1").await;
        put(&store, "a", "2").await;
        store.close().await;
        drop(store);
        let restored = || Config { timeline: Timeline::NewAt { unix_secs: 1_900_000_000 }, ..Config::standard() };
        let store = disk.open(restored());
        let base = Revision(1_900_000_000 << 20);
        assert!(base.0 < 1 << 53, "clients that read numbers as doubles compare it rightly");
        assert_eq!((store.revision(), store.floor()), (base, base));
        assert!(matches!(store.watch(&key("a"), at(2)), Err(WatchError::Compacted { .. })));
        let a = store.get(b"a", At::Latest).unwrap().unwrap();
        assert_eq!((&a.value[..], a.revision), (&b"2"[..], at(2)));
        let swap = Transaction::put("a", text("3"), Expected::At(at(2)));
        assert_eq!(store.commit(swap).await.unwrap().revision, base.next());
        store.close().await;
        drop(store);
        // The same copy restored once more, in the same second: still ahead of what this timeline gave out.
        let store = disk.open(restored());
        assert!(store.revision() > base.next());
    }

    pub async fn values_that_are_not_in_memory_are_served_all_the_same(disk: &Disk) {
        let mut config = Config::standard();
        config.retained = store_core::Retained { live_bytes_max: 0, superseded_bytes_max: 0 };
        config.watch_ring_events_max = 1;
        let store = disk.open(config);
        put(&store, "a", "1").await;
        put(&store, "b", "1").await;
        put(&store, "a", "2").await;
        assert_eq!(store.metrics().live_resident_bytes, 0);
        assert_eq!(store.get(b"a", At::Latest).unwrap().unwrap().value, "2");
        assert_eq!(store.get(b"a", At::Revision(at(2))).unwrap().unwrap().value, "1");
        assert_eq!(store.range(&Range::prefix("")).unwrap().records.len(), 2);
        let mut live = store.watch(&key(""), at(3)).unwrap();
        delete(&store, "a").await;
        put(&store, "b", "2").await;
        let mut late = store.watch(&key(""), at(0)).unwrap();
        let tail = ["deleted a=2 @4 (was 2@3)", "updated b=2 @5 (was 1@2)"];
        assert_eq!(events(&mut live, 2).await, tail);
        assert_eq!(events(&mut late, 5).await[3..], tail);
    }

    pub async fn a_watch_that_lags_reads_history_and_ends_when_it_is_too_slow(disk: &Disk) {
        let (mut config, _) = short_history(10, 20);
        config.watch_ring_events_max = 4;
        let store = disk.open(config);
        let mut watch = store.watch(&key("a"), at(0)).unwrap();
        let mut stalled = store.watch(&key("a"), at(0)).unwrap();
        for number in 0..18 {
            put(&store, "a", &number.to_string()).await;
        }
        assert_eq!(events(&mut watch, 18).await.len(), 18);
        for number in 18..100 {
            put(&store, "a", &number.to_string()).await;
        }
        let ended = stalled.next_batch(9).await.unwrap_err();
        assert_eq!(ended, WatchError::Compacted { requested: at(0), floor: store.floor() });
        assert_eq!(stalled.next_batch(9).await.unwrap_err(), ended);
        assert!(store.metrics().history_events <= 20 + 2);
    }

    pub async fn a_lagging_watch_holds_history_up_to_the_hard_limit(disk: &Disk) {
        let (mut config, secs) = short_history(5, 1_000);
        config.watch_ring_events_max = 2;
        let store = disk.open(config);
        let mut lagging = store.watch(&key("a"), at(0)).unwrap();
        let mut idle = store.watch(&key("z"), at(0)).unwrap();
        for number in 0..50 {
            put(&store, "a", &number.to_string()).await;
        }
        secs.store(3_600, std::sync::atomic::Ordering::SeqCst);
        put(&store, "a", "50").await;
        assert_eq!(store.floor(), at(0));
        assert_eq!(events(&mut lagging, 51).await.len(), 51);
        put(&store, "a", "51").await;
        assert_eq!(store.floor(), at(46));
        put(&store, "z", "1").await;
        assert_eq!(events(&mut idle, 1).await, ["created z=1 @53"]);
    }

    pub async fn a_bookmark_moves_with_the_revision_of_the_whole_store(disk: &Disk) {
        let store = disk.open(Config::standard());
        let mut watch = store.watch(&key("quiet/"), at(0)).unwrap();
        put(&store, "loud/a", "1").await;
        put(&store, "loud/a", "2").await;
        store.reached(at(2)).await;
        // The commit is answered a moment before the watches are told.
        while watch.progress() != Some(at(2)) {
            tokio::task::yield_now().await;
        }
        put(&store, "quiet/a", "1").await;
        put(&store, "loud/a", "3").await;
        while watch.progress().is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(events(&mut watch, 1).await, ["created quiet/a=1 @3"]);
        while watch.progress() != Some(at(4)) {
            tokio::task::yield_now().await;
        }
    }

    pub async fn closing_commits_what_waits_and_ends_watches(disk: &Disk) {
        let store = disk.open(Config::standard());
        let mut watch = store.watch(&key("a"), at(0)).unwrap();
        let put = store.commit(Transaction::create("a", text("1")));
        let (put, ()) = tokio::join!(biased; put, store.close());
        assert_eq!(put.unwrap().revision, at(1));
        assert_eq!(events(&mut watch, 1).await, ["created a=1 @1"]);
        assert_eq!(watch.next_batch(1).await.unwrap_err(), WatchError::Closed);
        assert_eq!(store.commit(Transaction::create("b", text("1"))).await.unwrap_err(), CommitError::Closed);
        store.close().await;
    }

    pub async fn concurrent_swaps_have_one_winner_for_each_revision(disk: &Disk) {
        let store = disk.open(Config::standard());
        put(&store, "counter", "0").await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            tasks.spawn(async move {
                let mut wins = 0;
                while wins < 20 {
                    let seen = store.get(b"counter", At::Latest).unwrap().unwrap();
                    let count: u32 = std::str::from_utf8(&seen.value).unwrap().parse().unwrap();
                    let next = text(&(count + 1).to_string());
                    let swap = Transaction::put("counter", next, Expected::At(seen.revision));
                    wins += u32::from(store.commit(swap).await.is_ok());
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(store.get(b"counter", At::Latest).unwrap().unwrap().value, "160");
        assert_eq!(store.revision(), at(161));
    }

    pub async fn too_large_a_transaction_is_refused(disk: &Disk) {
        let mut config = Config::standard();
        config.transaction_bytes_max = 10;
        let store = disk.open(config);
        let sized = |bytes: usize| Transaction::create("a", text(&"x".repeat(bytes - 1)));
        let refused = store.commit(sized(11)).await.unwrap_err();
        assert_eq!(refused, CommitError::TooLarge { bytes: 11, bytes_max: 10 });
        assert!(store.commit(sized(10)).await.is_ok());
    }
}

#[test]
fn a_range_of_a_prefix_ends_before_the_next_one() {
    assert_eq!(key("a/").prefix_end(), Some(key("a0")));
    assert_eq!(Key::from(vec![b'a', 0xff]).prefix_end(), Some(key("b")));
    assert_eq!(Key::from(vec![0xff, 0xff]).prefix_end(), None);
    assert_eq!(key("").prefix_end(), None);
}
