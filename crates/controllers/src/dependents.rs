//! Metadata of everything, as far as owners and finalizers go: shared by the garbage collector and the end of
//! namespaces.

use client::Object;
use informer::{Cacheable, Informer, Informers, Scope};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;

use crate::kinds::{KINDS, Row};

/// What is read of an object.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) owner_references: Vec<OwnerReference>,
    #[serde(default)]
    pub(crate) finalizers: Vec<String>,
    pub(crate) deletion_timestamp: Option<String>,
}

/// An object with nothing but its metadata. All of them are held: an owner whose end falls between two lists is missed
/// only by those that do not know that it was there.
#[derive(Deserialize, Debug)]
pub(crate) struct Thing {
    pub(crate) metadata: Metadata,
}

impl Cacheable for Thing {
    fn decode(object: &Object) -> Result<Self, serde_json::Error> {
        object.view()
    }

    fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn uid(&self) -> &str {
        &self.metadata.uid
    }

    fn owner_uids(&self) -> Vec<&str> {
        self.metadata.owner_references.iter().map(|owner| owner.uid.as_str()).collect()
    }

    fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

/// One informer per kind.
#[derive(Clone, Debug)]
pub(crate) struct Things {
    pub(crate) rows: Vec<(&'static Row, Informer<Thing>)>,
}

impl Things {
    pub(crate) fn start(informers: &Informers) -> Self {
        let start = |row: &'static Row| (row, informers.scoped(Scope::all(row.resource.clone())));
        Self { rows: KINDS.iter().map(start).collect() }
    }

    pub(crate) async fn synced(&self) {
        for (_, informer) in &self.rows {
            informer.synced().await;
        }
    }
}
