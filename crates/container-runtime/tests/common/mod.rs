//! A runtime of its own for each test, with a busybox image, and the proof at its end that nothing is left.
#![allow(dead_code, unused_imports, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that meets an error here has failed")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
pub use container_runtime::*;
use meta::Uid;
use tokio::sync::mpsc;

/// Longest wait for anything in these tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A layer with busybox and the usual files.
pub fn busybox_layer(dir: &Path) -> PathBuf {
    let layer = dir.join("layer");
    for name in ["bin", "etc", "tmp", "root", "var/lib", "proc", "sys", "dev"] {
        std::fs::create_dir_all(layer.join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", layer.join("bin/busybox")).expect("busybox-static is installed");
    let tools = "sh cat echo sleep true false id ls env mkdir touch tail kill ps hostname stty tty dd head mount grep \
                 chroot unshare mknod seq yes printf test stat od wc tr hexdump awk sync ip readlink tee";
    for tool in tools.split_whitespace() {
        symlink("busybox", layer.join("bin").join(tool)).unwrap();
    }
    std::fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nredis:x:999:998::/var/lib:/bin/sh\n")
        .unwrap();
    std::fs::write(layer.join("etc/group"), "root:x:0:\nredis:x:998:\nextra:x:101:redis\n").unwrap();
    layer
}

/// The fixture's folder; with it goes everything of its cluster, however the test ends.
pub struct TestDir {
    dir: tempfile::TempDir,
    cluster_id: String,
}

impl TestDir {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = remove_everything(&self.cluster_id, &self.dir.path().join("state"));
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Fixture {
    pub runtime: LibcontainerRuntime,
    pub config: Config,
    pub layer: PathBuf,
    pub dir: TestDir,
    pub events: mpsc::Receiver<RuntimeEvent>,
}

impl Fixture {
    pub async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rt-").tempdir_in("/var/tmp").unwrap();
        let layer = busybox_layer(dir.path());
        let id = format!("{:08x}", (std::process::id() << 8) + NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = TestDir { dir, cluster_id: id.clone() };
        let mut config = Config::new(id, dir.path().join("state"));
        config.program = PathBuf::from(env!("CARGO_BIN_EXE_runtime-helper"));
        let runtime = LibcontainerRuntime::open(config.clone()).await.unwrap();
        let events = runtime.subscribe();
        Self { runtime, config, layer, dir, events }
    }

    /// The agent is gone and comes back.
    pub async fn restart(self) -> Self {
        let Self { runtime, config, layer, dir, .. } = self;
        drop(runtime);
        let runtime = LibcontainerRuntime::open(config.clone()).await.unwrap();
        let events = runtime.subscribe();
        Self { runtime, config, layer, dir, events }
    }

    pub fn pod(&self, name: &str) -> SandboxSpec {
        SandboxSpec {
            pod: Uid(format!("uid-{name}")),
            name: name.to_owned(),
            namespace: "default".to_owned(),
            hostname: name.to_owned(),
            ..SandboxSpec::default()
        }
    }

    pub fn container(&self, id: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            id: ContainerId(id.to_owned()),
            name: id.to_owned(),
            rootfs: RootFs { layers: vec![self.layer.clone()] },
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: self.log(id),
            ..ContainerSpec::default()
        }
    }

    pub fn log(&self, id: &str) -> PathBuf {
        self.dir.path().join("logs").join(id).join("0.log")
    }

    /// The log's texts of one stream.
    pub fn logged(&self, id: &str) -> String {
        let bytes = std::fs::read(self.log(id)).unwrap_or_default();
        let lines = bytes.split(|b| *b == b'\n').filter_map(logs::LogLine::parse);
        lines.map(|line| format!("{}\n", String::from_utf8_lossy(line.text))).collect()
    }

    /// Makes the sandbox and starts one container in it.
    pub async fn start(&self, pod: &str, spec: ContainerSpec) -> ContainerState {
        let sandbox = self.runtime.run_sandbox(self.pod(pod)).await.unwrap();
        let id = spec.id.clone();
        self.runtime.create_container(&sandbox.pod, spec).await.unwrap();
        self.runtime.start_container(&sandbox.pod, &id).await.unwrap()
    }

    /// Runs a script to its end; returns the end and what it printed.
    pub async fn run_to_end(&mut self, spec: ContainerSpec) -> (Exit, String) {
        let id = spec.id.clone();
        let pod = format!("pod-{id}");
        self.start(&pod, spec).await;
        let exit = self.exit_of(&id.0).await;
        let text = self.logged(&id.0);
        self.runtime.remove_sandbox(&Uid(format!("uid-{pod}"))).await.unwrap();
        (exit, text)
    }

    /// Waits for a container's end.
    pub async fn exit_of(&mut self, id: &str) -> Exit {
        let wait = async {
            loop {
                match self.events.recv().await.unwrap() {
                    RuntimeEvent::ContainerExited { container, exit, .. } if container.0 == id => return exit,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the container ends")
    }

    pub async fn state_of(&self, pod: &str, id: &str) -> ContainerState {
        let all = self.runtime.list().await.unwrap();
        let pod = all.into_iter().find(|p| p.pod.0 == format!("uid-{pod}")).expect("the pod is listed");
        pod.containers.into_iter().find(|c| c.id.0 == id).expect("the container is listed").state
    }

    /// Runs a command in a container; returns exit, stdout and stderr.
    pub async fn exec(&self, pod: &str, id: &str, script: &str) -> (ExecExit, String, String) {
        let spec = ExecSpec {
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            stdout: true,
            stderr: true,
            ..ExecSpec::default()
        };
        let session = self.runtime.exec(&Uid(format!("uid-{pod}")), &ContainerId(id.to_owned()), spec).await.unwrap();
        collect(session).await
    }

    /// Waits until the log holds the text.
    pub async fn wait_for_log(&self, id: &str, text: &str) {
        let wait = async {
            while !self.logged(id).contains(text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the log holds the text");
    }

    /// Runs a command until its output is as wanted.
    pub async fn until_exec_says(&self, pod: &str, id: &str, script: &str, wanted: impl Fn(&str) -> bool) {
        let wait = async { while !wanted(&self.exec(pod, id, script).await.1) {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("the command says so");
    }

    /// An exec that is refused: the error's text in the place of the output.
    pub async fn exec_error(&self, pod: &str, id: &str) -> (ExecExit, String, String) {
        let spec = ExecSpec { args: vec!["true".to_owned()], ..ExecSpec::default() };
        let pod = Uid(format!("uid-{pod}"));
        let error = self.runtime.exec(&pod, &ContainerId(id.to_owned()), spec).await.unwrap_err();
        (ExecExit::Code(-1), error.to_string(), String::new())
    }

    /// Kills a process of this fixture's, by its host number.
    pub fn kill_process(&self, pid: u32) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    /// Takes everything away and proves it.
    pub async fn close(self) {
        for pod in self.runtime.list().await.unwrap() {
            self.runtime.remove_sandbox(&pod.pod).await.unwrap();
        }
        let Self { runtime, config, dir: _dir, .. } = self;
        drop(runtime);
        let left = audit(&config.cluster_id, &config.state_dir).unwrap();
        assert!(left.is_empty(), "{left}");
        remove_everything(&config.cluster_id, &config.state_dir).unwrap();
    }
}

/// What a program prints until it has printed this.
pub async fn read_until(session: &mut ExecSession, wanted: &str) -> String {
    let output = session.stdout.as_mut().expect("the output is wanted");
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let piece = tokio::time::timeout(PATIENCE, output.recv()).await;
        let piece = piece.ok().flatten().unwrap_or_else(|| panic!("{wanted} is printed, not only {seen:?}"));
        seen.push_str(&String::from_utf8_lossy(&piece));
    }
    seen
}

pub async fn collect(session: ExecSession) -> (ExecExit, String, String) {
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    drop(stdin);
    let all = async |stream: Option<mpsc::Receiver<Bytes>>| {
        let mut text = Vec::new();
        if let Some(mut stream) = stream {
            while let Some(piece) = stream.recv().await {
                text.extend_from_slice(&piece);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let wait = async { tokio::join!(exit, all(stdout), all(stderr)) };
    let (exit, out, err) = tokio::time::timeout(PATIENCE, wait).await.expect("the exec ends");
    drop(resize);
    (exit.unwrap(), out, err)
}
