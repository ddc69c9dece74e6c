//! What is left, and what comes back, when containers, Roadstead or the whole machine end without a word.

use std::process::Command;

use anyhow::{Context, Result};
use conformance::{Cluster, TestImage, Up, root_folder, run};

use crate::support::{apply, cluster, event, field, kubectl, processes_of, until, wait_for};

fn kill(pids: &[u32]) -> Result<()> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    run(Command::new("kill").arg("-9").args(&pids)).map(drop)
}

#[test]
fn a_crashing_container_shows_its_last_words_and_is_restarted_with_back_off() -> Result<()> {
    let cluster = cluster("crash", &[TestImage::Busybox], &[])?;
    apply(
        &cluster,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: crash}\nspec:\n  containers:\n  - {name: c, image: \"busybox:1.35\", \
         terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, \"echo last words; exit 3\"]}\n",
    )?;
    event(&cluster, "crash", &["BackOff", "Back-off restarting failed container c in pod crash_default"])?;
    until("the second restart", || {
        let count = field(&cluster, "pod/crash", "{.status.containerStatuses[0].restartCount}")?;
        Ok(count.parse::<u32>().is_ok_and(|count| count >= 2).then_some(()))
    })?;
    let waiting = until("it waits again", || {
        let state = field(&cluster, "pod/crash", "{.status.containerStatuses[0].state.waiting}")?;
        Ok(state.contains("CrashLoopBackOff").then_some(state))
    })?;
    assert!(waiting.contains("back-off 20s restarting failed container=c pod=crash_default"), "{waiting}");
    let ended = field(&cluster, "pod/crash", "{.status.containerStatuses[0].lastState.terminated}")?;
    for word in ["\"exitCode\":3", "\"reason\":\"Error\"", "last words"] {
        assert!(ended.contains(word), "{word:?} is missing in: {ended}");
    }
    assert_eq!(kubectl(&cluster, &["logs", "crash", "--previous"])?, "last words\n");
    assert_eq!(kubectl(&cluster, &["logs", "crash"])?, "last words\n");
    Ok(())
}

#[test]
fn a_pod_that_was_removed_while_roadstead_was_dead_leaves_nothing() -> Result<()> {
    let cluster = cluster("orphan", &[TestImage::Busybox], &[])?;
    // It does not listen to SIGTERM: forced deletion removes the object long before the container ends.
    apply(
        &cluster,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: deaf}\nspec:\n  terminationGracePeriodSeconds: 5\n  volumes: \
         [{name: v, emptyDir: {}}]\n  containers:\n  - {name: c, image: \"busybox:1.35\", volumeMounts: [{name: v, \
         mountPath: /v}], command: [sh, -c, \"trap '' TERM; while :; do sleep 1; done\"]}\n",
    )?;
    wait_for(&cluster, "pod/deaf", "condition=Ready")?;
    let uid = field(&cluster, "pod/deaf", "{.metadata.uid}")?;
    let address = field(&cluster, "pod/deaf", "{.status.podIP}")?;
    assert!(!processes_of(&uid)?.is_empty());
    let deleted = cluster.kubectl(&["delete", "pod", "deaf", "--force", "--grace-period=0", "--wait=false"])?;
    assert_eq!(deleted.code, 0, "{deleted:?}");
    kill(&[cluster.server_pid()?])?;
    assert!(!processes_of(&uid)?.is_empty(), "the container outlives the server that was about to stop it");

    cluster.up(&Up::default())?.success()?;
    assert_eq!(kubectl(&cluster, &["get", "pods", "-o", "name"])?, "", "no object comes back");
    until("its processes are gone", || Ok(processes_of(&uid)?.is_empty().then_some(())))?;
    until("its cgroups, mounts, folders and route are gone", || {
        Ok(traces(&cluster, &uid, &address)?.is_empty().then_some(()))
    })
    .with_context(|| traces(&cluster, &uid, &address).unwrap_or_default().join("\n"))
}

/// Everything on the host that still names a pod.
fn traces(cluster: &Cluster, uid: &str, address: &str) -> Result<Vec<String>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let routes = run(cluster.netns().command("ip").args(["route"]))?.success()?;
    let folders = run(Command::new("find").arg(cluster.data()).args(["/sys/fs/cgroup", "-name", &format!("*{uid}*")]))?;
    let found = mounts.lines().filter(|line| line.contains(uid));
    let found = found.chain(routes.lines().filter(|line| line.split_whitespace().any(|word| word == address)));
    Ok(found.chain(folders.stdout.lines()).map(str::to_owned).collect())
}

#[test]
fn after_a_power_loss_the_same_pods_are_started_again_in_place() -> Result<()> {
    let cluster = cluster("power", &[TestImage::Redis], &["examples/redis.yaml"])?;
    let write = kubectl(&cluster, &["exec", "redis-0", "--", "redis-cli", "set", "key", "value"])?;
    assert_eq!(write.trim(), "OK");
    kubectl(&cluster, &["exec", "redis-0", "--", "redis-cli", "save"])?;
    let uids = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    let before = kubectl(&cluster, &["get", "pods", "-o", uids])?;
    lose_power(&cluster)?;

    let files = vec![root_folder().join("examples/redis.yaml")];
    cluster.up(&Up { files, ..Up::default() })?.success()?;
    assert_eq!(kubectl(&cluster, &["get", "pods", "-o", uids])?, before, "the same pods under the same UIDs");
    for pod in ["pod/redis-0", "pod/redis-1", "pod/redis-2"] {
        let status = field(&cluster, pod, "{.status.containerStatuses[0]}")?;
        assert!(status.contains("\"restartCount\":1"), "{pod}: {status}");
        // Nobody saw the container end: the code is 137 and the reason says that it is a guess, as upstream.
        assert!(
            status.contains("\"exitCode\":137") && status.contains("\"ContainerStatusUnknown\""),
            "{pod}: {status}"
        );
    }
    until("the key is there", || {
        let output = cluster.kubectl(&["exec", "redis-0", "--", "redis-cli", "get", "key"])?;
        Ok((output.stdout.trim() == "value").then_some(()))
    })
}

/// Ends everything of the cluster at once, and takes away what a reboot takes away: mounts and links.
fn lose_power(cluster: &Cluster) -> Result<()> {
    let text = std::fs::read_to_string(cluster.data().join("cluster.json"))?;
    let parsed: serde_json::Value = serde_json::from_str(&text)?;
    let id = parsed["id"].as_str().context("cluster.json has an id")?.to_owned();
    let data = cluster.data().display().to_string();
    let is_ours = |pid: u32| {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let named = |bytes: Vec<u8>, word: &str| String::from_utf8_lossy(&bytes).contains(word);
        named(read("cgroup"), &id) || named(read("cmdline"), &data)
    };
    // The server first, or it would see its containers end and write it down.
    kill(&[cluster.server_pid()?])?;
    until("no process is left", || {
        let all = std::fs::read_dir("/proc")?.flatten();
        let pids: Vec<u32> =
            all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| is_ours(*pid)).collect();
        kill(&pids)?;
        Ok(pids.is_empty().then_some(()))
    })?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points: Vec<&str> =
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|p| p.starts_with(&data)).collect();
    for point in points.iter().rev() {
        run(Command::new("umount").args(["-l", point]))?;
    }
    let links = run(cluster.netns().command("ip").args(["-o", "link"]))?.success()?;
    let names = links.lines().filter_map(|line| line.split(": ").nth(1)).filter_map(|name| name.split('@').next());
    for name in names.filter(|name| *name != "lo") {
        run(cluster.netns().command("ip").args(["link", "delete", name]))?;
    }
    Ok(())
}
