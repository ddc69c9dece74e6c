//! Why the API refuses to create a pod or a claim, told from the controller's event.

use serde_json::Value;

use super::{Trail, Verdict, kubectl};
use crate::cluster::{Ref, text};

/// Ends a trail at the refusal that a controller's event tells about, if there is one.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, kind: &str) -> Option<Verdict> {
    let message = trail.warning(about, &["FailedCreate"])?;
    let error = message.split_once("failed error: ").map_or(message, |(_, error)| error);
    let error = error.strip_prefix("Error creating: ").unwrap_or(error);
    trail.says(about, format!("cannot create {kind}: {error}"));
    Some(Verdict::stuck([remedy(trail, about, error)]))
}

fn remedy(trail: &Trail<'_>, about: &Ref, error: &str) -> String {
    let namespace = &about.namespace;
    if error.contains("exceeded quota") {
        let quota = quoted_after(error, "exceeded quota: ").unwrap_or_default();
        return format!(
            "raise quota {quota:?} or delete what uses it up: `{}`",
            kubectl(namespace, &format!("describe quota {quota}"))
        );
    }
    if error.contains("failed quota") {
        return "the quota wants every container to name its requests and limits: add `resources` to the template, \
                or a LimitRange with defaults to the namespace"
            .to_owned();
    }
    if error.contains("service account") || error.contains("serviceaccount") {
        let name = text(&template(trail, about), "/spec/serviceAccountName").to_owned();
        return format!("create it: `{}`", kubectl(namespace, &format!("create serviceaccount {name}")));
    }
    if error.contains("PriorityClass") {
        return "create the PriorityClass, or take spec.template.spec.priorityClassName out".to_owned();
    }
    if error.contains("being terminated") {
        return format!("the namespace {namespace} is being deleted; create the set in another one");
    }
    if error.contains("must be no more than 63 characters") || error.contains("must be no more than 63 bytes") {
        return format!(
            "choose a shorter name: pods carry labels of at most 63 characters with the name {:?} and a suffix; \
             a StatefulSet's name has at most 52",
            about.name
        );
    }
    if error.contains("usage per Container") || error.contains("usage per Pod") {
        return format!(
            "change `resources` in the template so that they fit the namespace's LimitRange: `{}`",
            kubectl(namespace, "describe limitrange")
        );
    }
    "correct what the message names; the controller tries again by itself".to_owned()
}

fn template(trail: &Trail<'_>, about: &Ref) -> Value {
    trail.cluster.get(about).and_then(|object| object.pointer("/spec/template")).cloned().unwrap_or(Value::Null)
}

/// The word after a mark, up to a comma.
fn quoted_after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(mark)?;
    Some(rest.split([',', ' ']).next().unwrap_or(rest))
}
