//! Changing stored objects, without any transport: decide, commit, and decide again when the race was lost.

use std::sync::{Arc, PoisonError};

use api::codec::{self, Expected as ExpectedKind, FieldProblem, FieldValidation, Mode};
use api::resources::NAMESPACES;
use apiserver_core::kinds::{self, KindDef, Needs};
use apiserver_core::write::{
    CreateContext, CreatePlan, Deletion, DeletionOptions, NamespaceState, Outcome, UpdateContext, UpdatePlan,
    decide_create, decide_delete, decide_update,
};
use client::Object;
use meta::{Reason, ResourceVersion, Status};
use serde_json::Value;
use store::{CommitError, Haste};
use store_core::{Expected, Key, Op, Record, Revision, Transaction, TransactionError};

use crate::keys;
use crate::quotas::Charge;
use crate::registry::{Registry, object};
use crate::stored;

/// What the root certificate's config map says of itself, as upstream's does (M-5).
const ROOT_CERTIFICATE_DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when \
    using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed \
    across distributions of Kubernetes clusters.";
/// Attempts at a name that the server chooses (V-28).
const GENERATED_NAME_ATTEMPTS_MAX: usize = 8;

/// Options of a write.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WriteOptions {
    /// Under which name fields are recorded.
    pub field_manager: String,
    /// Decide only.
    pub dry_run: bool,
    /// Whether anybody waits for it.
    pub haste: Haste,
    /// A created pod takes its node along (decision 24).
    pub place: bool,
}

/// What a write answers with.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object as it is now; its last state if the write ended it.
    pub object: Arc<Object>,
    /// It did not exist before.
    pub created: bool,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// What a deletion answers with.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The object as it is now, or its last state.
    pub object: Arc<Object>,
    /// It is gone; otherwise its end has only begun.
    pub gone: bool,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// A state to write, with the state it was decided upon.
struct Change<'a> {
    def: &'a KindDef,
    current: &'a Arc<Record>,
    /// In the kind's own representation.
    new: Value,
    /// What must be stored in the same moment, before it.
    first: Vec<Op>,
    dry_run: bool,
    haste: Haste,
}

/// What a commit came to.
enum Commit<T> {
    Done(T),
    /// Somebody else was faster: read and decide again.
    Raced,
}

/// Decodes a tree that did not come as bytes (a patched object, a body from inside), with defaults.
///
/// # Errors
/// The decoder's text, as the given reason.
pub fn normalise(def: &KindDef, tree: Value) -> Result<(Value, Vec<FieldProblem>), codec::DecodeError> {
    let decoded = codec::normalise(tree, ExpectedKind::exactly(def.kind.gvk()), Mode::Typed)?;
    let mut tree = decoded.tree;
    def.default_object(&mut tree);
    Ok((tree, decoded.problems))
}

impl Registry {
    /// Creates an object that is decoded and has its defaults.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn create(
        &self,
        def: &KindDef,
        namespace: Option<&str>,
        tree: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.create_as(def, namespace, tree, options, false).await
    }

    /// Creates an object; `applied` says that its `managedFields` are right already.
    pub(crate) async fn create_as(
        &self,
        def: &KindDef,
        namespace: Option<&str>,
        tree: Value,
        options: &WriteOptions,
        applied: bool,
    ) -> Result<Written, Status> {
        let mut generated_attempts = 0;
        for _ in 0..self.config.limits.write_attempts_max + GENERATED_NAME_ATTEMPTS_MAX {
            let surroundings = self.surroundings(def, namespace, &tree)?;
            let mut plan = self.plan_create(def, namespace, tree.clone(), &surroundings, options, applied)?;
            let charge = match self.charge(def, None, Some(&mut plan.object)).await {
                Ok(charge) => charge,
                Err(refusal) if options.dry_run => return Err(refusal),
                Err(refusal) => {
                    self.release(def, &plan.object);
                    return Err(refusal);
                }
            };
            if options.dry_run {
                if self.find(&def.kind, namespace, &plan.name)?.is_some() {
                    return Err(self.exists(def, namespace, &plan.name));
                }
                return Ok(unstored(plan));
            }
            let place = self.take_place(def, &mut plan.object, options);
            let holder = holder(def, &plan.object);
            match self.commit_create(def, namespace, &surroundings, &mut plan, charge, options.haste).await {
                Ok(record) => {
                    if let Some(place) = place {
                        place.stored_at(record.revision);
                    }
                    let object = self.event_object(def, &record);
                    return Ok(Written { object, created: true, warnings: plan.warnings });
                }
                Err(error) => {
                    holder.inspect(|holder| self.release(def, holder));
                    match error {
                        CommitError::Refused(TransactionError::Exists { .. }) if plan.generated_name => {
                            generated_attempts += 1;
                            if generated_attempts >= GENERATED_NAME_ATTEMPTS_MAX {
                                return Err(no_unique_name(def, &plan.name));
                            }
                        }
                        CommitError::Refused(TransactionError::Exists { .. }) => {
                            return Err(self.exists(def, namespace, &plan.name));
                        }
                        // The namespace changed meanwhile: look at it again.
                        CommitError::Refused(_) => {}
                        other => return Err(commit_status(&other)),
                    }
                }
            }
            self.metrics.write_retries.inc();
        }
        Err(Status::new(Reason::Timeout, "the namespace changes faster than an object can be created in it"))
    }

    fn plan_create(
        &self,
        def: &KindDef,
        namespace: Option<&str>,
        tree: Value,
        surroundings: &Surroundings,
        options: &WriteOptions,
        applied: bool,
    ) -> Result<CreatePlan, Status> {
        let uid = self.chance.uuid();
        let mut pool = (def.needs == Needs::ServiceAddresses)
            .then(|| self.addresses.lock().unwrap_or_else(PoisonError::into_inner));
        let trees = |objects: &'_ [Arc<Object>]| -> Vec<Arc<Value>> {
            objects.iter().map(|object| object.tree().clone()).collect()
        };
        let [classes, ranges, priorities] =
            [&surroundings.storage_classes, &surroundings.limit_ranges, &surroundings.priority_classes]
                .map(|objects| trees(objects));
        let [classes, ranges, priorities] =
            [&classes, &ranges, &priorities].map(|trees| trees.iter().map(AsRef::as_ref).collect::<Vec<&Value>>());
        let context = CreateContext {
            now: self.now(),
            uid: &uid,
            seed: self.chance.random(),
            field_manager: &options.field_manager,
            namespace: namespace.unwrap_or_default(),
            namespace_state: surroundings.namespace_state,
            service_account: surroundings.service_account.as_ref().map(|account| account.tree().as_ref()),
            storage_classes: &classes,
            limit_ranges: &ranges,
            priority_classes: &priorities,
            addresses: pool.as_deref(),
            applied,
        };
        let plan = decide_create(def, tree, &context)?;
        if let Some(pool) = pool.as_mut().filter(|_| !options.dry_run) {
            pool.occupy(&plan.object);
        }
        Ok(plan)
    }

    async fn commit_create(
        &self,
        def: &KindDef,
        namespace: Option<&str>,
        surroundings: &Surroundings,
        plan: &mut CreatePlan,
        charge: Charge<'_>,
        haste: Haste,
    ) -> Result<Arc<Record>, CommitError> {
        let key = keys::object(&def.kind, namespace, &plan.name);
        let mut transaction = Transaction::create(key, encode(def, std::mem::take(&mut plan.object)));
        if def.kind.resource == NAMESPACES {
            for op in self.inhabitants(&plan.name) {
                transaction = transaction.and(op);
            }
        }
        if let Some((key, revision)) = &surroundings.namespace {
            transaction = transaction.and(Op::Require { key: key.clone(), expected: Expected::At(*revision) });
        }
        let record = self.commit(charge.ops.clone(), transaction, haste).await?;
        self.remember_expiry(def, &record);
        Ok(record)
    }

    /// Commits a transaction behind some other changes and gives the record of its first change.
    async fn commit(&self, first: Vec<Op>, transaction: Transaction, haste: Haste) -> Result<Arc<Record>, CommitError> {
        let at = first.len();
        let ops = first.into_iter().chain(transaction.ops).collect();
        let applied = self.store.commit_with(Transaction { ops }, haste).await?;
        Ok(applied.records.into_iter().nth(at).expect("a transaction of a change has a record"))
    }

    /// What comes into being with a namespace: the service account `default` and the cluster's root certificate
    /// (M-4, M-5). In one transaction, so that the first pod of a namespace never misses them.
    fn inhabitants(&self, namespace: &str) -> Vec<Op> {
        let account = serde_json::json!({"metadata": {"name": "default"}});
        let root = serde_json::json!({
            "metadata": {
                "name": "kube-root-ca.crt",
                "annotations": {"kubernetes.io/description": ROOT_CERTIFICATE_DESCRIPTION},
            },
            "data": {"ca.crt": self.config.pki.ca_pem()},
        });
        let wanted = [(api::resources::SERVICE_ACCOUNTS, account), (api::resources::CONFIG_MAPS, root)];
        let known = Surroundings::in_namespace(NamespaceState::Active);
        let options = WriteOptions { field_manager: "kube-controller-manager".to_owned(), ..WriteOptions::default() };
        let plans = wanted.into_iter().filter_map(|(resource, tree)| {
            let def = kinds::by_resource(&resource)?;
            let (tree, _) = normalise(def, tree).ok()?;
            let plan = self.plan_create(def, Some(namespace), tree, &known, &options, false).ok()?;
            let key = keys::object(&def.kind, Some(namespace), &plan.name);
            // What a namespace of that name left behind stays as it is.
            let is_there = matches!(self.find(&def.kind, Some(namespace), &plan.name), Ok(Some(_)));
            (!is_there).then(|| Op::Create { key, payload: encode(def, plan.object) })
        });
        plans.collect()
    }

    fn remember_expiry(&self, def: &KindDef, record: &Arc<Record>) {
        if *def.kind.storage() == api::resources::EVENTS {
            self.expiry.add(record.key.clone(), record.revision, self.config.event_ttl);
        }
    }

    /// Holds the addresses of a state that is about to be written; [`Registry::write`] lets go of those of the state
    /// before, or of these if it fails.
    fn occupy(&self, def: &KindDef, object: &Value) {
        if def.needs == Needs::ServiceAddresses {
            self.addresses.lock().unwrap_or_else(PoisonError::into_inner).occupy(object);
        }
    }

    fn release(&self, def: &KindDef, object: &Value) {
        if def.needs == Needs::ServiceAddresses {
            self.addresses.lock().unwrap_or_else(PoisonError::into_inner).release(object);
        }
    }

    /// 409 for a name that is taken, with a prefix if its holder is going (V-7).
    fn exists(&self, def: &KindDef, namespace: Option<&str>, name: &str) -> Status {
        let mut status = Status::already_exists(&def.kind.resource, name);
        if let Ok(holder) = self.get(def, namespace, name)
            && holder.tree()["metadata"].get("deletionTimestamp").is_some()
        {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }

    /// What a decision must know of other objects.
    fn surroundings(&self, def: &KindDef, namespace: Option<&str>, tree: &Value) -> Result<Surroundings, Status> {
        let mut known = Surroundings::in_namespace(NamespaceState::NotNeeded);
        let kind = |resource: &meta::ResourceId| {
            kinds::by_resource(resource).ok_or_else(|| Status::internal("a kind is missing"))
        };
        if let Some(namespace) = namespace.filter(|_| def.kind.is_namespaced()) {
            let namespaces = kind(&NAMESPACES)?;
            let record = self.find(&namespaces.kind, None, namespace)?;
            known.namespace_state = match &record {
                None => NamespaceState::Missing,
                Some(record) => namespace_state(object(namespaces, record).tree()),
            };
            known.namespace = record.map(|record| (record.key.clone(), record.revision));
        }
        match def.needs {
            Needs::Nothing | Needs::ServiceAddresses => {}
            Needs::PodSurroundings => {
                let accounts = kind(&api::resources::SERVICE_ACCOUNTS)?;
                let name = tree["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty());
                let record = self.find(&accounts.kind, namespace, name.unwrap_or("default"))?;
                known.service_account = record.map(|record| object(accounts, &record));
                known.limit_ranges = self.all(kind(&api::resources::LIMIT_RANGES)?, namespace)?;
                known.priority_classes = self.all(kind(&api::resources::PRIORITY_CLASSES)?, None)?;
            }
            Needs::ClaimSurroundings => {
                known.storage_classes = self.all(kind(&api::resources::STORAGE_CLASSES)?, None)?;
                known.limit_ranges = self.all(kind(&api::resources::LIMIT_RANGES)?, namespace)?;
            }
            Needs::PriorityClasses => {
                known.priority_classes = self.all(kind(&api::resources::PRIORITY_CLASSES)?, None)?;
            }
        }
        Ok(known)
    }

    /// Changes an object: `change` computes the new tree, decoded and with its defaults, from the current one, again
    /// for each attempt. A resourceVersion or UID in the new tree is a precondition.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn update(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        options: &WriteOptions,
        mut change: impl FnMut(&Value) -> Result<Changed, Status> + Send,
    ) -> Result<Written, Status> {
        for _ in 0..self.config.limits.write_attempts_max {
            let current = self.find(&def.kind, target.namespace, target.name)?;
            let current = current.ok_or_else(|| Status::not_found(&def.kind.resource, target.name))?;
            let shown = object(def, &current);
            let changed = change(shown.tree())?;
            let (plan, warnings) = match changed.decided {
                Some(plan) => (plan, changed.warnings),
                None => {
                    let plan = self.plan_update(def, shown.tree(), changed.tree, target, options, changed.applied)?;
                    (plan, changed.warnings)
                }
            };
            let all_warnings = [warnings, plan.warnings].concat();
            let WriteOptions { dry_run, haste, .. } = *options;
            let change_to = |new| Change { def, current: &current, new, first: Vec::new(), dry_run, haste };
            let committed = match plan.outcome {
                Outcome::Unchanged => Commit::Done(shown),
                Outcome::Write(new) => self.write(change_to(new)).await?,
                Outcome::Remove(new) => self.remove(change_to(new)).await?,
            };
            if let Commit::Done(object) = committed {
                return Ok(Written { object, created: false, warnings: all_warnings });
            }
            self.metrics.write_retries.inc();
        }
        Err(Status::modified(&def.kind.resource, target.name))
    }

    pub(crate) fn plan_update(
        &self,
        def: &KindDef,
        current: &Value,
        new: Value,
        target: &Target<'_>,
        options: &WriteOptions,
        applied: bool,
    ) -> Result<UpdatePlan, Status> {
        let mut pool = (def.needs == Needs::ServiceAddresses)
            .then(|| self.addresses.lock().unwrap_or_else(PoisonError::into_inner));
        let ranges = match def.needs {
            Needs::ClaimSurroundings if target.subresource.is_empty() => {
                let limit_ranges = kinds::by_resource(&api::resources::LIMIT_RANGES);
                self.all(limit_ranges.ok_or_else(|| Status::internal("a kind is missing"))?, target.namespace)?
            }
            _ => Vec::new(),
        };
        let ranges: Vec<&Value> = ranges.iter().map(|range| range.tree().as_ref()).collect();
        let context = UpdateContext {
            now: self.now(),
            field_manager: &options.field_manager,
            subresource: target.subresource,
            limit_ranges: &ranges,
            addresses: pool.as_deref(),
            seed: self.chance.random(),
            applied,
        };
        let plan = decide_update(def, current, new, &context)?;
        if let (Some(pool), Outcome::Write(new)) = (pool.as_mut().filter(|_| !options.dry_run), &plan.outcome) {
            pool.occupy(new);
        }
        Ok(plan)
    }

    async fn write(&self, change: Change<'_>) -> Result<Commit<Arc<Object>>, Status> {
        let Change { def, current, mut new, first, dry_run, haste } = change;
        let charge = match self.charge(def, Some(object(def, current).tree()), Some(&mut new)).await {
            Ok(charge) => charge,
            Err(refusal) if dry_run => return Err(refusal),
            Err(refusal) => {
                self.release(def, &new);
                return Err(refusal);
            }
        };
        if dry_run {
            return Ok(Commit::Done(stored::shown(new, current.revision)));
        }
        let first = [first, charge.ops.clone()].concat();
        let holder = holder(def, &new);
        let payload = encode(def, new);
        let expected = Expected::At(current.revision);
        match self.commit(first, Transaction::put(current.key.clone(), payload, expected), haste).await {
            Ok(record) => {
                self.release(def, object(def, current).tree());
                self.remember_expiry(def, &record);
                Ok(Commit::Done(self.event_object(def, &record)))
            }
            Err(error) => {
                holder.inspect(|holder| self.release(def, holder));
                raced(&error)
            }
        }
    }

    async fn remove(&self, change: Change<'_>) -> Result<Commit<Arc<Object>>, Status> {
        let Change { def, current, new, first, dry_run, haste } = change;
        if dry_run {
            return Ok(Commit::Done(stored::shown(new, current.revision)));
        }
        let charge = self.charge(def, Some(object(def, current).tree()), None).await?;
        let first = [first, charge.ops.clone()].concat();
        let last = Some(encode(def, new));
        let expected = Expected::At(current.revision);
        match self.commit(first, Transaction::delete(current.key.clone(), expected, last), haste).await {
            Ok(record) => {
                self.release(def, object(def, current).tree());
                Ok(Commit::Done(self.event_object(def, &record)))
            }
            Err(error) => raced(&error),
        }
    }

    /// Deletes an object, or begins its deletion.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn delete(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        options: &DeletionOptions,
    ) -> Result<Deleted, Status> {
        let decide = |current: &Value, now| Ok((decide_delete(def, current, options, now)?, Vec::new()));
        let mut deleted = self.delete_as(def, target, options.dry_run, decide).await?;
        if options.propagation.is_none() {
            deleted.warnings.extend(def.rules.deletion.orphans.map(str::to_owned));
        }
        Ok(deleted)
    }

    /// Deletes an object by another decision than the plain one (an eviction), which may change other objects in the
    /// same moment.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn delete_as(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        dry_run: bool,
        decide: impl Fn(&Value, meta::Timestamp) -> Result<(Deletion, Vec<Op>), Status> + Send,
    ) -> Result<Deleted, Status> {
        for _ in 0..self.config.limits.write_attempts_max {
            let current = self.find(&def.kind, target.namespace, target.name)?;
            let current = current.ok_or_else(|| Status::not_found(&def.kind.resource, target.name))?;
            let shown = object(def, &current);
            let (deletion, first) = decide(shown.tree(), self.now())?;
            let (committed, gone) = match deletion {
                Deletion::Unchanged => (Commit::Done(shown), false),
                Deletion::Mark(new) => {
                    if !dry_run {
                        self.occupy(def, &new);
                    }
                    (
                        self.write(Change { def, current: &current, new, first, dry_run, haste: Haste::Now }).await?,
                        false,
                    )
                }
                Deletion::Remove(new) => (
                    self.remove(Change { def, current: &current, new, first, dry_run, haste: Haste::Now }).await?,
                    true,
                ),
            };
            if let Commit::Done(object) = committed {
                return Ok(Deleted { object, gone, warnings: Vec::new() });
            }
            self.metrics.write_retries.inc();
        }
        Err(Status::modified(&def.kind.resource, target.name))
    }
}

/// The object that a write is about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its namespace.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// Through which door; empty for the object itself.
    pub subresource: &'a str,
}

/// A new tree for an object, and how it came about.
#[derive(Debug)]
pub struct Changed {
    /// The new tree; unused if `decided`.
    pub tree: Value,
    /// Its `managedFields` are right already.
    pub applied: bool,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
    /// Another decision than the plain update, made already.
    pub decided: Option<UpdatePlan>,
}

struct Surroundings {
    namespace_state: NamespaceState,
    namespace: Option<(Key, Revision)>,
    service_account: Option<Arc<Object>>,
    storage_classes: Vec<Arc<Object>>,
    limit_ranges: Vec<Arc<Object>>,
    priority_classes: Vec<Arc<Object>>,
}

impl Surroundings {
    /// Nothing is known but the namespace's state.
    fn in_namespace(namespace_state: NamespaceState) -> Self {
        Self {
            namespace_state,
            namespace: None,
            service_account: None,
            storage_classes: Vec::new(),
            limit_ranges: Vec::new(),
            priority_classes: Vec::new(),
        }
    }
}

fn namespace_state(namespace: &Value) -> NamespaceState {
    let terminating = namespace["metadata"].get("deletionTimestamp").is_some();
    if terminating { NamespaceState::Terminating } else { NamespaceState::Active }
}

fn encode(def: &KindDef, tree: Value) -> store_core::Payload {
    match def.conversion {
        Some(conversion) => stored::encode((conversion.to_stored)(tree)),
        None => stored::encode(tree),
    }
}

/// A copy of a state that holds addresses, which have to be let go of if it is not stored.
fn holder(def: &KindDef, state: &Value) -> Option<Value> {
    (def.needs == Needs::ServiceAddresses).then(|| state.clone())
}

/// A created object that is not stored: it has no resourceVersion.
fn unstored(plan: CreatePlan) -> Written {
    let mut tree = plan.object;
    if let Some(metadata) = tree.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    let object = Arc::new(Object::new(ResourceVersion::default(), tree.to_string().into()));
    Written { object, created: true, warnings: plan.warnings }
}

fn raced(error: &CommitError) -> Result<Commit<Arc<Object>>, Status> {
    match error {
        CommitError::Refused(TransactionError::Conflict { .. } | TransactionError::NotFound { .. }) => {
            Ok(Commit::Raced)
        }
        other => Err(commit_status(other)),
    }
}

fn no_unique_name(def: &KindDef, name: &str) -> Status {
    let mut status = Status::already_exists(&def.kind.resource, name);
    status.message.push_str(", the server was not able to generate a unique name for the object");
    status.details.get_or_insert_default().retry_after_secs = 1;
    status
}

/// The answer for a commit that failed for no fault of the client.
pub fn commit_status(error: &CommitError) -> Status {
    match error {
        CommitError::TooLarge { .. } => Status::new(Reason::RequestEntityTooLarge, error.to_string()),
        CommitError::DiskFull | CommitError::Broken { .. } | CommitError::Closed => {
            Status::new(Reason::ServiceUnavailable, error.to_string())
        }
        CommitError::Refused(_) => Status::internal(error),
    }
}

/// Where problems were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judged {
    /// In a body.
    Body,
    /// In what a patch makes of the stored object.
    Patched,
}

/// The warnings of a body's problems, or the refusal under strict validation; a patch is refused with 422 (V-122).
///
/// # Errors
/// 400 for a body, 422 for a patch.
pub fn judge(
    def: &KindDef,
    problems: &[FieldProblem],
    validation: FieldValidation,
    judged: Judged,
) -> Result<Vec<String>, Status> {
    validation.judge(problems, def.kind.gvk()).map_err(|error| match judged {
        Judged::Body => error.to_status(),
        Judged::Patched => patch_invalid(&error),
    })
}

/// 422 for a patch whose result is no object of the kind (P-5). It names no object, as upstream's; and other than
/// upstream's, it does not show the whole object, which may be a Secret.
pub fn patch_invalid(error: &codec::DecodeError) -> Status {
    let text = format!("Invalid value: {:?}: {}", "", error.why());
    let mut status = Status::new(Reason::Invalid, format!(" \"\" is invalid: patch: {text}"));
    let cause = meta::Cause { reason: "FieldValueInvalid".to_owned(), message: text, field: "patch".to_owned() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}
