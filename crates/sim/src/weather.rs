//! The faults that are in force at a moment: on the way between a part and the API server, of nodes, of the disk.

use std::time::Duration;

use tokio::time::Instant;

use crate::rng::Rng;
use crate::scenario::Trouble;

/// What can befall a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// Nobody answers; the server never heard of it.
    Refused,
    /// The request is lost; the caller waits until its patience ends.
    RequestLost,
    /// The server does it; the answer is lost.
    AnswerLost,
    /// The caller's transport repeats the request; the second answer counts.
    Repeated,
    /// The answer comes late.
    Late,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Refused, Self::RequestLost, Self::AnswerLost, Self::Repeated, Self::Late];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "request refused",
            Self::RequestLost => "request lost",
            Self::AnswerLost => "answer lost",
            Self::Repeated => "request repeated",
            Self::Late => "answer late",
        }
    }
}

/// A time in which some requests of some parts fare badly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Squall {
    /// Name of the part; empty for all.
    pub part: String,
    /// What befalls them.
    pub mishap: Mishap,
    /// How many of a thousand.
    pub permille: u64,
    /// Until when.
    pub until: Instant,
}

/// A time in which a node's runtime, network and volumes answer badly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spell {
    /// Name of the node.
    pub node: String,
    /// How.
    pub trouble: Trouble,
    /// How many of a thousand calls.
    pub permille: u64,
    /// Until when.
    pub until: Instant,
}

/// All that is in force.
#[derive(Debug, Default)]
pub struct Weather {
    squalls: Vec<Squall>,
    /// Watches of a part that stand still until a moment: the part, a resource (empty for all), the moment.
    calms: Vec<(String, String, Instant)>,
    spells: Vec<Spell>,
    /// Until when the store's disk flushes nothing.
    disk_until: Option<Instant>,
    /// Nothing more goes wrong.
    is_fair: bool,
}

impl Weather {
    /// Adds a squall.
    pub fn squall(&mut self, squall: Squall) {
        self.squalls.retain(|other| other.until > Instant::now());
        self.squalls.push(squall);
    }

    /// Lets the watches of a part stand still.
    pub fn stall(&mut self, part: &str, resource: &str, until: Instant) {
        self.calms.retain(|(_, _, end)| *end > Instant::now());
        self.calms.push((part.to_owned(), resource.to_owned(), until));
    }

    /// Adds a time of trouble on a node.
    pub fn spell(&mut self, spell: Spell) {
        self.spells.retain(|other| other.until > Instant::now());
        self.spells.push(spell);
    }

    /// How a call on a node fares now.
    pub fn trouble(&self, node: &str, rng: &mut Rng) -> Option<Spell> {
        let now = Instant::now();
        let mut here = self.spells.iter().filter(|spell| spell.until > now && spell.node == node);
        here.find(|spell| rng.chance(spell.permille)).cloned()
    }

    /// Lets the disk flush nothing until a moment.
    pub fn stall_disk(&mut self, until: Instant) {
        self.disk_until = self.disk_until.max(Some(until));
    }

    /// How long the disk flushes nothing yet.
    pub fn disk_stalled_for(&self) -> Option<Duration> {
        self.disk_until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Everything works from now on.
    pub fn clear(&mut self) {
        *self = Self { is_fair: true, ..Self::default() };
    }

    /// Whether nothing goes wrong any more.
    pub fn is_fair(&self) -> bool {
        self.is_fair
    }

    /// What befalls a request of a part now.
    pub fn mishap(&self, part: &str, rng: &mut Rng) -> Option<Mishap> {
        let now = Instant::now();
        let over_it = |squall: &&Squall| squall.until > now && (squall.part.is_empty() || squall.part == part);
        self.squalls.iter().filter(over_it).find(|squall| rng.chance(squall.permille)).map(|squall| squall.mishap)
    }

    /// How long a watch has to stand still.
    pub fn stalled_for(&self, part: &str, resource: &str) -> Option<Duration> {
        let now = Instant::now();
        let meant = |(who, what, until): &&(String, String, Instant)| {
            *until > now && (who.is_empty() || who == part) && (what.is_empty() || what == resource)
        };
        self.calms.iter().filter(meant).map(|(_, _, until)| *until - now).max()
    }
}
