//! Bad input: upstream's answer, and nothing changed; or it runs and is explained.

use anyhow::Result;
use conformance::{Cluster, Kubectl, TestImage, Up};

use crate::support::{cluster, kubectl, until};

const SET: &str = "apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
spec:
  serviceName: web
  replicas: 1
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: busybox:1.35
        command: [sleep, \"3600\"]
";

/// The manifest with one text replaced is refused with these words, and nothing is there afterwards.
fn refused(cluster: &Cluster, from: &str, to: &str, words: &[&str]) -> Result<()> {
    let manifest = SET.replace(from, to);
    assert_ne!(manifest, SET, "{from:?} does not stand in the manifest");
    let output = cluster.kubectl_stdin(Kubectl::Newest, &["apply", "-f", "-"], &manifest)?;
    assert_eq!(output.code, 1, "{to}: {output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is missing in: {}", output.stderr);
    }
    assert_eq!(kubectl(cluster, &["get", "statefulsets", "-o", "name"])?, "", "nothing was created");
    Ok(())
}

#[test]
fn wrong_manifests_are_refused_with_upstreams_words() -> Result<()> {
    let cluster = cluster("bad", &[], &[])?;
    let name_c = "- name: c\n        image: busybox:1.35";
    refused(
        &cluster,
        "      terminationGracePeriodSeconds: 1\n",
        "      volumeClaimTemplates:\n      - metadata: {name: data}\n",
        &["strict decoding error: unknown field \"spec.template.spec.volumeClaimTemplates\""],
    )?;
    refused(&cluster, "  replicas: 1\n", "   replicas: 1\n", &["error parsing STDIN", "line"])?;
    refused(
        &cluster,
        name_c,
        "- image: busybox:1.35",
        &["The StatefulSet \"web\" is invalid: spec.template.spec.containers[0].name: Required value"],
    )?;
    refused(
        &cluster,
        "      - name: c\n        image: busybox:1.35\n        command: [sleep, \"3600\"]\n",
        "        c: {image: busybox}\n",
        &["cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []"],
    )?;
    refused(
        &cluster,
        name_c,
        "- name: c\n        image: busybox:1.35\n        env: [{name: A=B, value: x}]",
        &["spec.template.spec.containers[0].env[0].name: Invalid value: \"A=B\""],
    )?;
    refused(
        &cluster,
        "replicas: 1",
        "replicas: -1",
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    )?;
    refused(
        &cluster,
        "replicas: 1",
        "replicas: \"3\"",
        &["cannot unmarshal string into Go struct field StatefulSetSpec.spec.replicas of type int32"],
    )?;
    refused(
        &cluster,
        name_c,
        "- name: c\n        image: busybox:1.35\n        resources: {requests: {memory: 1Gb}}",
        &["quantities must match the regular expression"],
    )
}

/// Good objects, of which each case changes one line.
const WORKLOADS: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'busybox:1.35'}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 3 * * *'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'busybox:1.35'}]}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  suspend: true
  completions: 2
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'busybox:1.35'}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";

#[test]
fn wrong_changes_of_workloads_are_refused_and_change_nothing() -> Result<()> {
    // S22.
    let cluster = cluster("bad-workloads", &[], &[])?;
    crate::support::apply(&cluster, WORKLOADS)?;
    let versions = || {
        let columns = "custom-columns=N:.metadata.name,G:.metadata.generation,U:.metadata.uid";
        kubectl(&cluster, &["get", "deployments,cronjobs,jobs,pdb,pods", "-o", columns])
    };
    until("the controllers have seen them", || {
        let seen = crate::support::field(&cluster, "deployment/web", "{.status.observedGeneration}")?;
        Ok((seen == "1").then_some(()))
    })?;
    let before = versions()?;
    for (from, to, said) in [
        (
            "{app: web}}\n  template",
            "{app: other}}\n  template",
            "The Deployment \"web\" is invalid: \n\
             * spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`\n\
             * spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable",
        ),
        (
            "replicas: 0",
            "replicas: -1",
            "The Deployment \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "0 3 * * *",
            "0 25 * * *",
            "The CronJob \"nightly\" is invalid: spec.schedule: Invalid value: \"0 25 * * *\": end of range (25) above \
             maximum (23): 25",
        ),
        (
            "completions: 2",
            "completions: 3",
            "The Job \"once\" is invalid: spec.completions: Invalid value: 3: field is immutable",
        ),
        (
            "minAvailable: 1,",
            "minAvailable: 1, maxUnavailable: 1,",
            "minAvailable and maxUnavailable cannot be both set",
        ),
        ("  suspend: true", "  paused: true", "strict decoding error: unknown field \"spec.paused\""),
    ] {
        let manifest = WORKLOADS.replacen(from, to, 1);
        assert_ne!(manifest, WORKLOADS, "{from:?} does not stand in the manifest");
        let output = cluster.kubectl_stdin(Kubectl::Newest, &["apply", "-f", "-"], &manifest)?;
        assert_eq!(output.code, 1, "{to}: {output:?}");
        assert!(output.stderr.contains(said), "{said:?} is missing in: {}", output.stderr);
        assert_eq!(versions()?, before, "{to} changed something");
    }
    Ok(())
}

#[test]
fn an_environment_variable_with_spaces_is_legal() -> Result<()> {
    let cluster = cluster("env", &[TestImage::Busybox], &[])?;
    let manifest =
        SET.replace("        command", "        env: [{name: MYSQL ROOT PASSWORD, value: secret}]\n        command");
    let output = cluster.kubectl_stdin(Kubectl::Newest, &["apply", "-f", "-"], &manifest)?;
    assert_eq!(output.code, 0, "{output:?}");
    kubectl(&cluster, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    let environment = kubectl(&cluster, &["exec", "web-0", "--", "env"])?;
    assert!(environment.contains("MYSQL ROOT PASSWORD=secret"), "{environment}");
    Ok(())
}

#[test]
fn an_image_that_does_not_exist_is_explained_by_up_and_by_an_event() -> Result<()> {
    let cluster = Cluster::new(&crate::support::binary(), "no-image")?;
    let file = cluster.folder().join("set.yaml");
    std::fs::write(&file, SET.replace("busybox:1.35", "127.0.0.1:1/nothing:1"))?;
    let output = cluster.up(&Up { files: vec![file], arguments: vec!["--timeout=100s".to_owned()] })?;
    assert_ne!(output.code, 0);
    for word in ["web-0", "127.0.0.1:1/nothing:1", "roadstead image import", "service \"web\""] {
        assert!(output.stderr.contains(word), "{word:?} is missing in: {}", output.stderr);
    }
    until("an event tells it too", || {
        let events = kubectl(&cluster, &["get", "events", "-o", "custom-columns=R:.reason,M:.message"])?;
        Ok((events.contains("Failed") && events.contains("127.0.0.1:1/nothing:1")).then_some(()))
    })
}

#[test]
fn a_service_name_without_a_service_runs_and_is_explained_by_an_event() -> Result<()> {
    let cluster = cluster("no-service", &[TestImage::Busybox], &[])?;
    let output = cluster.kubectl_stdin(Kubectl::Newest, &["apply", "-f", "-"], SET)?;
    assert_eq!(output.code, 0, "{output:?}");
    kubectl(&cluster, &["rollout", "status", "sts/web", "--timeout=120s"])?;
    until("an event names the service", || {
        let events = kubectl(&cluster, &["get", "events", "-o", "custom-columns=R:.reason,M:.message"])?;
        Ok((events.contains("ServiceNotFound") && events.contains("\"web\"")).then_some(()))
    })
}
