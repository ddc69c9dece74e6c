use api::{
    ALL_VERBS, CREATE_ONLY, DeleteAnswer, Generation, Kind, Scope, Subresource, UpdateOfMissing, UpdateWithoutVersion,
    resources,
};
use expect_test::{Expect, expect};

use super::*;

fn kind(resource: meta::ResourceId, name: &'static str, subresources: &'static [Subresource]) -> Kind {
    Kind {
        resource,
        kind: name,
        list_kind: "List",
        singular: "thing",
        short_names: &["th"],
        categories: &["all"],
        scope: Scope::Namespaced,
        verbs: ALL_VERBS,
        subresources,
        stored_as: None,
        delete_answer: DeleteAnswer::Status,
        update_of_missing: UpdateOfMissing::NotFound,
        update_without_version: UpdateWithoutVersion::Unconditional,
        generation: Generation::Spec,
        selectable_fields: &[],
    }
}

fn kinds() -> Vec<Kind> {
    const SET: &[Subresource] = &[Subresource::scale(), Subresource::status("StatefulSet")];
    const POD: &[Subresource] = &[Subresource {
        name: "eviction",
        kind: "Eviction",
        group_version: Some(("policy", "v1")),
        verbs: CREATE_ONLY,
    }];
    vec![
        kind(resources::STATEFUL_SETS, "StatefulSet", SET),
        kind(resources::PODS, "Pod", POD),
        kind(resources::CONTROLLER_REVISIONS, "ControllerRevision", &[]),
    ]
}

fn check(document: Document, expected: Expect) {
    assert_eq!(document.etag, etag(&document.body));
    expected.assert_eq(&String::from_utf8(document.body).unwrap());
}

#[test]
fn plain_documents_list_groups_and_resources() {
    let kinds = kinds();
    let discovery = Discovery::new(&kinds);
    check(
        discovery.core_versions("127.0.0.1:6443"),
        expect![[r#"
        {"kind":"APIVersions","serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"127.0.0.1:6443"}],"versions":["v1"]}
    "#]],
    );
    check(
        discovery.groups(),
        expect![[r#"
        {"apiVersion":"v1","groups":[{"name":"apps","preferredVersion":{"groupVersion":"apps/v1","version":"v1"},"versions":[{"groupVersion":"apps/v1","version":"v1"}]}],"kind":"APIGroupList"}
    "#]],
    );
    check(
        discovery.group("apps").unwrap(),
        expect![[r#"
        {"apiVersion":"v1","kind":"APIGroup","name":"apps","preferredVersion":{"groupVersion":"apps/v1","version":"v1"},"versions":[{"groupVersion":"apps/v1","version":"v1"}]}
    "#]],
    );
    check(
        discovery.resources("apps", "v1").unwrap(),
        expect![[r#"
        {"apiVersion":"v1","groupVersion":"apps/v1","kind":"APIResourceList","resources":[{"categories":["all"],"kind":"ControllerRevision","name":"controllerrevisions","namespaced":true,"shortNames":["th"],"singularName":"thing","storageVersionHash":"85nkx63pcBU=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]},{"categories":["all"],"kind":"StatefulSet","name":"statefulsets","namespaced":true,"shortNames":["th"],"singularName":"thing","storageVersionHash":"H+vl74LkKdo=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]},{"group":"autoscaling","kind":"Scale","name":"statefulsets/scale","namespaced":true,"singularName":"","verbs":["get","patch","update"],"version":"v1"},{"kind":"StatefulSet","name":"statefulsets/status","namespaced":true,"singularName":"","verbs":["get","patch","update"]}]}
    "#]],
    );
    check(
        discovery.resources("", "v1").unwrap(),
        expect![[r#"
        {"apiVersion":"v1","groupVersion":"v1","kind":"APIResourceList","resources":[{"categories":["all"],"kind":"Pod","name":"pods","namespaced":true,"shortNames":["th"],"singularName":"thing","storageVersionHash":"xPOwRZ+Yhw8=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]},{"group":"policy","kind":"Eviction","name":"pods/eviction","namespaced":true,"singularName":"","verbs":["create"],"version":"v1"}]}
    "#]],
    );
}

#[test]
fn unknown_groups_and_versions_have_no_document() {
    let kinds = kinds();
    let discovery = Discovery::new(&kinds);
    assert_eq!(discovery.group("batch"), None);
    assert_eq!(discovery.group(""), None);
    assert_eq!(discovery.resources("apps", "v2"), None);
    assert!(!discovery.has_version("", "v2"));
}

#[test]
fn aggregated_documents_hold_everything() {
    let kinds = kinds();
    let discovery = Discovery::new(&kinds);
    check(
        discovery.aggregated(Root::Api, Aggregated::V2),
        expect![[r#"
        {"apiVersion":"apidiscovery.k8s.io/v2","items":[{"metadata":{},"versions":[{"freshness":"Current","resources":[{"categories":["all"],"resource":"pods","responseKind":{"group":"","kind":"Pod","version":"v1"},"scope":"Namespaced","shortNames":["th"],"singularResource":"thing","subresources":[{"responseKind":{"group":"policy","kind":"Eviction","version":"v1"},"subresource":"eviction","verbs":["create"]}],"verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}],"version":"v1"}]}],"kind":"APIGroupDiscoveryList","metadata":{}}
    "#]],
    );
    check(
        discovery.aggregated(Root::Apis, Aggregated::V2Beta1),
        expect![[r#"
        {"apiVersion":"apidiscovery.k8s.io/v2beta1","items":[{"metadata":{"name":"apps"},"versions":[{"freshness":"Current","resources":[{"categories":["all"],"resource":"controllerrevisions","responseKind":{"group":"apps","kind":"ControllerRevision","version":"v1"},"scope":"Namespaced","shortNames":["th"],"singularResource":"thing","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]},{"categories":["all"],"resource":"statefulsets","responseKind":{"group":"apps","kind":"StatefulSet","version":"v1"},"scope":"Namespaced","shortNames":["th"],"singularResource":"thing","subresources":[{"responseKind":{"group":"autoscaling","kind":"Scale","version":"v1"},"subresource":"scale","verbs":["get","patch","update"]},{"responseKind":{"group":"apps","kind":"StatefulSet","version":"v1"},"subresource":"status","verbs":["get","patch","update"]}],"verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}],"version":"v1"}]}],"kind":"APIGroupDiscoveryList","metadata":{}}
    "#]],
    );
}
