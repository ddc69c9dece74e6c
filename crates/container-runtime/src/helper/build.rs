//! Making a container: the work of a short-lived child of the helper, which libcontainer may use as it likes (it
//! changes the working directory, and must never meet a second thread).

use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::mount::MsFlags;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::MoveMountFlags;
use serde::{Deserialize, Serialize};

use super::filter::{self, LoadedFilter};
use crate::cgroup::{Cgroups, Devices, REMOVE_LIMIT};
use crate::error::Refusal;
use crate::oci::{self, Filter, Places, ProcessSetup};
use crate::wire::{self, Receiver};
use crate::{ContainerSpec, SandboxSpec, Seccomp};

/// Name of the file that says how programs are started in the container.
pub(super) const PROCESS: &str = "process.json";
/// Name of the termination message file.
pub(super) const TERMINATION: &str = "termination";
/// Folder of libcontainer's own state.
pub(super) const RUN: &str = "run";
/// An image's `/etc/passwd` is read up to this size.
const USER_FILE_BYTES_MAX: u64 = 1 << 20;
/// The kernel takes mount options up to one page.
const MOUNT_OPTION_BYTES_MAX: usize = 4095;

/// What a child says to the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ChildMessage {
    /// The container's first process waits for the start. Carries the terminal's master, if there is a terminal.
    Built { pid: i32, warnings: Vec<String> },
    /// The exec's process, as the helper sees it.
    Forked { pid: i32 },
    /// The exec's terminal: carries the master.
    Terminal,
    /// It could not be done.
    Failed(Refusal),
}

/// What a new container is made of.
pub(super) struct Build<'a> {
    pub(super) pod: &'a SandboxSpec,
    pub(super) spec: &'a ContainerSpec,
    /// The container's own folder.
    pub(super) dir: PathBuf,
    pub(super) shm: PathBuf,
    pub(super) cgroups: &'a Cgroups,
    pub(super) cgroup: String,
    /// Detached mounts, one for each of the spec's.
    pub(super) mounts: Vec<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// Closes at the program's start; carries a sentence if there is none.
    pub(super) exec_status: OwnedFd,
}

/// Why a container cannot be made: a sentence with what was being done.
type Failure = String;

fn doing<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let what = what.into();
    move |error| format!("{what}: {error}")
}

/// Does the work and reports.
pub(super) fn child(build: Build<'_>, socket: OwnedFd) {
    let (message, fds) = match run(build) {
        Ok((pid, warnings, terminal)) => (ChildMessage::Built { pid, warnings }, terminal.into_iter().collect()),
        Err(why) => (ChildMessage::Failed(Refusal::Create(why)), Vec::new()),
    };
    let _ = wire::send(&socket, &message, fds);
}

fn run(mut build: Build<'_>) -> Result<(i32, Vec<String>, Option<OwnedFd>), Failure> {
    let mut warnings = Vec::new();
    let score = build.spec.oom_score_adj.unwrap_or(0);
    if let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string()) {
        warnings.push(format!("set oom_score_adj {score}: {error}; the container runs without it"));
    }
    let rules = if build.spec.security.privileged { Devices::All } else { Devices::Usual };
    build.cgroups.restrict_devices(&build.cgroup, rules).map_err(doing("restrict the container's devices"))?;
    for name in ["upper", "rootfs", "m", RUN] {
        make_dir(&build.dir.join(name), 0o755)?;
    }
    make_dir(&build.dir.join("work"), 0o700)?;
    let rootfs = build.dir.join("rootfs");
    mount_root(&build, &rootfs)?;
    let attached = attach(&build)?;
    let setup = process_setup(&build, &rootfs)?;
    make_cwd(&build, &rootfs, &attached, &setup.cwd)?;
    let termination = termination_file(&build)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let places = Places {
        rootfs: text(&rootfs),
        mounts: attached.iter().map(|path| text(path)).collect(),
        termination: termination.as_deref().map(text),
        shm: text(&build.shm),
        cgroup: build.cgroup.clone(),
        helper: rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get() as u32),
    };
    let config = oci::bundle(build.pod, build.spec, &setup, &places);
    write_json(&build.dir.join("config.json"), &config)?;
    write_json(&build.dir.join(PROCESS), &setup)?;
    let filter = LoadedFilter::read(&setup.filter, &build.dir).map_err(doing("read the system call filter"))?;
    let starter = Starter { status: build.exec_status.as_raw_fd(), setup: Rc::new(setup), filter: Rc::new(filter) };
    let (pid, terminal) = create(&mut build, starter)?;
    Ok((pid, warnings, terminal))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec(value).map_err(doing("write the container's configuration"))?;
    fs::write(path, text).map_err(doing(format!("write {}", path.display())))
}

fn make_dir(path: &Path, mode: u32) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!("make {}: {error}", path.display())),
        // The mode given is less the umask; the upper folder becomes the root of the container.
        _ => fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(doing("set a folder's mode")),
    }
}

/// Mounts the image's layers with the container's own layer above them.
fn mount_root(build: &Build<'_>, rootfs: &Path) -> Result<(), Failure> {
    // Links with names of one to three digits, entered by their folder: so the options of an image with the most
    // layers an image may have (127) fit in a page, whatever the layers' own paths.
    let links = build.dir.join("l");
    make_dir(&links, 0o755)?;
    let empty = build.dir.join("m");
    let layers =
        if build.spec.rootfs.layers.is_empty() { std::slice::from_ref(&empty) } else { &build.spec.rootfs.layers };
    for (index, layer) in layers.iter().enumerate() {
        std::os::unix::fs::symlink(layer, links.join(index.to_string())).map_err(doing("name the image's layers"))?;
    }
    let lower: Vec<String> = (0..layers.len()).rev().map(|index| index.to_string()).collect();
    let side = |name: &str| escape(&build.dir.join(name).to_string_lossy());
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), side("upper"), side("work"));
    if options.len() > MOUNT_OPTION_BYTES_MAX {
        return Err(format!("mount the root file system: {} layers are too many", layers.len()));
    }
    nix::unistd::chdir(&links).map_err(doing("enter the folder of layers"))?;
    let mounted = nix::mount::mount(Some("overlay"), rootfs, Some("overlay"), MsFlags::empty(), Some(options.as_str()));
    nix::unistd::chdir("/").map_err(doing("enter /"))?;
    mounted.map_err(|error| match error {
        nix::Error::ENOENT => "mount the root file system: a layer of the image is missing".to_owned(),
        error => format!("mount the root file system: {error}"),
    })
}

/// A path inside an overlay option: `\`, `:` and `,` mean something there.
fn escape(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '\\' | ':' | ',') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Attaches the detached mounts below the container's folder.
fn attach(build: &Build<'_>) -> Result<Vec<PathBuf>, Failure> {
    let mut attached = Vec::with_capacity(build.mounts.len());
    for (index, (mount, wanted)) in build.mounts.iter().zip(&build.spec.mounts).enumerate() {
        let target = build.dir.join("m").join(index.to_string());
        let what = || format!("attach the volume for {}", wanted.target.display());
        let stat = rustix::fs::fstat(mount).map_err(doing(what()))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            make_dir(&target, 0o755)?;
        } else {
            fs::write(&target, "").map_err(doing(what()))?;
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(mount, "", CWD, &target, flags).map_err(doing(what()))?;
        attached.push(target);
    }
    Ok(attached)
}

fn process_setup(build: &Build<'_>, rootfs: &Path) -> Result<ProcessSetup, Failure> {
    let spec = build.spec;
    let root =
        rustix::fs::open(rootfs, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(doing("open the root"))?;
    let identity = crate::user::resolve(&spec.user, &read_in(&root, "etc/passwd"), &read_in(&root, "etc/group"))?;
    let mut capabilities = oci::capabilities(&spec.security);
    capabilities.retain(|name| is_available(name));
    let filter = match &spec.security.seccomp {
        Seccomp::Unconfined => Filter::None,
        _ if spec.security.privileged => Filter::None,
        Seccomp::Default => {
            filter::write(&capabilities, &build.dir).map_err(doing("compile the system call filter"))?;
            Filter::Compiled
        }
        Seccomp::Localhost(path) => {
            let text = fs::read(path).map_err(doing(format!("read the seccomp profile {}", path.display())))?;
            let profile = serde_json::from_slice(&text);
            Filter::Profile(profile.map_err(doing(format!("read the seccomp profile {}", path.display())))?)
        }
    };
    let hostname = if build.pod.host_network { uname_node() } else { build.pod.hostname.clone() };
    Ok(ProcessSetup {
        env: oci::environment(spec, &hostname, &identity.home),
        cwd: if spec.cwd.is_empty() { "/".to_owned() } else { spec.cwd.clone() },
        no_new_privileges: spec.security.no_new_privileges,
        filter,
        capabilities,
        identity,
    })
}

/// Nobody can hand on what this process may not have itself (a machine that is a container lacks some).
fn is_available(capability: &str) -> bool {
    let number = oci::ALL_CAPABILITIES.iter().position(|name| *name == capability);
    // SAFETY: only reads this process's own set.
    number.is_some_and(|number| unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) } == 1)
}

fn uname_node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A small file of the image, by a path that cannot lead out of it; empty if there is none.
fn read_in(root: &OwnedFd, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(file) = rustix::fs::openat2(root, path, flags, Mode::empty(), in_root()) else { return String::new() };
    let is_file = rustix::fs::fstat(&file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
    let mut bytes = Vec::new();
    if is_file {
        let _ = fs::File::from(file).take(USER_FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn in_root() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

/// Makes the working directory where it is missing, in the image or in the volume that covers it.
fn make_cwd(build: &Build<'_>, rootfs: &Path, attached: &[PathBuf], cwd: &str) -> Result<(), Failure> {
    if !cwd.starts_with('/') {
        return Err(format!("working directory {cwd:?} is not an absolute path"));
    }
    let covering =
        build.spec.mounts.iter().zip(attached).filter(|(mount, _)| Path::new(cwd).starts_with(&mount.target));
    let (base, rest) = match covering.max_by_key(|(mount, _)| mount.target.as_os_str().len()) {
        Some((mount, at)) => (at.as_path(), Path::new(cwd).strip_prefix(&mount.target).unwrap_or(Path::new(""))),
        None => (rootfs, Path::new(cwd)),
    };
    if rest.as_os_str().is_empty() {
        return Ok(());
    }
    let base = rustix::fs::open(base, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(doing("open the root"))?;
    make_dirs_in(&base, rest, 0o755).map(drop).map_err(doing(format!("make the working directory {cwd}")))
}

/// Makes the folders of `path` below `root`, wherever its symlinks lead, never out of `root`; returns the last one.
pub(crate) fn make_dirs_in(root: &impl AsFd, path: &Path, mode: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let mut so_far = PathBuf::from("/");
    let mut last = rustix::fs::openat2(root, ".", flags, Mode::empty(), in_root())?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        so_far.push(name);
        last = match rustix::fs::openat2(root, &so_far, flags, Mode::empty(), in_root()) {
            Err(rustix::io::Errno::NOENT) => {
                match rustix::fs::mkdirat(&last, name, Mode::from_raw_mode(mode)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                rustix::fs::openat2(root, &so_far, flags, Mode::empty(), in_root())?
            }
            other => other?,
        };
    }
    Ok(last)
}

fn termination_file(build: &Build<'_>) -> Result<Option<PathBuf>, Failure> {
    if build.spec.termination_message_path.is_none() {
        return Ok(None);
    }
    let path = build.dir.join(TERMINATION);
    fs::write(&path, "").map_err(doing("make the termination message file"))?;
    // Whatever user the program runs as may write its last words.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(doing("set a file's mode"))?;
    Ok(Some(path))
}

fn create(build: &mut Build<'_>, starter: Starter) -> Result<(i32, Option<OwnedFd>), Failure> {
    let failed = |error: &dyn std::error::Error| format!("failed to create container: {}", chain(error));
    let mut builder = ContainerBuilder::new(build.spec.id.0.clone(), SyscallType::default())
        .with_root_path(build.dir.join(RUN))
        .map_err(|e| failed(&e))?
        .with_executor(starter);
    let console = if build.spec.tty {
        let path = build.dir.join("console.sock");
        let dir = super::open_path(&build.dir).map_err(doing("open the container's folder"))?;
        let listener =
            UnixListener::bind(wire::short_path(&dir, "console.sock")).map_err(doing("listen for the terminal"))?;
        builder = builder.with_console_socket(Some(path));
        Some(listener)
    } else {
        if let Some(stdin) = build.stdin.take() {
            builder = builder.with_stdin(stdin);
        }
        if let Some(stdout) = build.stdout.take() {
            builder = builder.with_stdout(stdout);
        }
        if let Some(stderr) = build.stderr.take() {
            builder = builder.with_stderr(stderr);
        }
        None
    };
    let container =
        builder.as_init(&build.dir).with_systemd(false).with_detach(true).build().map_err(|e| failed(&e))?;
    let pid = container.pid().ok_or("failed to create container: it has no process")?.as_raw();
    let terminal = match console {
        Some(listener) => Some(receive_terminal(&listener).map_err(doing("receive the terminal"))?),
        None => None,
    };
    Ok((pid, terminal))
}

/// libcontainer sends the terminal's master as one descriptor with a little text.
fn receive_terminal(listener: &UnixListener) -> io::Result<OwnedFd> {
    let (socket, _) = listener.accept()?;
    let mut receiver = Receiver::default();
    receiver.fill(socket.as_fd())?;
    receiver.take_fd().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no descriptor came"))
}

/// An error with everything behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

/// Runs the container's program, and says why where that fails: libcontainer itself would only end with 255.
#[derive(Clone)]
struct Starter {
    status: RawFd,
    setup: Rc<ProcessSetup>,
    filter: Rc<LoadedFilter>,
}

impl Starter {
    /// libcontainer has no place for a filter that is compiled already, so it comes here, in the last moment.
    fn confine(&self) -> Result<(), Failure> {
        self.filter.apply()?;
        if self.setup.no_new_privileges { Ok(()) } else { super::exec::keep_only(&self.setup.capabilities) }
    }
}

impl Executor for Starter {
    fn exec(&self, spec: &oci_spec::runtime::Spec) -> Result<(), ExecutorError> {
        let args = spec.process().as_ref().and_then(|p| p.args().clone()).unwrap_or_default();
        let why = match self.confine() {
            Ok(()) => exec_program(&args),
            Err(why) => why,
        };
        // SAFETY: the descriptor is open until the program starts; the text outlives the call.
        unsafe { libc::write(self.status, why.as_ptr().cast(), why.len()) };
        super::exit(128)
    }

    /// Nothing beforehand: the kernel's own answer to the exec is the truth.
    fn validate(&self, _spec: &oci_spec::runtime::Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }
}

/// Replaces this process by the program, looked up in this process's `PATH`. Returns only with the reason why not, in
/// the words of upstream's runtimes.
pub(super) fn exec_program(args: &[String]) -> String {
    let prefix = "unable to start container process";
    let Some(name) = args.first().filter(|name| !name.is_empty()) else {
        return format!("{prefix}: no command specified");
    };
    let Ok(argv) = args.iter().map(|arg| CString::new(arg.as_str())).collect::<Result<Vec<_>, _>>() else {
        return format!("{prefix}: exec: {name:?}: an argument contains a zero byte");
    };
    let mut refused = None;
    let candidates: Vec<String> = if name.contains('/') {
        vec![name.clone()]
    } else {
        let path = std::env::var("PATH").unwrap_or_default();
        path.split(':').map(|dir| if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") }).collect()
    };
    for candidate in candidates {
        let Ok(path) = CString::new(candidate) else { continue };
        let Err(errno) = nix::unistd::execv(&path, &argv);
        match errno {
            nix::Error::ENOENT | nix::Error::ENOTDIR => {}
            errno => {
                refused.get_or_insert(errno);
            }
        }
    }
    match refused {
        None if name.contains('/') => format!("{prefix}: exec: {name:?}: stat {name}: no such file or directory"),
        None => format!("{prefix}: exec: {name:?}: executable file not found in $PATH"),
        Some(nix::Error::EACCES) => format!("{prefix}: exec: {name:?}: permission denied"),
        Some(nix::Error::ENOEXEC) => format!("{prefix}: exec {name}: exec format error"),
        Some(errno) => format!("{prefix}: exec: {name:?}: {}", errno.desc()),
    }
}

/// What the program left behind at its termination message path.
pub(super) fn termination_message(dir: &Path) -> String {
    const BYTES_MAX: u64 = 4096;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(file) = rustix::fs::openat(CWD, dir.join(TERMINATION), flags, Mode::empty()) else { return String::new() };
    let mut bytes = Vec::new();
    let _ = fs::File::from(file).take(BYTES_MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes a container's mounts, cgroup and folder away. Runs in a child: a large writable layer takes a while.
pub(super) fn clean(dir: &Path, cgroups: &Cgroups, cgroup: &str) {
    let flags = nix::mount::MntFlags::MNT_DETACH | nix::mount::MntFlags::UMOUNT_NOFOLLOW;
    let _ = nix::mount::umount2(&dir.join("rootfs"), flags);
    for entry in fs::read_dir(dir.join("m")).into_iter().flatten().flatten() {
        let _ = nix::mount::umount2(&entry.path(), flags);
    }
    cgroups.remove(cgroup, REMOVE_LIMIT);
    // Never through a mount: a volume that could not be taken away keeps its bytes, and the folder goes with the pod.
    let _ = host_files::remove_tree(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_inside_the_root_wherever_symlinks_point() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir_all(root.join("real")).unwrap();
        std::os::unix::fs::symlink("/real", root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../..", root.join("up")).unwrap();
        let fd = super::super::open_path(&root).unwrap();
        make_dirs_in(&fd, Path::new("absolute/a/b"), 0o750).unwrap();
        make_dirs_in(&fd, Path::new("up/c"), 0o750).unwrap();
        assert!(root.join("real/a/b").is_dir() && root.join("c").is_dir());
        assert!(!base.path().join("c").exists());
    }

    #[test]
    fn layer_names_with_colons_stay_one_name() {
        assert_eq!(escape(r"a:b,c\d"), r"a\:b\,c\\d");
    }
}
