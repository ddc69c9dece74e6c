//! Logs and exec over HTTP (sections 5.1 to 5.5 of api.md).

use apiserver_core::kinds::KindDef;
use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::WebSocketUpgrade;
use client::{ExecRequest, LogRequest, NodeStreams, Object};
use futures::StreamExt as _;
use http::header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper_util::rt::TokioIo;
use meta::{Reason, Status};
use std::sync::Arc;

use crate::auth::BEARER_PROTOCOL;
use crate::http::{Api, Call, respond};
use crate::query::{Query, invalid_option};
use crate::streams::remote::{self, Wire};
use crate::streams::{spdy_exec, websocket};

/// Largest message of a client; its input comes in pieces of 32 KiB.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
const ACCEPTED_PROTOCOLS: &str = "x-accepted-stream-protocol-versions";

impl Api {
    fn streams(&self) -> Result<Arc<dyn NodeStreams>, Status> {
        let streams = self.registry.streams.get().cloned();
        streams.ok_or_else(|| Status::new(Reason::ServiceUnavailable, "the node has not started yet"))
    }

    /// GET of a container's log (S-45 to S-48).
    pub(super) async fn log(&self, def: &KindDef, call: Call) -> Result<Response<Body>, Status> {
        if !crate::http::is_read(&call.parts.method) {
            return Err(crate::http::method_not_allowed());
        }
        let pod = self.registry.get(def, call.namespace(), call.name())?;
        let request = log_request(&call.query, &pod)?;
        if pod.tree()["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
            return Ok(respond::plain(StatusCode::OK, "text/plain", Body::empty()));
        }
        let lines = self.streams()?.logs(request).await?;
        // What goes wrong after the first byte can only be said within the text.
        let cancel = self.cancel.clone();
        let lines = lines
            .map(|piece| Ok::<_, std::convert::Infallible>(piece.unwrap_or_else(|status| status.message.into())))
            .take_until(async move { cancel.cancelled().await });
        Ok(respond::plain(StatusCode::OK, "text/plain", Body::from_stream(lines)))
    }

    /// Runs a program in a container, over WebSocket or SPDY (S-1 to S-28).
    pub(super) async fn exec(&self, def: &KindDef, mut call: Call) -> Result<Response<Body>, Status> {
        let pod = self.registry.get(def, call.namespace(), call.name())?;
        let request = exec_request(&call.query, &pod)?;
        if pod.tree()["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
            return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name())));
        }
        if is_upgrade(&call.parts.headers, "websocket") {
            return self.exec_websocket(call, request).await;
        }
        if is_upgrade(&call.parts.headers, "spdy/3.1") {
            return self.exec_spdy(&mut call, request).await;
        }
        Err(Status::bad_request("Upgrade request required"))
    }

    async fn exec_websocket(&self, mut call: Call, request: ExecRequest) -> Result<Response<Body>, Status> {
        let offered: Vec<String> = header_list(&call.parts.headers, SEC_WEBSOCKET_PROTOCOL.as_str())
            .filter(|name| !name.starts_with(BEARER_PROTOCOL))
            .collect();
        let Some(choice) = websocket::Protocol::choose(offered.iter().map(String::as_str)) else {
            let text = format!("unable to upgrade: none of the protocols {offered:?} is spoken here");
            return Err(Status::new(Reason::Forbidden, text));
        };
        let upgrade = WebSocketUpgrade::from_request_parts(&mut call.parts, &()).await;
        let upgrade = upgrade.map_err(|rejection| Status::bad_request(rejection.body_text()))?;
        let wire = self.start(request).await?;
        let protocol = choice.protocol;
        let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
        let upgrade = if choice.echo { upgrade.protocols([protocol.name]) } else { upgrade };
        let (tracked, cancel) = (self.tasks.token(), self.cancel.clone());
        Ok(upgrade.on_upgrade(move |socket| async move {
            tokio::select! {
                () = websocket::run(socket, protocol, wire) => {}
                () = cancel.cancelled() => {}
            }
            drop(tracked);
        }))
    }

    async fn exec_spdy(&self, call: &mut Call, request: ExecRequest) -> Result<Response<Body>, Status> {
        let offered: Vec<String> = header_list(&call.parts.headers, STREAM_PROTOCOL).collect();
        if offered.is_empty() {
            return Err(Status::bad_request(format!("unable to upgrade: no {STREAM_PROTOCOL} header")));
        }
        let chosen = offered.iter().find_map(|name| spdy_exec::PROTOCOLS.into_iter().find(|known| known == name));
        let Some(chosen) = chosen else { return Ok(refused_protocols(&offered)) };
        let Some(upgrade) = call.parts.extensions.remove::<hyper::upgrade::OnUpgrade>() else {
            return Err(Status::bad_request("the connection cannot be upgraded"));
        };
        let expected = spdy_exec::Expected {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr && !request.tty,
            resize: request.tty && matches!(chosen, "v4.channel.k8s.io" | "v3.channel.k8s.io"),
            status: chosen == "v4.channel.k8s.io",
        };
        let wire = self.start(request).await?;
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            let upgraded = match upgrade.await {
                Ok(upgraded) => upgraded,
                Err(error) => return tracing::debug!(%error, "upgrade to SPDY"),
            };
            let ended = tokio::select! {
                ended = spdy_exec::run(TokioIo::new(upgraded), expected, wire) => ended,
                () = cancel.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "exec over SPDY ended");
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
        headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(chosen));
        Ok(response)
    }

    /// Starts the program on the node and the task that carries its streams.
    async fn start(&self, request: ExecRequest) -> Result<Wire, Status> {
        let session = self.streams()?.exec(request).await?;
        let (wire, carry) = remote::connect(session);
        self.tasks.spawn(carry);
        Ok(wire)
    }
}

fn is_upgrade(headers: &HeaderMap, protocol: &str) -> bool {
    header_list(headers, CONNECTION.as_str()).any(|option| option.eq_ignore_ascii_case("upgrade"))
        && header_list(headers, UPGRADE.as_str()).any(|name| name.eq_ignore_ascii_case(protocol))
}

/// The members of a header that may be repeated or separated by commas.
fn header_list(headers: &HeaderMap, name: &str) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|member| member.trim().to_owned())
        .filter(|member| !member.is_empty())
        .collect::<Vec<_>>()
        .into_iter()
}

fn refused_protocols(offered: &[String]) -> Response<Body> {
    let text = format!(
        "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {:?}",
        spdy_exec::PROTOCOLS
    );
    let mut response = respond::text(StatusCode::FORBIDDEN, text);
    for protocol in spdy_exec::PROTOCOLS {
        response.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol));
    }
    response
}

/// The container that a request is about (S-1).
fn container(query: &Query, pod: &Object) -> Result<String, Status> {
    let spec = &pod.tree()["spec"];
    let names = |list: &str| -> Vec<&str> {
        spec[list].as_array().into_iter().flatten().filter_map(|container| container["name"].as_str()).collect()
    };
    let (ordinary, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let wanted = query.text("container");
    if wanted.is_empty() {
        if let [one] = ordinary.as_slice() {
            return Ok((*one).to_owned());
        }
        let mut text = format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            pod.name(),
            ordinary.join(" ")
        );
        if !init.is_empty() {
            text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
        }
        return Err(Status::bad_request(text));
    }
    if [ordinary, init, ephemeral].concat().contains(&wanted) {
        return Ok(wanted.to_owned());
    }
    Err(Status::bad_request(format!("container {wanted} is not valid for pod {}", pod.name())))
}

fn exec_request(query: &Query, pod: &Object) -> Result<ExecRequest, Status> {
    let (stdin, stdout, stderr, tty) =
        (query.flag("stdin"), query.flag("stdout"), query.flag("stderr"), query.flag("tty"));
    if !(stdin || stdout || stderr) {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    Ok(ExecRequest {
        namespace: pod.namespace().to_owned(),
        pod: pod.name().to_owned(),
        pod_uid: pod.uid(),
        container: container(query, pod)?,
        command,
        stdin,
        stdout,
        stderr: stderr && !tty,
        tty,
    })
}

fn log_request(query: &Query, pod: &Object) -> Result<LogRequest, Status> {
    let at_least = |name: &str, least: i64| match query.integer(name)? {
        Some(number) if number < least => {
            let text = format!("Invalid value: {number}: must be greater than or equal to {least}");
            Err(invalid_option("PodLogOptions", name, "FieldValueInvalid", &text))
        }
        number => Ok(number),
    };
    let (since_secs, since_time) =
        (at_least("sinceSeconds", 1)?, query.get("sinceTime").filter(|time| !time.is_empty()));
    if since_secs.is_some() && since_time.is_some() {
        let text = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
        return Err(invalid_option("PodLogOptions", "sinceSeconds", "FieldValueForbidden", text));
    }
    Ok(LogRequest {
        namespace: pod.namespace().to_owned(),
        pod: pod.name().to_owned(),
        pod_uid: pod.uid(),
        container: container(query, pod)?,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: at_least("tailLines", 0)?,
        since_secs,
        since_time: since_time.map(str::to_owned),
        limit_bytes: at_least("limitBytes", 1)?,
    })
}

#[cfg(test)]
mod tests {
    use client::Object;
    use meta::ResourceVersion;
    use serde_json::json;

    use super::{exec_request, log_request};
    use crate::query::Query;

    fn pod(containers: &[&str]) -> Object {
        let containers: Vec<_> = containers.iter().map(|name| json!({"name": name})).collect();
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": containers}});
        Object::new(ResourceVersion(1), pod.to_string().into())
    }

    #[test]
    fn the_only_container_need_not_be_named() {
        let request = exec_request(&Query::parse("command=a&command=b&stdout=true"), &pod(&["c"])).unwrap();
        assert_eq!((request.container.as_str(), request.command.len()), ("c", 2));
        let status = exec_request(&Query::parse("command=a&stdout=true"), &pod(&["a", "b"])).unwrap_err();
        assert_eq!(status.message, "a container name must be specified for pod p, choose one of: [a b]");
        let status = exec_request(&Query::parse("command=a&stdout=1&container=x"), &pod(&["a"])).unwrap_err();
        assert_eq!(status.message, "container x is not valid for pod p");
    }

    #[test]
    fn a_terminal_has_no_separate_standard_error() {
        let request = exec_request(&Query::parse("command=a&stdout=1&stderr=1&tty=1"), &pod(&["c"])).unwrap();
        assert!(!request.stderr && request.tty);
    }

    #[test]
    fn limits_of_logs_are_checked() {
        for (query, code) in [("tailLines=0", 200), ("tailLines=-1", 422), ("limitBytes=0", 422), ("tailLines=x", 400)]
        {
            let answer = log_request(&Query::parse(query), &pod(&["c"])).map_or_else(|status| status.code, |_| 200);
            assert_eq!(answer, code, "{query}");
        }
        let both = log_request(&Query::parse("sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z"), &pod(&["c"]));
        assert_eq!(both.unwrap_err().code, 422);
    }
}
