//! `cargo xtask demo`: the main job on a fresh machine, in front of your eyes.

use std::process::Command;

use anyhow::{Context, Result, bail};
use conformance::{Cluster, Kubectl, TestImage, Tools, Up, build_image, root_folder, say};

use crate::build::{self, Profile, stream};

/// Arguments of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the cluster running and say how to reach it
    #[arg(long)]
    keep: bool,
    /// Build without optimisation: quicker the first time
    #[arg(long)]
    dev: bool,
}

/// From nothing to three ready Redis pods, and a key written on one and read on another.
///
/// # Errors
/// The step that failed.
pub fn run(args: &Args) -> Result<()> {
    let binary = build::build(if args.dev { Profile::Dev } else { Profile::Release })?;
    let image = build_image(TestImage::Redis)?;
    Tools::new().install_kubectl(Kubectl::Newest)?;

    say("a cluster in a network namespace of its own");
    let cluster = Cluster::new(&binary, "demo")?;
    shown(&mut cluster.roadstead(&["image", "import", &image.display().to_string()]))?;
    let manifest = root_folder().join("examples/redis.yaml");
    let up = Up { files: vec![manifest], ..Up::default() };
    shown(&mut cluster.up_command(&up))?;
    shown(&mut cluster.kubectl_command(Kubectl::Newest, &["get", "statefulset,pod,pvc,service", "-o", "wide"]))?;
    in_order(&cluster)?;

    say("a key written on redis-0 is read on redis-2");
    let set = ["exec", "redis-0", "--", "redis-cli", "set", "greeting", "hello from redis-0"];
    shown(&mut cluster.kubectl_command(Kubectl::Newest, &set))?;
    let wait = ["exec", "redis-0", "--", "redis-cli", "wait", "2", "10000"];
    shown(&mut cluster.kubectl_command(Kubectl::Newest, &wait))?;
    let got = cluster.kubectl(&["exec", "redis-2", "--", "redis-cli", "get", "greeting"])?.success()?;
    print!("{got}");
    if got.trim() != "hello from redis-0" {
        bail!("redis-2 answered {got:?}");
    }
    if args.keep {
        say("the cluster stays; to reach it:");
        println!(
            "  nsenter --net={} -- env KUBECONFIG={} kubectl get pods",
            cluster.netns().path().display(),
            cluster.kubeconfig().display()
        );
        println!("  {:?}   stops it and deletes its data", cluster.roadstead(&["down", "--delete-data", "--yes"]));
        std::mem::forget(cluster);
    } else {
        shown(&mut cluster.roadstead(&["down"]))?;
    }
    Ok(())
}

/// The pods became ready one after the other.
fn in_order(cluster: &Cluster) -> Result<()> {
    let path = r#"jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].lastTransitionTime}{"\n"}{end}"#;
    let listed = cluster.kubectl(&["get", "pods", "-l", "app=redis", "-o", path])?.success()?;
    print!("{listed}");
    let times: Vec<&str> = listed.lines().filter_map(|l| l.split(' ').nth(1)).collect();
    if times.len() != 3 || !times.is_sorted() {
        bail!("the pods did not become ready in order:\n{listed}");
    }
    Ok(())
}

fn shown(command: &mut Command) -> Result<()> {
    let words: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    let typed = words.iter().skip(2).cloned().collect::<Vec<_>>().join(" ");
    say(&format!("$ {typed}"));
    stream(command).with_context(|| format!("run {typed}"))
}
