//! Which existing volume a claim gets.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use meta::{LabelSelector, Quantity};
use serde_json::json;

use super::{ClaimView, PROVISIONED_BY};
use crate::words::is_terminating;

/// The provisioner that made a volume.
pub(super) fn maker(volume: &PersistentVolume) -> Option<&str> {
    volume.metadata.annotations.as_ref()?.get(PROVISIONED_BY).map(String::as_str)
}

pub(super) fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// Whether a volume's `claimRef` means this very claim, or a claim of this name that has no UID yet.
pub(super) fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).is_some_and(|reference| {
        reference.name == claim.metadata.name
            && reference.namespace == claim.metadata.namespace
            && (text(&reference.uid).is_empty() || reference.uid == claim.metadata.uid)
    })
}

/// A quantity as a number; `None` if it is none.
pub(super) fn amount(quantity: Option<&WireQuantity>) -> Option<Quantity> {
    quantity?.0.parse().ok()
}

/// Whether a volume is what a claim asks for: size, access modes, mode, selector (its class is looked at elsewhere).
pub(super) fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(offer), Some(wish)) = (&volume.spec, &claim.spec) else { return false };
    let offered = amount(offer.capacity.as_ref().and_then(|capacity| capacity.get("storage")));
    let requests = wish.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let wished = amount(requests.and_then(|requests| requests.get("storage")));
    let is_large_enough = match (offered, wished) {
        (Some(offered), Some(wished)) => offered >= wished,
        (None | Some(_), None) => true,
        (None, Some(_)) => false,
    };
    let modes = offer.access_modes.as_deref().unwrap_or_default();
    let has_modes = wish.access_modes.iter().flatten().all(|mode| modes.contains(mode));
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let is_selected = wish.selector.as_ref().is_none_or(|selector| {
        LabelSelector::from_object(&json!(selector)).is_ok_and(|selector| selector.matches(&volume.metadata.labels))
    });
    is_large_enough && has_modes && mode(&offer.volume_mode) == mode(&wish.volume_mode) && is_selected
}

/// The smallest free volume of the class that fits, and that the node can use.
pub(super) fn best_match<'a>(view: &ClaimView<'a>, class: &str, node: Option<&str>) -> Option<&'a PersistentVolume> {
    let free = view.volumes.iter().copied().filter(|volume| {
        let spec = volume.spec.as_ref();
        spec.is_some_and(|spec| spec.claim_ref.is_none() && text(&spec.storage_class_name) == class)
            && !is_terminating(&volume.metadata)
            && node.is_none_or(|node| is_usable_on(volume, node))
            && fits(volume, view.claim)
    });
    free.min_by_key(|volume| {
        let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
        (amount(capacity.and_then(|capacity| capacity.get("storage"))), volume.metadata.name.clone())
    })
}

/// Whether a volume's node affinity allows a node, as far as host names say.
fn is_usable_on(volume: &PersistentVolume, node: &str) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else { return true };
    required.node_selector_terms.iter().any(|term| {
        term.match_expressions.iter().flatten().all(|expression| {
            expression.key == "kubernetes.io/hostname"
                && expression.operator == "In"
                && expression.values.iter().flatten().any(|value| value == node)
        })
    })
}
