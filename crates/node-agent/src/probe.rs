//! Asking a container whether it is well, and running its lifecycle hooks: by program, HTTP or TCP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use container_runtime::{ContainerId, ExecExit, ExecSpec};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meta::Uid;
use node_core::script::Life;
use node_core::{Event, Hook, ProbeKind, ProbeOutcome};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::containers::find;
use crate::pod::Done;
use crate::sandbox::sentence;
use crate::shared::{Shared, pod_uid};

/// Most bytes of a program's output or an answer's body that are kept (reliability.md 4.2).
const OUTPUT_BYTES_MAX: usize = 10 * 1024;

/// What to do, whichever field of the pod it stands in.
enum Check<'a> {
    Exec(&'a [String]),
    Http(&'a HTTPGetAction),
    /// As a hook: whoever answers has heard it, whatever the status.
    HttpCall(&'a HTTPGetAction),
    Tcp {
        host: Option<&'a str>,
        port: &'a IntOrString,
    },
    Sleep(Duration),
    Unknown,
}

/// Runs one probe.
pub(crate) async fn run_probe(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    ips: Vec<IpAddr>,
    container: String,
    id: String,
    kind: ProbeKind,
    limit: Duration,
) -> Done {
    let outcome = match find(&pod, &container) {
        Some(spec) => {
            let probe = match kind {
                ProbeKind::Startup => &spec.startup_probe,
                ProbeKind::Liveness => &spec.liveness_probe,
                ProbeKind::Readiness => &spec.readiness_probe,
            };
            let check = probe.as_ref().map_or(Check::Unknown, |probe| match (&probe.exec, &probe.http_get) {
                (Some(exec), _) => Check::Exec(exec.command.as_deref().unwrap_or_default()),
                (None, Some(http)) => Check::Http(http),
                (None, None) => probe
                    .tcp_socket
                    .as_ref()
                    .map_or(Check::Unknown, |tcp| Check::Tcp { host: tcp.host.as_deref(), port: &tcp.port }),
            });
            check_once(&shared, &pod_uid(&pod), &ips, spec, &id, check, limit).await
        }
        None => ProbeOutcome::Errored("the pod has no such container".to_owned()),
    };
    Done::Event(Event::Probed { id, kind, outcome })
}

/// What a probe of a virtual container finds: what the script of its pod says for its age.
pub(crate) fn scripted(pod: &Pod, container: &str, id: String, kind: ProbeKind, age: Duration) -> Done {
    let outcome = match Life::of(pod, container) {
        Ok(life) if life.probe_succeeds(kind, age) => ProbeOutcome::Success,
        Ok(_) => ProbeOutcome::Failure("as the pod's annotations say".to_owned()),
        Err(bad) => ProbeOutcome::Errored(bad.to_string()),
    };
    Done::Event(Event::Probed { id, kind, outcome })
}

/// Runs a lifecycle hook.
pub(crate) async fn run_hook(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    ips: Vec<IpAddr>,
    container: String,
    id: String,
    hook: Hook,
    limit: Duration,
) -> Done {
    let spec = find(&pod, &container);
    let handler = spec.and_then(|spec| spec.lifecycle.as_ref()).and_then(|lifecycle| match hook {
        Hook::PostStart => lifecycle.post_start.as_ref(),
        Hook::PreStop => lifecycle.pre_stop.as_ref(),
    });
    let (Some(spec), Some(handler)) = (spec, handler) else {
        return Done::Event(Event::HookDone { id, hook, result: Ok(()) });
    };
    let check = if let Some(exec) = &handler.exec {
        Check::Exec(exec.command.as_deref().unwrap_or_default())
    } else if let Some(http) = &handler.http_get {
        Check::HttpCall(http)
    } else if let Some(sleep) = &handler.sleep {
        Check::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)))
    } else {
        Check::Unknown
    };
    let result = match check_once(&shared, &pod_uid(&pod), &ips, spec, &id, check, limit).await {
        ProbeOutcome::Success => Ok(()),
        ProbeOutcome::Failure(why) | ProbeOutcome::Errored(why) => Err(why),
    };
    Done::Event(Event::HookDone { id, hook, result })
}

async fn check_once(
    shared: &Shared,
    pod: &Uid,
    ips: &[IpAddr],
    container: &Container,
    id: &str,
    check: Check<'_>,
    limit: Duration,
) -> ProbeOutcome {
    match check {
        // There is nobody to ask; the script has its say on probes before.
        Check::Exec(_) | Check::Http(_) | Check::Tcp { .. } if shared.is_virtual() => ProbeOutcome::Success,
        Check::Exec(command) => exec(shared, pod, id, command, limit).await,
        Check::Http(http) => within(limit, http_get(http, ips, container)).await,
        Check::HttpCall(http) => {
            let call =
                async { http_status(http, ips, container).await.map_or_else(|bad| bad, |_| ProbeOutcome::Success) };
            within(limit, call).await
        }
        Check::Tcp { host, port } => within(limit, tcp_connect(host, port, ips, container)).await,
        Check::Sleep(time) => {
            let _over = tokio::time::timeout(limit, tokio::time::sleep(time)).await;
            ProbeOutcome::Success
        }
        Check::Unknown => ProbeOutcome::Errored("missing or unsupported handler".to_owned()),
    }
}

async fn within(limit: Duration, asking: impl Future<Output = ProbeOutcome>) -> ProbeOutcome {
    match tokio::time::timeout(limit, asking).await {
        Ok(outcome) => outcome,
        Err(_) => ProbeOutcome::Failure("context deadline exceeded".to_owned()),
    }
}

/// Runs a program in the container; more output than is kept is read and thrown away.
async fn exec(shared: &Shared, pod: &Uid, id: &str, command: &[String], limit: Duration) -> ProbeOutcome {
    let spec = ExecSpec {
        args: command.to_vec(),
        stdout: true,
        stderr: true,
        timeout: (limit < Duration::from_secs(u64::from(u32::MAX))).then_some(limit),
        ..ExecSpec::default()
    };
    let mut session = match shared.parts.runtime.exec(pod, &ContainerId(id.to_owned()), spec).await {
        Ok(session) => session,
        Err(error) => return ProbeOutcome::Errored(sentence(&error)),
    };
    let mut output = Vec::new();
    let (stdout, stderr) = (session.stdout.take(), session.stderr.take());
    let mut streams = futures::stream::select(lines(stdout), lines(stderr));
    while let Some(bytes) = futures::StreamExt::next(&mut streams).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let text = || String::from_utf8_lossy(&output).into_owned();
    match session.exit.await {
        Ok(ExecExit::Code(0)) => ProbeOutcome::Success,
        Ok(ExecExit::Code(_)) => ProbeOutcome::Failure(text()),
        Ok(ExecExit::TimedOut) => {
            let command = command.join(" ");
            ProbeOutcome::Failure(format!("command timed out: {command:?} timed out after {}s", limit.as_secs()))
        }
        Ok(ExecExit::Failed(why)) => ProbeOutcome::Errored(why),
        Err(_) => ProbeOutcome::Errored("the container went away".to_owned()),
    }
}

fn lines(
    receiver: Option<tokio::sync::mpsc::Receiver<bytes::Bytes>>,
) -> impl futures::Stream<Item = bytes::Bytes> + Unpin {
    Box::pin(futures::stream::unfold(receiver, |receiver| async {
        let mut receiver = receiver?;
        let bytes = receiver.recv().await?;
        Some((bytes, Some(receiver)))
    }))
}

fn port_number(port: &IntOrString, container: &Container) -> Result<u16, ProbeOutcome> {
    let bad = |text: String| ProbeOutcome::Errored(text);
    match port {
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| bad(format!("invalid port number: {number}"))),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            let number = named.map(|port| port.container_port).or_else(|| name.parse().ok());
            let number = number.ok_or_else(|| bad(format!("couldn't find port: {name:?}")))?;
            u16::try_from(number).map_err(|_| bad(format!("invalid port number: {number}")))
        }
    }
}

fn host_of(given: Option<&str>, ips: &[IpAddr]) -> Result<String, ProbeOutcome> {
    match given.filter(|host| !host.is_empty()) {
        Some(host) => Ok(host.to_owned()),
        None => ips
            .first()
            .map(ToString::to_string)
            .ok_or_else(|| ProbeOutcome::Errored("the pod has no address".to_owned())),
    }
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let address = address(host, port);
    TcpStream::connect(&address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {address}: {why}")
    })
}

async fn tcp_connect(host: Option<&str>, port: &IntOrString, ips: &[IpAddr], container: &Container) -> ProbeOutcome {
    let (host, port) = match (host_of(host, ips), port_number(port, container)) {
        (Ok(host), Ok(port)) => (host, port),
        (Err(outcome), _) | (_, Err(outcome)) => return outcome,
    };
    match connect(&host, port).await {
        Ok(_) => ProbeOutcome::Success,
        Err(why) => ProbeOutcome::Failure(why),
    }
}

/// Sends one GET; 200 to 399 is well. Redirects are not followed: a container that redirects answers.
async fn http_get(action: &HTTPGetAction, ips: &[IpAddr], container: &Container) -> ProbeOutcome {
    match http_status(action, ips, container).await {
        Ok(code) if (200..400).contains(&code) => ProbeOutcome::Success,
        Ok(code) => ProbeOutcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
        Err(outcome) => outcome,
    }
}

/// The status of the answer; redirects are not followed.
async fn http_status(action: &HTTPGetAction, ips: &[IpAddr], container: &Container) -> Result<u16, ProbeOutcome> {
    let host = host_of(action.host.as_deref(), ips)?;
    let port = port_number(&action.port, container)?;
    let is_tls = action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let scheme = if is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{path}", address(&host, port));
    let request = http_request(action, &address(&host, port), &path);
    let answer = async {
        let stream = connect(&host, port).await?;
        if is_tls {
            let stream = tls(stream, &host).await?;
            exchange(stream, request.as_bytes()).await
        } else {
            exchange(stream, request.as_bytes()).await
        }
    };
    answer.await.map_err(|why| ProbeOutcome::Failure(format!("Get {url:?}: {why}")))
}

fn http_request(action: &HTTPGetAction, authority: &str, path: &str) -> String {
    let headers = action.http_headers.as_deref().unwrap_or_default();
    let has = |name: &str| headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    if !has("Host") {
        text.push_str(&format!("Host: {authority}\r\n"));
    }
    if !has("User-Agent") {
        text.push_str("User-Agent: kube-probe/1.37\r\n");
    }
    if !has("Accept") {
        text.push_str("Accept: */*\r\n");
    }
    for header in headers {
        // The API refuses names and values that would end a line; such a header is left out here, too.
        if !header.name.contains(['\r', '\n', ':']) && !header.value.contains(['\r', '\n']) {
            text.push_str(&format!("{}: {}\r\n", header.name, header.value));
        }
    }
    text.push_str("Connection: close\r\n\r\n");
    text
}

/// Sends the request and reads as far as the status line.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Result<u16, String> {
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if let Some(end) = answer.windows(2).position(|pair| pair == b"\r\n") {
            let line = String::from_utf8_lossy(&answer[..end]).into_owned();
            let mut words = line.split(' ');
            let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/"));
            let code = words.next().and_then(|code| code.parse().ok());
            return match code {
                Some(code) if is_http => Ok(code),
                _ => Err(format!("malformed HTTP response {line:?}")),
            };
        }
        if answer.len() > OUTPUT_BYTES_MAX {
            return Err("malformed HTTP response: the status line does not end".to_owned());
        }
        let read = stream.read_buf(&mut answer).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("EOF".to_owned());
        }
    }
}

/// TLS without a look at the certificate: a probe asks whether the pod answers, not who it is (as upstream).
async fn tls(stream: TcpStream, host: &str) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_judged_by_its_status_line() {
        let ask = async |answer: &'static [u8]| {
            let (near, mut far) = tokio::io::duplex(4096);
            let server = async move {
                let mut request = [0; 1024];
                let _read = far.read(&mut request).await.unwrap();
                far.write_all(answer).await.unwrap();
            };
            let (code, ()) = tokio::join!(exchange(near, b"GET / HTTP/1.1\r\n\r\n"), server);
            code
        };
        assert_eq!(ask(b"HTTP/1.1 204 No Content\r\n\r\n").await, Ok(204));
        assert_eq!(ask(b"HTTP/1.1 500\r\n\r\n").await, Ok(500));
        assert_eq!(ask(b"220 smtp\r\n").await, Err("malformed HTTP response \"220 smtp\"".to_owned()));
        assert_eq!(ask(b"").await, Err("EOF".to_owned()));
    }
}
