//! Carrying out a machine's actions: reads and writes of the API, volumes, images.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use client::DeleteOptions;
use images::{Image, ImageError, RegistryAuth};
use k8s_openapi::api::core::v1::{Pod, Secret};
use meta::{ObjectId, Reason, Status};
use node_core::script::{Fault, Life};
use node_core::{Confirmation, Event, ImageFact, ImageFailure, Pulled};
use serde_json::Value;

use crate::pod::Done;
use crate::shared::{Shared, pod_id, pod_uid};
use crate::sources::{self, Tokens};

/// Reads the pod linearizably (S3).
pub(crate) async fn confirm(shared: Arc<Shared>, pod: Arc<Pod>) -> Done {
    let answer = match shared.parts.client.get(&pod_id(&pod)).await {
        Ok(object) if object.uid() != pod_uid(&pod) => Confirmation::NotWanted,
        Ok(object) => match object.view::<Pod>() {
            Ok(latest) => {
                let node = latest.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                let is_here = node == Some(shared.config.node_name.as_str());
                let answer = if is_here { Confirmation::Wanted } else { Confirmation::NotWanted };
                return Done::Events(vec![Event::Updated(Arc::new(latest)), Event::Confirmed(answer)]);
            }
            Err(_) => Confirmation::Unknown,
        },
        Err(status) if status.reason == Some(Reason::NotFound) => Confirmation::NotWanted,
        Err(_) => Confirmation::Unknown,
    };
    Done::Event(Event::Confirmed(answer))
}

/// Makes the pod's volumes.
pub(crate) async fn set_up_volumes(shared: Arc<Shared>, pod: Arc<Pod>, tokens: Tokens) -> Done {
    let gathered = match sources::gather(&shared, &pod, Vec::new(), &tokens).await {
        Ok(gathered) => gathered,
        Err(why) => return Done::Volumes { tokens: None, result: Err(why) },
    };
    let result = async {
        let resolved = sources::resolve_volumes(&shared, &pod, &gathered.sources).await?;
        sources::set_up(&shared, &resolved).await
    };
    let result = result.await;
    Done::Volumes { tokens: Some(gathered.tokens), result }
}

/// Brings the content of volumes of files up to date.
pub(crate) async fn refresh(shared: Arc<Shared>, pod: Arc<Pod>, ips: Vec<IpAddr>, tokens: Tokens) -> Done {
    let gathered = match sources::gather(&shared, &pod, ips, &tokens).await {
        Ok(gathered) => gathered,
        Err(why) => return Done::Refreshed { tokens: None, result: Err(why) },
    };
    let (uid, group) = (pod_uid(&pod), sources::fs_group(&pod));
    let result = async {
        for (volume, files) in sources::changing_files(&pod, &gathered.sources)? {
            let updated = shared.parts.volumes.update_files(&uid, &volume, &files, group).await;
            updated.map_err(|error| error.sentence())?;
        }
        Ok(())
    };
    let result = result.await;
    Done::Refreshed { tokens: Some(gathered.tokens), result }
}

fn image_name(pod: &Pod, container: &str) -> String {
    let spec = pod.spec.as_ref();
    spec.into_iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
        .find(|one| one.name == container)
        .and_then(|one| one.image.clone())
        .unwrap_or_default()
}

/// What the status shows as `imageID`.
fn fact(image: &Image) -> ImageFact {
    ImageFact { id: image.repo_digest.clone().unwrap_or_else(|| image.id.clone()) }
}

fn failure(error: ImageError) -> ImageFailure {
    match error {
        ImageError::InvalidName { .. } => ImageFailure::InvalidName(error.to_string()),
        ImageError::Disk { ref source, .. } => ImageFailure::Pull(format!("{error}: {source}")),
        ImageError::NotPresent { .. } | ImageError::Pull { .. } | ImageError::Damaged { .. } => {
            ImageFailure::Pull(error.to_string())
        }
    }
}

/// True if the script of a virtual pod says that there is no such image.
fn is_image_missing(shared: &Shared, pod: &Pod, container: &str) -> bool {
    // A script that cannot be read is told when the container starts.
    shared.is_virtual() && Life::of(pod, container).is_ok_and(|life| life.fault == Some(Fault::Image))
}

/// Looks for a container's image on this machine.
pub(crate) async fn find_image(shared: Arc<Shared>, pod: Arc<Pod>, container: String) -> Done {
    if is_image_missing(&shared, &pod, &container) {
        return Done::Event(Event::ImageFound { container, image: Ok(None) });
    }
    match shared.parts.images.find(&image_name(&pod, &container)).await {
        Ok(Some(image)) => {
            let event = Event::ImageFound { container: container.clone(), image: Ok(Some(fact(&image))) };
            Done::Image { container, image: Box::new(image), event }
        }
        Ok(None) => Done::Event(Event::ImageFound { container, image: Ok(None) }),
        Err(error) => Done::Event(Event::ImageFound { container, image: Err(failure(error)) }),
    }
}

/// Fetches a container's image.
pub(crate) async fn pull_image(shared: Arc<Shared>, pod: Arc<Pod>, container: String) -> Done {
    if is_image_missing(&shared, &pod, &container) {
        let name = image_name(&pod, &container);
        let why = format!("pull {name:?}: not found, as the pod's annotation roadstead.dev/fail says");
        return Done::Event(Event::ImagePulled { container, image: Err(ImageFailure::Pull(why)) });
    }
    let began = shared.now();
    let auths = pull_secrets(&shared, &pod).await;
    match shared.parts.images.pull(&image_name(&pod, &container), &auths).await {
        Ok(image) => {
            let took = std::time::Duration::try_from(shared.now().duration_since(began)).unwrap_or_default();
            let pulled = Pulled { image: fact(&image), took, size_bytes: image.size_bytes };
            let event = Event::ImagePulled { container: container.clone(), image: Ok(pulled) };
            Done::Image { container, image: Box::new(image), event }
        }
        Err(error) => Done::Event(Event::ImagePulled { container, image: Err(failure(error)) }),
    }
}

/// The pod's `imagePullSecrets`, by registry host. A secret that is missing is named by an event and left out, as upstream
/// does: the registry then says what is wrong.
async fn pull_secrets(shared: &Shared, pod: &Pod) -> BTreeMap<String, RegistryAuth> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut auths = BTreeMap::new();
    let mut missing = Vec::new();
    for reference in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        let id = ObjectId::namespaced(api::resources::SECRETS, namespace, &reference.name);
        let Ok(object) = shared.parts.client.get(&id).await else {
            missing.push(reference.name.as_str());
            continue;
        };
        let Ok(secret) = object.view::<Secret>() else { continue };
        let data = secret.data.unwrap_or_default();
        let config = data.get(".dockerconfigjson").or_else(|| data.get(".dockercfg"));
        let Some(tree) = config.and_then(|config| serde_json::from_slice::<serde_json::Value>(&config.0).ok()) else {
            continue;
        };
        let hosts = tree.get("auths").unwrap_or(&tree);
        for (host, entry) in hosts.as_object().into_iter().flatten() {
            if let Some(auth) = registry_auth(entry) {
                let host = host.trim_start_matches("https://").trim_start_matches("http://");
                auths.insert(host.split('/').next().unwrap_or(host).to_owned(), auth);
            }
        }
    }
    if !missing.is_empty() {
        let names = missing.join(", ");
        let message = format!(
            "Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
        );
        let about = informer::events::reference_to(pod);
        let reason = "FailedToRetrieveImagePullSecret";
        shared.recorder.record(about, informer::EventType::Warning, reason, message);
    }
    auths
}

fn registry_auth(entry: &serde_json::Value) -> Option<RegistryAuth> {
    let text = |field: &str| entry[field].as_str().map(str::to_owned);
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(RegistryAuth { username, password });
    }
    // `auth` is the base64 of `user:password`, which is what a Secret's own data looks like.
    let encoded = serde_json::Value::String(text("auth")?);
    let bytes: k8s_openapi::ByteString = serde_json::from_value(encoded).ok()?;
    let decoded = String::from_utf8(bytes.0).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(RegistryAuth { username: username.to_owned(), password: password.to_owned() })
}

/// Removes the object: grace 0, and only this UID. What the API does not know yet of its status goes along.
pub(crate) async fn delete_object(shared: Arc<Shared>, pod: Arc<Pod>, last_status: Option<Value>) -> Done {
    let mut options =
        DeleteOptions { uid: Some(pod_uid(&pod)), grace_period_secs: Some(0), last_status, ..DeleteOptions::default() };
    let (client, id) = (&shared.parts.client, pod_id(&pod));
    let mut deleted = client.delete(&id, &options).await;
    if deleted.as_ref().is_err_and(|status| !is_over(status)) && options.last_status.take().is_some() {
        // A status that is refused must not keep the pod.
        deleted = client.delete(&id, &options).await;
    }
    let result = match deleted {
        Ok(()) => Ok(()),
        Err(status) if is_over(&status) => Ok(()),
        Err(status) => Err(status.message),
    };
    Done::Event(Event::Deleted(result))
}

/// The pod is gone, or another one has its name.
fn is_over(status: &Status) -> bool {
    matches!(status.reason, Some(Reason::NotFound | Reason::Conflict))
}
