//! One cluster of a test's own: its network namespace, data folder and kubectl.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::run::{Output, run};
use crate::tools::{Kubectl, Tools};

/// How `roadstead up` is called.
#[derive(Clone, Default, Debug)]
pub struct Up {
    /// Manifest files or folders.
    pub files: Vec<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// A cluster; `down --delete-data` when dropped.
#[derive(Debug)]
pub struct Cluster {
    netns: Netns,
    folder: PathBuf,
    binary: PathBuf,
    tools: Tools,
}

impl Cluster {
    /// Prepares the namespace and the folder; nothing runs yet.
    ///
    /// # Errors
    /// If the namespace or the folder cannot be made.
    pub fn new(binary: &Path, purpose: &str) -> Result<Self> {
        let netns = Netns::new(purpose)?;
        let name = netns.path().file_name().unwrap_or_default().to_owned();
        let folder = std::env::temp_dir().join("roadstead-tests").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Self { netns, folder, binary: binary.to_path_buf(), tools: Tools::new() })
    }

    /// Folder for the test's own files, removed at the end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The cluster's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Path of its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    /// The network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A `roadstead` command against this cluster, for example `&["status"]`.
    pub fn roadstead(&self, arguments: &[&str]) -> Command {
        let mut command = self.netns.command(&self.binary.display().to_string());
        command.args(arguments).arg("--data").arg(self.data());
        command
    }

    /// `roadstead up` with the given manifests, to its end.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn up(&self, up: &Up) -> Result<Output> {
        run(&mut self.up_command(up))
    }

    /// The command of [`Cluster::up`], for a caller that shows its output.
    pub fn up_command(&self, up: &Up) -> Command {
        let mut command = self.roadstead(&["up", "--listen", "127.0.0.1:0"]);
        for file in &up.files {
            command.arg("-f").arg(file);
        }
        command.args(&up.arguments);
        command
    }

    /// Imports an image archive.
    ///
    /// # Errors
    /// With what the program printed, if it fails.
    pub fn import(&self, archive: &Path) -> Result<String> {
        let mut command = self.roadstead(&["image", "import"]);
        command.arg(archive);
        run(&mut command)?.success().with_context(|| format!("import {}", archive.display()))
    }

    /// A kubectl command; its caches are this cluster's own.
    pub fn kubectl_command(&self, which: Kubectl, arguments: &[&str]) -> Command {
        let mut command = self.netns.command(&self.tools.kubectl(which).display().to_string());
        command
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.folder.join(format!("home-{which:?}")));
        command
    }

    /// A helm command; helm is installed if it is not there.
    ///
    /// # Errors
    /// If helm cannot be installed.
    pub fn helm_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.netns.command(&self.tools.install_helm()?.display().to_string());
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder.join("home-helm"));
        Ok(command)
    }

    /// Runs the newest kubectl to its end.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        run(&mut self.kubectl_command(Kubectl::Newest, arguments))
    }

    /// Runs kubectl with a manifest on standard input.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn kubectl_stdin(&self, which: Kubectl, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = self
            .kubectl_command(which, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let done = child.wait_with_output()?;
        Ok(Output {
            code: done.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }

    /// Process id of the running server.
    ///
    /// # Errors
    /// If the data folder does not name one.
    pub fn server_pid(&self) -> Result<u32> {
        let path = self.data().join("roadstead.pid");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        text.trim().parse().with_context(|| format!("parse {text:?}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = run(&mut self.roadstead(&["down", "--delete-data", "--yes"]));
        let _ = fs::remove_dir_all(&self.folder);
    }
}
