use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use super::{Action, ClaimView, Plan, VolumeView, plan_claim, plan_volume, uses};

fn claim(options: &str) -> PersistentVolumeClaim {
    let mut claim = json!({
        "metadata": {"name": "data-web-0", "namespace": "default", "uid": "c1", "resourceVersion": "7",
            "finalizers": ["kubernetes.io/pvc-protection"], "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "standard", "volumeMode": "Filesystem"},
        "status": {"phase": "Pending"},
    });
    for option in options.split_whitespace() {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "class" => claim["spec"]["storageClassName"] = json!(value),
            "no-class" => claim["spec"]["storageClassName"] = Value::Null,
            "node" => claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = json!(value),
            "volume" => claim["spec"]["volumeName"] = json!(value),
            "was-bound" => claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes"),
            "phase" => claim["status"]["phase"] = json!(value),
            "asks" => claim["spec"]["resources"]["requests"]["storage"] = json!(value),
            "has" => claim["status"]["capacity"] = json!({"storage": value}),
            "uid" => claim["metadata"]["uid"] = json!(value),
            "of" => {
                claim["metadata"]["ownerReferences"] =
                    json!([{"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": value}]);
            }
            "terminating" => claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            other => panic!("no such option: {other}"),
        }
    }
    serde_json::from_value(claim).unwrap()
}

fn volume(options: &str) -> PersistentVolume {
    let mut volume = json!({
        "metadata": {"name": "v", "uid": "v1", "resourceVersion": "8", "finalizers": ["kubernetes.io/pv-protection"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain"},
        "status": {"phase": "Available"},
    });
    for option in options.split_whitespace() {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "name" => volume["metadata"]["name"] = json!(value),
            "size" => volume["spec"]["capacity"]["storage"] = json!(value),
            "class" => volume["spec"]["storageClassName"] = json!(value),
            "for" => {
                volume["spec"]["claimRef"] = json!({"namespace": "default", "name": "data-web-0", "uid": value});
            }
            "reserved" => volume["spec"]["claimRef"] = json!({"namespace": "default", "name": "data-web-0"}),
            "delete" => volume["spec"]["persistentVolumeReclaimPolicy"] = json!("Delete"),
            "ours" => {
                volume["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": "roadstead.dev/local"})
            }
            "phase" => volume["status"]["phase"] = json!(value),
            "terminating" => volume["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            "on" => {
                volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [value]}]}]}});
            }
            other => panic!("no such option: {other}"),
        }
    }
    serde_json::from_value(volume).unwrap()
}

fn class(name: &str, provisioner: &str, mode: &str, is_default: bool) -> StorageClass {
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": is_default.to_string()}},
        "provisioner": provisioner, "volumeBindingMode": mode, "reclaimPolicy": "Delete",
    }))
    .unwrap()
}

fn show(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::CreateVolume { name, body } => format!("create {name} {}", body["spec"]),
            Action::PatchVolume { volume, patch } => format!("patch volume {} {patch}", volume.name),
            Action::PatchVolumeStatus { volume, patch } => format!("volume {} is {}", volume.name, patch["status"]),
            Action::PatchClaim { claim, patch } => format!("patch claim {} {patch}", claim.name),
            Action::PatchClaimStatus { claim, patch } => format!("claim {} is {}", claim.name, patch["status"]),
            Action::ConfirmClaimGone { name, uid, .. } => format!("confirm that {name} {uid} is gone"),
            Action::ConfirmUnused { name, .. } => format!("confirm that {name} is unused"),
            Action::DeleteVolume { volume } => format!("delete volume {}", volume.name),
        })
        .collect();
    lines.extend(plan.notes.iter().map(|note| format!("{:?} {}: {}", note.tone, note.reason, note.message)));
    lines.join("\n")
}

/// A pod that uses the claim on a node, in a phase or terminating.
fn user(node: &str, more: &str) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "web-0", "namespace": "default", "uid": "web-0-uid"},
        "spec": {"nodeName": node, "containers": [],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]},
    });
    match more {
        "" => {}
        "terminating" => pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
        phase => pod["status"] = json!({"phase": phase}),
    }
    serde_json::from_value(pod).unwrap()
}

fn claim_plan(claim_options: &str, volumes: &[&str], users: &[Pod]) -> Plan {
    let claim = claim(claim_options);
    let volumes: Vec<_> = volumes.iter().map(|options| volume(options)).collect();
    let classes = [
        class("standard", "roadstead.dev/local", "WaitForFirstConsumer", true),
        class("now", "roadstead.dev/local", "Immediate", false),
        class("foreign", "example.com/x", "Immediate", false),
    ];
    plan_claim(&ClaimView {
        claim: &claim,
        volumes: volumes.iter().collect(),
        classes: classes.iter().collect(),
        nodes: BTreeSet::from(["n1"]),
        virtual_nodes: BTreeSet::from(["v1"]),
        users: users.iter().collect(),
        volume_root: "/data/volumes",
    })
}

fn check_claim(claim_options: &str, volumes: &[&str], expected: Expect) {
    expected.assert_eq(&show(&claim_plan(claim_options, volumes, &[])));
}

fn check_volume(options: &str, claim_options: Option<&str>, expected: Expect) {
    let volume = volume(options);
    let claim = claim_options.map(claim);
    expected.assert_eq(&show(&plan_volume(&VolumeView { volume: &volume, claim: claim.as_ref() })));
}

#[test]
fn a_claim_waits_for_its_first_consumer_and_is_then_provisioned_on_its_node() {
    // N-2, N-3, N-4.
    check_claim(
        "",
        &[],
        expect!["Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"],
    );
    check_claim(
        "node=n7",
        &[],
        expect![[r#"
        create pvc-c1 {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data-web-0","namespace":"default","resourceVersion":"7","uid":"c1"},"local":{"path":"/data/volumes/pvc-c1"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["n7"]}]}]}},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"standard","volumeMode":"Filesystem"}
        patch claim data-web-0 {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"7","uid":"c1"},"spec":{"volumeName":"pvc-c1"}}
        claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"phase":"Bound"}
        Normal ProvisioningSucceeded: Successfully provisioned volume pvc-c1"#]],
    );
}

#[test]
fn a_claim_whose_pod_stands_on_a_node_already_goes_there() {
    // Seed 8535; upstream's trap of `nodeName` with WaitForFirstConsumer (decision 12).
    let waits = "Normal WaitForFirstConsumer: waiting for first consumer to be created before binding";
    let selects = r#"patch claim data-web-0 {"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"n1"},"resourceVersion":"7","uid":"c1"}}"#;
    let table = [
        ("it stands there", user("n1", ""), selects),
        ("it says so itself", user("n1", "Pending"), selects),
        ("it has ended", user("n1", "Failed"), waits),
        ("it is on its way out", user("n1", "terminating"), waits),
        ("its node is not there", user("n9", ""), waits),
    ];
    for (what, user, expected) in table {
        assert_eq!(show(&claim_plan("", &[], &[user])), expected, "{what}");
    }
    // What was selected is not changed, and a class that does not wait does not ask.
    let elsewhere = |options| show(&claim_plan(options, &[], &[user("n1", "")]));
    assert_eq!(elsewhere("node=n7"), show(&claim_plan("node=n7", &[], &[])));
    assert_eq!(elsewhere("class=now"), show(&claim_plan("class=now", &[], &[])));
}

#[test]
fn a_volume_on_a_virtual_node_says_so() {
    let mark = |node: &str| {
        let plan = claim_plan(&format!("node={node}"), &[], &[]);
        let Some(Action::CreateVolume { body, .. }) = plan.actions.first() else { panic!("a volume is made") };
        body["metadata"]["annotations"].get("roadstead.dev/virtual").cloned()
    };
    assert_eq!(mark("v1"), Some(json!("true")));
    assert_eq!(mark("n7"), None);
}

#[test]
fn a_class_that_binds_at_once_is_provisioned_on_the_node_there_is() {
    // N-2.
    check_claim(
        "class=now",
        &[],
        expect![[r#"
        create pvc-c1 {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data-web-0","namespace":"default","resourceVersion":"7","uid":"c1"},"local":{"path":"/data/volumes/pvc-c1"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["n1"]}]}]}},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"now","volumeMode":"Filesystem"}
        patch claim data-web-0 {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"7","uid":"c1"},"spec":{"volumeName":"pvc-c1"}}
        claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"phase":"Bound"}
        Normal ProvisioningSucceeded: Successfully provisioned volume pvc-c1"#]],
    );
}

#[test]
fn a_fitting_volume_is_preferred_the_smallest_first() {
    check_claim(
        "node=n1",
        &["size=5Gi name=big", "size=2Gi name=small", "size=1Mi name=tiny"],
        expect![[r#"
        patch volume small {"metadata":{"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"8","uid":"v1"},"spec":{"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data-web-0","namespace":"default","resourceVersion":"7","uid":"c1"}}}
        patch claim data-web-0 {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"7","uid":"c1"},"spec":{"volumeName":"small"}}
        claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"phase":"Bound"}"#]],
    );
    check_claim(
        "node=n1",
        &["size=2Gi name=elsewhere on=n2"],
        expect![[r#"
        create pvc-c1 {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data-web-0","namespace":"default","resourceVersion":"7","uid":"c1"},"local":{"path":"/data/volumes/pvc-c1"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["n1"]}]}]}},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"standard","volumeMode":"Filesystem"}
        patch claim data-web-0 {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"7","uid":"c1"},"spec":{"volumeName":"pvc-c1"}}
        claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"phase":"Bound"}
        Normal ProvisioningSucceeded: Successfully provisioned volume pvc-c1"#]],
    );
}

#[test]
fn a_volume_that_is_meant_for_the_claim_is_bound_whatever_else_there_is() {
    check_claim(
        "",
        &["size=5Gi", "name=mine for=c1"],
        expect![[r#"
        patch claim data-web-0 {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"7","uid":"c1"},"spec":{"volumeName":"mine"}}
        claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"phase":"Bound"}"#]],
    );
    check_claim(
        "",
        &["name=mine reserved"],
        expect![[r#"
        patch volume mine {"metadata":{"resourceVersion":"8","uid":"v1"},"spec":{"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data-web-0","namespace":"default","resourceVersion":"7","uid":"c1"}}}
        patch claim data-web-0 {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"7","uid":"c1"},"spec":{"volumeName":"mine"}}
        claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"phase":"Bound"}"#]],
    );
    check_claim(
        "",
        &["name=not-mine for=c0"],
        expect!["Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"],
    );
}

#[test]
fn a_crash_between_the_two_writes_is_mended() {
    check_claim(
        "volume=v",
        &["for=c1"],
        expect![[r#"
        patch claim data-web-0 {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":"7","uid":"c1"},"spec":{"volumeName":"v"}}
        claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"phase":"Bound"}"#]],
    );
    check_claim(
        "volume=v was-bound",
        &["for=c1"],
        expect![[
            r#"claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"phase":"Bound"}"#
        ]],
    );
    check_claim("volume=v was-bound phase=Bound", &["for=c1"], expect![""]);
}

#[test]
fn a_claim_that_was_made_larger_has_a_larger_volume() {
    let grown = "volume=v was-bound phase=Bound has=1Gi asks=2Gi";
    check_claim(
        grown,
        &["for=c1 ours"],
        expect![[r#"
            patch volume v {"metadata":{"resourceVersion":"8","uid":"v1"},"spec":{"capacity":{"storage":"2Gi"}}}
            claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"phase":"Bound"}
            Normal VolumeResizeSuccessful: Resize volume succeeded"#]],
    );
    check_claim(
        grown,
        &["for=c1 ours size=2Gi"],
        expect![[
            r#"claim data-web-0 is {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"phase":"Bound"}"#
        ]],
    );
    check_claim("volume=v was-bound phase=Bound has=2Gi asks=2Gi", &["for=c1 ours size=2Gi"], expect![""]);
    // A volume that is larger than was asked for stays so; another provisioner's is not ours to say.
    check_claim("volume=v was-bound phase=Bound has=2Gi", &["for=c1 ours size=2Gi"], expect![""]);
    check_claim(grown, &["for=c1"], expect![""]);
}

#[test]
fn a_bound_claim_whose_volume_is_gone_or_belongs_to_another_is_lost() {
    // N-1.
    check_claim(
        "volume=v was-bound phase=Bound",
        &[],
        expect![[r#"
        claim data-web-0 is {"phase":"Lost"}
        Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"#]],
    );
    check_claim(
        "volume=v was-bound phase=Bound",
        &["for=c0"],
        expect![[r#"
        claim data-web-0 is {"phase":"Lost"}
        Warning ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly"#]],
    );
    check_claim("volume=v was-bound phase=Lost", &[], expect![""]);
    check_claim(
        "volume=v",
        &["for=c0"],
        expect![[r#"Warning FailedBinding: volume "v" already bound to a different claim."#]],
    );
}

#[test]
fn classes_are_missing_foreign_or_given_later() {
    // N-4, N-5.
    check_claim(
        "class=none",
        &[],
        expect![[r#"Warning ProvisioningFailed: storageclass.storage.k8s.io "none" not found"#]],
    );
    check_claim(
        "class=foreign",
        &[],
        expect![[r#"
        patch claim data-web-0 {"metadata":{"annotations":{"volume.beta.kubernetes.io/storage-provisioner":"example.com/x","volume.kubernetes.io/storage-provisioner":"example.com/x"},"resourceVersion":"7","uid":"c1"}}
        Normal ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/x' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."#]],
    );
    check_claim(
        "class=",
        &[],
        expect!["Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"],
    );
    check_claim(
        "no-class",
        &[],
        expect![[
            r#"patch claim data-web-0 {"metadata":{"resourceVersion":"7","uid":"c1"},"spec":{"storageClassName":"standard"}}"#
        ]],
    );
}

#[test]
fn a_claim_in_use_is_kept_until_its_pods_are_gone() {
    // N-9, N-57.
    assert_eq!(claim_plan("terminating", &[], &[user("n1", "")]), Plan::default());
    check_claim(
        "terminating",
        &[],
        expect![[r#"
        confirm that data-web-0 is unused
        patch claim data-web-0 {"metadata":{"finalizers":[],"resourceVersion":"7","uid":"c1"}}"#]],
    );
}

#[test]
fn a_pod_uses_its_claim_to_the_end_but_not_while_each_waits_for_the_other() {
    // N-9; C-68 with C-91: a scaled-away pod owns its claim, and goes in the foreground after it.
    let pod = |node: &str, grace: Option<i64>, finalizer: &str| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "default", "uid": "p1", "finalizers": [finalizer],
                "deletionTimestamp": grace.map(|_| "2026-01-01T00:00:00Z"), "deletionGracePeriodSeconds": grace},
            "spec": {"nodeName": node, "containers": [],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]},
            "status": {"phase": "Succeeded"},
        }))
        .unwrap()
    };
    let foreground = "foregroundDeletion";
    let table = [
        ("it is not scheduled", "", None, "x/y", "of=p1", false),
        ("it runs, or has ended", "n1", None, "x/y", "of=p1", true),
        ("it is being stopped", "n1", Some(30), foreground, "of=p1", true),
        ("it is shut down, and somebody else holds it", "n1", Some(0), "x/y", "of=p1", true),
        ("it is shut down, and waits for others", "n1", Some(0), foreground, "of=p2", true),
        ("it is shut down, and waits for this claim", "n1", Some(0), foreground, "of=p1", false),
    ];
    for (what, node, grace, finalizer, owner, expected) in table {
        assert_eq!(uses(&pod(node, grace, finalizer), &claim(owner)), expected, "{what}");
    }
    assert!(!uses(&pod("n1", None, "x/y"), &{
        let mut other = claim("");
        other.metadata.name = Some("data-web-1".to_owned());
        other
    }));
}

#[test]
fn a_volume_follows_its_claim() {
    // N-1.
    check_volume("phase=Pending", None, expect![[r#"volume v is {"phase":"Available"}"#]]);
    check_volume("reserved", None, expect![""]);
    check_volume("for=c1", Some("volume=v"), expect![[r#"volume v is {"phase":"Bound"}"#]]);
    check_volume("for=c1 phase=Bound", Some("volume=v"), expect![""]);
    check_volume("for=c1", Some(""), expect![""]);
}

#[test]
fn a_released_volume_is_deleted_only_if_its_policy_says_so_and_the_claim_is_gone_by_a_live_read() {
    // N-10.
    check_volume("for=c1 phase=Bound ours", None, expect![[r#"volume v is {"phase":"Released"}"#]]);
    check_volume("for=c1 phase=Released ours", None, expect![""]);
    check_volume("for=c1 phase=Bound ours delete", None, expect![[r#"volume v is {"phase":"Released"}"#]]);
    check_volume(
        "for=c1 phase=Released ours delete",
        None,
        expect![[r#"
        confirm that data-web-0 c1 is gone
        delete volume v"#]],
    );
    check_volume(
        "for=c1 phase=Released ours delete",
        Some("uid=c2 volume=v"),
        expect![[r#"
        confirm that data-web-0 c1 is gone
        delete volume v"#]],
    );
    check_volume(
        "for=c1 phase=Bound delete",
        None,
        expect![[r#"
        volume v is {"phase":"Released"}
        Warning VolumeFailedDelete: error getting deleter volume plugin for volume: no deletable volume plugin matched"#]],
    );
}

#[test]
fn a_deleted_volume_is_protected_while_a_claim_holds_it() {
    // N-9.
    check_volume("for=c1 phase=Bound terminating", Some("volume=v"), expect![""]);
    check_volume(
        "for=c1 phase=Released terminating",
        None,
        expect![[r#"patch volume v {"metadata":{"finalizers":[],"resourceVersion":"8","uid":"v1"}}"#]],
    );
}
