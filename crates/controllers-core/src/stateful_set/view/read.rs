//! A set as it is stored, read into [`SetFacts`].

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meta::{LabelSelector, SelectorError, Uid};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::revision::RevisionData;
use super::Labels;
use super::set::{
    ClaimTemplate, PodManagement, Retention, RetentionPolicy, RollingUpdate, SetFacts, StatusFacts, UpdateStrategy,
};
use crate::share::Share;
use crate::words::version;

/// A stored StatefulSet that cannot be planned for.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not the shape of a StatefulSet.
    #[error("read a StatefulSet")]
    Shape(#[from] serde_json::Error),
    /// The selector is not understood (C-12: logged, not retried).
    #[error("read spec.selector")]
    Selector(#[from] SelectorError),
}

#[derive(Deserialize)]
struct RawSet {
    metadata: RawMetadata,
    spec: RawSpec,
    #[serde(default)]
    status: StatusFacts,
}

/// What a plan needs of `metadata`; not who manages which field, which is most of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<IgnoredAny>,
    finalizers: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    replicas: Option<i32>,
    selector: Value,
    template: Value,
    #[serde(default)]
    volume_claim_templates: Option<Vec<Value>>,
    service_name: Option<String>,
    pod_management_policy: Option<String>,
    update_strategy: Option<RawStrategy>,
    revision_history_limit: Option<i32>,
    min_ready_seconds: Option<i32>,
    persistent_volume_claim_retention_policy: Option<RawRetention>,
    ordinals: Option<RawOrdinals>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawStrategy {
    r#type: Option<String>,
    rolling_update: Option<RawRolling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRolling {
    partition: Option<i32>,
    max_unavailable: Option<IntOrString>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawRetention {
    when_deleted: Option<String>,
    when_scaled: Option<String>,
}

#[derive(Deserialize)]
struct RawOrdinals {
    start: Option<i32>,
}

impl SetFacts {
    /// Reads a StatefulSet from its stored JSON.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(json: &[u8]) -> Result<Self, ReadError> {
        let RawSet { metadata, spec, status } = serde_json::from_slice(json)?;
        let retention = spec.persistent_volume_claim_retention_policy.unwrap_or_default();
        let template_labels = labels_at(&spec.template, "/metadata/labels")?;
        Ok(Self {
            deleting: metadata.deletion_timestamp.is_some(),
            resource_version: version(metadata.resource_version.as_deref()),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: Uid(metadata.uid.unwrap_or_default()),
            generation: metadata.generation.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            replicas: spec.replicas.unwrap_or(1).max(0),
            start: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0).max(0),
            pod_management: match spec.pod_management_policy.as_deref() {
                Some("Parallel") => PodManagement::Parallel,
                _ => PodManagement::OrderedReady,
            },
            update_strategy: strategy(spec.update_strategy.unwrap_or_default()),
            min_ready_secs: spec.min_ready_seconds.unwrap_or(0),
            history_limit: spec.revision_history_limit.unwrap_or(10),
            retention: RetentionPolicy {
                when_deleted: retention_of(retention.when_deleted.as_deref()),
                when_scaled: retention_of(retention.when_scaled.as_deref()),
            },
            selector: LabelSelector::from_object(&spec.selector)?,
            match_labels: labels_at(&spec.selector, "/matchLabels")?,
            service_name: spec.service_name.unwrap_or_default(),
            template_labels,
            data: RevisionData::of_template(spec.template),
            claim_templates: spec.volume_claim_templates.into_iter().flatten().map(claim_template).collect(),
            status,
        })
    }
}

fn labels_at(tree: &Value, path: &str) -> Result<Labels, serde_json::Error> {
    tree.pointer(path).filter(|labels| !labels.is_null()).map_or_else(|| Ok(Labels::new()), Labels::deserialize)
}

fn strategy(raw: RawStrategy) -> UpdateStrategy {
    if raw.r#type.as_deref() == Some("OnDelete") {
        return UpdateStrategy::OnDelete;
    }
    UpdateStrategy::RollingUpdate(raw.rolling_update.map(|block| RollingUpdate {
        partition: block.partition.unwrap_or(0).max(0),
        max_unavailable: block.max_unavailable.as_ref().and_then(Share::of),
    }))
}

fn retention_of(word: Option<&str>) -> Retention {
    if word == Some("Delete") { Retention::Delete } else { Retention::Retain }
}

fn claim_template(body: Value) -> ClaimTemplate {
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    ClaimTemplate { name, body }
}
