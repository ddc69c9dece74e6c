//! Rollback: an update that makes no progress is given up (docs/decisions/0016).
//!
//! All that has to be remembered stands in annotations of the set's ControllerRevisions, each written from the state
//! that it describes and with the revision's resourceVersion, so that a controller that starts again, or sees an old
//! state, neither forgets nor repeats: when the set was last wholly available at a revision, how far the update to it has
//! come and since when, and whether it was given up.

use std::fmt;

use jiff::SignedDuration;
use meta::Timestamp;
use serde_json::{Value, json};

use super::plan::{Action, Plan};
use super::revision::{self, Choice};
use super::view::{Ordinal, PodFacts, RevisionFacts, UpdateStrategy, View};
use crate::words::Note;

/// Annotation of a revision: when the set was last seen wholly available at it.
pub const AVAILABLE_AT: &str = "roadstead.dev/available-at";
/// Annotation of a revision: how far the update to it has come, and since when it has come no further.
pub const PROGRESS: &str = "roadstead.dev/rollout-progress";
/// Annotation of a revision: when the update to it was given up.
pub const ROLLED_BACK_AT: &str = "roadstead.dev/rolled-back-at";

/// How far an update has come: one step for each pod that is made, one more for each that becomes available.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Progress {
    steps: usize,
    of: usize,
    since: Timestamp,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} steps since {}", self.steps, self.of, self.since)
    }
}

impl Progress {
    fn read(text: &str) -> Option<Self> {
        let (steps, rest) = text.split_once(" of ")?;
        let (of, since) = rest.split_once(" steps since ")?;
        Some(Self { steps: steps.parse().ok()?, of: of.parse().ok()?, since: since.parse().ok()? })
    }
}

/// What comes of watching an update.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Give the update up: what to do instead of everything else.
    pub(super) give_up: Option<Vec<Action>>,
    /// What to remember.
    pub(super) remember: Vec<Action>,
    /// When time alone changes something.
    pub(super) look_again: Option<Timestamp>,
    pub(super) notes: Vec<Note>,
}

/// Looks how far the update has come, and whether it is to be given up because it has come no further for `limit`.
pub(super) fn watch(
    view: &View<'_>,
    choice: &Choice,
    members: &[&PodFacts<'_>],
    limit: SignedDuration,
    now: Timestamp,
) -> Watch {
    if !choice.actions.is_empty() {
        // The revision is made, or made the latest, by this plan; the next one sees it.
        return Watch::default();
    }
    let history = revision::history(view);
    let Some(update) = history.iter().find(|revision| revision.name == choice.update) else {
        return Watch::default();
    };
    let last_good = last_available(&history);
    let rollout = Rollout::of(view, members, &choice.update, now);
    if rollout.is_everything_available {
        if last_good.is_some_and(|good| good.name == update.name) {
            return Watch::default();
        }
        // Not before the last one, whatever the clock says: else this would not be the last one even now (S27, L2).
        let at = last_good.and_then(available_at).into_iter().chain([now]).max().unwrap_or(now);
        return Watch { remember: vec![annotate(update, AVAILABLE_AT, &at.to_string())], ..Watch::default() };
    }
    if matches!(view.set.update_strategy, UpdateStrategy::OnDelete) {
        return Watch::default();
    }
    let known = update.annotation(PROGRESS).and_then(Progress::read);
    // What comes from the future was written before the clock went back.
    let counts = |known: &Progress| known.of == rollout.of && known.steps >= rollout.steps && known.since <= now;
    let Some(progress) = known.filter(counts) else {
        let progress = Progress { steps: rollout.steps, of: rollout.of, since: now };
        return Watch { remember: vec![annotate(update, PROGRESS, &progress.to_string())], ..Watch::default() };
    };
    let Some(stuck) = rollout.stuck.filter(|_| progress.steps < progress.of) else { return Watch::default() };
    let deadline = progress.since.checked_add(limit).unwrap_or(Timestamp::MAX);
    if now < deadline {
        return Watch { look_again: Some(deadline), ..Watch::default() };
    }
    match last_good {
        // The set was wholly available at this very revision: it is not the update that is wrong.
        Some(good) if good.name == update.name => Watch::default(),
        Some(good) => Watch { give_up: Some(give_up(view, update, good, stuck, limit, now)), ..Watch::default() },
        None if history.len() < 2 => Watch::default(),
        None => {
            let text = format!(
                "the update to revision {} has made no progress for {limit:#}, but the set is not known to have been \
                 wholly available at an earlier revision: nothing is rolled back",
                update.name
            );
            Watch { notes: vec![Note::warning("RollbackImpossible", text)], ..Watch::default() }
        }
    }
}

/// Whether the update to a revision was given up.
pub(super) fn is_rolled_back(view: &View<'_>, revision: &str) -> bool {
    let found = view.revisions.iter().find(|found| found.name == revision);
    found.is_some_and(|found| found.annotation(ROLLED_BACK_AT).is_some())
}

/// The revision at which the set was last wholly available.
pub(super) fn last_available<'r, 'a>(history: &[&'r RevisionFacts<'a>]) -> Option<&'r RevisionFacts<'a>> {
    let dated = history.iter().filter_map(|revision| Some((available_at(revision)?, *revision)));
    dated.max_by_key(|(at, revision)| (*at, revision.number)).map(|(_, revision)| revision)
}

fn available_at(revision: &RevisionFacts<'_>) -> Option<Timestamp> {
    revision.annotation(AVAILABLE_AT)?.parse().ok()
}

/// The merge patch of a revision that becomes the latest again: what was said of earlier updates to it is forgotten.
pub(super) fn forget(revision: &RevisionFacts<'_>, metadata: &mut Value) {
    for key in [PROGRESS, ROLLED_BACK_AT] {
        if revision.annotation(key).is_some() {
            metadata["annotations"][key] = Value::Null;
        }
    }
}

/// The state of an update.
struct Rollout {
    steps: usize,
    of: usize,
    is_everything_available: bool,
    /// A pod of the update revision that is not available.
    stuck: Option<Ordinal>,
}

impl Rollout {
    fn of(view: &View<'_>, members: &[&PodFacts<'_>], update: &str, now: Timestamp) -> Self {
        let set = view.set;
        let lowest = set.lowest_to_update();
        let is_available =
            |pod: &PodFacts<'_>| !pod.terminating && pod.is_ready() && pod.is_available(set.min_ready_secs, now);
        let updated = || {
            let in_range = members.iter().filter_map(|pod| Some((pod.ordinal?, *pod)));
            in_range.filter(|(ordinal, pod)| set.has_slot(*ordinal) && pod.revision == update)
        };
        let above = || updated().filter(|(ordinal, _)| *ordinal >= lowest);
        let slots = usize::try_from(set.end().saturating_sub(lowest.0)).unwrap_or(0);
        let available_in_all = updated().filter(|(_, pod)| is_available(pod)).count();
        Self {
            steps: above().count() + above().filter(|(_, pod)| is_available(pod)).count(),
            of: 2 * slots,
            is_everything_available: set.replicas > 0
                && usize::try_from(set.replicas).is_ok_and(|replicas| replicas == available_in_all),
            stuck: above().find(|(_, pod)| !pod.terminating && !is_available(pod)).map(|(ordinal, _)| ordinal),
        }
    }
}

fn annotate(revision: &RevisionFacts<'_>, key: &str, value: &str) -> Action {
    let target = revision.target();
    let mut metadata = target.patch_metadata();
    metadata["annotations"] = json!({key: value});
    Action::AnnotateRevision { revision: target, patch: json!({"metadata": metadata}) }
}

/// The template goes back, as `kubectl rollout undo` would send it; a person's edit in between wins, because the patch
/// carries the set's resourceVersion.
fn give_up(
    view: &View<'_>,
    update: &RevisionFacts<'_>,
    good: &RevisionFacts<'_>,
    stuck: Ordinal,
    limit: SignedDuration,
    now: Timestamp,
) -> Vec<Action> {
    let set = view.set;
    let mut patch = good.data.clone();
    let target = set.target();
    patch["metadata"] = target.patch_metadata();
    let why = format!(
        "the update to revision {} made no progress for {limit:#}: pod {} is not available; the template is returned to \
         revision {}",
        update.name,
        set.pod_name(stuck),
        good.name
    );
    let mut actions = Vec::new();
    if update.annotation(ROLLED_BACK_AT).is_none() {
        actions.push(annotate(update, ROLLED_BACK_AT, &now.to_string()));
    }
    actions.push(Action::RollBack { set: target, revision: good.name.to_owned(), patch, why });
    actions
}

/// The plan that gives an update up, and does nothing else.
pub(super) fn plan(view: &View<'_>, actions: Vec<Action>) -> Plan {
    use super::plan::{Fact, Step, Wait};
    Plan {
        prepare: actions,
        waits: vec![Wait { step: Step::All, on: Fact::RollingBack }],
        status_after: view.set.status.clone(),
        ..Plan::default()
    }
}
