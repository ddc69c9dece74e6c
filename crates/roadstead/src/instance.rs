//! One cluster on this machine: its folder, and whether somebody runs it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::cli::InstanceArgs;

/// Folder that holds the clusters' folders.
const HOME: &str = "/var/lib/roadstead";

/// One cluster on this machine.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name; also the kubeconfig context's.
    pub name: String,
    /// Its data folder, absolute.
    pub data: PathBuf,
}

impl Instance {
    /// The cluster that the flags name.
    ///
    /// # Errors
    /// If the name cannot be a folder's name.
    pub fn from_args(args: &InstanceArgs) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if args.name.is_empty() || args.name.len() > 40 || !args.name.chars().all(fits) {
            bail!(
                "--name {:?}: a cluster's name has 1 to 40 lower-case letters, digits or hyphens, for example \"ci-1\"",
                args.name
            );
        }
        let data = match &args.data {
            Some(folder) => std::path::absolute(folder).with_context(|| format!("--data {}", folder.display()))?,
            None => Path::new(HOME).join(&args.name),
        };
        Ok(Self { name: args.name.clone(), data })
    }

    /// Path of the kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    /// Path of the background server's log.
    pub fn log(&self) -> PathBuf {
        self.data.join("roadstead.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.data.join("roadstead.pid")
    }

    /// Process id of the server that runs this cluster now.
    ///
    /// # Errors
    /// If the data folder cannot be read.
    pub fn server_pid(&self) -> Result<Option<u32>> {
        let path = self.pid_file();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
        };
        // The server holds an exclusive lock on this file for its whole life: a pid that was given to another program
        // after a crash cannot mislead.
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let pid =
            text.trim().parse().with_context(|| format!("{} holds {text:?}, not a process id", path.display()))?;
        Ok(Some(pid))
    }

    /// Takes the cluster for this process; the returned file keeps it until it is dropped.
    ///
    /// # Errors
    /// If another process has it, named by its pid.
    pub fn claim(&self) -> Result<File> {
        fs::create_dir_all(&self.data).with_context(|| format!("create the data folder {}", self.data.display()))?;
        let path = self.pid_file();
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o644)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            bail!(
                "cluster {:?} in {} is already run by process {}; `roadstead down` stops it, another --name or --data \
                 makes a second cluster",
                self.name,
                self.data.display(),
                holder.trim()
            );
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.with_context(|| format!("write {}", path.display()))?;
        Ok(file)
    }
}
