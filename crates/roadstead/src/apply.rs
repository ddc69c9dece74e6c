//! Applying manifests through the API, the way `kubectl apply` does it, so that kubectl can go on from here.
//!
//! The manifest is recorded in the annotation that kubectl reads; the deciding half is [`three_way`].

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use kube::Client;
use kube::core::GroupVersionKind;
use serde_json::{Map, Value, json};

use crate::manifest::Manifest;

/// Where kubectl keeps the manifest it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Name under which our fields stand in `managedFields`.
const FIELD_MANAGER: &str = "roadstead-up";

/// What became of a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was there and differed.
    Configured,
    /// It was there as wished.
    Unchanged,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        })
    }
}

/// An object that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// `statefulset.apps/redis`, as kubectl prints it.
    pub title: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The object as it was; `None` if it was not there.
    pub before: Option<Value>,
    /// The object as it is now.
    pub object: Value,
}

/// Applies manifests one by one, in the order given.
pub struct Applier {
    client: Client,
    namespace: String,
    kinds: BTreeMap<(String, String), Served>,
}

/// Whether what the API decides is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    Real,
    Dry,
}

/// How a kind is served.
#[derive(Clone, Debug)]
struct Served {
    group: String,
    base: String,
    plural: String,
    namespaced: bool,
}

impl Applier {
    /// An applier that puts objects without a namespace into `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), kinds: BTreeMap::new() }
    }

    /// Applies one manifest.
    ///
    /// # Errors
    /// With the manifest's place and the API's own words; the object is unchanged then.
    pub async fn apply(&mut self, manifest: &Manifest) -> Result<Applied> {
        self.write(manifest, Run::Real).await
    }

    /// What [`Self::apply`] would do: the API decides, and nothing is stored.
    ///
    /// # Errors
    /// As `apply`.
    pub async fn dry_run(&mut self, manifest: &Manifest) -> Result<Applied> {
        self.write(manifest, Run::Dry).await
    }

    async fn write(&mut self, manifest: &Manifest, run: Run) -> Result<Applied> {
        let tried = self.try_write(manifest, run).await;
        tried.with_context(|| format!("{}: {}", manifest.origin, manifest.title()))
    }

    async fn try_write(&mut self, manifest: &Manifest, run: Run) -> Result<Applied> {
        let served = self.served(manifest).await?;
        let mut wished = manifest.object.clone();
        let collection = if served.namespaced {
            let named = manifest.text("/metadata/namespace");
            let namespace = if named.is_empty() { self.namespace.clone() } else { named.to_owned() };
            wished["metadata"]["namespace"] = json!(namespace);
            format!("{}/namespaces/{namespace}/{}", served.base, served.plural)
        } else {
            format!("{}/{}", served.base, served.plural)
        };
        let name = manifest.text("/metadata/name");
        let dot = if served.group.is_empty() { "" } else { "." };
        let title = format!("{}{dot}{}/{name}", manifest.text("/kind").to_lowercase(), served.group);
        remember(&mut wished)?;

        let dry_run = match run {
            Run::Real => "",
            Run::Dry => "&dryRun=All",
        };
        let query = format!("fieldManager={FIELD_MANAGER}&fieldValidation=Strict{dry_run}");
        let Some(live) = self.get(&format!("{collection}/{name}")).await? else {
            let object = self.send("POST", &format!("{collection}?{query}"), "application/json", &wished).await?;
            return Ok(Applied { title, outcome: Outcome::Created, before: None, object });
        };
        let last = last_applied(&live);
        let patch = three_way(&last, &wished, &live);
        if patch.as_object().is_none_or(Map::is_empty) {
            return Ok(Applied { title, outcome: Outcome::Unchanged, before: Some(live.clone()), object: live });
        }
        let path = format!("{collection}/{name}?{query}");
        let object = self.send("PATCH", &path, "application/merge-patch+json", &patch).await?;
        // A dry run stores nothing, so its revision is always the old one.
        let same = run == Run::Real && object["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"];
        let outcome = if same { Outcome::Unchanged } else { Outcome::Configured };
        Ok(Applied { title, outcome, before: Some(live), object })
    }

    async fn served(&mut self, manifest: &Manifest) -> Result<Served> {
        let (api_version, kind) = (manifest.text("/apiVersion"), manifest.text("/kind"));
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.kinds.get(&key) {
            return Ok(known.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities) = kube::discovery::pinned_kind(&self.client, &gvk).await.map_err(|_| {
            anyhow!(
                "no matches for kind {kind:?} in version {api_version:?}: this version of Roadstead does not serve it"
            )
        })?;
        let base = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let served = Served {
            group: group.to_owned(),
            base,
            plural: resource.plural,
            namespaced: capabilities.scope == kube::discovery::Scope::Namespaced,
        };
        self.kinds.insert(key, served.clone());
        Ok(served)
    }

    async fn get(&self, path: &str) -> Result<Option<Value>> {
        let request = request("GET", path, "application/json", Vec::new())?;
        match self.client.request::<Value>(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(spoken(error)),
        }
    }

    async fn send(&self, method: &str, path: &str, media_type: &str, body: &Value) -> Result<Value> {
        let request = request(method, path, media_type, serde_json::to_vec(body)?)?;
        self.client.request::<Value>(request).await.map_err(spoken)
    }
}

fn request(method: &str, path: &str, media_type: &str, body: Vec<u8>) -> Result<http::Request<Vec<u8>>> {
    Ok(http::Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, media_type).body(body)?)
}

/// The API's own message, without the client's wrapping; of a patch only what is wrong with it, because whoever wrote the
/// manifest knows of no patch.
fn spoken(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.message.starts_with(" \"\" is invalid: patch: ") => {
            let why = status.message.split_once(" Invalid value: \"\": ").map(|(_, why)| why.to_owned());
            anyhow!("{}", why.unwrap_or(status.message))
        }
        kube::Error::Api(status) => anyhow!("{}", status.message),
        other => anyhow::Error::new(other),
    }
}

/// Writes the manifest into its own annotation, as kubectl does.
fn remember(wished: &mut Value) -> Result<()> {
    if let Some(annotations) = wished.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    } else {
        wished["metadata"]["annotations"] = json!({});
    }
    let text = format!("{}\n", serde_json::to_string(&*wished)?);
    wished["metadata"]["annotations"][LAST_APPLIED] = Value::String(text);
    Ok(())
}

fn last_applied(live: &Value) -> Value {
    live.pointer("/metadata/annotations")
        .and_then(|a| a.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null)
}

/// The JSON merge patch that brings `live` to `wished`: what was applied last and is wished no longer is removed, what
/// others added stays.
fn three_way(last: &Value, wished: &Value, live: &Value) -> Value {
    let (Some(wished), Some(live)) = (wished.as_object(), live.as_object()) else {
        return wished.clone();
    };
    let mut patch = Map::new();
    for (field, want) in wished {
        match live.get(field) {
            Some(have) if have == want => {}
            Some(have) if have.is_object() && want.is_object() => {
                let inner = three_way(last.get(field).unwrap_or(&Value::Null), want, have);
                if inner.as_object().is_some_and(|i| !i.is_empty()) {
                    patch.insert(field.clone(), inner);
                }
            }
            Some(have) if covers(want, have) && last.get(field).is_none_or(|l| l == want) => {}
            _ => {
                patch.insert(field.clone(), want.clone());
            }
        }
    }
    for field in last.as_object().into_iter().flat_map(Map::keys) {
        if !wished.contains_key(field) && live.contains_key(field) {
            patch.insert(field.clone(), Value::Null);
        }
    }
    Value::Object(patch)
}

/// True if `have` is `want` plus what the server filled in: a list whose items only gained defaults is not a change.
fn covers(want: &Value, have: &Value) -> bool {
    match (want, have) {
        (Value::Object(want), Value::Object(have)) => {
            want.iter().all(|(field, w)| have.get(field).is_some_and(|h| covers(w, h)))
        }
        (Value::Array(want), Value::Array(have)) => {
            want.len() == have.len() && want.iter().zip(have).all(|(w, h)| covers(w, h))
        }
        _ => want == have,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_wished_no_longer_is_removed_and_a_foreign_one_stays() {
        let last = json!({"data": {"a": "1", "b": "2"}});
        let wished = json!({"data": {"a": "1"}});
        let live = json!({"data": {"a": "1", "b": "2", "foreign": "3"}});
        assert_eq!(three_way(&last, &wished, &live), json!({"data": {"b": null}}));
    }

    #[test]
    fn defaults_inside_a_list_are_no_change() {
        let wished = json!({"ports": [{"port": 80}]});
        let live = json!({"ports": [{"port": 80, "protocol": "TCP"}]});
        assert_eq!(three_way(&Value::Null, &wished, &live), json!({}));
    }

    #[test]
    fn a_field_dropped_inside_a_list_is_a_change() {
        let last = json!({"containers": [{"name": "a", "tty": true}]});
        let wished = json!({"containers": [{"name": "a"}]});
        assert_eq!(three_way(&last, &wished, &last), wished);
    }

    #[test]
    fn a_changed_list_is_replaced_whole() {
        let wished = json!({"ports": [{"port": 81}]});
        let live = json!({"ports": [{"port": 80, "protocol": "TCP"}]});
        assert_eq!(three_way(&Value::Null, &wished, &live), wished);
    }
}
