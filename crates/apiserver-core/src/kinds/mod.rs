//! The kind table: one file per kind with its row and the small pure functions that make it what it is (D5).
//!
//! A [`KindDef`] is the row ([`api::Kind`]: names, verbs, subresources), the printer and the [`Rules`]. The generic
//! write path in [`crate::write`] calls the rules in upstream's order. Adding a kind means adding a file here and a
//! line in [`all`].

use std::sync::LazyLock;

use api::{Gvk, Kind};
use meta::{ResourceId, Status, Timestamp};
use serde_json::Value;

use crate::validate::Errors;
use crate::validate::names::{self, NameRule};
use crate::write::{AddressPool, CreateContext, UpdateContext};

mod amounts;
mod cells;
mod columns;
mod config_map;
mod controller_revision;
mod cron_job;
mod daemon_set;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod event;
mod horizontal_pod_autoscaler;
mod ingress;
mod job;
mod lease;
mod limit_range;
mod namespace;
mod network_policy;
mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
mod pod_disruption_budget;
pub mod priority_class;
mod rbac;
mod replica_set;
pub mod resource_quota;
pub mod reviews;
mod secret;
pub mod service;
mod service_account;
pub mod stateful_set;
mod storage_class;
mod workload;

pub use columns::{Column, Row};

/// One kind: what it is, how it prints, what it does to its objects.
pub struct KindDef {
    /// Names, verbs, subresources.
    pub kind: Kind,
    /// The columns of its table (api.md 2.11).
    pub columns: &'static [Column],
    /// One line of its table; as many cells as there are columns.
    pub row: fn(&Value, Timestamp) -> Row,
    /// What the caller must look up before a create.
    pub needs: Needs,
    /// For a kind that is stored in another kind's representation.
    pub conversion: Option<Conversion>,
    /// The functions of the write path.
    pub rules: Rules,
}

/// The way between a kind's own representation and the one in which it is stored ([`Kind::stored_as`]).
///
/// Decisions work on the own representation; convert what goes into the store and what comes out of it.
#[derive(Clone, Copy)]
pub struct Conversion {
    /// From the kind's own representation.
    pub to_stored: fn(Value) -> Value,
    /// Back to it.
    pub from_stored: fn(Value) -> Value,
}

/// What [`crate::write::decide_create`] wants to know about other objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing beyond the namespace.
    Nothing,
    /// What a pod's admission asks: the service account that it names, or `default`; the limit ranges of the namespace;
    /// all priority classes.
    PodSurroundings,
    /// What a claim's admission asks: all storage classes, the limit ranges of the namespace.
    ClaimSurroundings,
    /// All priority classes.
    PriorityClasses,
    /// The addresses and node ports that services hold; on updates too.
    ServiceAddresses,
}

/// The grace period of a deletion in seconds, given the object and what the client asked for.
pub type GraceOf = fn(object: &Value, asked: Option<i64>) -> Option<i64>;

/// The functions of a kind on the write path, in the order of upstream's strategies.
#[derive(Clone, Copy)]
pub struct Rules {
    /// What a name may look like.
    pub name: NameRule,
    /// Defaults that depend on other fields; idempotent, runs on every write.
    pub default: fn(&mut Value),
    /// Changes made for the client on a create, with knowledge of other objects (api.md section 7).
    pub admit: fn(&mut Value, &CreateContext<'_>) -> Result<(), Status>,
    /// Refusals of a create that depend on other objects and come after the object's own rules.
    pub permit: fn(&Value, &CreateContext<'_>) -> Result<(), Status>,
    /// Refusals of an update of the main resource that depend on other objects, after the object's own rules.
    pub permit_update: fn(new: &Value, old: &Value, &UpdateContext<'_>) -> Result<(), Status>,
    /// Resets what the client may not set on a create and gives the first status.
    pub prepare_create: fn(&mut Value),
    /// Carries over what the client may not change on an update of the main resource.
    pub prepare_update: fn(new: &mut Value, old: &Value),
    /// Carries over what the client may not change on an update of `/status`.
    pub prepare_status: fn(new: &mut Value, old: &Value),
    /// Rules of a new object, beyond `metadata`.
    pub validate: fn(&Value, &mut Errors),
    /// Rules of a change, beyond `metadata`; includes those of the new state that still apply.
    pub validate_update: fn(new: &Value, old: &Value, &mut Errors),
    /// Rules of a change through `/status`.
    pub validate_status: fn(new: &Value, old: &Value, &mut Errors),
    /// Gives an update what only the server can choose (addresses); called after `prepare_update`.
    pub allocate_update: fn(new: &mut Value, old: &Value, pool: Option<&AddressPool>, seed: u64) -> Errors,
    /// What the client should know when it creates an object.
    pub warn_create: fn(&Value, &mut Vec<String>),
    /// What the client should know, on creates and updates (K-38).
    pub warn: fn(&Value, &mut Vec<String>),
    /// What deletion means for the kind.
    pub deletion: DeletionRules,
}

/// What is special about deleting objects of a kind.
#[derive(Clone, Copy)]
pub struct DeletionRules {
    /// How long a deletion waits for the object's owner on a node; `None` for kinds that have no grace (V-49).
    pub grace: GraceOf,
    /// Whether something beside `metadata.finalizers` holds a deleted object (`spec.finalizers` of a namespace).
    pub is_held: fn(&Value) -> bool,
    /// What else changes when deletion begins.
    pub begin: fn(&mut Value),
    /// Whether the object may be deleted at all.
    pub may: fn(&Value) -> Result<(), Status>,
    /// Dependents stay unless the deletion says otherwise: an old promise of `batch/v1` jobs, with a warning.
    pub orphans: Option<&'static str>,
}

impl DeletionRules {
    /// Gone as soon as no finalizer holds it.
    pub const PLAIN: Self =
        Self { grace: |_, _| None, is_held: |_| false, begin: |_| {}, may: |_| Ok(()), orphans: None };
}

impl Rules {
    /// The rules of a kind about which there is nothing to say.
    pub const PLAIN: Self = Self {
        name: names::dns_subdomain,
        default: |_| {},
        admit: |_, _| Ok(()),
        permit: |_, _| Ok(()),
        permit_update: |_, _, _| Ok(()),
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        prepare_status: |_, _| {},
        validate: |_, _| {},
        validate_update: |_, _, _| {},
        validate_status: |_, _, _| {},
        allocate_update: |_, _, _, _| Errors::new(),
        warn_create: |_, _| {},
        warn: |_, _| {},
        deletion: DeletionRules::PLAIN,
    };
}

impl KindDef {
    /// Applies the defaults that depend on other fields; `api` has applied the others when it decoded.
    ///
    /// Idempotent, so it may run on every read and write.
    pub fn default_object(&self, object: &mut Value) {
        (self.rules.default)(object);
    }
}

static KINDS: LazyLock<Vec<KindDef>> = LazyLock::new(|| {
    vec![
        config_map::def(),
        endpoints::def(),
        event::core_def(),
        limit_range::def(),
        namespace::def(),
        node::def(),
        persistent_volume::def(),
        persistent_volume_claim::def(),
        pod::def(),
        resource_quota::def(),
        secret::def(),
        service::def(),
        service_account::def(),
        controller_revision::def(),
        daemon_set::def(),
        deployment::def(),
        replica_set::def(),
        stateful_set::def(),
        cron_job::def(),
        job::def(),
        pod_disruption_budget::def(),
        horizontal_pod_autoscaler::def(),
        reviews::self_subject_review(),
        reviews::token_review(),
        reviews::local_subject_access_review(),
        reviews::self_subject_access_review(),
        reviews::self_subject_rules_review(),
        reviews::subject_access_review(),
        lease::def(),
        endpoint_slice::def(),
        event::events_def(),
        ingress::ingress_class(),
        ingress::ingress(),
        network_policy::def(),
        rbac::cluster_role_binding(),
        rbac::cluster_role(),
        rbac::role_binding(),
        rbac::role(),
        priority_class::def(),
        storage_class::def(),
    ]
});

/// Every kind that is served.
pub fn all() -> &'static [KindDef] {
    &KINDS
}

/// The kind served under a resource.
pub fn by_resource(resource: &ResourceId) -> Option<&'static KindDef> {
    all().iter().find(|def| def.kind.resource == *resource)
}

/// The kind of that group, version and kind.
pub fn by_gvk(gvk: Gvk<'_>) -> Option<&'static KindDef> {
    all().iter().find(|def| def.kind.gvk() == gvk)
}
