//! Which persistent volumes the pods here use: their bytes stay for as long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use meta::Uid;
use volumes::{PodVolumes, VolumeSource};

use crate::handles::Handles;
use crate::shared::Shared;

/// The volumes of every pod whose volumes were made since this agent began.
#[derive(Default, Debug)]
pub(crate) struct Mounts(Mutex<BTreeMap<Uid, BTreeSet<String>>>);

impl Mounts {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Uid, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod's volumes are about to be made.
    pub(crate) fn begin(&self, request: &PodVolumes) {
        let names = request.volumes.values().filter_map(|source| match source {
            VolumeSource::Local { path, .. } => Some(path.file_name()?.to_string_lossy().into_owned()),
            _ => None,
        });
        self.all().insert(request.pod.clone(), names.collect());
    }

    /// They are taken away.
    pub(crate) fn end(&self, pod: &Uid) {
        self.all().remove(pod);
    }

    /// A pod that uses a volume.
    fn user_of(&self, volume: &str) -> Option<Uid> {
        let all = self.all();
        all.iter().find(|(_, names)| names.contains(volume)).map(|(pod, _)| pod.clone())
    }

    fn knows(&self, pod: &Uid) -> bool {
        self.all().contains_key(pod)
    }
}

/// A pod on this machine that has a volume mounted, also one that the API has forgotten: a deletion by force does not
/// wait for processes.
///
/// # Errors
/// A sentence, if the machine cannot be asked.
pub(crate) async fn user(shared: &Shared, handles: &Handles, volume: &PersistentVolume) -> Result<Option<Uid>, String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    if let Some(pod) = shared.mounts.user_of(name) {
        return Ok(Some(pod));
    }
    // Those from before this agent began: by their claims, and any that nobody knows.
    let here = shared.parts.volumes.pods().await.map_err(|error| error.sentence())?;
    let may_use = |pod: &Uid| handles.get(pod).is_none_or(|handle| uses_claim(&handle.pod, volume));
    Ok(here.into_iter().find(|pod| !shared.mounts.knows(pod) && may_use(pod)))
}

/// Whether a pod names the claim that a volume was bound to.
fn uses_claim(pod: &Pod, volume: &PersistentVolume) -> bool {
    let Some(claim) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let mut names = volumes.into_iter().flatten().filter_map(|one| {
        let named = one.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
        let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
        named.or_else(|| one.ephemeral.as_ref().map(|_| format!("{pod_name}-{}", one.name)))
    });
    pod.metadata.namespace == claim.namespace && names.any(|name| Some(name) == claim.name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;
    use volumes::Origin;

    use super::*;

    #[test]
    fn a_volume_is_used_from_before_it_is_made_until_it_is_taken_away() {
        let mounts = Mounts::default();
        let pod = Uid("a".to_owned());
        let source = VolumeSource::Local { path: PathBuf::from("/data/volumes/pvc-1"), origin: Origin::Unused };
        let volumes = [("data".to_owned(), source)].into_iter().collect();
        mounts.begin(&PodVolumes { pod: pod.clone(), fs_group: None, volumes });
        assert_eq!((mounts.user_of("pvc-1"), mounts.user_of("pvc-2")), (Some(pod.clone()), None));
        mounts.end(&pod);
        assert_eq!((mounts.user_of("pvc-1"), mounts.knows(&pod)), (None, false));
    }

    #[test]
    fn a_pod_uses_the_claims_that_it_names_and_those_of_its_own_volumes() {
        let volume: PersistentVolume =
            serde_json::from_value(json!({"spec": {"claimRef": {"namespace": "ns", "name": "data-0"}}})).unwrap();
        let pod = |namespace: &str, volumes: serde_json::Value| -> Pod {
            let tree = json!({"metadata": {"name": "data", "namespace": namespace},
                "spec": {"containers": [], "volumes": volumes}});
            serde_json::from_value(tree).unwrap()
        };
        let named = json!([{"name": "x", "persistentVolumeClaim": {"claimName": "data-0"}}]);
        assert!(uses_claim(&pod("ns", named.clone()), &volume));
        assert!(!uses_claim(&pod("other", named), &volume));
        assert!(uses_claim(&pod("ns", json!([{"name": "0", "ephemeral": {}}])), &volume));
        assert!(!uses_claim(&pod("ns", json!([{"name": "1", "ephemeral": {}}])), &volume));
    }
}
