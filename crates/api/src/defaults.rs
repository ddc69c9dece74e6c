//! Defaults of pods that hang on other fields (K-1 to K-3, V-19). Those that hang on nothing are in the schema table and
//! are applied while decoding.
//!
//! All functions are idempotent and leave trees that are not pods alone.

use meta::Quantity;
use serde_json::{Map, Value, json};

/// Completes a pod: as [`pod_template`], and what only pods get.
pub fn pod(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    pod_spec(spec);
    spec.entry("enableServiceLinks").or_insert(Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            requests_from_limits(container);
        }
    }
}

/// Completes a pod template (`{metadata, spec}`).
pub fn pod_template(template: &mut Value) {
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    mirror_service_account(spec);
    let is_host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec, list) {
            if is_absent(container.get("imagePullPolicy")) {
                let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
                container.insert("imagePullPolicy".to_owned(), json!(pull_policy(image)));
            }
            round_resources(container.get_mut("resources"));
            if is_host_network && list != "ephemeralContainers" {
                take_host_ports(container);
            }
        }
    }
    for volume in items(spec, "volumes") {
        if volume.keys().all(|key| key == "name") {
            volume.insert("emptyDir".to_owned(), json!({}));
        }
    }
    if let Some(overhead) = spec.get_mut("overhead") {
        round_quantities(overhead);
    }
}

/// `Always` if the image's tag is `latest` or missing, and there is no digest (K-2).
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        _ if image.is_empty() => "IfNotPresent",
        Some((_, "latest")) => "Always",
        None if digest.is_none() => "Always",
        _ => "IfNotPresent",
    }
}

/// The old name of `serviceAccountName` is read, and always written with the same value.
fn mirror_service_account(spec: &mut Map<String, Value>) {
    let name = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|key| spec.get(key).filter(|v| !is_absent(Some(v))));
    if let Some(name) = name.cloned() {
        spec.insert("serviceAccountName".to_owned(), name.clone());
        spec.insert("serviceAccount".to_owned(), name);
    }
}

fn take_host_ports(container: &mut Map<String, Value>) {
    for port in items(container, "ports") {
        if is_absent(port.get("hostPort"))
            && let Some(number) = port.get("containerPort").cloned()
        {
            port.insert("hostPort".to_owned(), number);
        }
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(requests) = requests.as_object_mut() {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

/// Amounts finer than a thousandth are rounded up (V-19).
fn round_resources(resources: Option<&mut Value>) {
    let Some(resources) = resources else { return };
    for list in ["limits", "requests"] {
        if let Some(amounts) = resources.get_mut(list) {
            round_quantities(amounts);
        }
    }
}

/// Rounds every quantity of a resource list up to thousandths (V-19).
pub fn round_quantities(amounts: &mut Value) {
    for amount in amounts.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(quantity) = amount.as_str().and_then(|text| Quantity::parse(text).ok()) {
            let rounded = quantity.rounded_to_millis().to_string();
            if amount.as_str() != Some(rounded.as_str()) {
                *amount = Value::String(rounded);
            }
        }
    }
}

fn items<'a>(map: &'a mut Map<String, Value>, list: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn is_absent(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_hangs_on_the_tag() {
        let rows = [
            ("redis", "Always"),
            ("redis:latest", "Always"),
            ("redis:7", "IfNotPresent"),
            ("localhost:5000/redis", "Always"),
            ("localhost:5000/redis:7", "IfNotPresent"),
            ("redis@sha256:00", "IfNotPresent"),
            ("redis:latest@sha256:00", "Always"),
            ("", "IfNotPresent"),
        ];
        for (image, policy) in rows {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn a_pod_is_completed_once_and_stays_so() {
        let mut tree = json!({"spec": {
            "serviceAccountName": "x", "hostNetwork": true,
            "containers": [{
                "name": "a", "image": "redis:7", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100u"}},
            }],
            "volumes": [{"name": "v"}, {"name": "w", "hostPath": {}}],
        }});
        pod(&mut tree);
        let expected = json!({"spec": {
            "serviceAccountName": "x", "serviceAccount": "x", "hostNetwork": true, "enableServiceLinks": true,
            "containers": [{
                "name": "a", "image": "redis:7", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "hostPort": 80}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1m", "memory": "1Gi"}},
            }],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {}}],
        }});
        assert_eq!(tree, expected);
        pod(&mut tree);
        assert_eq!(tree, expected);
    }

    #[test]
    fn a_template_gets_neither_service_links_nor_requests() {
        let mut tree = json!({"spec": {"containers": [{"image": "a", "resources": {"limits": {"cpu": "1"}}}]}});
        pod_template(&mut tree);
        assert_eq!(
            tree,
            json!({"spec": {"containers": [
                {"image": "a", "imagePullPolicy": "Always", "resources": {"limits": {"cpu": "1"}}},
            ]}})
        );
    }
}
