//! Who is asking, and may they: client certificates, bearer tokens, and the rule until there is RBAC: whoever shows
//! credentials is an administrator (section 6 of api.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Verb;
use apiserver_core::kinds;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Method};
use meta::{Reason, Status, Timestamp};
use pki::{BoundObject, Claims};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::registry::Registry;
use crate::request::ResourcePath;
use crate::transport::Peer;
use crate::user::{MASTERS, User, service_account_groups};

/// Issuer and standard audience of service-account tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Subprotocol in which browsers hide a bearer token.
pub const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
/// A token bound to a pod works this long after the pod's deletion time, in seconds.
const DELETED_POD_GRACE_SECS: i64 = 60;

/// The user of a client certificate that TLS has verified: common name and organizations.
pub fn certificate_user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    Some(User::authenticated(name, groups.collect::<Vec<_>>()))
}

/// The user of a request: by its certificate, else by its token, else nobody.
///
/// # Errors
/// 401 for a token that is not good.
pub fn authenticate(registry: &Registry, peer: &Peer, headers: &HeaderMap) -> Result<Arc<User>, Status> {
    let user = match (&peer.certificate_user, bearer_token(headers)) {
        (Some(user), _) => user.clone(),
        (None, None) => Arc::new(User::anonymous()),
        (None, Some(token)) => {
            let user = token_user(registry, &token);
            Arc::new(user.ok_or_else(|| Status::new(Reason::Unauthorized, "Unauthorized"))?)
        }
    };
    match impersonated(headers)? {
        Some(other) if user.is_authenticated() => Ok(Arc::new(other)),
        Some(other) => {
            let text = format!(
                "users {:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
                other.name, user.name
            );
            Err(Status::new(Reason::Forbidden, text))
        }
        None => Ok(user),
    }
}

/// The user that the caller asks to be taken for. Administrators may, and everybody with credentials is one.
fn impersonated(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
    let uid = headers.get("impersonate-uid").map(text).unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix("impersonate-extra-") {
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
            extra.entry(key).or_default().push(text(value));
        }
    }
    let name = headers.get("impersonate-user").map(text).unwrap_or_default();
    if name.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        return Err(Status::bad_request(format!("requested {groups:?} without impersonating a user")));
    }
    if name == User::anonymous().name {
        return Ok(Some(User::anonymous()));
    }
    let groups = if groups.is_empty() { User::component(&name).groups } else { User::authenticated("", groups).groups };
    Ok(Some(User { name, uid, groups, extra }))
}

fn bearer_token(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let (scheme, token) = value.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned());
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let encoded =
        offered.flat_map(|value| value.split(',')).find_map(|name| name.trim().strip_prefix(BEARER_PROTOCOL))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

pub(crate) fn token_user(registry: &Registry, token: &str) -> Option<User> {
    if registry.config.admin_token.as_ref().is_some_and(|admin| admin.matches(token)) {
        return Some(User::authenticated("kubernetes-admin", [MASTERS.to_owned()]));
    }
    let now = registry.now();
    let claims = registry.config.pki.tokens().verify(token, now).ok()?;
    let is_for_us = claims.iss == ISSUER && claims.aud.iter().any(|audience| audience == ISSUER);
    (is_for_us && is_alive(registry, &claims, now)).then(|| service_account(&claims))
}

/// Whether everything that a token is bound to is still there, under the same UID.
fn is_alive(registry: &Registry, claims: &Claims, now: Timestamp) -> bool {
    let bound = &claims.kubernetes;
    let namespace = Some(bound.namespace.as_str());
    let exists = |resource, namespace, object: &BoundObject| -> Option<bool> {
        let found = registry.get(kinds::by_resource(&resource)?, namespace, &object.name).ok()?;
        let deletion = found.tree()["metadata"]["deletionTimestamp"].as_str();
        let gone = deletion
            .and_then(|at| at.parse::<Timestamp>().ok())
            .is_some_and(|at| now.as_second() > at.as_second() + DELETED_POD_GRACE_SECS);
        Some(found.uid().0 == object.uid && !gone)
    };
    let is_there = |resource, namespace, object: &Option<BoundObject>| {
        object.as_ref().is_none_or(|object| exists(resource, namespace, object) == Some(true))
    };
    exists(api::resources::SERVICE_ACCOUNTS, namespace, &bound.serviceaccount) == Some(true)
        && is_there(api::resources::PODS, namespace, &bound.pod)
        && is_there(api::resources::SECRETS, namespace, &bound.secret)
        && (bound.pod.is_some() || is_there(api::resources::NODES, None, &bound.node))
}

fn service_account(claims: &Claims) -> User {
    let bound = &claims.kubernetes;
    let mut extra = BTreeMap::new();
    let mut say = |key: &str, value: &str| {
        extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    say("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = &bound.pod {
        say("pod-name", &pod.name);
        say("pod-uid", &pod.uid);
    }
    if let Some(node) = &bound.node {
        say("node-name", &node.name);
        say("node-uid", &node.uid);
    }
    let mut user = User::authenticated(claims.sub.clone(), service_account_groups(&bound.namespace));
    user.uid.clone_from(&bound.serviceaccount.uid);
    user.extra = extra;
    user
}

/// 403 for a resource.
pub fn forbidden(user: &User, verb: Option<Verb>, place: &ResourcePath) -> Status {
    let resource = match &place.subresource {
        Some(subresource) => format!("{}/{subresource}", place.resource),
        None => place.resource.clone(),
    };
    let what =
        if place.group.is_empty() { place.resource.clone() } else { format!("{}.{}", place.resource, place.group) };
    let about = place.name.as_ref().map_or_else(|| what.clone(), |name| format!("{what} {name:?}"));
    let scope = match &place.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let verb = verb.map_or("", Verb::as_str);
    let text = format!(
        "{about} is forbidden: User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}",
        user.name, place.group
    );
    let mut status = Status::new(Reason::Forbidden, text);
    let details = status.details.get_or_insert_default();
    details.group.clone_from(&place.group);
    details.kind.clone_from(&place.resource);
    details.name = place.name.clone().unwrap_or_default();
    status
}

/// 403 for any other path.
pub fn forbidden_path(user: &User, method: &Method, path: &str) -> Status {
    let verb = method.as_str().to_ascii_lowercase();
    let mut status =
        Status::new(Reason::Forbidden, format!("forbidden: User {:?} cannot {verb} path {path:?}", user.name));
    status.details = Some(Box::default());
    status
}
