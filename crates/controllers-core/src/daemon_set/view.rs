//! What the planner sees of a DaemonSet.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meta::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use crate::share::{Share, StoredStrategy};
use crate::subject::{Facts, Kind, ReadError, Stored, Subject};

/// What a DaemonSet calls itself.
pub static KIND: Kind = Kind { api_version: "apps/v1", kind: "DaemonSet", resource: api::resources::DAEMON_SETS };

/// `spec.updateStrategy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateStrategy {
    /// A pod is updated when somebody deletes it.
    OnDelete,
    /// A few nodes at a time.
    RollingUpdate {
        /// Nodes with two pods.
        max_surge: Share,
        /// Nodes without an available pod.
        max_unavailable: Share,
    },
}

/// The status fields that the planner reads and writes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusFacts {
    /// Generation that the status is about.
    pub observed_generation: i64,
    /// Nodes that should have a pod.
    pub desired_number_scheduled: i32,
    /// Nodes that should have a pod and have one.
    pub current_number_scheduled: i32,
    /// Nodes that should have no pod and have one.
    pub number_misscheduled: i32,
    /// Nodes whose pod is ready.
    pub number_ready: i32,
    /// Nodes whose pod is of the latest template.
    pub updated_number_scheduled: i32,
    /// Nodes whose pod has been ready for `minReadySeconds`.
    pub number_available: i32,
    /// Nodes that should have a pod and have none that is available.
    pub number_unavailable: i32,
    /// How often a revision's name was taken by another template's.
    pub collision_count: Option<i32>,
}

/// A DaemonSet.
#[derive(Clone, PartialEq, Debug)]
pub struct SetFacts {
    /// Its metadata.
    pub subject: Subject,
    /// `spec.updateStrategy`.
    pub update_strategy: UpdateStrategy,
    /// `spec.minReadySeconds`.
    pub min_ready_secs: i32,
    /// `spec.revisionHistoryLimit`.
    pub history_limit: usize,
    /// `spec.selector`.
    pub selector: LabelSelector,
    /// `spec.template`.
    pub template: Value,
    /// The stored status.
    pub status: StatusFacts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    #[serde(default)]
    update_strategy: StoredStrategy,
    min_ready_seconds: Option<i32>,
    revision_history_limit: Option<i32>,
    selector: Value,
    template: Value,
}

impl Facts for SetFacts {
    fn kind() -> &'static Kind {
        &KIND
    }

    fn read(json: &[u8]) -> Result<Self, ReadError> {
        let Stored::<RawSpec, StatusFacts> { metadata, spec, status } = serde_json::from_slice(json)?;
        let rolling = spec.update_strategy.rolling_update.unwrap_or_default();
        let share =
            |value: Option<IntOrString>, or: i32| value.as_ref().and_then(Share::of).unwrap_or(Share::Count(or));
        Ok(Self {
            subject: Subject::of(&KIND, metadata),
            update_strategy: match spec.update_strategy.r#type.as_deref() {
                Some("OnDelete") => UpdateStrategy::OnDelete,
                _ => UpdateStrategy::RollingUpdate {
                    max_surge: share(rolling.max_surge, 0),
                    max_unavailable: share(rolling.max_unavailable, 1),
                },
            },
            min_ready_secs: spec.min_ready_seconds.unwrap_or(0),
            history_limit: spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10),
            selector: LabelSelector::from_object(&spec.selector)?,
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

impl SetFacts {
    /// Whether a node may have two pods for a while.
    pub(super) fn allows_surge(&self) -> bool {
        match self.update_strategy {
            UpdateStrategy::OnDelete => false,
            UpdateStrategy::RollingUpdate { max_surge, .. } => max_surge.rounded_up(1) > 0,
        }
    }
}

/// Everything the planner looks at. The caller makes sure that it holds the caller's own last writes (D6).
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The set.
    pub set: &'a SetFacts,
    /// All nodes.
    pub nodes: Vec<&'a Node>,
    /// Pods that it controls, and pods without a controller; others may be among them.
    pub pods: Vec<&'a Pod>,
    /// ControllerRevisions of the namespace that it controls, that nobody controls, or whose name begins with its own.
    pub revisions: Vec<&'a ControllerRevision>,
}
