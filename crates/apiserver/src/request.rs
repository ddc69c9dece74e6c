//! What a request is about, read from its method and path alone.

use http::Method;

/// What a method and path mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A resource of an API group.
    Resource(ResourcePath),
    /// Anything else: discovery, health, version. Holds the path without a trailing slash.
    Other(String),
}

/// The resource that a path names (D-2).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ResourcePath {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group.
    pub version: String,
    /// Plural resource name.
    pub resource: String,
    /// Namespace in the path.
    pub namespace: Option<String>,
    /// Object name in the path.
    pub name: Option<String>,
    /// Subresource in the path.
    pub subresource: Option<String>,
    /// The deprecated `/watch/` prefix was there (D-3).
    pub watch_prefix: bool,
}

/// Reads a path (D-2, D-3). Total: every text gives an answer.
pub fn parse_path(path: &str) -> Target {
    resource_path(path).map_or_else(
        || Target::Other(if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path.to_owned() }),
        Target::Resource,
    )
}

fn resource_path(path: &str) -> Option<ResourcePath> {
    let mut segments = path.strip_prefix('/')?.split('/').map(decode_segment).collect::<Vec<_>>();
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    let (group, version, rest) = match segments.first()?.as_str() {
        "api" => ("", segments.get(1)?.as_str(), segments.get(2..)?),
        "apis" => (segments.get(1)?.as_str(), segments.get(2)?.as_str(), segments.get(3..)?),
        _ => return None,
    };
    let (watch_prefix, rest) = match rest {
        [watch, rest @ ..] if watch == "watch" && !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    if rest.is_empty() || rest.iter().any(String::is_empty) {
        return None;
    }
    let place =
        ResourcePath { group: group.to_owned(), version: version.to_owned(), watch_prefix, ..Default::default() };
    in_namespace(place, rest)
}

/// Splits what follows the version into namespace, resource, name and subresource.
fn in_namespace(mut place: ResourcePath, rest: &[String]) -> Option<ResourcePath> {
    let rest = match rest {
        // `/namespaces/<n>/status` and `/finalize` belong to the Namespace itself; a third segment otherwise is a
        // resource in the namespace.
        [first, namespace, third, more @ ..] if first == "namespaces" => {
            if more.is_empty() && matches!(third.as_str(), "status" | "finalize") {
                rest
            } else {
                place.namespace = Some(namespace.clone());
                &rest[2..]
            }
        }
        rest => rest,
    };
    match rest {
        [resource] => place.resource = resource.clone(),
        [resource, name] => (place.resource, place.name) = (resource.clone(), Some(name.clone())),
        [resource, name, subresource] => {
            (place.resource, place.name) = (resource.clone(), Some(name.clone()));
            place.subresource = Some(subresource.clone());
        }
        _ => return None,
    }
    Some(place)
}

fn decode_segment(segment: &str) -> String {
    if segment.contains('%') {
        percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
    } else {
        segment.to_owned()
    }
}

/// The verb of a request as authorization and discovery name it; `None` for methods the API does not know.
pub fn verb(method: &Method, place: &ResourcePath, watch: bool) -> Option<api::Verb> {
    use api::Verb;
    let watch = watch || place.watch_prefix;
    Some(match (method, &place.name) {
        (&Method::GET | &Method::HEAD, _) if watch && place.subresource.is_none() => Verb::Watch,
        (&Method::GET | &Method::HEAD, Some(_)) => Verb::Get,
        (&Method::GET | &Method::HEAD, None) => Verb::List,
        (&Method::POST, _) => Verb::Create,
        (&Method::PUT, _) => Verb::Update,
        (&Method::PATCH, _) => Verb::Patch,
        (&Method::DELETE, Some(_)) => Verb::Delete,
        (&Method::DELETE, None) => Verb::DeleteCollection,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use api::Verb;
    use expect_test::{Expect, expect};
    use http::Method;
    use proptest::prelude::*;

    use super::{ResourcePath, Target, parse_path, verb};

    fn check(path: &str, expected: Expect) {
        let text = match parse_path(path) {
            Target::Other(path) => format!("other {path}"),
            Target::Resource(p) => format!(
                "{}/{} {} ns={} name={} sub={}{}",
                p.group,
                p.version,
                p.resource,
                p.namespace.as_deref().unwrap_or("-"),
                p.name.as_deref().unwrap_or("-"),
                p.subresource.as_deref().unwrap_or("-"),
                if p.watch_prefix { " watch" } else { "" },
            ),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn core_and_group_paths_name_the_same_things() {
        check("/api/v1/pods", expect!["/v1 pods ns=- name=- sub=-"]);
        check("/api/v1/namespaces/a/pods/b", expect!["/v1 pods ns=a name=b sub=-"]);
        check("/api/v1/namespaces/a/pods/b/log", expect!["/v1 pods ns=a name=b sub=log"]);
        check("/apis/apps/v1/namespaces/a/statefulsets/b/scale", expect!["apps/v1 statefulsets ns=a name=b sub=scale"]);
        check("/api/v1/nodes/n/status", expect!["/v1 nodes ns=- name=n sub=status"]);
    }

    #[test]
    fn a_namespace_is_an_object_and_a_place() {
        check("/api/v1/namespaces", expect!["/v1 namespaces ns=- name=- sub=-"]);
        check("/api/v1/namespaces/a", expect!["/v1 namespaces ns=- name=a sub=-"]);
        check("/api/v1/namespaces/a/status", expect!["/v1 namespaces ns=- name=a sub=status"]);
        check("/api/v1/namespaces/a/finalize", expect!["/v1 namespaces ns=- name=a sub=finalize"]);
        check("/api/v1/namespaces/a/configmaps", expect!["/v1 configmaps ns=a name=- sub=-"]);
    }

    #[test]
    fn the_watch_prefix_is_understood() {
        check("/api/v1/watch/namespaces/a/pods", expect!["/v1 pods ns=a name=- sub=- watch"]);
        check("/apis/apps/v1/watch/statefulsets", expect!["apps/v1 statefulsets ns=- name=- sub=- watch"]);
    }

    #[test]
    fn discovery_and_odd_paths_are_not_resources() {
        check("/", expect!["other /"]);
        check("/api", expect!["other /api"]);
        check("/apis/", expect!["other /apis"]);
        check("/apis/apps/v1", expect!["other /apis/apps/v1"]);
        check("/api/v1/", expect!["other /api/v1"]);
        check("/healthz", expect!["other /healthz"]);
        check("/api/v1/namespaces/a/pods/b/c/d", expect!["other /api/v1/namespaces/a/pods/b/c/d"]);
        check("/api/v1//pods", expect!["other /api/v1//pods"]);
    }

    #[test]
    fn names_are_percent_decoded() {
        check("/api/v1/namespaces/a/configmaps/b%3Ac", expect!["/v1 configmaps ns=a name=b:c sub=-"]);
    }

    #[test]
    fn verbs_follow_the_method_and_the_name() {
        let named = ResourcePath { name: Some("x".to_owned()), ..Default::default() };
        let all = ResourcePath::default();
        assert_eq!(verb(&Method::GET, &all, false), Some(Verb::List));
        assert_eq!(verb(&Method::GET, &named, false), Some(Verb::Get));
        assert_eq!(verb(&Method::GET, &named, true), Some(Verb::Watch));
        assert_eq!(verb(&Method::DELETE, &all, false), Some(Verb::DeleteCollection));
        assert_eq!(verb(&Method::OPTIONS, &all, false), None);
    }

    proptest! {
        #[test]
        fn every_text_gives_an_answer(path in "/?[a-z/%0-9.:]{0,60}") {
            parse_path(&path);
        }
    }
}
