//! The decision half of making a container: from a [`ContainerSpec`] to the OCI bundle configuration.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{ContainerSpec, Propagation, SandboxSpec, Security};

/// What a container may do unless told otherwise: containerd's set.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Every capability, by its number in the kernel.
pub(crate) const ALL_CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// `PATH` of a container whose image has none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who the container's processes run as, all questions answered.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// How a program is started in a container: kept beside the bundle for later execs.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessSetup {
    pub(crate) identity: Identity,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    /// Capability names without `CAP_`.
    pub(crate) capabilities: BTreeSet<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) filter: Filter,
}

/// Where a container's system call filter is.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) enum Filter {
    /// There is none.
    #[default]
    None,
    /// Compiled, in a file beside the process setup.
    Compiled,
    /// A profile in the OCI form.
    Profile(Value),
}

impl ProcessSetup {
    /// What the first process needs until its filter is loaded: without "no new privileges" that takes a privilege,
    /// which goes away in the same breath ([`crate::helper`]).
    fn first_capabilities(&self) -> BTreeSet<String> {
        let mut all = self.capabilities.clone();
        if self.filter != Filter::None && !self.no_new_privileges {
            all.extend(["SYS_ADMIN", "SETPCAP"].map(str::to_owned));
        }
        all
    }
}

/// The capabilities of a container, without `CAP_`: the default set (all with `add: ALL`, none with `drop: ALL`), plus
/// the added, less the dropped, in this order as containerd does it. Names the kernel does not know are left out.
pub(crate) fn capabilities(security: &Security) -> BTreeSet<String> {
    let plain = |names: &[String]| -> BTreeSet<String> {
        let upper = names.iter().map(|name| name.to_ascii_uppercase());
        upper.map(|name| name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)).collect()
    };
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    if security.privileged {
        return set(&ALL_CAPABILITIES);
    }
    let (add, drop) = (plain(&security.capabilities_add), plain(&security.capabilities_drop));
    let mut result = match (drop.contains("ALL"), add.contains("ALL")) {
        (true, _) => BTreeSet::new(),
        (false, true) => set(&ALL_CAPABILITIES),
        (false, false) => set(&DEFAULT_CAPABILITIES),
    };
    result.extend(add.into_iter().filter(|name| ALL_CAPABILITIES.contains(&name.as_str())));
    result.retain(|name| !drop.contains(name));
    result
}

/// The environment in the order of the spec, with what every program expects; a later value of a name wins.
pub(crate) fn environment(spec: &ContainerSpec, hostname: &str, home: &str) -> Vec<String> {
    let mut env: Vec<String> = Vec::with_capacity(spec.env.len() + 4);
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut seen = BTreeSet::new();
    for entry in spec.env.iter().rev() {
        if seen.insert(name_of(entry)) {
            env.push(entry.clone());
        }
    }
    env.reverse();
    let mut front = Vec::new();
    for entry in [DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}"), format!("HOME={home}")] {
        if !seen.contains(&name_of(&entry)) {
            front.push(entry);
        }
    }
    if spec.tty && !seen.contains("TERM") {
        front.push("TERM=xterm".to_owned());
    }
    front.extend(env);
    front
}

/// Where things stand on the helper's side.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Merged root file system.
    pub(crate) rootfs: String,
    /// For each of the spec's mounts, where the helper has attached it.
    pub(crate) mounts: Vec<String>,
    /// Termination message file, if there is to be one.
    pub(crate) termination: Option<String>,
    /// The pod's shared memory.
    pub(crate) shm: String,
    /// Cgroup of the container.
    pub(crate) cgroup: String,
    /// Process id of the helper, in its own namespace: whose network, IPC and UTS namespaces are joined.
    pub(crate) helper: u32,
}

/// The OCI configuration of the container.
pub(crate) fn bundle(pod: &SandboxSpec, spec: &ContainerSpec, setup: &ProcessSetup, places: &Places) -> Value {
    let security = &spec.security;
    let names: Vec<String> = setup.first_capabilities().iter().map(|name| format!("CAP_{name}")).collect();
    let mut process = json!({
        "terminal": spec.tty,
        "user": {
            "uid": setup.identity.uid,
            "gid": setup.identity.gid,
            "additionalGids": setup.identity.groups,
            "umask": 0o022,
        },
        "args": spec.args,
        "env": setup.env,
        "cwd": setup.cwd,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
    });
    if setup.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    let unmasked = security.privileged || security.unmasked_proc;
    let mut linux = json!({
        "namespaces": namespaces(pod, places.helper),
        "cgroupsPath": places.cgroup,
        "resources": resources(spec),
        "maskedPaths": if unmasked { &[][..] } else { &MASKED_PATHS[..] },
        "readonlyPaths": if unmasked { &[][..] } else { &READ_ONLY_PATHS[..] },
    });
    if spec.mounts.iter().any(|m| m.propagation == Propagation::Bidirectional) {
        linux["rootfsPropagation"] = json!("shared");
    }
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": places.rootfs, "readonly": security.read_only_root},
        "process": process,
        "mounts": mounts(pod, spec, places),
        "linux": linux,
    })
}

fn namespaces(pod: &SandboxSpec, helper: u32) -> Vec<Value> {
    let joined = |kind: &str, file: &str| json!({"type": kind, "path": format!("/proc/{helper}/ns/{file}")});
    let mut all = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
    if !pod.host_pid {
        all.push(json!({"type": "pid"}));
    }
    if !pod.host_network {
        all.extend([joined("network", "net"), joined("uts", "uts")]);
    }
    if !pod.host_ipc {
        all.push(joined("ipc", "ipc"));
    }
    all
}

fn mount(kind: &str, source: &str, target: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": kind, "source": source, "options": options})
}

fn mounts(pod: &SandboxSpec, spec: &ContainerSpec, places: &Places) -> Vec<Value> {
    let writable = if spec.security.privileged { "rw" } else { "ro" };
    let mut all = vec![
        mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "devpts",
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", writable]),
        mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "relatime", writable]),
    ];
    let shm = if pod.host_ipc { "/dev/shm" } else { places.shm.as_str() };
    all.push(mount("bind", shm, "/dev/shm", &["rbind", "rprivate", "rw", "nosuid", "noexec", "nodev"]));
    for (wanted, attached) in spec.mounts.iter().zip(&places.mounts) {
        let propagation = match wanted.propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        let read_only = if wanted.read_only { "ro" } else { "rw" };
        all.push(mount("bind", attached, &wanted.target.to_string_lossy(), &["rbind", propagation, read_only]));
    }
    if let (Some(file), Some(target)) = (&places.termination, &spec.termination_message_path) {
        all.push(mount("bind", file, &target.to_string_lossy(), &["rbind", "rprivate", "rw"]));
    }
    all
}

fn resources(spec: &ContainerSpec) -> Value {
    let limits = &spec.resources;
    let mut all = json!({"devices": [{"allow": spec.security.privileged, "access": "rwm"}]});
    if let Some(bytes) = limits.memory_bytes_max {
        // No swap beyond it, as upstream: the limit of memory and swap is the same number.
        all["memory"] = json!({"limit": bytes, "swap": bytes});
    }
    let mut cpu = serde_json::Map::new();
    if let Some(shares) = limits.cpu_shares {
        cpu.insert("shares".to_owned(), json!(shares.max(2)));
    }
    if let Some(quota) = limits.cpu_quota_micros {
        cpu.insert("quota".to_owned(), json!(quota));
        cpu.insert("period".to_owned(), json!(limits.cpu_period_micros.unwrap_or(100_000)));
    }
    if !cpu.is_empty() {
        all["cpu"] = Value::Object(cpu);
    }
    if let Some(pids) = limits.pids_max {
        all["pids"] = json!({"limit": pids});
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str]) -> String {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect();
        let security = Security { capabilities_add: names(add), capabilities_drop: names(drop), ..Security::default() };
        let set = capabilities(&security);
        if set.len() > 14 { format!("{} of them", set.len()) } else { set.into_iter().collect::<Vec<_>>().join(" ") }
    }

    #[test]
    fn capabilities_are_the_default_set_less_the_dropped_plus_the_added() {
        let default = DEFAULT_CAPABILITIES.join(" ");
        assert_eq!(check(&[], &[]), default);
        assert_eq!(check(&[], &["ALL"]), "");
        assert_eq!(check(&["NET_BIND_SERVICE"], &["ALL"]), "NET_BIND_SERVICE");
        assert_eq!(check(&["CAP_SYS_TIME"], &["all"]), "SYS_TIME");
        assert_eq!(check(&[], &["MKNOD"]), default.replace("MKNOD ", ""));
        assert_eq!(check(&["ALL"], &["SYS_ADMIN"]), "40 of them");
        assert_eq!(check(&["NO_SUCH"], &["ALL"]), "");
    }

    #[test]
    fn a_later_value_of_a_variable_wins_and_the_usual_ones_are_added() {
        let spec = ContainerSpec {
            env: ["A=1", "PATH=/x", "A=2=3"].map(str::to_owned).to_vec(),
            tty: true,
            ..ContainerSpec::default()
        };
        let env = environment(&spec, "redis-0", "/root");
        assert_eq!(env, ["HOSTNAME=redis-0", "HOME=/root", "TERM=xterm", "PATH=/x", "A=2=3"]);
    }

    #[test]
    fn the_bundle_is_one_that_libcontainer_reads() {
        let spec = ContainerSpec { args: vec!["/bin/true".to_owned()], ..ContainerSpec::default() };
        let setup = ProcessSetup {
            capabilities: capabilities(&spec.security),
            cwd: "/".to_owned(),
            env: environment(&spec, "h", "/"),
            ..ProcessSetup::default()
        };
        let places = Places {
            rootfs: "/r".to_owned(),
            mounts: Vec::new(),
            termination: None,
            shm: "/s".to_owned(),
            cgroup: "/c".to_owned(),
            helper: 1,
        };
        let bundle = bundle(&SandboxSpec::default(), &spec, &setup, &places);
        let read: oci_spec::runtime::Spec = serde_json::from_value(bundle).unwrap();
        let capabilities = read.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert!(capabilities.inheritable().as_ref().is_none_or(|set| set.is_empty()));
        assert!(capabilities.ambient().as_ref().is_none_or(|set| set.is_empty()));
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 14);
    }
}
