//! Disks that fail, fill and rot; a writer that is stepped; a folder that is taken.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::process::Command;

use common::*;
use store::{CommitError, Config, LockError, MemoryDisk, MemoryEngine, OpenError, RedbConfig, RedbEngine, Room, Store};
use store_core::{At, Expected, Range, Revision, Transaction};

fn open(disk: &MemoryDisk) -> Store {
    Store::open(Config::standard(), MemoryEngine::open(disk)).unwrap()
}

#[test]
fn a_failed_flush_is_final_and_shows_nothing_that_is_not_durable() {
    run(async {
        let disk = MemoryDisk::default();
        let store = open(&disk);
        put(&store, "a", "1").await;
        disk.fail_after(0);
        let failed = store.commit(Transaction::create("b", text("1"))).await.unwrap_err();
        assert!(matches!(failed, CommitError::Broken { .. }), "{failed}");
        disk.heal();
        let later = store.commit(Transaction::create("c", text("1"))).await.unwrap_err();
        assert!(matches!(later, CommitError::Broken { .. }), "never continued after a failed flush: {later}");
        assert!(store.broken().is_some());
        assert_eq!(store.get(b"a", At::Latest).unwrap().unwrap().value, "1");
        assert_eq!((store.get(b"b", At::Latest), store.revision()), (Ok(None), at(1)));
        store.close().await;
        let store = open(&disk);
        assert_eq!(put(&store, "d", "1").await.revision, at(2));
    });
}

#[test]
fn a_full_disk_refuses_new_data_and_still_deletes() {
    run(async {
        let disk = MemoryDisk::default();
        let store = open(&disk);
        put(&store, "a", "1").await;
        put(&store, "b", "1").await;
        disk.set_room(Room::Low);
        let create = store.commit(Transaction::create("c", text("1"))).await.unwrap_err();
        assert!(create == CommitError::DiskFull && create.is_retryable());
        let change = Transaction::put("a", text("2"), Expected::At(at(1)));
        assert!(store.commit(change).await.is_ok(), "a pod's death can still be recorded");
        disk.set_room(Room::Exhausted);
        let change = Transaction::put("a", text("3"), Expected::At(at(3)));
        assert_eq!(store.commit(change).await.unwrap_err(), CommitError::DiskFull);
        delete(&store, "b").await;
        disk.set_room(Room::Ample);
        assert_eq!(put(&store, "c", "1").await.revision, at(5), "recovery needs no human step");
    });
}

/// S19: every bit of every record, one at a time.
#[test]
fn any_flipped_bit_quarantines_its_record_by_name_and_no_other() {
    run(async {
        let disk = MemoryDisk::default();
        let store = open(&disk);
        put(&store, "a", "old").await;
        put(&store, "a", "precious").await;
        put(&store, "b", "fine").await;
        store.close().await;
        for bit in 0..disk.record_bytes(at(2)) * 8 {
            assert!(disk.flip_bit(at(2), bit));
            let store = open(&disk);
            assert!(store.get(b"a", At::Latest).is_err(), "bit {bit}: a corrupt state, or an older one, was served");
            assert_eq!(store.get(b"b", At::Latest).unwrap().unwrap().value, "fine");
            let all = store.range(&Range::prefix("")).unwrap();
            assert_eq!((all.records.len(), all.quarantined.len()), (1, 1), "bit {bit}");
            assert_eq!(all.quarantined[0].key, Some(key("a")), "bit {bit}");
            assert_eq!(store.quarantine().len(), 1);
            store.close().await;
            assert!(disk.flip_bit(at(2), bit));
        }
        assert_eq!(open(&disk).get(b"a", At::Latest).unwrap().unwrap().value, "precious");
    });
}

#[test]
fn a_quarantined_key_can_be_replaced_or_deleted() {
    run(async {
        let disk = MemoryDisk::default();
        let store = open(&disk);
        put(&store, "a", "1").await;
        put(&store, "b", "1").await;
        store.close().await;
        disk.flip_bit(at(1), 200);
        disk.flip_bit(at(2), 200);
        let store = open(&disk);
        put(&store, "a", "2").await;
        delete(&store, "b").await;
        assert_eq!(store.get(b"a", At::Latest).unwrap().unwrap().value, "2");
        assert_eq!(store.get(b"b", At::Latest).unwrap(), None);
        store.compact(store.revision()).await.unwrap();
        assert!(store.quarantine().is_empty());
    });
}

#[test]
fn a_value_that_rots_while_it_is_out_of_memory_is_noticed_when_it_is_read() {
    run(async {
        let disk = MemoryDisk::default();
        let mut config = Config::standard();
        config.retained.live_bytes_max = 0;
        let store = Store::open(config, MemoryEngine::open(&disk)).unwrap();
        put(&store, "a", "1").await;
        disk.flip_bit(at(1), 150);
        assert!(store.get(b"a", At::Latest).is_err());
        assert_eq!(store.quarantine().len(), 1);
        assert_eq!(store.range(&Range::prefix("")).unwrap().quarantined.len(), 1);
    });
}

#[test]
fn a_stepped_writer_commits_all_that_waits_with_one_flush() {
    run(async {
        let disk = MemoryDisk::default();
        let (store, mut writer) = Store::open_stepped(Config::standard(), MemoryEngine::open(&disk)).unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..20 {
            let store = store.clone();
            waiting.spawn(async move { store.commit(Transaction::create(format!("k{number}"), text("-"))).await });
        }
        tokio::task::yield_now().await;
        assert_eq!((store.revision(), disk.commits()), (at(0), 0), "nothing happens before the step");
        assert_eq!(writer.step(), 20);
        assert_eq!((store.revision(), disk.commits()), (at(20), 1));
        while let Some(done) = waiting.join_next().await {
            done.unwrap().unwrap();
        }
        assert_eq!(writer.step(), 0);
    });
}

#[test]
fn a_transaction_is_judged_by_the_earlier_ones_of_its_batch() {
    run(async {
        let disk = MemoryDisk::default();
        let (store, mut writer) = Store::open_stepped(Config::standard(), MemoryEngine::open(&disk)).unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let store = store.clone();
            waiting.spawn(async move { store.commit(Transaction::create("same", text("-"))).await.is_ok() });
        }
        tokio::task::yield_now().await;
        writer.step();
        let winners = waiting.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!((winners, store.revision()), (1, at(1)));
    });
}

#[test]
fn a_decoded_form_is_made_once_and_shared_by_all_readers() {
    run(async {
        let store = open(&MemoryDisk::default());
        put(&store, "a", "1").await;
        let read = || store.get(b"a", At::Latest).unwrap().unwrap();
        let first = read().companion(|_| "decoded".to_owned());
        let second = read().companion(|_| unreachable!("decoded once while somebody holds it"));
        assert!(std::sync::Arc::ptr_eq(&first, &second));
    });
}

#[test]
fn a_folder_that_is_taken_is_refused_with_the_name_of_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let _held = RedbEngine::open(RedbConfig::standard(dir.path())).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "second_process", "--nocapture", "--test-threads=1"])
        .env("STORE_SECOND_PROCESS_DIR", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("is in use by process {} (", std::process::id())), "{said}");
    let own_command = std::env::args().next().unwrap();
    assert!(said.contains(&own_command), "{said}");
}

/// Not a test of its own: what the test above runs as a second process.
#[test]
fn second_process() {
    let Some(dir) = std::env::var_os("STORE_SECOND_PROCESS_DIR") else { return };
    match RedbEngine::open(RedbConfig::standard(dir)) {
        Err(OpenError::Locked(error @ LockError::Held { .. })) => println!("{error}"),
        other => panic!("the second process got {other:?}"),
    }
}

#[test]
fn the_files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("store");
    drop(RedbEngine::open(RedbConfig::standard(&inner)).unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&inner), mode(&inner.join("store.redb")), mode(&inner.join("lock"))), (0o700, 0o600, 0o600));
}

#[test]
fn a_new_base_lies_above_everything_known_and_above_the_clock() {
    assert_eq!(Revision(0).next_base(0), Revision(1 << 20));
    assert_eq!(Revision(1 << 20).next_base(0), Revision(2 << 20));
    assert_eq!(Revision(5).next_base(1_800_000_000), Revision(1_800_000_000 << 20));
}
