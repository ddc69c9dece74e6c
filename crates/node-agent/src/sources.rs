//! Reading what a pod is made of from the API.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::resources as res;
use client::{Client, Collection, Patch, WriteOptions};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use meta::{ObjectId, Reason, ResourceId, Status, Timestamp};
use node_core::files::{self, VolumePlan};
use node_core::sources::{Needs, Sources, TokenNeed, needs};
use serde::de::DeserializeOwned;
use serde_json::json;
use volumes::{
    FileContent, FileSet, FsGroup, FsGroupPolicy, HostPathKind, Medium, Origin, PodVolumes, VolumeError, VolumeSource,
};

use crate::shared::{Shared, pod_uid};
use crate::watches::ObjectKey;

/// Annotation of a PersistentVolume that says who made it.
pub(crate) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Our own provisioner.
pub(crate) const PROVISIONER: &str = "roadstead.dev/local";

/// Annotation of a provisioned PersistentVolume: since when its folder may hold data. A volume with it is never given an
/// empty folder again (S5).
pub(crate) const USED_SINCE: &str = "roadstead.dev/used-since";

/// A token that was issued to a pod.
#[derive(Clone)]
pub(crate) struct Issued {
    token: String,
    /// When it should be replaced: after four fifths of its life.
    pub(crate) renew_at: Timestamp,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issued(***, until {})", self.renew_at)
    }
}

pub(crate) type Tokens = BTreeMap<TokenNeed, Issued>;

/// What was read for a pod.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) sources: Sources,
    pub(crate) tokens: Tokens,
}

/// Reads everything the pod names, now. Missing objects are remembered as missing; a silent API is an error.
pub(crate) async fn gather(
    shared: &Shared,
    pod: &Pod,
    pod_ips: Vec<IpAddr>,
    tokens: &Tokens,
) -> Result<Gathered, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let needs = needs(pod);
    let client = shared.parts.client.as_ref();
    let mut sources = Sources {
        pod_ips,
        host_ips: vec![shared.config.gateway],
        node_cpu_millis: shared.machine.cpu_millis,
        node_memory_bytes: shared.machine.memory_bytes,
        ..Sources::default()
    };
    for name in &needs.config_maps {
        let found = find(client, res::CONFIG_MAPS, namespace, name).await?;
        sources.config_maps.insert(name.clone(), found.map(Arc::new));
    }
    for name in &needs.secrets {
        let found = find(client, res::SECRETS, namespace, name).await?;
        sources.secrets.insert(name.clone(), found.map(Arc::new));
    }
    let tokens = issue_tokens(shared, pod, &needs, tokens).await?;
    sources.tokens = tokens.iter().map(|(need, issued)| (need.clone(), issued.token.clone())).collect();
    Ok(Gathered { sources, tokens })
}

/// Adds the services whose addresses a container is told of.
pub(crate) async fn add_services(shared: &Shared, pod: &Pod, sources: &mut Sources) -> Result<(), String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let client = shared.parts.client.as_ref();
    if shared.is_virtual() {
        // They only become environment variables, which nobody reads.
        return Ok(());
    }
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    if links {
        let target = Collection::in_namespace(res::SERVICES, namespace);
        let list = client.list(&target, &client::Selection::default()).await.map_err(|error| error.message)?;
        sources.services.extend(list.items.iter().filter_map(|item| item.view().ok()).map(Arc::new));
    }
    if !links || namespace != "default" {
        let found = find(client, res::SERVICES, "default", "kubernetes").await?;
        sources.services.extend(found.map(Arc::new));
    }
    Ok(())
}

async fn find<T: DeserializeOwned>(
    client: &dyn Client,
    resource: ResourceId,
    namespace: &str,
    name: &str,
) -> Result<Option<T>, String> {
    let id = ObjectId::namespaced(resource, namespace, name);
    match client.get(&id).await {
        Ok(object) => object.view().map(Some).map_err(|error| format!("read {id}: {error}")),
        Err(status) if status.reason == Some(Reason::NotFound) => Ok(None),
        Err(status) => Err(status.message),
    }
}

async fn issue_tokens(shared: &Shared, pod: &Pod, needs: &Needs, known: &Tokens) -> Result<Tokens, String> {
    let now = shared.now();
    let mut tokens = Tokens::new();
    for need in &needs.tokens {
        let issued = match known.get(need) {
            Some(issued) if issued.renew_at > now => issued.clone(),
            // Nobody could read it: there is no process.
            _ if shared.is_virtual() => Issued { token: String::new(), renew_at: Timestamp::MAX },
            _ => issue(shared, pod, need, now).await.map_err(|error| error.message)?,
        };
        tokens.insert(need.clone(), issued);
    }
    Ok(tokens)
}

/// Asks for a token that dies with the pod.
async fn issue(shared: &Shared, pod: &Pod, need: &TokenNeed, now: Timestamp) -> Result<Issued, Status> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let account = spec.and_then(|spec| spec.service_account_name.as_deref()).filter(|name| !name.is_empty());
    let audiences: Vec<&str> = Some(need.audience.as_str()).filter(|one| !one.is_empty()).into_iter().collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": account.unwrap_or("default"), "namespace": namespace},
        "spec": {
            "audiences": audiences,
            "expirationSeconds": need.expiration_secs,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid,
            },
        },
    });
    let target = Collection::in_namespace(res::SERVICE_ACCOUNTS, namespace);
    let answer = shared.parts.client.create(&target, Some("token"), body, &WriteOptions::default()).await?;
    let status = &answer.tree()["status"];
    let token = status["token"].as_str().unwrap_or_default().to_owned();
    let granted = status["expirationTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let wanted = Duration::from_secs(u64::try_from(need.expiration_secs).unwrap_or(3600));
    let life = granted.and_then(|end| Duration::try_from(end.duration_since(now)).ok()).unwrap_or(wanted);
    Ok(Issued { token, renew_at: now.checked_add(life * 4 / 5).unwrap_or(Timestamp::MAX) })
}

/// A pod's volumes with every source resolved.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) request: PodVolumes,
    /// Provisioned volumes that no pod has used yet.
    unused: Vec<Arc<PersistentVolume>>,
}

/// The pod's volumes, with every source resolved; the error is the sentence of a FailedMount event.
pub(crate) async fn resolve_volumes(shared: &Shared, pod: &Pod, sources: &Sources) -> Result<Resolved, String> {
    let (mut volumes, mut unused) = (BTreeMap::new(), Vec::new());
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let failed = |why: String| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name);
        let plan = files::plan(volume, pod, sources).map_err(|error| failed(error.to_string()))?;
        let source = match plan {
            VolumePlan::Claim { name, .. } => {
                let (source, persistent) = claim(shared, pod, &name).await.map_err(failed)?;
                if matches!(source, VolumeSource::Local { origin: Origin::Unused, .. }) {
                    unused.push(Arc::new(persistent));
                }
                source
            }
            plan => plain(plan),
        };
        volumes.insert(volume.name.clone(), source);
    }
    Ok(Resolved { request: PodVolumes { pod: pod_uid(pod), fs_group: fs_group(pod), volumes }, unused })
}

/// Makes the volumes, and writes down which of them are in use from now on, before any container can write to them: a
/// folder that is missing later has lost something.
pub(crate) async fn set_up(shared: &Shared, resolved: &Resolved) -> Result<(), String> {
    shared.mounts.begin(&resolved.request);
    shared.parts.volumes.set_up(&resolved.request).await.map_err(|error| explain(&error))?;
    for volume in &resolved.unused {
        let patch = json!({"metadata": {
            "uid": volume.metadata.uid, "annotations": {USED_SINCE: shared.now().to_string()},
        }});
        let id = ObjectId::cluster(res::PERSISTENT_VOLUMES, volume.metadata.name.as_deref().unwrap_or_default());
        let written = shared.parts.client.patch(&id, None, Patch::Merge(patch), &WriteOptions::default()).await;
        written.map_err(|error| format!("note that {id} is in use: {}", error.message))?;
    }
    Ok(())
}

/// The sentence of a FailedMount event; with the way out, where only an administrator knows it.
fn explain(error: &VolumeError) -> String {
    let sentence = error.sentence();
    let Some(name) = error.missing_data().and_then(Path::file_name) else { return sentence };
    let name = name.to_string_lossy();
    format!(
        "{sentence}; bring the folder back (mount its disk, restore a backup), or start empty with `kubectl annotate pv \
         {name} {USED_SINCE}-`"
    )
}

/// Those volumes of the pod whose content can change while it runs.
pub(crate) fn changing_files(pod: &Pod, sources: &Sources) -> Result<BTreeMap<String, FileSet>, String> {
    let mut all = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let changes = volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some();
        if !changes {
            continue;
        }
        let plan = files::plan(volume, pod, sources).map_err(|error| error.to_string())?;
        if let VolumeSource::Files(files) = plain(plan) {
            all.insert(volume.name.clone(), files);
        }
    }
    Ok(all)
}

fn plain(plan: VolumePlan) -> VolumeSource {
    match plan {
        VolumePlan::EmptyDir { memory, size_limit_bytes } => {
            VolumeSource::EmptyDir { medium: if memory { Medium::Memory } else { Medium::Disk }, size_limit_bytes }
        }
        VolumePlan::Files { files, confidential } => {
            let files = files.into_iter().map(|(path, file)| {
                (path, FileContent { bytes: file.bytes.into(), mode: file.mode, owner: file.owner })
            });
            VolumeSource::Files(FileSet { files: files.collect(), confidential })
        }
        VolumePlan::HostPath { path, kind } => {
            let kind = match kind.as_str() {
                "DirectoryOrCreate" => HostPathKind::DirectoryOrCreate,
                "Directory" => HostPathKind::Directory,
                "FileOrCreate" => HostPathKind::FileOrCreate,
                "File" => HostPathKind::File,
                "Socket" => HostPathKind::Socket,
                "CharDevice" => HostPathKind::CharDevice,
                "BlockDevice" => HostPathKind::BlockDevice,
                _ => HostPathKind::Any,
            };
            VolumeSource::HostPath { path: path.into(), kind }
        }
        // Claims are resolved by the caller, who can ask the API.
        VolumePlan::Claim { name, .. } => VolumeSource::Local { path: name.into(), origin: Origin::Foreign },
    }
}

/// Finds the bytes of a claim: it must be bound, and its volume must be bound to this very claim (S4).
async fn claim(shared: &Shared, pod: &Pod, name: &str) -> Result<(VolumeSource, PersistentVolume), String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let client = shared.parts.client.as_ref();
    let claim: PersistentVolumeClaim = find(client, res::PERSISTENT_VOLUME_CLAIMS, namespace, name)
        .await?
        .ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let volume_name = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
    let (Some("Bound"), Some(volume_name)) = (phase, volume_name) else {
        return Err(format!("PVC {namespace}/{name} is not bound"));
    };
    let id = ObjectId::cluster(res::PERSISTENT_VOLUMES, &volume_name);
    let object = client.get(&id).await.map_err(|error| error.message)?;
    let volume: PersistentVolume = object.view().map_err(|error| format!("read {id}: {error}"))?;
    let spec = volume.spec.as_ref().ok_or_else(|| format!("{id} has no spec"))?;
    let bound_to = spec.claim_ref.as_ref().and_then(|reference| reference.uid.as_deref());
    if bound_to.is_some_and(|uid| Some(uid) != claim.metadata.uid.as_deref()) {
        return Err(format!("PersistentVolume {volume_name} is bound to another claim"));
    }
    let path = match (&spec.local, &spec.host_path) {
        (Some(local), _) => PathBuf::from(&local.path),
        (None, Some(host)) => PathBuf::from(&host.path),
        (None, None) => {
            return Err(format!("PersistentVolume {volume_name} is of a kind that this node does not support"));
        }
    };
    let is_in_place = path == shared.parts.volumes.data_path(&volume_name);
    let origin = if is_in_place { origin(&volume) } else { Origin::Foreign };
    Ok((VolumeSource::Local { path, origin }, volume))
}

fn origin(volume: &PersistentVolume) -> Origin {
    let note = |name: &str| volume.metadata.annotations.as_ref().and_then(|notes| notes.get(name));
    match (volume.spec.as_ref().and_then(|spec| spec.local.as_ref()), note(PROVISIONED_BY), note(USED_SINCE)) {
        (Some(_), Some(by), None) if by == PROVISIONER => Origin::Unused,
        (Some(_), Some(by), Some(_)) if by == PROVISIONER => Origin::Used,
        _ => Origin::Foreign,
    }
}

pub(crate) fn fs_group(pod: &Pod) -> Option<FsGroup> {
    let security = pod.spec.as_ref()?.security_context.as_ref()?;
    let gid = u32::try_from(security.fs_group?).ok()?;
    let policy = match security.fs_group_change_policy.as_deref() {
        Some("OnRootMismatch") => FsGroupPolicy::OnRootMismatch,
        _ => FsGroupPolicy::Always,
    };
    Some(FsGroup { gid, policy })
}

/// What the pod must be told of when it changes; claims only for a pod that waits for them.
pub(crate) fn watched(pod: &Pod, with_claims: bool) -> BTreeSet<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let needs = needs(pod);
    let of = |resource: ResourceId, names: BTreeSet<String>| {
        names.into_iter().map(move |name| ObjectKey(ObjectId::namespaced(resource.clone(), namespace, &name)))
    };
    let claims = if with_claims { needs.claims } else { BTreeSet::new() };
    of(res::CONFIG_MAPS, needs.config_maps)
        .chain(of(res::SECRETS, needs.secrets))
        .chain(of(res::PERSISTENT_VOLUME_CLAIMS, claims))
        .collect()
}
