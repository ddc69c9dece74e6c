//! What becomes of the bytes: the retention policy of claims in its four combinations.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use conformance::{Cluster, TestImage};

use crate::support::{apply, cluster, field, kubectl, until, wait_for};

/// A set's name, and whether its claims go when it is deleted, and when it is scaled down.
const COMBINATIONS: [(&str, bool, bool); 4] =
    [("keep-all", false, false), ("drop-scaled", false, true), ("drop-deleted", true, false), ("drop-all", true, true)];

fn set((name, deleted, scaled): (&str, bool, bool)) -> String {
    let policy = |drop: bool| if drop { "Delete" } else { "Retain" };
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: {name}}}}}
  persistentVolumeClaimRetentionPolicy: {{whenDeleted: {}, whenScaled: {}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: c, image: \"busybox:1.35\", command: [sleep, \"3600\"], volumeMounts: [{{name: data, mountPath: /data}}]}}
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 16Mi}}}}}}
---
",
        policy(deleted),
        policy(scaled)
    )
}

/// Where a claim's bytes are on the host.
fn folder_of(cluster: &Cluster, pod: &str) -> Result<PathBuf> {
    let volume = field(cluster, &format!("pvc/data-{pod}"), "{.spec.volumeName}")?;
    Ok(field(cluster, &format!("pv/{volume}"), "{.spec.local.path}")?.into())
}

/// Writes a megabyte that nobody can guess from inside the container, and reads it from the host.
fn write_bytes(cluster: &Cluster, pod: &str) -> Result<(PathBuf, Vec<u8>)> {
    let write = "head -c 1048576 /dev/urandom > /data/bytes && echo done";
    assert_eq!(kubectl(cluster, &["exec", pod, "--", "sh", "-c", write])?, "done\n");
    let file = folder_of(cluster, pod)?.join("bytes");
    let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    assert_eq!(bytes.len(), 1 << 20);
    Ok((file, bytes))
}

/// What the pod's volume holds now; `None` if it is a new one.
fn bytes_of(cluster: &Cluster, pod: &str) -> Result<Option<Vec<u8>>> {
    wait_for(cluster, &format!("pod/{pod}"), "condition=Ready")?;
    let file = folder_of(cluster, pod)?.join("bytes");
    let listed = kubectl(cluster, &["exec", pod, "--", "ls", "/data"])?;
    match file.exists() {
        true => Ok(Some(fs::read(&file)?)),
        false => {
            assert_eq!(listed.trim(), "", "the pod sees what the host sees");
            Ok(None)
        }
    }
}

/// Waits until the claim, its volume and its folder are gone; or sees that they are there.
fn judge(cluster: &Cluster, pod: &str, file: &Path, gone: bool, expected: &[u8]) -> Result<()> {
    let claim = format!("pvc/data-{pod}");
    if gone {
        until(&format!("{claim} is gone"), || {
            let found = kubectl(cluster, &["get", &claim, "--ignore-not-found", "-o", "name"])?;
            Ok((found.is_empty() && !file.exists()).then_some(()))
        })
    } else {
        assert_eq!(field(cluster, &claim, "{.status.phase}{.metadata.deletionTimestamp}")?, "Bound", "{claim}");
        assert!(fs::read(file)? == expected, "the bytes of {claim} are the same");
        Ok(())
    }
}

fn rolled_out(cluster: &Cluster, set: &str) -> Result<()> {
    kubectl(cluster, &["rollout", "status", &format!("sts/{set}"), "--timeout=120s"]).map(drop)
}

fn pods_left(cluster: &Cluster, set: &str, count: usize) -> Result<()> {
    until(&format!("{count} pods of {set} are left"), || {
        let pods = kubectl(cluster, &["get", "pods", "-l", &format!("app={set}"), "-o", "name"])?;
        Ok((pods.lines().count() == count).then_some(()))
    })
}

#[test]
fn claims_and_bytes_go_or_stay_as_the_policy_says() -> Result<()> {
    // S5: those that go are waited for first; then those that stay had the same time.
    let cluster = cluster("retention", &[TestImage::Busybox], &[])?;
    apply(&cluster, &COMBINATIONS.map(set).concat())?;
    let mut written = Vec::new();
    for (name, ..) in COMBINATIONS {
        rolled_out(&cluster, name)?;
        written.push([write_bytes(&cluster, &format!("{name}-0"))?, write_bytes(&cluster, &format!("{name}-1"))?]);
    }
    let mut cases: Vec<_> = COMBINATIONS.into_iter().zip(&written).collect();

    for (name, ..) in COMBINATIONS {
        kubectl(&cluster, &["scale", &format!("sts/{name}"), "--replicas=1"])?;
    }
    for (name, ..) in COMBINATIONS {
        pods_left(&cluster, name, 1)?;
    }
    cases.sort_by_key(|((_, _, scaled), _)| !scaled);
    for ((name, _, scaled), [low, high]) in &cases {
        judge(&cluster, &format!("{name}-1"), &high.0, *scaled, &high.1)?;
        judge(&cluster, &format!("{name}-0"), &low.0, false, &low.1)?;
    }
    for (name, ..) in COMBINATIONS {
        kubectl(&cluster, &["scale", &format!("sts/{name}"), "--replicas=2"])?;
    }
    for ((name, _, scaled), [_, high]) in &cases {
        let found = bytes_of(&cluster, &format!("{name}-1"))?;
        assert!(found == (!scaled).then(|| high.1.clone()), "{name}-1 after scaling down and up");
    }

    for (name, ..) in COMBINATIONS {
        kubectl(&cluster, &["delete", "sts", name])?;
    }
    for (name, ..) in COMBINATIONS {
        pods_left(&cluster, name, 0)?;
    }
    cases.sort_by_key(|((_, deleted, _), _)| !deleted);
    for ((name, deleted, _), [low, _]) in &cases {
        judge(&cluster, &format!("{name}-0"), &low.0, *deleted, &low.1)?;
    }
    apply(&cluster, &COMBINATIONS.map(set).concat())?;
    for ((name, deleted, scaled), [low, high]) in &cases {
        let found = bytes_of(&cluster, &format!("{name}-0"))?;
        assert!(found == (!deleted).then(|| low.1.clone()), "{name}-0 after the set was deleted and made again");
        let found = bytes_of(&cluster, &format!("{name}-1"))?;
        let kept = !deleted && !scaled;
        assert!(found == kept.then(|| high.1.clone()), "{name}-1 after the set was deleted and made again");
    }
    Ok(())
}
