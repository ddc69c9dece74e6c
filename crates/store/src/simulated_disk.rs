//! A disk in memory that behaves as badly as disks may: for tests of power loss, and for the simulator.
//!
//! It stands below the real engine ([`crate::RedbEngine::open_simulated`]), so the engine's own care for order and
//! checksums is tested, not assumed. What was written since the last flush lives apart from what is durable. A power
//! cut keeps, loses or tears each such write by itself, in units of a sector; nothing else of the model is random, and
//! the same seed with the same operations gives the same disk (fault model: reliability 2.0). Start with
//! [`SimulatedDisk`].

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk writes wholly or not at all.
const SECTOR_BYTES: usize = 512;
/// What the file system allocates at once.
const BLOCK_BYTES: u64 = 4_096;

/// Which flushes fail.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SyncFailure {
    /// None.
    #[default]
    Never,
    /// The next one; what it was to make durable stays readable, but no later flush writes it (as Linux does).
    Once,
    /// All from now on.
    ForGood,
}

/// The disk: one file on it, whoever has it open. Clones are the same disk; it outlives the engines on it.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<Platter>>);

/// What happened to a disk so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DiskCounts {
    /// Writes, changes of the length and flushes, whether they succeeded or not.
    pub operations: u64,
    /// Flushes that succeeded.
    pub syncs: u64,
    /// Un-synced writes that a power cut kept.
    pub kept: u64,
    /// Un-synced writes that a power cut lost.
    pub lost: u64,
    /// Un-synced writes of which a power cut kept some sectors.
    pub torn: u64,
}

#[derive(Debug)]
struct Platter {
    /// The file as a process reads it.
    seen: Vec<u8>,
    /// The file as of the last flush, before `pending`.
    durable: Vec<u8>,
    /// Changes on top of `durable`, in their order.
    pending: Vec<Pending>,
    /// Blocks of the file that take room.
    allocated: BTreeSet<u64>,
    capacity_bytes: Option<u64>,
    sync_failure: SyncFailure,
    /// Operations until the power fails by itself.
    power_left: Option<u64>,
    /// Files opened before the last power cut are dead.
    boot: u64,
    chance: u64,
    counts: DiskCounts,
}

#[derive(Debug)]
struct Pending {
    change: Change,
    fate: Fate,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// The next flush makes it durable.
    Dirty,
    /// It is durable; it waits for a [`Fate::Forgotten`] change before it.
    Durable,
    /// Its flush failed: a later flush does not write it any more, and it may be on the disk or not.
    Forgotten,
}

/// Of sixteen un-synced writes, how many a power cut keeps and tears; the rest is lost.
#[derive(Clone, Copy)]
struct Odds {
    kept: u64,
    torn: u64,
}

impl SimulatedDisk {
    /// An empty disk without a limit. The seed decides what power cuts keep.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            seen: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
            allocated: BTreeSet::new(),
            capacity_bytes: None,
            sync_failure: SyncFailure::Never,
            power_left: None,
            boot: 0,
            chance: seed,
            counts: DiskCounts::default(),
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails now and comes back: un-synced writes are kept, lost or torn, each by itself; engines that were
    /// open get errors for ever. Settings of [`Self::fail_syncs`] and [`Self::cut_power_after`] end; the capacity stays.
    pub fn cut_power(&self) {
        self.platter().cut_power();
    }

    /// The power fails after so many more operations that change the disk (writes, changes of length, flushes), so
    /// also in the middle of a commit: each later one fails. [`Self::cut_power`] then brings the disk back.
    pub fn cut_power_after(&self, operations: u64) {
        self.platter().power_left = Some(operations);
    }

    /// True if [`Self::cut_power_after`] has struck.
    pub fn is_dark(&self) -> bool {
        self.platter().power_left == Some(0)
    }

    /// Lets flushes fail with an input/output error, or heals them.
    pub fn fail_syncs(&self, failure: SyncFailure) {
        self.platter().sync_failure = failure;
    }

    /// Limits the bytes that can be allocated, or lifts the limit; what is there stays.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.platter().capacity_bytes = bytes;
    }

    /// Bytes that are allocated.
    pub fn allocated_bytes(&self) -> u64 {
        self.platter().allocated_bytes()
    }

    /// Bytes that can still be allocated; `None` without a limit.
    pub fn free_bytes(&self) -> Option<u64> {
        let platter = self.platter();
        platter.capacity_bytes.map(|bytes| bytes.saturating_sub(platter.allocated_bytes()))
    }

    /// What happened so far.
    pub fn counts(&self) -> DiskCounts {
        self.platter().counts
    }

    /// Reads come from the disk itself from now on, not from pages that a failed flush left behind as if they were
    /// clean; those are on the disk, or not.
    pub fn drop_cache(&self) {
        self.platter().drop_cache();
    }

    /// The file, for an engine that is opened now.
    pub(crate) fn open(&self) -> SimulatedFile {
        SimulatedFile { disk: self.clone(), boot: self.platter().boot }
    }
}

impl Platter {
    fn allocated_bytes(&self) -> u64 {
        self.allocated.len() as u64 * BLOCK_BYTES
    }

    /// A number below `bound`, by the splitmix generator.
    fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Counts an operation that changes the disk.
    fn operate(&mut self) -> io::Result<()> {
        self.counts.operations += 1;
        match &mut self.power_left {
            Some(0) => Err(dark()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.operate()?;
        let end = offset + bytes.len();
        let blocks = offset as u64 / BLOCK_BYTES..(end as u64).div_ceil(BLOCK_BYTES);
        let new: Vec<u64> = blocks.filter(|block| !self.allocated.contains(block)).collect();
        let wanted = self.allocated_bytes() + new.len() as u64 * BLOCK_BYTES;
        if !new.is_empty() && self.capacity_bytes.is_some_and(|capacity| wanted > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.allocated.extend(new);
        let change = Change::Write { offset, bytes: bytes.to_vec() };
        change.apply(&mut self.seen);
        self.pending.push(Pending { change, fate: Fate::Dirty });
        Ok(())
    }

    fn set_len(&mut self, len: usize) -> io::Result<()> {
        self.operate()?;
        let change = Change::Length(len);
        change.apply(&mut self.seen);
        self.free_beyond(len);
        self.pending.push(Pending { change, fate: Fate::Dirty });
        Ok(())
    }

    fn free_beyond(&mut self, len: usize) {
        let first_free = (len as u64).div_ceil(BLOCK_BYTES);
        drop(self.allocated.split_off(&first_free));
    }

    fn sync(&mut self) -> io::Result<()> {
        self.operate()?;
        let failed = self.sync_failure != SyncFailure::Never;
        if self.sync_failure == SyncFailure::Once {
            self.sync_failure = SyncFailure::Never;
        }
        let fate = if failed { Fate::Forgotten } else { Fate::Durable };
        for pending in self.pending.iter_mut().filter(|pending| pending.fate == Fate::Dirty) {
            pending.fate = fate;
        }
        if failed {
            return Err(io::Error::other("the disk failed to flush (simulated)"));
        }
        self.counts.syncs += 1;
        if self.pending.iter().all(|pending| pending.fate == Fate::Durable) {
            for pending in self.pending.drain(..) {
                pending.change.apply(&mut self.durable);
            }
        }
        Ok(())
    }

    fn cut_power(&mut self) {
        let odds = self.odds();
        for pending in std::mem::take(&mut self.pending) {
            self.settle(pending, odds);
        }
        self.seen.clone_from(&self.durable);
        self.free_beyond(self.seen.len());
        self.sync_failure = SyncFailure::Never;
        self.power_left = None;
        self.boot += 1;
    }

    fn drop_cache(&mut self) {
        let (settled, dirty): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.fate != Fate::Dirty);
        let odds = self.odds();
        for pending in settled {
            self.settle(pending, odds);
        }
        self.seen.clone_from(&self.durable);
        for pending in &dirty {
            pending.change.apply(&mut self.seen);
        }
        self.pending = dirty;
    }

    /// One cut loses nearly all, another nearly nothing.
    fn odds(&mut self) -> Odds {
        const ODDS: [Odds; 4] = [
            Odds { kept: 5, torn: 5 },
            Odds { kept: 15, torn: 1 },
            Odds { kept: 1, torn: 0 },
            Odds { kept: 14, torn: 0 },
        ];
        ODDS[self.below(ODDS.len() as u64) as usize]
    }

    /// Decides what of a change is on the disk.
    fn settle(&mut self, pending: Pending, odds: Odds) {
        if pending.fate == Fate::Durable {
            return pending.change.apply(&mut self.durable);
        }
        let draw = self.below(16);
        match pending.change {
            change if draw < odds.kept => {
                self.counts.kept += 1;
                change.apply(&mut self.durable);
            }
            Change::Write { offset, bytes } if draw < odds.kept + odds.torn => {
                self.counts.torn += 1;
                self.tear(offset, &bytes);
            }
            Change::Write { .. } | Change::Length(_) => self.counts.lost += 1,
        }
    }

    /// Writes some of the sectors of a write.
    fn tear(&mut self, offset: usize, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let to_boundary = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
            let end = bytes.len().min(at + to_boundary);
            if self.below(2) == 0 {
                put(&mut self.durable, offset + at, &bytes[at..end]);
            }
            at = end;
        }
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(file, *offset, bytes),
            Self::Length(len) => file.resize(*len, 0),
        }
    }
}

/// A write behind the end lengthens the file, as it does on a file system (its change of length may have been lost).
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn dark() -> io::Error {
    io::Error::other("the power is off (simulated)")
}

/// The file on a [`SimulatedDisk`], as one engine has it open: dead after the next power cut.
#[derive(Debug)]
pub(crate) struct SimulatedFile {
    disk: SimulatedDisk,
    boot: u64,
}

impl SimulatedFile {
    fn platter(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.disk.platter();
        if platter.boot == self.boot { Ok(platter) } else { Err(dark()) }
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.platter()?.seen.len() as u64)
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter()?;
        let start = offset as usize;
        let bytes = platter.seen.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.platter()?.set_len(len as usize)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.platter()?.sync()
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.platter()?.write(offset as usize, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(disk: &SimulatedDisk) -> Vec<u8> {
        disk.platter().seen.clone()
    }

    #[test]
    fn what_was_flushed_survives_and_the_rest_is_kept_lost_or_torn() {
        let mut counts = DiskCounts::default();
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            let file = disk.open();
            file.write(0, &[1; 2_048]).unwrap();
            file.sync().unwrap();
            file.write(0, &[2; 2_048]).unwrap();
            disk.cut_power();
            let seen = contents(&disk);
            for sector in seen.chunks(SECTOR_BYTES) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
            }
            assert!(file.write(0, &[3]).is_err() && file.len().is_err(), "a file from before the cut is dead");
            let now = disk.counts();
            counts.kept += now.kept;
            counts.lost += now.lost;
            counts.torn += now.torn;
        }
        assert!(counts.kept > 5 && counts.lost > 5 && counts.torn > 5, "{counts:?}");
    }

    #[test]
    fn a_failed_flush_is_never_made_good_by_the_next_one() {
        let mut missing = 0;
        for seed in 0..50 {
            let disk = SimulatedDisk::new(seed);
            let file = disk.open();
            disk.fail_syncs(SyncFailure::Once);
            file.write(0, &[1; 512]).unwrap();
            assert!(file.sync().is_err());
            assert_eq!(contents(&disk), [1; 512], "still readable, as if all were well");
            file.write(512, &[2; 512]).unwrap();
            file.sync().unwrap();
            disk.cut_power();
            let seen = contents(&disk);
            assert_eq!(seen[512..], [2; 512], "what was flushed later is there");
            missing += u32::from(seen[0] == 0);
        }
        assert!(missing > 5, "{missing}");
    }

    #[test]
    fn a_full_disk_refuses_new_blocks_and_still_changes_old_ones() {
        let disk = SimulatedDisk::new(1);
        let file = disk.open();
        disk.set_capacity(Some(2 * BLOCK_BYTES));
        file.set_len(100 * BLOCK_BYTES).unwrap();
        file.write(0, &[1; 5_000]).unwrap();
        assert_eq!((disk.allocated_bytes(), disk.free_bytes()), (2 * BLOCK_BYTES, Some(0)));
        let full = file.write(3 * BLOCK_BYTES, &[1]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        file.write(4_096, &[2; 4_096]).unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_disk() {
        let run = |seed| {
            let disk = SimulatedDisk::new(seed);
            let file = disk.open();
            for number in 0..40_u8 {
                file.write(u64::from(number) * 700, &[number; 900]).unwrap();
            }
            disk.cut_power();
            contents(&disk)
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
