//! The end of a namespace: its content goes, then its finalizer; conditions say what is in the way (L5).

use std::collections::BTreeMap;

use meta::{ResourceId, Timestamp};
use serde_json::{Value, json};

/// Finalizer in `spec.finalizers` of every namespace.
pub const FINALIZER: &str = "kubernetes";

/// What remains of one resource in a namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remains {
    /// Objects.
    pub count: usize,
    /// How many of them each finalizer holds.
    pub finalizers: BTreeMap<String, usize>,
}

/// A namespace that is being deleted.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// `spec.finalizers`.
    pub finalizers: &'a [String],
    /// `status.conditions`.
    pub conditions: &'a [Value],
    /// What is there, after everything was asked to go.
    pub remains: &'a BTreeMap<ResourceId, Remains>,
    /// Errors of the deletions.
    pub errors: &'a [String],
}

/// What to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// `status.conditions` to write, if they differ.
    pub conditions: Option<Vec<Value>>,
    /// `spec.finalizers` to write through `/finalize`: nothing is left.
    pub finalize: Option<Vec<String>>,
}

/// Decides whether the namespace may go, and says what is in the way if not.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let left: Vec<_> = view.remains.iter().filter(|(_, remains)| remains.count > 0).collect();
    if left.is_empty() && view.errors.is_empty() {
        let rest: Vec<_> = view.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        let finalize = (rest.len() != view.finalizers.len()).then_some(rest);
        return Plan { conditions: None, finalize };
    }
    let counts: Vec<_> = left
        .iter()
        .map(|(resource, remains)| format!("{} has {} resource instances", dotted(resource), remains.count))
        .collect();
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in left.iter().flat_map(|(_, remains)| &remains.finalizers) {
        *held.entry(finalizer).or_default() += count;
    }
    let holders: Vec<_> = held.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        if view.errors.is_empty() {
            (
                "NamespaceDeletionContentFailure",
                "False",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization".to_owned(),
            )
        } else {
            (
                "NamespaceDeletionContentFailure",
                "True",
                "ContentDeletionFailed",
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    view.errors.len(),
                    view.errors.join(", ")
                ),
            )
        },
        if counts.is_empty() {
            ("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed".to_owned())
        } else {
            (
                "NamespaceContentRemaining",
                "True",
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", counts.join(", ")),
            )
        },
        if holders.is_empty() {
            (
                "NamespaceFinalizersRemaining",
                "False",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished".to_owned(),
            )
        } else {
            (
                "NamespaceFinalizersRemaining",
                "True",
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {}", holders.join(", ")),
            )
        },
    ];
    let conditions: Vec<Value> = wanted.iter().map(|wanted| condition(view.conditions, wanted, now)).collect();
    let same = conditions.iter().all(|condition| view.conditions.contains(condition));
    Plan { conditions: (!same).then_some(conditions), finalize: None }
}

/// `pods.`, `statefulsets.apps`: how upstream names a resource here.
fn dotted(resource: &ResourceId) -> String {
    format!("{}.{}", resource.resource, resource.group)
}

fn condition(found: &[Value], wanted: &(&str, &str, &str, String), now: Timestamp) -> Value {
    let (kind, status, reason, message) = wanted;
    let old = found.iter().find(|condition| condition["type"] == *kind && condition["status"] == *status);
    let since = old.map_or_else(
        || json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        |condition| condition["lastTransitionTime"].clone(),
    );
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn remains(text: &[(&'static str, usize, &[&str])]) -> BTreeMap<ResourceId, Remains> {
        text.iter()
            .map(|(resource, count, finalizers)| {
                let finalizers = finalizers.iter().map(|name| ((*name).to_owned(), *count)).collect();
                (ResourceId::of("", "v1", resource), Remains { count: *count, finalizers })
            })
            .collect()
    }

    fn planned(remains: &BTreeMap<ResourceId, Remains>, conditions: &[Value], errors: &[String]) -> Plan {
        let finalizers = [FINALIZER.to_owned(), "example.com/x".to_owned()];
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        plan(&View { finalizers: &finalizers, conditions, remains, errors }, now)
    }

    #[test]
    fn an_empty_namespace_loses_our_finalizer_only() {
        let plan = planned(&remains(&[("pods", 0, &[])]), &[], &[]);
        assert_eq!(plan, Plan { conditions: None, finalize: Some(vec!["example.com/x".to_owned()]) });
    }

    #[test]
    fn conditions_name_what_is_in_the_way_and_are_written_once() {
        let remains = remains(&[("pods", 2, &["example.com/hold"]), ("secrets", 0, &[])]);
        let plan = planned(&remains, &[], &[]);
        assert_eq!(plan.finalize, None);
        let conditions = plan.conditions.unwrap();
        let text: Vec<_> =
            conditions.iter().map(|c| format!("{} {} {}", c["type"], c["status"], c["message"])).collect();
        expect![[r#"
            "NamespaceDeletionDiscoveryFailure" "False" "All resources successfully discovered"
            "NamespaceDeletionGroupVersionParsingFailure" "False" "All legacy kube types successfully parsed"
            "NamespaceDeletionContentFailure" "False" "All content successfully deleted, may be waiting on finalization"
            "NamespaceContentRemaining" "True" "Some resources are remaining: pods. has 2 resource instances"
            "NamespaceFinalizersRemaining" "True" "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances""#]]
        .assert_eq(&text.join("\n"));
        assert_eq!(planned(&remains, &conditions, &[]), Plan::default());
    }

    #[test]
    fn a_namespace_stays_while_something_could_not_be_deleted() {
        let plan = planned(&remains(&[]), &[], &["pods: no".to_owned()]);
        assert_eq!(plan.finalize, None);
        assert!(plan.conditions.is_some());
    }
}
