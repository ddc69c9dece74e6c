//! Where objects lie in the store: `/registry/<group or core>/<resource>/[<namespace>/]<name>`.
//!
//! The order of keys is the order of lists: by namespace, then by name (V-61).

use api::Kind;
use store_core::Key;

const ROOT: &str = "/registry/";

/// The prefix of every object of a kind.
pub fn kind_prefix(kind: &Kind) -> String {
    let storage = kind.storage();
    let group = if storage.group.is_empty() { "core" } else { &storage.group };
    format!("{ROOT}{group}/{}/", storage.resource)
}

/// The prefix of the objects of a kind in one namespace, or in all of them.
pub fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let mut prefix = kind_prefix(kind);
    if let Some(namespace) = namespace.filter(|_| kind.is_namespaced()) {
        prefix.push_str(namespace);
        prefix.push('/');
    }
    prefix
}

/// The key of one object.
pub fn object(kind: &Kind, namespace: Option<&str>, name: &str) -> Key {
    let mut key = prefix(kind, namespace);
    key.push_str(name);
    Key::from(key)
}

#[cfg(test)]
mod tests {
    use super::{object, prefix};

    fn key(resource: &meta::ResourceId, namespace: Option<&str>, name: &str) -> String {
        let def = apiserver_core::kinds::by_resource(resource).unwrap();
        object(&def.kind, namespace, name).to_string()
    }

    #[test]
    fn keys_name_group_resource_namespace_and_name() {
        assert_eq!(key(&api::resources::PODS, Some("a"), "b"), "/registry/core/pods/a/b");
        assert_eq!(key(&api::resources::NODES, None, "n"), "/registry/core/nodes/n");
        assert_eq!(key(&api::resources::STATEFUL_SETS, Some("a"), "b"), "/registry/apps/statefulsets/a/b");
    }

    #[test]
    fn both_groups_of_events_lie_in_one_place() {
        assert_eq!(key(&api::resources::EVENTS_V1, Some("a"), "b"), key(&api::resources::EVENTS, Some("a"), "b"));
    }

    #[test]
    fn a_namespace_does_not_reach_into_one_with_a_longer_name() {
        let pods = apiserver_core::kinds::by_resource(&api::resources::PODS).unwrap();
        assert!(!key(&api::resources::PODS, Some("ab"), "c").starts_with(&prefix(&pods.kind, Some("a"))));
    }
}
