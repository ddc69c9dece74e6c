//! Defaults of a pod spec that depend on other fields (K-1 to K-3).

use serde_json::{Value, json};

use crate::tree::{as_object_mut, flag, has, int, items_mut, member, remove, set, set_default, text};

/// Defaults of a pod; idempotent.
pub(super) fn default_pod(pod: &mut Value) {
    let spec = as_object_mut(pod).entry("spec").or_insert_with(|| json!({}));
    default_spec(spec);
    set_default(spec, "enableServiceLinks", true);
    for key in ["containers", "initContainers"] {
        for container in items_mut(spec, key) {
            requests_from_limits(container);
        }
    }
    // The old name of the field mirrors the new one.
    let account = text(spec, "serviceAccountName").to_owned();
    let old_account = text(spec, "serviceAccount").to_owned();
    match (account.is_empty(), old_account.is_empty()) {
        (false, _) if account != old_account => set(spec, "serviceAccount", account),
        (true, false) => set(spec, "serviceAccountName", old_account),
        _ => {}
    }
}

/// Defaults of a pod template; idempotent.
pub(super) fn default_template(template: &mut Value) {
    let spec = as_object_mut(template).entry("spec").or_insert_with(|| json!({}));
    default_spec(spec);
    let account = text(spec, "serviceAccountName").to_owned();
    if !account.is_empty() {
        set(spec, "serviceAccount", account);
    }
}

fn default_spec(spec: &mut Value) {
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "schedulerName", "default-scheduler");
    set_default(spec, "securityContext", json!({}));
    let host_network = flag(spec, "hostNetwork");
    for key in ["initContainers", "containers"] {
        for container in items_mut(spec, key) {
            default_container(container, host_network);
        }
    }
    for volume in items_mut(spec, "volumes") {
        default_volume(volume);
    }
}

fn default_container(container: &mut Value, host_network: bool) {
    if text(container, "imagePullPolicy").is_empty() {
        let policy = if is_moving_tag(text(container, "image")) { "Always" } else { "IfNotPresent" };
        set(container, "imagePullPolicy", policy);
    }
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    set_default(container, "resources", json!({}));
    for port in items_mut(container, "ports") {
        set_default(port, "protocol", "TCP");
        if host_network && int(port, "hostPort").unwrap_or(0) == 0 {
            let number = member(port, "containerPort").clone();
            set(port, "hostPort", number);
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, key) {
            default_probe(&mut container[key]);
        }
    }
    if has(container, "lifecycle") {
        for key in ["postStart", "preStop"] {
            let lifecycle = &mut container["lifecycle"];
            if has(lifecycle, key) {
                default_http(&mut lifecycle[key]);
            }
        }
    }
    for variable in items_mut(container, "env") {
        if has(variable, "valueFrom") {
            default_field_ref(&mut variable["valueFrom"]);
        }
    }
}

fn default_probe(probe: &mut Value) {
    for (key, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if int(probe, key).unwrap_or(0) == 0 {
            set(probe, key, value);
        }
    }
    default_http(probe);
    if has(probe, "grpc") {
        set_default(&mut probe["grpc"], "service", "");
    }
}

fn default_http(handler: &mut Value) {
    if has(handler, "httpGet") {
        let action = &mut handler["httpGet"];
        for (key, value) in [("path", "/"), ("scheme", "HTTP")] {
            if text(action, key).is_empty() {
                set(action, key, value);
            }
        }
    }
}

fn default_field_ref(source: &mut Value) {
    if has(source, "fieldRef") {
        let reference = &mut source["fieldRef"];
        if text(reference, "apiVersion").is_empty() {
            set(reference, "apiVersion", "v1");
        }
    }
}

/// A volume that says nothing is an empty directory; files get their mode.
fn default_volume(volume: &mut Value) {
    let sourceless =
        volume.as_object().is_some_and(|members| members.iter().all(|(key, v)| key == "name" || v.is_null()));
    if sourceless {
        set(volume, "emptyDir", json!({}));
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if has(volume, kind) {
            set_default(&mut volume[kind], "defaultMode", 0o644);
        }
    }
    if has(volume, "hostPath") {
        set_default(&mut volume["hostPath"], "type", "");
    }
    if has(volume, "downwardAPI") {
        for item in items_mut(&mut volume["downwardAPI"], "items") {
            default_field_ref(item);
        }
    }
    if has(volume, "projected") {
        for source in items_mut(&mut volume["projected"], "sources") {
            if has(source, "serviceAccountToken") {
                set_default(&mut source["serviceAccountToken"], "expirationSeconds", 3600);
            }
            if has(source, "downwardAPI") {
                for item in items_mut(&mut source["downwardAPI"], "items") {
                    default_field_ref(item);
                }
            }
        }
    }
}

/// True for `:latest`, or no tag at all and no digest: what the name means may change (K-2).
fn is_moving_tag(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest" || tag.is_empty(),
        None => true,
    }
}

/// What is limited and not requested is requested (K-1).
fn requests_from_limits(container: &mut Value) {
    let Some(Value::Object(limits)) = container.get("resources").and_then(|resources| resources.get("limits")).cloned()
    else {
        return;
    };
    let resources = &mut container["resources"];
    let requests = as_object_mut(resources).entry("requests").or_insert_with(|| json!({}));
    for (name, limit) in limits {
        as_object_mut(requests).entry(name).or_insert(limit);
    }
    if requests.as_object().is_some_and(serde_json::Map::is_empty) {
        remove(resources, "requests");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_whose_name_may_mean_something_else_tomorrow_are_always_pulled() {
        for (image, moving) in [
            ("redis", true),
            ("redis:latest", true),
            ("redis:7", false),
            ("localhost:5000/redis", true),
            ("localhost:5000/redis:7", false),
            ("redis@sha256:00", false),
            ("redis:latest@sha256:00", false),
        ] {
            assert_eq!(is_moving_tag(image), moving, "{image}");
        }
    }
}
