//! `why`: from an object to the one fact that blocks it, and the next thing to do.

mod answer;
mod claim;
mod container;
mod deletion;
mod neighbours;
mod node;
mod pod;
mod refusal;
mod set;
mod unplaced;

use meta::Timestamp;
use serde_json::Value;

pub(crate) use answer::write_next;
pub use answer::{Answer, Link, State};
pub(crate) use set::{planned, typed};

use crate::cluster::{Cluster, Ref, text};

/// Links that an answer has at most: a set, its pod, a claim, a volume, a node, and some room.
const LINKS_MAX: usize = 12;

/// Follows what `about` waits for. An object that is not in `cluster` is stuck on not being there.
pub fn why(cluster: &Cluster, about: &Ref, now: Timestamp) -> Answer {
    let mut trail = Trail { cluster, now, chain: Vec::new(), also: Vec::new() };
    let verdict = trail.follow(about);
    Answer { state: verdict.state, chain: trail.chain, next: verdict.next, also: trail.also }
}

/// What the end of a trail says.
#[derive(Debug)]
struct Verdict {
    state: State,
    next: Vec<String>,
}

impl Verdict {
    fn fine() -> Self {
        Self { state: State::Fine, next: Vec::new() }
    }

    fn working() -> Self {
        Self { state: State::Working, next: Vec::new() }
    }

    fn is_stuck(&self) -> bool {
        self.state == State::Stuck
    }

    fn stuck<const N: usize>(next: [String; N]) -> Self {
        Self { state: State::Stuck, next: next.into() }
    }
}

/// The way from the object that was asked about to the fact that blocks it.
struct Trail<'c> {
    cluster: &'c Cluster,
    now: Timestamp,
    chain: Vec<Link>,
    also: Vec<String>,
}

impl<'c> Trail<'c> {
    fn says(&mut self, about: &Ref, says: impl Into<String>) {
        self.chain.push(Link { about: about.clone(), says: says.into() });
    }

    /// Goes on with another object.
    fn follow(&mut self, about: &Ref) -> Verdict {
        if self.chain.len() >= LINKS_MAX || self.chain.iter().any(|link| link.about == *about) {
            return Verdict::stuck([format!("{about} waits for itself: `kubectl describe` the objects named above")]);
        }
        let Some(object) = self.cluster.get(about) else {
            if self.chain.is_empty()
                && let Some(set) = set::that_makes(self.cluster, about)
            {
                self.says(about, "is yet to be made by its set");
                return self.follow(&set);
            }
            self.says(about, "does not exist");
            return Verdict::stuck([format!(
                "create it, or look for a typing error in its name: `{}`",
                kubectl(&about.namespace, &format!("get {}", about.kind.to_lowercase()))
            )]);
        };
        if !text(object, "/metadata/deletionTimestamp").is_empty() {
            return deletion::follow(self, about, object);
        }
        match about.kind.as_str() {
            "StatefulSet" => set::follow(self, about, object),
            "Pod" => pod::follow(self, about, object),
            "PersistentVolumeClaim" => claim::follow(self, about, object),
            "Node" => node::follow(self, about, object),
            _ => neighbours::follow(self, about, object),
        }
    }

    /// The message of the newest warning about an object with one of these reasons.
    fn warning(&self, about: &Ref, reasons: &[&str]) -> Option<&'c str> {
        let event = self.cluster.event(about, |event| reasons.contains(&text(event, "/reason")))?;
        // What a probe's command prints ends with a new line.
        Some(text(event, "/message").trim_end())
    }
}

/// A kubectl command line for a namespace.
fn kubectl(namespace: &str, rest: &str) -> String {
    if namespace.is_empty() || namespace == "default" {
        format!("kubectl {rest}")
    } else {
        format!("kubectl -n {namespace} {rest}")
    }
}

/// `1 pod`, `2 pods`.
fn counted<N: std::fmt::Display + From<u8> + PartialEq>(count: N, what: &str) -> String {
    format!("{count} {what}{}", if count == N::from(1) { "" } else { "s" })
}

/// A length of time as people say it: `45 s`, `3 min`, `2 h`.
fn spoken(length: jiff::SignedDuration) -> String {
    match length.as_secs() {
        secs @ ..120 => format!("{} s", secs.max(0)),
        secs @ ..7200 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3600),
    }
}

/// `, for 3 min` since a moment that an object names; empty if it names none.
fn since(object: &Value, path: &str, now: Timestamp) -> String {
    crate::cluster::time(object, path)
        .map_or_else(String::new, |from| format!(", for {}", spoken(now.duration_since(from))))
}
