//! Which pods a rule means: terms of pod affinity, and constraints of topology spread, read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PodAffinity, PodAffinityTerm, PodAntiAffinity, PodSpec, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;
use meta::LabelSelector;
use meta::selector::Requirement;

use crate::facts::PodFacts;

/// Labels of the namespaces that are known.
pub(crate) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// A set of pods: those that meet every one of its parts.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct PodSet {
    parts: Vec<Part>,
    /// Equal for equal sets: under it their counts are kept.
    pub(crate) key: Arc<str>,
}

#[derive(Clone, PartialEq, Debug)]
struct Part {
    selector: LabelSelector,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    /// Pods that are being deleted count, too.
    with_terminating: bool,
}

impl PodSet {
    fn of(parts: Vec<Part>) -> Self {
        let text = |part: &Part| {
            let selector = |selector: &LabelSelector| {
                if selector.selects_nothing() { "none".to_owned() } else { format!("({selector})") }
            };
            let everywhere = part.namespace_selector.as_ref().map(selector);
            let Part { namespaces, with_terminating, .. } = part;
            format!("{namespaces:?}|{everywhere:?}|{}|{with_terminating}", selector(&part.selector))
        };
        let key = parts.iter().map(text).collect::<Vec<_>>().join("&").into();
        Self { parts, key }
    }

    pub(crate) fn selects(&self, pod: &PodFacts, namespaces: &Namespaces) -> bool {
        self.parts.iter().all(|part| part.selects(pod, namespaces))
    }

    /// Whether it depends on the labels of namespaces.
    pub(crate) fn reads_namespaces(&self) -> bool {
        self.parts.iter().any(|part| part.namespace_selector.is_some())
    }

    /// The pods that every one of these terms means.
    pub(crate) fn all_of(terms: &[PodTerm]) -> Self {
        Self::of(terms.iter().flat_map(|term| term.pods.parts.iter().cloned()).collect())
    }
}

impl Part {
    fn selects(&self, pod: &PodFacts, namespaces: &Namespaces) -> bool {
        let namespace = &pod.key.namespace;
        let is_meant = || {
            let selector = self.namespace_selector.as_ref();
            selector.is_some_and(|selector| {
                selector.selects_everything()
                    || namespaces.get(namespace).is_some_and(|labels| selector.matches(labels))
            })
        };
        (self.with_terminating || !pod.is_deleting)
            && (self.namespaces.contains(namespace) || is_meant())
            && self.selector.matches(&pod.labels)
    }
}

/// A term of pod affinity or anti-affinity.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct PodTerm {
    pub(crate) topology_key: String,
    pub(crate) pods: PodSet,
}

impl PodTerm {
    fn of(term: &PodAffinityTerm, pod: &Owner<'_>) -> Self {
        let listed = term.namespaces.clone().unwrap_or_default();
        let namespace_selector = term.namespace_selector.as_ref().map(|selector| read(Some(selector)));
        let is_own = listed.is_empty() && namespace_selector.is_none();
        let mut selector = read(term.label_selector.as_ref());
        selector = with_labels(selector, term.match_label_keys.as_deref(), pod.labels, "In");
        selector = with_labels(selector, term.mismatch_label_keys.as_deref(), pod.labels, "NotIn");
        let namespaces = if is_own { vec![pod.namespace.to_owned()] } else { listed };
        let part = Part { selector, namespaces, namespace_selector, with_terminating: true };
        Self { topology_key: term.topology_key.clone(), pods: PodSet::of(vec![part]) }
    }
}

/// The pod whose spec is read.
struct Owner<'a> {
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
}

/// One topology spread constraint.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Spread {
    pub(crate) topology_key: String,
    pub(crate) skew_max: i64,
    /// `DoNotSchedule`; otherwise it is only a wish.
    pub(crate) is_required: bool,
    pub(crate) domains_min: i64,
    /// Only nodes that the pod's node selector and affinity allow count (`nodeAffinityPolicy`).
    pub(crate) honors_affinity: bool,
    /// Only nodes whose taints the pod tolerates count (`nodeTaintsPolicy`).
    pub(crate) honors_taints: bool,
    pub(crate) pods: PodSet,
}

impl Spread {
    fn of(constraint: &TopologySpreadConstraint, pod: &Owner<'_>) -> Self {
        let selector = read(constraint.label_selector.as_ref());
        let selector = with_labels(selector, constraint.match_label_keys.as_deref(), pod.labels, "In");
        let namespaces = vec![pod.namespace.to_owned()];
        let part = Part { selector, namespaces, namespace_selector: None, with_terminating: false };
        Self {
            topology_key: constraint.topology_key.clone(),
            skew_max: i64::from(constraint.max_skew),
            is_required: constraint.when_unsatisfiable == "DoNotSchedule",
            domains_min: i64::from(constraint.min_domains.unwrap_or(1)),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
            pods: PodSet::of(vec![part]),
        }
    }
}

/// What a pod wants of its neighbours.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Neighbours {
    /// Required affinity.
    pub(crate) near: Vec<PodTerm>,
    /// The pods that all of `near` mean.
    pub(crate) near_all: Option<PodSet>,
    /// Required anti-affinity.
    pub(crate) apart: Vec<PodTerm>,
    /// Preferred affinity, and with negative weights anti-affinity.
    pub(crate) wishes: Vec<(i64, PodTerm)>,
    pub(crate) spread: Vec<Spread>,
}

impl Neighbours {
    /// Reads them; `None` if there are none.
    pub(crate) fn of(spec: &PodSpec, namespace: &str, labels: &BTreeMap<String, String>) -> Option<Arc<Self>> {
        let owner = Owner { namespace, labels };
        let affinity = spec.affinity.as_ref();
        let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let terms = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<PodTerm> {
            terms.into_iter().flatten().map(|term| PodTerm::of(term, &owner)).collect()
        };
        let wish = |sign: i64, terms: Option<&Vec<_>>| -> Vec<(i64, PodTerm)> {
            let terms: Option<&Vec<k8s_openapi::api::core::v1::WeightedPodAffinityTerm>> = terms;
            let terms = terms.into_iter().flatten();
            terms.map(|term| (sign * i64::from(term.weight), PodTerm::of(&term.pod_affinity_term, &owner))).collect()
        };
        let required = |near: &PodAffinity| near.required_during_scheduling_ignored_during_execution.clone();
        let forbidden = |apart: &PodAntiAffinity| apart.required_during_scheduling_ignored_during_execution.clone();
        let near_terms = terms(near.and_then(required).as_ref());
        let mut wishes =
            wish(1, near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_ref()));
        wishes.extend(wish(
            -1,
            apart.and_then(|apart| apart.preferred_during_scheduling_ignored_during_execution.as_ref()),
        ));
        let constraints = spec.topology_spread_constraints.iter().flatten();
        let neighbours = Self {
            near_all: (!near_terms.is_empty()).then(|| PodSet::all_of(&near_terms)),
            near: near_terms,
            apart: terms(apart.and_then(forbidden).as_ref()),
            wishes,
            spread: constraints.map(|constraint| Spread::of(constraint, &owner)).collect(),
        };
        (neighbours != Self::default()).then(|| Arc::new(neighbours))
    }

    /// Every set of pods whose places it asks for.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &PodSet> {
        let terms = self.apart.iter().chain(self.wishes.iter().map(|(_, term)| term));
        terms.map(|term| &term.pods).chain(self.spread.iter().map(|spread| &spread.pods)).chain(&self.near_all)
    }
}

fn read(selector: Option<&metav1::LabelSelector>) -> LabelSelector {
    let tree = serde_json::to_value(selector).unwrap_or_default();
    LabelSelector::from_object(&tree).unwrap_or_else(|_| LabelSelector::nothing())
}

/// Adds the pod's own values of some labels; a label that it does not have adds nothing.
fn with_labels(
    selector: LabelSelector,
    keys: Option<&[String]>,
    labels: &BTreeMap<String, String>,
    operator: &str,
) -> LabelSelector {
    let of_key = |key: &String| LabelSelector::expression(key, operator, vec![labels.get(key)?.clone()]).ok();
    let more: Vec<Requirement> = keys.unwrap_or_default().iter().filter_map(of_key).collect();
    if selector.selects_nothing() || more.is_empty() {
        return selector;
    }
    LabelSelector::of(selector.requirements().iter().cloned().chain(more).collect())
}
