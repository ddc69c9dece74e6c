//! A server on loopback with a store in memory, and a small HTTP client for it.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::sync::Arc;
use std::time::Duration;

use api::codec::{Media, decode_untyped};
use apiserver::{ApiServer, Config, Limits};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pki::{Pki, PkiRequest, Secret, ServingNames};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use store::{MemoryDisk, MemoryEngine, Store};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

pub const TOKEN: &str = "let-me-in";

pub struct TestServer {
    pub server: ApiServer,
    pub store: Store,
    pub pki: Arc<Pki>,
    pub address: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A watch that is being read line by line.
pub struct Lines {
    body: Incoming,
    pending: Vec<u8>,
}

impl Lines {
    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await.unwrap()?;
            self.pending.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    pub async fn line(&mut self) -> String {
        let event = self.next().await.unwrap();
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(Limits::STANDARD).await
    }

    pub async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let request = PkiRequest { cluster_name: "test".to_owned(), serving: ServingNames::default() };
        let pki = Arc::new(Pki::open(folder.path(), &request, meta::Timestamp::now()).unwrap());
        let store = Store::open(store::Config::standard(), MemoryEngine::open(&MemoryDisk::default())).unwrap();
        let config = Config {
            pki: pki.clone(),
            service_range: "10.96.0.0/24".parse().unwrap(),
            advertise: "10.97.0.1:6443".parse().unwrap(),
            admin_token: Some(Secret::new(TOKEN)),
            event_ttl: Duration::from_secs(3600),
            limits,
        };
        let server = ApiServer::start(config, store.clone()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        server.serve(listener, pki.server_tls().unwrap());
        let server = Self { server, store, pki, address, _folder: folder };
        // The scenarios count config maps, and a namespace comes with one.
        assert_eq!(server.delete(&format!("{CONFIG_MAPS}/kube-root-ca.crt")).await.status, 200);
        server
    }

    pub async fn connect(&self) -> http1::SendRequest<Full<Bytes>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pki.ca_pem().as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        sender
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.connect().await.send_request(request).await.unwrap()
    }

    /// A request as administrator; `headers` are `Name: value`.
    pub async fn call(&self, method: &str, path: &str, headers: &[&str], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !headers.iter().any(|header| header.starts_with("Authorization")) {
            request = request.header("authorization", format!("Bearer {TOKEN}"));
        }
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let response = self.send(request.body(Full::new(body.into())).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &["Content-Type: application/json"], body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, &["Content-Type: application/json"], body.to_string()).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        self.call("PATCH", path, &[&format!("Content-Type: application/{kind}")], body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], "").await
    }

    pub async fn watch(&self, path: &str, headers: &[&str]) -> Lines {
        let mut request = Request::builder().uri(path).header("host", "localhost");
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let response = self.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body(), pending: Vec::new() }
    }

    /// Creates a config map and returns its resourceVersion.
    pub async fn config_map(&self, name: &str, labels: Value) -> String {
        let body = json!({"metadata": {"name": name, "labels": labels}, "data": {"k": "v"}});
        let answer = self.post(CONFIG_MAPS, &body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        version(&answer.json())
    }
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

/// A tree of YAML.
pub fn yaml(text: &str) -> Value {
    decode_untyped(text.as_bytes(), Media::Yaml).unwrap()
}

/// Code, reason and message; below them each cause with its field, and with its text where the message lacks it.
pub fn said(answer: &Answer) -> String {
    let status = answer.json();
    let word = |tree: &Value, key: &str| tree[key].as_str().unwrap_or("-").to_owned();
    let message = status["message"].as_str().unwrap_or("accepted");
    // A message may have lines of its own; in a table what is not indented is a question.
    let lines = message.replace('\n', "\n    ");
    let mut text = format!("  {} {} {lines}\n", answer.status.as_u16(), word(&status, "reason"));
    for cause in status["details"]["causes"].as_array().into_iter().flatten() {
        let told = format!("{}: {}", word(cause, "field"), word(cause, "message"));
        let shown = if message.contains(&told) { word(cause, "field") } else { told };
        text.push_str(&format!("    {} {shown}\n", word(cause, "reason")));
    }
    text
}
