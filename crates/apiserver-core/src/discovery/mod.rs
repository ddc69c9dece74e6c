//! Discovery: which groups, versions and resources there are (D-10 to D-26).
//!
//! Everything comes from the rows of the kind table, so what is advertised is what works (G-10). [`Discovery`] makes
//! the plain documents; [`Discovery::aggregated`] the ones that hold everything at once.

use api::{Gvk, Kind, Subresource, Verb};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

/// Groups in the order of upstream's priorities; groups that are not here follow in the order of their names.
const GROUP_ORDER: &[&str] = &[
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
];

/// A discovery document with the tag by which clients ask again (D-26).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// JSON, ended by a newline.
    pub body: Vec<u8>,
    /// Value of the `ETag` header, with its quotes.
    pub etag: String,
}

impl Document {
    fn of(value: &Value) -> Self {
        let mut body = value.to_string().into_bytes();
        body.push(b'\n');
        Self { etag: etag(&body), body }
    }
}

/// `"<UPPERCASE HEX SHA-512>"` (D-26).
pub fn etag(body: &[u8]) -> String {
    format!("\"{}\"", hex(&Sha512::digest(body)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// Version of an aggregated document (D-20).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aggregated {
    /// `v2`, asked for by clients since 1.30.
    V2,
    /// `v2beta1`, asked for by clients 1.26 to 1.34.
    V2Beta1,
}

impl Aggregated {
    /// The version on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }

    /// The exact `Content-Type` of the answer (D-21).
    pub fn content_type(self) -> String {
        format!("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", self.as_str())
    }
}

/// The kinds that are served, in the order of discovery.
#[derive(Debug)]
pub struct Discovery<'a> {
    kinds: Vec<&'a Kind>,
}

impl<'a> Discovery<'a> {
    /// Discovery of these kinds.
    pub fn new(kinds: impl IntoIterator<Item = &'a Kind>) -> Self {
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        let place = |group: &str| GROUP_ORDER.iter().position(|g| *g == group).unwrap_or(GROUP_ORDER.len());
        kinds.sort_by(|a, b| {
            let key = |k: &&'a Kind| {
                (place(&k.resource.group), k.resource.group.to_string(), k.resource.resource.to_string())
            };
            key(a).cmp(&key(b))
        });
        Self { kinds }
    }

    /// The kinds, sorted.
    pub fn kinds(&self) -> &[&'a Kind] {
        &self.kinds
    }

    /// `/api` (D-10).
    pub fn core_versions(&self, server_address: &str) -> Document {
        Document::of(&json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
        }))
    }

    /// `/apis` (D-11).
    pub fn groups(&self) -> Document {
        let groups: Vec<_> = self.group_names().into_iter().filter_map(|g| self.group_body(g)).collect();
        Document::of(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
    }

    /// `/apis/<group>` (D-12); `None` if there is no such group.
    pub fn group(&self, group: &str) -> Option<Document> {
        let mut body = self.group_body(group)?;
        body["kind"] = json!("APIGroup");
        body["apiVersion"] = json!("v1");
        Some(Document::of(&body))
    }

    /// `/api/v1` and `/apis/<group>/<version>` (D-13); `None` if there is no such version (D-15).
    pub fn resources(&self, group: &str, version: &str) -> Option<Document> {
        let mut resources: Vec<Value> = Vec::new();
        for kind in self.of_version(group, version) {
            resources.push(resource_body(kind));
            resources.extend(kind.subresources.iter().map(|s| subresource_body(kind, s)));
        }
        if resources.is_empty() {
            return None;
        }
        let group_version = Gvk::of(group, version, "").api_version();
        Some(Document::of(&json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version,
            "resources": resources,
        })))
    }

    /// The aggregated document of `/api` (the core group alone) or of `/apis` (the others) (D-20 to D-26).
    pub fn aggregated(&self, path: Root, form: Aggregated) -> Document {
        let wanted = |group: &&str| group.is_empty() == (path == Root::Api);
        let names: Vec<_> = match path {
            Root::Api => vec![""],
            Root::Apis => self.group_names(),
        };
        let items: Vec<_> = names.into_iter().filter(wanted).map(|group| self.aggregated_group(group)).collect();
        Document::of(&json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{}", form.as_str()),
            "metadata": {},
            "items": items,
        }))
    }

    /// True if the group has the version.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.of_version(group, version).next().is_some()
    }

    /// Groups and versions that have resources, in order.
    pub fn versions(&self) -> Vec<(&'a str, &'a str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for kind in &self.kinds {
            let pair = (&*kind.resource.group, &*kind.resource.version);
            if !found.contains(&pair) {
                found.push(pair);
            }
        }
        found
    }

    /// Kinds of one group and version, sorted by resource.
    pub fn of_version<'s>(&'s self, group: &'s str, version: &'s str) -> impl Iterator<Item = &'a Kind> + 's {
        self.kinds.iter().copied().filter(move |k| k.resource.group == group && k.resource.version == version)
    }

    /// Groups other than the core, in order.
    fn group_names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.versions().into_iter().map(|(group, _)| group).collect();
        names.retain(|group| !group.is_empty());
        names.dedup();
        names
    }

    fn group_body(&self, group: &str) -> Option<Value> {
        let versions = self.versions();
        let of_group = versions.iter().filter(|(g, _)| *g == group && !group.is_empty());
        let versions: Vec<_> =
            of_group.map(|(g, v)| json!({"groupVersion": format!("{g}/{v}"), "version": v})).collect();
        let preferred = versions.first()?.clone();
        Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
    }

    fn aggregated_group(&self, group: &str) -> Value {
        let versions = self.versions();
        let of_group = versions.iter().filter(|(g, _)| *g == group);
        let versions = of_group.map(|(group, version)| {
            let resources: Vec<_> = self.of_version(group, version).map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        });
        let versions: Vec<_> = versions.collect();
        let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
        json!({"metadata": metadata, "versions": versions})
    }
}

/// The two entry points of discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// `/api`.
    Api,
    /// `/apis`.
    Apis,
}

fn verbs(verbs: &[Verb]) -> Value {
    verbs.iter().map(|v| v.as_str()).collect()
}

/// Puts a list into `body` unless it is empty.
fn put_list(body: &mut Value, key: &str, list: &[&str]) {
    if !list.is_empty() {
        body[key] = json!(list);
    }
}

fn resource_body(kind: &Kind) -> Value {
    let mut body = json!({
        "name": kind.resource.resource,
        "singularName": kind.singular,
        "namespaced": kind.is_namespaced(),
        "kind": kind.kind,
        "verbs": verbs(kind.verbs),
    });
    put_list(&mut body, "shortNames", kind.short_names);
    put_list(&mut body, "categories", kind.categories);
    if kind.allows(Verb::List) {
        body["storageVersionHash"] = json!(storage_version_hash(kind));
    }
    body
}

/// The first eight bytes of a digest of the stored kind (D-14).
fn storage_version_hash(kind: &Kind) -> String {
    let name = format!("{}/{}/{}", kind.resource.group, kind.resource.version, kind.kind);
    STANDARD.encode(&Sha256::digest(name)[..8])
}

fn subresource_body(kind: &Kind, subresource: &Subresource) -> Value {
    let mut body = json!({
        "name": format!("{}/{}", kind.resource.resource, subresource.name),
        "singularName": "",
        "namespaced": kind.is_namespaced(),
        "kind": subresource.kind,
        "verbs": verbs(subresource.verbs),
    });
    if let Some((group, version)) = subresource.group_version {
        body["group"] = json!(group);
        body["version"] = json!(version);
    }
    body
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut body = json!({
        "resource": kind.resource.resource,
        "responseKind": response_kind(kind.gvk()),
        "scope": kind.scope.as_str(),
        "singularResource": kind.singular,
        "verbs": verbs(kind.verbs),
    });
    put_list(&mut body, "shortNames", kind.short_names);
    put_list(&mut body, "categories", kind.categories);
    let subresources = kind.subresources.iter().map(|s| {
        let own = kind.gvk();
        let (group, version) = s.group_version.unwrap_or((own.group, own.version));
        json!({
            "subresource": s.name,
            "responseKind": response_kind(Gvk { group, version, kind: s.kind }),
            "verbs": verbs(s.verbs),
        })
    });
    let subresources: Vec<_> = subresources.collect();
    if !subresources.is_empty() {
        body["subresources"] = json!(subresources);
    }
    body
}

/// Always an object with all three members (D-24).
fn response_kind(gvk: Gvk<'_>) -> Value {
    let members = [("group", gvk.group), ("version", gvk.version), ("kind", gvk.kind)];
    Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), json!(v))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests;
