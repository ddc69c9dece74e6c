//! The neighbours of the StatefulSet, driven by kubectl against real containers.

use anyhow::Result;
use conformance::TestImage;

use crate::support::{apply, cluster, field, kubectl, until, wait_for};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: busybox:1.35
        command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done\"]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
";

const JOBS: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completions: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: c, image: 'busybox:1.35', command: [sh, -c, 'echo index $JOB_COMPLETION_INDEX']}
---
apiVersion: batch/v1
kind: Job
metadata: {name: broken}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: c, image: 'busybox:1.35', command: [sh, -c, 'exit 3']}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '* * * * *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: c, image: 'busybox:1.35', command: ['true']}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: c, image: 'busybox:1.35', command: [sleep, '1000']}
";

#[test]
fn kubectl_rolls_a_deployment_out_back_pauses_and_restarts_it() -> Result<()> {
    let cluster = cluster("deployment", &[TestImage::Busybox], &[])?;
    apply(&cluster, DEPLOYMENT)?;
    let status = ["rollout", "status", "deployment/web", "--timeout=120s"];
    assert!(kubectl(&cluster, &status)?.ends_with("deployment \"web\" successfully rolled out\n"));
    kubectl(&cluster, &["set", "image", "deployment/web", "c=busybox:1.35-debian"])?;
    kubectl(&cluster, &status)?;
    let history = kubectl(&cluster, &["rollout", "history", "deployment/web"])?;
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    kubectl(&cluster, &["rollout", "undo", "deployment/web"])?;
    kubectl(&cluster, &status)?;
    assert_eq!(field(&cluster, "deployment/web", "{.spec.template.spec.containers[0].image}")?, "busybox:1.35");
    let history = kubectl(&cluster, &["rollout", "history", "deployment/web"])?;
    assert!(history.contains("\n3 ") && !history.contains("\n1 "), "{history}");
    kubectl(&cluster, &["rollout", "pause", "deployment/web"])?;
    kubectl(&cluster, &["set", "image", "deployment/web", "c=busybox:1.35-debian"])?;
    wait_for(
        &cluster,
        "deployment/web",
        "jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}=DeploymentPaused",
    )?;
    kubectl(&cluster, &["rollout", "resume", "deployment/web"])?;
    kubectl(&cluster, &status)?;
    kubectl(&cluster, &["rollout", "restart", "deployment/web"])?;
    kubectl(&cluster, &status)?;
    kubectl(&cluster, &["scale", "deployment/web", "--replicas=5"])?;
    kubectl(&cluster, &status)?;
    wait_for(&cluster, "pdb/web", "jsonpath={.status.disruptionsAllowed}=1")?;
    assert_eq!(field(&cluster, "pdb/web", "{.status.expectedPods}")?, "5");
    let described = kubectl(&cluster, &["describe", "deployment", "web"])?;
    assert!(described.contains("NewReplicaSetAvailable") && described.contains("ScalingReplicaSet"), "{described}");
    kubectl(&cluster, &["delete", "deployment", "web"])?;
    until("the pods are gone", || Ok(kubectl(&cluster, &["get", "pods", "-o", "name"])?.is_empty().then_some(())))
}

#[test]
fn jobs_count_cron_jobs_tick_and_daemons_run() -> Result<()> {
    let cluster = cluster("jobs", &[TestImage::Busybox], &[])?;
    apply(&cluster, JOBS)?;
    wait_for(&cluster, "job/sum", "condition=complete")?;
    assert_eq!(field(&cluster, "job/sum", "{.status.completedIndexes}")?, "0,1");
    let logs = kubectl(&cluster, &["logs", "-l", "batch.kubernetes.io/job-completion-index=1"])?;
    assert_eq!(logs, "index 1\n");
    kubectl(&cluster, &["rollout", "status", "daemonset/agent", "--timeout=120s"])?;
    kubectl(&cluster, &["set", "image", "daemonset/agent", "c=busybox:1.35-debian"])?;
    kubectl(&cluster, &["rollout", "status", "daemonset/agent", "--timeout=120s"])?;
    kubectl(&cluster, &["rollout", "undo", "daemonset/agent"])?;
    let rolled = kubectl(&cluster, &["rollout", "status", "daemonset/agent", "--timeout=120s"])?;
    assert!(rolled.ends_with("daemon set \"agent\" successfully rolled out\n"), "{rolled}");
    let images = ["get", "pods", "-l", "app=agent", "-o", "jsonpath={.items[*].spec.containers[0].image}"];
    until("the pod has the first image again, and no other is left", || {
        Ok((kubectl(&cluster, &images)? == "busybox:1.35").then_some(()))
    })?;
    wait_for(&cluster, "job/broken", "condition=failed")?;
    assert_eq!(
        field(&cluster, "job/broken", "{.status.conditions[?(@.type==\"Failed\")].reason}")?,
        "BackoffLimitExceeded"
    );
    assert_eq!(field(&cluster, "job/broken", "{.status.failed}")?, "2", "the first and one more");
    until("the minute's job", || {
        let jobs = kubectl(&cluster, &["get", "jobs", "-o", "name"])?;
        Ok(jobs.contains("job.batch/tick-").then_some(()))
    })?;
    until("it succeeds", || {
        let last = field(&cluster, "cronjob/tick", "{.status.lastSuccessfulTime}")?;
        Ok((!last.is_empty()).then_some(()))
    })?;
    kubectl(&cluster, &["delete", "job/sum", "job/broken", "cronjob/tick", "daemonset/agent"])?;
    until("the pods are gone", || Ok(kubectl(&cluster, &["get", "pods", "-o", "name"])?.is_empty().then_some(())))
}
