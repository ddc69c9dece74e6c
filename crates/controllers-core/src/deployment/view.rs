//! What the planner sees of a Deployment and its ReplicaSets.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meta::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use crate::conditions::Condition;
use crate::replicas::SetFacts;
use crate::share::{Share, StoredStrategy, fenceposts};
use crate::subject::{Facts, Kind, ReadError, Stored, Subject};
use crate::writes::Failure;

/// What a Deployment calls itself.
pub static KIND: Kind = Kind { api_version: "apps/v1", kind: "Deployment", resource: api::resources::DEPLOYMENTS };

/// `spec.strategy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// All old pods go before the first new one comes.
    Recreate,
    /// A few at a time.
    RollingUpdate {
        /// Pods above `spec.replicas`.
        max_surge: Share,
        /// Pods below `spec.replicas` that may be unavailable.
        max_unavailable: Share,
    },
}

/// The status fields that the planner reads and writes.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusFacts {
    /// Generation that the status is about.
    pub observed_generation: i64,
    /// Pods of all ReplicaSets.
    pub replicas: i32,
    /// Pods of the new ReplicaSet.
    pub updated_replicas: i32,
    /// Ready pods.
    pub ready_replicas: i32,
    /// Available pods.
    pub available_replicas: i32,
    /// Wanted pods that are not available.
    pub unavailable_replicas: i32,
    /// Pods that are going away.
    pub terminating_replicas: Option<i32>,
    /// How often a ReplicaSet's name was taken by another template's.
    pub collision_count: Option<i32>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A Deployment.
#[derive(Clone, PartialEq, Debug)]
pub struct DeploymentFacts {
    /// Its metadata.
    pub subject: Subject,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.paused`.
    pub paused: bool,
    /// `spec.strategy`.
    pub strategy: Strategy,
    /// `spec.minReadySeconds`.
    pub min_ready_secs: i32,
    /// `spec.revisionHistoryLimit`; `None` is no limit.
    pub history_limit: Option<usize>,
    /// `spec.progressDeadlineSeconds`; `None` is no deadline.
    pub progress_deadline_secs: Option<i32>,
    /// `spec.selector`.
    pub selector: LabelSelector,
    /// `spec.selector`, as it is written.
    pub selector_tree: Value,
    /// `spec.template`.
    pub template: Value,
    /// The stored status.
    pub status: StatusFacts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    replicas: Option<i32>,
    paused: Option<bool>,
    #[serde(default)]
    strategy: StoredStrategy,
    min_ready_seconds: Option<i32>,
    revision_history_limit: Option<i32>,
    progress_deadline_seconds: Option<i32>,
    selector: Value,
    template: Value,
}

impl Facts for DeploymentFacts {
    fn kind() -> &'static Kind {
        &KIND
    }

    fn read(json: &[u8]) -> Result<Self, ReadError> {
        const QUARTER: Share = Share::Percent(25);
        let Stored::<RawSpec, StatusFacts> { metadata, spec, status } = serde_json::from_slice(json)?;
        let rolling = spec.strategy.rolling_update.unwrap_or_default();
        let share = |value: Option<IntOrString>| value.as_ref().and_then(Share::of).unwrap_or(QUARTER);
        let limited = |number: i32| number != i32::MAX;
        Ok(Self {
            subject: Subject::of(&KIND, metadata),
            replicas: spec.replicas.unwrap_or(1).max(0),
            paused: spec.paused.unwrap_or(false),
            strategy: match spec.strategy.r#type.as_deref() {
                Some("Recreate") => Strategy::Recreate,
                _ => Strategy::RollingUpdate {
                    max_surge: share(rolling.max_surge),
                    max_unavailable: share(rolling.max_unavailable),
                },
            },
            min_ready_secs: spec.min_ready_seconds.unwrap_or(0),
            history_limit: spec.revision_history_limit.filter(|n| limited(*n)).and_then(|n| usize::try_from(n).ok()),
            progress_deadline_secs: spec.progress_deadline_seconds.filter(|seconds| limited(*seconds)),
            selector: LabelSelector::from_object(&spec.selector)?,
            selector_tree: spec.selector,
            template: spec.template,
            status,
        })
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn selector(&self) -> &LabelSelector {
        &self.selector
    }
}

impl DeploymentFacts {
    /// Pods that a rolling update may have above `spec.replicas`.
    pub fn max_surge(&self) -> i32 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { max_surge, max_unavailable } => {
                fenceposts(max_surge, max_unavailable, self.replicas).0
            }
        }
    }

    /// Pods that a rolling update may have unavailable.
    pub fn max_unavailable(&self) -> i32 {
        match self.strategy {
            Strategy::RollingUpdate { max_surge, max_unavailable } if self.replicas > 0 => {
                fenceposts(max_surge, max_unavailable, self.replicas).1.min(self.replicas)
            }
            Strategy::Recreate | Strategy::RollingUpdate { .. } => 0,
        }
    }
}

/// Everything the planner looks at. The caller makes sure that it holds the caller's own last writes (D6).
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The Deployment.
    pub deployment: &'a DeploymentFacts,
    /// ReplicaSets of the namespace that it controls, or that nobody controls; others may be among them.
    pub sets: Vec<&'a SetFacts>,
    /// Names of all ReplicaSets of the namespace that begin with the Deployment's name.
    pub taken: BTreeSet<&'a str>,
    /// Pods of the ReplicaSets that it controls; looked at only if the strategy is Recreate.
    pub pods: Vec<&'a Pod>,
    /// What went wrong when the last plan was carried out.
    pub failure: Option<&'a Failure>,
}
