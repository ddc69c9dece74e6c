//! Owner references: what becomes of dependents when their owners go (sections 2.13 and 3.8).
//!
//! A dependent is deleted only if every owner is known to be absent by a live read of exactly that kind, namespace and
//! name, by UID, and by a live read of everything that the UID is nobody else's either (S9, N-56). A reference that
//! cannot be resolved (unknown kind, an owner in another namespace, a namespaced owner of a cluster-scoped object) proves
//! nothing: the dependent stays, and an event says so. Start with [`plan`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use meta::{ResourceVersion, Uid};
use serde_json::{Value, json};

use crate::words::{Note, Target};

/// Finalizer: dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer: dependents lose their owner and stay.
pub const ORPHAN: &str = "orphan";

/// What is known of one owner reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnerState {
    /// The very owner is there.
    Present,
    /// It is there and waits for its dependents to go (foreground deletion).
    WaitsForDependents,
    /// Live reads found no object of that UID, neither under that name nor anywhere else.
    Absent,
    /// It is absent, but the set that had the reference written keeps its claims by now (S5).
    Revoked,
    /// There is no such kind, or the owner is not where a dependent's owner can be: in its own namespace, or in none.
    Unresolvable,
}

/// An object, read live.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: Uid,
    /// Revision of this state.
    pub resource_version: ResourceVersion,
    /// Deletion has begun.
    pub terminating: bool,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Owner references, each with what a live read found.
    pub owners: Vec<(OwnerReference, OwnerState)>,
    /// Objects that name this one as an owner.
    pub dependents: Vec<Dependent>,
}

/// An object that names another as its owner, as the cache shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct Dependent {
    /// Where it is, for the shell.
    pub index: usize,
    /// Its deletion holds up the owner's (`blockOwnerDeletion`).
    pub blocks: bool,
    /// Deletion has begun.
    pub terminating: bool,
}

/// How an object is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Its dependents follow.
    Background,
    /// Its dependents go first.
    Foreground,
    /// Its dependents stay.
    Orphan,
}

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Delete the item: all its owners are absent, or wait for it.
    Delete {
        /// The item.
        item: Target,
        /// How.
        manner: Manner,
    },
    /// Take owner references off the item, or a finalizer.
    Patch {
        /// The item.
        item: Target,
        /// Merge patch.
        patch: Value,
    },
    /// Take the item's reference off a dependent.
    ReleaseDependent {
        /// Index of the dependent.
        index: usize,
    },
    /// Delete a dependent of an item that is deleted in the foreground.
    DeleteDependent {
        /// Index of the dependent.
        index: usize,
    },
}

/// What to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The writes; those about dependents may happen at once, before those about the item.
    pub actions: Vec<Action>,
    /// Events about the item.
    pub notes: Vec<Note>,
}

impl Item {
    fn target(&self) -> Target {
        Target { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version }
    }

    fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|found| found == finalizer)
    }

    fn without(&self, finalizer: &str) -> Action {
        let rest: Vec<_> = self.finalizers.iter().filter(|found| *found != finalizer).collect();
        let target = self.target();
        let mut metadata = target.patch_metadata();
        metadata["finalizers"] = json!(rest);
        Action::Patch { item: target, patch: json!({"metadata": metadata}) }
    }
}

/// Decides what becomes of an object and its dependents.
pub fn plan(item: &Item) -> Plan {
    if item.terminating {
        return while_deleting(item);
    }
    judge_owners(item)
}

/// The two finalizers that the collector itself takes off (C-91, C-92).
fn while_deleting(item: &Item) -> Plan {
    if item.has(ORPHAN) {
        let mut actions: Vec<_> =
            item.dependents.iter().map(|dependent| Action::ReleaseDependent { index: dependent.index }).collect();
        if meta::mutants::is_on("orphans-are-not-released") {
            actions = vec![item.without(ORPHAN)];
        }
        if actions.is_empty() {
            actions.push(item.without(ORPHAN));
        }
        return Plan { actions, ..Plan::default() };
    }
    if item.has(FOREGROUND) {
        let mut actions: Vec<_> = item
            .dependents
            .iter()
            .filter(|dependent| !dependent.terminating)
            .map(|dependent| Action::DeleteDependent { index: dependent.index })
            .collect();
        if !item.dependents.iter().any(|dependent| dependent.blocks) {
            actions.push(item.without(FOREGROUND));
        }
        return Plan { actions, ..Plan::default() };
    }
    Plan::default()
}

/// Leaves an item these owners and no others.
fn keep_owners<'i>(item: &Item, owners: impl IntoIterator<Item = &'i OwnerReference>) -> Plan {
    let owners: Vec<_> = owners.into_iter().collect();
    let target = item.target();
    let mut metadata = target.patch_metadata();
    metadata["ownerReferences"] = if owners.is_empty() { Value::Null } else { json!(owners) };
    Plan { actions: vec![Action::Patch { item: target, patch: json!({"metadata": metadata}) }], ..Plan::default() }
}

fn judge_owners(item: &Item) -> Plan {
    if item.owners.is_empty() {
        return Plan::default();
    }
    let notes = item.owners.iter().filter(|(_, state)| *state == OwnerState::Unresolvable);
    let notes: Vec<Note> = notes.map(|(owner, _)| unresolvable(item, owner)).collect();
    let is = |state: OwnerState| item.owners.iter().any(|(_, found)| *found == state);
    if is(OwnerState::Revoked) {
        // The references that no longer count come off; the rest is judged when that is written.
        let counts = |state: &OwnerState| *state != OwnerState::Revoked;
        let stays = item.owners.iter().filter(|(_, state)| counts(state)).map(|(owner, _)| owner);
        return Plan { notes, ..keep_owners(item, stays) };
    }
    if is(OwnerState::Present) || is(OwnerState::Unresolvable) {
        // It has an owner that stays, or may have: references to the others come off (N-55).
        let stays: Vec<_> = item
            .owners
            .iter()
            .filter(|(_, state)| matches!(state, OwnerState::Present | OwnerState::Unresolvable))
            .map(|(owner, _)| owner)
            .collect();
        if stays.len() == item.owners.len() || !is(OwnerState::Present) {
            return Plan { notes, ..Plan::default() };
        }
        return Plan { notes, ..keep_owners(item, stays) };
    }
    let manner = if item.has(ORPHAN) {
        Manner::Orphan
    } else if item.has(FOREGROUND) || (is(OwnerState::WaitsForDependents) && !item.dependents.is_empty()) {
        Manner::Foreground
    } else {
        Manner::Background
    };
    Plan { actions: vec![Action::Delete { item: item.target(), manner }], ..Plan::default() }
}

/// What upstream says of an owner that is not where it can be one.
fn unresolvable(item: &Item, owner: &OwnerReference) -> Note {
    let OwnerReference { api_version, kind, name, uid, .. } = owner;
    let namespace = &item.namespace;
    let text = format!(
        "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace \
         \"{namespace}\""
    );
    Note::warning("OwnerRefInvalidNamespace", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn item(owners: &[OwnerState], finalizers: &[&str], terminating: bool, dependents: &[(bool, bool)]) -> Item {
        let owner = |index: usize| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "X".to_owned(),
            name: format!("o{index}"),
            uid: format!("u{index}"),
            controller: None,
            block_owner_deletion: None,
        };
        Item {
            namespace: "default".to_owned(),
            name: "item".to_owned(),
            uid: Uid("i".to_owned()),
            resource_version: ResourceVersion(3),
            terminating,
            finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
            owners: owners.iter().enumerate().map(|(index, state)| (owner(index), *state)).collect(),
            dependents: dependents
                .iter()
                .enumerate()
                .map(|(index, (blocks, terminating))| Dependent { index, blocks: *blocks, terminating: *terminating })
                .collect(),
        }
    }

    #[track_caller]
    fn check(item: &Item, expected: Expect) {
        let plan = plan(item);
        let mut lines: Vec<String> = plan
            .actions
            .iter()
            .map(|action| match action {
                Action::Delete { manner, .. } => format!("delete {manner:?}"),
                Action::Patch { patch, .. } => format!("patch {patch}"),
                Action::ReleaseDependent { index } => format!("release {index}"),
                Action::DeleteDependent { index } => format!("delete dependent {index}"),
            })
            .collect();
        lines.extend(plan.notes.iter().map(|note| format!("{}: {}", note.reason, note.message)));
        expected.assert_eq(&lines.join("\n"));
    }

    use OwnerState::{Absent, Present, Revoked, Unresolvable, WaitsForDependents};

    #[test]
    fn a_reference_that_the_policy_no_longer_asks_for_comes_off_instead_of_costing_the_data() {
        // S5.
        check(
            &item(&[Revoked], &[], false, &[]),
            expect![[r#"patch {"metadata":{"ownerReferences":null,"resourceVersion":"3","uid":"i"}}"#]],
        );
        check(
            &item(&[Revoked, Absent], &[], false, &[]),
            expect![[
                r#"patch {"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"X","name":"o1","uid":"u1"}],"resourceVersion":"3","uid":"i"}}"#
            ]],
        );
    }

    #[test]
    fn an_object_goes_only_when_every_owner_is_known_to_be_absent() {
        // N-56.
        check(&item(&[Absent], &[], false, &[]), expect!["delete Background"]);
        check(&item(&[Absent, Absent], &[], false, &[]), expect!["delete Background"]);
        check(&item(&[Present], &[], false, &[]), expect![""]);
        check(
            &item(&[Absent, Unresolvable], &[], false, &[]),
            expect![[
                r#"OwnerRefInvalidNamespace: ownerRef [v1/X, namespace: default, name: o1, uid: u1] does not exist in namespace "default""#
            ]],
        );
        check(
            &item(&[Unresolvable], &[], false, &[]),
            expect![[
                r#"OwnerRefInvalidNamespace: ownerRef [v1/X, namespace: default, name: o0, uid: u0] does not exist in namespace "default""#
            ]],
        );
        check(
            &item(&[Absent, Present, Unresolvable], &[], false, &[]),
            expect![[r#"
            patch {"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"X","name":"o1","uid":"u1"},{"apiVersion":"v1","kind":"X","name":"o2","uid":"u2"}],"resourceVersion":"3","uid":"i"}}
            OwnerRefInvalidNamespace: ownerRef [v1/X, namespace: default, name: o2, uid: u2] does not exist in namespace "default""#]],
        );
        check(&item(&[], &[], false, &[]), expect![""]);
    }

    /// S9, over every combination of up to three owners and both finalizers.
    #[test]
    fn nothing_goes_while_one_owner_may_be_there() {
        let states = [Absent, Present, Unresolvable, WaitsForDependents];
        let mut owners: Vec<Vec<OwnerState>> = vec![Vec::new()];
        for _ in 0..3 {
            let longer = owners.iter().flat_map(|some| states.map(|state| [&some[..], &[state]].concat()));
            owners = longer.chain(owners.clone()).collect();
        }
        for owners in owners {
            for finalizers in [&[][..], &[FOREGROUND], &[ORPHAN]] {
                let plan = plan(&item(&owners, finalizers, false, &[(true, false)]));
                let deletes = plan.actions.iter().any(|action| matches!(action, Action::Delete { .. }));
                let may_go = |state: &OwnerState| matches!(state, Absent | WaitsForDependents);
                assert_eq!(deletes, !owners.is_empty() && owners.iter().all(may_go), "{owners:?}");
            }
        }
    }

    #[test]
    fn references_to_absent_owners_come_off_while_a_real_one_stays() {
        // N-55.
        check(
            &item(&[Absent, Present], &[], false, &[]),
            expect![[
                r#"patch {"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"X","name":"o1","uid":"u1"}],"resourceVersion":"3","uid":"i"}}"#
            ]],
        );
    }

    #[test]
    fn foreground_deletion_goes_from_the_leaves_up() {
        // C-91.
        check(&item(&[WaitsForDependents], &[], false, &[]), expect!["delete Background"]);
        check(&item(&[WaitsForDependents], &[], false, &[(true, false)]), expect!["delete Foreground"]);
        let deleting = |dependents: &[(bool, bool)]| item(&[], &[FOREGROUND, "x"], true, dependents);
        check(
            &deleting(&[(true, false), (false, false), (true, true)]),
            expect![[r#"
            delete dependent 0
            delete dependent 1"#]],
        );
        check(&deleting(&[(true, true)]), expect![""]);
        check(
            &deleting(&[(false, false)]),
            expect![[r#"
            delete dependent 0
            patch {"metadata":{"finalizers":["x"],"resourceVersion":"3","uid":"i"}}"#]],
        );
    }

    #[test]
    fn orphan_deletion_lets_go_of_dependents_first() {
        // C-92.
        check(&item(&[], &[ORPHAN], true, &[(true, false)]), expect!["release 0"]);
        check(
            &item(&[], &[ORPHAN], true, &[]),
            expect![[r#"patch {"metadata":{"finalizers":[],"resourceVersion":"3","uid":"i"}}"#]],
        );
    }

    #[test]
    fn an_object_that_is_being_deleted_already_is_left_alone() {
        check(&item(&[Absent], &["x"], true, &[(true, false)]), expect![""]);
    }
}
