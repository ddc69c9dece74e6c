//! What people type: kubectl's verbs, with the newest kubectl and the oldest that can be had.

use anyhow::Result;
use conformance::{Cluster, Kubectl, TestImage, run};

use crate::support::{cluster, is_quiet, until};

const SET: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: busybox:1.35
        command: [sh, -c, \"trap 'exit 0' TERM; echo hello from $HOSTNAME; while :; do sleep 1 & wait $!; done\"]
";

/// Runs one kubectl; fails on a bad exit code or on any warning.
fn typed(cluster: &Cluster, which: Kubectl, arguments: &[&str]) -> Result<String> {
    let output = run(&mut cluster.kubectl_command(which, arguments))?;
    assert!(is_quiet(&output.stderr), "kubectl {which:?} {}: {}", arguments.join(" "), output.stderr);
    output.success()
}

fn walk(which: Kubectl) -> Result<()> {
    let cluster = cluster("kubectl", &[TestImage::Busybox], &[])?;
    let applied = cluster.kubectl_stdin(which, &["apply", "-f", "-"], SET)?;
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{applied:?}");
    assert_eq!(applied.stdout, "service/web created\nstatefulset.apps/web created\n");
    typed(&cluster, which, &["rollout", "status", "statefulset/web", "--timeout=120s"])?;

    let again = cluster.kubectl_stdin(which, &["apply", "-f", "-"], SET)?;
    assert_eq!(again.stdout, "service/web unchanged\nstatefulset.apps/web unchanged\n", "{again:?}");

    let pods = typed(&cluster, which, &["get", "pods"])?;
    assert!(pods.starts_with("NAME    READY   STATUS    RESTARTS   AGE\nweb-0   1/1     Running   0"), "{pods}");
    let sets = typed(&cluster, which, &["get", "sts", "-o", "wide"])?;
    assert!(sets.contains("READY") && sets.contains("2/2") && sets.contains("busybox:1.35"), "{sets}");
    let described = typed(&cluster, which, &["describe", "pod", "web-0"])?;
    assert!(described.contains("Started") && described.contains("Controlled By:  StatefulSet/web"), "{described}");
    let described = typed(&cluster, which, &["describe", "statefulset", "web"])?;
    assert!(described.contains("SuccessfulCreate"), "{described}");
    let logs = typed(&cluster, which, &["logs", "web-1"])?;
    assert_eq!(logs, "hello from web-1\n");
    let executed = typed(&cluster, which, &["exec", "web-0", "--", "sh", "-c", "echo out; exit 0"])?;
    assert_eq!(executed, "out\n");
    let failed = run(&mut cluster.kubectl_command(which, &["exec", "web-0", "--", "sh", "-c", "exit 7"]))?;
    assert_eq!(failed.code, 7, "{failed:?}");

    typed(&cluster, which, &["scale", "sts", "web", "--replicas=3"])?;
    typed(&cluster, which, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    typed(&cluster, which, &["set", "image", "sts/web", "c=busybox:1.35-debian"])?;
    typed(&cluster, which, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    let history = typed(&cluster, which, &["rollout", "history", "sts/web"])?;
    assert!(history.contains("REVISION") && history.contains('2'), "{history}");
    typed(&cluster, which, &["rollout", "undo", "sts/web"])?;
    typed(&cluster, which, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    let deleted = typed(&cluster, which, &["delete", "pod", "web-0"])?;
    assert!(deleted.contains("pod \"web-0\" deleted"), "{deleted}");
    typed(&cluster, which, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    typed(&cluster, which, &["delete", "sts", "web"])?;
    until("the pods are gone with their set", || Ok(typed_quiet(&cluster, which)?.is_empty().then_some(())))
}

fn typed_quiet(cluster: &Cluster, which: Kubectl) -> Result<String> {
    run(&mut cluster.kubectl_command(which, &["get", "pods", "-o", "name"]))?.success()
}

#[test]
fn the_newest_kubectl_drives_a_set_from_apply_to_delete() -> Result<()> {
    // A-53, A-54, A-55.
    walk(Kubectl::Newest)
}

#[test]
fn the_oldest_kubectl_drives_a_set_from_apply_to_delete() -> Result<()> {
    walk(Kubectl::Oldest)
}

#[test]
fn server_side_apply_diff_explain_and_edits_work() -> Result<()> {
    let cluster = cluster("ssa", &[TestImage::Busybox], &[])?;
    let new = Kubectl::Newest;
    let applied = cluster.kubectl_stdin(new, &["apply", "--server-side", "-f", "-"], SET)?;
    assert_eq!(
        applied.stdout, "service/web serverside-applied\nstatefulset.apps/web serverside-applied\n",
        "{applied:?}"
    );
    let differs = cluster.kubectl_stdin(new, &["diff", "-f", "-"], &SET.replace("replicas: 2", "replicas: 1"))?;
    assert_eq!(differs.code, 1, "{differs:?}");
    assert!(
        differs.stdout.contains("-  replicas: 2") && differs.stdout.contains("+  replicas: 1"),
        "{}",
        differs.stdout
    );
    let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let conflict = cluster.kubectl_stdin(new, &other, &SET.replace("replicas: 2", "replicas: 1"))?;
    assert_eq!(conflict.code, 1, "{conflict:?}");
    assert!(
        conflict.stderr.contains("conflict with \"kubectl\"") && conflict.stderr.contains(".spec.replicas"),
        "{conflict:?}"
    );
    let explained = typed(&cluster, new, &["explain", "statefulset.spec.replicas"])?;
    assert!(explained.contains("FIELD: replicas <integer>"), "{explained}");
    typed(&cluster, new, &["label", "sts", "web", "tier=front"])?;
    typed(&cluster, new, &["annotate", "sts", "web", "note=kept"])?;
    let patched = typed(&cluster, new, &["patch", "sts", "web", "-p", r#"{"spec":{"replicas":1}}"#])?;
    assert_eq!(patched, "statefulset.apps/web patched\n");
    let listed = typed(&cluster, new, &["get", "sts", "-l", "tier=front", "-o", "name"])?;
    assert_eq!(listed, "statefulset.apps/web\n");
    Ok(())
}
