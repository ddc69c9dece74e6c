//! One state of one key, the event that made it, and how both lie on disk.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::{Key, Revision, Seed};

/// One state of one key; shared by all who read it.
#[derive(Debug)]
pub struct Record {
    /// Which key.
    pub key: Key,
    /// The bytes; of a deletion the last state, as the event shows it.
    pub value: Bytes,
    /// Revision at which the key came to be.
    pub created: Revision,
    /// Revision of this state.
    pub revision: Revision,
    /// This state is the key's end.
    pub deleted: bool,
    companion: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
    seed: Seed,
}

impl Record {
    /// A record from its parts.
    pub fn new(key: Key, value: Bytes, created: Revision, revision: Revision, deleted: bool) -> Self {
        Self { key, value, created, revision, deleted, companion: Mutex::new(None), seed: Seed::default() }
    }

    /// The same, with what its bytes were made from.
    pub(crate) fn with_seed(self, seed: Seed) -> Self {
        Self { seed, ..self }
    }

    /// What readers made of the bytes, shared as long as one of them holds it: decoded once for all watchers.
    ///
    /// `make` gets what the writer left for the first reader, if this is the first. It may run twice if two readers ask
    /// in the same moment. All callers of one store should ask for one type; another type replaces the companion.
    pub fn companion<T: Send + Sync + 'static>(&self, make: impl FnOnce(&Seed) -> T) -> Arc<T> {
        let held = self.companion.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        if let Some(held) = held.and_then(|held| held.downcast::<T>().ok()) {
            return held;
        }
        let made = Arc::new(make(&self.seed));
        let shared: Arc<dyn Any + Send + Sync> = made.clone();
        *self.companion.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(&shared));
        made
    }

    /// Bytes that a limit counts for this record.
    pub fn size(&self) -> usize {
        self.key.0.len() + self.value.len()
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.value, self.created, self.revision, self.deleted)
            == (&other.key, &other.value, other.created, other.revision, other.deleted)
    }
}

impl Eq for Record {}

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// It came to be.
    Created,
    /// It changed.
    Updated,
    /// It is gone.
    Deleted,
}

/// One change, as every watcher gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The state after the change; of a deletion the last state with the deletion's revision.
    pub record: Arc<Record>,
    /// The state before, by which a watcher sees that an object left its selection (V-80); `None` if the key is new,
    /// or if the earlier state is quarantined.
    pub previous: Option<Arc<Record>>,
}

impl Event {
    /// Revision of the change.
    pub fn revision(&self) -> Revision {
        self.record.revision
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        match (self.record.deleted, self.record.created == self.record.revision) {
            (true, _) => EventKind::Deleted,
            (false, true) => EventKind::Created,
            (false, false) => EventKind::Updated,
        }
    }
}

/// What the index keeps of a record whose bytes are not in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Which key.
    pub key: Key,
    /// Revision at which the key came to be.
    pub created: Revision,
    /// Revision of the state.
    pub revision: Revision,
    /// The state is the key's end.
    pub deleted: bool,
}

/// What the store knows of itself, beside its records.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StoreState {
    /// Revision at which the current timeline began: 0, or a [`Revision::next_base`].
    pub base: Revision,
    /// History reaches back to here: a watch from an earlier revision is refused.
    pub floor: Revision,
    /// Highest revision that was given out when this was written; records may go beyond.
    pub last: Revision,
}

/// Why stored bytes cannot be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than a record has.
    #[error("cut off after {bytes} bytes")]
    Truncated {
        /// What is there.
        bytes: usize,
    },
    /// The checksum says that the bytes are not those that were written.
    #[error("wrong checksum of its {part}")]
    Checksum {
        /// Which part.
        part: &'static str,
    },
}

// Head: crc32 | flags | created | length of the key | key. Then the value. Tail: crc32 of the value | key | length of the
// key | created | flags | crc32 of the tail. Every checksum covers the revision too, under which the engine files the
// record: a record filed under a wrong revision is corrupt. The name stands at both ends, so that damage in one place
// leaves a name under which to quarantine the record (S19).
const CREATED_AT: usize = 5;
const KEY_LENGTH_AT: usize = 13;
const KEY_AT: usize = 17;
const TAIL_FIXED: usize = 21;
const FLAG_DELETED: u8 = 1;

/// The bytes under which an engine files a record.
pub fn encode_record(record: &Record) -> Vec<u8> {
    let key = &record.key.0;
    let key_length = u32::try_from(key.len()).expect("keys are far below 4 GiB").to_le_bytes();
    let created = record.created.0.to_le_bytes();
    let flags = if record.deleted { FLAG_DELETED } else { 0 };
    let mut bytes = Vec::with_capacity(KEY_AT + TAIL_FIXED + 2 * key.len() + record.value.len());
    bytes.extend_from_slice(&[0; 4]);
    bytes.push(flags);
    bytes.extend_from_slice(&created);
    bytes.extend_from_slice(&key_length);
    bytes.extend_from_slice(key);
    let crc = checksum(record.revision, &bytes[4..]);
    bytes[..4].copy_from_slice(&crc);
    bytes.extend_from_slice(&record.value);
    let tail_at = bytes.len() + 4;
    bytes.extend_from_slice(&checksum(record.revision, &record.value));
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&key_length);
    bytes.extend_from_slice(&created);
    bytes.push(flags);
    let crc = checksum(record.revision, &bytes[tail_at..]);
    bytes.extend_from_slice(&crc);
    bytes
}

/// A record as it lies in an engine's bytes, checked and not yet copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// Which key.
    pub key: &'a [u8],
    /// The bytes; of a deletion the last state.
    pub value: &'a [u8],
    /// Revision at which the key came to be.
    pub created: Revision,
    /// Revision of this state.
    pub revision: Revision,
    /// This state is the key's end.
    pub deleted: bool,
}

impl RecordView<'_> {
    /// The record with bytes of its own. One allocation for the key, one for the value: a key outlives its values in
    /// the index.
    pub fn to_record(&self) -> Record {
        let (key, value) = (Key(Bytes::copy_from_slice(self.key)), Bytes::copy_from_slice(self.value));
        Record::new(key, value, self.created, self.revision, self.deleted)
    }
}

/// The record that an engine has filed under `revision`.
///
/// # Errors
/// [`DecodeError`] if the bytes are not exactly those that were written.
pub fn decode_record(revision: Revision, bytes: &[u8]) -> Result<RecordView<'_>, DecodeError> {
    let truncated = DecodeError::Truncated { bytes: bytes.len() };
    let front = Name::front(revision, bytes).ok_or(DecodeError::Checksum { part: "head" })?;
    let value_at = KEY_AT + front.key.len();
    let value_end = bytes.len().checked_sub(TAIL_FIXED + front.key.len()).ok_or(truncated)?;
    let value = bytes.get(value_at..value_end).ok_or(truncated)?;
    if number::<4>(bytes, value_end) != Some(checksum(revision, value)) {
        return Err(DecodeError::Checksum { part: "value" });
    }
    if Name::back(revision, bytes) != Some(front) {
        return Err(DecodeError::Checksum { part: "tail" });
    }
    Ok(RecordView { key: front.key, value, created: front.created, revision, deleted: front.deleted })
}

/// What a corrupt record still says of itself with a right checksum: for the quarantine, never for an answer.
pub fn decode_name(revision: Revision, bytes: &[u8]) -> Option<Head> {
    let name = Name::front(revision, bytes).or_else(|| Name::back(revision, bytes))?;
    let key = Key(Bytes::copy_from_slice(name.key));
    Some(Head { key, created: name.created, revision, deleted: name.deleted })
}

/// What stands at both ends of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name<'a> {
    key: &'a [u8],
    created: Revision,
    deleted: bool,
}

impl<'a> Name<'a> {
    fn front(revision: Revision, bytes: &'a [u8]) -> Option<Self> {
        let key_length = u32::from_le_bytes(number(bytes, KEY_LENGTH_AT)?) as usize;
        let covered = bytes.get(4..KEY_AT.checked_add(key_length)?)?;
        (number::<4>(bytes, 0)? == checksum(revision, covered)).then_some(())?;
        Some(Self {
            key: &bytes[KEY_AT..KEY_AT + key_length],
            created: Revision(u64::from_le_bytes(number(bytes, CREATED_AT)?)),
            deleted: bytes[4] & FLAG_DELETED != 0,
        })
    }

    fn back(revision: Revision, bytes: &'a [u8]) -> Option<Self> {
        let fixed_at = bytes.len().checked_sub(TAIL_FIXED - 4)?;
        let key_length = u32::from_le_bytes(number(bytes, fixed_at)?) as usize;
        let key_at = fixed_at.checked_sub(key_length)?;
        let crc_at = bytes.len() - 4;
        (number::<4>(bytes, crc_at)? == checksum(revision, &bytes[key_at..crc_at])).then_some(())?;
        Some(Self {
            key: &bytes[key_at..fixed_at],
            created: Revision(u64::from_le_bytes(number(bytes, fixed_at + 4)?)),
            deleted: bytes[crc_at - 1] & FLAG_DELETED != 0,
        })
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn checksum(revision: Revision, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&revision.0.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}

impl StoreState {
    /// The bytes under which an engine files the state.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        for part in [self.base, self.floor, self.last] {
            bytes.extend_from_slice(&part.0.to_le_bytes());
        }
        let crc = checksum(Revision::ZERO, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc);
        bytes
    }

    /// The state that an engine has filed.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly those that were written.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let truncated = DecodeError::Truncated { bytes: bytes.len() };
        let part = |at| Some(Revision(u64::from_le_bytes(number(bytes, at)?)));
        let (Some(base), Some(floor), Some(last)) = (part(4), part(12), part(20)) else { return Err(truncated) };
        if number::<4>(bytes, 0) != Some(checksum(Revision::ZERO, &bytes[4..])) {
            return Err(DecodeError::Checksum { part: "state" });
        }
        Ok(Self { base, floor, last })
    }
}
