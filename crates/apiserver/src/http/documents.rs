//! Documents that describe the server: discovery, OpenAPI, version, health, metrics (section 1 of api.md).

use std::sync::OnceLock;

use api::Kind;
use apiserver_core::discovery::{Aggregated, Discovery, Document, Root};
use apiserver_core::kinds;
use apiserver_core::openapi::{Document as OpenApiDocument, OpenApi};
use axum::body::Body;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderValue, Method, Response, StatusCode};
use meta::{Reason, Status};
use serde_json::json;
use tokio::sync::{OnceCell, oneshot};

use crate::auth;
use crate::http::respond::Shape;
use crate::http::{Api, Call, Refusal, is_read, method_not_allowed, respond};
use crate::negotiate::{Answer, Encoding, negotiate};
use crate::registry::Registry;
use crate::user::User;

/// The version of Kubernetes that is implemented (D-40).
const MAJOR: &str = "1";
const MINOR: &str = "37";
const GIT_VERSION: &str = "v1.37.0+roadstead";
/// What clients ask for, and what they are answered: the two differ in one character (D-50).
const OPENAPI_V2_PROTOBUF_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Documents that do not change while the server runs.
pub struct Documents {
    discovery: Discovery<'static>,
    core_aggregated: [OnceLock<Document>; 2],
    groups_aggregated: [OnceLock<Document>; 2],
    openapi: OnceCell<OpenApi>,
}

impl Default for Documents {
    fn default() -> Self {
        let kinds = kinds::all().iter().map(|def| &def.kind);
        Self {
            discovery: Discovery::new(kinds.collect::<Vec<&'static Kind>>()),
            core_aggregated: [OnceLock::new(), OnceLock::new()],
            groups_aggregated: [OnceLock::new(), OnceLock::new()],
            openapi: OnceCell::new(),
        }
    }
}

impl Documents {
    /// True if there is such a version of the group.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.discovery.has_version(group, version)
    }

    /// The OpenAPI documents, made when somebody asks for the first time.
    ///
    /// Making them takes tens of megabytes for a moment. That is done on a thread of its own, and the result is copied
    /// out of it: when the thread ends, the allocator gives all of its memory back.
    async fn openapi(&self) -> Result<&OpenApi, Status> {
        let made = async {
            let kinds = self.discovery.kinds().to_vec();
            let (done, made) = oneshot::channel();
            // Nobody waits any more if the request was dropped; then the next one makes them again.
            std::thread::spawn(move || done.send(OpenApi::build(&Discovery::new(kinds))).is_ok());
            let theirs = made.await?;
            Ok::<_, oneshot::error::RecvError>(OpenApi::clone(&theirs))
        };
        self.openapi.get_or_try_init(|| made).await.map_err(Status::internal)
    }
}

/// Anonymous users may ask for health and version, nothing else.
///
/// # Errors
/// 403.
pub fn authorize(user: &User, method: &Method, path: &str) -> Result<(), Status> {
    let open = ["/healthz", "/livez", "/readyz", "/version"];
    let is_open =
        open.iter().any(|open| path == *open || path.strip_prefix(open).is_some_and(|rest| rest.starts_with('/')));
    if user.is_authenticated() || is_open {
        return Ok(());
    }
    Err(auth::forbidden_path(user, method, path))
}

impl Api {
    pub(super) async fn document(&self, path: &str, call: &Call) -> Result<Response<Body>, Refusal> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let known = match segments.as_slice() {
            [""] => Some(self.plain(call, &root_paths())?),
            ["version"] => Some(self.plain(call, &version())?),
            ["healthz" | "livez" | "readyz", rest @ ..] => self.health(segments[0], rest, call),
            ["metrics"] => Some(self.metrics()),
            [".well-known", "openid-configuration"] => Some(self.plain(call, &self.openid_configuration())?),
            ["openid", "v1", "jwks"] => Some(self.plain(call, &self.registry.config.pki.tokens().jwks())?),
            ["openapi", rest @ ..] => self.openapi(rest, call).await?,
            ["api"] => Some(self.discovery_root(Root::Api, call)?),
            ["apis"] => Some(self.discovery_root(Root::Apis, call)?),
            ["api", version] => self.resource_list("", version, call)?,
            ["apis", group] => match self.documents.discovery.group(group) {
                Some(document) => Some(self.legacy(call, &document)?),
                None => None,
            },
            ["apis", group, version] => self.resource_list(group, version, call)?,
            _ => None,
        };
        let response = known.ok_or(Refusal::NoSuchPath)?;
        if !is_read(&call.parts.method) {
            return Err(method_not_allowed().into());
        }
        Ok(response)
    }

    fn plain(&self, call: &Call, document: &serde_json::Value) -> Result<Response<Body>, Status> {
        // Documents of this sort are JSON, whatever else is accepted.
        let representation = negotiate(&call.parts.headers, &call.query, Answer::Plain);
        let mut representation = representation.unwrap_or(crate::negotiate::Representation::JSON);
        if representation.encoding == Encoding::Protobuf {
            representation.encoding = Encoding::Json;
        }
        let (content_type, body) = respond::encode(document, representation);
        Ok(respond::plain(StatusCode::OK, content_type, body))
    }

    fn resource_list(&self, group: &str, version: &str, call: &Call) -> Result<Option<Response<Body>>, Status> {
        match self.documents.discovery.resources(group, version) {
            Some(document) => self.legacy(call, &document).map(Some),
            None => Ok(None),
        }
    }

    /// A discovery document in the old form; also in protobuf, for typed clients.
    fn legacy(&self, call: &Call, document: &Document) -> Result<Response<Body>, Status> {
        let representation = negotiate(&call.parts.headers, &call.query, Answer::Plain)?;
        if representation.encoding == Encoding::Json && !representation.pretty {
            return Ok(respond::plain(StatusCode::OK, Encoding::Json.content_type(), document.body.clone()));
        }
        let tree = serde_json::from_slice(&document.body).map_err(Status::internal)?;
        let (content_type, body) = respond::encode(&tree, representation);
        Ok(respond::plain(StatusCode::OK, content_type, body))
    }

    /// `/api` and `/apis`: aggregated for those who ask for it (D-20 to D-26).
    fn discovery_root(&self, root: Root, call: &Call) -> Result<Response<Body>, Status> {
        let accepted: Vec<&str> =
            call.parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let Some(form) = aggregated_form(&accepted.join(",")) else {
            let document = match root {
                Root::Api => self.documents.discovery.core_versions(&call.peer.local.to_string()),
                Root::Apis => self.documents.discovery.groups(),
            };
            let mut response = self.legacy(call, &document)?;
            response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
            return Ok(response);
        };
        let documents = match root {
            Root::Api => &self.documents.core_aggregated,
            Root::Apis => &self.documents.groups_aggregated,
        };
        let document = documents[usize::from(form == Aggregated::V2Beta1)]
            .get_or_init(|| self.documents.discovery.aggregated(root, form));
        Ok(tagged(call, &form.content_type(), &document.body, &document.etag))
    }

    /// `/healthz`, `/livez`, `/readyz` and their single checks (D-41, D-42).
    fn health(&self, which: &str, rest: &[&str], call: &Call) -> Option<Response<Body>> {
        let excluded: Vec<&str> = call.query.all("exclude").collect();
        let checks = [("ping", true), ("log", true), ("etcd", self.registry.store.broken().is_none())];
        if let [one] = rest {
            let (_, well) = checks.iter().find(|(name, _)| name == one)?;
            let (code, text) =
                if *well { (StatusCode::OK, "ok") } else { (StatusCode::INTERNAL_SERVER_ERROR, "failed") };
            return Some(respond::text(code, text));
        }
        let well = checks.iter().all(|(name, well)| *well || excluded.contains(name));
        let code = if well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
        if well && call.query.get("verbose").is_none() {
            return Some(respond::text(code, "ok"));
        }
        let mut text = String::new();
        for (name, well) in checks {
            text.push_str(&match (excluded.contains(&name), well) {
                (true, _) => format!("[+]{name} excluded: ok\n"),
                (false, true) => format!("[+]{name} ok\n"),
                (false, false) => format!("[-]{name} failed: reason withheld\n"),
            });
        }
        text.push_str(&format!("{which} check {}\n", if well { "passed" } else { "failed" }));
        Some(respond::text(code, text))
    }

    fn metrics(&self) -> Response<Body> {
        let Registry { metrics, store, expiry, figures, .. } = &*self.registry;
        let text = metrics.text(&store.metrics(), expiry.len(), figures.get());
        respond::plain(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    }

    fn openid_configuration(&self) -> serde_json::Value {
        json!({
            "issuer": auth::ISSUER,
            "jwks_uri": format!("https://{}/openid/v1/jwks", self.registry.config.advertise),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    async fn openapi(&self, rest: &[&str], call: &Call) -> Result<Option<Response<Body>>, Status> {
        let openapi = self.documents.openapi().await?;
        match rest {
            ["v2"] => openapi_v2(openapi, call).map(Some),
            ["v3"] => Ok(Some(self.plain_bytes(openapi.v3_index()))),
            ["v3", key @ ..] => {
                let key = key.join("/");
                Ok(openapi.v3.get(&key).map(|document| openapi_v3(&key, document, call)))
            }
            _ => Ok(None),
        }
    }

    #[expect(clippy::unused_self, reason = "reads like its neighbours")]
    fn plain_bytes(&self, body: Vec<u8>) -> Response<Body> {
        respond::plain(StatusCode::OK, Encoding::Json.content_type(), body)
    }
}

/// `/openapi/v2` in the form that the client accepts (D-50).
fn openapi_v2(openapi: &OpenApi, call: &Call) -> Result<Response<Body>, Status> {
    let accepted: Vec<&str> =
        call.parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accepted = accepted.join(",");
    for clause in accepted.split(',') {
        let media = clause.split(';').next().unwrap_or_default().trim();
        let (document, content_type) = match media {
            "" | "*/*" | "application/*" | "application/json" => (&openapi.v2_json, "application/json"),
            OPENAPI_V2_PROTOBUF_ASKED | OPENAPI_V2_PROTOBUF => (&openapi.v2_protobuf, OPENAPI_V2_PROTOBUF),
            _ => continue,
        };
        let body = OpenApiBody::of(document, call);
        let mut response = tagged(call, content_type, &body.bytes, &format!("\"{}\"", document.hash));
        body.mark(&mut response);
        return Ok(response);
    }
    Err(not_acceptable())
}

/// One document of `/openapi/v3` (D-61).
fn openapi_v3(key: &str, document: &OpenApiDocument, call: &Call) -> Response<Body> {
    let asked = call.query.text("hash");
    if !asked.is_empty() && asked != document.hash {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        if let Ok(location) = HeaderValue::from_str(&format!("/openapi/v3/{key}?hash={}", document.hash)) {
            response.headers_mut().insert(LOCATION, location);
        }
        return response;
    }
    let body = OpenApiBody::of(document, call);
    let etag = format!("\"{}\"", document.hash);
    let mut response = tagged(call, Encoding::Json.content_type(), &body.bytes, &etag);
    body.mark(&mut response);
    let headers = response.headers_mut();
    if asked.is_empty() {
        headers.remove(CACHE_CONTROL);
    } else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        headers.insert(EXPIRES, HeaderValue::from_static("Fri, 31 Dec 2100 23:59:59 GMT"));
    }
    response
}

/// An OpenAPI document, packed for those who take it so.
struct OpenApiBody {
    bytes: Vec<u8>,
    gzip: bool,
}

impl OpenApiBody {
    fn of(document: &OpenApiDocument, call: &Call) -> Self {
        let gzip = Shape::takes_gzip(&call.parts.headers);
        Self { bytes: if gzip { document.gzip.clone() } else { document.plain() }, gzip }
    }

    fn mark(&self, response: &mut Response<Body>) {
        if self.gzip && response.status() == StatusCode::OK {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
}

/// The form of aggregated discovery that the first fitting clause asks for, if none of the plain document comes first.
fn aggregated_form(accept: &str) -> Option<Aggregated> {
    for clause in accept.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        if !matches!(
            parts.next(),
            Some("application/json" | "*/*" | "application/*" | "application/vnd.kubernetes.protobuf")
        ) {
            continue;
        }
        let parameters: Vec<&str> = parts.collect();
        if !parameters.contains(&"as=APIGroupDiscoveryList") {
            if parameters.iter().any(|parameter| parameter.starts_with("as=")) {
                continue;
            }
            return None;
        }
        if !parameters.contains(&"g=apidiscovery.k8s.io") || clause.trim().starts_with("application/vnd") {
            continue;
        }
        if parameters.contains(&"v=v2") {
            return Some(Aggregated::V2);
        }
        if parameters.contains(&"v=v2beta1") {
            return Some(Aggregated::V2Beta1);
        }
    }
    None
}

/// A document with a tag, or 304 for a client that has it (D-26).
fn tagged(call: &Call, content_type: &str, body: &[u8], etag: &str) -> Response<Body> {
    let held = call.parts.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_held = held.flat_map(|value| value.split(',')).any(|held| held.trim() == etag);
    let mut response = if is_held {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(body.to_vec()));
        if let Ok(content_type) = HeaderValue::from_str(content_type) {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    };
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

fn version() -> serde_json::Value {
    json!({
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": "36",
        "gitVersion": GIT_VERSION,
        "gitCommit": option_env!("ROADSTEAD_COMMIT").unwrap_or("unknown"),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}

fn root_paths() -> serde_json::Value {
    let mut paths: Vec<String> =
        ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis"].map(str::to_owned).to_vec();
    for def in kinds::all().iter().filter(|def| !def.kind.resource.group.is_empty()) {
        paths.push(format!("/apis/{}", def.kind.resource.group));
        paths.push(format!("/apis/{}/{}", def.kind.resource.group, def.kind.resource.version));
    }
    paths.extend(
        ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"]
            .map(str::to_owned),
    );
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// 406 for an OpenAPI form that is not served (D-50).
fn not_acceptable() -> Status {
    let text = format!("only the following media types are accepted: application/json, {OPENAPI_V2_PROTOBUF_ASKED}");
    Status::new(Reason::NotAcceptable, text)
}
