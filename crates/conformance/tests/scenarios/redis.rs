//! The main job: three real Redis pods that stay right whatever is killed.

use std::process::Command;

use anyhow::{Context, Result};
use conformance::{Cluster, TestImage, Up, root_folder, run};

use crate::support::{Beside, cluster, field, kubectl, until, wait_for};

const MANIFEST: &str = "examples/redis.yaml";

fn redis(purpose: &str) -> Result<Cluster> {
    cluster(purpose, &[TestImage::Redis], &[MANIFEST])
}

fn cli(cluster: &Cluster, pod: &str, words: &[&str]) -> Result<String> {
    let mut arguments = vec!["exec", pod, "--", "redis-cli"];
    arguments.extend(words);
    Ok(kubectl(cluster, &arguments)?.trim().to_owned())
}

/// Waits until Redis in the pod answers with the key: after a start it may still load its data.
fn key_is_kept(cluster: &Cluster, pod: &str) -> Result<()> {
    until(&format!("the key on {pod}"), || {
        let output = cluster.kubectl(&["exec", pod, "--", "redis-cli", "get", "key"])?;
        Ok((output.stdout.trim() == "value").then_some(()))
    })
}

fn write_key(cluster: &Cluster) -> Result<()> {
    assert_eq!(cli(cluster, "redis-0", &["set", "key", "value"])?, "OK");
    assert_eq!(cli(cluster, "redis-0", &["wait", "2", "10000"])?, "2");
    Ok(())
}

#[test]
fn three_pods_become_ready_in_order_and_replicate() -> Result<()> {
    let cluster = redis("order")?;
    let path = r#"jsonpath={range .items[*]}{.metadata.name}={.metadata.creationTimestamp}{"\n"}{end}"#;
    let created = kubectl(&cluster, &["get", "pods", "-o", path])?;
    let names: Vec<&str> = created.lines().filter_map(|l| l.split('=').next()).collect();
    assert_eq!(names, ["redis-0", "redis-1", "redis-2"]);
    // Each pod was created only after the one below it had become ready.
    let mut ready_before = String::new();
    for name in names {
        let born = field(&cluster, &format!("pod/{name}"), "{.metadata.creationTimestamp}")?;
        assert!(
            born >= ready_before,
            "{name} was created at {born}, before its predecessor was ready at {ready_before}"
        );
        let ready = r#"{.status.conditions[?(@.type=="Ready")].lastTransitionTime}"#;
        ready_before = field(&cluster, &format!("pod/{name}"), ready)?;
    }
    write_key(&cluster)?;
    assert_eq!(cli(&cluster, "redis-2", &["get", "key"])?, "value");
    Ok(())
}

#[test]
fn a_deleted_pod_comes_back_with_its_name_claim_and_data_and_a_new_address() -> Result<()> {
    let cluster = redis("delete")?;
    write_key(&cluster)?;
    let uid = field(&cluster, "pod/redis-0", "{.metadata.uid}")?;
    let address = field(&cluster, "pod/redis-0", "{.status.podIP}")?;
    let volume = field(&cluster, "pvc/data-redis-0", "{.spec.volumeName}")?;
    kubectl(&cluster, &["delete", "pod", "redis-0"])?;
    kubectl(&cluster, &["rollout", "status", "statefulset/redis", "--timeout=120s"])?;
    assert_ne!(field(&cluster, "pod/redis-0", "{.metadata.uid}")?, uid);
    assert_eq!(field(&cluster, "pvc/data-redis-0", "{.spec.volumeName}")?, volume);
    let renewed = field(&cluster, "pod/redis-0", "{.status.podIP}")?;
    assert_ne!(renewed, address, "a new pod has a new address");
    let looked_up = until("the name resolves to the new address", || {
        let output =
            cluster.kubectl(&["exec", "redis-1", "--", "nslookup", "redis-0.redis.default.svc.cluster.local"])?;
        Ok(output.stdout.contains(&renewed).then_some(output.stdout))
    })?;
    assert!(!looked_up.contains(&format!("{address}\n")), "{looked_up}");
    key_is_kept(&cluster, "redis-0")
}

#[test]
fn a_killed_container_process_is_restarted_in_place() -> Result<()> {
    let cluster = redis("kill-redis")?;
    write_key(&cluster)?;
    let uid = field(&cluster, "pod/redis-0", "{.metadata.uid}")?;
    // Process 1 of a pid namespace cannot be killed from within it; from the host it can.
    let pid = container_pid(&cluster, "redis-0")?;
    run(Command::new("kill").args(["-9", &pid.to_string()]))?.success()?;
    until("the container was restarted", || {
        let count = field(&cluster, "pod/redis-0", "{.status.containerStatuses[0].restartCount}")?;
        Ok((count == "1").then_some(()))
    })?;
    wait_for(&cluster, "pod/redis-0", "condition=Ready")?;
    assert_eq!(field(&cluster, "pod/redis-0", "{.metadata.uid}")?, uid, "it is the same pod");
    key_is_kept(&cluster, "redis-0")
}

#[test]
fn a_set_that_is_deleted_and_created_again_finds_its_data() -> Result<()> {
    let cluster = redis("recreate")?;
    write_key(&cluster)?;
    kubectl(&cluster, &["delete", "statefulset", "redis"])?;
    wait_for(&cluster, "pod/redis-0", "delete")
        .or_else(|e| if e.to_string().contains("NotFound") { Ok(()) } else { Err(e) })?;
    let claims = kubectl(&cluster, &["get", "pvc", "-o", "name"])?;
    assert_eq!(claims.lines().count(), 3, "claims outlive the set: {claims}");
    let manifest = root_folder().join(MANIFEST);
    cluster.up(&Up { files: vec![manifest], ..Up::default() })?.success()?;
    key_is_kept(&cluster, "redis-0")
}

#[test]
fn redis_serves_on_while_roadstead_is_killed_and_started_again() -> Result<()> {
    let cluster = redis("kill-9")?;
    write_key(&cluster)?;
    let before: Vec<u32> = (0..3).map(|n| container_pid(&cluster, &format!("redis-{n}"))).collect::<Result<_>>()?;
    let statuses = kubectl(&cluster, &["get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses}"])?;
    let address = field(&cluster, "pod/redis-0", "{.status.podIP}")?;

    run(Command::new("kill").args(["-9", &cluster.server_pid()?.to_string()]))?.success()?;
    let served = run(cluster.netns().command("redis-cli").args(["-h", &address, "get", "key"]))?.success()?;
    assert_eq!(served.trim(), "value", "Redis serves without Roadstead");

    cluster.up(&Up::default())?.success()?;
    let after: Vec<u32> = (0..3).map(|n| container_pid(&cluster, &format!("redis-{n}"))).collect::<Result<_>>()?;
    assert_eq!(before, after, "the same processes");
    assert_eq!(cli(&cluster, "redis-0", &["get", "key"])?, "value");
    let again = kubectl(&cluster, &["get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses}"])?;
    assert_eq!(statuses, again, "the restarted agent changed nothing");
    Ok(())
}

#[test]
fn down_and_up_bring_the_pods_back_in_order_with_their_data() -> Result<()> {
    let cluster = redis("down-up")?;
    write_key(&cluster)?;
    run(&mut cluster.roadstead(&["down"]))?.success()?;
    assert!(no_process_of(&cluster)?, "down leaves no process");
    let manifest = root_folder().join(MANIFEST);
    cluster.up(&Up { files: vec![manifest], ..Up::default() })?.success()?;
    key_is_kept(&cluster, "redis-0")?;
    key_is_kept(&cluster, "redis-2")
}

#[test]
fn scaling_up_and_down_keeps_order_and_claims() -> Result<()> {
    // C-96a.
    let cluster = redis("scale")?;
    let watch = Beside::start(&mut cluster.kubectl_command(
        conformance::Kubectl::Newest,
        &["get", "pods", "-w", "-o", "custom-columns=N:.metadata.name,D:.metadata.deletionTimestamp", "--no-headers"],
    ))?;
    kubectl(&cluster, &["scale", "statefulset/redis", "--replicas=5"])?;
    kubectl(&cluster, &["rollout", "status", "statefulset/redis", "--timeout=120s"])?;
    kubectl(&cluster, &["scale", "statefulset/redis", "--replicas=2"])?;
    until("two pods are left", || {
        let pods = kubectl(&cluster, &["get", "pods", "-o", "name"])?;
        Ok((pods.lines().collect::<Vec<_>>() == ["pod/redis-0", "pod/redis-1"]).then_some(()))
    })?;
    assert_eq!(kubectl(&cluster, &["get", "pvc", "-o", "name"])?.lines().count(), 5, "claims are kept");
    let seen = watch.stop()?;
    let stopped: Vec<&str> =
        seen.lines().filter(|l| !l.ends_with("<none>")).filter_map(|l| l.split_whitespace().next()).collect();
    let mut order: Vec<&str> = stopped.clone();
    order.dedup();
    assert_eq!(order, ["redis-4", "redis-3", "redis-2"], "highest ordinal first:\n{seen}");
    Ok(())
}

#[test]
fn a_new_image_is_rolled_out_from_the_highest_ordinal_and_undone() -> Result<()> {
    // A-55.
    let cluster = redis("rollout")?;
    write_key(&cluster)?;
    let first = field(&cluster, "statefulset/redis", "{.status.currentRevision}")?;
    kubectl(&cluster, &["set", "image", "statefulset/redis", "redis=redis:7.0-debian"])?;
    kubectl(&cluster, &["rollout", "status", "statefulset/redis", "--timeout=120s"])?;
    assert_eq!(field(&cluster, "pod/redis-0", "{.spec.containers[0].image}")?, "redis:7.0-debian");
    kubectl(&cluster, &["rollout", "undo", "statefulset/redis"])?;
    kubectl(&cluster, &["rollout", "status", "statefulset/redis", "--timeout=120s"])?;
    assert_eq!(field(&cluster, "pod/redis-0", "{.spec.containers[0].image}")?, "redis:7.0");
    assert_eq!(field(&cluster, "statefulset/redis", "{.status.currentRevision}")?, first, "an old revision is reused");
    key_is_kept(&cluster, "redis-0")
}

/// Host's process id of a pod's first container process: the program whose environment names the pod.
fn container_pid(cluster: &Cluster, pod: &str) -> Result<u32> {
    let uid = field(cluster, &format!("pod/{pod}"), "{.metadata.uid}")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let cgroups = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if cgroups.contains(&format!("pod{uid}")) && name.trim() == "redis-server" {
            found.push(pid);
        }
    }
    found.into_iter().min().with_context(|| format!("no redis-server process in the cgroup of pod {pod} ({uid})"))
}

/// True if no process is left in the cluster's network namespace.
fn no_process_of(cluster: &Cluster) -> Result<bool> {
    let name = cluster.netns().path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let listed = run(Command::new("ip").args(["netns", "pids", &name]))?.success()?;
    Ok(listed.trim().is_empty())
}
