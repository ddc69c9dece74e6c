//! A client that shows every call to somebody before it goes on.

use std::sync::Arc;

use async_trait::async_trait;
use meta::{ObjectId, ResourceId, ResourceVersion, Status};
use serde_json::Value;

use crate::{Client, Collection, DeleteOptions, Object, ObjectList, Patch, Selection, WatchStream, WriteOptions};

/// A call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// As a role names it: `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// The resource.
    pub resource: &'a ResourceId,
    /// The subresource.
    pub subresource: Option<&'a str>,
    /// How it is deleted; `None` of other verbs.
    pub deletion: Option<&'a DeleteOptions>,
}

impl<'a> Call<'a> {
    fn new(verb: &'static str, resource: &'a ResourceId, subresource: Option<&'a str>) -> Self {
        Self { verb, resource, subresource, deletion: None }
    }
}

/// A client whose calls a hook sees: it notes them, refuses them with an error, or loses their answers. For tests of
/// those who call.
pub struct Hooked<H> {
    client: Arc<dyn Client>,
    moment: Moment,
    hook: H,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

impl<H> Hooked<H>
where
    H: Fn(&Call<'_>) -> Result<(), Status> + Send + Sync + 'static,
{
    /// A client in front of another: what the hook refuses is not done.
    pub fn before(client: Arc<dyn Client>, hook: H) -> Arc<dyn Client> {
        Arc::new(Self { client, moment: Moment::Before, hook })
    }

    /// A client behind another: the hook sees what was done, and can have the caller hear an error all the same.
    pub fn after(client: Arc<dyn Client>, hook: H) -> Arc<dyn Client> {
        Arc::new(Self { client, moment: Moment::After, hook })
    }

    async fn around<T>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<T, Status> {
        if self.moment == Moment::Before {
            (self.hook)(&call)?;
            return work.await;
        }
        let answer = work.await?;
        (self.hook)(&call).map(|()| answer)
    }
}

#[async_trait]
impl<H> Client for Hooked<H>
where
    H: Fn(&Call<'_>) -> Result<(), Status> + Send + Sync + 'static,
{
    async fn get(&self, id: &ObjectId) -> Result<Arc<Object>, Status> {
        self.around(Call::new("get", &id.resource, None), self.client.get(id)).await
    }

    async fn list(&self, target: &Collection, selection: &Selection) -> Result<ObjectList, Status> {
        self.around(Call::new("list", &target.resource, None), self.client.list(target, selection)).await
    }

    async fn watch(
        &self,
        target: &Collection,
        selection: &Selection,
        from: ResourceVersion,
    ) -> Result<WatchStream, Status> {
        self.around(Call::new("watch", &target.resource, None), self.client.watch(target, selection, from)).await
    }

    async fn create(
        &self,
        target: &Collection,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.around(
            Call::new("create", &target.resource, subresource),
            self.client.create(target, subresource, body, options),
        )
        .await
    }

    async fn update(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.around(Call::new("update", &id.resource, subresource), self.client.update(id, subresource, body, options))
            .await
    }

    async fn patch(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.around(Call::new("patch", &id.resource, subresource), self.client.patch(id, subresource, patch, options))
            .await
    }

    async fn delete(&self, id: &ObjectId, options: &DeleteOptions) -> Result<(), Status> {
        self.around(
            Call { deletion: Some(options), ..Call::new("delete", &id.resource, None) },
            self.client.delete(id, options),
        )
        .await
    }
}
