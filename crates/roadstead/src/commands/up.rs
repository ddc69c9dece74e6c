//! `roadstead up`: start what does not run, apply, wait.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use images::DiskImages;
use kube::Client;

use crate::apply::{Applied, Applier};
use crate::cli::UpArgs;
use crate::gather;
use crate::instance::Instance;
use crate::manifest;
use crate::progress::{self, World};

/// Longest time that a server which has the cluster may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks at it.
const ANSWER_PAUSE: Duration = Duration::from_millis(50);

/// Starts the cluster if it does not run, applies the manifests and waits until all is ready.
///
/// # Errors
/// What could not be started, read or applied, or the pod that does not get ready: why, and what to do.
pub async fn run(args: &UpArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    let instance = Instance::from_args(&args.instance)?;
    // Read everything before anything is started: a typing error must change nothing.
    let manifests = manifest::read_all(&args.files)?;
    match answering(&instance).await? {
        Some(pid) => eprintln!("cluster {:?} runs already (process {pid})", instance.name),
        None => start(&instance, args, begun)?,
    }
    if args.virtual_args.virtual_nodes > 0 {
        super::virtual_nodes::ensure(&super::connect(&instance).await?, &args.virtual_args).await?;
    }
    if manifests.is_empty() {
        eprintln!("export KUBECONFIG={}", instance.kubeconfig().display());
        return Ok(ExitCode::SUCCESS);
    }
    let client = super::connect(&instance).await?;
    let mut world = World::default();
    world.heal_rollout = gather::heal_rollout(&client).await?;
    let mut applier = Applier::new(client.clone(), &args.namespace);
    for manifest in &manifests {
        let applied = applier.apply(manifest).await?;
        eprintln!("{} {}", applied.title, applied.outcome);
        note(&client, &applied).await?;
        await_it(&mut world, &applied);
    }
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let images = DiskImages::open(&server::images_folder(&instance.data))?;
    let count = progress::wait(&client, &images, world, args.timeout.saturating_sub(begun.elapsed())).await?;
    if count > 0 {
        let pods = if count == 1 { "the pod is ready".to_owned() } else { format!("all {count} pods are ready") };
        eprintln!("{pods} after {}", seconds(begun.elapsed()));
    }
    eprintln!("export KUBECONFIG={}", instance.kubeconfig().display());
    Ok(ExitCode::SUCCESS)
}

/// Process id of the server, which answers; `None` if none runs. One that is just starting or just dying has the cluster
/// but does not answer: it is waited for.
async fn answering(instance: &Instance) -> Result<Option<u32>> {
    let begun = Instant::now();
    loop {
        let Some(pid) = instance.server_pid()? else {
            return Ok(None);
        };
        let asked = match super::connect(instance).await {
            Ok(client) => client.apiserver_version().await.map(drop).map_err(anyhow::Error::new),
            Err(error) => Err(error),
        };
        let Err(error) = asked else {
            return Ok(Some(pid));
        };
        if begun.elapsed() > ANSWER_TIMEOUT {
            let (secs, log) = (ANSWER_TIMEOUT.as_secs(), instance.log());
            return Err(error.context(format!(
                "process {pid} has the cluster {:?} but has not answered within {secs} s (`roadstead down` stops it, its \
                 log is {})",
                instance.name,
                log.display()
            )));
        }
        tokio::time::sleep(ANSWER_PAUSE).await;
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Says at once what will surprise later: a set whose governing service is not there.
async fn note(client: &Client, applied: &Applied) -> Result<()> {
    let object = &applied.object;
    let service = object.pointer("/spec/serviceName").and_then(|s| s.as_str()).unwrap_or_default();
    if object["kind"] != "StatefulSet" || service.is_empty() {
        return Ok(());
    }
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let services = kube::Api::<k8s_openapi::api::core::v1::Service>::namespaced(client.clone(), namespace);
    if services.get_opt(service).await?.is_none() {
        eprintln!(
            "note: spec.serviceName names the service {service:?}, which does not exist (yet) in namespace {namespace:?}: \
             until it is created the pods have no DNS names"
        );
    }
    Ok(())
}

fn await_it(world: &mut World, applied: &Applied) {
    let text = |pointer: &str| applied.object.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let key = (text("/metadata/namespace"), text("/metadata/name"));
    match applied.object["kind"].as_str() {
        Some("StatefulSet") => world.awaited_sets.push(key),
        Some("Pod") => world.awaited_pods.push(key),
        _ => {}
    }
}

/// Starts the server in the background and returns when it answers.
fn start(instance: &Instance, args: &UpArgs, begun: Instant) -> Result<()> {
    preflight()?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&instance.data)
        .with_context(|| format!("create the data folder {}", instance.data.display()))?;
    let log_path = instance.log();
    let log = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path)
        .with_context(|| format!("open the log {}", log_path.display()))?;
    let (mut ready, notify) = std::io::pipe().context("make a pipe")?;
    let mut command = Command::new(std::env::current_exe().context("find this program's own path")?);
    command
        .args(["up", "--foreground", "--name", &instance.name, "--listen", &args.listen.to_string(), "--data"])
        .arg(&instance.data)
        .arg("--notify-fd")
        .arg(notify.as_raw_fd().to_string());
    command.arg("--max-pods").arg(args.max_pods.to_string());
    command.arg("--heal-rollout").arg(args.heal_rollout.to_string());
    if let Some(name) = &args.node_name {
        command.args(["--node-name", name]);
    }
    // Memory that was freed goes back to the system at once (building the OpenAPI documents would otherwise keep 25 MB),
    // and is not rounded up to huge pages (12 MB idle). The allocator reads this before `main`.
    command.env("MIMALLOC_PURGE_DELAY", "0").env("MIMALLOC_ALLOW_THP", "0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let kept = notify.as_raw_fd();
    // SAFETY: between fork and exec only async-signal-safe calls are made: setsid and fcntl.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            let kept = std::os::fd::BorrowedFd::borrow_raw(kept);
            rustix::io::fcntl_setfd(kept, rustix::io::FdFlags::empty())?;
            Ok(())
        });
    }
    let mut child = command.spawn().context("start the server")?;
    drop(notify);
    let mut said = String::new();
    ready.read_to_string(&mut said).context("wait for the server")?;
    match said.strip_prefix("ready ") {
        Some(address) => {
            eprintln!(
                "cluster {:?} is up at https://{} after {}",
                instance.name,
                address.trim(),
                seconds(begun.elapsed())
            );
            Ok(())
        }
        None if said.is_empty() => {
            let status = child.wait()?;
            bail!("the server ended ({status}) before it was ready; its log is {}", log_path.display())
        }
        None => {
            let _ = child.wait();
            bail!("{}", said.trim())
        }
    }
}

/// What must be there before anything is started; each with the way out.
fn preflight() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("roadstead must run as root, because it makes containers, links and mounts: try `sudo roadstead up …`");
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|l| l.ends_with("\toverlay")) {
        let loaded = Command::new("modprobe").arg("overlay").stderr(Stdio::null()).status().is_ok_and(|s| s.success());
        if !loaded {
            bail!(
                "this kernel has no overlayfs, which container images need: load the module `overlay` or use another kernel"
            );
        }
    }
    if !["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/memory"].iter().any(|p| fs::exists(p).unwrap_or(false)) {
        bail!("no cgroups are mounted at /sys/fs/cgroup, which container limits need: mount cgroup2 there");
    }
    let has_nft = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join("nft").exists());
    if !has_nft {
        bail!("the program `nft` is missing, which service addresses need: install the package nftables");
    }
    Ok(())
}

/// Tells the waiting `up` what became of the start.
///
/// # Errors
/// If nobody listens any more.
pub fn notify(fd: Option<i32>, text: &str) -> Result<()> {
    let Some(fd) = fd else {
        return Ok(());
    };
    // SAFETY: the number was given by the parent for this very purpose and is used once.
    let mut pipe = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    pipe.write_all(text.as_bytes())?;
    Ok(())
}
