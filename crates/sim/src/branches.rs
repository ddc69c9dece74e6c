//! The planner's branches, by name: every wait, action and reason that it has.

use controllers_core::stateful_set::{Action, Fact, Plan, Step, Why};

use crate::coverage::Coverage;

const ACTIONS: [&str; 19] = [
    "ConfirmSet",
    "AdoptRevision",
    "AdoptPod",
    "ReleasePod",
    "CreateRevision",
    "RenumberRevision",
    "AnnotateRevision",
    "DeleteRevision",
    "CreateClaim",
    "SetClaimOwners",
    "CreatePod",
    "RepairPod",
    "DeletePod (Ended)",
    "DeletePod (ScaledDown)",
    "DeletePod (Outdated)",
    "DeletePod (NeverReady)",
    "RollBack",
    "ReleaseSet",
    "WriteStatus",
];
const WAITS: [&str; 15] = [
    "NotReady",
    "NotAvailable",
    "Terminating",
    "EndedEarly",
    "Missing",
    "BudgetSpent",
    "OnDelete",
    "Partition",
    "ClaimTerminating",
    "ClaimStale",
    "NameTaken",
    "StorageMismatch",
    "Adoption",
    "RollingBack",
    "SetDeleted",
];
const STEPS: [&str; 6] = ["Create", "Replace", "ScaleDown", "Update", "Settle", "All"];
/// Reasons of the events that the planner and its shell write.
const EVENTS: [&str; 11] = [
    "SuccessfulCreate",
    "FailedCreate",
    "SuccessfulDelete",
    "FailedDelete",
    "SuccessfulUpdate",
    "FailedUpdate",
    "ServiceNotFound",
    "RolloutHealed",
    "RolledBack",
    "FailedRollback",
    "RollbackImpossible",
];

/// Declares all of them.
pub fn declare(coverage: &mut Coverage) {
    coverage.declare("planner action", &ACTIONS);
    coverage.declare("planner wait", &WAITS);
    coverage.declare("planner step that waits", &STEPS);
    coverage.declare("set event", &EVENTS);
}

fn action(action: &Action) -> &'static str {
    match action {
        Action::ConfirmSet { .. } => "ConfirmSet",
        Action::AdoptRevision { .. } => "AdoptRevision",
        Action::AdoptPod { .. } => "AdoptPod",
        Action::ReleasePod { .. } => "ReleasePod",
        Action::CreateRevision { .. } => "CreateRevision",
        Action::RenumberRevision { .. } => "RenumberRevision",
        Action::AnnotateRevision { .. } => "AnnotateRevision",
        Action::DeleteRevision { .. } => "DeleteRevision",
        Action::CreateClaim { .. } => "CreateClaim",
        Action::SetClaimOwners { .. } => "SetClaimOwners",
        Action::CreatePod { .. } => "CreatePod",
        Action::RepairPod { .. } => "RepairPod",
        Action::DeletePod { why: Why::Ended, .. } => "DeletePod (Ended)",
        Action::DeletePod { why: Why::ScaledDown, .. } => "DeletePod (ScaledDown)",
        Action::DeletePod { why: Why::Outdated, .. } => "DeletePod (Outdated)",
        Action::DeletePod { why: Why::NeverReady, .. } => "DeletePod (NeverReady)",
        Action::RollBack { .. } => "RollBack",
        Action::ReleaseSet { .. } => "ReleaseSet",
        Action::WriteStatus { .. } => "WriteStatus",
    }
}

fn fact(fact: &Fact) -> &'static str {
    match fact {
        Fact::NotReady(_) => "NotReady",
        Fact::NotAvailable(..) => "NotAvailable",
        Fact::Terminating(_) => "Terminating",
        Fact::EndedEarly(..) => "EndedEarly",
        Fact::Missing(_) => "Missing",
        Fact::BudgetSpent { .. } => "BudgetSpent",
        Fact::OnDelete(_) => "OnDelete",
        Fact::Partition(_) => "Partition",
        Fact::ClaimTerminating(_) => "ClaimTerminating",
        Fact::ClaimStale(_) => "ClaimStale",
        Fact::NameTaken(_) => "NameTaken",
        Fact::StorageMismatch(_) => "StorageMismatch",
        Fact::Adoption => "Adoption",
        Fact::RollingBack => "RollingBack",
        Fact::SetDeleted => "SetDeleted",
    }
}

fn step(step: &Step) -> &'static str {
    match step {
        Step::Create(_) => "Create",
        Step::Replace(_) => "Replace",
        Step::ScaleDown(_) => "ScaleDown",
        Step::Update(_) => "Update",
        Step::Settle(_) => "Settle",
        Step::All => "All",
    }
}

/// Counts what a plan reaches.
pub fn count(plan: &Plan, coverage: &mut Coverage) {
    for one in plan.actions() {
        coverage.count("planner action", action(one));
    }
    for wait in &plan.waits {
        coverage.count("planner wait", fact(&wait.on));
        coverage.count("planner step that waits", step(&wait.step));
    }
}
