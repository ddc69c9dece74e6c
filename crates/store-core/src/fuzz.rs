//! Entries for `cargo fuzz`: bytes that rotted are noticed (S19).

use crate::{Key, Record, Revision, StoreState, decode_name, decode_record, encode_record};

/// Bytes that were never a record, and a record of which one bit is another.
///
/// # Panics
/// If a changed record is taken for a good one.
pub fn records(bytes: &[u8]) {
    let revision = Revision(bytes.len() as u64);
    let _ = (decode_record(revision, bytes), decode_name(revision, bytes), StoreState::decode(bytes));
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return };
    let (at, key_bytes) = (u16::from_le_bytes([head[0], head[1]]), usize::from(head[2]));
    let (key, value) = rest.split_at(key_bytes.min(rest.len()));
    let created = Revision(u64::from(head[3]));
    let record = Record::new(Key::from(key.to_vec()), value.to_vec().into(), created, revision, head[3] & 1 == 1);
    let mut stored = encode_record(&record);
    assert_eq!(decode_record(revision, &stored).map(|view| view.to_record()).as_ref(), Ok(&record));
    let bit = usize::from(at) % (stored.len() * 8);
    stored[bit / 8] ^= 1 << (bit % 8);
    assert!(decode_record(revision, &stored).is_err(), "bit {bit} of a record changed unnoticed");
}
