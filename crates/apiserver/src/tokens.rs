//! TokenRequest: minting service-account tokens.

use apiserver_core::kinds::{self, KindDef};
use meta::{Cause, Reason, Status, Timestamp};
use pki::{BoundObject, Claims, KubernetesClaims};
use serde_json::{Value, json};

use crate::auth::ISSUER;
use crate::registry::Registry;
use crate::writing::Target;

/// Life of a token whose request names none, in seconds.
const LIFE_SECS_DEFAULT: i64 = 3600;
/// Shortest life, in seconds.
const LIFE_SECS_MIN: i64 = 600;
/// Longest life, in seconds.
const LIFE_SECS_MAX: i64 = 1 << 32;

/// Answers a TokenRequest: the request with its status.
///
/// # Errors
/// 404 for an account or bound object that is not there, 409 for another UID, 422 for a bad life.
pub fn request(
    registry: &Registry,
    accounts: &KindDef,
    target: &Target<'_>,
    mut request: Value,
) -> Result<Value, Status> {
    let account = registry.get(accounts, target.namespace, target.name)?;
    let namespace = target.namespace.unwrap_or_default();
    let spec = &request["spec"];
    let life_secs = spec["expirationSeconds"].as_i64().unwrap_or(LIFE_SECS_DEFAULT);
    if life_secs < LIFE_SECS_MIN {
        return Err(invalid_life(target.name, life_secs, "may not specify a duration less than 10 minutes"));
    }
    if life_secs > LIFE_SECS_MAX {
        return Err(invalid_life(target.name, life_secs, "may not specify a duration larger than 2^32 seconds"));
    }
    let mut audiences: Vec<String> =
        spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let bound = Bound::find(registry, target, &spec["boundObjectRef"])?;
    let now = registry.now();
    let end = now.as_second() + life_secs;
    let claims = Claims {
        iss: ISSUER.to_owned(),
        sub: format!("system:serviceaccount:{namespace}:{}", target.name),
        aud: audiences.clone(),
        exp: end,
        iat: now.as_second(),
        nbf: now.as_second(),
        jti: registry.chance.uuid(),
        kubernetes: KubernetesClaims {
            namespace: namespace.to_owned(),
            serviceaccount: BoundObject { name: target.name.to_owned(), uid: account.uid().0 },
            pod: bound.pod,
            secret: bound.secret,
            node: bound.node,
            warnafter: None,
        },
    };
    let token = registry.config.pki.tokens().mint(&claims).map_err(Status::internal)?;
    let end = Timestamp::from_second(end).unwrap_or(now);
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["metadata"] = json!({"name": target.name, "namespace": namespace});
    request["spec"]["audiences"] = json!(audiences);
    request["spec"]["expirationSeconds"] = life_secs.into();
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    request["status"] = json!({"token": token, "expirationTimestamp": end});
    Ok(request)
}

fn invalid_life(name: &str, life_secs: i64, why: &str) -> Status {
    let text = format!("Invalid value: {life_secs}: {why}");
    let message = format!("TokenRequest.authentication.k8s.io \"{name}\" is invalid: spec.expirationSeconds: {text}");
    let mut status = Status::new(Reason::Invalid, message);
    let details = status.details.get_or_insert_default();
    details.group = "authentication.k8s.io".to_owned();
    details.kind = "TokenRequest".to_owned();
    name.clone_into(&mut details.name);
    details.causes.push(Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: text,
        field: "spec.expirationSeconds".to_owned(),
    });
    status
}

/// The object that a token dies with.
#[derive(Default)]
struct Bound {
    pod: Option<BoundObject>,
    secret: Option<BoundObject>,
    node: Option<BoundObject>,
}

impl Bound {
    fn find(registry: &Registry, target: &Target<'_>, wanted: &Value) -> Result<Self, Status> {
        let text = |key: &str| wanted[key].as_str().unwrap_or_default();
        let (kind, name, uid) = (text("kind"), text("name"), text("uid"));
        let (resource, namespace) = match kind {
            "" => return Ok(Self::default()),
            "Pod" => (api::resources::PODS, target.namespace),
            "Secret" => (api::resources::SECRETS, target.namespace),
            "Node" => (api::resources::NODES, None),
            other => {
                return Err(Status::bad_request(format!("cannot bind token to object of type {other}")));
            }
        };
        let def = kinds::by_resource(&resource).ok_or_else(|| Status::internal("a kind is missing"))?;
        let object = registry.get(def, namespace, name)?;
        let bound = BoundObject { name: name.to_owned(), uid: object.uid().0 };
        if !uid.is_empty() && uid != bound.uid {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(&resource, name, why));
        }
        let mut found = Self::default();
        match kind {
            "Pod" => {
                let account = object.tree()["spec"]["serviceAccountName"].as_str().unwrap_or_default();
                if account != target.name {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                        target.name
                    )));
                }
                found.node = node_of(registry, &object.tree()["spec"]["nodeName"]);
                found.pod = Some(bound);
            }
            "Secret" => found.secret = Some(bound),
            _ => found.node = Some(bound),
        }
        Ok(found)
    }
}

/// The node that a pod runs on, if it is known.
fn node_of(registry: &Registry, name: &Value) -> Option<BoundObject> {
    let name = name.as_str().filter(|name| !name.is_empty())?;
    let def = kinds::by_resource(&api::resources::NODES)?;
    let node = registry.get(def, None, name).ok()?;
    Some(BoundObject { name: name.to_owned(), uid: node.uid().0 })
}
