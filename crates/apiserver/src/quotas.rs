//! Quotas: every write of a namespaced object is charged in its own transaction (M-13).

use std::sync::Arc;

use api::resources::{EVENTS, RESOURCE_QUOTAS};
use apiserver_core::kinds::resource_quota::charge::{self, Write};
use apiserver_core::kinds::{self, KindDef};
use client::Object;
use meta::Status;
use serde_json::Value;
use store_core::{Expected, Op, Revision, Transaction};
use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::eviction::put_over;
use crate::keys;
use crate::registry::Registry;
use crate::stored;
use crate::writing::commit_status;

/// Who may write while quotas are counted.
#[derive(Debug, Default)]
pub struct QuotaGate {
    /// Read by every write of a namespaced object; written while a quota begins to count, so that nothing comes between
    /// its counting and its commit.
    counting: RwLock<()>,
    /// Held by the one write that is being charged: others of that namespace would only make it decide again.
    charging: Mutex<()>,
}

/// What a write changes in quotas; keep it until the commit has an answer.
#[derive(Default)]
pub(crate) struct Charge<'a> {
    /// To be stored with the write.
    pub(crate) ops: Vec<Op>,
    _reading: Option<RwLockReadGuard<'a, ()>>,
    _counting: Option<RwLockWriteGuard<'a, ()>>,
    _charging: Option<MutexGuard<'a, ()>>,
}

fn quota_def() -> Result<&'static KindDef, Status> {
    kinds::by_resource(&RESOURCE_QUOTAS).ok_or_else(|| Status::internal("quotas are not served"))
}

impl Registry {
    /// What a write from `before` to `after` changes in the quotas of its namespace. A quota that is written gets its
    /// status, too.
    ///
    /// # Errors
    /// 403 if a quota does not allow it.
    pub(crate) async fn charge(
        &self,
        def: &KindDef,
        before: Option<&Value>,
        mut after: Option<&mut Value>,
    ) -> Result<Charge<'_>, Status> {
        let namespace = after.as_deref().or(before).and_then(|object| object["metadata"]["namespace"].as_str());
        // Events go by themselves, and nobody would give back what they used.
        let Some(namespace) = namespace.filter(|_| def.kind.is_namespaced() && *def.kind.storage() != EVENTS) else {
            return Ok(Charge::default());
        };
        let namespace = namespace.to_owned();
        let is_quota = def.kind.resource == RESOURCE_QUOTAS;
        let begins_to_count =
            is_quota && after.as_deref().is_some_and(|quota| before.is_none_or(|old| old["spec"] != quota["spec"]));
        let mut charge = Charge::default();
        if begins_to_count {
            charge._counting = Some(self.quotas.counting.write().await);
            if let Some(quota) = after.as_deref_mut() {
                quota["status"] = self.count(quota, &namespace)?;
            }
        } else {
            charge._reading = Some(self.quotas.counting.read().await);
        }
        if self.quotas_of(&namespace)?.is_empty() {
            return Ok(charge);
        }
        charge._charging = Some(self.quotas.charging.lock().await);
        let own = after.as_deref().or(before).filter(|_| is_quota).map(|quota| &quota["metadata"]["name"]);
        let quotas: Vec<Arc<Object>> =
            self.quotas_of(&namespace)?.into_iter().filter(|it| Some(&it.tree()["metadata"]["name"]) != own).collect();
        let trees: Vec<&Value> = quotas.iter().map(|quota| quota.tree().as_ref()).collect();
        let changed = charge::charge(&trees, Write { def, before, after: after.as_deref() }, self.now())?;
        let quota_def = quota_def()?;
        charge.ops = changed.into_iter().map(|quota| put_over(quota_def, Some(&namespace), &quotas, quota)).collect();
        Ok(charge)
    }

    fn quotas_of(&self, namespace: &str) -> Result<Vec<Arc<Object>>, Status> {
        self.all(quota_def()?, Some(namespace))
    }

    /// What a quota says of the objects that there are, itself among them.
    fn count(&self, quota: &Value, namespace: &str) -> Result<Value, Status> {
        let mut objects = Vec::new();
        for def in charge::counted_kinds(quota) {
            let found = self.all(def, Some(namespace))?;
            objects.extend(found.into_iter().map(|object| (def, object)));
        }
        let name = &quota["metadata"]["name"];
        let is_other = |(def, object): &&(&KindDef, Arc<Object>)| {
            def.kind.resource != RESOURCE_QUOTAS || object.tree()["metadata"]["name"] != *name
        };
        let others = objects.iter().filter(is_other).map(|(def, object)| (*def, object.tree().as_ref()));
        Ok(charge::counted_status(quota, others.chain([(quota_def()?, quota)])))
    }

    /// Brings all quotas up to date: a newer version may count what an older one did not.
    ///
    /// # Errors
    /// The refusal of the first write that failed.
    pub(crate) async fn recount_quotas(&self) -> Result<(), Status> {
        let def = quota_def()?;
        for quota in self.all(def, None)? {
            let mut tree = quota.tree().as_ref().clone();
            let namespace = quota.namespace();
            let status = self.count(&tree, namespace)?;
            if tree["status"] == status {
                continue;
            }
            tree["status"] = status;
            let key = keys::object(&def.kind, Some(namespace), quota.name());
            let expected = Expected::At(Revision(quota.resource_version.0));
            let committed = self.store.commit(Transaction::put(key, stored::encode(tree), expected)).await;
            committed.map_err(|error| commit_status(&error))?;
        }
        Ok(())
    }
}
