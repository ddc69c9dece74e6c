//! A pod takes its node along when it is created, if the scheduler can tell one at once (decision 24).

use std::sync::Arc;

use api::resources::{PERSISTENT_VOLUME_CLAIMS, PODS};
use apiserver_core::kinds::{self, KindDef};
use apiserver_core::write::decide_binding;
use client::Placer;
use meta::{ResourceVersion, Uid};
use serde_json::{Value, json};
use store_core::Revision;

use crate::registry::Registry;
use crate::writing::WriteOptions;

/// A place that the scheduler keeps for a pod. Dropped before the pod is known to be stored, it is given back.
pub(crate) struct Place {
    placer: Arc<dyn Placer>,
    pod: Uid,
    is_stored: bool,
}

impl Place {
    /// The pod stands there.
    pub(crate) fn stored_at(mut self, revision: Revision) {
        self.is_stored = true;
        self.placer.stored(&self.pod, ResourceVersion(revision.0));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_stored {
            self.placer.give_back(&self.pod);
        }
    }
}

impl Registry {
    /// Binds a pod that is about to be created, as a binding right after would; `None` if that is not asked for, if the
    /// scheduler has to see the pod first, or if it went by a claim that is another by now.
    pub(crate) fn take_place(&self, def: &KindDef, pod: &mut Value, options: &WriteOptions) -> Option<Place> {
        if !options.place || def.kind.resource != PODS {
            return None;
        }
        let placer = self.placer.get()?.clone();
        let found = placer.place(pod)?;
        let uid = Uid(pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
        let place = Place { placer, pod: uid, is_stored: false };
        let namespace = pod["metadata"]["namespace"].as_str();
        if !found.claims.iter().all(|(claim, uid)| self.has_claim(namespace, claim, uid)) {
            tracing::debug!(node = found.node, "a place was found by claims of which one is another by now");
            return None;
        }
        let binding = json!({"target": {"kind": "Node", "name": found.node}});
        match decide_binding(pod, &binding, self.now()) {
            Ok(bound) => {
                *pod = bound;
                Some(place)
            }
            Err(refusal) => {
                tracing::warn!(%refusal, "a pod is created without the place that was found for it");
                None
            }
        }
    }

    /// Whether the claim of that name is still this one.
    fn has_claim(&self, namespace: Option<&str>, name: &str, uid: &Uid) -> bool {
        let def = kinds::by_resource(&PERSISTENT_VOLUME_CLAIMS);
        let claim = def.and_then(|def| self.get(def, namespace, name).ok());
        claim.is_some_and(|claim| claim.uid() == *uid)
    }
}
