//! Keys and revisions.

use std::borrow::Borrow;
use std::fmt;

use bytes::Bytes;

/// A key of the store: opaque bytes, ordered bytewise. Cloning shares.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub Bytes);

impl Key {
    /// The first key that does not start with `self`; `None` if there is none (all bytes 0xff).
    ///
    /// `[key, key.prefix_end())` is the range of everything below a prefix.
    pub fn prefix_end(&self) -> Option<Key> {
        let kept = self.0.iter().rposition(|&byte| byte != 0xff)?;
        let mut end = self.0[..=kept].to_vec();
        end[kept] += 1;
        Some(Key(end.into()))
    }

    /// The very next key: where a page continues that ended with `self`.
    pub fn successor(&self) -> Key {
        let mut next = Vec::with_capacity(self.0.len() + 1);
        next.extend_from_slice(&self.0);
        next.push(0);
        Key(next.into())
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A revision of the whole store; strictly increasing, never reused (D3, S13).
///
/// A stored base plus a counter: a restored store jumps to a later base, see [`Revision::next_base`]. Stays below 2^53
/// until the year 2242, so that clients which read numbers as doubles compare it rightly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// Revisions that one second of a timeline may use up before two timelines could meet.
const REVISIONS_PER_SECOND_MAX: u64 = 1 << 20;

impl Revision {
    /// Before the first write.
    pub const ZERO: Revision = Revision(0);

    /// The revision that follows.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// The base of a new timeline, begun `unix_secs` seconds after 1970 by a store that knows revisions up to `self`.
    ///
    /// A restore does not know how far the lost timeline went, nor whether the same copy was restored before. The wall
    /// clock knows: no timeline takes more than 2^20 revisions a second, so the base lies above everything that any
    /// earlier timeline has given out, unless the clock went back; and it lies above everything this copy knows.
    pub fn next_base(self, unix_secs: u64) -> Revision {
        let above_known = (self.0 / REVISIONS_PER_SECOND_MAX + 1) * REVISIONS_PER_SECOND_MAX;
        Revision(above_known.max(unix_secs.saturating_mul(REVISIONS_PER_SECOND_MAX)))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}
