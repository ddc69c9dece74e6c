//! How long a pod takes from nothing to a running program, alone and many at once, and what a helper weighs.
//!
//! `cargo run --release -p container-runtime --example runtime_bench [ROUNDS [PROGRAM]]`; PROGRAM is run as the helper
//! instead of this one. Needs root and busybox-static.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use container_runtime::{
    Config, ContainerId, ContainerSpec, ExecSpec, LibcontainerRuntime, RootFs, Runtime, SandboxSpec, remove_everything,
};
use meta::Uid;

fn main() {
    container_runtime::helper_main();
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(20);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(bench(rounds));
}

async fn bench(rounds: usize) {
    let dir = PathBuf::from(format!("/var/tmp/runtime-bench-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("layer/bin")).expect("a folder");
    std::fs::copy("/bin/busybox", dir.join("layer/bin/busybox")).expect("busybox-static is installed");
    let mut config = Config::new(format!("{:08x}", std::process::id()), dir.join("state"));
    if let Some(program) = std::env::args_os().nth(2) {
        config.program = program.into();
    }
    let runtime = Arc::new(LibcontainerRuntime::open(config.clone()).await.expect("the runtime opens"));

    let mut times: [Vec<Duration>; 6] = Default::default();
    let mut weights = Vec::new();
    for n in 0..rounds {
        let pod = Uid(format!("bench-{n}"));
        let mut at = Instant::now();
        let mut lap = |slot: usize| {
            times[slot].push(at.elapsed());
            at = Instant::now();
        };
        let sandbox = runtime.run_sandbox(sandbox(&pod)).await.expect("a sandbox");
        lap(0);
        let container = ContainerId(format!("c{n}"));
        runtime.create_container(&pod, spec(&dir, &container)).await.expect("a container");
        lap(1);
        runtime.start_container(&pod, &container).await.expect("a program");
        lap(2);
        let exec =
            ExecSpec { args: ["busybox", "true"].map(str::to_owned).to_vec(), stdout: true, ..Default::default() };
        let session = runtime.exec(&pod, &container, exec).await.expect("an exec");
        session.exit.await.expect("its end");
        lap(3);
        weights.push(pss_kib(sandbox.pid));
        runtime.kill_sandbox(&pod).await.expect("a dead pod");
        lap(4);
        runtime.remove_sandbox(&pod).await.expect("nothing left");
        lap(5);
    }
    let names = ["sandbox", "create", "start", "exec", "kill", "remove"];
    for (name, mut times) in names.iter().zip(times) {
        times.sort();
        println!("{name:10} p50 {:8.2?}  max {:8.2?}", times[times.len() / 2], times[times.len() - 1]);
    }
    println!("helper alone: {} KiB PSS", weights.iter().max().unwrap_or(&0));

    let begin = Instant::now();
    let tasks: Vec<_> = (0..30)
        .map(|n| {
            let (runtime, dir) = (Arc::clone(&runtime), dir.clone());
            tokio::spawn(async move {
                let (pod, container) = (Uid(format!("many-{n}")), ContainerId(format!("m{n}")));
                let sandbox = runtime.run_sandbox(sandbox(&pod)).await.expect("a sandbox");
                runtime.create_container(&pod, spec(&dir, &container)).await.expect("a container");
                runtime.start_container(&pod, &container).await.expect("a program");
                sandbox.pid
            })
        })
        .collect();
    let mut pids = Vec::new();
    for task in tasks {
        pids.push(task.await.expect("a pod"));
    }
    let took = begin.elapsed();
    println!("30 pods at once: {took:.2?}, {:.0} pods a second", 30.0 / took.as_secs_f64());
    println!("30 helpers: {} KiB PSS together", pids.iter().map(|pid| pss_kib(*pid)).sum::<u64>());
    let begin = Instant::now();
    for pod in runtime.list().await.expect("a list") {
        runtime.remove_sandbox(&pod.pod).await.expect("nothing left");
    }
    println!("30 pods removed, one after the other: {:.2?}", begin.elapsed());
    remove_everything(&config.cluster_id, &config.state_dir).expect("nothing left");
    let _ = std::fs::remove_dir_all(&dir);
}

fn sandbox(pod: &Uid) -> SandboxSpec {
    SandboxSpec { pod: pod.clone(), name: pod.0.clone(), hostname: pod.0.clone(), ..SandboxSpec::default() }
}

fn spec(dir: &Path, id: &ContainerId) -> ContainerSpec {
    ContainerSpec {
        id: id.clone(),
        name: "main".to_owned(),
        rootfs: RootFs { layers: vec![dir.join("layer")] },
        args: ["/bin/busybox", "sleep", "1000"].map(str::to_owned).to_vec(),
        log_path: dir.join("logs").join(&id.0),
        ..ContainerSpec::default()
    }
}

fn pss_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
