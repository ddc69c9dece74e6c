//! `kubectl drain` as it is, against PodDisruptionBudgets.

use anyhow::Result;
use conformance::{Cluster, Kubectl, TestImage, Up, build_image};

use crate::support::{Beside, apply, binary, cluster, field, kubectl, until, wait_for};

const WEB: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: c, image: 'busybox:1.35', command: [sleep, '3600']}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";

/// The only node that runs real containers.
fn real_node(cluster: &Cluster) -> Result<String> {
    kubectl(cluster, &["get", "nodes", "-l", "!roadstead.dev/virtual", "-o", "jsonpath={.items[*].metadata.name}"])
}

fn settled(cluster: &Cluster, budget: &str, allowed: &str) -> Result<()> {
    wait_for(cluster, &format!("pdb/{budget}"), &format!("jsonpath={{.status.disruptionsAllowed}}={allowed}"))
}

#[test]
fn a_drain_waits_while_the_budget_is_used_up_and_goes_on_when_it_is_not() -> Result<()> {
    let cluster = Cluster::new(&binary(), "drain")?;
    cluster.import(&build_image(TestImage::Busybox)?)?;
    let arguments = vec!["--virtual-nodes=1".to_owned()];
    cluster.up(&Up { arguments, ..Up::default() })?.success()?;
    // At first there is no other place for the pods.
    kubectl(&cluster, &["cordon", "virtual-0"])?;
    apply(&cluster, WEB)?;
    kubectl(&cluster, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    settled(&cluster, "web", "1")?;
    let node = real_node(&cluster)?;
    let log = cluster.folder().join("drain.log");
    let draining = Beside::logging(
        &mut cluster.kubectl_command(Kubectl::Newest, &["drain", &node, "--ignore-daemonsets", "--timeout=120s"]),
        &log,
    )?;
    let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
    let logged = until("the second eviction is refused", || {
        let text = std::fs::read_to_string(&log)?;
        Ok(text.contains(refused).then_some(text))
    })?;
    assert!(logged.contains("will retry after 5s"), "{logged}");
    let on_node = |node: &str| -> Result<usize> {
        let selector = format!("--field-selector=spec.nodeName={node}");
        Ok(kubectl(&cluster, &["get", "pods", "-l", "app=web", &selector, "-o", "name"])?.lines().count())
    };
    until("the first is gone", || Ok((on_node(&node)? == 1).then_some(())))?;
    wait_for(&cluster, "pdb/web", "jsonpath={.status.currentHealthy}=1")?;
    assert_eq!(field(&cluster, "pdb/web", "{.status.disruptionsAllowed}")?, "0");
    assert_eq!(field(&cluster, "pdb/web", "{.status.conditions[0].reason}")?, "InsufficientPods");

    // With another node there is room, and the drain goes on by itself.
    kubectl(&cluster, &["uncordon", "virtual-0"])?;
    let code = draining.wait()?;
    let logged = std::fs::read_to_string(&log)?;
    assert_eq!(code, 0, "{logged}");
    assert!(logged.ends_with(&format!("node/{node} drained\n")), "{logged}");
    kubectl(&cluster, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    assert_eq!((on_node(&node)?, on_node("virtual-0")?), (0, 2));
    settled(&cluster, "web", "1")
}

#[test]
fn a_sick_pod_is_evicted_only_where_the_budget_says_always() -> Result<()> {
    let cluster = cluster("sick", &[TestImage::Busybox], &[])?;
    let probed = WEB
        .replace("minAvailable: 1", "minAvailable: 2")
        .replace("'3600']}", "'3600'], readinessProbe: {exec: {command: [test, -f, /tmp/well]}, periodSeconds: 1}}");
    apply(&cluster, &probed)?;
    for pod in ["web-0", "web-1"] {
        wait_for(&cluster, &format!("pod/{pod}"), "jsonpath={.status.phase}=Running")?;
    }
    kubectl(&cluster, &["exec", "web-0", "--", "touch", "/tmp/well"])?;
    wait_for(&cluster, "pod/web-0", "condition=Ready")?;
    wait_for(&cluster, "pdb/web", "jsonpath={.status.currentHealthy}=1")?;
    let node = real_node(&cluster)?;
    let sick = "--pod-selector=statefulset.kubernetes.io/pod-name=web-1";
    let uid = field(&cluster, "pod/web-1", "{.metadata.uid}")?;
    let drained = cluster.kubectl(&["drain", &node, sick, "--timeout=1s"])?;
    assert_ne!(drained.code, 0, "{drained:?}");
    assert!(drained.stderr.contains("would violate the pod's disruption budget"), "{drained:?}");
    assert_eq!(field(&cluster, "pod/web-1", "{.metadata.uid}")?, uid);

    kubectl(&cluster, &["patch", "pdb", "web", "-p", r#"{"spec":{"unhealthyPodEvictionPolicy":"AlwaysAllow"}}"#])?;
    let drained = cluster.kubectl(&["drain", &node, sick, "--timeout=60s"])?;
    assert_eq!(drained.code, 0, "{drained:?}");
    let well = "--pod-selector=statefulset.kubernetes.io/pod-name=web-0";
    let drained = cluster.kubectl(&["drain", &node, well, "--timeout=1s"])?;
    assert_ne!(drained.code, 0, "a healthy pod is still guarded: {drained:?}");
    Ok(())
}
