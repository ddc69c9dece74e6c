//! Logs, exec over WebSocket, and the end of the server, over TLS on loopback.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use client::{ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::Request;
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use meta::Status;
use serde_json::{Value, json};
use support::{CONFIG_MAPS, TOKEN, TestServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

/// A node whose only program shouts back what it hears, and ends with 7 at the end of its input.
struct Shouting;

#[async_trait]
impl NodeStreams for Shouting {
    async fn logs(&self, request: LogRequest) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        if request.previous {
            return Err(Status::bad_request("previous terminated container \"c\" in pod \"p\" not found"));
        }
        let line = format!("{} {:?}\n", request.container, request.tail_lines);
        Ok(futures::stream::iter([Ok(line.into())]).boxed())
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, Status> {
        assert_eq!(request.command, ["shout"]);
        let (stdin, mut input) = mpsc::channel::<Bytes>(1);
        let (output, stdout) = mpsc::channel(1);
        let (end, exit) = oneshot::channel();
        tokio::spawn(async move {
            while let Some(heard) = input.recv().await {
                output.send(heard.to_ascii_uppercase().into()).await.unwrap();
            }
            end.send(ExecExit::Code(7)).unwrap();
        });
        Ok(ExecSession { stdin: Some(stdin), stdout: Some(stdout), stderr: None, resize: None, exit })
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn server_with_pod() -> TestServer {
    let server = TestServer::start().await;
    server.server.set_node_streams(Arc::new(Shouting));
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(server.post(PODS, &pod).await.status, 201);
    server
}

/// A WebSocket, by hand: frames of the client are masked with zeros.
struct Socket(TokioIo<Upgraded>);

impl Socket {
    async fn open(server: &TestServer, path: &str, protocol: &str) -> (http::HeaderMap, Self) {
        let request = Request::builder()
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
            .header("sec-websocket-protocol", protocol)
            .body(Full::<Bytes>::default())
            .unwrap();
        let mut connection = server.connect().await;
        let response = connection.send_request(request).await.unwrap();
        assert_eq!(response.status(), 101);
        let headers = response.headers().clone();
        (headers, Self(TokioIo::new(hyper::upgrade::on(response).await.unwrap())))
    }

    async fn send(&mut self, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126);
        let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0], payload].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next frame: its kind and its payload.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.unwrap();
        let length = match head[1] {
            126 => u64::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.unwrap();
        (head[0] & 0xf, payload)
    }
}

#[tokio::test]
async fn an_exec_over_websocket_ends_with_its_exit_code_and_a_normal_close() {
    let server = server_with_pod().await;
    let path = format!("{PODS}/p/exec?command=shout&stdin=true&stdout=true");
    let (headers, mut socket) = Socket::open(&server, &path, "v5.channel.k8s.io, v4.channel.k8s.io").await;
    assert_eq!(headers["sec-websocket-protocol"], "v5.channel.k8s.io");
    socket.send(b"\0hello").await;
    assert_eq!(socket.receive().await, (2, b"\x01HELLO".to_vec()));
    socket.send(&[255, 0]).await;
    let (kind, status) = socket.receive().await;
    assert_eq!((kind, status[0]), (2, 3));
    let status: Value = serde_json::from_slice(&status[1..]).unwrap();
    assert_eq!(
        (&status["reason"], &status["details"]["causes"][0]["message"]),
        (&json!("NonZeroExitCode"), &json!("7"))
    );
    assert_eq!(socket.receive().await, (8, 1000_u16.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn an_exec_that_cannot_be_upgraded_is_refused_with_a_status() {
    let server = server_with_pod().await;
    let check = async |query: &str, code: u16, text: &str| {
        let answer = server.get(&format!("{PODS}/p/exec?{query}")).await;
        assert_eq!(answer.status, code, "{:?}", answer.body);
        assert!(answer.json()["message"].as_str().unwrap().contains(text));
    };
    check("command=shout&stdout=true", 400, "Upgrade request required").await;
    check("command=shout", 400, "at least 1 of stdin, stdout, stderr").await;
    check("command=shout&stdout=true&container=x", 400, "container x is not valid for pod p").await;
    assert_eq!(server.get(&format!("{PODS}/none/exec?command=shout&stdout=true")).await.status, 404);
}

#[tokio::test]
async fn logs_are_text_and_their_refusals_statuses() {
    let server = server_with_pod().await;
    let answer = server.get(&format!("{PODS}/p/log?tailLines=5")).await;
    assert_eq!((&answer.body[..], answer.header("content-type")), (&b"c Some(5)\n"[..], "text/plain"));
    let refused = server.get(&format!("{PODS}/p/log?previous=true")).await;
    assert_eq!((refused.status.as_u16(), refused.json()["reason"].clone()), (400, json!("BadRequest")));
}

#[tokio::test]
async fn a_stopping_server_ends_watches_and_execs_and_takes_no_new_connections() {
    let server = server_with_pod().await;
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1"), &[]).await;
    let path = format!("{PODS}/p/exec?command=shout&stdin=true&stdout=true");
    let (_, _socket) = Socket::open(&server, &path, "v5.channel.k8s.io").await;
    let begun = tokio::time::Instant::now();
    server.server.stop(Duration::from_secs(30)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "nothing holds the stop up");
    assert_eq!(watch.next().await, None, "a clean end");
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}
