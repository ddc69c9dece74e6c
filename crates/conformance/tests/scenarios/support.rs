//! What scenarios share: the binary, a ready cluster, and waiting for things instead of for time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use conformance::{Cluster, Kubectl, TestImage, Up, build_image, root_folder, run};

/// Longest time a scenario waits for one thing; generous, because machines differ.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary that is judged.
pub fn binary() -> PathBuf {
    match std::env::var_os("ROADSTEAD_BINARY") {
        Some(path) => path.into(),
        None => panic!("set ROADSTEAD_BINARY to the roadstead program, or run `cargo xtask ci`, which does"),
    }
}

/// A running cluster with the images imported and the manifests applied and ready.
pub fn cluster(purpose: &str, images: &[TestImage], files: &[&str]) -> Result<Cluster> {
    let cluster = Cluster::new(&binary(), purpose)?;
    for image in images {
        cluster.import(&build_image(*image)?)?;
    }
    let files = files.iter().map(|f| root_folder().join(f)).collect();
    cluster.up(&Up { files, ..Up::default() })?.success().context("roadstead up")?;
    Ok(cluster)
}

/// Waits until `look` gives an answer.
///
/// # Errors
/// If it never does; with `what` it was.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} in vain for: {what}");
        }
        // The thing is behind a foreign program that can only be asked again.
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Output of a kubectl call that must succeed.
pub fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = cluster.kubectl(arguments)?;
    if !is_quiet(&output.stderr) && output.code == 0 {
        bail!("kubectl {} warned: {}", arguments.join(" "), output.stderr);
    }
    output.success().with_context(|| format!("kubectl {}", arguments.join(" ")))
}

/// True if kubectl warned of nothing, or of what it warns of against upstream too.
pub fn is_quiet(stderr: &str) -> bool {
    stderr.is_empty()
        || stderr.contains("Rolling back will not update the kubectl.kubernetes.io/last-applied-configuration")
}

/// Applies a manifest with kubectl, which must succeed without a warning.
pub fn apply(cluster: &Cluster, manifest: &str) -> Result<()> {
    let applied = cluster.kubectl_stdin(Kubectl::Newest, &["apply", "-f", "-"], manifest)?;
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{applied:?}");
    Ok(())
}

/// Waits until an event about an object has all these words.
pub fn event(cluster: &Cluster, object: &str, words: &[&str]) -> Result<()> {
    let selector = format!("--field-selector=involvedObject.name={object}");
    let columns = "custom-columns=R:.reason,M:.message";
    until(&format!("an event about {object} with {words:?}"), || {
        let events = kubectl(cluster, &["get", "events", &selector, "-o", columns])?;
        Ok(events.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
    })
}

/// Waits until something listens on a port of the loopback in the cluster's network namespace.
pub fn listening(cluster: &Cluster, port: u16) -> Result<()> {
    until(&format!("a listener on port {port}"), || {
        let sockets = run(cluster.netns().command("ss").args(["-Hltn", &format!("sport = :{port}")]))?.success()?;
        Ok((!sockets.trim().is_empty()).then_some(()))
    })
}

/// Processes in a pod's cgroups, by process id.
pub fn processes_of(pod_uid: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let cgroups = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if cgroups.contains(&format!("pod{pod_uid}")) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// One field of an object, by JSONPath.
pub fn field(cluster: &Cluster, object: &str, path: &str) -> Result<String> {
    kubectl(cluster, &["get", object, "-o", &format!("jsonpath={path}")])
}

/// Waits with kubectl until a condition holds.
pub fn wait_for(cluster: &Cluster, object: &str, condition: &str) -> Result<()> {
    kubectl(cluster, &["wait", object, &format!("--for={condition}"), "--timeout=120s"]).map(drop)
}

/// A program that runs beside the scenario; killed when dropped.
pub struct Beside(std::process::Child);

impl Beside {
    /// Starts it; its standard output is collected.
    pub fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?))
    }

    /// Starts it; what it prints goes to a file.
    pub fn logging(command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let err = out.try_clone()?;
        Ok(Self(command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?))
    }

    /// Waits for its end; returns its exit code.
    pub fn wait(mut self) -> Result<i32> {
        Ok(self.0.wait()?.code().unwrap_or(-1))
    }

    /// Stops it and returns what it printed.
    pub fn stop(mut self) -> Result<String> {
        self.0.kill()?;
        let mut text = String::new();
        if let Some(mut stdout) = self.0.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut text)?;
        }
        Ok(text)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
