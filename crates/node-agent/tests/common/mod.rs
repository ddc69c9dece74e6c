//! What the tests of the agent share: an API server in memory, and waiting.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, Config, Limits};
use informer::{Cached, Informer};
use pki::{Pki, PkiRequest, ServingNames};
use store::{MemoryDisk, MemoryEngine, Store};

/// Longest wait for anything in these tests; far more than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An API server over a store in memory.
pub async fn server(folder: &tempfile::TempDir) -> ApiServer {
    let request =
        PkiRequest { cluster_name: "bed".to_owned(), serving: ServingNames { dns: Vec::new(), addresses: Vec::new() } };
    let config = Config {
        pki: Arc::new(Pki::open(&folder.path().join("pki"), &request, meta::Timestamp::now()).unwrap()),
        service_range: "10.96.0.0/16".parse().unwrap(),
        advertise: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6443),
        admin_token: None,
        event_ttl: Duration::from_secs(3600),
        limits: Limits::STANDARD,
    };
    let store = Store::open(store::Config::standard(), MemoryEngine::open(&MemoryDisk::default())).unwrap();
    ApiServer::start(config, store).await.unwrap()
}

/// Waits until this is true of everything an informer holds.
pub async fn until<T: informer::Cacheable + std::fmt::Debug>(
    informer: &Informer<T>,
    what: &str,
    seen: impl Fn(&[Arc<Cached<T>>]) -> bool,
) {
    let mut changes = informer.changes();
    let wait = async {
        informer.synced().await;
        loop {
            changes.mark_unchanged();
            if seen(&informer.list()) {
                return;
            }
            changes.changed().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "{what}: {:#?}", informer.list());
}
