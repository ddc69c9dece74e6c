//! Running a second program in a container: the work of two short-lived children of the helper.
//!
//! libcontainer can do this too, but its way forgets the container's system call filter; so the few system calls are
//! made here. The first child joins the container's cgroup and namespaces; its own child (with the helper as parent,
//! which so learns the exit code) becomes the program.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::sched::CloneFlags;

use super::build::{ChildMessage, exec_program};
use super::filter::LoadedFilter;
use crate::cgroup::Cgroups;
use crate::error::Refusal;
use crate::oci::{ALL_CAPABILITIES, ProcessSetup};
use crate::wire::{self, ExecRequest};

pub(super) struct Exec<'a> {
    /// The container's folder.
    pub(super) dir: &'a Path,
    /// The container's first process, as the helper sees it.
    pub(super) init: i32,
    pub(super) cgroups: &'a Cgroups,
    pub(super) cgroup: &'a str,
    pub(super) request: ExecRequest,
    pub(super) oom_score_adj: Option<i32>,
    /// stdin, stdout, stderr, as far as asked for.
    pub(super) stdio: Vec<OwnedFd>,
}

type Failure = String;

fn doing<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| format!("{what}: {error}")
}

/// Does the work; the socket closes without a failure when the program has started.
pub(super) fn child(exec: Exec<'_>, socket: OwnedFd) {
    if let Err(why) = join(exec, &socket) {
        let _ = wire::send(&socket, &ChildMessage::Failed(Refusal::Start(why)), Vec::new());
    }
}

fn join(exec: Exec<'_>, socket: &OwnedFd) -> Result<(), Failure> {
    let text = fs::read(exec.dir.join(super::build::PROCESS)).map_err(doing("read the container's process setup"))?;
    let setup: ProcessSetup = serde_json::from_slice(&text).map_err(doing("read the container's process setup"))?;
    let filter = LoadedFilter::read(&setup.filter, exec.dir).map_err(doing("read the system call filter"))?;
    // The container's creation has warned if the kernel refuses.
    let _ = fs::write("/proc/self/oom_score_adj", exec.oom_score_adj.unwrap_or(0).to_string());
    let init = rustix::process::Pid::from_raw(exec.init).ok_or("the container is not running")?;
    let init = rustix::process::pidfd_open(init, rustix::process::PidfdFlags::empty())
        .map_err(doing("find the container's process"))?;
    exec.cgroups.join(exec.cgroup).map_err(doing("join the container's control group"))?;
    // Programs in the container must not look into this process through /proc.
    // SAFETY: changes only this process's own attribute.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    nix::sched::setns(&init, all).map_err(doing("enter the container's namespaces"))?;
    // SAFETY: like fork, in a process with one thread; the child's parent is this process's parent.
    match unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) } {
        -1 => Err(format!("fork the program: {}", io::Error::last_os_error())),
        0 => {
            let why = become_program(exec, &setup, &filter, socket);
            let _ = wire::send(socket, &ChildMessage::Failed(Refusal::Start(why)), Vec::new());
            super::exit(126)
        }
        pid => {
            let _ = wire::send(socket, &ChildMessage::Forked { pid: pid as i32 }, Vec::new());
            Ok(())
        }
    }
}

/// Returns only with the reason why not.
fn become_program(exec: Exec<'_>, setup: &ProcessSetup, filter: &LoadedFilter, socket: &OwnedFd) -> String {
    match prepare(exec, setup, filter, socket) {
        Ok(args) => exec_program(&args),
        Err(why) => why,
    }
}

fn prepare(
    exec: Exec<'_>,
    setup: &ProcessSetup,
    filter: &LoadedFilter,
    socket: &OwnedFd,
) -> Result<Vec<String>, Failure> {
    nix::unistd::setsid().map_err(doing("start a session"))?;
    if exec.request.tty {
        let master = terminal(setup.identity.uid).map_err(doing("open a terminal"))?;
        wire::send(socket, &ChildMessage::Terminal, vec![master]).map_err(doing("hand the terminal over"))?;
    } else {
        stdio(&exec).map_err(doing("connect the standard streams"))?;
    }
    // SAFETY: marks descriptors to be closed at the program's start; the socket is needed until then.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_int::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let entered = nix::unistd::chdir(setup.cwd.as_str());
    set_environment(setup, &exec.request);
    drop_privileges(setup, filter)?;
    if entered.is_err() {
        nix::unistd::chdir(setup.cwd.as_str()).map_err(doing("enter the working directory"))?;
    }
    Ok(exec.request.args)
}

fn stdio(exec: &Exec<'_>) -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let mut given = exec.stdio.iter();
    for (number, wanted) in [(0, exec.request.stdin), (1, exec.request.stdout), (2, exec.request.stderr)] {
        let source = match wanted.then(|| given.next()).flatten() {
            Some(fd) => fd.as_raw_fd(),
            None => null.as_raw_fd(),
        };
        // SAFETY: both are open descriptors or numbers that may be replaced.
        if unsafe { libc::dup2(source, number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Opens a terminal of the container, makes it this session's, and returns the master.
fn terminal(uid: u32) -> io::Result<OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(CWD, "/dev/pts/ptmx", flags, Mode::empty())?;
    let unlock: libc::c_int = 0;
    // SAFETY: the number outlives the call.
    if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // By the master, not by a path that the container could have replaced.
    // SAFETY: takes flags, returns a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY) };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open.
    unsafe {
        libc::fchown(slave, uid, u32::MAX);
        libc::ioctl(slave, libc::TIOCSCTTY, 0);
        for number in 0..3 {
            libc::dup2(slave, number);
        }
        if slave > 2 {
            libc::close(slave);
        }
    }
    Ok(master)
}

fn set_environment(setup: &ProcessSetup, request: &ExecRequest) {
    let old: Vec<std::ffi::OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    // SAFETY: this process has one thread.
    unsafe {
        for name in old {
            std::env::remove_var(name);
        }
        if request.tty {
            std::env::set_var("TERM", "xterm");
        }
        for entry in setup.env.iter().chain(&request.env) {
            if let Some((name, value)) = entry.split_once('=')
                && !name.is_empty()
                && !entry.contains('\0')
            {
                std::env::set_var(name, value);
            }
        }
    }
}

fn drop_privileges(setup: &ProcessSetup, filter: &LoadedFilter) -> Result<(), Failure> {
    if setup.no_new_privileges {
        // SAFETY: changes only this process's own attribute.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    } else {
        // Without that attribute a filter needs a privilege that is about to go.
        filter.apply()?;
    }
    let identity = &setup.identity;
    let groups: Vec<libc::gid_t> = identity.groups.clone();
    bounding(&setup.capabilities)?;
    // SAFETY: plain system calls on this process; the list outlives the call.
    unsafe {
        libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
        if libc::setgroups(groups.len(), groups.as_ptr()) != 0
            || libc::setresgid(identity.gid, identity.gid, identity.gid) != 0
            || libc::setresuid(identity.uid, identity.uid, identity.uid) != 0
        {
            return Err(format!("become user {}: {}", identity.uid, io::Error::last_os_error()));
        }
    }
    set_capabilities(&setup.capabilities)?;
    if setup.no_new_privileges {
        filter.apply()?;
    }
    Ok(())
}

/// Takes away all but these capabilities from a process that may have more.
pub(super) fn keep_only(keep: &BTreeSet<String>) -> Result<(), Failure> {
    bounding(keep)?;
    set_capabilities(keep)
}

fn bounding(keep: &BTreeSet<String>) -> Result<(), Failure> {
    for (number, name) in ALL_CAPABILITIES.iter().enumerate() {
        // SAFETY: changes only this process's own set. A kernel that does not know the number says so: fine.
        if !keep.contains(*name) && unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EINVAL) {
                return Err(format!("drop CAP_{name}: {error}"));
            }
        }
    }
    Ok(())
}

/// Permitted and effective as given, nothing inheritable or ambient.
fn set_capabilities(keep: &BTreeSet<String>) -> Result<(), Failure> {
    const VERSION_3: u32 = 0x2008_0522;
    let bits = ALL_CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(_, name)| keep.contains(**name))
        .fold(0u64, |bits, (number, _)| bits | 1 << number);
    let header: [u32; 2] = [VERSION_3, 0];
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    // effective, permitted, inheritable; low words, then high words.
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: the kernel reads two words of header and six of data.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) } {
        0 => Ok(()),
        _ => Err(format!("set the capabilities: {}", io::Error::last_os_error())),
    }
}

/// Kills the program and those it has started in its own session.
pub(super) fn kill(pid: i32) {
    // SAFETY: sends signals.
    unsafe {
        libc::kill(-pid, libc::SIGKILL);
        libc::kill(pid, libc::SIGKILL);
    }
}

/// The host's number of a process of this helper.
pub(super) fn host_pid(host_proc: &OwnedFd, pid: i32) -> Option<u32> {
    use rustix::fs::{Mode, OFlags};
    let pid = rustix::process::Pid::from_raw(pid)?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    let path = format!("self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let file = rustix::fs::openat(host_proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let text = io::read_to_string(fs::File::from(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}
