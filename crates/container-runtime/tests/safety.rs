//! What a container may not do, and what survives a kill. Needs root and busybox-static.

mod common;

use common::*;
use meta::Uid;

/// What /proc says of a process, by name of the line.
const STATUS: &str =
    "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp|Uid|Gid|Groups):' /proc/self/status | tr '\\t' ' '";
/// containerd's default set.
const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

#[tokio::test(flavor = "multi_thread")]
async fn the_default_is_filtered_and_has_the_usual_capabilities_in_the_program_and_in_execs() {
    let f = Fixture::new().await;
    let spec = f.container("c", &format!("{STATUS}; sleep 1000"));
    f.start("p", spec).await;
    f.wait_for_log("c", "Seccomp").await;
    let expected = format!(
        "Uid: 0 0 0 0\nGid: 0 0 0 0\nGroups: 0 \nCapInh: 0000000000000000\nCapPrm: {0}\nCapEff: {0}\nCapBnd: {0}\n\
         CapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\n",
        DEFAULT_CAPABILITIES
    );
    let tidy = |text: &str| text.replace("Groups: 0 \n", "Groups: \n").replace("Groups:  \n", "Groups: \n");
    assert_eq!(tidy(&f.logged("c")), tidy(&expected));
    let (_, out, _) = f.exec("p", "c", STATUS).await;
    assert_eq!(tidy(&out), tidy(&expected));
    let (_, out, _) = f.exec("p", "c", "unshare -m true; mount -t tmpfs x /tmp; ls -l /proc/self/fd | wc -l").await;
    assert!(out.trim().parse::<u32>().unwrap() <= 6, "descriptors leak into the container: {out}");
    let (exit, _, err) = f.exec("p", "c", "unshare -m true").await;
    assert!(exit != ExecExit::Code(0) && err.contains("not permitted"), "{err}");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_container_has_no_capability_no_way_up_and_its_own_user() {
    let f = Fixture::new().await;
    let mut spec = f.container("c", &format!("{STATUS}; sleep 1000"));
    spec.user = User { uid: Some(999), gid: None, image_user: String::new(), supplementary_gids: vec![2000] };
    spec.security = Security {
        capabilities_drop: vec!["ALL".to_owned()],
        no_new_privileges: true,
        read_only_root: true,
        ..Security::default()
    };
    f.start("p", spec).await;
    f.wait_for_log("c", "Seccomp").await;
    let none = "0000000000000000";
    let expected = format!(
        "Uid: 999 999 999 999\nGid: 998 998 998 998\nGroups: 101 2000 \nCapInh: {none}\nCapPrm: {none}\nCapEff: {none}\n\
         CapBnd: {none}\nCapAmb: {none}\nNoNewPrivs: 1\nSeccomp: 2\n"
    );
    assert_eq!(f.logged("c"), expected);
    let (_, out, _) = f.exec("p", "c", STATUS).await;
    assert_eq!(out, expected);
    let (_, _, err) = f.exec("p", "c", "echo x > /tmp/x").await;
    assert!(err.contains("Read-only file system"), "{err}");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_is_not_filtered_and_an_unconfined_one_neither() {
    let mut f = Fixture::new().await;
    let mut spec = f.container("priv", &format!("{STATUS}; mount -t tmpfs x /tmp && echo mounted"));
    spec.security.privileged = true;
    let (_, text) = f.run_to_end(spec).await;
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    assert!(
        text.contains(&format!("CapEff: {own}")) && text.contains("Seccomp: 0") && text.contains("mounted"),
        "{text}"
    );

    let mut spec = f.container("free", STATUS);
    spec.security.seccomp = Seccomp::Unconfined;
    assert!(f.run_to_end(spec).await.1.contains("Seccomp: 0"));

    let profile = f.dir.path().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
    std::fs::write(&profile, text).unwrap();
    let mut spec = f.container("local", "mkdir /tmp/x 2>&1; ls /tmp");
    spec.security.seccomp = Seccomp::Localhost(profile);
    assert!(f.run_to_end(spec).await.1.contains("Permission denied"));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_kernel_files_are_masked_and_devices_are_refused() {
    let mut f = Fixture::new().await;
    let script = "cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l; \
                  (echo 1 > /proc/sys/kernel/panic) 2>&1; (echo x > /sys/kernel/uevent_helper) 2>&1; \
                  mknod /tmp/disk b 8 0 && (cat /tmp/disk > /dev/null) 2>&1; ls /dev | tr '\\n' ' '; ls /sys/fs/cgroup | wc -l";
    let spec = f.container("c", script);
    let (_, text) = f.run_to_end(spec).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["0", "0"], "{text}");
    assert!(lines[2].contains("Read-only"), "{text}");
    assert!(lines[3].contains("Read-only") || lines[3].contains("nonexistent"), "{text}");
    assert!(lines[4].contains("not permitted"), "{text}");
    assert!(
        lines[5]
            .trim_start_matches("core ")
            .starts_with("fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"),
        "{text}"
    );
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_finds_the_same_processes_and_the_ends_it_has_missed() {
    let f = Fixture::new().await;
    let spec = f.container("stays", "echo up; sleep 1000");
    let ContainerState::Running { pid, started_at } = f.start("p", spec).await else { panic!("it runs") };
    let go = f.dir.path().join("go");
    std::fs::create_dir(&go).unwrap();
    let mut spec = f.container("ends", "while [ ! -e /go/now ]; do sleep 0.01; done; echo late; exit 5");
    spec.mounts = vec![Mount { source: go.clone(), target: "/go".into(), ..Mount::default() }];
    spec.annotations.insert("image".to_owned(), "busybox".to_owned());
    f.start("p", spec).await;
    let before = f.runtime.list().await.unwrap().remove(0).alive.unwrap().pid;

    let Fixture { runtime, config, layer, dir, .. } = f;
    drop(runtime);
    std::fs::write(go.join("now"), "").unwrap();
    // Nobody is there to be told: the record on disk says when it is over.
    let record = config.state_dir.join("pods/uid-p/c/ends/record.json");
    let over = async {
        while !std::fs::read_to_string(&record).unwrap().contains("Exited") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    let runtime = LibcontainerRuntime::open(config.clone()).await.unwrap();
    let events = runtime.subscribe();
    let f = Fixture { runtime, config, layer, dir, events };

    let listed = f.runtime.list().await.unwrap().remove(0);
    assert_eq!((listed.name.as_str(), listed.namespace.as_str()), ("p", "default"));
    assert_eq!(listed.alive.as_ref().unwrap().pid, before);
    assert!(listed.alive.unwrap().netns.is_some());
    assert_eq!(f.state_of("p", "stays").await, ContainerState::Running { pid, started_at });
    let ContainerState::Exited(exit) = f.state_of("p", "ends").await else { panic!("it has ended") };
    assert_eq!((exit.code, f.logged("ends").as_str()), (5, "late\n"));
    assert_eq!(listed.containers[1].annotations["image"], "busybox");
    assert_eq!(f.exec("p", "stays", "echo still here").await.1, "still here\n");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_helper_is_killed_is_dead_before_anybody_is_told() {
    let mut f = Fixture::new().await;
    let spec = f.container("c", "sh -c 'setsid sleep 1000 & sleep 1000'");
    let ContainerState::Running { pid, .. } = f.start("p", spec).await else { panic!("it runs") };
    let helper = f.runtime.list().await.unwrap().remove(0).alive.unwrap().pid;
    f.kill_process(helper);
    let exit = f.exit_of("c").await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::SandboxDied));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(audit(&f.config.cluster_id, &f.config.state_dir).unwrap().processes, []);
    let event = f.events.recv().await;
    assert_eq!(event, Some(RuntimeEvent::SandboxDied { pod: Uid("uid-p".to_owned()) }));

    // The same pod comes back in place; what it was before stays known until it is removed.
    let spec = f.container("c-1", "echo again; sleep 1000");
    f.start("p", spec).await;
    let listed = f.runtime.list().await.unwrap().remove(0);
    assert_eq!(listed.containers.len(), 2);
    let (pod, old) = (Uid("uid-p".to_owned()), ContainerId("c".to_owned()));
    f.runtime.remove_container(&pod, &old).await.unwrap();
    f.runtime.remove_container(&pod, &old).await.expect("a second time is nothing");
    assert_eq!(f.runtime.list().await.unwrap().remove(0).containers.len(), 1);
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_died_while_no_agent_was_there_leaves_a_dead_pod_and_its_records() {
    let f = Fixture::new().await;
    let spec = f.container("c", "sleep 1000");
    f.start("p", spec).await;
    let helper = f.runtime.list().await.unwrap().remove(0).alive.unwrap().pid;
    let Fixture { runtime, config, layer, dir, .. } = f;
    drop(runtime);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(helper as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    let runtime = LibcontainerRuntime::open(config.clone()).await.unwrap();
    let events = runtime.subscribe();
    let f = Fixture { runtime, config, layer, dir, events };
    let listed = f.runtime.list().await.unwrap().remove(0);
    assert!(listed.alive.is_none());
    assert!(matches!(&listed.containers[0].state, ContainerState::Exited(e) if e.reason == ExitReason::SandboxDied));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_and_removing_may_be_repeated_and_leave_nothing() {
    let mut f = Fixture::new().await;
    let spec = f.container("c", "trap '' TERM; sleep 1000");
    f.start("p", spec).await;
    let pod = Uid("uid-p".to_owned());
    f.runtime.kill_sandbox(&pod).await.unwrap();
    assert_eq!(f.exit_of("c").await.code, 137);
    f.runtime.kill_sandbox(&pod).await.unwrap();
    assert!(matches!(f.state_of("p", "c").await, ContainerState::Exited(_)));
    f.runtime.remove_sandbox(&pod).await.unwrap();
    f.runtime.remove_sandbox(&pod).await.unwrap();
    assert!(f.runtime.list().await.unwrap().is_empty());
    assert!(f.runtime.exec(&pod, &ContainerId("c".to_owned()), ExecSpec::default()).await.unwrap_err().is_not_found());
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_and_specs_are_refused() {
    let f = Fixture::new().await;
    for uid in ["", "..", "a/b", ".hidden"] {
        let spec = SandboxSpec { pod: Uid(uid.to_owned()), ..f.pod("x") };
        assert!(f.runtime.run_sandbox(spec).await.is_err(), "{uid:?}");
    }
    let mut pod = f.pod("sysctl");
    pod.sysctls.insert("net.ipv4.../../../etc/passwd".to_owned(), "x".to_owned());
    let error = f.runtime.run_sandbox(pod).await.unwrap_err();
    assert!(error.to_string().contains("is not a sysctl"), "{error}");
    assert!(f.runtime.list().await.unwrap().is_empty(), "a sandbox that never lived leaves nothing");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_write_to_our_program_through_a_process_of_ours() {
    let mut f = Fixture::new().await;
    let program = f.dir.path().join("program");
    std::fs::copy(&f.config.program, &program).unwrap();
    f.config.program = program;
    let f = f.restart().await;
    let sandbox = f.runtime.run_sandbox(f.pod("p")).await.unwrap();
    // Held beyond the end of the last process that runs it: before, the kernel refuses anyway.
    let held = nix::fcntl::open(
        format!("/proc/{}/exe", sandbox.pid).as_str(),
        nix::fcntl::OFlag::O_PATH,
        nix::sys::stat::Mode::empty(),
    );
    let held = held.unwrap();
    f.close().await;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let error = std::fs::OpenOptions::new().write(true).open(path).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_that_was_killed_is_replaced() {
    let f = Fixture::new().await;
    f.runtime.run_sandbox(f.pod("before")).await.unwrap();
    // Tests of one program run at the same time: whose zygote it is does not matter, each has to bear it.
    let own = format!(" {} ", std::process::id());
    let is_ours = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.split_once(") ").is_some_and(|(name, rest)| name.ends_with("(rs-zygote") && rest[1..].starts_with(&own))
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let zygotes: Vec<u32> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect();
    assert!(!zygotes.is_empty());
    for pid in zygotes {
        // Another test's may have ended by itself.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL);
    }
    for name in ["a", "b"] {
        f.runtime.run_sandbox(f.pod(name)).await.unwrap();
    }
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_newer_agent_is_refused_and_the_pod_lives_on() {
    use std::io::{Read, Write};
    let f = Fixture::new().await;
    f.runtime.run_sandbox(f.pod("p")).await.unwrap();
    let mut socket =
        std::os::unix::net::UnixStream::connect(f.config.state_dir.join("pods/uid-p/helper.sock")).unwrap();
    let text = br#"{"id":9,"body":{"Hibernate":{"deeply":true}}}"#;
    socket.write_all(&(text.len() as u32).to_be_bytes()).unwrap();
    socket.write_all(&[0; 4]).unwrap();
    socket.write_all(text).unwrap();
    let mut frame = || {
        let mut header = [0; 8];
        socket.read_exact(&mut header).unwrap();
        let mut text = vec![0; u32::from_be_bytes(header[..4].try_into().unwrap()) as usize];
        socket.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    assert!(frame().starts_with(r#"{"Hello":{"protocol":1,"#));
    let answer = frame();
    assert!(answer.starts_with(r#"{"Reply":{"id":9,"result":{"Err":{"Other":"not understood"#), "{answer}");
    // And one that is no message at all ends only its own connection.
    socket.write_all(&[0xff; 64]).unwrap();
    assert_eq!(socket.read(&mut [0; 8]).unwrap(), 0);
    assert!(f.runtime.list().await.unwrap()[0].alive.is_some());
    let spec = f.container("c", "echo fine; sleep 1000");
    f.start("p", spec).await;
    f.close().await;
}
