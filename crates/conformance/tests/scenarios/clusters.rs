//! Clusters on one machine: side by side, refused twice, gone without a trace.

use anyhow::Result;
use conformance::{Cluster, TestImage, Up, run};

use crate::support::{binary, cluster, kubectl};

#[test]
fn a_second_server_on_the_same_folder_is_refused_and_named() -> Result<()> {
    let cluster = cluster("twice", &[], &[])?;
    let mut second = cluster.roadstead(&["up", "--foreground", "--listen", "127.0.0.1:0"]);
    let refused = run(&mut second)?;
    assert_ne!(refused.code, 0);
    let pid = cluster.server_pid()?.to_string();
    assert!(refused.stderr.contains(&pid) && refused.stderr.contains("roadstead down"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn two_clusters_live_side_by_side_in_one_network_namespace() -> Result<()> {
    let first = cluster("side", &[TestImage::Busybox], &["examples/bare-pod.yaml"])?;
    let folder = first.folder().join("second");
    let mut up = first.netns().command(&binary().display().to_string());
    up.args(["up", "--listen", "127.0.0.1:0", "--name", "second", "--data"]).arg(&folder);
    run(&mut up)?.success()?;
    let mut down = first.netns().command(&binary().display().to_string());
    down.args(["down", "--name", "second", "--delete-data", "--yes", "--data"]).arg(&folder);
    run(&mut down)?.success()?;
    assert!(!folder.exists());
    // The first one was not touched.
    assert!(kubectl(&first, &["exec", "clock", "--", "echo", "alive"])?.contains("alive"));
    Ok(())
}

#[test]
fn a_taken_port_is_said_with_the_way_out() -> Result<()> {
    let first = cluster("port", &[], &[])?;
    let config = std::fs::read_to_string(first.kubeconfig())?;
    let port = config.split("https://127.0.0.1:").nth(1).and_then(|r| r.split_whitespace().next()).unwrap_or("");
    let mut second = first.netns().command(&binary().display().to_string());
    second.args(["up", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(first.folder().join("second"));
    let refused = run(&mut second)?;
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains(port) && refused.stderr.contains("--listen"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn nothing_is_left_on_the_host_after_delete_data() -> Result<()> {
    let leaving = cluster("leak", &[TestImage::Busybox], &["examples/bare-pod.yaml"])?;
    let id = cluster_id(&leaving)?;
    run(&mut leaving.roadstead(&["down", "--delete-data", "--yes"]))?.success()?;
    assert!(!leaving.data().exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains(&leaving.data().display().to_string()), "{mounts}");
    let links = run(leaving.netns().command("ip").args(["-o", "link"]))?.success()?;
    assert_eq!(links.lines().filter(|l| !l.contains(": lo:")).count(), 0, "{links}");
    let tables = run(leaving.netns().command("nft").args(["list", "tables"]))?.success()?;
    assert_eq!(tables, "");
    let cgroups = run(std::process::Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{id}*")]))?;
    assert_eq!(cgroups.stdout, "");
    Ok(())
}

#[test]
fn a_typing_error_in_a_manifest_starts_nothing() -> Result<()> {
    let cluster = Cluster::new(&binary(), "typo")?;
    let file = cluster.folder().join("broken.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n namespace: b\n")?;
    let refused = cluster.up(&Up { files: vec![file], ..Up::default() })?;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("broken.yaml") && refused.stderr.contains("line 5"), "{}", refused.stderr);
    assert!(!cluster.data().exists());
    Ok(())
}

fn cluster_id(cluster: &Cluster) -> Result<String> {
    let text = std::fs::read_to_string(cluster.data().join("cluster.json"))?;
    let parsed: serde_json::Value = serde_json::from_str(&text)?;
    Ok(parsed["id"].as_str().unwrap_or_default().to_owned())
}
