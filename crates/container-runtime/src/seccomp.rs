//! The default system call filter: what an ordinary program needs is allowed, the rest answers EPERM.
//!
//! An allow-list, so that a system call that the kernel learns tomorrow is refused until somebody has thought about
//! it. Calls that are dangerous only with a capability come with that capability.

use std::collections::BTreeSet;

/// Allowed to everyone, by topic.
const ALLOWED: &[&str] = &[
    // Files and folders.
    "access faccessat faccessat2 open openat openat2 creat close close_range read readv pread64 preadv preadv2 write \
     writev pwrite64 pwritev pwritev2 lseek _llseek sendfile sendfile64 copy_file_range splice tee vmsplice readahead \
     fallocate truncate truncate64 ftruncate ftruncate64 fsync fdatasync sync sync_file_range sync_file_range2 syncfs \
     stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount \
     listmount chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 umask utime \
     utimes utimensat utimensat_time64 futimesat link linkat symlink symlinkat unlink unlinkat rename renameat \
     renameat2 readlink readlinkat mkdir mkdirat rmdir mknod mknodat chdir fchdir getcwd getdents getdents64 dup dup2 \
     dup3 fcntl fcntl64 flock ioctl fadvise64 fadvise64_64 arm_fadvise64_64 cachestat name_to_handle_at \
     getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr flistxattr \
     listxattrat removexattr lremovexattr fremovexattr removexattrat file_getattr file_setattr \
     inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark memfd_create memfd_secret",
    // Waiting and events.
    "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl \
     epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 \
     io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 pipe pipe2",
    // Memory.
    "brk mmap mmap2 munmap mremap mprotect pkey_alloc pkey_free pkey_mprotect madvise process_madvise mincore msync \
     mlock mlock2 mlockall munlock munlockall remap_file_pages membarrier map_shadow_stack mseal",
    // Processes, threads, credentials. `clone` has a rule of its own.
    "execve execveat exit exit_group fork vfork wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid \
     getsid setsid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid \
     getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 \
     setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 getgroups getgroups32 setgroups setgroups32 capget \
     capset prctl arch_prctl set_tid_address set_thread_area get_thread_area set_robust_list get_robust_list rseq \
     futex futex_time64 futex_wait futex_wake futex_waitv futex_requeue getcpu kill tkill tgkill pidfd_open \
     pidfd_send_signal process_mrelease restart_syscall ptrace process_vm_readv process_vm_writev seccomp \
     landlock_create_ruleset landlock_add_rule landlock_restrict_self uretprobe riscv_hwprobe lsm_get_self_attr \
     lsm_set_self_attr lsm_list_modules modify_ldt set_tls get_tls cacheflush breakpoint",
    // Signals.
    "rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend \
     rt_sigtimedwait rt_sigtimedwait_time64 sigaction sigprocmask sigpending sigreturn sigsuspend sigaltstack signal \
     pause",
    // Sockets. `socket` has a rule of its own.
    "socketpair bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt send sendto sendmsg \
     sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown socketcall",
    // System V and POSIX inter-process communication.
    "ipc semget semop semtimedop semtimedop_time64 semctl shmget shmat shmdt shmctl msgget msgsnd msgrcv msgctl \
     mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive \
     mq_timedreceive_time64",
    // Time.
    "time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep \
     clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create timer_delete timer_getoverrun \
     timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 \
     timerfd_settime timerfd_settime64 times adjtimex clock_adjtime clock_adjtime64",
    // Scheduling and limits.
    "sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam \
     sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval \
     sched_rr_get_interval_time64 getpriority setpriority nice ioprio_get ioprio_set getrlimit ugetrlimit setrlimit \
     prlimit64 getrusage",
    // The system.
    "uname sysinfo getrandom",
];

/// Allowed with a capability.
const WITH_CAPABILITY: &[(&str, &str)] = &[
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount \
         open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount \
         umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// The `CLONE_NEW*` flags that make a namespace: mount, cgroup, UTS, IPC, user, pid, net.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;
/// Address families nobody needs in a container: 38 (kernel crypto) and 40 (virtual machine sockets) reach drivers that
/// are shared with the host.
const FAMILY_CRYPTO: u64 = 38;
const FAMILY_VSOCK: u64 = 40;
/// Personalities that only change what `uname` says or turn randomisation off: Linux, 32-bit, 2.6, both, "query".
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// When a call is allowed that is not always allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Condition {
    /// The system call.
    pub(crate) call: &'static str,
    /// What its first argument must be.
    pub(crate) first: Comparison,
}

/// What an argument must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    /// This.
    Equal(u64),
    /// Less than this.
    Less(u64),
    /// Greater than this.
    Greater(u64),
    /// Without any of these bits.
    Without(u64),
}

/// The default filter: everything that is not named answers EPERM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    pub(crate) allowed: BTreeSet<&'static str>,
    pub(crate) conditions: Vec<Condition>,
    /// Answers ENOSYS, so that the C library uses an older call.
    pub(crate) unknown: Vec<&'static str>,
}

/// The capabilities among these that change the filter: containers that agree in them share one.
pub(crate) fn relevant(capabilities: &BTreeSet<String>) -> BTreeSet<&'static str> {
    WITH_CAPABILITY.iter().map(|(name, _)| *name).filter(|name| capabilities.contains(*name)).collect()
}

/// The default filter for containers with these capabilities (as [`relevant`] gives them).
pub(crate) fn rules(capabilities: &BTreeSet<&'static str>) -> Rules {
    let mut allowed: BTreeSet<&str> = ALLOWED.iter().flat_map(|text| text.split_ascii_whitespace()).collect();
    for (_, calls) in WITH_CAPABILITY.iter().filter(|(capability, _)| capabilities.contains(capability)) {
        allowed.extend(calls.split_ascii_whitespace());
    }
    let mut conditions: Vec<Condition> = PERSONALITIES
        .iter()
        .map(|value| Condition { call: "personality", first: Comparison::Equal(*value) })
        .chain([
            Condition { call: "socket", first: Comparison::Less(FAMILY_CRYPTO) },
            Condition { call: "socket", first: Comparison::Equal(FAMILY_CRYPTO + 1) },
            Condition { call: "socket", first: Comparison::Greater(FAMILY_VSOCK) },
        ])
        .collect();
    let mut unknown = Vec::new();
    if !capabilities.contains("SYS_ADMIN") {
        conditions.push(Condition { call: "clone", first: Comparison::Without(NAMESPACE_FLAGS) });
        // Its flags are behind a pointer, where no filter can look.
        unknown.push("clone3");
    }
    Rules { allowed, conditions, unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_capability_comes_only_with_it() {
        let plain = rules(&BTreeSet::new()).allowed;
        for call in ["mount", "unshare", "setns", "bpf", "reboot", "init_module", "keyctl", "io_uring_setup", "clone"] {
            assert!(!plain.contains(call), "{call}");
        }
        assert!(rules(&["SYS_ADMIN"].into()).allowed.contains("mount"));
        assert!(rules(&["SYS_TIME"].into()).allowed.contains("clock_settime"));
    }

    #[test]
    fn only_some_capabilities_make_a_difference() {
        let set = ["CHOWN", "SYS_CHROOT", "NET_RAW"].map(str::to_owned).into();
        assert_eq!(relevant(&set), ["SYS_CHROOT"].into());
    }
}
