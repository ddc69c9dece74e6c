//! `roadstead plan` and `roadstead why` as a stranger types them, judged by what happens afterwards.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use conformance::{Cluster, Output, Up, run};
use serde_json::Value;

use crate::support::{apply, binary, field, kubectl, until};

const GOOD: &str = "example.com/db:1";
const NEW: &str = "example.com/db:2";
const IMAGE: &str = "spec.template.spec.containers[c].image";

/// Claims of this class may grow.
const GROWING: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: growing}
provisioner: roadstead.dev/local
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
";

/// A set of three pods on virtual nodes; the script is annotations of its pods, in flow style.
fn set(image: &str, script: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: 3
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}, annotations: {{{script}}}}}
    spec:
      nodeSelector: {{roadstead.dev/virtual: 'true'}}
      containers: [{{name: c, image: '{image}', volumeMounts: [{{name: data, mountPath: /data}}]}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], storageClassName: growing, resources: {{requests: {{storage: 1Gi}}}}}}
"
    )
}

fn settings(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{mode: {value}}}\n")
}

fn claim(size: &str) -> String {
    format!(
        "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data-db-0}}
spec: {{accessModes: [ReadWriteOnce], storageClassName: growing, resources: {{requests: {{storage: {size}}}}}}}
"
    )
}

fn virtual_cluster(purpose: &str, further: &[&str]) -> Result<Cluster> {
    let cluster = Cluster::new(&binary(), purpose)?;
    start(&cluster, further)?;
    Ok(cluster)
}

fn start(cluster: &Cluster, further: &[&str]) -> Result<()> {
    let arguments = ["--virtual-nodes=2", "--max-pods=0"].iter().chain(further).map(|one| (*one).to_owned()).collect();
    cluster.up(&Up { arguments, ..Up::default() })?.success().map(drop)
}

fn plan(cluster: &Cluster, manifest: &str, further: &[&str]) -> Result<Output> {
    let file = cluster.folder().join("plan.yaml");
    fs::write(&file, manifest)?;
    run(cluster.roadstead(&["plan"]).arg("-f").arg(file).args(further))
}

fn why(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    run(cluster.roadstead(&["why"]).args(arguments))
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

fn rolled_out(cluster: &Cluster) -> Result<()> {
    kubectl(cluster, &["rollout", "status", "sts/db", "--timeout=120s"]).map(drop)
}

/// Every object of the namespace that a plan could have changed, with its version.
fn versions(cluster: &Cluster) -> Result<String> {
    let columns = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion,U:.metadata.uid";
    kubectl(cluster, &["get", "sts,pods,pvc,cm,controllerrevisions", "-o", columns])
}

/// The foretold steps that watchers of pods see: `delete db-2`, `create db-2`.
fn foretold(forecast: &Value) -> Vec<String> {
    let steps = forecast["steps"].as_array().into_iter().flatten();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap_or_default().to_owned();
    steps
        .filter_map(|step| match text(step, "what").as_str() {
            "createPod" => Some(format!("create {}", text(step, "name"))),
            "deletePod" => Some(format!("delete {}", text(step, "name"))),
            _ => None,
        })
        .collect()
}

/// A revision after which everything else happens.
fn now(cluster: &Cluster) -> Result<String> {
    let pods: Value = serde_json::from_str(&kubectl(cluster, &["get", "--raw", "/api/v1/namespaces/default/pods"])?)?;
    Ok(pods["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
}

/// What happened to the pods since a revision, in the words of [`foretold`].
fn happened(cluster: &Cluster, since: &str) -> Result<Vec<String>> {
    let path = format!("/api/v1/namespaces/default/pods?watch=1&resourceVersion={since}&timeoutSeconds=1");
    let mut leaving = BTreeSet::new();
    let mut steps = Vec::new();
    for line in kubectl(cluster, &["get", "--raw", &path])?.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let metadata = &event["object"]["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        if event["type"] == "ADDED" {
            steps.push(format!("create {name}"));
        }
        let goes = event["type"] == "DELETED" || !metadata["deletionTimestamp"].is_null();
        if goes && leaving.insert(metadata["uid"].to_string()) {
            steps.push(format!("delete {name}"));
        }
    }
    Ok(steps)
}

#[test]
fn a_plan_says_what_then_happens_and_changes_nothing_itself() -> Result<()> {
    let cluster = virtual_cluster("plan", &[])?;
    apply(&cluster, GROWING)?;
    let new = plan(&cluster, &set(GOOD, ""), &[])?;
    assert_eq!(new.code, 2, "{new:?}");
    assert!(new.stdout.starts_with("statefulset.apps/db is created\n  pod db-0  is created\n"), "{}", new.stdout);
    assert_eq!(kubectl(&cluster, &["get", "sts,pods,pvc", "-o", "name"])?, "", "nothing is there yet");
    apply(&cluster, &set(GOOD, ""))?;
    rolled_out(&cluster)?;

    let before = versions(&cluster)?;
    let same = plan(&cluster, &set(GOOD, ""), &[])?;
    assert_eq!((same.code, same.stdout.as_str()), (0, "statefulset.apps/db stays as it is\n"), "{same:?}");

    let text = plan(&cluster, &set(NEW, ""), &[])?;
    assert_eq!(text.code, 2, "{text:?}");
    let lines: Vec<&str> = text.stdout.lines().collect();
    assert_eq!(lines[0], "statefulset.apps/db changes");
    assert_eq!(lines[1], format!("  {IMAGE}: {GOOD} → {NEW}"));
    for (line, pod) in lines[2..].iter().zip(["db-0", "db-1", "db-2"]) {
        assert_eq!(*line, format!("  pod {pod}  is made anew; its name and its volumes stay ({IMAGE})"));
    }
    let planned = plan(&cluster, &set(NEW, ""), &["-o", "json"])?;
    assert_eq!(planned.code, 2, "{planned:?}");
    let planned = json(&planned)?;
    let forecast = &planned["objects"][0]["forecast"];
    let steps = foretold(forecast);
    let order = ["delete db-2", "create db-2", "delete db-1", "create db-1", "delete db-0", "create db-0"];
    assert_eq!(steps, order);
    for (index, step) in steps.iter().enumerate() {
        let number = format!("{}. ", index + 1);
        let line = lines.iter().find(|line| line.trim_start().starts_with(&number)).copied().unwrap_or_default();
        let pod = step.split(' ').next_back().unwrap_or_default();
        assert!(line.contains(step) && line.ends_with(&format!("(not serving: {pod})")), "{step}: {line:?}");
        assert_eq!(forecast["steps"][index]["unavailable"], serde_json::json!([pod]));
    }
    for pod in forecast["pods"].as_array().into_iter().flatten() {
        assert_eq!((&pod["fate"], &pod["because"][0]), (&"recreated".into(), &IMAGE.into()), "{pod}");
    }
    assert_eq!(forecast["end"], "settled");
    assert_eq!(versions(&cluster)?, before, "a plan changes nothing");

    let since = now(&cluster)?;
    apply(&cluster, &set(NEW, ""))?;
    rolled_out(&cluster)?;
    assert_eq!(happened(&cluster, &since)?, steps);
    assert_eq!(plan(&cluster, &set(NEW, ""), &[])?.code, 0);

    // Scaled down while the claims of such pods go.
    let policy = "spec:\n  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain}\n";
    let smaller = set(NEW, "").replace("spec:\n  replicas: 3", &format!("{policy}  replicas: 2"));
    let text = plan(&cluster, &smaller, &[])?;
    let gone = "  claim data-db-2 is DELETED with its data (";
    assert!(text.stdout.contains(gone) && text.stdout.contains("spec.replicas: 3 → 2\n"), "{}", text.stdout);
    let since = now(&cluster)?;
    apply(&cluster, &smaller)?;
    until("the claim is gone", || {
        let found = kubectl(&cluster, &["get", "pvc", "data-db-2", "--ignore-not-found", "-o", "name"])?;
        Ok(found.is_empty().then_some(()))
    })?;
    assert_eq!(happened(&cluster, &since)?, ["delete db-2"]);
    Ok(())
}

#[test]
fn a_plan_tells_of_every_manifest_and_refuses_in_the_words_of_the_api() -> Result<()> {
    let cluster = virtual_cluster("plan-many", &[])?;
    let all = |mode: &str, size: &str| [set(GOOD, ""), settings(mode), claim(size)].join("---\n");
    apply(&cluster, GROWING)?;
    apply(&cluster, &[set(GOOD, ""), settings("slow")].join("---\n"))?;
    rolled_out(&cluster)?;

    let before = versions(&cluster)?;
    let many = plan(&cluster, &all("fast", "2Gi"), &[])?;
    assert_eq!(many.code, 2, "{many:?}");
    let expected = "\
statefulset.apps/db stays as it is
configmap/settings changes
  data.mode: slow → fast
  pods see it in mounted files by themselves, in their environment only after a restart
persistentvolumeclaim/data-db-0 changes
  spec.resources.requests.storage: 1Gi → 2Gi
  the volume grows; its data stays
";
    assert_eq!(many.stdout, expected);
    let refusals = [
        (set(GOOD, "").replace("serviceName: db", "serviceName: other"), "Forbidden: updates to statefulset spec for "),
        (set(GOOD, "").replace("name: db}", "name: Db_1}"), "metadata.name: Invalid value: \"Db_1\": a lowercase RFC"),
        (
            set(GOOD, "").replace("replicas: 3", "replicas: -1"),
            "spec.replicas: Invalid value: -1: must be greater than",
        ),
    ];
    for (manifest, words) in refusals {
        // Beside a good one, of which nothing is told or done either.
        let refused = plan(&cluster, &[settings("fast"), manifest.clone()].join("---\n"), &[])?;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
        let applied = cluster.kubectl_stdin(conformance::Kubectl::Newest, &["apply", "-f", "-"], &manifest)?;
        assert!(applied.code == 1 && applied.stderr.contains(words), "kubectl is told the same: {applied:?}");
    }
    // Labels and annotations of the set itself are told, once, and touch no pod.
    let asks = "metadata: {name: db, labels: {team: shop}, annotations: {roadstead.dev/rollback-after: 5m}}";
    let asking = plan(&cluster, &set(GOOD, "").replace("metadata: {name: db}", asks), &[])?;
    let expected = "\
statefulset.apps/db changes
  metadata.annotations.roadstead.dev/rollback-after: (not set) → 5m
  metadata.labels.team: (not set) → shop
  pod db-0  stays as it is
  pod db-1  stays as it is
  pod db-2  stays as it is
  no pod is touched
";
    assert_eq!((asking.code, asking.stdout.as_str()), (2, expected), "{asking:?}");
    assert_eq!(versions(&cluster)?, before, "nothing was changed");
    // And it does grow.
    let larger = r#"{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}"#;
    kubectl(&cluster, &["patch", "pvc", "data-db-0", "--type=merge", "-p", larger])?;
    until("the volume is larger", || {
        let capacity = field(&cluster, "pvc/data-db-0", "{.status.capacity.storage}")?;
        Ok((capacity == "2Gi").then_some(()))
    })?;
    let volume = field(&cluster, "pvc/data-db-0", "{.spec.volumeName}")?;
    assert_eq!(field(&cluster, &format!("pv/{volume}"), "{.spec.capacity.storage}")?, "2Gi");
    Ok(())
}

#[test]
fn why_says_by_its_exit_code_whether_somebody_has_to_do_something() -> Result<()> {
    let cluster = virtual_cluster("why", &[])?;
    apply(&cluster, GROWING)?;
    // Their Service is missing, which blocks nothing.
    let cases = [
        ("good", "", 0, "Fine"),
        ("slow", "roadstead.dev/start-delay: 1h", 2, "Working"),
        ("broken", "roadstead.dev/fail: image", 3, "Stuck"),
    ];
    for (name, script, code, state) in cases {
        apply(&cluster, &set(GOOD, script).replace("db", name))?;
        let told = until(&format!("{state} of {name}"), || {
            let answer = why(&cluster, &[name, "-o", "json"])?;
            let told = json(&answer)?;
            Ok((answer.code == code && told["state"] == state).then_some(told))
        })?;
        assert_eq!(told["chain"][0]["name"], name, "{told}");
        assert_eq!(told["next"].as_array().is_some_and(|next| !next.is_empty()), code == 3, "{told}");
        let text = why(&cluster, &[&format!("sts/{name}")])?;
        assert_eq!(text.code, code, "{text:?}");
        let first = format!("statefulset/{name} {}", told["chain"][0]["says"].as_str().unwrap_or_default());
        assert_eq!(text.stdout.lines().next(), Some(first.as_str()));
    }
    let absent = why(&cluster, &["pod/nobody"])?;
    assert_eq!(absent.code, 3, "{absent:?}");
    // Two would mean that it waits.
    let mistyped = why(&cluster, &["db", "--outptu=json"])?;
    assert!(mistyped.code == 1 && mistyped.stderr.contains("--outptu"), "{mistyped:?}");
    let unknown = why(&cluster, &["widget/db"])?;
    assert!(unknown.code == 1 && unknown.stderr.contains("is not a type that `why` knows"), "{unknown:?}");
    Ok(())
}

#[test]
fn plan_and_why_know_whether_the_server_heals_by_default() -> Result<()> {
    let told = "{.metadata.annotations.roadstead\\.dev/heal-rollout}";
    let cluster = virtual_cluster("plan-heals", &["--heal-rollout=never-ready"])?;
    assert_eq!(field(&cluster, "ns/kube-system", told)?, "never-ready");
    apply(&cluster, GROWING)?;
    apply(&cluster, &set(GOOD, ""))?;
    rolled_out(&cluster)?;
    apply(&cluster, &set(NEW, "roadstead.dev/fail: image"))?;
    let stuck = until("db-2 cannot have its image", || {
        let answer = why(&cluster, &["db"])?;
        Ok((answer.code == 3).then_some(answer))
    })?;
    assert!(stuck.stdout.contains("and this pod follows it by itself"), "{}", stuck.stdout);
    assert!(!stuck.stdout.contains("kubectl annotate"), "no annotation is needed: {}", stuck.stdout);

    let planned = json(&plan(&cluster, &set(NEW, ""), &["-o", "json"])?)?;
    let forecast = &planned["objects"][0]["forecast"];
    let steps = foretold(forecast);
    assert_eq!(steps[..2], ["delete db-2", "create db-2"], "{forecast:#}");
    assert_eq!(forecast["end"], "settled");
    let since = now(&cluster)?;
    apply(&cluster, &set(NEW, ""))?;
    rolled_out(&cluster)?;
    assert_eq!(happened(&cluster, &since)?, steps);

    run(&mut cluster.roadstead(&["down"]))?.success()?;
    start(&cluster, &[])?;
    assert_eq!(field(&cluster, "ns/kube-system", told)?, "", "the next server does not heal, and says so");
    apply(&cluster, &set(GOOD, "roadstead.dev/fail: image"))?;
    until("the annotation is proposed", || {
        let answer = why(&cluster, &["db"])?;
        let proposed = answer.stdout.contains("kubectl annotate statefulset db roadstead.dev/heal-rollout=never-ready");
        Ok((answer.code == 3 && proposed).then_some(()))
    })?;
    let planned = json(&plan(&cluster, &set(NEW, ""), &["-o", "json"])?)?;
    assert_eq!(planned["objects"][0]["forecast"]["steps"], serde_json::json!([]), "it waits for the broken pod");
    Ok(())
}
