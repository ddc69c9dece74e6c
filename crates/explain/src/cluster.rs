//! Objects as they were read, to be looked at from all sides.

use std::collections::BTreeMap;
use std::fmt;

use controllers_core::stateful_set::{CLUSTER_NAMESPACE, HEAL_ROLLOUT, HealRollout};
use meta::Timestamp;
use serde_json::Value;

/// Which object: kind as in manifests, namespace (empty for those of the cluster) and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ref {
    /// Kind, for example `StatefulSet`.
    pub kind: String,
    /// Namespace; empty if the kind has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Ref {
    /// A reference.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The object's own reference.
    pub fn of(object: &Value) -> Self {
        Self::new(text(object, "/kind"), text(object, "/metadata/namespace"), text(object, "/metadata/name"))
    }
}

/// `statefulset/redis`, as it is typed after `kubectl get`.
impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// Objects of one moment. Every object carries its `kind`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cluster {
    objects: BTreeMap<Ref, Value>,
}

impl Cluster {
    /// Puts an object in; one of the same kind, namespace and name is replaced.
    pub fn insert(&mut self, object: Value) {
        self.objects.insert(Ref::of(&object), object);
    }

    /// Takes an object out.
    pub fn remove(&mut self, which: &Ref) -> Option<Value> {
        self.objects.remove(which)
    }

    /// The object, if it is here.
    pub fn get(&self, which: &Ref) -> Option<&Value> {
        self.objects.get(which)
    }

    /// The object, to be changed.
    pub fn get_mut(&mut self, which: &Ref) -> Option<&mut Value> {
        self.objects.get_mut(which)
    }

    /// All objects of a kind in a namespace, by name.
    pub fn list<'a>(&'a self, kind: &str, namespace: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let first = Ref::new(kind, namespace, "");
        self.objects
            .range(first.clone()..)
            .take_while(move |(found, _)| found.kind == first.kind && found.namespace == first.namespace)
            .map(|(_, object)| object)
    }

    /// Whether rollouts of sets that say nothing about it are healed, as the server tells; `Off` if it does not.
    pub fn heal_rollout(&self) -> HealRollout {
        let told = self.get(&Ref::new("Namespace", "", CLUSTER_NAMESPACE));
        let word = told.and_then(|namespace| namespace["metadata"]["annotations"][HEAL_ROLLOUT].as_str());
        word.and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    /// The newest event about an object among those that `wanted` says yes to.
    pub fn event(&self, about: &Ref, wanted: impl Fn(&Value) -> bool) -> Option<&Value> {
        self.list("Event", &about.namespace)
            .filter(|event| {
                text(event, "/involvedObject/kind") == about.kind && text(event, "/involvedObject/name") == about.name
            })
            .filter(|event| wanted(event))
            .max_by_key(|event| event_time(event))
    }
}

/// When an event happened last.
pub(crate) fn event_time(event: &Value) -> Timestamp {
    ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"]
        .iter()
        .find_map(|path| time(event, path))
        .unwrap_or(Timestamp::MIN)
}

/// The text at a path; empty if there is none.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a path; 0 if there is none.
pub(crate) fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or_default()
}

/// The list at a path; empty if there is none.
pub(crate) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The moment at a path.
pub(crate) fn time(object: &Value, path: &str) -> Option<Timestamp> {
    text(object, path).parse().ok()
}

/// The condition of this type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

/// Its deletion has begun.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Failed or Succeeded: a pod that will not run again.
pub(crate) fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
}

/// Whether the condition of this type is True.
pub(crate) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}
