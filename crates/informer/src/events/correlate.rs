//! Which happenings become events (C-89). Decides only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use meta::Timestamp;

use super::EventType;

/// Different messages of one group within [`GROUP_WINDOW`] after which they are folded into one event.
const GROUP_MESSAGES_MAX: usize = 10;
/// How long a group's messages are remembered.
const GROUP_WINDOW: Duration = Duration::from_secs(600);
/// Events that one object may cause at once.
const BURST: u32 = 25;
/// Time in which one more event is allowed to an object.
const REFILL: Duration = Duration::from_secs(300);
/// Objects, groups and events remembered; the oldest are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// Something happened to an object.
#[derive(Clone, PartialEq, Debug)]
pub struct Happening {
    /// To which object.
    pub about: ObjectReference,
    /// Good news or not.
    pub event_type: EventType,
    /// Machine-readable reason.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// What to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing: the object has had its share.
    Drop,
    /// A new Event.
    Create {
        /// Its name.
        name: String,
        /// Its message.
        message: String,
    },
    /// One more of an Event that was written.
    Repeat {
        /// Its name.
        name: String,
        /// Its message.
        message: String,
        /// Its count from now on.
        count: u32,
        /// When it happened first.
        first: Timestamp,
    },
}

impl Verdict {
    /// The name of the Event to write, if there is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Drop => None,
            Self::Create { name, .. } | Self::Repeat { name, .. } => Some(name),
        }
    }
}

type Subject = (String, String, String, String, String);
type Group = (Subject, EventType, String);

/// Remembers what was written lately.
#[derive(Debug, Default)]
pub struct Correlator {
    buckets: Remembered<Subject, Bucket>,
    groups: Remembered<Group, Messages>,
    written: Remembered<(Group, String), Written>,
    last_name_nanos: i128,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u32,
    refilled: Timestamp,
}

#[derive(Debug, Clone)]
struct Messages {
    different: BTreeSet<String>,
    last: Timestamp,
}

#[derive(Debug, Clone)]
struct Written {
    name: String,
    count: u32,
    first: Timestamp,
}

impl Correlator {
    /// Decides about one happening.
    pub fn handle(&mut self, what: &Happening) -> Verdict {
        let subject = subject(&what.about);
        let group: Group = (subject.clone(), what.event_type, what.reason.clone());
        let folded = self.is_folded(&group, what);
        let message =
            if folded { format!("(combined from similar events): {}", what.message) } else { what.message.clone() };
        if !self.spend(subject, what.at) {
            return Verdict::Drop;
        }
        let key = (group, if folded { String::new() } else { what.message.clone() });
        if let Some(written) = self.written.get_mut(&key) {
            written.count = written.count.saturating_add(1);
            let Written { name, count, first } = written.clone();
            return Verdict::Repeat { name, message, count, first };
        }
        let name = self.fresh_name(what);
        self.written.put(key, Written { name: name.clone(), count: 1, first: what.at });
        Verdict::Create { name, message }
    }

    /// Whether so many different messages of the group came lately that they go into one event.
    fn is_folded(&mut self, group: &Group, what: &Happening) -> bool {
        if self.groups.get_mut(group).is_none() {
            self.groups.put(group.clone(), Messages { different: BTreeSet::new(), last: what.at });
        }
        let Some(messages) = self.groups.get_mut(group) else { return false };
        if what.at.duration_since(messages.last) > jiff::SignedDuration::try_from(GROUP_WINDOW).unwrap_or_default() {
            messages.different.clear();
        }
        messages.last = what.at;
        if messages.different.len() < GROUP_MESSAGES_MAX {
            messages.different.insert(what.message.clone());
        }
        messages.different.len() >= GROUP_MESSAGES_MAX
    }

    fn spend(&mut self, subject: Subject, now: Timestamp) -> bool {
        if self.buckets.get_mut(&subject).is_none() {
            self.buckets.put(subject.clone(), Bucket { tokens: BURST, refilled: now });
        }
        let Some(bucket) = self.buckets.get_mut(&subject) else { return true };
        let passed = u64::try_from(now.duration_since(bucket.refilled).as_secs()).unwrap_or(0);
        let earned = passed / REFILL.as_secs();
        if earned > 0 {
            bucket.tokens = u32::try_from(earned).unwrap_or(BURST).saturating_add(bucket.tokens).min(BURST);
            bucket.refilled = now;
        }
        let allowed = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        allowed
    }

    /// `<object>.<16 hex digits of the moment in nanoseconds>`, never the same twice.
    fn fresh_name(&mut self, what: &Happening) -> String {
        self.last_name_nanos = what.at.as_nanosecond().max(self.last_name_nanos + 1);
        format!("{}.{:016x}", what.about.name.as_deref().unwrap_or_default(), self.last_name_nanos)
    }
}

fn subject(about: &ObjectReference) -> Subject {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    (text(&about.kind), text(&about.namespace), text(&about.name), text(&about.uid), text(&about.field_path))
}

/// A map that forgets its oldest entries beyond [`REMEMBERED_MAX`].
#[derive(Debug)]
struct Remembered<K, V> {
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Clone, V> Remembered<K, V> {
    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    fn put(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(message: &str, secs: i64) -> Happening {
        Happening {
            about: ObjectReference { name: Some("web-0".to_owned()), ..ObjectReference::default() },
            event_type: EventType::Normal,
            reason: "Pulled".to_owned(),
            message: message.to_owned(),
            at: Timestamp::from_second(1_767_225_600 + secs).unwrap(),
        }
    }

    fn counted(verdict: &Verdict) -> u32 {
        match verdict {
            Verdict::Drop => 0,
            Verdict::Create { .. } => 1,
            Verdict::Repeat { count, .. } => *count,
        }
    }

    #[test]
    fn the_same_again_raises_the_count_of_one_event() {
        let mut correlator = Correlator::default();
        let Verdict::Create { name, message } = correlator.handle(&happening("image pulled", 0)) else { panic!() };
        assert_eq!((name.as_str(), message.as_str()), ("web-0.18867251edfa0000", "image pulled"));
        let Verdict::Repeat { name: again, count, first, .. } = correlator.handle(&happening("image pulled", 5)) else {
            panic!()
        };
        assert_eq!((again, count, first), (name, 2, happening("", 0).at));
    }

    #[test]
    fn two_events_of_one_moment_have_two_names() {
        let mut correlator = Correlator::default();
        let names: Vec<_> = ["a", "b"]
            .iter()
            .map(|message| match correlator.handle(&happening(message, 0)) {
                Verdict::Create { name, .. } => name,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn from_the_tenth_message_of_a_group_on_they_are_folded_and_after_ten_quiet_minutes_no_longer() {
        // C-89.
        let mut correlator = Correlator::default();
        for number in 0..9 {
            assert_eq!(counted(&correlator.handle(&happening(&number.to_string(), 0))), 1);
        }
        let Verdict::Create { message, .. } = correlator.handle(&happening("9", 0)) else { panic!() };
        assert_eq!(message, "(combined from similar events): 9");
        assert_eq!(counted(&correlator.handle(&happening("10", 0))), 2, "the folded event counts on");
        let Verdict::Create { message, .. } = correlator.handle(&happening("fresh", 601)) else { panic!() };
        assert_eq!(message, "fresh");
    }

    #[test]
    fn an_object_may_cause_25_events_at_once_and_then_one_in_five_minutes() {
        // C-89.
        let mut correlator = Correlator::default();
        let written = (0..40).filter(|_| correlator.handle(&happening("x", 0)) != Verdict::Drop).count();
        assert_eq!(written, 25);
        assert_eq!(correlator.handle(&happening("x", 299)), Verdict::Drop);
        assert_ne!(correlator.handle(&happening("x", 300)), Verdict::Drop);
        assert_eq!(correlator.handle(&happening("x", 300)), Verdict::Drop);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut remembered = Remembered::default();
        for number in 0..(REMEMBERED_MAX + 10) {
            remembered.put(number, ());
        }
        assert_eq!(remembered.entries.len(), REMEMBERED_MAX);
        assert!(remembered.get_mut(&9).is_none() && remembered.get_mut(&10).is_some());
    }
}
