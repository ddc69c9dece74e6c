//! A container's environment: the pod's own variables, those of config maps and secrets, the downward API, and the
//! addresses of services.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod, ResourceFieldSelector, Service};
use meta::Quantity;

use crate::sources::Sources;

/// Why an environment cannot be made. The texts are upstream's: they become the message of
/// `CreateContainerConfigError`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvError {
    /// A ConfigMap is not there.
    #[error("configmap {0:?} not found")]
    NoConfigMap(String),
    /// A Secret is not there.
    #[error("secret {0:?} not found")]
    NoSecret(String),
    /// A ConfigMap has no such key.
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    NoConfigMapKey {
        /// The key.
        key: String,
        /// Namespace of the ConfigMap.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A Secret has no such key.
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    NoSecretKey {
        /// The key.
        key: String,
        /// Namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A field path that no pod has.
    #[error("unsupported fieldPath: {0}")]
    FieldPath(String),
    /// A resource that cannot be asked for.
    #[error("unsupported container resource: {0}")]
    Resource(String),
    /// A container that the pod does not have.
    #[error("container {0} not found")]
    NoContainer(String),
    /// A source that this node does not know.
    #[error("environment variable {0:?} has a source of an unsupported kind")]
    Unsupported(String),
}

/// The whole environment, without that of the image; later entries win over earlier ones of the same name, which is
/// why each name is in it once.
///
/// # Errors
/// [`EnvError`] for the first variable that cannot be worked out.
pub fn environment(container: &Container, pod: &Pod, sources: &Sources) -> Result<Vec<(String, String)>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let services = service_variables(namespace, &sources.services, links);
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for (name, value) in from_whole_objects(container, sources)? {
        if known.insert(name.clone(), value).is_none() {
            order.push(name);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => {
                let look_up = |name: &str| known.get(name).or_else(|| services.get(name)).cloned();
                Some(expand(value, look_up))
            }
            (_, Some(source)) => from_source(&variable.name, source, container, pod, sources)?,
            _ => Some(String::new()),
        };
        let Some(value) = value else { continue };
        if known.insert(variable.name.clone(), value).is_none() {
            order.push(variable.name.clone());
        }
    }
    let mut all: Vec<(String, String)> = Vec::with_capacity(order.len() + services.len());
    for name in order {
        let value = known.remove(&name).unwrap_or_default();
        all.push((name, value));
    }
    let own: std::collections::BTreeSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
    all.extend(services.into_iter().filter(|(name, _)| !own.contains(name)));
    Ok(all)
}

fn from_whole_objects(container: &Container, sources: &Sources) -> Result<Vec<(String, String)>, EnvError> {
    let mut all = Vec::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name).and_then(Option::as_ref) {
                Some(found) => {
                    let pairs = found.data.iter().flatten();
                    all.extend(pairs.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::NoConfigMap(reference.name.clone())),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name).and_then(Option::as_ref) {
                Some(found) => {
                    let pairs = found.data.iter().flatten();
                    all.extend(pairs.map(|(key, value)| (format!("{prefix}{key}"), lossy(&value.0))));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::NoSecret(reference.name.clone())),
            }
        }
    }
    all.retain(|(name, _)| is_variable_name(name));
    Ok(all)
}

/// Printable ASCII without `=`: what a variable may be called since 1.34.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=')
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn from_source(
    variable: &str,
    source: &EnvVarSource,
    container: &Container,
    pod: &Pod,
    sources: &Sources,
) -> Result<Option<String>, EnvError> {
    let namespace = || pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return field_value(&field.field_path, pod, sources).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(resource, Some(container), pod, sources).map(Some);
    }
    if let Some(wanted) = &source.config_map_key_ref {
        let is_optional = wanted.optional == Some(true);
        let Some(found) = sources.config_maps.get(&wanted.name).and_then(Option::as_ref) else {
            return if is_optional { Ok(None) } else { Err(EnvError::NoConfigMap(wanted.name.clone())) };
        };
        return match found.data.as_ref().and_then(|data| data.get(&wanted.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if is_optional => Ok(None),
            None => Err(EnvError::NoConfigMapKey {
                key: wanted.key.clone(),
                namespace: namespace(),
                name: wanted.name.clone(),
            }),
        };
    }
    if let Some(wanted) = &source.secret_key_ref {
        let is_optional = wanted.optional == Some(true);
        let Some(found) = sources.secrets.get(&wanted.name).and_then(Option::as_ref) else {
            return if is_optional { Ok(None) } else { Err(EnvError::NoSecret(wanted.name.clone())) };
        };
        return match found.data.as_ref().and_then(|data| data.get(&wanted.key)) {
            Some(value) => Ok(Some(lossy(&value.0))),
            None if is_optional => Ok(None),
            None => Err(EnvError::NoSecretKey {
                key: wanted.key.clone(),
                namespace: namespace(),
                name: wanted.name.clone(),
            }),
        };
    }
    Err(EnvError::Unsupported(variable.to_owned()))
}

/// The value of a `fieldRef`.
///
/// # Errors
/// [`EnvError::FieldPath`] for a path that is not offered.
pub fn field_value(path: &str, pod: &Pod, sources: &Sources) -> Result<String, EnvError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = subscript(path) {
        let found = match map {
            "metadata.labels" => metadata.labels.as_ref().and_then(|labels| labels.get(key)),
            "metadata.annotations" => metadata.annotations.as_ref().and_then(|notes| notes.get(key)),
            _ => return Err(EnvError::FieldPath(path.to_owned())),
        };
        return Ok(found.cloned().unwrap_or_default());
    }
    let first = |ips: &[std::net::IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
    let all = |ips: &[std::net::IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => map_text(metadata.labels.as_ref()),
        "metadata.annotations" => map_text(metadata.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => first(&sources.host_ips),
        "status.hostIPs" => all(&sources.host_ips),
        "status.podIP" => first(&sources.pod_ips),
        "status.podIPs" => all(&sources.pod_ips),
        _ => return Err(EnvError::FieldPath(path.to_owned())),
    })
}

/// `metadata.labels['key']` into map and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as the downward API writes it: one `key="escaped value"` a line, in order.
fn map_text(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a `resourceFieldRef`, in units of its divisor, rounded up.
///
/// # Errors
/// [`EnvError`] for an unknown container or resource.
pub fn resource_value(
    wanted: &ResourceFieldSelector,
    own: Option<&Container>,
    pod: &Pod,
    sources: &Sources,
) -> Result<String, EnvError> {
    let name = wanted.container_name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let all = || spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let container = match own {
        Some(own) if name.is_empty() || own.name == name => own,
        _ => all().find(|one| one.name == name).ok_or_else(|| EnvError::NoContainer(name.to_owned()))?,
    };
    let (kind, resource) =
        wanted.resource.split_once('.').ok_or_else(|| EnvError::Resource(wanted.resource.clone()))?;
    let resources = container.resources.as_ref();
    let map = match kind {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(EnvError::Resource(wanted.resource.clone())),
    };
    let found = map.and_then(|map| map.get(resource)).and_then(|text| Quantity::parse(&text.0).ok());
    let divisor = wanted.divisor.as_ref().and_then(|text| Quantity::parse(&text.0).ok()).filter(Quantity::is_positive);
    let (amount, unit) = match (resource, kind) {
        ("cpu", _) => {
            let default = if kind == "limits" { sources.node_cpu_millis } else { 0 };
            (found.map_or(default, |q| q.millis()), divisor.map_or(1000, |q| q.millis()))
        }
        ("memory", "limits") => {
            (found.map_or(sources.node_memory_bytes, |q| q.units()), divisor.map_or(1, |q| q.units()))
        }
        ("memory" | "ephemeral-storage", _) => (found.map_or(0, |q| q.units()), divisor.map_or(1, |q| q.units())),
        (other, _) if other.starts_with("hugepages-") => {
            (found.map_or(0, |q| q.units()), divisor.map_or(1, |q| q.units()))
        }
        _ => return Err(EnvError::Resource(wanted.resource.clone())),
    };
    let unit = unit.max(1);
    Ok((amount / unit + i64::from(amount % unit > 0)).to_string())
}

/// Variables that tell the addresses of services, as upstream and Docker links name them. Without `links` only
/// `default/kubernetes` is told.
pub fn service_variables<'a>(
    namespace: &str,
    services: impl IntoIterator<Item = &'a std::sync::Arc<Service>>,
    links: bool,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let home = service.metadata.namespace.as_deref().unwrap_or_default();
        let is_api = home == "default" && name == "kubernetes";
        let Some(spec) = &service.spec else { continue };
        let address = spec.cluster_ip.as_deref().unwrap_or_default();
        let counts = is_api || (links && home == namespace);
        if !counts || address.is_empty() || address == "None" {
            continue;
        }
        let upper = variable_prefix(name);
        all.insert(format!("{upper}_SERVICE_HOST"), address.to_owned());
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            let number = port.port;
            if index == 0 {
                all.insert(format!("{upper}_SERVICE_PORT"), number.to_string());
            }
            if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                all.insert(format!("{upper}_SERVICE_PORT_{}", variable_prefix(port_name)), number.to_string());
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let lower = protocol.to_ascii_lowercase();
            let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let url = format!("{lower}://{host}:{number}");
            if index == 0 {
                all.insert(format!("{upper}_PORT"), url.clone());
            }
            let link = format!("{upper}_PORT_{number}_{}", protocol.to_ascii_uppercase());
            all.insert(format!("{link}_PROTO"), lower);
            all.insert(format!("{link}_PORT"), number.to_string());
            all.insert(format!("{link}_ADDR"), address.to_owned());
            all.insert(link, url);
        }
    }
    all
}

fn variable_prefix(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// Replaces `$(NAME)` by its value; `$$` is a dollar sign; what is not known stays as it is.
pub fn expand(text: &str, look_up: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match look_up(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sources(value: Value) -> Sources {
        let mut sources = Sources { pod_ips: vec!["10.1.2.3".parse().unwrap()], ..Sources::default() };
        for (name, data) in value["configMaps"].as_object().into_iter().flatten() {
            let found = serde_json::from_value(json!({ "data": data })).unwrap();
            sources.config_maps.insert(name.clone(), Some(std::sync::Arc::new(found)));
        }
        for service in value["services"].as_array().into_iter().flatten() {
            sources.services.push(std::sync::Arc::new(serde_json::from_value(service.clone()).unwrap()));
        }
        sources
    }

    #[track_caller]
    fn check(container: Value, found: Value, want: expect_test::Expect) {
        let mut container = container;
        container["name"] = json!("c");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p-0", "namespace": "ns", "uid": "u", "labels": {"b": "two \"2\"", "a": "1"}},
            "spec": {"nodeName": "n", "containers": [container]},
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let text = match environment(container, &pod, &sources(found)) {
            Ok(pairs) => pairs.into_iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
            Err(error) => format!("! {error}\n"),
        };
        want.assert_eq(&text);
    }

    #[test]
    fn variables_expand_what_stands_before_them() {
        // A-61.
        check(
            json!({"env": [
                {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)-$$(A)-$A"}, {"name": "C", "value": "3"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
            ]}),
            json!({}),
            expect_test::expect![[r#"
                A=1
                B=1-$(C)-$(A)-$A
                C=3
                IP=10.1.2.3
                L=1
            "#]],
        );
    }

    #[test]
    fn own_variables_win_over_whole_config_maps() {
        check(
            json!({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}], "env": [{"name": "P_A", "value": "own"}]}),
            json!({"configMaps": {"m": {"A": "x", "B": "y", "bad=key": "z"}}}),
            expect_test::expect![[r#"
                P_A=own
                P_B=y
            "#]],
        );
    }

    #[test]
    fn a_missing_config_map_and_a_missing_key_are_told_as_upstream_tells_them() {
        let one = |name: &str, key: &str, optional: bool| {
            json!({"env": [{"name": "A", "valueFrom":
                {"configMapKeyRef": {"name": name, "key": key, "optional": optional}}}]})
        };
        let found = json!({"configMaps": {"m": {"k": "v"}}});
        check(one("x", "k", false), found.clone(), expect_test::expect!["! configmap \"x\" not found\n"]);
        check(one("m", "y", false), found.clone(), expect_test::expect!["! couldn't find key y in ConfigMap ns/m\n"]);
        check(one("m", "y", true), found, expect_test::expect![""]);
    }

    #[test]
    fn resources_are_told_in_units_rounded_up() {
        let one = |resource: &str, divisor: &str| {
            json!({"resources": {"limits": {"cpu": "1500m", "memory": "100Mi"}}, "env": [{"name": "A", "valueFrom":
                {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}]})
        };
        check(one("limits.cpu", "0"), json!({}), expect_test::expect!["A=2\n"]);
        check(one("limits.cpu", "1m"), json!({}), expect_test::expect!["A=1500\n"]);
        check(one("limits.memory", "1Mi"), json!({}), expect_test::expect!["A=100\n"]);
        check(one("requests.memory", "0"), json!({}), expect_test::expect!["A=0\n"]);
    }

    #[test]
    fn services_of_the_namespace_and_the_api_have_variables() {
        check(
            json!({}),
            json!({"services": [
                {"metadata": {"name": "kubernetes", "namespace": "default"},
                 "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}},
                {"metadata": {"name": "head", "namespace": "ns"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
                {"metadata": {"name": "other", "namespace": "elsewhere"}, "spec": {"clusterIP": "10.96.0.9"}},
            ]}),
            expect_test::expect![[r#"
                KUBERNETES_PORT=tcp://10.96.0.1:443
                KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443
                KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1
                KUBERNETES_PORT_443_TCP_PORT=443
                KUBERNETES_PORT_443_TCP_PROTO=tcp
                KUBERNETES_SERVICE_HOST=10.96.0.1
                KUBERNETES_SERVICE_PORT=443
                KUBERNETES_SERVICE_PORT_HTTPS=443
            "#]],
        );
    }
}
