//! What controllers read of ReplicaSets.

use meta::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use crate::conditions::Condition;
use crate::subject::{Facts, Kind, Labels, ReadError, Stored, Subject};

/// What a ReplicaSet calls itself.
pub static KIND: Kind = Kind { api_version: "apps/v1", kind: "ReplicaSet", resource: api::resources::REPLICA_SETS };

/// The status fields that the planner reads and writes.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusFacts {
    /// Generation that the status is about.
    pub observed_generation: i64,
    /// Active pods.
    pub replicas: i32,
    /// Pods with all labels of the template.
    pub fully_labeled_replicas: i32,
    /// Ready pods.
    pub ready_replicas: i32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available_replicas: i32,
    /// Pods that are going away.
    pub terminating_replicas: Option<i32>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A ReplicaSet.
#[derive(Clone, PartialEq, Debug)]
pub struct SetFacts {
    /// Its metadata.
    pub subject: Subject,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_secs: i32,
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
    replicas: Option<i32>,
    min_ready_seconds: Option<i32>,
    selector: Value,
    #[serde(default)]
    template: Value,
}

impl Facts for SetFacts {
    fn kind() -> &'static Kind {
        &KIND
    }

    fn read(json: &[u8]) -> Result<Self, ReadError> {
        let Stored::<RawSpec, StatusFacts> { metadata, spec, status } = serde_json::from_slice(json)?;
        Ok(Self {
            subject: Subject::of(&KIND, metadata),
            replicas: spec.replicas.unwrap_or(1).max(0),
            min_ready_secs: spec.min_ready_seconds.unwrap_or(0),
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
    /// Labels of the template.
    pub fn template_labels(&self) -> Labels {
        let labels = self.template.pointer("/metadata/labels").filter(|labels| !labels.is_null());
        labels.and_then(|labels| Labels::deserialize(labels).ok()).unwrap_or_default()
    }
}
