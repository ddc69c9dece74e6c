//! What `kubectl rollout` says and does, on StatefulSets and on Deployments.

use anyhow::Result;
use conformance::{Cluster, TestImage};

use crate::support::{apply, cluster, event, field, kubectl, until, wait_for};

fn workload(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  {spec}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: c, image: \"busybox:1.35\", command: [sleep, \"3600\"]}}
"
    )
}

fn status(cluster: &Cluster, object: &str) -> Result<String> {
    kubectl(cluster, &["rollout", "status", object, "--timeout=120s"])
}

/// Standard error of a kubectl call that must fail.
fn refused(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = cluster.kubectl(arguments)?;
    assert_eq!(output.code, 1, "kubectl {}: {output:?}", arguments.join(" "));
    Ok(output.stderr)
}

#[test]
fn every_rollout_command_that_kubectl_has_for_sets_works() -> Result<()> {
    // A-54, A-55.
    let cluster = cluster("set-rollout", &[TestImage::Busybox], &[])?;
    apply(&cluster, &workload("StatefulSet", "db", "replicas: 2"))?;
    let first = status(&cluster, "sts/db")?;
    assert!(first.contains("partitioned roll out complete: 2 new pods have been updated"), "{first}");
    kubectl(&cluster, &["set", "env", "sts/db", "COLOR=blue"])?;
    status(&cluster, "sts/db")?;
    kubectl(&cluster, &["set", "env", "sts/db", "COLOR=green"])?;
    status(&cluster, "sts/db")?;
    let numbers = |history: &str| -> Vec<String> {
        history.lines().skip(2).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    assert_eq!(numbers(&kubectl(&cluster, &["rollout", "history", "sts/db"])?), ["1", "2", "3"]);
    let second = kubectl(&cluster, &["rollout", "history", "sts/db", "--revision=2"])?;
    assert!(second.contains("with revision #2") && second.contains("COLOR:\tblue"), "{second}");

    let undone = kubectl(&cluster, &["rollout", "undo", "sts/db", "--to-revision=2"])?;
    assert_eq!(undone, "statefulset.apps/db rolled back\n");
    status(&cluster, "sts/db")?;
    assert_eq!(field(&cluster, "pod/db-0", "{.spec.containers[0].env[0].value}")?, "blue");
    assert_eq!(numbers(&kubectl(&cluster, &["rollout", "history", "sts/db"])?), ["1", "3", "4"]);
    let again = cluster.kubectl(&["rollout", "undo", "sts/db", "--to-revision=4"])?;
    assert_eq!(again.stdout, "statefulset.apps/db skipped rollback (current template already matches revision 4)\n");

    let uid = field(&cluster, "pod/db-0", "{.metadata.uid}")?;
    kubectl(&cluster, &["rollout", "restart", "sts/db"])?;
    status(&cluster, "sts/db")?;
    assert_ne!(field(&cluster, "pod/db-0", "{.metadata.uid}")?, uid);
    for verb in ["pause", "resume"] {
        let said = refused(&cluster, &["rollout", verb, "sts/db"])?;
        assert!(said.contains("is not supported"), "{verb}: {said}");
    }

    kubectl(
        &cluster,
        &["patch", "sts", "db", "-p", r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}"#],
    )?;
    kubectl(&cluster, &["set", "env", "sts/db", "COLOR=red"])?;
    let partitioned = status(&cluster, "sts/db")?;
    assert!(partitioned.contains("partitioned roll out complete: 1 new pods have been updated"), "{partitioned}");
    assert_eq!(field(&cluster, "pod/db-0", "{.spec.containers[0].env[0].value}")?, "blue");
    assert_eq!(field(&cluster, "pod/db-1", "{.spec.containers[0].env[0].value}")?, "red");
    kubectl(
        &cluster,
        &["patch", "sts", "db", "-p", r#"{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#],
    )?;
    let said = refused(&cluster, &["rollout", "status", "sts/db"])?;
    assert!(said.contains("rollout status is only available for RollingUpdate strategy type"), "{said}");
    Ok(())
}

/// Replicas of a Deployment's sets, the smallest first.
fn sizes(cluster: &Cluster, app: &str) -> Result<Vec<u32>> {
    let path = "jsonpath={.items[*].spec.replicas}";
    let listed = kubectl(cluster, &["get", "rs", "-l", &format!("app={app}"), "-o", path])?;
    let mut sizes: Vec<u32> = listed.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    sizes.sort_unstable();
    Ok(sizes)
}

fn sized(cluster: &Cluster, expected: &[u32]) -> Result<()> {
    until(&format!("the sets have {expected:?} replicas"), || Ok((sizes(cluster, "web")? == expected).then_some(())))
}

#[test]
fn a_deployment_scales_in_proportion_and_misses_its_deadline_aloud() -> Result<()> {
    let cluster = cluster("deadline", &[TestImage::Busybox], &[])?;
    let spec = "replicas: 4\n  progressDeadlineSeconds: 2\n  \
                strategy: {rollingUpdate: {maxSurge: 2, maxUnavailable: 1}}";
    apply(&cluster, &workload("Deployment", "web", spec))?;
    status(&cluster, "deployment/web")?;
    // The new pods can have no image: four become three, and three new ones wait for it.
    kubectl(&cluster, &["set", "image", "deployment/web", "c=127.0.0.1:1/nothing:1"])?;
    sized(&cluster, &[3, 3])?;
    let said = refused(&cluster, &["rollout", "status", "deployment/web", "--timeout=120s"])?;
    assert!(said.contains("error: deployment \"web\" exceeded its progress deadline"), "{said}");
    let progressing = "jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}";
    wait_for(&cluster, "deployment/web", &format!("{progressing}=ProgressDeadlineExceeded"))?;
    // Eight and the two more that may surge, in the proportion in which they are.
    kubectl(&cluster, &["scale", "deployment/web", "--replicas=8"])?;
    sized(&cluster, &[5, 5])?;
    event(&cluster, "web", &["ScalingReplicaSet", "from 3 to 5"])?;
    wait_for(&cluster, "deployment/web", "jsonpath={.status.availableReplicas}=5")?;

    kubectl(&cluster, &["rollout", "undo", "deployment/web"])?;
    assert!(status(&cluster, "deployment/web")?.ends_with("deployment \"web\" successfully rolled out\n"));
    sized(&cluster, &[0, 8])
}
