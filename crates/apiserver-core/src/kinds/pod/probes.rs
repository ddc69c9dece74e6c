//! Probes and lifecycle hooks.

use serde_json::Value;

use super::ports::validate_number_or_name;
use crate::tree::{has, int, items, member, text};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path, names};

const SECONDS: &[&str] =
    &["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// The three probes of a container.
pub(super) fn validate_all(container: &Value, grace_secs: i64, path: &Path<'_>, errors: &mut Errors) {
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = member(container, key);
        if probe.is_null() {
            continue;
        }
        let path = path.child(key);
        validate_handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace_secs, &path, errors);
        for key in SECONDS {
            validate_non_negative(probe, key, &path, errors);
        }
        let grace_path = path.child("terminationGracePeriodSeconds");
        let grace = int(probe, "terminationGracePeriodSeconds");
        if let Some(grace) = grace.filter(|grace| *grace <= 0) {
            errors.invalid_int(&grace_path, grace, "must be greater than 0");
        }
        if key == "readinessProbe" {
            if let Some(grace) = grace {
                errors.invalid_int(&grace_path, grace, "must not be set for readinessProbes");
            }
        } else if int(probe, "successThreshold").unwrap_or(0) != 1 {
            let threshold = int(probe, "successThreshold").unwrap_or(0);
            errors.invalid_int(&path.child("successThreshold"), threshold, "must be 1");
        }
    }
}

/// The hooks of a container.
pub(super) fn validate_lifecycle(container: &Value, grace_secs: i64, path: &Path<'_>, errors: &mut Errors) {
    let lifecycle = member(container, "lifecycle");
    let path = path.child("lifecycle");
    for key in ["postStart", "preStop"] {
        let hook = member(lifecycle, key);
        if !hook.is_null() {
            let handlers = &["exec", "httpGet", "tcpSocket", "sleep"];
            validate_handler(hook, handlers, grace_secs, &path.child(key), errors);
        }
    }
}

/// Exactly one way of asking.
fn validate_handler(handler: &Value, kinds: &[&str], grace_secs: i64, path: &Path<'_>, errors: &mut Errors) {
    let mut given = 0;
    for kind in kinds.iter().filter(|kind| has(handler, kind)) {
        given += 1;
        let path = path.child(kind);
        if given > 1 {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        let action = member(handler, kind);
        match *kind {
            "exec" => {
                if items(action, "command").is_empty() {
                    errors.required(&path.child("command"), "");
                }
            }
            "httpGet" => validate_http(action, &path, errors),
            "tcpSocket" => validate_number_or_name(action.get("port"), &path.child("port"), errors),
            "grpc" => {
                let port = int(action, "port").unwrap_or(0);
                if let Some(message) = names::port_number(port) {
                    errors.invalid_int(&path.child("port"), port, &message);
                }
            }
            _ => validate_sleep(action, grace_secs, &path, errors),
        }
    }
    if given == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn validate_http(action: &Value, path: &Path<'_>, errors: &mut Errors) {
    if text(action, "path").is_empty() {
        errors.required(&path.child("path"), "");
    }
    validate_number_or_name(action.get("port"), &path.child("port"), errors);
    let scheme = text(action, "scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in items(action, "httpHeaders") {
        let name = text(header, "name");
        errors.invalid_each(&path.child("httpHeaders"), name, names::http_header(name));
    }
}

fn validate_sleep(action: &Value, grace_secs: i64, path: &Path<'_>, errors: &mut Errors) {
    let secs = int(action, "seconds").unwrap_or(0);
    if secs < 0 || secs > grace_secs {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_secs})");
        errors.invalid_int(path, secs, &detail);
    }
}
