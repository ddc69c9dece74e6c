//! Node selectors, taints: does a node fit what a pod or a volume asks of its labels?

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration, TopologySelectorTerm,
};

use meta::placement::Tolerated;

use crate::facts::NodeFacts;

/// True if one of the terms fits; a selector without terms fits nothing.
pub(crate) fn selector_fits(selector: &NodeSelector, node: &NodeFacts) -> bool {
    selector.node_selector_terms.iter().any(|term| term_fits(term, node))
}

/// True if every requirement of the term holds; an empty term fits nothing.
pub(crate) fn term_fits(term: &NodeSelectorTerm, node: &NodeFacts) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name.clone())]);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, &node.labels))
        && fields.iter().all(|requirement| holds(requirement, &name))
}

fn holds(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let value = labels.get(&requirement.key);
    meta::placement::holds(&requirement.operator, values, value.map(String::as_str))
}

/// True if the node stands in one of the topologies of a storage class; without any it does.
pub(crate) fn topology_fits(topologies: &[TopologySelectorTerm], node: &NodeFacts) -> bool {
    let term_fits = |term: &TopologySelectorTerm| {
        let labels = term.match_label_expressions.as_deref().unwrap_or_default();
        labels.iter().all(|label| node.labels.get(&label.key).is_some_and(|value| label.values.contains(value)))
    };
    topologies.is_empty() || topologies.iter().any(term_fits)
}

/// True if the toleration is for that taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let (key, operator) = (text(&toleration.key), text(&toleration.operator));
    let (value, effect) = (text(&toleration.value), text(&toleration.effect));
    let wanted = Tolerated { key: &key, operator: &operator, value: &value, effect: &effect };
    wanted.covers(&taint.key, taint.value.as_deref().unwrap_or_default(), &taint.effect)
}

/// The first taint with one of the effects that nothing tolerates.
pub(crate) fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    let counts = |taint: &&Taint| effects.contains(&taint.effect.as_str());
    taints.iter().filter(counts).find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}
