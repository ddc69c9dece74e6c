//! The helper: one small, single-threaded process for each pod, which outlives the agent.
//!
//! The agent runs its own program again as the *zygote* (`runtime-helper`), which forks a helper whenever the agent
//! asks for a sandbox: no exec, and the helpers share the zygote's memory. A helper leaves the agent's session and
//! cgroup and enters new network, IPC, UTS, mount and process id namespaces; in the last one it is process 1.
//!
//! **Why process 1.** If a helper is killed, nobody reads its containers' logs and exit codes any more, and nobody
//! must believe that their identity is free while they run (D7). The kernel ends every process of a process id
//! namespace with its first one, before anyone can see the first one as dead: a dead helper *is* a dead pod, without a
//! moment in between and without anybody having to do anything. (`PR_SET_PDEATHSIG` on the containers would be cleared
//! by set-user-id programs and reach only their first processes.) A pod that shares the host's process ids cannot have
//! this; there the agent kills by cgroup when it sees the helper's end.
//!
//! **Why an own mount namespace.** Root file systems and volumes of the pod are mounted where only the helper and its
//! containers see them, so the host's table stays clean, and they go with the last process of the pod.
//!
//! Read on in `pod` (the loop), `build` (making a container by libcontainer), `exec`.

mod build;
mod clock;
mod exec;
mod filter;
mod log;
mod pod;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use rustix::event::{PollFd, PollFlags, Timespec};

pub(crate) use self::build::make_dirs_in;
pub(crate) use self::pod::RECORD;
use crate::cgroup::Cgroups;
use crate::wire::{self, Message, Receiver, SandboxRecord, Spawn};

/// First argument with which the agent runs its own program as the zygote.
pub(crate) const ARGUMENT: &str = "runtime-helper";
/// Name of the helper's socket in the pod's folder.
pub(crate) const SOCKET: &str = "helper.sock";
/// Name of the sandbox's record in the pod's folder.
pub(crate) const SANDBOX_RECORD: &str = "sandbox.json";
/// Folder of the containers in the pod's folder.
pub(crate) const CONTAINERS: &str = "c";

/// The zygote prepares what costs time when it has not been asked for anything for so long.
const IDLE_BEFORE_COMPILING: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A helper's place in the kernel's order of who goes first when memory is short (-1000 … 1000).
const OOM_SCORE_ADJ: &str = "-998";

/// Becomes the helper if this process was started as one; otherwise returns at once.
///
/// Must be the first thing in `main`: before any thread, and before anything writes to standard output.
pub fn helper_main() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) {
        zygote();
    }
}

/// Forks a helper for each request, until the agent is gone.
fn zygote() -> ! {
    set_name("rs-zygote");
    let _ = nix::unistd::setsid();
    // A huge page under a small heap would be two megabytes in every helper.
    // SAFETY: changes only this process's own attribute.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    // Children that only hand over to their own child need no waiting for.
    // SAFETY: no handler is installed.
    let _ =
        unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGCHLD, nix::sys::signal::SigHandler::SigIgn) };
    // SAFETY: the agent gives the socket as standard input; nobody else in this process owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(0) };
    close_from(3);
    let mut receiver = Receiver::default();
    // Once, here, where every helper inherits it; when the agent has nothing to ask for yet, if possible.
    let mut waiting = [PollFd::new(&socket, PollFlags::IN)];
    let _ = rustix::event::poll(&mut waiting, Some(&IDLE_BEFORE_COMPILING));
    filter::compile_common();
    loop {
        let (spawn, mut fds) = match wire::receive::<Spawn>(&socket, &mut receiver) {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(_) => exit(0),
        };
        let Some(connection) = fds.pop() else { continue };
        // SAFETY: this process has one thread.
        match unsafe { nix::unistd::fork() } {
            Ok(nix::unistd::ForkResult::Child) => {
                drop((socket, receiver));
                into_sandbox(spawn, connection);
            }
            Ok(nix::unistd::ForkResult::Parent { .. }) => {}
            Err(errno) => fail(&connection, "fork the pod's helper", &errno.to_string()),
        }
    }
}

/// First child: leaves the agent's session and cgroup, makes the namespaces; its own child is the helper.
fn into_sandbox(spawn: Spawn, connection: OwnedFd) -> ! {
    // SAFETY: as in `zygote`, the other way.
    let _ =
        unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl) };
    let _ = nix::unistd::setsid();
    let spec = &spawn.spec;
    let step = || -> Result<Cgroups, (String, io::Error)> {
        let named = |doing: &str| {
            let doing = doing.to_owned();
            move |error: io::Error| (doing, error)
        };
        let cgroups = Cgroups::detect().map_err(named("look at the control groups"))?;
        cgroups.create_pod(&spawn.cgroup, &spec.resources).map_err(named("make the pod's control group"))?;
        let own = format!("{}/helper", spawn.cgroup);
        cgroups.enter(&own).map_err(named("enter the helper's control group"))?;
        let mut flags = CloneFlags::CLONE_NEWNS;
        flags.set(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS, !spec.host_network);
        flags.set(CloneFlags::CLONE_NEWIPC, !spec.host_ipc);
        flags.set(CloneFlags::CLONE_NEWPID, !spec.host_pid);
        nix::sched::unshare(flags).map_err(|e| named("make the pod's namespaces")(e.into()))?;
        Ok(cgroups)
    };
    let cgroups = match step() {
        Ok(cgroups) => cgroups,
        Err((doing, error)) => fail(&connection, &doing, &error.to_string()),
    };
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() } {
        Ok(nix::unistd::ForkResult::Child) => helper(spawn, connection, cgroups),
        Ok(nix::unistd::ForkResult::Parent { .. }) => exit(0),
        Err(errno) => fail(&connection, "fork the pod's helper", &errno.to_string()),
    }
}

/// The helper itself.
fn helper(spawn: Spawn, connection: OwnedFd, cgroups: Cgroups) -> ! {
    set_name("rs-pod");
    // The last to go when memory is short: it is small, and the whole pod goes with it. Not every machine allows it.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let listener = match set_up(&spawn) {
        Ok(ready) => ready,
        Err((doing, error)) => fail(&connection, doing, &error.to_string()),
    };
    match pod::Pod::new(spawn, cgroups, listener) {
        Ok(mut pod) => pod.run(connection),
        Err(error) => fail(&connection, "set up the pod's helper", &error.to_string()),
    }
}

/// What only the helper can prepare, because it happens in its namespaces.
struct Ready {
    listener: UnixListener,
    /// The host's process table.
    host_proc: OwnedFd,
}

fn set_up(spawn: &Spawn) -> Result<Ready, (&'static str, io::Error)> {
    let spec = &spawn.spec;
    let host_proc = open_path(Path::new("/proc")).map_err(|e| ("open the host's process table", e))?;
    mounts(spawn).map_err(|e| ("prepare the pod's mounts", e))?;
    if spec.host_pid {
        // SAFETY: changes only this process's own attribute.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    }
    if !spec.host_network {
        nix::unistd::sethostname(&spec.hostname).map_err(|e| ("set the pod's host name", e.into()))?;
        loopback_up().map_err(|e| ("bring the pod's loopback up", e))?;
    }
    sysctls(spec).map_err(|e| ("set the pod's sysctls", e))?;
    let record = SandboxRecord {
        name: spec.name.clone(),
        namespace: spec.namespace.clone(),
        annotations: spec.annotations.clone(),
    };
    write_atomically(&spawn.pod_dir.join(SANDBOX_RECORD), &record).map_err(|e| ("write the sandbox's record", e))?;
    let dir = open_path(&spawn.pod_dir).map_err(|e| ("open the pod's folder", e))?;
    let listen = || -> io::Result<UnixListener> {
        let _ = fs::remove_file(spawn.pod_dir.join(SOCKET));
        let listener = UnixListener::bind(wire::short_path(&dir, SOCKET))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = listen().map_err(|e| ("listen on the helper's socket", e))?;
    nix::unistd::chdir("/").map_err(|e| ("leave the agent's folder", e.into()))?;
    Ok(Ready { listener, host_proc })
}

/// Makes the mount table the helper's own: nothing mounted here is seen outside, what is unmounted outside goes here
/// too, and volumes of other pods are not kept alive.
fn mounts(spawn: &Spawn) -> io::Result<()> {
    let none: Option<&str> = None;
    nix::mount::mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?;
    let mut hidden: Vec<String> = fs::read_to_string("/proc/self/mountinfo")?
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(unescape))
        .filter(|mount| {
            spawn.hide_mounts_below.iter().any(|dir| Path::new(mount).starts_with(dir) && Path::new(mount) != dir)
        })
        .collect();
    hidden.reverse();
    for mount in hidden {
        let _ = nix::mount::umount2(mount.as_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
    if !spawn.spec.host_pid {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        nix::mount::mount(Some("proc"), "/proc", Some("proc"), flags, none)?;
    }
    let shm = spawn.pod_dir.join("shm");
    fs::create_dir_all(&shm)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("shm"), &shm, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))?;
    Ok(())
}

/// `mountinfo` writes blanks and the like as `\ooo`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, code.and_then(|digits| u8::from_str_radix(digits, 8).ok())) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: an all-zero request is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The pod's own sysctls; and, as containerd does, ports below 1024 and ping without privileges.
fn sysctls(spec: &crate::SandboxSpec) -> io::Result<()> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    if !spec.host_network {
        all.insert("net.ipv4.ip_unprivileged_port_start", "0");
        all.insert("net.ipv4.ping_group_range", "0 2147483647");
    }
    all.extend(spec.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    for (name, value) in all {
        if name.split(['.', '/']).any(|part| part.is_empty() || part == "..") {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not a sysctl")));
        }
        let path = format!("/proc/sys/{}", if name.contains('/') { name.to_owned() } else { name.replace('.', "/") });
        fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("{name}={value}: {error}")))?;
    }
    Ok(())
}

/// Ends before there is a sandbox, saying why.
fn fail(connection: &OwnedFd, doing: &str, why: &str) -> ! {
    let message = Message::Failed { doing: doing.to_owned(), why: why.to_owned() };
    let _ = wire::send(connection, &message, Vec::new());
    exit(1)
}

/// Ends without running anything registered for the end of a program: a forked child must not.
fn exit(code: i32) -> ! {
    // SAFETY: never returns, touches nothing.
    unsafe { libc::_exit(code) }
}

fn set_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

fn close_from(first: RawFd) {
    // SAFETY: closes descriptors that nothing in this process has a value for yet.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_int::MAX, 0) };
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Replaces a file of ours as one step: a reader finds the old text or the new one.
pub(crate) fn write_atomically(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(value)?)?;
    fs::rename(fresh, path)
}

/// Two connected sockets that keep messages apart.
fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let kind = SocketType::STREAM;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Runs `work` in a forked child that ends with it; returns the child's id and our end of a socket to it.
fn in_child(work: impl FnOnce(OwnedFd)) -> io::Result<(i32, OwnedFd)> {
    let (ours, theirs) = message_pair()?;
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            drop(ours);
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
                // SAFETY: no handler is installed.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            let mask = nix::sys::signal::SigSet::empty();
            let _ = mask.thread_set_mask();
            // SAFETY: changes only this process's own attribute; programs in containers may have huge pages.
            unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0) };
            work(theirs);
            exit(0)
        }
        nix::unistd::ForkResult::Parent { child } => {
            drop(theirs);
            rustix::io::ioctl_fionbio(ours.as_fd(), true)?;
            Ok((child.as_raw(), ours))
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn mount_points_with_blanks_are_read_as_they_are() {
        assert_eq!(super::unescape(r"/data/my\040disk/a\134b"), r"/data/my disk/a\b");
    }
}
