//! OpenAPI documents: what every kind looks like and what can be done to it (D-50 to D-66).
//!
//! Made from the schema table and the kind table when first asked for, kept packed: kubectl up to 1.28 reads
//! [`OpenApi::v2_protobuf`] before it applies anything, newer ones read the v3 index and one document for each group.
//! `paths` holds the operations, `schemas` the types, `gnostic` the protobuf form of version 2.

mod gnostic;
mod paths;
mod schemas;

use std::collections::BTreeMap;
use std::io::{Read, Write};

use api::Gvk;
use api::schema::{Docs, Schema};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::discovery::Discovery;

/// `Content-Type` of [`OpenApi::v2_protobuf`] (D-50).
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The same as clients ask for it.
pub const V2_PROTOBUF_ACCEPT: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// One document, packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// The document under gzip, as clients that accept gzip are sent it.
    pub gzip: Vec<u8>,
    /// Upper-case hexadecimal SHA-512 of the plain document: the `hash` of v3 addresses; in quotes, the ETag.
    pub hash: String,
}

impl Document {
    fn of(plain: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(5));
        encoder.write_all(plain).expect("a buffer takes all bytes");
        let gzip = encoder.finish().expect("a buffer takes all bytes");
        let hash = Sha512::digest(plain).iter().map(|b| format!("{b:02X}")).collect();
        Self { gzip, hash }
    }

    /// The plain document.
    pub fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        GzDecoder::new(self.gzip.as_slice()).read_to_end(&mut plain).expect("we packed it");
        plain
    }
}

/// All documents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenApi {
    /// `/openapi/v2` as JSON.
    pub v2_json: Document,
    /// `/openapi/v2` as gnostic's protobuf.
    pub v2_protobuf: Document,
    /// `/openapi/v3/<key>` as JSON, by key (`api/v1`, `apis/apps/v1`).
    pub v3: BTreeMap<String, Document>,
}

impl OpenApi {
    /// Makes all documents; some tens of milliseconds and megabytes for a moment.
    pub fn build(discovery: &Discovery<'_>) -> Self {
        let schema = Schema::get();
        let docs = Docs::load(schema);
        let mut v3 = BTreeMap::new();
        for (group, version) in discovery.versions() {
            let document = v3_document(discovery, &docs, group, version);
            v3.insert(v3_key(group, version), Document::of(document.to_string().as_bytes()));
        }
        let v2 = v2_document(discovery, &docs);
        let v2_protobuf = Document::of(&gnostic::encode(&v2));
        let v2_json = Document::of(v2.to_string().as_bytes());
        Self { v2_json, v2_protobuf, v3 }
    }

    /// `/openapi/v3` (D-60).
    pub fn v3_index(&self) -> Vec<u8> {
        let paths = self.v3.iter().map(|(key, document)| {
            let url = format!("/openapi/v3/{key}?hash={}", document.hash);
            (key.clone(), json!({"serverRelativeURL": url}))
        });
        json!({"paths": paths.collect::<serde_json::Map<_, _>>()}).to_string().into_bytes()
    }
}

/// The key of a group and version in the v3 index.
pub fn v3_key(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": format!("v{}", Schema::get().version())})
}

fn v2_document(discovery: &Discovery<'_>, docs: &Docs) -> Value {
    let mut schemas = schemas::Schemas::new(docs, schemas::Dialect::V2);
    let mut all = serde_json::Map::new();
    for kind in discovery.kinds() {
        all.extend(paths::of_kind(kind, &mut schemas));
    }
    json!({"swagger": "2.0", "info": info(), "paths": all, "definitions": schemas.finish()})
}

fn v3_document(discovery: &Discovery<'_>, docs: &Docs, group: &str, version: &str) -> Value {
    let mut schemas = schemas::Schemas::new(docs, schemas::Dialect::V3);
    let mut all = serde_json::Map::new();
    for kind in discovery.of_version(group, version) {
        all.extend(paths::of_kind(kind, &mut schemas));
    }
    json!({"openapi": "3.0.0", "info": info(), "paths": all, "components": {"schemas": schemas.finish()}})
}

/// `x-kubernetes-group-version-kind` of one kind.
fn gvk_extension(gvk: Gvk<'_>) -> Value {
    json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind})
}

#[cfg(test)]
mod tests;
