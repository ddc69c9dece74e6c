//! What a decision needs to know beyond the object itself.

use meta::Timestamp;
use serde_json::Value;

use super::AddressPool;

/// Whether the namespace of a new object can take it (M-2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamespaceState {
    /// The kind has no namespaces.
    NotNeeded,
    /// There is no such namespace.
    Missing,
    /// It is there.
    Active,
    /// It is being deleted.
    Terminating,
}

/// Who creates an object, when, and what is around it.
#[derive(Clone, Debug)]
pub struct CreateContext<'a> {
    /// The time of the request.
    pub now: Timestamp,
    /// A fresh UID, version 4.
    pub uid: &'a str,
    /// Randomness for generated names; take another after a collision (V-28).
    pub seed: u64,
    /// Under which name the fields are recorded in `managedFields`.
    pub field_manager: &'a str,
    /// The namespace in the URL; empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// The state of that namespace.
    pub namespace_state: NamespaceState,
    /// The pod's service account, where [`crate::kinds::Needs::PodSurroundings`] asks for it; `None` if it is missing.
    pub service_account: Option<&'a Value>,
    /// All storage classes, where asked for.
    pub storage_classes: &'a [&'a Value],
    /// The limit ranges of the namespace, where asked for.
    pub limit_ranges: &'a [&'a Value],
    /// All priority classes, where asked for.
    pub priority_classes: &'a [&'a Value],
    /// The addresses and node ports in use, where asked for.
    pub addresses: Option<&'a AddressPool>,
    /// True if `managedFields` are already right, because the object comes from an apply.
    pub applied: bool,
}

/// Who changes an object, when, and through which door.
#[derive(Clone, Debug)]
pub struct UpdateContext<'a> {
    /// The time of the request.
    pub now: Timestamp,
    /// Under which name the fields are recorded in `managedFields`.
    pub field_manager: &'a str,
    /// Empty for the main resource, else `status` (or `scale`, which writes the main resource through its own door).
    pub subresource: &'a str,
    /// The limit ranges of the namespace, where [`crate::kinds::Needs::ClaimSurroundings`] asks for them.
    pub limit_ranges: &'a [&'a Value],
    /// The addresses and node ports in use, where [`crate::kinds::Needs::ServiceAddresses`] asks for them.
    pub addresses: Option<&'a AddressPool>,
    /// Randomness for node ports and addresses.
    pub seed: u64,
    /// True if `managedFields` are already right, because the object comes from an apply.
    pub applied: bool,
}
