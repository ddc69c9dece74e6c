use std::collections::BTreeSet;

use api::{
    ALL_VERBS, CREATE_ONLY, DeleteAnswer, Generation, Kind, Scope, Subresource, UpdateOfMissing, UpdateWithoutVersion,
    resources,
};

use super::*;

fn kind(resource: meta::ResourceId, kind: &'static str, list: &'static str, subs: &'static [Subresource]) -> Kind {
    Kind {
        resource,
        kind,
        list_kind: list,
        singular: "",
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: ALL_VERBS,
        subresources: subs,
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
        kind(resources::STATEFUL_SETS, "StatefulSet", "StatefulSetList", SET),
        kind(resources::PODS, "Pod", "PodList", POD),
    ]
}

fn parse(document: &Document) -> Value {
    serde_json::from_slice(&document.plain()).unwrap()
}

/// Every `$ref` of a document.
fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[test]
fn the_index_names_each_group_version_with_its_hash() {
    let kinds = kinds();
    let built = OpenApi::build(&Discovery::new(&kinds));
    let index: Value = serde_json::from_slice(&built.v3_index()).unwrap();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={}", built.v3["apis/apps/v1"].hash));
    assert_eq!(built.v3.keys().collect::<Vec<_>>(), ["api/v1", "apis/apps/v1"]);
}

#[test]
fn every_reference_has_its_definition() {
    let kinds = kinds();
    let built = OpenApi::build(&Discovery::new(&kinds));
    let v3 = parse(&built.v3["apis/apps/v1"]);
    let v2 = parse(&built.v2_json);
    let mut found = BTreeSet::new();
    references(&v3, &mut found);
    for reference in &found {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(v3["components"]["schemas"].get(name).is_some(), "{name}");
    }
    let mut found = BTreeSet::new();
    references(&v2, &mut found);
    for reference in &found {
        let name = reference.strip_prefix("#/definitions/").unwrap();
        assert!(v2["definitions"].get(name).is_some(), "{name}");
    }
    assert!(found.contains("#/definitions/io.k8s.api.policy.v1.Eviction"));
}

#[test]
fn kubectl_finds_field_validation_dry_run_and_strategic_merge_patches() {
    let kinds = kinds();
    let built = OpenApi::build(&Discovery::new(&kinds));
    let path = "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}";
    let v3 = parse(&built.v3["apis/apps/v1"]);
    let patch = &v3["paths"][path]["patch"];
    let names: Vec<_> = patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
    let gvk = json!({"group": "apps", "kind": "StatefulSet", "version": "v1"});
    assert_eq!(patch["x-kubernetes-group-version-kind"], gvk);
    let set = &v3["components"]["schemas"]["io.k8s.api.apps.v1.StatefulSet"];
    assert_eq!(set["x-kubernetes-group-version-kind"], json!([gvk]));
    let v2 = parse(&built.v2_json);
    let consumes = v2["paths"][path]["patch"]["consumes"].as_array().unwrap();
    assert!(consumes.contains(&json!("application/apply-patch+yaml")));
}

#[test]
fn a_property_that_refers_keeps_its_description_and_extensions() {
    let kinds = kinds();
    let built = OpenApi::build(&Discovery::new(&kinds));
    let v3 = parse(&built.v3["api/v1"]);
    let spec = &v3["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(spec["affinity"]["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Affinity");
    assert!(spec["affinity"]["description"].as_str().unwrap().len() > 10);
    assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(spec["containers"]["x-kubernetes-list-map-keys"], json!(["name"]));
    let ports = &v3["components"]["schemas"]["io.k8s.api.core.v1.ContainerPort"]["properties"];
    assert_eq!(ports["protocol"]["default"], "TCP");
}

#[test]
fn building_twice_gives_the_same_documents() {
    let kinds = kinds();
    let discovery = Discovery::new(&kinds);
    assert_eq!(OpenApi::build(&discovery), OpenApi::build(&discovery));
}

#[test]
fn every_served_kind_is_described() {
    let schema = Schema::get();
    for def in crate::kinds::all() {
        let kind = &def.kind;
        assert!(schema.root(kind.gvk()).is_some(), "{:?}", kind.gvk());
        if kind.allows(api::Verb::List) {
            let list = schema.root(kind.list_gvk()).and_then(|ty| schema.field(ty, "items")).unwrap();
            assert_eq!(schema.element(list.ty), schema.root(kind.gvk()), "{:?}", kind.list_gvk());
        }
        for subresource in kind.subresources.iter().filter(|s| s.verbs.contains(&api::Verb::Update)) {
            let own = kind.gvk();
            let (group, version) = subresource.group_version.unwrap_or((own.group, own.version));
            assert!(schema.root(Gvk { group, version, kind: subresource.kind }).is_some(), "{}", subresource.kind);
        }
    }
}

#[test]
fn selectable_fields_exist() {
    let schema = Schema::get();
    for def in crate::kinds::all() {
        let mut type_of_kind = schema.root(def.kind.gvk()).unwrap();
        for path in def.kind.selectable_fields {
            let root = type_of_kind;
            for name in path.split('.') {
                let field = schema.field(type_of_kind, name);
                // Old names of fields, and one that is computed from two.
                if matches!(*path, "spec.host" | "source" | "status.successful") || name == "reportingComponent" {
                    break;
                }
                type_of_kind = field.unwrap_or_else(|| panic!("{path} of {}", def.kind.kind)).ty;
            }
            type_of_kind = root;
        }
    }
}
