//! What holds for every kind and every object.

use crate::bed::{POD, SET, World, create_in, decoded, def_of, merged, shown, stored, update, yaml};
use apiserver_core::kinds;
use apiserver_core::write::{AddressPool, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const OBJECTS: &[&str] = &[
    POD,
    SET,
    crate::claims_and_volumes::CLAIM,
    crate::claims_and_volumes::VOLUME,
    crate::workloads::DEPLOYMENT,
    crate::workloads::REPLICA_SET,
    crate::workloads::DAEMON_SET,
    crate::workloads::BUDGET,
    crate::policies::RANGE,
    crate::policies::QUOTA,
    crate::policies::PRIORITY,
    crate::unenforced::ROLE,
    crate::unenforced::CLUSTER_ROLE,
    crate::unenforced::BINDING,
    crate::unenforced::CLUSTER_BINDING,
    crate::unenforced::POLICY,
    crate::unenforced::INGRESS,
    crate::unenforced::CLASS,
    crate::unenforced::SCALER,
    crate::jobs::JOB,
    crate::jobs::CRON_JOB,
    "{apiVersion: v1, kind: Pod, metadata: {name: full}, spec: {hostNetwork: true, initContainers: [{name: i, image: x, restartPolicy: Always}], containers: [{name: a, image: x, ports: [{containerPort: 80}], env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}], livenessProbe: {httpGet: {port: 80}}, resources: {limits: {cpu: 1}}}], volumes: [{name: v}, {name: s, secret: {secretName: s}}, {name: p, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}}",
    "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: b}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
    "{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}",
    "{apiVersion: v1, kind: Node, metadata: {name: here}, spec: {taints: [{key: a, effect: NoSchedule}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: NodePort, sessionAffinity: ClientIP, ports: [{port: 80}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {clusterIP: None}}",
    "{apiVersion: v1, kind: Service, metadata: {name: c}, spec: {type: ExternalName, externalName: example.com}}",
    "{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{addresses: [{ip: 10.1.0.2}], ports: [{port: 80}]}]}",
    "{apiVersion: v1, kind: Event, metadata: {name: e, namespace: default}, involvedObject: {kind: Pod, namespace: default}, count: 1}",
    "{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: e, namespace: default}, eventTime: '2026-01-01T00:00:00.000000Z', regarding: {kind: Pod, namespace: default}, reason: r, action: a, type: Normal, reportingController: c, reportingInstance: i}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4, endpoints: [{addresses: [10.1.0.2]}], ports: [{port: 80}]}",
    "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard}, provisioner: roadstead.dev/local}",
    "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l}, spec: {holderIdentity: me, renewTime: '2026-01-01T00:00:00.000000Z'}}",
    "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: r}, data: {a: b}, revision: 2}",
];

#[test]
fn every_stored_kind_is_among_the_objects_of_these_tests() {
    let missing: Vec<&str> = kinds::all()
        .iter()
        .filter(|def| def.kind.verbs != api::CREATE_ONLY)
        .filter(|def| !OBJECTS.iter().any(|object| def_of(&yaml(object)).kind.resource == def.kind.resource))
        .map(|def| def.kind.kind)
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn writing_back_what_was_read_changes_nothing() {
    for text in OBJECTS {
        let object = stored(yaml(text));
        let plan = update(&object, object.clone(), "").unwrap_or_else(|status| panic!("{text}: {status}"));
        assert_eq!(plan.outcome, Outcome::Unchanged, "{text}");
        if def_of(&object).kind.has_status() {
            let plan = update(&object, object.clone(), "status").unwrap_or_else(|status| panic!("{text}: {status}"));
            assert_eq!(plan.outcome, Outcome::Unchanged, "{text}");
        }
    }
}

/// Members of a patch that could meet what a patch of an object does not see.
const METADATA: &[&str] = &[
    "labels: null",
    "labels: {only: null}",
    "labels: {a: b}",
    "annotations: {a: b}",
    "finalizers: null",
    "finalizers: [example.com/a]",
    "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: u}]",
    "uid: other",
    "resourceVersion: '100'",
    "resourceVersion: '7'",
    "managedFields: null",
    "managedFields: []",
    "managedFields: [{}]",
    "managedFields: [{manager: x, operation: Update}]",
    "$patch: replace",
    "$patch: delete",
    "$retainKeys: [labels]",
    "$deleteFromPrimitiveList/finalizers: [example.com/a]",
    "$deleteFromPrimitiveList/managedFields: []",
    "$deleteFromPrimitiveList/managedFields: [1]",
    "$setElementOrder/managedFields: [a]",
    "$setElementOrder/finalizers: [example.com/a]",
];
const MEMBERS: &[&str] = &[
    "metadata: null",
    "status: null",
    "status: {}",
    "status: {phase: Running, replicas: 3, conditions: [{type: Ready, status: 'True'}]}",
    "status: {$patch: replace, phase: Active}",
    "status: {$patch: delete}",
    "spec: null",
    "spec: {}",
    "spec: {replicas: 2, suspend: true}",
    "spec: {$patch: delete}",
    "$patch: replace",
    "$patch: delete",
    "$retainKeys: [metadata]",
    "$deleteFromPrimitiveList/spec: [1]",
    "kind: null",
    "data: {c: d}",
    "unknown: 1",
];

fn patches() -> impl Strategy<Value = Value> {
    let metadata = prop::collection::vec(prop::sample::select(METADATA), 0..3);
    let members = prop::collection::vec(prop::sample::select(MEMBERS), 0..2);
    (metadata, members).prop_map(|(metadata, members)| {
        let mut patch = json!({});
        if !metadata.is_empty() {
            patch["metadata"] = json!({});
            for member in metadata {
                patch["metadata"].as_object_mut().expect("an object").extend(members_of(member));
            }
        }
        for member in members {
            patch.as_object_mut().expect("an object").extend(members_of(member));
        }
        patch
    })
}

fn members_of(text: &str) -> serde_json::Map<String, Value> {
    yaml(text).as_object().expect("an object").clone()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4096, ..ProptestConfig::default() })]

    /// Of a merge patch and of a strategic one, on the object and on its status, whatever they name.
    #[test]
    fn a_patch_that_sees_a_part_does_what_it_does_to_the_whole(text in prop::sample::select(OBJECTS), patch in patches()) {
        let mut object = stored(yaml(text));
        let _ = crate::bed::patch(&object, &patch, "");
        if def_of(&object).kind.has_status() {
            let _ = crate::bed::patch(&object, &patch, "status");
            object["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z".into();
            object["metadata"]["finalizers"] = json!(["example.com/a"]);
            let _ = crate::bed::patch(&object, &patch, "status");
        }
    }
}

#[test]
fn putting_the_manifest_again_changes_nothing() {
    for text in OBJECTS {
        let object = stored(yaml(text));
        // What admission adds to a pod is not in the manifest, nor is the selector of a job, and they cannot lose it.
        if object["kind"] == "Pod" || object["kind"] == "Job" {
            continue;
        }
        let mut manifest = yaml(text);
        manifest["metadata"]["resourceVersion"] = "100".into();
        if object["kind"] == "PersistentVolumeClaim" || object["kind"] == "PersistentVolume" {
            manifest["metadata"]["finalizers"] = object["metadata"]["finalizers"].clone();
        }
        let plan = update(&object, manifest, "").unwrap_or_else(|status| panic!("{text}: {status}"));
        assert_eq!(plan.outcome, Outcome::Unchanged, "{text}");
    }
}

#[test]
fn defaults_are_complete_after_one_pass_and_decoding_leaves_them_alone() {
    for text in OBJECTS {
        let object = stored(yaml(text));
        let mut again = object.clone();
        def_of(&object).default_object(&mut again);
        assert_eq!(shown(&object), shown(&again), "{text}");
        assert_eq!(shown(&object), shown(&decoded(object.clone()).expect("decodes")), "{text}");
    }
}

#[test]
fn a_change_of_status_never_changes_the_spec_and_the_other_way_round() {
    for text in OBJECTS.iter().filter(|text| def_of(&yaml(text)).kind.has_status()) {
        let object = stored(yaml(text));
        let both = merged(&object, &json!({"metadata": {"annotations": {"a": "b"}}}));
        for (door, kept) in [("", "status"), ("status", "spec")] {
            let Outcome::Write(tree) = update(&object, both.clone(), door).expect("no error").outcome else {
                panic!("{text}: not written")
            };
            assert_eq!(tree.get(kept), object.get(kept), "{text} through {door:?}");
        }
    }
}

#[test]
fn every_subresource_and_column_has_a_name_and_discovery_order() {
    for def in kinds::all() {
        let names: Vec<&str> = def.kind.subresources.iter().map(|subresource| subresource.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted, "{}", def.kind.kind);
        assert!(def.columns.iter().all(|column| !column.name.is_empty() && !column.description.is_empty()));
        assert_eq!(def.columns.iter().filter(|column| column.format == "name").count(), 1, "{}", def.kind.kind);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No text in any place of a manifest makes the server panic, and what it accepts it reads back.
    #[test]
    fn no_text_anywhere_breaks_the_server(text in "\\PC{0,70}", place in 0..14_usize) {
        let places = [
            "/metadata/name", "/metadata/generateName", "/metadata/labels/a", "/metadata/finalizers/0",
            "/spec/serviceName", "/spec/podManagementPolicy", "/spec/updateStrategy/type",
            "/spec/template/spec/containers/0/name", "/spec/template/spec/containers/0/image",
            "/spec/template/spec/restartPolicy", "/spec/template/metadata/labels/app",
            "/spec/volumeClaimTemplates/0/metadata/name", "/spec/volumeClaimTemplates/0/spec/accessModes/0",
            "/spec/selector/matchLabels/app",
        ];
        let mut set = yaml(SET);
        set["metadata"]["finalizers"] = json!(["example.com/a"]);
        set["metadata"]["labels"] = json!({"a": "b"});
        set["metadata"]["generateName"] = "web-".into();
        set["spec"]["podManagementPolicy"] = "Parallel".into();
        set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        set["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
        if let Some(value) = set.pointer_mut(places[place]) {
            *value = Value::String(text);
        }
        if let Ok(plan) = create_in(&World::default(), set) {
            let mut object = plan.object;
            object["metadata"]["resourceVersion"] = "7".into();
            let outcome = update(&object, object.clone(), "").expect("what was accepted stays acceptable").outcome;
            prop_assert_eq!(outcome, Outcome::Unchanged);
        }
    }

    /// An address pool never gives an address twice, and everything comes back.
    #[test]
    fn addresses_are_given_once(seeds in prop::collection::vec(any::<u64>(), 1..40)) {
        let mut pool = AddressPool::new(Ipv4Addr::new(10, 0, 0, 0), 27);
        let mut given: Vec<Value> = Vec::new();
        for seed in seeds {
            if let Some(address) = pool.pick(seed) {
                prop_assert!(pool.contains(address) && !pool.is_used(address) && address != pool.first());
                let service = json!({"spec": {"clusterIP": address.to_string()}});
                pool.occupy(&service);
                given.push(service);
            } else {
                prop_assert_eq!(given.len() as u32, pool.capacity() - 1);
            }
        }
        for service in &given {
            pool.release(service);
        }
        prop_assert!(pool.pick(0) == Some(Ipv4Addr::new(10, 0, 0, 2)));
    }
}
