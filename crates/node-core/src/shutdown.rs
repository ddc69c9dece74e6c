//! In which order a node's pods stop when the node shuts down (`down`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use meta::Uid;

/// The UIDs of the pods in groups: the pods of a StatefulSet form a chain that stops from the highest ordinal down, one
/// after the other; all chains stop side by side. Every other pod is a chain of its own.
pub fn chains<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Vec<Vec<Uid>> {
    let mut sets: BTreeMap<String, Vec<(u64, Uid)>> = BTreeMap::new();
    for pod in pods {
        let uid = Uid(pod.metadata.uid.clone().unwrap_or_default());
        let owners = pod.metadata.owner_references.iter().flatten();
        let set = owners.into_iter().find(|owner| owner.controller == Some(true) && owner.kind == "StatefulSet");
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let ordinal = name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok()).unwrap_or(0);
        let chain = set.map_or_else(|| format!("pod/{uid}"), |set| format!("set/{}", set.uid));
        sets.entry(chain).or_default().push((ordinal, uid));
    }
    let sort = |mut chain: Vec<(u64, Uid)>| {
        chain.sort_by(|a, b| b.cmp(a));
        chain.into_iter().map(|(_, uid)| uid).collect()
    };
    sets.into_values().map(sort).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

    use super::*;

    fn pod(name: &str, set: Option<&str>) -> Pod {
        let owner = set.map(|uid| OwnerReference {
            kind: "StatefulSet".to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(name.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    #[test]
    fn a_set_stops_from_the_highest_ordinal_down_beside_the_others() {
        let pods = [pod("a-0", Some("a")), pod("a-10", Some("a")), pod("a-9", Some("a")), pod("bare", None)];
        let text: Vec<Vec<String>> =
            chains(&pods).into_iter().map(|chain| chain.into_iter().map(|uid| uid.0).collect()).collect();
        assert_eq!(text, [vec!["bare"], vec!["a-10", "a-9", "a-0"]]);
    }
}
