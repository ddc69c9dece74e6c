//! One volume: its phase, its end, its protection.

use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::json;

use super::matching::{maker, text};
use super::{Action, PROVISIONER, Plan, VOLUME_PROTECTION, VolumeView};
use crate::words::{Note, Target, is_terminating};

/// Whose a volume is.
enum Hold {
    /// Nobody's.
    Free,
    /// A claim's that is there, or that may still come (no UID yet).
    Held { bound: bool },
    /// A claim's that is gone.
    Left { namespace: String, name: String, uid: String },
}

/// Decides the next steps for one volume.
pub fn plan_volume(view: &VolumeView<'_>) -> Plan {
    let volume = view.volume;
    let hold = hold(view);
    if is_terminating(&volume.metadata) {
        return match hold {
            Hold::Held { bound: true } => Plan::default(),
            Hold::Free | Hold::Held { bound: false } | Hold::Left { .. } => unprotect(volume),
        };
    }
    match hold {
        Hold::Free | Hold::Held { bound: false } => phase(volume, "Available"),
        Hold::Held { bound: true } => phase(volume, "Bound"),
        Hold::Left { namespace, name, uid } => release(volume, namespace, name, uid),
    }
}

fn hold(view: &VolumeView<'_>) -> Hold {
    let volume = view.volume;
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return Hold::Free };
    let uid = text(&reference.uid);
    let claim = view.claim.filter(|claim| text(&claim.metadata.uid) == uid || uid.is_empty());
    match claim {
        None if uid.is_empty() => Hold::Held { bound: false },
        None => Hold::Left {
            namespace: text(&reference.namespace).to_owned(),
            name: text(&reference.name).to_owned(),
            uid: uid.to_owned(),
        },
        Some(claim) => {
            let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
            Hold::Held { bound: named == volume.metadata.name.as_deref() && !uid.is_empty() }
        }
    }
}

fn phase(volume: &PersistentVolume, phase: &str) -> Plan {
    Plan { actions: write_phase(volume, phase).into_iter().collect(), notes: Vec::new() }
}

fn write_phase(volume: &PersistentVolume, phase: &str) -> Option<Action> {
    if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase) {
        return None;
    }
    let target = Target::of(&volume.metadata);
    let patch = json!({"metadata": {"uid": target.uid.0}, "status": {"phase": phase}});
    Some(Action::PatchVolumeStatus { volume: target, patch })
}

/// The claim is gone: keep the volume, or delete it if its policy and its maker say so (N-10, S5).
fn release(volume: &PersistentVolume, namespace: String, name: String, uid: String) -> Plan {
    let mut actions: Vec<_> = write_phase(volume, "Released").into_iter().collect();
    let spec = volume.spec.as_ref();
    let deletes = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    if !deletes {
        return Plan { actions, notes: Vec::new() };
    }
    let maker = maker(volume);
    if maker == Some(PROVISIONER) {
        if !actions.is_empty() {
            // The write of the phase changes the volume; its deletion is planned from the state after it.
            return Plan { actions, notes: Vec::new() };
        }
        actions.push(Action::ConfirmClaimGone { namespace, name, uid });
        actions.push(Action::DeleteVolume { volume: Target::of(&volume.metadata) });
        return Plan { actions, notes: Vec::new() };
    }
    if maker.is_some() {
        return Plan { actions, notes: Vec::new() };
    }
    let text = "error getting deleter volume plugin for volume: no deletable volume plugin matched";
    let notes = if actions.is_empty() { Vec::new() } else { vec![Note::warning("VolumeFailedDelete", text)] };
    Plan { actions, notes }
}

/// A volume that is being deleted and that no claim holds loses its protection (N-9).
fn unprotect(volume: &PersistentVolume) -> Plan {
    let finalizers = volume.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == VOLUME_PROTECTION) {
        return Plan::default();
    }
    let rest: Vec<_> = finalizers.iter().filter(|finalizer| *finalizer != VOLUME_PROTECTION).collect();
    let target = Target::of(&volume.metadata);
    let mut metadata = target.patch_metadata();
    metadata["finalizers"] = json!(rest);
    Plan {
        actions: vec![Action::PatchVolume { volume: target, patch: json!({"metadata": metadata}) }],
        notes: Vec::new(),
    }
}
