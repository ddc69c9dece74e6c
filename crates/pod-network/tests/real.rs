//! The real network, in a network namespace of the test's own: as root; elsewhere it says that it cannot.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use meta::Uid;
use nix::sched::{CloneFlags, setns, unshare};
use pod_network::{
    Config, NetlinkNetwork, PodNetwork, Protocol, Ranges, ServicePort, audit, choose_ranges, remove_everything,
};

const ID: &str = "0badcafe";

/// A pod: a namespace that a thread made and left behind.
fn new_netns() -> OwnedFd {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
        File::open("/proc/thread-self/ns/net").expect("the namespace").into()
    })
    .join()
    .expect("the thread ends well")
}

/// Runs something inside a namespace.
fn inside<T: Send + 'static>(netns: &OwnedFd, act: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    let netns = netns.try_clone().expect("a copy");
    std::thread::spawn(move || {
        setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter the namespace");
        act()
    })
}

/// A server in a pod that tells each client its address; serves as many clients as asked.
fn serve(netns: &OwnedFd, at: SocketAddr, clients: usize) -> std::thread::JoinHandle<()> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let served = inside(netns, move || {
        let listener = TcpListener::bind(at).expect("listen in the pod");
        ready.send(()).expect("somebody waits");
        for _ in 0..clients {
            let (mut stream, peer) = listener.accept().expect("a client");
            write!(stream, "{} saw {}", at.ip(), peer.ip()).expect("answer");
        }
    });
    is_ready.recv().expect("the server listens");
    served
}

fn ask(at: SocketAddr) -> String {
    let mut text = String::new();
    match TcpStream::connect_timeout(&at, Duration::from_secs(5)) {
        Ok(mut stream) => drop(stream.read_to_string(&mut text).expect("an answer")),
        Err(error) => text = error.kind().to_string(),
    }
    text
}

fn in_own_namespace(test: impl FnOnce(Ranges) -> futures::future::BoxFuture<'static, ()> + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
        // Threads that this runtime starts are born in this thread's namespace.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let ranges = choose_ranges(&[], ID).expect("room");
        runtime.block_on(test(ranges));
    })
    .join()
    .expect("the test ends well");
}

fn config(folder: &tempfile::TempDir, ranges: Ranges) -> Config {
    Config { cluster_id: ID.to_owned(), ranges, state_dir: folder.path().to_path_buf() }
}

#[test]
fn pods_reach_each_other_and_services_with_their_own_addresses() {
    in_own_namespace(|ranges| {
        Box::pin(async move {
            let folder = tempfile::tempdir().expect("a folder");
            let network = NetlinkNetwork::open(config(&folder, ranges)).await.expect("open");
            let (first, second) = (new_netns(), new_netns());
            let a = network.attach(&Uid("a".into()), first.as_fd()).await.expect("attach a").address;
            let b = network.attach(&Uid("b".into()), second.as_fd()).await.expect("attach b").address;
            assert_ne!(a, b);

            // Pod to pod: the client's address is kept.
            let server = serve(&second, SocketAddr::new(b, 80), 5);
            let answer = inside(&first, move || ask(SocketAddr::new(b, 80))).join().expect("asked");
            assert_eq!(answer, format!("{b} saw {a}"));
            // Node to pod: from the gateway.
            let answer = tokio::task::spawn_blocking(move || ask(SocketAddr::new(b, 80))).await.expect("asked");
            assert_eq!(answer, format!("{b} saw {}", ranges.gateway()));

            let virtual_address = IpAddr::V4(Ipv4Addr::from(u32::from(ranges.kubernetes_service()) + 8));
            let mut service = ServicePort {
                address: virtual_address,
                port: 8080,
                protocol: Protocol::Tcp,
                backends: vec![(b, 80)],
                affinity_secs: None,
            };
            network.set_services(&[service.clone()]).await.expect("services");
            let at = SocketAddr::new(virtual_address, 8080);
            let answer = inside(&first, move || ask(at)).join().expect("asked");
            assert_eq!(answer, format!("{b} saw {a}"), "a service keeps the client's address");
            let answer = inside(&second, move || ask(at)).join().expect("asked");
            assert_eq!(answer, format!("{b} saw {}", ranges.gateway()), "a pod reaches itself through its service");
            let answer = tokio::task::spawn_blocking(move || ask(at)).await.expect("asked");
            assert!(answer.starts_with(&b.to_string()), "the node reaches services: {answer}");
            server.join().expect("the server ends");

            service.backends.clear();
            service.affinity_secs = Some(60);
            network.set_services(&[service]).await.expect("services");
            for netns in [&first, &second] {
                let answer = inside(netns, move || ask(at)).join().expect("asked");
                assert_eq!(answer, "connection refused", "no backend: refused at once");
            }
            remove_everything(ID).await.expect("remove");
            assert_eq!(audit(ID).await.expect("audit"), Vec::<String>::new());
        })
    });
}

#[test]
fn affinity_keeps_a_client_with_its_backend_while_other_services_change() {
    in_own_namespace(|ranges| {
        Box::pin(async move {
            let folder = tempfile::tempdir().expect("a folder");
            let network = NetlinkNetwork::open(config(&folder, ranges)).await.expect("open");
            let (client, one, two) = (new_netns(), new_netns(), new_netns());
            network.attach(&Uid("c".into()), client.as_fd()).await.expect("attach");
            let a = network.attach(&Uid("1".into()), one.as_fd()).await.expect("attach").address;
            let b = network.attach(&Uid("2".into()), two.as_fd()).await.expect("attach").address;
            let _servers = (serve(&one, SocketAddr::new(a, 80), 99), serve(&two, SocketAddr::new(b, 80), 99));
            let address = IpAddr::V4(Ipv4Addr::from(u32::from(ranges.kubernetes_service()) + 8));
            let service = ServicePort {
                address,
                port: 80,
                protocol: Protocol::Tcp,
                backends: vec![(a, 80), (b, 80)],
                affinity_secs: Some(600),
            };
            network.set_services(std::slice::from_ref(&service)).await.expect("services");
            let at = SocketAddr::new(address, 80);
            let first = inside(&client, move || ask(at)).join().expect("asked");
            let other = ServicePort { port: 81, affinity_secs: None, ..service.clone() };
            network.set_services(&[other, service]).await.expect("services");
            for _ in 0..8 {
                assert_eq!(inside(&client, move || ask(at)).join().expect("asked"), first);
            }
        })
    });
}

#[test]
fn a_restarted_agent_knows_every_attachment_and_gives_no_address_twice() {
    in_own_namespace(|ranges| {
        Box::pin(async move {
            let folder = tempfile::tempdir().expect("a folder");
            let netns = new_netns();
            let pod = Uid("a".into());
            let network = NetlinkNetwork::open(config(&folder, ranges)).await.expect("open");
            let given = network.attach(&pod, netns.as_fd()).await.expect("attach");
            drop(network);

            let network = NetlinkNetwork::open(config(&folder, ranges)).await.expect("open again");
            assert_eq!(network.attachment(&pod).await, Some(given.clone()));
            assert_eq!(network.attach(&pod, netns.as_fd()).await.expect("attach again"), given, "nothing changes");
            let other = network.attach(&Uid("b".into()), new_netns().as_fd()).await.expect("attach b");
            assert_ne!(other.address, given.address);
            network.detach(&pod).await.expect("detach");
            network.detach(&pod).await.expect("detach twice");
            assert_eq!(network.attachment(&pod).await, None);
            let renewed = network.attach(&pod, new_netns().as_fd()).await.expect("attach anew");
            assert_ne!(renewed.address, given.address, "a freed address rests");
        })
    });
}
