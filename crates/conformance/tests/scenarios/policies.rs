//! What keeps pods out, or puts them out: quotas, limits and priorities, as kubectl shows it.

use anyhow::Result;
use conformance::{Cluster, Kubectl, TestImage};

use crate::support::{apply, cluster, event, field, kubectl, until, wait_for};

const QUOTA: &str = "
apiVersion: v1
kind: ResourceQuota
metadata: {name: few}
spec: {hard: {pods: '1', requests.cpu: 100m}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: small}
spec: {limits: [{type: Container, defaultRequest: {cpu: 50m}, max: {cpu: 80m}, default: {cpu: 80m}}]}
";

fn set(name: &str, priority: &str, cpu: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      {priority}
      containers:
      - {{name: c, image: \"busybox:1.35\", command: [sleep, \"3600\"], resources: {{requests: {{cpu: \"{cpu}\"}}}}}}
"
    )
}

fn pod(name: &str, cpu: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 0, containers: \
         [{{name: c, image: \"busybox:1.35\", command: [sleep, \"3600\"], resources: {{requests: {{cpu: {cpu}}}}}}}]}}}}"
    )
}

/// What kubectl says of a manifest that is refused.
fn refused(cluster: &Cluster, manifest: &str) -> Result<String> {
    let output = cluster.kubectl_stdin(Kubectl::Newest, &["apply", "-f", "-"], manifest)?;
    assert_eq!(output.code, 1, "{output:?}");
    Ok(output.stderr.trim().to_owned())
}

#[test]
fn a_quota_refuses_as_upstream_and_lets_a_set_go_on_when_there_is_room() -> Result<()> {
    let cluster = cluster("quota", &[TestImage::Busybox], &[])?;
    apply(&cluster, QUOTA)?;
    assert_eq!(
        refused(&cluster, &pod("big", "90m").replace("requests", "limits"))?,
        "Error from server (Forbidden): error when creating \"STDIN\": pods \"big\" is forbidden: \
         maximum cpu usage per Container is 80m, but limit is 90m"
    );
    apply(&cluster, &pod("one", "50m"))?;
    wait_for(&cluster, "pod/one", "condition=Ready")?;
    assert_eq!(
        refused(&cluster, &pod("two", "60m"))?,
        "Error from server (Forbidden): error when creating \"STDIN\": pods \"two\" is forbidden: exceeded quota: few, \
         requested: pods=1,requests.cpu=60m, used: pods=1,requests.cpu=50m, limited: pods=1,requests.cpu=100m"
    );
    apply(&cluster, &set("db", "", "40m"))?;
    event(&cluster, "db", &["FailedCreate", "exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"])?;
    let described = kubectl(&cluster, &["describe", "quota", "few"])?;
    assert!(
        described.contains("pods          1     1") && described.contains("requests.cpu  50m   100m"),
        "{described}"
    );
    kubectl(&cluster, &["delete", "pod", "one"])?;
    kubectl(&cluster, &["rollout", "status", "sts/db", "--timeout=120s"])?;
    assert_eq!(field(&cluster, "quota/few", "{.status.used.requests\\.cpu}")?, "40m");
    Ok(())
}

#[test]
fn an_important_set_takes_the_place_of_an_unimportant_one() -> Result<()> {
    let cluster = cluster("preemption", &[TestImage::Busybox], &[])?;
    let allocatable = kubectl(&cluster, &["get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.cpu}"])?;
    let millis = match allocatable.strip_suffix('m') {
        Some(millis) => millis.parse::<u32>()?,
        None => allocatable.parse::<u32>()? * 1000,
    };
    // Two of them do not fit.
    let cpu = format!("{}m", millis * 6 / 10);
    kubectl(&cluster, &["create", "priorityclass", "important", "--value=1000"])?;
    apply(&cluster, &set("batch", "", &cpu))?;
    kubectl(&cluster, &["rollout", "status", "sts/batch", "--timeout=120s"])?;
    let victim = field(&cluster, "pod/batch-0", "{.metadata.uid}")?;
    apply(&cluster, &set("meek", "", &cpu))?;
    event(&cluster, "meek-0", &["FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu."])?;
    assert_eq!(field(&cluster, "pod/batch-0", "{.metadata.uid}")?, victim, "an equal takes nobody's place");

    apply(&cluster, &set("db", "priorityClassName: important", &cpu))?;
    kubectl(&cluster, &["rollout", "status", "sts/db", "--timeout=120s"])?;
    assert_eq!(field(&cluster, "pod/db-0", "{.spec.priority}")?, "1000");
    let important = field(&cluster, "pod/db-0", "{.metadata.uid}")?;
    event(&cluster, "batch-0", &["Preempted", &format!("Preempted by pod {important} on node")])?;
    assert_eq!(field(&cluster, "events", "{.items[?(@.reason==\"OutOfcpu\")].message}")?, "", "no node refused a pod");
    until("its successor waits", || {
        let pod = cluster.kubectl(&["get", "pod", "batch-0", "-o", "jsonpath={.metadata.uid} {.status.phase}"])?;
        Ok((pod.stdout.ends_with("Pending") && !pod.stdout.starts_with(&victim)).then_some(()))
    })?;
    kubectl(&cluster, &["delete", "sts", "db", "meek"])?;
    kubectl(&cluster, &["rollout", "status", "sts/batch", "--timeout=120s"])?;
    Ok(())
}
