//! Deletion: at once, after a grace period, or when the finalizers are gone (V-45 to V-51).

use meta::{Status, Timestamp};
use serde_json::Value;

use super::create::time_text;
use crate::kinds::KindDef;
use crate::tree::{has, int, items, member, object_mut, text};
use crate::validate::{Errors, Path};

/// What becomes of dependents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Propagation {
    /// They lose their owner and stay.
    Orphan,
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
}

/// The options of a deletion, from the body or the query.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DeletionOptions {
    /// Only this UID.
    pub uid: Option<String>,
    /// Only this resourceVersion.
    pub resource_version: Option<String>,
    /// Grace in seconds.
    pub grace_period_secs: Option<i64>,
    /// Fate of dependents.
    pub propagation: Option<Propagation>,
    /// The old spelling of `propagation` was used and said `false`: answer 202 instead of 200 (V-46).
    pub orphan_dependents_false: bool,
    /// Decide only.
    pub dry_run: bool,
}

impl DeletionOptions {
    /// Reads a decoded `DeleteOptions`.
    ///
    /// # Errors
    /// 422 for values that are not known and for both spellings of the propagation at once.
    pub fn from_tree(options: &Value) -> Result<Self, Status> {
        let mut errors = Errors::new();
        let policy = text(options, "propagationPolicy");
        let orphan = options.get("orphanDependents").and_then(Value::as_bool);
        let policy_path = Path::root("propagationPolicy");
        let mut propagation = match policy {
            "" => None,
            "Orphan" => Some(Propagation::Orphan),
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            other => {
                errors.not_supported(&policy_path, other, &["Foreground", "Background", "Orphan", "nil"]);
                None
            }
        };
        if orphan.is_some() && !policy.is_empty() {
            errors.invalid_text(&policy_path, policy, "orphanDependents and deletionPropagation cannot be both set");
        }
        if let Some(orphan) = orphan {
            propagation = propagation.or(Some(if orphan { Propagation::Orphan } else { Propagation::Background }));
        }
        let dry_run = items(options, "dryRun");
        if !dry_run.is_empty() && dry_run.iter().any(|value| value != "All") {
            errors.not_supported_value(&Path::root("dryRun"), member(options, "dryRun"), &["All"]);
        }
        if let Some(status) = errors.into_status("meta.k8s.io", "DeleteOptions", "") {
            return Err(status);
        }
        let preconditions = member(options, "preconditions");
        let given = |key: &str| preconditions.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            uid: given("uid"),
            resource_version: given("resourceVersion"),
            grace_period_secs: int(options, "gracePeriodSeconds"),
            propagation,
            orphan_dependents_false: orphan == Some(false),
            dry_run: !dry_run.is_empty(),
        })
    }
}

/// What becomes of the stored object. Trees carry no resourceVersion.
#[derive(Clone, PartialEq, Debug)]
pub enum Deletion {
    /// Remove it; this is its last state.
    Remove(Value),
    /// Keep it, marked as being deleted.
    Mark(Value),
    /// It is being deleted already and nothing changes.
    Unchanged,
}

/// Decides a deletion of `current`, which carries `metadata.resourceVersion` as it was read.
///
/// # Errors
/// 409 for a failed precondition, 403 where the kind refuses.
pub fn decide_delete(
    def: &KindDef,
    current: &Value,
    options: &DeletionOptions,
    now: Timestamp,
) -> Result<Deletion, Status> {
    check_preconditions(def, current, options)?;
    (def.rules.deletion.may)(current)?;
    let asked = options.grace_period_secs.map(|grace| if grace < 0 { 1 } else { grace });
    let mut object = current.clone();
    object_mut(&mut object, "metadata").remove("resourceVersion");
    let grace = match (def.rules.deletion.grace)(current, asked) {
        Some(grace) => match begin_grace(&mut object, grace, asked, now) {
            Some(grace) => grace,
            None => return Ok(Deletion::Unchanged),
        },
        None => 0,
    };
    let finalizers_changed = adjust_finalizers(&mut object, propagation(def, current, options));
    let finalizers = items(member(&object, "metadata"), "finalizers");
    let held = !finalizers.is_empty() && !meta::mutants::is_on("finalizers-do-not-hold")
        || (def.rules.deletion.is_held)(&object);
    if grace == 0 && !held {
        return Ok(Deletion::Remove(object));
    }
    let was_marked = has(member(current, "metadata"), "deletionTimestamp");
    if grace == 0 {
        mark(&mut object, now);
        (def.rules.deletion.begin)(&mut object);
    }
    let same_grace = int(member(&object, "metadata"), "deletionGracePeriodSeconds")
        == int(member(current, "metadata"), "deletionGracePeriodSeconds");
    if was_marked && !finalizers_changed && same_grace {
        return Ok(Deletion::Unchanged);
    }
    Ok(Deletion::Mark(object))
}

fn check_preconditions(def: &KindDef, current: &Value, options: &DeletionOptions) -> Result<(), Status> {
    let metadata = member(current, "metadata");
    if meta::mutants::is_on("preconditions-are-ignored") {
        return Ok(());
    }
    let (name, uid, version) = (text(metadata, "name"), text(metadata, "uid"), text(metadata, "resourceVersion"));
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        );
        return Err(Status::conflict(&def.kind.resource, name, why));
    }
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| !wanted.is_empty() && *wanted != version)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        );
        return Err(Status::conflict(&def.kind.resource, name, why));
    }
    Ok(())
}

/// Begins the grace period, or shortens the one that runs (V-49, N-40). `None` if the running one stays as it is.
fn begin_grace(object: &mut Value, grace: i64, asked: Option<i64>, now: Timestamp) -> Option<i64> {
    let metadata = object_mut(object, "metadata");
    let marked = metadata.get("deletionTimestamp").and_then(Value::as_str).and_then(|t| t.parse::<Timestamp>().ok());
    let (begin, grace) = match marked {
        Some(end) => {
            let running = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
            let shorter = asked.filter(|asked| *asked < running)?;
            (end - jiff::SignedDuration::from_secs(running), shorter)
        }
        None => {
            count_generation(metadata);
            (now, grace)
        }
    };
    let end = begin + jiff::SignedDuration::from_secs(grace);
    metadata.insert("deletionTimestamp".to_owned(), time_text(end).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    Some(grace)
}

/// Marks the object as being deleted now, unless it is already (V-48).
fn mark(object: &mut Value, now: Timestamp) {
    let metadata = object_mut(object, "metadata");
    if !metadata.contains_key("deletionTimestamp") {
        metadata.insert("deletionTimestamp".to_owned(), time_text(now).into());
        count_generation(metadata);
    }
    metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
}

fn count_generation(metadata: &mut serde_json::Map<String, Value>) {
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
}

/// What becomes of dependents: what the client says, else what the object's finalizers say, else the kind's way.
fn propagation(def: &KindDef, object: &Value, options: &DeletionOptions) -> Option<Propagation> {
    let decided = items(member(object, "metadata"), "finalizers")
        .iter()
        .any(|finalizer| finalizer == "orphan" || finalizer == "foregroundDeletion");
    options.propagation.or((def.rules.deletion.orphans.is_some() && !decided).then_some(Propagation::Orphan))
}

/// Puts the garbage collector's finalizers as the options say (V-50). True if something changed.
fn adjust_finalizers(object: &mut Value, propagation: Option<Propagation>) -> bool {
    let Some(propagation) = propagation else { return false };
    let metadata = object_mut(object, "metadata");
    let old: Vec<Value> = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut new: Vec<Value> = old.iter().filter(|f| *f != "orphan" && *f != "foregroundDeletion").cloned().collect();
    match propagation {
        Propagation::Orphan => new.push("orphan".into()),
        Propagation::Foreground => new.push("foregroundDeletion".into()),
        Propagation::Background => {}
    }
    let changed = new.len() != old.len() || new.iter().any(|f| !old.contains(f));
    if new.is_empty() {
        metadata.remove("finalizers");
    } else if changed {
        metadata.insert("finalizers".to_owned(), new.into());
    }
    changed
}
