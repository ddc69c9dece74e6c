//! What a walk draws: the set that it starts from, edits of one or several fields, and what comes between.

use api::resources::*;
use meta::ResourceId;
use serde_json::{Value, json};

use crate::bed::set;

/// A small generator, so that a seed names a walk.
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// What happens to a cluster that stands still before its set is edited, while no controller looks.
#[derive(Clone, Copy, Debug)]
pub enum Mishap {
    /// Somebody deletes a pod.
    PodDeleted,
    /// Somebody deletes a claim; its pod keeps it for as long as it runs.
    ClaimDeleted,
    /// A pod's containers end.
    PodEnded,
}

impl Mishap {
    /// Whom it happens to.
    pub fn resource(self) -> ResourceId {
        match self {
            Self::PodDeleted | Self::PodEnded => PODS,
            Self::ClaimDeleted => PERSISTENT_VOLUME_CLAIMS,
        }
    }
}

/// The set that a walk starts from.
pub fn first_set(policy: &str, dice: &mut Dice) -> Value {
    let mut first = set(3, "v0", dice.one_in(2));
    first["spec"]["podManagementPolicy"] = json!(policy);
    merge(&mut first, &strategy(dice));
    merge(&mut first, &retention(dice));
    first
}

/// A merge patch that changes one to three fields of a set.
pub fn edit(dice: &mut Dice) -> Value {
    let mut patch = json!({});
    for _ in 0..dice.pick(&[1, 1, 2, 3]) {
        let one = one_field(dice);
        merge(&mut patch, &one);
    }
    patch
}

fn one_field(dice: &mut Dice) -> Value {
    match dice.below(16) {
        0..3 => json!({"spec": {"replicas": dice.below(5)}}),
        3..6 => image(&format!("v{}", dice.below(3))),
        6 => image("broken"),
        7..9 => strategy(dice),
        9 => json!({"spec": {"minReadySeconds": dice.pick(&[0, 0, 1])}}),
        10 => json!({"spec": {"ordinals": {"start": dice.below(3)}}}),
        11 => retention(dice),
        12 => json!({"spec": {"revisionHistoryLimit": dice.below(3)}}),
        13 => json!({"spec": {"template": {"metadata": {"annotations": {"restarted": dice.below(3).to_string()}}}}}),
        14 => words(dice),
        _ => heal_rollout(dice),
    }
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn strategy(dice: &mut Dice) -> Value {
    if dice.one_in(4) {
        return json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    }
    let max_unavailable = match dice.below(5) {
        0 => json!(null),
        1 => json!(1),
        2 => json!(2),
        3 => json!("30%"),
        _ => json!("70%"),
    };
    let block = json!({"partition": dice.pick(&[0, 0, 1, 2]), "maxUnavailable": max_unavailable});
    json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": block}}})
}

fn retention(dice: &mut Dice) -> Value {
    let [scaled, deleted] = [(); 2].map(|()| dice.pick(&["Retain", "Delete"]));
    json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}}})
}

/// What the planner does not read.
fn words(dice: &mut Dice) -> Value {
    let part = dice.pick(&["labels", "annotations"]);
    json!({"metadata": {part: {"team": dice.below(3).to_string()}}})
}

fn heal_rollout(dice: &mut Dice) -> Value {
    let word = dice.pick(&[Some("never-ready"), Some("never-ready"), Some("off"), None]);
    json!({"metadata": {"annotations": {controllers_core::stateful_set::HEAL_ROLLOUT: word}}})
}

/// Lays one merge patch over another: a later word about a field replaces an earlier one.
fn merge(below: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *below = patch.clone();
        return;
    };
    if !below.is_object() {
        *below = json!({});
    }
    for (name, value) in fields {
        merge(&mut below[name], value);
    }
}
