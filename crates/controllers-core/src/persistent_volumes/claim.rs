//! One claim: its class, its volume, its phase, its protection.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use super::matching::{amount, best_match, fits, is_for, maker, text};
use super::{
    Action, BIND_COMPLETED, BOUND_BY_CONTROLLER, CLAIM_PROTECTION, ClaimView, DEFAULT_CLASS, PROVISIONED_BY,
    PROVISIONER, Plan, SELECTED_NODE, STORAGE_PROVISIONER, STORAGE_PROVISIONER_BETA, VOLUME_FINALIZER,
    VOLUME_PROTECTION,
};
use crate::pods::is_active;
use crate::words::{Note, Target, is_terminating};

/// Decides the next steps for one claim.
pub fn plan_claim(view: &ClaimView<'_>) -> Plan {
    let claim = view.claim;
    if is_terminating(&claim.metadata) {
        return unprotect(view);
    }
    let volume_name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    if volume_name.is_empty() { seek(view) } else { keep(view, volume_name) }
}

/// A claim that is being deleted goes when nothing uses it (N-9).
fn unprotect(view: &ClaimView<'_>) -> Plan {
    let claim = view.claim;
    let finalizers = claim.metadata.finalizers.as_deref().unwrap_or_default();
    let in_use = !view.users.is_empty() && !meta::mutants::is_on("used-claims-are-unprotected");
    if in_use || !finalizers.iter().any(|finalizer| finalizer == CLAIM_PROTECTION) {
        return Plan::default();
    }
    let rest: Vec<_> = finalizers.iter().filter(|finalizer| *finalizer != CLAIM_PROTECTION).collect();
    let target = Target::of(&claim.metadata);
    let mut metadata = target.patch_metadata();
    metadata["finalizers"] = json!(rest);
    let confirm = Action::ConfirmUnused {
        namespace: text(&claim.metadata.namespace).to_owned(),
        name: text(&claim.metadata.name).to_owned(),
    };
    let mut actions = vec![confirm, Action::PatchClaim { claim: target, patch: json!({"metadata": metadata}) }];
    if meta::mutants::is_on("used-claims-are-unprotected") {
        actions.remove(0);
    }
    Plan { actions, notes: Vec::new() }
}

/// A claim without a volume: take one that is meant for it, or one that fits, or make one.
fn seek(view: &ClaimView<'_>) -> Plan {
    let claim = view.claim;
    if let Some(volume) = view.volumes.iter().find(|volume| is_for(volume, claim) && !is_terminating(&volume.metadata))
    {
        return bind(claim, volume);
    }
    let class_name = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let Some(class_name) = class_name else { return take_default_class(view) };
    if class_name.is_empty() {
        return match best_match(view, "", None) {
            Some(volume) => bind(claim, volume),
            None => noted(no_volume()),
        };
    }
    let class = view.classes.iter().find(|class| class.metadata.name.as_deref() == Some(class_name));
    let waits = class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let node = annotation(claim, SELECTED_NODE);
    if waits && node.is_none() {
        if let Some(node) = consumer_node(view) {
            return select_node(claim, node);
        }
        let text = "waiting for first consumer to be created before binding";
        return noted(Note::normal("WaitForFirstConsumer", text));
    }
    if let Some(volume) = best_match(view, class_name, node) {
        return bind(claim, volume);
    }
    let Some(class) = class else {
        let text = format!("storageclass.storage.k8s.io \"{class_name}\" not found");
        return noted(Note::warning("ProvisioningFailed", text));
    };
    provision(view, class, node)
}

/// Where a pod stands already that waits for the claim: somebody has given it its node without asking the scheduler, or
/// the scheduler went by an older claim of this name. Upstream lets such a claim wait for ever (decision 12).
fn consumer_node<'a>(view: &ClaimView<'a>) -> Option<&'a str> {
    let active = view.users.iter().copied().filter(|pod| is_active(pod));
    let mut nodes = active.filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref());
    nodes.find(|node| view.nodes.contains(node))
}

/// What the scheduler writes for a pod that it is about to place (N-2).
fn select_node(claim: &PersistentVolumeClaim, node: &str) -> Plan {
    let target = Target::of(&claim.metadata);
    let mut metadata = target.patch_metadata();
    metadata["annotations"] = json!({SELECTED_NODE: node});
    let patch = json!({"metadata": metadata});
    Plan { actions: vec![Action::PatchClaim { claim: target, patch }], notes: Vec::new() }
}

fn no_volume() -> Note {
    Note::normal("FailedBinding", "no persistent volumes available for this claim and no storage class is set")
}

fn noted(note: Note) -> Plan {
    Plan { actions: Vec::new(), notes: vec![note] }
}

/// A claim that says nothing about its class gets the newest default one, also long after it was made (N-5).
fn take_default_class(view: &ClaimView<'_>) -> Plan {
    let is_default = |class: &&&StorageClass| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
    };
    let newest = view.classes.iter().filter(is_default).max_by(|a, b| {
        let age = |class: &StorageClass| class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        age(a).cmp(&age(b)).then_with(|| b.metadata.name.cmp(&a.metadata.name))
    });
    let Some(class) = newest else { return noted(no_volume()) };
    let target = Target::of(&view.claim.metadata);
    let patch = json!({"metadata": target.patch_metadata(), "spec": {"storageClassName": class.metadata.name}});
    Plan { actions: vec![Action::PatchClaim { claim: target, patch }], notes: Vec::new() }
}

/// Makes a volume on the selected node, or leaves it to whoever provisions the class.
fn provision(view: &ClaimView<'_>, class: &StorageClass, node: Option<&str>) -> Plan {
    let claim = view.claim;
    if class.provisioner != PROVISIONER {
        let text = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
             registered.",
            class.provisioner
        );
        let mut plan = noted(Note::normal("ExternalProvisioning", text));
        if annotation(claim, STORAGE_PROVISIONER) != Some(&class.provisioner) {
            let target = Target::of(&claim.metadata);
            let mut metadata = target.patch_metadata();
            metadata["annotations"] =
                json!({STORAGE_PROVISIONER: class.provisioner, STORAGE_PROVISIONER_BETA: class.provisioner});
            plan.actions.push(Action::PatchClaim { claim: target, patch: json!({"metadata": metadata}) });
        }
        return plan;
    }
    if claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        let text = format!("the provisioner {PROVISIONER} makes folders, not block devices");
        return noted(Note::warning("ProvisioningFailed", text));
    }
    let Some(node) = node.or_else(|| view.nodes.first().copied()) else {
        return noted(Note::warning("ProvisioningFailed", "there is no node to make the volume on"));
    };
    let name = format!("pvc-{}", text(&claim.metadata.uid));
    let body = local_volume(view, class, node, &name);
    let capacity = body["spec"]["capacity"].clone();
    let modes = body["spec"]["accessModes"].clone();
    let mut actions = vec![Action::CreateVolume { name: name.clone(), body }];
    actions.extend(bind_claim(claim, &name, &capacity, &modes));
    let text = format!("Successfully provisioned volume {name}");
    Plan { actions, notes: vec![Note::normal("ProvisioningSucceeded", text)] }
}

/// A folder on one node, as a volume that belongs to one claim.
fn local_volume(view: &ClaimView<'_>, class: &StorageClass, node: &str, name: &str) -> Value {
    let claim = view.claim;
    let spec = claim.spec.as_ref();
    let storage = spec
        .and_then(|spec| spec.resources.as_ref())
        .and_then(|resources| resources.requests.as_ref())
        .and_then(|requests| requests.get("storage"));
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: PROVISIONER, BOUND_BY_CONTROLLER: "yes"},
            "finalizers": [VOLUME_PROTECTION, VOLUME_FINALIZER],
        },
        "spec": {
            "capacity": {"storage": storage},
            "accessModes": spec.and_then(|spec| spec.access_modes.clone()).unwrap_or_default(),
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class.metadata.name,
            "volumeMode": "Filesystem",
            "claimRef": claim_reference(claim),
            "local": {"path": format!("{}/{name}", view.volume_root)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}},
        },
    });
    if view.virtual_nodes.contains(node) {
        body["metadata"]["annotations"][meta::VIRTUAL_ANNOTATION] = json!("true");
    }
    if let Some(options) = class.mount_options.as_ref().filter(|options| !options.is_empty()) {
        body["spec"]["mountOptions"] = json!(options);
    }
    body
}

fn claim_reference(claim: &PersistentVolumeClaim) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.metadata.namespace,
        "name": claim.metadata.name,
        "uid": claim.metadata.uid,
        "resourceVersion": claim.metadata.resource_version,
    })
}

/// Binds an existing volume: first its side (with the claim's UID), then the claim's (S4).
fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    let name = text(&volume.metadata.name);
    let spec = volume.spec.as_ref();
    let mut actions = Vec::new();
    let reference = spec.and_then(|spec| spec.claim_ref.as_ref());
    if reference.and_then(|reference| reference.uid.as_deref()) != claim.metadata.uid.as_deref() {
        let target = Target::of(&volume.metadata);
        let mut metadata = target.patch_metadata();
        if reference.is_none() {
            metadata["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
        }
        let patch = json!({"metadata": metadata, "spec": {"claimRef": claim_reference(claim)}});
        actions.push(Action::PatchVolume { volume: target, patch });
    }
    let capacity = json!(spec.and_then(|spec| spec.capacity.as_ref()));
    let modes = json!(spec.and_then(|spec| spec.access_modes.as_ref()));
    actions.extend(bind_claim(claim, name, &capacity, &modes));
    Plan { actions, notes: Vec::new() }
}

fn bind_claim(claim: &PersistentVolumeClaim, volume: &str, capacity: &Value, modes: &Value) -> [Action; 2] {
    let target = Target::of(&claim.metadata);
    let mut metadata = target.patch_metadata();
    metadata["annotations"] = json!({BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"});
    let patch = json!({"metadata": metadata, "spec": {"volumeName": volume}});
    [Action::PatchClaim { claim: target.clone(), patch }, phase(target, "Bound", capacity, modes)]
}

fn phase(claim: Target, phase: &str, capacity: &Value, modes: &Value) -> Action {
    let mut patch = json!({"metadata": {"uid": claim.uid.0}, "status": {"phase": phase}});
    if phase == "Bound" {
        patch["status"]["capacity"] = capacity.clone();
        patch["status"]["accessModes"] = modes.clone();
    }
    Action::PatchClaimStatus { claim, patch }
}

/// A claim that names its volume: finish the binding, or say that the volume is lost.
fn keep(view: &ClaimView<'_>, volume_name: &str) -> Plan {
    let claim = view.claim;
    let was_bound = annotation(claim, BIND_COMPLETED).is_some();
    let volume = view.volumes.iter().find(|volume| volume.metadata.name.as_deref() == Some(volume_name));
    let Some(volume) = volume else {
        let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return if was_bound { lost(claim, "ClaimLost", text) } else { Plan::default() };
    };
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let is_mine = is_for(volume, claim);
    match reference {
        None if !was_bound && fits(volume, claim) => bind(claim, volume),
        None if !was_bound => {
            let text = format!("Cannot bind to requested volume \"{volume_name}\": it does not fit the claim");
            noted(Note::warning("VolumeMismatch", text))
        }
        None => {
            lost(claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
        }
        Some(_) if is_mine => finish(claim, volume, was_bound),
        Some(_) if was_bound => {
            let text = "Two claims are bound to the same volume, this one is bound incorrectly";
            lost(claim, "ClaimMisbound", text)
        }
        Some(_) => {
            let text = format!("volume \"{volume_name}\" already bound to a different claim.");
            noted(Note::warning("FailedBinding", text))
        }
    }
}

fn lost(claim: &PersistentVolumeClaim, reason: &'static str, text: &str) -> Plan {
    if phase_of(claim) == "Lost" {
        return Plan::default();
    }
    Plan {
        actions: vec![phase(Target::of(&claim.metadata), "Lost", &Value::Null, &Value::Null)],
        notes: vec![Note::warning(reason, text)],
    }
}

/// Both sides name each other: the rest of the binding, if a crash left it undone.
fn finish(claim: &PersistentVolumeClaim, volume: &PersistentVolume, was_bound: bool) -> Plan {
    if !was_bound {
        return bind(claim, volume);
    }
    let spec = volume.spec.as_ref();
    let capacity = json!(spec.and_then(|spec| spec.capacity.as_ref()));
    let modes = json!(spec.and_then(|spec| spec.access_modes.as_ref()));
    let reference = spec.and_then(|spec| spec.claim_ref.as_ref());
    let mut actions = Vec::new();
    if reference.and_then(|reference| reference.uid.as_deref()) != claim.metadata.uid.as_deref() {
        let target = Target::of(&volume.metadata);
        let patch = json!({"metadata": target.patch_metadata(), "spec": {"claimRef": claim_reference(claim)}});
        actions.push(Action::PatchVolume { volume: target, patch });
    }
    if phase_of(claim) != "Bound" {
        actions.push(phase(Target::of(&claim.metadata), "Bound", &capacity, &modes));
    }
    let mut notes = Vec::new();
    if actions.is_empty() && maker(volume) == Some(PROVISIONER) {
        (actions, notes) = grow(claim, volume);
    }
    Plan { actions, notes }
}

/// A claim that was made larger, where its class allows it: nothing limits the folder that is its volume, so it is as
/// large at once, also under a pod that runs. First the volume says so, then the claim.
fn grow(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> (Vec<Action>, Vec<Note>) {
    let storage = |map: Option<&BTreeMap<String, Quantity>>| map.and_then(|map| map.get("storage")).cloned();
    let size = |text: &Option<Quantity>| amount(text.as_ref());
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let spec = volume.spec.as_ref();
    let (asked, has) = (storage(requests), storage(spec.and_then(|spec| spec.capacity.as_ref())));
    let told = storage(claim.status.as_ref().and_then(|status| status.capacity.as_ref()));
    let modes = json!(spec.and_then(|spec| spec.access_modes.as_ref()));
    let is_told = |now: &Option<Quantity>| {
        let capacity = json!({"storage": now});
        phase(Target::of(&claim.metadata), "Bound", &capacity, &modes)
    };
    if size(&asked) > size(&has) {
        let target = Target::of(&volume.metadata);
        let patch = json!({"metadata": target.patch_metadata(), "spec": {"capacity": {"storage": asked}}});
        let note = Note::normal("VolumeResizeSuccessful", "Resize volume succeeded");
        return (vec![Action::PatchVolume { volume: target, patch }, is_told(&asked)], vec![note]);
    }
    // A crash between the two writes.
    let is_behind = size(&told).is_some() && size(&told) < size(&has);
    (is_behind.then(|| is_told(&has)).into_iter().collect(), Vec::new())
}

fn phase_of(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn annotation<'a>(claim: &'a PersistentVolumeClaim, key: &str) -> Option<&'a str> {
    claim.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
