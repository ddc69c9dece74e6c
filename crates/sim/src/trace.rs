//! What happened, in order: as a hash always, as lines when asked for.

use std::fmt;

/// The record of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    entries: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// An empty one; `keep_lines` if a person will read it.
    pub fn new(keep_lines: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, entries: 0, lines: keep_lines.then(Vec::new) }
    }

    /// Adds a line that is also hashed.
    pub fn note(&mut self, at_millis: u64, what: fmt::Arguments<'_>) {
        let line = format!("{:>6}.{:03} {what}", at_millis / 1000, at_millis % 1000);
        self.hash_bytes(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// Adds bytes to the hash only: the states of objects.
    pub fn hash_bytes(&mut self, bytes: &[u8]) {
        self.entries += 1;
        let mut hash = self.hash;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let word = u64::from_le_bytes(chunk.try_into().expect("a chunk of eight has eight bytes"));
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
        for byte in chunks.remainder() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.hash = (hash ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    }

    /// The hash of everything so far.
    pub fn digest(&self) -> u64 {
        self.hash
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The lines, if they were kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
