//! What limit ranges do to new pods and claims (M-12).

use meta::{Quantity, ResourceId, Status};
use serde_json::Value;

use crate::kinds::amounts::{self, Amounts};
use crate::tree::{at, child_mut, items, items_mut, member, object_mut, set, text};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a new pod what the ranges say they get.
pub(in crate::kinds) fn complete(pod: &mut Value, ranges: &[&Value]) {
    for range in ranges {
        let (mut limits, mut requests) = (Amounts::new(), Amounts::new());
        for limit in items(member(range, "spec"), "limits").iter().filter(|limit| text(limit, "type") == "Container") {
            requests.extend(amounts::read(member(limit, "defaultRequest")));
            limits.extend(amounts::read(member(limit, "default")));
        }
        let mut notes = Vec::new();
        let spec = child_mut(pod, "spec");
        for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
            for container in items_mut(spec, list) {
                for (key, given, word) in [("requests", &requests, "request"), ("limits", &limits, "limit")] {
                    let added = fill(container, key, given);
                    if !added.is_empty() {
                        notes.push(format!("{} {word} for {what} {}", added.join(", "), text(container, "name")));
                    }
                }
            }
        }
        if !notes.is_empty() {
            let note = format!("LimitRanger plugin set: {}", notes.join("; "));
            object_mut(object_value(pod), "annotations").insert(ANNOTATION.to_owned(), note.into());
        }
    }
}

fn object_value(pod: &mut Value) -> &mut Value {
    child_mut(pod, "metadata")
}

/// Adds what is missing in one list of a container, and says what.
fn fill(container: &mut Value, key: &str, given: &Amounts) -> Vec<String> {
    let mut amounts = amounts::read(at(container, &["resources", key]));
    let missing: Vec<String> = given.keys().filter(|name| !amounts.contains_key(*name)).cloned().collect();
    for name in &missing {
        amounts.insert(name.clone(), given[name]);
    }
    if !missing.is_empty() {
        let resources = child_mut(container, "resources");
        set(resources, key, amounts::write(&amounts));
    }
    missing
}

/// Refuses a pod that asks for less or more than the ranges allow.
///
/// # Errors
/// 403 with everything that the first offended range minds.
pub(in crate::kinds) fn check_pod(pod: &Value, ranges: &[&Value]) -> Result<(), Status> {
    check(&api::resources::PODS, pod, ranges, |limit, kind, found| {
        let spec = member(pod, "spec");
        match kind {
            "Container" => {
                for container in items(spec, "containers").iter().chain(items(spec, "initContainers")) {
                    let list = |key| amounts::read(at(container, &["resources", key]));
                    check_all(limit, kind, &list("requests"), &list("limits"), found);
                }
            }
            "Pod" => {
                let (requests, limits) = (amounts::of_pod(spec, "requests"), amounts::of_pod(spec, "limits"));
                check_all(limit, kind, &requests, &limits, found);
            }
            _ => {}
        }
    })
}

/// Refuses a claim for less or more storage than the ranges allow. What is asked for already, in `stored`, may stay: a
/// range that came later holds up no other change of the claim.
///
/// # Errors
/// 403 with everything that the first offended range minds.
pub(in crate::kinds) fn check_claim(claim: &Value, stored: Option<&Value>, ranges: &[&Value]) -> Result<(), Status> {
    let requests_of = |claim: &Value| amounts::read(at(claim, &["spec", "resources", "requests"]));
    let (requests, before) = (requests_of(claim), stored.map(requests_of).unwrap_or_default());
    let is_new = |name: &str| !requests.contains_key(name) || requests.get(name) != before.get(name);
    check(&api::resources::PERSISTENT_VOLUME_CLAIMS, claim, ranges, |limit, kind, found| {
        if kind != "PersistentVolumeClaim" {
            return;
        }
        let asked = Asked { kind, requests: &requests, limits: &Amounts::new() };
        for (name, least) in amounts::read(member(limit, "min")).into_iter().filter(|(name, _)| is_new(name)) {
            found.extend(asked.too_little(&name, least));
        }
        for (name, most) in amounts::read(member(limit, "max")).into_iter().filter(|(name, _)| is_new(name)) {
            found.extend(match requests.get(&name) {
                None => Some(format!("maximum {name} usage per {kind} is {most}.  No request is specified")),
                Some(request) if *request > most => {
                    Some(format!("maximum {name} usage per {kind} is {most}, but request is {request}"))
                }
                Some(_) => None,
            });
        }
    })
}

fn check(
    resource: &ResourceId,
    object: &Value,
    ranges: &[&Value],
    mut find: impl FnMut(&Value, &str, &mut Vec<String>),
) -> Result<(), Status> {
    for range in ranges {
        let mut found = Vec::new();
        for limit in items(member(range, "spec"), "limits") {
            find(limit, text(limit, "type"), &mut found);
        }
        let mut seen: Vec<String> = Vec::new();
        for one in found {
            if !seen.contains(&one) {
                seen.push(one);
            }
        }
        let why = match seen.as_slice() {
            [] => continue,
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        return Err(Status::forbidden(resource, text(member(object, "metadata"), "name"), why));
    }
    Ok(())
}

fn check_all(limit: &Value, kind: &str, requests: &Amounts, limits: &Amounts, found: &mut Vec<String>) {
    let asked = Asked { kind, requests, limits };
    for (name, least) in amounts::read(member(limit, "min")) {
        found.extend(asked.too_little(&name, least));
    }
    for (name, most) in amounts::read(member(limit, "max")) {
        found.extend(asked.too_much(&name, most));
    }
    for (name, ratio) in amounts::read(member(limit, "maxLimitRequestRatio")) {
        found.extend(asked.too_far_apart(&name, ratio));
    }
}

/// What a container, a pod or a claim asks for.
struct Asked<'a> {
    kind: &'a str,
    requests: &'a Amounts,
    limits: &'a Amounts,
}

impl Asked<'_> {
    fn too_little(&self, name: &str, least: Quantity) -> Option<String> {
        let rule = format!("minimum {name} usage per {} is {least}", self.kind);
        match (self.requests.get(name), self.limits.get(name)) {
            (None, _) => Some(format!("{rule}.  No request is specified")),
            (Some(request), _) if *request < least => Some(format!("{rule}, but request is {request}")),
            (_, Some(limit)) if *limit < least => Some(format!("{rule}, but limit is {limit}")),
            _ => None,
        }
    }

    fn too_much(&self, name: &str, most: Quantity) -> Option<String> {
        let rule = format!("maximum {name} usage per {} is {most}", self.kind);
        match (self.requests.get(name), self.limits.get(name)) {
            (_, None) => Some(format!("{rule}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => Some(format!("{rule}, but limit is {limit}")),
            (Some(request), _) if *request > most => Some(format!("{rule}, but request is {request}")),
            _ => None,
        }
    }

    fn too_far_apart(&self, name: &str, ratio: Quantity) -> Option<String> {
        let rule = format!("{name} max limit to request ratio per {} is {ratio}", self.kind);
        let millis = |amount: Option<&Quantity>| amount.map(Quantity::millis).filter(|millis| *millis != 0);
        let Some(request) = millis(self.requests.get(name)) else {
            return Some(format!("{rule}, but no request is specified or request is 0"));
        };
        let Some(limit) = millis(self.limits.get(name)) else {
            return Some(format!("{rule}, but no limit is specified or limit is 0"));
        };
        let actual = limit as f64 / request as f64;
        (actual * 1000.0 > ratio.millis() as f64).then(|| format!("{rule}, but provided ratio is {actual:.6}"))
    }
}
