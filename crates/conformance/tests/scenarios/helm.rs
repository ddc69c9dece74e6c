//! An ordinary database chart, with helm as it is.

use anyhow::Result;
use conformance::{Cluster, TestImage, run};

use crate::support::{cluster, field, kubectl, until};

/// Runs helm; fails on a bad exit code.
fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    run(&mut cluster.helm_command(arguments)?)?.success()
}

#[test]
fn a_database_chart_is_installed_tested_upgraded_rolled_back_and_uninstalled() -> Result<()> {
    let cluster = cluster("helm", &[TestImage::Busybox], &[])?;
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/ledger");

    let installed = run(&mut cluster.helm_command(&["install", "ledger", chart, "--wait", "--timeout=2m"])?)?;
    assert_eq!(installed.code, 0, "{installed:?}");
    assert!(installed.stdout.contains("STATUS: deployed"), "{}", installed.stdout);
    for kind in
        ["roles and bindings are stored but not enforced yet", "network policies are stored but not enforced yet"]
    {
        assert!(installed.stderr.contains(kind), "what is not enforced is said: {}", installed.stderr);
    }
    assert_eq!(field(&cluster, "statefulset/ledger", "{.status.readyReplicas}")?, "2", "--wait waited");
    let before = kubectl(&cluster, &["get", "pods", "-o", "name"])?;
    assert_eq!(before, "pod/ledger-0\npod/ledger-1\n", "the hook's pod is gone");

    let tested = helm(&cluster, &["test", "ledger"])?;
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");

    let claims = kubectl(&cluster, &["get", "pvc", "-o", "jsonpath={.items[*].metadata.uid}"])?;
    let upgraded = helm(&cluster, &["upgrade", "ledger", chart, "--set=greeting=goodbye", "--wait", "--timeout=2m"])?;
    assert!(upgraded.contains("REVISION: 2"), "{upgraded}");
    let greeting = |pod: &str| kubectl(&cluster, &["exec", pod, "--", "cat", "/data/index.html"]);
    assert_eq!((greeting("ledger-0")?, greeting("ledger-1")?), ("goodbye".to_owned(), "goodbye".to_owned()));
    assert_eq!(field(&cluster, "statefulset/ledger", "{.status.updatedReplicas}")?, "2");

    helm(&cluster, &["rollback", "ledger", "1", "--wait", "--timeout=2m"])?;
    assert_eq!(greeting("ledger-0")?, "hello");
    let listed = helm(&cluster, &["list"])?;
    assert!(listed.contains("ledger-0.1.0") && listed.contains("deployed"), "{listed}");

    // The trap of ordered updates: without the annotation this rollback would wait for the broken pod.
    kubectl(&cluster, &["annotate", "sts", "ledger", "roadstead.dev/heal-rollout=never-ready"])?;
    let broken = ["upgrade", "ledger", chart, "--set=serverImage=127.0.0.1:1/nothing:1", "--wait", "--timeout=3s"];
    let failed = run(&mut cluster.helm_command(&broken)?)?;
    assert_ne!(failed.code, 0, "{failed:?}");
    let image = field(&cluster, "pod/ledger-1", "{.spec.containers[0].image}")?;
    assert_eq!(image, "127.0.0.1:1/nothing:1", "the update reached the pod");
    helm(&cluster, &["rollback", "ledger", "3", "--wait", "--timeout=2m"])?;
    assert_eq!((greeting("ledger-0")?, greeting("ledger-1")?), ("hello".to_owned(), "hello".to_owned()));

    helm(&cluster, &["uninstall", "ledger", "--wait", "--timeout=2m"])?;
    until("the pods are gone with their set", || {
        let rest =
            kubectl(&cluster, &["get", "pods,sts,pdb,netpol,role,rolebinding", "-l", "app=ledger", "-o", "name"])?;
        Ok(rest.is_empty().then_some(()))
    })?;
    let kept = kubectl(&cluster, &["get", "pvc", "-o", "jsonpath={.items[*].metadata.uid}"])?;
    assert_eq!(kept, claims, "a chart's end deletes no data");
    Ok(())
}
