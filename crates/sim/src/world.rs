//! The cluster of one run: its parts, how they are started and killed, and what befalls them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use client::Client;
use container_runtime::{Life, SandboxStatus, Script, VirtualRuntime};
use controllers::{Controllers, PlanObserver};
use images::{Image, MemoryImages};
use informer::{Clock, Informers};
use meta::Uid;
use node_agent::NodeAgent;
use pod_network::{MemoryNetwork, PodNetwork, Ranges};
use scheduler::Scheduler;
use store_core::Revision;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use volumes::{MemoryVolumes, Volumes};

use crate::control::Server;
use crate::disk::Disk;
use crate::ground::Ground;
use crate::process::{Process, VirtualClock};
use crate::rng::Rng;
use crate::scenario::{Act, Fault, Scenario, Temper};
use crate::twins::{Guarded, Machine};
use crate::weather::{Spell, Squall};
use crate::wire::Wire;

/// Templates whose image exists have versions up to this one.
const VERSIONS_MAX: u32 = 40;
/// A clock that was set by more than that was wrong for good: what goes by it is restarted when it is right again.
pub const STRAY_SECS_MAX: u64 = 200;
/// Pause before a part that did not start is started again.
const START_PAUSE: Duration = Duration::from_millis(700);

/// What the server's supervisor is told.
enum Order {
    Kill { millis: u64 },
}

/// The cluster of one run.
pub struct World {
    /// What all share.
    pub ground: Arc<Ground>,
    /// The store's disk.
    pub disk: Disk,
    machines: Vec<(Machine, PathBuf)>,
    parts: Mutex<BTreeMap<String, Arc<Process>>>,
    orders: mpsc::UnboundedSender<Order>,
    folder: tempfile::TempDir,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

/// Name of the agent's process on a node.
pub fn agent(node: &str) -> String {
    format!("agent-{node}")
}

impl World {
    /// The cluster of a scenario, with its server and all parts being started.
    pub fn start(ground: &Arc<Ground>, scenario: &Scenario) -> Arc<Self> {
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder for the nodes' files");
        let machines = (1..=scenario.nodes).map(|number| machine(ground, scenario.temper, number, folder.path()));
        ground.court().order.clocks_differ = scenario.drift_ppm > 0;
        ground.court().order.is_calm = !scenario.steps.iter().any(|step| matches!(step.act, Act::Fault(_)));
        let (orders, received) = mpsc::unbounded_channel();
        let world = Arc::new(Self {
            ground: Arc::clone(ground),
            disk: Disk::of(scenario),
            machines: machines.collect(),
            parts: Mutex::default(),
            orders,
            folder,
        });
        tokio::spawn(supervise(Arc::clone(ground), world.disk.clone(), received));
        world.start_missing();
        world
    }

    /// Starts every part that does not run.
    pub fn start_missing(self: &Arc<Self>) {
        self.start_part("controllers");
        self.start_part("scheduler");
        for (machine, _) in &self.machines {
            self.start_part(&agent(&machine.node));
        }
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Process>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client for a process under a user's name.
    pub fn client(&self, process: &Arc<Process>, user: &str) -> Arc<dyn Client> {
        Arc::new(Wire::new(&self.ground, process, user))
    }

    /// The sandboxes on all nodes.
    pub fn sandboxes(&self) -> impl Iterator<Item = SandboxStatus> {
        self.machines.iter().flat_map(|(machine, _)| machine.sandboxes())
    }

    fn start_part(self: &Arc<Self>, name: &str) {
        if self.parts().contains_key(name) {
            return;
        }
        let process = self.ground.process(name);
        self.ground.note(format_args!("{name} starts"));
        self.parts().insert(name.to_owned(), Arc::clone(&process));
        match name {
            "controllers" => self.start_controllers(&process),
            "scheduler" => self.start_scheduler(&process),
            _ => {
                let found = self.machines.iter().find(|(machine, _)| agent(&machine.node) == name);
                if let Some((machine, folder)) = found {
                    tokio::spawn(run_agent(Arc::clone(&self.ground), process, machine.clone(), folder.clone()));
                }
            }
        }
    }

    fn start_controllers(&self, process: &Arc<Process>) {
        let revision = self.ground.court().history.revision();
        self.ground.court().order.began(process.incarnation, revision);
        let informers = Informers::new(self.client(process, "system:roadstead"), TaskTracker::new(), process.token());
        let (ground, speaker) = (Arc::clone(&self.ground), Arc::clone(process));
        let clients: controllers::ClientFactory =
            Arc::new(move |user: &str| Arc::new(Wire::new(&ground, &speaker, user)) as Arc<dyn Client>);
        let mut config = controllers::Config::standard(PathBuf::from("/memory/volumes"), "PEM".to_owned());
        let ground = Arc::clone(&self.ground);
        config.on_plan = PlanObserver::new(move |plan| crate::branches::count(plan, &mut ground.coverage()));
        let clock: Arc<dyn Clock> = Arc::new(process.clock.clone());
        Controllers::start(clients, informers, clock, config, &process.token());
    }

    fn start_scheduler(&self, process: &Arc<Process>) {
        let informers = Informers::new(self.client(process, "system:roadstead"), TaskTracker::new(), process.token());
        let client = self.client(process, "system:kube-scheduler");
        let clock = Arc::new(process.clock.clone());
        let scheduler = Scheduler::start(client, informers, clock, None, &process.token());
        self.ground.set_placer(process, scheduler.placer());
    }

    fn kill_part(&self, name: &str) {
        if let Some(process) = self.parts().remove(name) {
            self.ground.note(format_args!("{name} is killed"));
            process.kill();
        }
    }

    /// Kills a part; it starts again after a while.
    fn kill_for(self: &Arc<Self>, name: &str, millis: u64) {
        if name == "server" {
            // The supervisor lives as long as the world.
            let _ = self.orders.send(Order::Kill { millis });
            return;
        }
        self.kill_part(name);
        let (world, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            world.start_part(&name);
        });
    }

    /// Lets something fail.
    pub async fn befall(self: &Arc<Self>, fault: &Fault) {
        self.ground.count("fault", fault.name());
        match fault {
            Fault::Kill { part, millis } => self.kill_for(part, *millis),
            Fault::KillAll { millis } => {
                let names: Vec<String> = self.parts().keys().cloned().collect();
                for name in names.iter().map(String::as_str).chain(["server"]) {
                    self.kill_for(name, *millis);
                }
            }
            Fault::Squall { part, mishap, permille, millis } => {
                let until = Instant::now() + Duration::from_millis(*millis);
                let squall = Squall { part: part.clone(), mishap: *mishap, permille: *permille, until };
                self.ground.weather().squall(squall);
            }
            Fault::Stale { part, resource, millis } => {
                let until = Instant::now() + Duration::from_millis(*millis);
                self.ground.weather().stall(part, resource, until);
            }
            Fault::Compact => self.compact().await,
            Fault::PowerCut { operations, millis } => {
                self.disk.cut_power_after(u64::from(*operations));
                let (disk, world, millis) = (self.disk.clone(), Arc::clone(self), *millis);
                tokio::spawn(async move {
                    // It strikes when that much was written, or now if nothing is.
                    tokio::time::sleep(Duration::from_millis(1500)).await;
                    if disk.strike() {
                        world.kill_for("server", millis);
                    }
                });
            }
            Fault::Pause { part, millis } => {
                let all = self.parts();
                for process in all.values().filter(|one| part.is_empty() || one.name == *part) {
                    process.pause(Duration::from_millis(*millis));
                }
            }
            Fault::Reboot { node, millis } => self.reboot(*node, *millis).await,
            Fault::LoseSandbox { node } => {
                let Some((machine, _)) = self.machines.get(node - 1) else { return };
                if let Some(pod) = machine.sandboxes().first().map(|one| one.pod.clone()) {
                    machine.runtime.lose_sandbox(&pod).await;
                    machine.inspect(&self.ground);
                }
            }
            Fault::ClockJump { part, secs } => {
                let mut court = self.ground.court();
                (court.order.clocks_differ, court.order.clocks_jumped) = (true, true);
                drop(court);
                match part.as_str() {
                    "server" => self.ground.server_clock.set_offset(*secs),
                    _ => {
                        if let Some(process) = self.parts().get(part) {
                            process.clock.set_offset(*secs);
                        }
                    }
                }
            }
            Fault::DiskStall { millis } => {
                self.ground.weather().stall_disk(Instant::now() + Duration::from_millis(*millis));
            }
            Fault::Trouble { node, trouble, permille, millis } => {
                let Some((machine, _)) = self.machines.get(node - 1) else { return };
                let until = Instant::now() + Duration::from_millis(*millis);
                let spell = Spell { node: machine.node.clone(), trouble: *trouble, permille: *permille, until };
                self.ground.weather().spell(spell);
            }
            Fault::FlushFails { flushes } => self.disk.fail_after(*flushes),
            Fault::DiskFull { wholly, millis } => {
                let room = if *wholly { store::Room::Exhausted } else { store::Room::Low };
                self.disk.set_room(room);
                let (disk, millis) = (self.disk.clone(), *millis);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    disk.set_room(store::Room::Ample);
                });
            }
        }
    }

    async fn compact(&self) {
        let Some(server) = self.ground.server() else { return };
        let upto = Revision(self.ground.court().history.revision());
        let before = self.ground.court().history.revision();
        let compacted = tokio::select! {
            biased;
            () = server.gone() => return,
            compacted = server.store.compact(upto) => compacted,
        };
        match compacted {
            Ok(floor) => self.ground.note(format_args!("history before {floor} is forgotten")),
            Err(error) => self.ground.note(format_args!("compaction: {error}")),
        }
        let found = self.ground.court().compacted(&server.store, before);
        self.ground.violated_all(found);
    }

    async fn reboot(self: &Arc<Self>, node: usize, millis: u64) {
        let Some((machine, _)) = self.machines.get(node - 1) else { return };
        self.kill_part(&agent(&machine.node));
        for sandbox in machine.sandboxes() {
            machine.runtime.lose_sandbox(&sandbox.pod).await;
        }
        machine.inspect(&self.ground);
        self.kill_for(&agent(&machine.node), millis);
    }

    /// Nothing fails any more, everything runs, every clock is right but for its drift.
    pub fn calm_down(self: &Arc<Self>) {
        self.ground.note(format_args!("faults end"));
        self.ground.weather().clear();
        self.disk.heal();
        self.ground.server_clock.set_offset(0);
        for process in self.parts().values() {
            process.resume();
            process.clock.set_offset(0);
        }
        self.restart_strayed();
        self.start_missing();
    }

    /// Starts anew what had a clock that was wrong by more than minutes: what it tells stays ahead until the wall clock
    /// has caught up, so whoever sets a clock back by years restarts what went by it.
    fn restart_strayed(&self) {
        let strayed = |clock: &VirtualClock| clock.jumped_secs() > STRAY_SECS_MAX;
        if strayed(&self.ground.server_clock) {
            let _ = self.orders.send(Order::Kill { millis: 0 });
        }
        let names: Vec<String> = {
            let parts = self.parts();
            parts.iter().filter(|(_, one)| strayed(&one.clock)).map(|(name, _)| name.clone()).collect()
        };
        names.iter().for_each(|name| self.kill_part(name));
    }

    /// What a pod holds on the machines, in words; empty if nothing.
    pub async fn remains(&self, pod: &Uid) -> Vec<String> {
        let mut left = Vec::new();
        for (machine, _) in &self.machines {
            if machine.sandboxes().iter().any(|one| one.pod == *pod) {
                left.push(format!("a sandbox on {}", machine.node));
            }
            if machine.network.attachment(pod).await.is_some() {
                left.push(format!("an address on {}", machine.node));
            }
            if machine.volumes.pods().await.is_ok_and(|pods| pods.contains(pod)) {
                left.push(format!("volumes on {}", machine.node));
            }
        }
        left
    }
}

/// Keeps an API server running: starts it, and starts it anew when it was killed or its disk has failed.
async fn supervise(ground: Arc<Ground>, disk: Disk, mut orders: mpsc::UnboundedReceiver<Order>) {
    loop {
        let server = match Server::start(&ground, &disk).await {
            Ok(server) => server,
            Err(why) => {
                ground.note(format_args!("the server does not start: {why}"));
                tokio::time::sleep(START_PAUSE).await;
                disk.heal();
                continue;
            }
        };
        ground.note(format_args!("the server is up at {}", server.store.revision()));
        ground.set_server(Some(Arc::clone(&server)));
        let down = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Kill { millis }) => millis,
                None => return,
            },
            why = server.store.until_broken() => {
                ground.note(format_args!("the store's disk has failed: {why}"));
                ground.count("event", "store broken");
                disk.heal();
                1000
            }
        };
        ground.note(format_args!("the server is killed"));
        ground.set_server(None);
        server.kill().await;
        ground.until_or_fair(Instant::now() + Duration::from_millis(down)).await;
    }
}

/// Starts an agent until it is there.
async fn run_agent(ground: Arc<Ground>, process: Arc<Process>, machine: Machine, folder: PathBuf) {
    let guarded = Arc::new(Guarded::new(&ground, &process, &machine));
    let gateway = match machine.network.attachment(&Uid(String::new())).await {
        Some(attachment) => attachment.gateway,
        None => IpAddr::from([10, 1, 0, 1]),
    };
    let config = node_agent::Config {
        node_name: machine.node.clone(),
        cluster_id: "0123abcd".to_owned(),
        data_dir: folder,
        gateway,
        dns_server: gateway,
        cluster_domain: "cluster.local".to_owned(),
        host_resolv_conf: "/dev/null".into(),
        binary_version: "sim".to_owned(),
        pods_max: 250,
    };
    loop {
        let parts = node_agent::Parts {
            client: Arc::new(Wire::new(&ground, &process, &format!("system:node:{}", machine.node))),
            runtime: guarded.clone(),
            network: guarded.clone(),
            images: guarded.clone(),
            volumes: guarded.clone(),
        };
        let revision = ground.court().history.revision();
        ground.court().identity.agent_began(&machine.node, revision);
        let clock = Arc::new(process.clock.clone());
        let started = NodeAgent::start_with_clock(config.clone(), parts, clock, process.token()).await;
        match started {
            Ok(_) => return ground.note(format_args!("{} is up", process.name)),
            Err(error) => {
                ground.note(format_args!("{} does not start: {error}", process.name));
                tokio::time::sleep(START_PAUSE).await;
            }
        }
        if process.token().is_cancelled() {
            return;
        }
    }
}

fn machine(ground: &Arc<Ground>, temper: Temper, number: usize, folder: &Path) -> (Machine, PathBuf) {
    let node = format!("n{number}");
    let data = folder.join(&node);
    std::fs::create_dir_all(&data).expect("a folder for the node's files");
    let octet = u8::try_from(number).unwrap_or(255);
    let ranges = Ranges {
        pods: format!("10.{octet}.0.0/20").parse().expect("a range"),
        services: "10.96.0.0/16".parse().expect("a range"),
    };
    let images = MemoryImages::default();
    for version in 1..=VERSIONS_MAX {
        for name in ["app", "stubborn"] {
            let image = Image {
                id: format!("sha256:{name}{version}"),
                entrypoint: vec![format!("/{name}")],
                ..Image::default()
            };
            // Every second one has to be pulled.
            let full = format!("{name}:v{version}");
            let put = if version % 2 == 1 { images.put(&full, image) } else { images.offer(&full, image) };
            put.expect("a plain image name");
        }
    }
    let machine = Machine {
        node,
        runtime: VirtualRuntime::new(script(ground, temper)),
        network: Arc::new(MemoryNetwork::new(ranges)),
        images: Arc::new(images),
        volumes: Arc::new(MemoryVolumes::default()),
    };
    (machine, data)
}

/// How the containers of a run behave: decided by the seed and the container's id.
fn script(ground: &Arc<Ground>, temper: Temper) -> Script {
    let (for_life, for_exec, for_clock) = (Arc::clone(ground), Arc::clone(ground), ground.process("machines"));
    let probes: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    Script {
        life: Arc::new(move |_, spec| {
            let mut rng = Rng::of(for_life.seed, &format!("life/{}", spec.id));
            let is_fair = for_life.weather().is_fair();
            let crashes = !is_fair && rng.chance(temper.crash_permille);
            let code = if rng.chance(300) { 0 } else { 1 };
            let stubborn = spec.args.first().is_some_and(|program| program == "/stubborn");
            let obeys = Duration::from_millis(rng.below(temper.stop_millis_max + 1));
            Life {
                start_after: Duration::from_millis(rng.below(temper.start_millis_max + 1)),
                start_failure: (crashes && rng.chance(200)).then(|| "exec format error".to_owned()),
                ends: crashes.then(|| (Duration::from_millis(rng.between(1, 20_000)), code)),
                obeys_after: (!stubborn).then_some(obeys),
            }
        }),
        exec: Arc::new(move |container, _| {
            let mut rng = Rng::of(for_exec.seed, &format!("probe/{}", container.id));
            let wanted = rng.below(temper.probes_max + 1);
            let mut probes = probes.lock().unwrap_or_else(PoisonError::into_inner);
            let count = probes.entry(container.id.0.clone()).or_default();
            *count += 1;
            let is_fair = for_exec.weather().is_fair();
            let mut luck = Rng::of(for_exec.seed, &format!("flap/{}/{count}", container.id));
            let fails = *count <= wanted || !is_fair && luck.chance(temper.flap_permille);
            (i32::from(fails), Bytes::new())
        }),
        clock: Arc::new(move || for_clock.clock.now()),
    }
}
