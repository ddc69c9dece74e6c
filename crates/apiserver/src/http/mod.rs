//! HTTP: from a request to an answer.
//!
//! [`Api`] authenticates, reads the path, and hands over to the verbs on resources ([`resources`]), their
//! subresources ([`subresources`], [`streaming`]) or the documents that describe the server ([`documents`]).

pub mod body;
pub mod documents;
pub mod options;
pub mod patch;
pub mod resources;
pub mod respond;
pub mod streaming;
pub mod subresources;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use api::Verb;
use apiserver_core::kinds::{self, KindDef};
use axum::body::Body;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use meta::{Reason, ResourceId, Status};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth;
use crate::http::documents::Documents;
use crate::metrics::RequestLabels;
use crate::negotiate::{Representation, negotiate_error};
use crate::query::Query;
use crate::registry::{Registry, too_many};
use crate::request::{ResourcePath, Target as PathTarget, parse_path, verb};
use crate::transport::{Handler, Peer};
use crate::user::User;
use crate::writing::Target;

/// The whole API over HTTP.
#[derive(Clone)]
pub struct Api {
    pub(crate) registry: Arc<Registry>,
    pub(crate) documents: Arc<Documents>,
    /// Ends watches and streams.
    pub(crate) cancel: CancellationToken,
    /// Carries upgraded connections.
    pub(crate) tasks: TaskTracker,
}

/// One request, understood as far as its head goes.
pub struct Call {
    pub(crate) parts: Parts,
    pub(crate) body: body::Taken,
    pub(crate) query: Query,
    pub(crate) user: Arc<User>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) place: ResourcePath,
}

impl Call {
    /// The namespace in the path.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.place.namespace.as_deref()
    }

    /// The name in the path; empty for collections.
    pub(crate) fn name(&self) -> &str {
        self.place.name.as_deref().unwrap_or_default()
    }
}

impl ResourcePath {
    /// The object that the path names.
    pub(crate) fn target<'a>(&'a self, subresource: &'a str) -> Target<'a> {
        Target { namespace: self.namespace.as_deref(), name: self.name.as_deref().unwrap_or_default(), subresource }
    }
}

impl Handler for Api {
    async fn handle(&self, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
        let (parts, incoming) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let representation = negotiate_error(&parts.headers, &query);
        let target = parse_path(parts.uri.path());
        let mut labels = RequestLabels { verb: parts.method.to_string(), resource: String::new(), code: 0 };
        if let PathTarget::Resource(place) = &target {
            labels.resource = match &place.subresource {
                Some(subresource) => format!("{}/{subresource}", place.resource),
                None => place.resource.clone(),
            };
        }
        let metrics = self.registry.metrics.clone();
        metrics.requests_inflight.inc();
        let (client, path) = (peer.address, parts.uri.path().to_owned());
        let outcome = self.answer(Head { parts, query, peer }, target, body::Taken::new(incoming)).await;
        metrics.requests_inflight.dec();
        let response = match outcome {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(representation),
        };
        labels.code = response.status().as_u16();
        tracing::debug!(%client, method = labels.verb, path, code = labels.code, "answered");
        metrics.requests.get_or_create(&labels).inc();
        response
    }
}

struct Head {
    parts: Parts,
    query: Query,
    peer: Arc<Peer>,
}

/// An answer that says no.
pub(crate) enum Refusal {
    /// With a Status.
    Status(Status),
    /// For paths that nobody serves (D-4).
    NoSuchPath,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Refusal {
    fn into_response(self, representation: Representation) -> Response<Body> {
        match self {
            Self::Status(status) => respond::refusal(&status, representation),
            Self::NoSuchPath => respond::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

impl Api {
    async fn answer(&self, head: Head, target: PathTarget, body: body::Taken) -> Result<Response<Body>, Refusal> {
        let user = auth::authenticate(&self.registry, &head.peer, &head.parts.headers)?;
        let Head { parts, query, peer } = head;
        match target {
            PathTarget::Other(path) => {
                documents::authorize(&user, &parts.method, &path)?;
                let place = ResourcePath::default();
                let call = Call { parts, body, query, user, peer, place };
                self.document(&path, &call).await
            }
            PathTarget::Resource(place) => {
                let call = Call { parts, body, query, user, peer, place };
                self.resource_path(call).await
            }
        }
    }

    async fn resource_path(&self, call: Call) -> Result<Response<Body>, Refusal> {
        let place = call.place.clone();
        let place = &place;
        let watch = call.query.flag("watch");
        let known = verb(&call.parts.method, place, watch);
        if !call.user.is_authenticated() {
            return Err(auth::forbidden(&call.user, known, place).into());
        }
        let resource = ResourceId {
            group: place.group.clone().into(),
            version: place.version.clone().into(),
            resource: place.resource.clone().into(),
        };
        let Some(def) = kinds::by_resource(&resource) else {
            if self.documents.serves(&place.group, &place.version) {
                return Err(no_such_resource().into());
            }
            return Err(Refusal::NoSuchPath);
        };
        let verb = known.ok_or_else(method_not_allowed)?;
        check_place(def, place, verb)?;
        let long_running = verb == Verb::Watch || matches!(place.subresource.as_deref(), Some("log" | "exec"));
        let timeout = self.registry.config.limits.request_timeout;
        let answering = async {
            match place.subresource.clone() {
                None => {
                    if !def.kind.allows(verb) {
                        return Err(resources::not_supported(def, verb));
                    }
                    if def.kind.verbs == api::CREATE_ONLY {
                        return self.review(def, call).await;
                    }
                    self.resource(def, verb, call).await
                }
                Some(subresource) => self.subresource(def, verb, &subresource, call).await,
            }
        };
        if long_running {
            return Ok(answering.await?);
        }
        let _permit = self.registry.requests.try_acquire().map_err(|_| too_many("requests"))?;
        match tokio::time::timeout(timeout, answering).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(timed_out(timeout).into()),
        }
    }
}

/// A path whose namespace or name does not fit the resource.
fn check_place(def: &KindDef, place: &ResourcePath, verb: Verb) -> Result<(), Status> {
    let namespaced = def.kind.is_namespaced();
    if !namespaced && place.namespace.is_some() {
        return Err(no_such_resource());
    }
    let one = place.name.is_some() || verb == Verb::Create;
    if namespaced && place.namespace.is_none() && one && verb != Verb::Watch {
        return Err(no_such_resource());
    }
    let parts = [&place.namespace, &place.name].into_iter().flatten();
    if let Some((name, text)) = parts.filter_map(|name| Some((name, no_path_segment(name)?))).next() {
        return Err(Status::bad_request(format!("Name parameter invalid: {name:?}: {text}")));
    }
    if verb == Verb::Create && place.name.is_some() && place.subresource.is_none() {
        return Err(method_not_allowed());
    }
    if place.name.is_none() && matches!(verb, Verb::Update | Verb::Patch) {
        return Err(method_not_allowed());
    }
    Ok(())
}

/// Why a name cannot stand in a path, whatever it names (reliability.md 3.2, row 15).
fn no_path_segment(name: &str) -> Option<String> {
    if matches!(name, "." | "..") {
        return Some(format!("may not be '{name}'"));
    }
    ['/', '%'].into_iter().find(|sign| name.contains(*sign)).map(|sign| format!("may not contain '{sign}'"))
}

fn no_such_resource() -> Status {
    let mut status = Status::new(Reason::NotFound, "the server could not find the requested resource");
    status.details = Some(Box::default());
    status
}

pub(crate) fn method_not_allowed() -> Status {
    let mut status =
        Status::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
    status.details = Some(Box::default());
    status
}

fn timed_out(limit: Duration) -> Status {
    let text = format!("Timeout: request did not complete within the allotted timeout of {limit:?}");
    Status::new(Reason::Timeout, text)
}

/// True for the methods by which documents are read.
pub(crate) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
