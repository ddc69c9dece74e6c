//! A pod takes its node along when it is created, if the scheduler can tell one at once (decision 24).

use std::sync::Arc;

use api::resources::PODS;
use apiserver_core::kinds::KindDef;
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
    /// Binds a pod that is about to be created, as a binding right after would; `None` if that is not asked for, or if
    /// the scheduler has to see the pod first.
    pub(crate) fn take_place(&self, def: &KindDef, pod: &mut Value, options: &WriteOptions) -> Option<Place> {
        if !options.place || def.kind.resource != PODS {
            return None;
        }
        let placer = self.placer.get()?.clone();
        let node = placer.place(pod)?;
        let uid = Uid(pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
        let place = Place { placer, pod: uid, is_stored: false };
        let binding = json!({"target": {"kind": "Node", "name": node}});
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
}
