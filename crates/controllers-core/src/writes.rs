//! What plans of workload controllers are made of: writes, in stages, with the events that tell what became of them.
//!
//! Every planner of these kinds wants the same few things of the API (create, patch, delete), so that one shell obeys
//! them all. What differs is the reason why a step is not taken; that is the planner's own type, the `F` of [`Plan`].

use meta::{ResourceId, Timestamp};
use serde_json::{Value, json};

use crate::words::{Note, Target, Tone};

/// Most pods that one plan creates or deletes (upstream's burst); the rest follow in the next.
pub const BURST_MAX: usize = 500;

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub struct Write {
    /// The kind of the object.
    pub resource: ResourceId,
    /// What is done to it.
    pub verb: Verb,
    /// Event when it is done; `{}` in its text is the object's name.
    pub done: Option<Note>,
    /// Event when it failed; `{}` in its text is the API's.
    pub failed: Option<Note>,
}

/// What a write does.
#[derive(Clone, PartialEq, Debug)]
pub enum Verb {
    /// Read the object live and go on only if it is the same one and not being deleted (C-18, S8).
    Confirm(Target),
    /// Create an object; its name may be left to the server (`generateName`).
    Create(Value),
    /// A merge patch, with the preconditions in it.
    Patch {
        /// The object.
        target: Target,
        /// `status`, or the object itself.
        subresource: Option<&'static str>,
        /// The patch.
        patch: Value,
    },
    /// Delete exactly this state of this object.
    Delete {
        /// The object.
        target: Target,
        /// In whatever state: an earlier stage of the same plan changes it. The UID counts all the same.
        in_any_state: bool,
        /// Grace in seconds, if not the object's own.
        grace_period_secs: Option<i64>,
        /// Its dependents go first (foreground); otherwise they follow.
        foreground: bool,
    },
}

impl Write {
    fn silent(resource: ResourceId, verb: Verb) -> Self {
        Self { resource, verb, done: None, failed: None }
    }

    /// Makes sure that the object is still there.
    pub fn confirm(resource: ResourceId, target: Target) -> Self {
        Self::silent(resource, Verb::Confirm(target))
    }

    /// Creates an object.
    pub fn create(resource: ResourceId, body: Value) -> Self {
        Self::silent(resource, Verb::Create(body))
    }

    /// Deletes an object with its own grace; its dependents follow.
    pub fn delete(resource: ResourceId, target: Target) -> Self {
        Self::silent(resource, Verb::Delete { target, in_any_state: false, grace_period_secs: None, foreground: false })
    }

    /// Deletes an object at once, without grace.
    pub fn kill(resource: ResourceId, target: Target) -> Self {
        Self::silent(
            resource,
            Verb::Delete { target, in_any_state: false, grace_period_secs: Some(0), foreground: false },
        )
    }

    /// Deletes an object after its dependents.
    pub fn delete_with_dependents(resource: ResourceId, target: Target) -> Self {
        let verb = Verb::Delete { target, in_any_state: false, grace_period_secs: None, foreground: true };
        Self::silent(resource, verb)
    }

    /// A deletion of the object in whatever state an earlier stage of the plan leaves it.
    #[must_use]
    pub fn in_any_state(mut self) -> Self {
        if let Verb::Delete { in_any_state, .. } = &mut self.verb {
            *in_any_state = true;
        }
        self
    }

    /// Merges `fields` (`{"metadata": …, "spec": …}`) into the object, if it is still in this state.
    pub fn patch(resource: ResourceId, target: Target, fields: Value) -> Self {
        let patch = with_preconditions(&target, fields);
        Self::silent(resource, Verb::Patch { target, subresource: None, patch })
    }

    /// Merges `status` into the object's status, if it is still in this state.
    pub fn status(resource: ResourceId, target: Target, status: Value) -> Self {
        let patch = with_preconditions(&target, json!({"status": status}));
        Self::silent(resource, Verb::Patch { target, subresource: Some("status"), patch })
    }

    /// A patch that sets annotations too.
    #[must_use]
    pub fn annotating(mut self, annotations: &Value) -> Self {
        if let Verb::Patch { patch, .. } = &mut self.verb {
            patch["metadata"]["annotations"] = annotations.clone();
        }
        self
    }

    /// With events.
    #[must_use]
    pub fn telling(mut self, done: Note, failed: Note) -> Self {
        self.done = Some(done);
        self.failed = Some(failed);
        self
    }

    /// With an event only when it is done.
    #[must_use]
    pub fn announcing(mut self, done: Note) -> Self {
        self.done = Some(done);
        self
    }

    /// The name of the object, if it is one that is there already.
    pub fn target_name(&self) -> Option<&String> {
        match &self.verb {
            Verb::Confirm(target) | Verb::Patch { target, .. } | Verb::Delete { target, .. } => Some(&target.name),
            Verb::Create(_) => None,
        }
    }

    /// The event of an outcome: the object's name, or the API's text.
    pub fn note(&self, outcome: Result<&str, &str>) -> Option<Note> {
        let (note, word) = match outcome {
            Ok(name) => (self.done.as_ref()?, name),
            Err(error) => (self.failed.as_ref()?, error),
        };
        Some(Note { tone: note.tone, reason: note.reason, message: note.message.replacen("{}", word, 1) })
    }
}

/// Puts the preconditions of a state (S8) into a merge patch.
fn with_preconditions(target: &Target, mut patch: Value) -> Value {
    patch["metadata"]["uid"] = json!(target.uid.0);
    patch["metadata"]["resourceVersion"] = json!(target.resource_version.to_string());
    patch
}

/// What to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan<F> {
    /// Stage by stage; within a stage all at once. A failure ends the stages after its own.
    pub stages: Vec<Vec<Write>>,
    /// The status, whatever became of the rest; it does not wait for the stages.
    pub status: Option<Write>,
    /// Steps that are not taken, each with the fact that it waits for.
    pub waits: Vec<F>,
    /// Events about the plan itself.
    pub notes: Vec<Note>,
    /// When to look again though nothing happened: the earliest moment at which time alone changes something.
    pub look_again: Option<Timestamp>,
    /// Something is wrong that no event announces the end of: look again with back-off.
    pub retry: bool,
}

impl<F> Default for Plan<F> {
    fn default() -> Self {
        Self { stages: Vec::new(), status: None, waits: Vec::new(), notes: Vec::new(), look_again: None, retry: false }
    }
}

impl<F> Plan<F> {
    /// All writes, in the order in which they may start.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.stages.iter().flatten().chain(&self.status)
    }

    /// Whether there is nothing to do.
    pub fn is_settled(&self) -> bool {
        self.writes().next().is_none()
    }

    /// Notes a moment at which to look again.
    pub fn at(&mut self, moment: Option<Timestamp>) {
        self.look_again = self.look_again.into_iter().chain(moment).min();
    }
}

/// What went wrong when the last plan was carried out; a part of the next view, because statuses speak of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The API's text.
    pub message: String,
}

/// Splits creations into stages of 1, 2, 4, … so that a refusal that meets all of them (a quota) is met once or twice
/// and not hundreds of times.
pub fn slow_start(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut stages = Vec::new();
    let mut rest = writes.into_iter().peekable();
    let mut size = 1;
    while rest.peek().is_some() {
        stages.push(rest.by_ref().take(size).collect());
        size *= 2;
    }
    stages
}

/// The creation of a pod from a template, under a name that the server makes up from the owner's.
pub fn create_pod(body: Value) -> Write {
    Write::create(api::resources::PODS, body).telling(
        Note { tone: Tone::Normal, reason: "SuccessfulCreate", message: "Created pod: {}".to_owned() },
        Note { tone: Tone::Warning, reason: "FailedCreate", message: "Error creating: {}".to_owned() },
    )
}

/// The deletion of a pod by its controller, with the pod's own grace.
pub fn delete_pod(target: Target) -> Write {
    Write::delete(api::resources::PODS, target).telling(
        Note { tone: Tone::Normal, reason: "SuccessfulDelete", message: "Deleted pod: {}".to_owned() },
        Note { tone: Tone::Warning, reason: "FailedDelete", message: "Error deleting: {}".to_owned() },
    )
}
