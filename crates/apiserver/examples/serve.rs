//! An API server alone, with a store on disk: for trying it with kubectl and for measuring it.
//!
//! `serve <data folder> [address]` prints the path of an administrator's kubeconfig and serves until interrupted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use apiserver::{ApiServer, Config, Limits};
use async_trait::async_trait;
use bytes::Bytes;
use client::{ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use meta::Status;
use pki::{Pki, PkiRequest, ServingNames};
use store::{RedbConfig, RedbEngine, Store};
use tokio::sync::{mpsc, oneshot};

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
    server.set_node_streams(Arc::new(Echo));
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

/// A node without containers: exec says its command on standard error, echoes its input, and exits with the number that
/// is the command's last word.
struct Echo;

#[async_trait]
impl NodeStreams for Echo {
    async fn logs(&self, request: LogRequest) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        Ok(futures::stream::iter((0..3).map(move |n| Ok(format!("{} line {n}\n", request.container).into()))).boxed())
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, Status> {
        let (stdin, mut input) = mpsc::channel::<Bytes>(8);
        let (output, stdout) = mpsc::channel(8);
        let (errors, stderr) = mpsc::channel(8);
        let (end, exit) = oneshot::channel();
        let (resize, mut sizes) = mpsc::channel(8);
        let code = request.command.last().and_then(|word| word.parse().ok()).unwrap_or_default();
        tokio::spawn(async move {
            let _ = errors.send(format!("{:?}\n", request.command).into()).await;
            drop(errors);
            let mut open = request.stdin;
            while open {
                tokio::select! {
                    Some(size) = sizes.recv() => { let _ = output.send(format!("{size:?}\r\n").into()).await; }
                    bytes = input.recv() => match bytes {
                        Some(bytes) if !bytes.contains(&4) => { let _ = output.send(bytes).await; }
                        Some(_) | None => open = false,
                    }
                }
            }
            drop(output);
            let _ = end.send(ExecExit::Code(code));
        });
        Ok(ExecSession {
            stdin: request.stdin.then_some(stdin),
            stdout: Some(stdout),
            stderr: (!request.tty).then_some(stderr),
            resize: request.tty.then_some(resize),
            exit,
        })
    }
}
