//! Which fields make a pod or a claim meet its fate.

use controllers_core::stateful_set::{HEAL_ROLLOUT, HealRollout, ROLLBACK_AFTER, Why};
use serde_json::Value;

use super::{Fate, FieldChange};

/// How many slots there are, and which.
const SLOTS: [&str; 2] = ["spec.replicas", "spec.ordinals"];
/// What a pod is made of, and which pods follow a change of it.
const UPDATE: [&str; 2] = ["spec.template", "spec.updateStrategy"];
/// What becomes of the claims of slots that go.
const RETENTION: &str = "spec.persistentVolumeClaimRetentionPolicy";

/// What a cause is looked for in.
pub(super) struct Causes<'f> {
    /// The fields that change.
    pub(super) fields: &'f [FieldChange],
    /// The set as it becomes.
    pub(super) after: &'f Value,
    /// Pods that are deleted, each with why.
    pub(super) deleted: &'f [(String, Why)],
    /// Claims whose set is gone: they go by what that set's policy was.
    pub(super) left_behind: &'f [String],
    /// The template goes back to an earlier one.
    pub(super) is_rolled_back: bool,
}

impl Causes<'_> {
    /// The fields that cause a pod's fate.
    pub(super) fn of_pod(&self, pod: &str, fate: Fate) -> Vec<String> {
        let mut found = Vec::new();
        if fate == Fate::Created {
            self.changed(&SLOTS, &mut found);
        }
        for (_, why) in self.deleted.iter().filter(|(name, _)| name == pod) {
            match why {
                Why::Ended => {}
                Why::ScaledDown => self.changed(&SLOTS, &mut found),
                Why::Outdated => self.update(&mut found),
                Why::NeverReady => {
                    self.update(&mut found);
                    let heals = self.annotation(HEAL_ROLLOUT).and_then(|word| word.parse().ok());
                    if heals == Some(HealRollout::NeverReady) {
                        add(annotation(HEAL_ROLLOUT), &mut found);
                    }
                }
            }
        }
        found
    }

    /// The fields that cause a claim's fate.
    pub(super) fn of_claim(&self, claim: &str, fate: Fate) -> Vec<String> {
        let mut found = Vec::new();
        if fate == Fate::Deleted && self.left_behind.iter().any(|left| left == claim) {
            return vec![format!("{RETENTION}.whenDeleted of the set that is gone")];
        }
        self.changed(&SLOTS, &mut found);
        if fate == Fate::Deleted {
            self.changed(&[RETENTION], &mut found);
            add(format!("{RETENTION}.whenScaled"), &mut found);
        }
        found
    }

    fn update(&self, found: &mut Vec<String>) {
        self.changed(&UPDATE, found);
        if self.is_rolled_back && self.annotation(ROLLBACK_AFTER).is_some() {
            add(annotation(ROLLBACK_AFTER), found);
        }
    }

    /// Adds the fields below these that change.
    fn changed(&self, below: &[&str], found: &mut Vec<String>) {
        let paths = self.fields.iter().map(|field| &field.path);
        for path in paths.filter(|path| below.iter().any(|prefix| path.starts_with(prefix))) {
            add(path.clone(), found);
        }
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.after["metadata"]["annotations"][key].as_str()
    }
}

/// Where an annotation is.
fn annotation(key: &str) -> String {
    format!("metadata.annotations.{key}")
}

fn add(path: String, found: &mut Vec<String>) {
    if !found.contains(&path) {
        found.push(path);
    }
}
