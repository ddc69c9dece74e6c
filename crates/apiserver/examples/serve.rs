//! An API server alone, with a store on disk: for trying it with kubectl and for measuring it.
//!
//! `serve <data folder> [address]` prints the path of an administrator's kubeconfig and serves until interrupted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use apiserver::{ApiServer, Config, Limits};
use pki::{Pki, PkiRequest, ServingNames};
use store::{RedbConfig, RedbEngine, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let mut arguments = std::env::args().skip(1);
    let data = PathBuf::from(arguments.next().context("usage: serve <data folder> [address]")?);
    let address: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;

    let begun = std::time::Instant::now();
    let request = PkiRequest { cluster_name: "serve".to_owned(), serving: ServingNames::default() };
    let pki = Arc::new(Pki::open(&data.join("pki"), &request, meta::Timestamp::now())?);
    let store = Store::open(store::Config::standard(), RedbEngine::open(RedbConfig::standard(data.join("store")))?)?;
    let config = Config {
        pki: pki.clone(),
        service_range: "10.96.0.0/16".parse()?,
        advertise: "10.97.0.1:6443".parse()?,
        admin_token: None,
        event_ttl: Duration::from_secs(3600),
        limits: Limits::STANDARD,
    };
    let server = ApiServer::start(config, store.clone()).await?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    let url = format!("https://{}", listener.local_addr()?);
    server.serve(listener, pki.server_tls()?);

    let kubeconfig = data.join("kubeconfig");
    std::fs::write(&kubeconfig, pki.admin_kubeconfig(&url, "serve").expose())?;
    println!("{} after {:?}: export KUBECONFIG={}", url, begun.elapsed(), kubeconfig.display());
    tokio::signal::ctrl_c().await?;
    server.stop(Duration::from_secs(5)).await;
    store.close().await;
    Ok(())
}
