//! What stored bytes survive, and how history is cut. The whole index is tested against a model in `store`.

use std::time::Duration;

use proptest::prelude::*;

use crate::*;

fn put(key: &str) -> Transaction {
    Transaction::put(key, Payload::plain("12345678"), Expected::Any)
}

fn index(changes: u64) -> Index {
    let mut index = Index::new(StoreState::default());
    for change in 0..changes {
        let mut staged = index.begin();
        index.stage(&mut staged, &put("k")).expect("puts without a condition are accepted");
        index.publish(staged, Duration::from_secs(change));
    }
    index
}

const LIMITS: HistoryLimits =
    HistoryLimits { events_min: 10, age_min: Duration::from_secs(5), events_max: 50, bytes_max: 1_000_000 };

fn floor(index: &Index, limits: HistoryLimits, now: u64, hold: Option<u64>) -> u64 {
    index.floor_wanted(&limits, Duration::from_secs(now), hold.map(Revision), usize::MAX).0
}

#[test]
fn history_keeps_what_is_young_or_among_the_last_few() {
    let index = index(20);
    assert_eq!(floor(&index, LIMITS, 20, None), 10, "ten are kept however old");
    assert_eq!(floor(&index, HistoryLimits { events_min: 0, ..LIMITS }, 20, None), 15, "younger than five seconds");
    assert_eq!(floor(&index, HistoryLimits { events_min: 20, ..LIMITS }, 900, None), 0);
    assert_eq!(floor(&index, HistoryLimits { events_min: 19, ..LIMITS }, 900, None), 1);
}

#[test]
fn an_open_watch_holds_history_but_not_beyond_the_hard_limits() {
    let index = index(20);
    assert_eq!(floor(&index, LIMITS, 20, Some(3)), 3);
    assert_eq!(floor(&index, HistoryLimits { events_max: 15, ..LIMITS }, 20, Some(3)), 5);
    // Each superseded state has nine bytes.
    assert_eq!(floor(&index, HistoryLimits { bytes_max: 9 * 19, ..LIMITS }, 0, Some(0)), 0);
    assert_eq!(floor(&index, HistoryLimits { bytes_max: 9 * 14, ..LIMITS }, 0, Some(0)), 6);
}

#[test]
fn forgetting_goes_in_small_steps() {
    let index = index(20);
    assert_eq!(index.floor_wanted(&LIMITS, Duration::from_secs(900), None, 4), Revision(4));
}

#[test]
fn what_no_reader_can_reach_is_dropped_exactly_once() {
    let mut index = index(3);
    let mut staged = index.begin();
    index.stage(&mut staged, &Transaction::delete("k", Expected::Any, None)).expect("it exists");
    index.stage(&mut staged, &put("other")).expect("it is new");
    index.publish(staged, Duration::ZERO);
    let mut staged = index.begin();
    index.stage_compaction(&mut staged, Revision(2));
    assert_eq!(staged.dropped(), [Revision(1)]);
    index.publish(staged, Duration::ZERO);
    let mut staged = index.begin();
    index.stage_compaction(&mut staged, Revision(5));
    assert_eq!(staged.dropped(), [Revision(2), Revision(3), Revision(4)]);
    index.publish(staged, Duration::ZERO);
    assert_eq!((index.len(), index.history_len(), index.resident_bytes()), (1, 0, (13, 0)));
}

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was_stored(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::collection::vec(any::<u8>(), 0..200),
        created in any::<u64>(), revision in any::<u64>(), deleted in any::<bool>(),
    ) {
        let record = Record::new(key.into(), value.into(), Revision(created), Revision(revision), deleted);
        let bytes = encode_record(&record);
        prop_assert_eq!(decode_record(record.revision, &bytes).expect("untouched").to_record(), record);
    }

    #[test]
    fn damaged_bytes_are_noticed_and_never_panic(
        value in proptest::collection::vec(any::<u8>(), 0..60), at in any::<usize>(), flip in 1..=255_u8, cut in any::<usize>(),
    ) {
        let record = Record::new("/core/pods/default/a".into(), value.into(), Revision(3), Revision(9), false);
        let mut bytes = encode_record(&record);
        prop_assert!(decode_record(Revision(8), &bytes).is_err(), "filed under another revision");
        let cut = cut % bytes.len();
        prop_assert!(decode_record(Revision(9), &bytes[..cut]).is_err());
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(decode_record(Revision(9), &bytes).is_err());
        let named = decode_name(Revision(9), &bytes).map(|head| head.key);
        prop_assert_eq!(named, Some(record.key.clone()));
    }

    #[test]
    fn any_bytes_can_be_decoded_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode_record(Revision(1), &bytes);
        let _ = decode_name(Revision(1), &bytes);
        let _ = StoreState::decode(&bytes);
    }
}
