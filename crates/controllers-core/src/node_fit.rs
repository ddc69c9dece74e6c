//! Whether a node is one that a pod asks for: node selector, required node affinity, taints.

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};
use meta::placement::{Tolerated, holds};

/// `spec.nodeSelector` and the required node affinity.
pub fn is_asked_for(spec: &PodSpec, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| selector_fits(required, node))
}

/// One of the terms fits; a selector without terms fits nothing.
fn selector_fits(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_fits(term, node))
}

/// Every requirement of the term holds; an empty term fits nothing.
fn term_fits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let meets = |requirement: &NodeSelectorRequirement, value: Option<&String>| {
        holds(&requirement.operator, requirement.values.as_deref().unwrap_or_default(), value.map(String::as_str))
    };
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let field = |key: &str| node.metadata.name.as_ref().filter(|_| key == "metadata.name");
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| meets(requirement, label(&requirement.key)))
        && fields.iter().all(|requirement| meets(requirement, field(&requirement.key)))
}

/// The first taint with one of the effects that the pod does not tolerate.
pub fn untolerated<'n>(spec: &PodSpec, node: &'n Node, effects: &[&str]) -> Option<&'n Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut counted = taints.filter(|taint| effects.contains(&taint.effect.as_str()));
    counted.find(|taint| !spec.tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint)))
}

/// Whether a toleration is for a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let wanted = Tolerated {
        key: toleration.key.as_deref().unwrap_or_default(),
        operator: toleration.operator.as_deref().unwrap_or_default(),
        value: toleration.value.as_deref().unwrap_or_default(),
        effect: toleration.effect.as_deref().unwrap_or_default(),
    };
    wanted.covers(&taint.key, taint.value.as_deref().unwrap_or_default(), &taint.effect)
}
