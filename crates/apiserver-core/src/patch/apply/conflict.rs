//! Conflicts between managers and how they are told (P-45).

use std::fmt::Write as _;

use meta::{Cause, Reason, ResourceId, Status};

use crate::patch::fields::FieldSet;
use crate::patch::managed::{Entry, Managers, Operation};

/// Fields that the apply would take from other managers.
#[derive(Clone, Debug)]
pub(super) struct Conflicts(Vec<(Entry, FieldSet)>);

impl Conflicts {
    /// What each manager but the writer would lose.
    pub(super) fn of(managers: &Managers, own: Option<usize>, changed: &FieldSet) -> Self {
        let others = managers.0.iter().enumerate().filter(|(index, _)| Some(*index) != own);
        let mut lost: Vec<(Entry, FieldSet)> = others
            .map(|(_, entry)| (entry.clone(), entry.fields.set().intersection(changed)))
            .filter(|(_, set)| !set.is_empty())
            .collect();
        lost.sort_by_cached_key(|(entry, _)| printed(entry));
        Self(lost)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conflicts that are not in a set.
    pub(super) fn without(mut self, allowed: &FieldSet) -> Self {
        for (_, set) in &mut self.0 {
            set.subtract(allowed);
        }
        self.0.retain(|(_, set)| !set.is_empty());
        self
    }

    /// 409 with one cause for each field, in upstream's words.
    pub(super) fn into_status(self, resource: &ResourceId, name: &str) -> Status {
        let mut causes = Vec::new();
        let mut lines = Vec::new();
        for (entry, set) in &self.0 {
            let manager = printed(entry);
            lines.push(format!("conflicts with {manager}:"));
            for path in set.paths() {
                lines.push(format!("- {path}"));
                causes.push(Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    message: format!("conflict with {manager}"),
                    field: path,
                });
            }
        }
        let message = match causes.as_slice() {
            [only] => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
            several => format!("Apply failed with {} conflicts: {}", several.len(), lines.join("\n")),
        };
        let mut status = Status::new(Reason::Conflict, message).about(resource, name);
        status.details.get_or_insert_default().causes = causes;
        status
    }
}

/// A manager as the texts name it: `"kubectl" with subresource "scale" using apps/v1`.
fn printed(entry: &Entry) -> String {
    let mut text = format!("{:?}", entry.manager);
    // Writing to a string cannot fail.
    if !entry.subresource.is_empty() {
        let _ = write!(text, " with subresource {:?}", entry.subresource);
    }
    if entry.operation == Operation::Update {
        let _ = write!(text, " using {}", entry.api_version);
    }
    text
}
