//! `--virtual-nodes`: pods with a scripted life and no process, as a stranger's kubectl sees them.

use anyhow::{Context as _, Result};
use conformance::{Cluster, Up};
use serde_json::Value;

use crate::support::{apply, binary, field, kubectl};

const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata:
      labels: {app: db}
      annotations: {roadstead.dev/start-delay: 20ms, roadstead.dev/fail: exit 3 1 times}
    spec:
      nodeSelector: {roadstead.dev/virtual: 'true'}
      containers:
      - {name: c, image: 'example.com/nowhere:1', volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 10
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {roadstead.dev/virtual: 'true'}
      containers: [{name: c, image: 'example.com/nowhere:1'}]
";

/// What happened to pods with this label since a revision, from the server's history: type and object.
fn history(cluster: &Cluster, since: &str, label: &str) -> Result<Vec<(String, Value)>> {
    let path = format!(
        "/api/v1/namespaces/default/pods?watch=1&resourceVersion={since}&labelSelector={label}&timeoutSeconds=1"
    );
    let lines = kubectl(cluster, &["get", "--raw", &path])?;
    let event = |line: &str| -> Result<(String, Value)> {
        let mut event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        Ok((event["type"].as_str().unwrap_or_default().to_owned(), event["object"].take()))
    };
    lines.lines().map(event).collect()
}

#[test]
fn pods_on_virtual_nodes_live_as_their_annotations_say_and_take_their_places_along() -> Result<()> {
    let cluster = Cluster::new(&binary(), "virtual")?;
    let arguments = vec!["--virtual-nodes=2".to_owned(), "--max-pods=0".to_owned()];
    cluster.up(&Up { arguments, ..Up::default() })?.success()?;
    apply(&cluster, SET)?;
    kubectl(&cluster, &["rollout", "status", "sts/db", "--timeout=120s"])?;
    let restarts =
        "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.exitCode}";
    for pod in ["pod/db-0", "pod/db-1", "pod/db-2"] {
        assert_eq!(field(&cluster, pod, restarts)?, "1 3", "{pod} failed once");
        assert!(field(&cluster, pod, "{.spec.nodeName}")?.starts_with("virtual-"));
    }

    let since = field(&cluster, "pod/db-2", "{.metadata.resourceVersion}")?;
    apply(&cluster, DEPLOYMENT)?;
    kubectl(&cluster, &["rollout", "status", "deployment/web", "--timeout=120s"])?;
    let events = history(&cluster, &since, "app=web")?;
    let added = events.iter().filter(|(kind, _)| kind == "ADDED").map(|(_, pod)| pod);
    let placed = added.clone().filter(|pod| pod["spec"]["nodeName"].is_string()).count();
    assert_eq!(added.count(), 10, "{events:?}");
    // A pod that is created while the scheduler looks at others waits for its turn; not all do.
    assert!(placed > 0, "pods come with their nodes (decision 24)");
    Ok(())
}
