//! Questions about who may do what, answered as things are: whoever shows credentials may do everything.

use api::resources;
use apiserver_core::kinds::{KindDef, reviews};
use meta::Status;
use serde_json::{Value, json};

use crate::auth;
use crate::registry::Registry;
use crate::user::{UNAUTHENTICATED, User};

const EVERYBODY: &str = "every authenticated user is an administrator: there is no RBAC yet";
/// What may be read without credentials.
const OPEN_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

/// Answers a review.
///
/// # Errors
/// 422 for a review that asks nothing, or two things; 400 for one that lacks what it is about.
pub fn answer(
    registry: &Registry,
    def: &KindDef,
    mut review: Value,
    user: &User,
    namespace: Option<&str>,
) -> Result<Value, Status> {
    if let Some(namespace) = namespace {
        review["metadata"]["namespace"] = namespace.into();
    }
    reviews::validate(def, &review)?;
    let resource = &def.kind.resource;
    let spec = &review["spec"];
    let status = if *resource == resources::SELF_SUBJECT_REVIEWS {
        json!({ "userInfo": shown(user) })
    } else if *resource == resources::TOKEN_REVIEWS {
        token(registry, spec)?
    } else if *resource == resources::SELF_SUBJECT_RULES_REVIEWS {
        rules(spec, user)?
    } else if *resource == resources::SELF_SUBJECT_ACCESS_REVIEWS {
        access(spec, user.is_authenticated())
    } else {
        let groups = spec["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_nobody = spec["user"] == User::anonymous().name || groups.iter().any(|group| group == UNAUTHENTICATED);
        access(spec, !is_nobody)
    };
    review["kind"] = def.kind.kind.into();
    review["apiVersion"] = def.kind.resource.group_version().into();
    review["status"] = status;
    Ok(review)
}

fn shown(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn access(spec: &Value, is_known: bool) -> Value {
    let asked = &spec["nonResourceAttributes"];
    let is_open = asked["verb"] == "get" && asked["path"].as_str().is_some_and(|path| OPEN_PATHS.contains(&path));
    let reason = match (is_known, is_open) {
        (true, _) => EVERYBODY,
        (false, true) => "this path is open to everybody",
        (false, false) => "only these paths are open to users without credentials: health and version",
    };
    json!({ "allowed": is_known || is_open, "reason": reason })
}

fn rules(spec: &Value, user: &User) -> Result<Value, Status> {
    if spec["namespace"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (resource_rules, other_rules) = if user.is_authenticated() {
        (
            json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }]),
            json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]),
        )
    } else {
        (json!([]), json!([{ "verbs": ["get"], "nonResourceURLs": OPEN_PATHS }]))
    };
    Ok(json!({ "resourceRules": resource_rules, "nonResourceRules": other_rules, "incomplete": false }))
}

fn token(registry: &Registry, spec: &Value) -> Result<Value, Status> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked: Vec<&str> = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_for_others = !asked.is_empty() && !asked.contains(&auth::ISSUER);
    let user = auth::token_user(registry, token).filter(|_| !is_for_others);
    Ok(match user {
        Some(user) => json!({ "authenticated": true, "user": shown(&user), "audiences": [auth::ISSUER] }),
        None => json!({ "user": {}, "error": "invalid bearer token" }),
    })
}
