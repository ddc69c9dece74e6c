//! A client that remembers what was asked through it, by whom.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use client::{Client, Collection, DeleteOptions, Object, ObjectList, Patch, Selection, WatchStream, WriteOptions};
use meta::{ObjectId, ResourceId, ResourceVersion, Status};
use serde_json::Value;

/// What was asked: the user's last name, and verb and resource as a role names them.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Asked {
    /// A client that remembers here what `user` asks of `client`.
    pub fn through(&self, client: Arc<dyn Client>, user: &str) -> Arc<dyn Client> {
        let user = user.rsplit(':').next().unwrap_or_default().to_owned();
        Arc::new(Witness { client, user, asked: self.clone() })
    }

    /// What a user asked so far.
    pub fn by(&self, user: &str) -> Vec<String> {
        let asked = self.0.lock().unwrap();
        asked.iter().filter(|(by, _)| by == user).map(|(_, what)| what.clone()).collect()
    }
}

struct Witness {
    client: Arc<dyn Client>,
    user: String,
    asked: Asked,
}

impl Witness {
    fn note(&self, verb: &str, resource: &ResourceId, subresource: Option<&str>) {
        let subresource = subresource.map(|name| format!("/{name}")).unwrap_or_default();
        let what = format!("{verb} {}{subresource}", resource.resource);
        self.asked.0.lock().unwrap().insert((self.user.clone(), what));
    }
}

#[async_trait]
impl Client for Witness {
    async fn get(&self, id: &ObjectId) -> Result<Arc<Object>, Status> {
        self.note("get", &id.resource, None);
        self.client.get(id).await
    }

    async fn list(&self, target: &Collection, selection: &Selection) -> Result<ObjectList, Status> {
        self.note("list", &target.resource, None);
        self.client.list(target, selection).await
    }

    async fn watch(
        &self,
        target: &Collection,
        selection: &Selection,
        from: ResourceVersion,
    ) -> Result<WatchStream, Status> {
        self.note("watch", &target.resource, None);
        self.client.watch(target, selection, from).await
    }

    async fn create(
        &self,
        target: &Collection,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.note("create", &target.resource, subresource);
        self.client.create(target, subresource, body, options).await
    }

    async fn update(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.note("update", &id.resource, subresource);
        self.client.update(id, subresource, body, options).await
    }

    async fn patch(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.note("patch", &id.resource, subresource);
        self.client.patch(id, subresource, patch, options).await
    }

    async fn delete(&self, id: &ObjectId, options: &DeleteOptions) -> Result<(), Status> {
        self.note("delete", &id.resource, None);
        self.client.delete(id, options).await
    }
}
