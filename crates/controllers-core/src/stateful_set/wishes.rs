//! What a set asks for beyond upstream, in annotations (docs/decisions/0016).

use std::str::FromStr;

use jiff::SignedDuration;

use super::view::SetFacts;
use crate::words::Note;

/// Annotation: whether a pod that never became ready, on a revision that is no longer wanted, is replaced.
pub const HEAL_ROLLOUT: &str = "roadstead.dev/heal-rollout";
/// The namespace whose annotation [`HEAL_ROLLOUT`] tells the default of the cluster (docs/decisions/0016).
pub const CLUSTER_NAMESPACE: &str = "kube-system";
/// Annotation: how long an update may make no progress before the set is returned to the last revision at which it was
/// wholly available.
pub const ROLLBACK_AFTER: &str = "roadstead.dev/rollback-after";
/// The shortest time that [`ROLLBACK_AFTER`] may say.
pub const ROLLBACK_AFTER_MIN: SignedDuration = SignedDuration::from_secs(1);

/// Value of [`HEAL_ROLLOUT`], and the default for sets that say nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum HealRollout {
    /// As upstream: such a pod is deleted by hand (C-75a).
    #[default]
    Off,
    /// It is replaced.
    NeverReady,
}

/// A word that is no [`HealRollout`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither \"never-ready\" nor \"off\"")]
pub struct UnknownHealRollout(String);

impl std::fmt::Display for HealRollout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::NeverReady => "never-ready",
        })
    }
}

impl FromStr for HealRollout {
    type Err = UnknownHealRollout;

    fn from_str(word: &str) -> Result<Self, UnknownHealRollout> {
        match word {
            "never-ready" => Ok(Self::NeverReady),
            "off" => Ok(Self::Off),
            other => Err(UnknownHealRollout(other.to_owned())),
        }
    }
}

/// The wishes of one set.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Wishes {
    pub(super) heal: HealRollout,
    pub(super) rollback_after: Option<SignedDuration>,
    /// A warning for each value that cannot be understood; it is as if it were not there.
    pub(super) notes: Vec<Note>,
}

impl Wishes {
    /// Reads a set's annotations; `default` is for sets that say nothing about healing.
    pub(super) fn of(set: &SetFacts, default: HealRollout) -> Self {
        let mut notes = Vec::new();
        let mut ignored = |key: &str, why: &str| {
            notes.push(Note::warning("InvalidAnnotation", format!("annotation {key} is ignored: {why}")));
        };
        let mut heal = default;
        match set.annotations.get(HEAL_ROLLOUT).map(|word| word.parse()) {
            Some(Ok(word)) => heal = word,
            Some(Err(error)) => ignored(HEAL_ROLLOUT, &error.to_string()),
            None => {}
        }
        let rollback_after = set.annotations.get(ROLLBACK_AFTER).and_then(|text| {
            let limit = text.parse().ok().filter(|limit| *limit >= ROLLBACK_AFTER_MIN);
            if limit.is_none() {
                ignored(ROLLBACK_AFTER, &format!("{text:?} is not a time of at least one second, such as 5m or 1h30m"));
            }
            limit
        });
        Self { heal, rollback_after, notes }
    }
}
