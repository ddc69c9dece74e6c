//! Control groups, v1, hybrid and v2, as far as libcontainer does not do it: the pod's own group, the helper's, killing,
//! counting, removing.
//!
//! Every path below is given from the root of a hierarchy: `/roadstead-<cluster id>/pod<uid>/<container id>`.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::Resources;

/// How long the kernel may take to let go of a group whose processes are dead.
pub(crate) const REMOVE_LIMIT: Duration = Duration::from_secs(2);
/// Processes of a group whose ends are waited for at once; each costs a descriptor.
const MEMBERS_WATCHED_MAX: usize = 256;
/// Pause where the kernel has no event.
const LET_GO: Duration = Duration::from_millis(1);

/// The control group hierarchies of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Hierarchy {
    root: PathBuf,
    /// v1 controllers mounted there; empty for v2 and for `name=` hierarchies.
    controllers: Vec<String>,
    v2: bool,
    /// Where this process is, from the hierarchy's root.
    own: String,
}

/// How often the kernel has killed for memory in a group, and since when nobody counted.
pub(crate) type OomKills = u64;

impl Cgroups {
    /// Looks at what is mounted.
    pub(crate) fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?, &fs::read_to_string("/proc/self/cgroup")?))
    }

    fn parse(mountinfo: &str, own: &str) -> Self {
        let own: Vec<(&str, &str)> = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).collect();
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((mount, file_system)) = line.split_once(" - ") else { continue };
            let root = mount.split(' ').nth(4).unwrap_or_default();
            let mut fields = file_system.split(' ');
            let v2 = match fields.next() {
                Some("cgroup2") => true,
                Some("cgroup") => false,
                _ => continue,
            };
            let options: Vec<&str> = fields.nth(1).unwrap_or_default().split(',').collect();
            let same = |names: &str| {
                if v2 { names.is_empty() } else { !names.is_empty() && names.split(',').all(|n| options.contains(&n)) }
            };
            let Some((names, own)) = own.iter().find(|(names, _)| same(names)) else { continue };
            let root = PathBuf::from(root);
            if !root.starts_with("/sys/fs/cgroup") || hierarchies.iter().any(|h| h.root == root) {
                continue;
            }
            let controllers =
                names.split(',').filter(|n| !n.is_empty() && !n.starts_with("name=")).map(str::to_owned).collect();
            hierarchies.push(Hierarchy { root, controllers, v2, own: (*own).to_owned() });
        }
        Self { hierarchies }
    }

    fn controller(&self, name: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.controllers.iter().any(|c| c == name))
    }

    /// The v2 hierarchy if it holds the controllers (no v1 memory controller beside it).
    fn unified(&self) -> Option<&Hierarchy> {
        if self.controller("memory").is_some() {
            return None;
        }
        self.hierarchies.iter().find(|h| h.v2)
    }

    fn dirs<'a>(&'a self, group: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        self.hierarchies.iter().map(move |h| below(&h.root, group))
    }

    /// Moves the calling process out of the group it was started in, wherever that is not the root, and always in the
    /// hierarchies that a service manager kills by (v2 and `name=`).
    pub(crate) fn enter(&self, group: &str) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            let kills = hierarchy.controllers.is_empty();
            if !kills && hierarchy.own == "/" {
                continue;
            }
            let dir = below(&hierarchy.root, group);
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Makes the pod's group with its limits.
    pub(crate) fn create_pod(&self, group: &str, resources: &Resources) -> io::Result<()> {
        if let Some(unified) = self.unified() {
            return create_pod_v2(&unified.root, group, resources);
        }
        for (controller, file, value) in v1_values(resources) {
            let Some(hierarchy) = self.controller(controller) else { continue };
            let dir = below(&hierarchy.root, group);
            fs::create_dir_all(&dir)?;
            fs::write(dir.join(file), value)?;
        }
        Ok(())
    }

    /// Joins a container's group in every hierarchy in which it exists.
    pub(crate) fn join(&self, group: &str) -> io::Result<()> {
        for dir in self.dirs(group) {
            match fs::write(dir.join("cgroup.procs"), "0") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// How many processes of the group the kernel has killed for memory.
    pub(crate) fn oom_kills(&self, group: &str) -> OomKills {
        let path = match (self.controller("memory"), self.unified()) {
            (Some(memory), _) => below(&memory.root, group).join("memory.oom_control"),
            (None, Some(unified)) => below(&unified.root, group).join("memory.events"),
            (None, None) => return 0,
        };
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    /// Kills the whole group when the kernel runs out of its memory, not one process of it (v2 only).
    pub(crate) fn kill_as_one(&self, group: &str) {
        if let Some(unified) = self.unified() {
            let _ = fs::write(below(&unified.root, group).join("memory.oom.group"), "1");
        }
    }

    /// Process ids in the group and below, as far as this process's namespace sees them.
    pub(crate) fn pids(&self, group: &str) -> Vec<i32> {
        let mut pids: Vec<i32> = self.dirs(group).flat_map(|dir| pids_below(&dir)).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Sends SIGKILL to everything in the group and below.
    pub(crate) fn signal_kill(&self, group: &str) {
        drop(self.kill_members(group));
    }

    /// Kills everything in the group and below, again and again until nobody is left or the time is over; true if
    /// nobody is left. Blocks.
    pub(crate) fn kill(&self, group: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if self.pids(group).is_empty() {
                return true;
            }
            let dying = self.kill_members(group);
            if !wait(&dying.iter().map(|pid| (pid.as_fd(), PollFlags::IN)).collect::<Vec<_>>(), deadline) {
                return self.pids(group).is_empty();
            }
        }
    }

    /// Kills the members that are there now; returns descriptors by which the ends of some of them can be waited for.
    fn kill_members(&self, group: &str) -> Vec<OwnedFd> {
        for dir in self.hierarchies.iter().filter(|h| h.v2).map(|h| below(&h.root, group)) {
            // Kernels before 5.14 have no such file; there, and on v1, the members are killed one by one.
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
        let mut watched = Vec::new();
        for some in self.pids(group).chunks(MEMBERS_WATCHED_MAX) {
            let opened: Vec<(i32, OwnedFd)> = some.iter().filter_map(|pid| Some((*pid, open_pid(*pid)?))).collect();
            // A number may have passed on to a stranger before it was opened. If it is still in the group now, it is,
            // or was when it was opened, one of ours.
            let members = self.pids(group);
            for (pid, process) in opened {
                if members.binary_search(&pid).is_ok() {
                    let _ = rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL);
                    watched.push(process);
                }
            }
            watched.truncate(MEMBERS_WATCHED_MAX);
        }
        watched
    }

    /// Removes the group and those below it in every hierarchy; true if nothing is left.
    fn try_remove(&self, group: &str) -> bool {
        self.dirs(group).map(|dir| remove_tree(&dir)).fold(true, std::ops::BitAnd::bitand)
    }

    /// Removes the group and those below it in every hierarchy, as soon as the kernel has let go of their last process;
    /// true if nothing is left. Blocks.
    pub(crate) fn remove(&self, group: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            // Looked at before it is tried: what happens after that ends the waiting.
            let (events, members) = self.watch(group);
            if self.try_remove(group) {
                return true;
            }
            let events = events.iter().map(|file| (file.as_fd(), PollFlags::PRI));
            let members = members.iter().map(|pid| (pid.as_fd(), PollFlags::IN));
            if !wait(&events.chain(members).collect::<Vec<_>>(), deadline) {
                return self.try_remove(group);
            }
        }
    }

    /// What tells that a group gets empty: on v2 a file of the kernel's, on v1 nothing but the ends of its members.
    fn watch(&self, group: &str) -> (Vec<fs::File>, Vec<OwnedFd>) {
        let populated = |dir: PathBuf| {
            let mut file = fs::File::open(dir.join("cgroup.events")).ok()?;
            let mut text = String::new();
            // Having read it is what arms the event.
            file.read_to_string(&mut text).ok()?;
            text.lines().any(|line| line == "populated 1").then_some(file)
        };
        let on_v2 = self.hierarchies.iter().filter(|h| h.v2).map(|h| below(&h.root, group));
        let members = self.pids(group);
        let watched = members.iter().take(MEMBERS_WATCHED_MAX).filter_map(|pid| open_pid(*pid));
        (on_v2.filter_map(populated).collect(), watched.collect())
    }

    /// Folders of the group that exist.
    pub(crate) fn existing(&self, group: &str) -> Vec<PathBuf> {
        self.dirs(group).filter(|dir| dir.exists()).collect()
    }
}

/// Which devices the processes of a group may open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Devices {
    /// Those that stand in every container's `/dev`, and terminals.
    Usual,
    /// Every one.
    All,
}

impl Cgroups {
    /// Restricts devices on v2, where there is no device controller but a program of ours. On v1 libcontainer does it.
    pub(crate) fn restrict_devices(&self, group: &str, devices: Devices) -> io::Result<()> {
        let Some(unified) = self.unified() else { return Ok(()) };
        create_pod_v2(&unified.root, group, &Resources::default())?;
        match devices {
            Devices::All => Ok(()),
            Devices::Usual => crate::devices::attach(&below(&unified.root, group)),
        }
    }
}

fn open_pid(pid: i32) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// Waits until something happened to one of these; false if the time is over. The caller looks again and comes back.
fn wait(fds: &[(BorrowedFd<'_>, PollFlags)], deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    // The last resort, for a moment in which the kernel shows neither members nor an event and the group is still held:
    // a v1 group whose last process has ended but is not yet taken out of it.
    let left = if fds.is_empty() { left.min(LET_GO) } else { left };
    let limit =
        Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    let _ = rustix::event::poll(&mut polled, Some(&limit));
    true
}

fn below(root: &Path, group: &str) -> PathBuf {
    root.join(group.trim_start_matches('/'))
}

fn pids_below(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    for child in child_dirs(dir) {
        pids.extend(pids_below(&child));
    }
    pids
}

fn child_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn remove_tree(dir: &Path) -> bool {
    for child in child_dirs(dir) {
        remove_tree(&child);
    }
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn v1_values(resources: &Resources) -> Vec<(&'static str, &'static str, String)> {
    let mut values = Vec::new();
    if let Some(bytes) = resources.memory_bytes_max {
        values.push(("memory", "memory.limit_in_bytes", bytes.to_string()));
    }
    if let Some(shares) = resources.cpu_shares {
        values.push(("cpu", "cpu.shares", shares.max(2).to_string()));
    }
    if let Some(quota) = resources.cpu_quota_micros {
        values.push(("cpu", "cpu.cfs_period_us", resources.cpu_period_micros.unwrap_or(100_000).to_string()));
        values.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
    }
    if let Some(pids) = resources.pids_max {
        values.push(("pids", "pids.max", pids.to_string()));
    }
    values
}

/// The v2 weight (1 … 10,000) of a v1 share (2 … 262,144), by the mapping of the OCI runtimes.
pub(crate) fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

fn create_pod_v2(root: &Path, group: &str, resources: &Resources) -> io::Result<()> {
    let mut dir = root.to_path_buf();
    for part in group.split('/').filter(|p| !p.is_empty()) {
        for controller in ["+cpu", "+cpuset", "+memory", "+pids", "+io"] {
            let _ = fs::write(dir.join("cgroup.subtree_control"), controller);
        }
        dir.push(part);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    if let Some(bytes) = resources.memory_bytes_max {
        fs::write(dir.join("memory.max"), bytes.to_string())?;
    }
    if let Some(shares) = resources.cpu_shares {
        fs::write(dir.join("cpu.weight"), weight_of_shares(shares).to_string())?;
    }
    if let Some(quota) = resources.cpu_quota_micros {
        fs::write(dir.join("cpu.max"), format!("{quota} {}", resources.cpu_period_micros.unwrap_or(100_000)))?;
    }
    if let Some(pids) = resources.pids_max {
        fs::write(dir.join("pids.max"), pids.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 29 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    const OWN: &str = "3:cpu,cpuacct:/\n2:memory:/agent/x\n1:name=systemd:/agent.service\n0::/";

    #[test]
    fn a_hybrid_machine_has_its_controllers_on_v1_and_a_v2_tree_beside_them() {
        let found = Cgroups::parse(HYBRID, OWN);
        let roots: Vec<(&str, &str, bool)> =
            found.hierarchies.iter().map(|h| (h.root.to_str().unwrap(), h.own.as_str(), h.v2)).collect();
        assert_eq!(
            roots,
            [
                ("/sys/fs/cgroup/cpu,cpuacct", "/", false),
                ("/sys/fs/cgroup/memory", "/agent/x", false),
                ("/sys/fs/cgroup/systemd", "/agent.service", false),
                ("/sys/fs/cgroup/unified", "/", true),
            ]
        );
        assert!(found.unified().is_none());
        assert_eq!(found.controller("cpuacct").unwrap().root, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    }

    #[test]
    fn a_v2_machine_has_one_hierarchy_for_everything() {
        let found = Cgroups::parse("30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/init.scope");
        assert_eq!(found.unified().unwrap().own, "/init.scope");
    }

    #[test]
    fn a_pod_group_on_v2_gets_its_limits_in_v2_files() {
        let root = tempfile::tempdir().unwrap();
        let limits = Resources {
            memory_bytes_max: Some(64 << 20),
            cpu_shares: Some(1024),
            cpu_quota_micros: Some(50_000),
            cpu_period_micros: None,
            pids_max: Some(7),
        };
        create_pod_v2(root.path(), "/roadstead-0/podx", &limits).unwrap();
        let read = |file: &str| fs::read_to_string(root.path().join("roadstead-0/podx").join(file)).unwrap();
        let all = ["memory.max", "cpu.weight", "cpu.max", "pids.max"].map(read);
        assert_eq!(all, ["67108864", "39", "50000 100000", "7"]);
    }
}
