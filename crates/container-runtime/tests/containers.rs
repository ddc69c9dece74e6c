//! Containers for real: needs root, busybox-static and a file system that can be the upper side of an overlay.

mod common;

use common::*;
use meta::Uid;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_logs_and_tells_its_exit_code() {
    let mut f = Fixture::new().await;
    let spec = f.container("one", "echo out; echo err >&2; exit 7");
    let state = f.start("one", spec).await;
    assert!(matches!(state, ContainerState::Running { pid: 1.., .. } | ContainerState::Exited(_)), "{state:?}");
    let exit = f.exit_of("one").await;
    assert_eq!((exit.code, exit.signal, exit.reason), (7, None, ExitReason::Error));
    let mut lines: Vec<String> = f.logged("one").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    assert!(matches!(f.state_of("one", "one").await, ContainerState::Exited(_)));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_the_program_and_a_kill_ends_it() {
    let mut f = Fixture::new().await;
    let spec = f.container("trap", "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    f.start("p", spec).await;
    f.wait_for_log("trap", "ready").await;
    let (pod, id) = (Uid("uid-p".to_owned()), ContainerId("trap".to_owned()));
    f.runtime.signal(&pod, &id, Signal::TERM).await.unwrap();
    let exit = f.exit_of("trap").await;
    assert_eq!((exit.code, f.logged("trap").as_str()), (3, "ready\ngot it\n"));
    f.runtime.signal(&pod, &id, Signal::TERM).await.expect("a signal to one that has ended does nothing");

    let spec = f.container("stubborn", "trap '' TERM; sleep 1000");
    f.start("p", spec).await;
    f.runtime.signal(&pod, &ContainerId("stubborn".to_owned()), Signal::KILL).await.unwrap();
    let exit = f.exit_of("stubborn").await;
    assert_eq!((exit.code, exit.signal, exit.reason), (137, Some(9), ExitReason::Error));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_over_its_memory_limit_is_reported_as_killed_for_memory() {
    let mut f = Fixture::new().await;
    let mut spec = f.container("big", "dd if=/dev/zero of=/dev/null bs=200M count=1");
    spec.args = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"].map(str::to_owned).to_vec();
    spec.resources.memory_bytes_max = Some(32 << 20);
    let (exit, _) = f.run_to_end(spec).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::OomKilled));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_land_in_the_control_group() {
    let f = Fixture::new().await;
    let mut spec = f.container("limits", "sleep 1000");
    spec.resources = Resources {
        memory_bytes_max: Some(64 << 20),
        cpu_shares: Some(512),
        cpu_quota_micros: Some(50_000),
        cpu_period_micros: Some(100_000),
        pids_max: Some(42),
    };
    f.start("p", spec).await;
    let group = format!("roadstead-{}/poduid-p/limits", f.config.cluster_id);
    let first = |candidates: &[&str]| {
        let read =
            |path: &&str| std::fs::read_to_string(format!("/sys/fs/cgroup/{}", path.replace("GROUP", &group))).ok();
        candidates.iter().find_map(read).expect("the control group exists").trim().to_owned()
    };
    assert_eq!(first(&["memory/GROUP/memory.limit_in_bytes", "GROUP/memory.max"]), "67108864");
    assert_eq!(first(&["pids/GROUP/pids.max", "GROUP/pids.max"]), "42");
    let cpu = first(&["cpu/GROUP/cpu.cfs_quota_us", "cpu,cpuacct/GROUP/cpu.cfs_quota_us", "GROUP/cpu.max"]);
    assert!(cpu == "50000" || cpu == "50000 100000", "{cpu}");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_carries_streams_environment_and_exit_code() {
    let f = Fixture::new().await;
    let mut spec = f.container("main", "sleep 1000");
    spec.env = vec!["COLOUR=blue".to_owned()];
    spec.cwd = "/tmp/made/here".to_owned();
    f.start("p", spec).await;
    let (exit, out, err) = f.exec("p", "main", "echo $COLOUR $HOSTNAME $HOME; pwd; echo oops >&2; exit 9").await;
    assert_eq!((exit, out.as_str(), err.as_str()), (ExecExit::Code(9), "blue p /root\n/tmp/made/here\n", "oops\n"));

    let spec = ExecSpec { args: ["cat"].map(str::to_owned).to_vec(), stdin: true, stdout: true, ..ExecSpec::default() };
    let (pod, id) = (Uid("uid-p".to_owned()), ContainerId("main".to_owned()));
    let session = f.runtime.exec(&pod, &id, spec).await.unwrap();
    let big = vec![b'x'; 1 << 20];
    let stdin = session.stdin.clone().unwrap();
    tokio::spawn(async move {
        for piece in big.chunks(10_000) {
            stdin.send(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
        }
    });
    let (exit, out, _) = collect(session).await;
    assert_eq!((exit, out.len()), (ExecExit::Code(0), 1 << 20));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_on_a_terminal_has_a_size_that_can_change() {
    let f = Fixture::new().await;
    let spec = f.container("main", "sleep 1000");
    f.start("p", spec).await;
    let script = "trap 'stty size' WINCH; tty; stty -echo; echo ready; until read line; do :; done; echo \"got $line\"";
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    let spec = ExecSpec { args, stdin: true, stdout: true, tty: true, ..ExecSpec::default() };
    let (pod, id) = (Uid("uid-p".to_owned()), ContainerId("main".to_owned()));
    let mut session = f.runtime.exec(&pod, &id, spec).await.unwrap();
    let seen = read_until(&mut session, "ready").await;
    assert!(seen.starts_with("/dev/pts/"), "{seen}");
    session.resize.as_ref().unwrap().send(TerminalSize { width: 101, height: 33 }).await.unwrap();
    // The program is told of its new size by the terminal's own signal.
    read_until(&mut session, "33 101").await;
    let keep = session.stdin.clone();
    session.stdin.as_ref().unwrap().send(bytes::Bytes::from_static(b"hello\n")).await.unwrap();
    let (exit, out, _) = collect(session).await;
    drop(keep);
    assert_eq!(exit, ExecExit::Code(0));
    assert!(out.contains("got hello"), "{out}");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_that_nobody_wants_any_more_is_killed_and_one_that_is_late_too() {
    let f = Fixture::new().await;
    let spec = f.container("main", "sleep 1000");
    f.start("p", spec).await;
    let (pod, id) = (Uid("uid-p".to_owned()), ContainerId("main".to_owned()));
    let spec = ExecSpec { args: ["sleep", "777"].map(str::to_owned).to_vec(), ..ExecSpec::default() };
    let session = f.runtime.exec(&pod, &id, spec).await.unwrap();
    let (_, out, _) = f.exec("p", "main", "ps").await;
    assert!(out.contains("sleep 777"), "{out}");
    drop(session);
    f.until_exec_says("p", "main", "ps", |out| !out.contains("sleep 777")).await;

    let spec = ExecSpec {
        args: ["sleep", "778"].map(str::to_owned).to_vec(),
        stdout: true,
        timeout: Some(std::time::Duration::from_millis(50)),
        ..ExecSpec::default()
    };
    let session = f.runtime.exec(&pod, &id, spec).await.unwrap();
    assert_eq!(collect(session).await.0, ExecExit::TimedOut);
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_run_says_why() {
    let mut f = Fixture::new().await;
    let mut spec = f.container("missing", "");
    spec.args = vec!["no-such-program".to_owned()];
    f.runtime.run_sandbox(f.pod("p")).await.unwrap();
    let (pod, id) = (Uid("uid-p".to_owned()), spec.id.clone());
    f.runtime.create_container(&pod, spec).await.unwrap();
    let error = f.runtime.start_container(&pod, &id).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to start container process: exec: \"no-such-program\": executable file not found in $PATH"
    );
    let exit = f.exit_of("missing").await;
    assert_eq!((exit.code, exit.reason), (128, ExitReason::StartError));

    let mut spec = f.container("nobody", "true");
    spec.user.image_user = "mysql".to_owned();
    let error = f.runtime.create_container(&pod, spec).await.unwrap_err();
    assert_eq!(error.to_string(), "unable to find user mysql: no matching entries in passwd file");

    let mut spec = f.container("novolume", "true");
    spec.mounts = vec![Mount { source: "/no/such".into(), target: "/data".into(), ..Mount::default() }];
    let error = f.runtime.create_container(&pod, spec).await.unwrap_err();
    assert_eq!(error.to_string(), "volume for /data: open /no/such: No such file or directory (os error 2)");

    let spec = f.container("after", "exit 0");
    f.start("p", spec).await;
    assert_eq!(f.exit_of("after").await.code, 0, "a failure before does not stay");

    let (_, out, _) = f.exec_error("p", "after").await;
    assert!(out.contains("is not running"), "{out}");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_come_back_with_the_exit() {
    let mut f = Fixture::new().await;
    let mut spec = f.container("words", "echo -n 'disk is gone' > /dev/termination-log; exit 1");
    spec.termination_message_path = Some("/dev/termination-log".into());
    spec.user.uid = Some(1000);
    let (exit, _) = f.run_to_end(spec).await;
    assert_eq!((exit.code, exit.message.as_str()), (1, "disk is gone"));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_pod_share_network_ipc_and_host_name_but_not_processes() {
    let f = Fixture::new().await;
    let script = "for n in net ipc uts mnt pid cgroup; do readlink /proc/self/ns/$n; done; hostname; ip addr show lo | grep -c LOOPBACK,UP; echo end; sleep 1000";
    for id in ["a", "b"] {
        let spec = f.container(id, script);
        f.start("p", spec).await;
        f.wait_for_log(id, "end").await;
    }
    let (a, b) = (f.logged("a"), f.logged("b"));
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    assert_eq!(a[..3], b[..3]);
    assert!((3..5).all(|i| a[i] != b[i]), "{a:?} {b:?}");
    assert_eq!(a[6..], ["p", "1", "end"]);
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(a[0], host.to_str().unwrap());
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_the_hosts_namespaces_is_on_them() {
    let mut f = Fixture::new().await;
    let mut pod = f.pod("host");
    (pod.host_network, pod.host_pid, pod.host_ipc) = (true, true, true);
    let sandbox = f.runtime.run_sandbox(pod).await.unwrap();
    assert!(sandbox.netns.is_none());
    let spec = f.container(
        "h",
        "readlink /proc/self/ns/net; readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; sleep 1000",
    );
    f.start("host", spec).await;
    f.wait_for_log("h", "ipc").await;
    let expected = ["net", "pid", "ipc"].map(|n| std::fs::read_link(format!("/proc/self/ns/{n}")).unwrap());
    let logged = f.logged("h");
    assert_eq!(logged.lines().collect::<Vec<_>>(), expected.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>());
    // Its helper dies: no process id namespace ends its containers, the agent does.
    f.kill_process(sandbox.pid);
    assert_eq!(f.exit_of("h").await.reason, ExitReason::SandboxDied);
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_container_logs_what_it_prints() {
    let mut f = Fixture::new().await;
    let mut spec = f.container("tty", "tty; echo $TERM; test -t 0 && test -t 1 && echo is a terminal");
    spec.tty = true;
    let (exit, text) = f.run_to_end(spec).await;
    assert_eq!(exit.code, 0, "{text}");
    let text = text.replace('\r', "");
    assert!(text.starts_with("/dev/") && text.ends_with("xterm\nis a terminal\n"), "{text}");
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_mounted_read_only_or_not_and_sub_paths_stay_inside() {
    let mut f = Fixture::new().await;
    let volume = f.dir.path().join("volume");
    std::fs::create_dir_all(volume.join("real")).unwrap();
    std::fs::create_dir_all(volume.join("etc")).unwrap();
    std::fs::write(volume.join("real/file"), "content\n").unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("trap")).unwrap();
    let mount = |sub: Option<&str>, target: &str, read_only| Mount {
        source: volume.clone(),
        sub_path: sub.map(Into::into),
        target: target.into(),
        read_only,
        ..Mount::default()
    };
    let mut spec = f.container(
        "v",
        "cat /sub/file; echo new > /all/new; echo no 2>/dev/null > /ro/no || echo refused; ls /trap | wc -l; cat /one; \
         touch /fresh/x && echo fresh; ls /data/deep/er",
    );
    spec.mounts = vec![
        mount(None, "/all", false),
        mount(None, "/ro", true),
        mount(Some("real"), "/sub", false),
        mount(Some("trap"), "/trap", false),
        mount(Some("real/file"), "/one", true),
        mount(Some("not/there/yet"), "/fresh", false),
        mount(None, "/data/deep/er", false),
    ];
    let (exit, text) = f.run_to_end(spec).await;
    assert_eq!(exit.code, 0, "{text}");
    assert_eq!(text.lines().take(5).collect::<Vec<_>>(), ["content", "refused", "0", "content", "fresh"]);
    assert!(volume.join("new").exists() && volume.join("not/there/yet/x").exists());
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_pods_start_at_once() {
    let f = Fixture::new().await;
    let f = std::sync::Arc::new(f);
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let f = std::sync::Arc::clone(&f);
            tokio::spawn(async move {
                let id = format!("many{n}");
                let spec = f.container(&id, "echo up; sleep 1000");
                f.start(&id, spec).await
            })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), ContainerState::Running { .. }));
    }
    assert_eq!(f.runtime.list().await.unwrap().iter().filter(|p| p.alive.is_some()).count(), 20);
    std::sync::Arc::into_inner(f).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_rotated_and_the_container_is_never_held_up() {
    let mut f = Fixture::new().await;
    f.config.logs = LogLimits { file_bytes_max: 100_000, files_max: 3 };
    let f = f.restart().await;
    let mut f = f;
    let spec = f.container("loud", "seq 1 50000; echo end");
    f.start("p", spec).await;
    assert_eq!(f.exit_of("loud").await.code, 0);
    let parts = logs::parts(&f.log("loud"));
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|p| std::fs::metadata(p).unwrap().len() <= 100_000));
    assert!(f.logged("loud").ends_with("50000\nend\n"));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_may_have_as_many_layers_as_images_have() {
    let mut f = Fixture::new().await;
    let mut spec = f.container("layers", "cat /etc/top; ls /many | wc -l");
    spec.rootfs.layers = vec![f.layer.clone()];
    for n in 0..126 {
        let layer = f.dir.path().join(format!("a-layer-with-a-name-as-long-as-a-digest-has-it-{n:020}"));
        std::fs::create_dir_all(layer.join("many")).unwrap();
        std::fs::create_dir_all(layer.join("etc")).unwrap();
        std::fs::write(layer.join(format!("many/{n}")), "").unwrap();
        std::fs::write(layer.join("etc/top"), format!("{n}\n")).unwrap();
        spec.rootfs.layers.push(layer);
    }
    let (exit, text) = f.run_to_end(spec).await;
    assert_eq!((exit.code, text.as_str()), (0, "125\n126\n"));
    f.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_made_later_are_seen_as_far_as_the_propagation_says() {
    let f = Fixture::new().await;
    let (volume, dir) = (f.dir.path().join("shared"), f.dir.path().to_owned());
    std::fs::create_dir_all(volume.join("host")).unwrap();
    std::fs::create_dir_all(volume.join("guest")).unwrap();
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let none: Option<&str> = None;
    mount(Some(&volume), &volume, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, &volume, none, MsFlags::MS_SHARED, none).unwrap();
    let with = |id: &str, propagation| {
        let mut spec = f.container(id, "sleep 1000");
        spec.mounts = vec![Mount { source: volume.clone(), target: "/v".into(), propagation, ..Mount::default() }];
        spec.security.privileged = true;
        spec
    };
    f.start("p", with("none", Propagation::None)).await;
    f.start("p", with("slave", Propagation::HostToContainer)).await;
    f.start("p", with("both", Propagation::Bidirectional)).await;
    mount(Some("x"), &volume.join("host"), Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::write(volume.join("host/file"), "").unwrap();
    let mut seen = Vec::new();
    for id in ["none", "slave", "both"] {
        seen.push(f.exec("p", id, "ls /v/host").await.1);
    }
    let (exit, _, err) = f.exec("p", "both", "mount -t tmpfs x /v/guest && touch /v/guest/file").await;
    let back = volume.join("guest/file").exists();
    f.runtime.remove_sandbox(&Uid("uid-p".to_owned())).await.unwrap();
    for path in ["guest", "host", ""] {
        let _ = umount2(&dir.join("shared").join(path), MntFlags::MNT_DETACH);
    }
    assert_eq!(seen, ["", "file\n", "file\n"]);
    assert!(exit == ExecExit::Code(0) && back, "{err}");
    f.close().await;
}
