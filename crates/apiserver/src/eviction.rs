//! Evicting pods: the pod's end and its budget's charge in one transaction (K-33, S11).

use std::sync::Arc;

use api::resources::POD_DISRUPTION_BUDGETS;
use apiserver_core::kinds::{self, KindDef};
use apiserver_core::write::{DeletionOptions, decide_eviction};
use client::Object;
use meta::Status;
use serde_json::Value;
use store_core::{Expected, Op, Revision};

use crate::keys;
use crate::registry::Registry;
use crate::stored;
use crate::writing::{Target, WriteOptions};

impl Registry {
    /// Evicts a pod.
    ///
    /// # Errors
    /// The refusal as the client sees it: 429 while a disruption budget does not allow it.
    pub async fn evict(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        eviction: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let asked = DeletionOptions::from_tree(&eviction["deleteOptions"])?;
        let dry_run = options.dry_run || asked.dry_run;
        let budget_def = kinds::by_resource(&POD_DISRUPTION_BUDGETS)
            .ok_or_else(|| Status::internal("disruption budgets are not served"))?;
        let decide = |current: &Value, now| {
            let budgets = self.all(budget_def, target.namespace)?;
            let trees: Vec<&Value> = budgets.iter().map(|budget| budget.tree().as_ref()).collect();
            let decided = decide_eviction(def, current, eviction, (budget_def, &trees), now)?;
            let charged = decided.budget.map(|budget| put_over(budget_def, target.namespace, &budgets, budget));
            Ok((decided.deletion, charged.into_iter().collect()))
        };
        // One after the other: evictions under one budget would only make each other decide again.
        let _turn = self.evictions.lock().await;
        self.delete_as(def, target, dry_run, decide).await.map(|_| ())
    }
}

/// Stores a new state of one of `known`, if that is still the latest one.
pub(crate) fn put_over(def: &KindDef, namespace: Option<&str>, known: &[Arc<Object>], new: Value) -> Op {
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let old = known.iter().find(|old| old.tree()["metadata"]["name"] == name);
    let revision = old.map_or(Revision(0), |old| Revision(old.resource_version.0));
    let key = keys::object(&def.kind, namespace, name);
    Op::Put { key, payload: stored::encode(new), expected: Expected::At(revision) }
}
