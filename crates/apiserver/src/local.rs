//! The client in process: the same path as over HTTP, without the socket and without encoding (D2).

use std::collections::VecDeque;
use std::sync::Arc;

use api::codec::FieldValidation;
use apiserver_core::kinds::{self, KindDef};
use apiserver_core::selector::Selector;
use apiserver_core::write::{self, DeletionOptions};
use async_trait::async_trait;
use client::{
    Client, Collection, DeleteOptions, Object, ObjectList, Patch, Propagation, Selection, WatchEvent, WatchStream,
    WriteOptions,
};
use meta::{ObjectId, ResourceId, ResourceVersion, Status};
use serde_json::Value;
use store::Haste;
use store_core::Revision;
use tokio::time::{Duration, Instant};

use crate::changes::{Change, Changes, WatchFrom, WatchRequest};
use crate::http::patch::PatchBody;
use crate::registry::{ListAt, ListRequest, Registry, object};
use crate::reviews;
use crate::tokens;
use crate::user::User;
use crate::writing::{Changed, Target, normalise};

/// How often a quiet watcher is told how far it has got.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// A client with a user's name.
pub struct LocalClient {
    registry: Arc<Registry>,
    user: User,
}

impl LocalClient {
    /// A client for a part of Roadstead.
    pub fn new(registry: Arc<Registry>, user: &str) -> Self {
        Self { registry, user: User::component(user) }
    }

    fn options(&self, options: &WriteOptions) -> crate::writing::WriteOptions {
        let manager = &options.field_manager;
        let field_manager = if manager.is_empty() { self.manager().to_owned() } else { manager.clone() };
        let haste = if options.patient { Haste::MayWait } else { Haste::Now };
        crate::writing::WriteOptions { field_manager, dry_run: options.dry_run, haste, place: options.place }
    }

    /// The name under which fields are recorded: the last part of the user's.
    fn manager(&self) -> &str {
        self.user.name.rsplit(':').next().unwrap_or_default()
    }
}

fn kind(resource: &ResourceId) -> Result<&'static KindDef, Status> {
    kinds::by_resource(resource).ok_or_else(|| {
        let mut status = Status::new(meta::Reason::NotFound, "the server could not find the requested resource");
        status.details = Some(Box::default());
        status
    })
}

fn target<'a>(id: &'a ObjectId, subresource: Option<&'a str>) -> Target<'a> {
    Target { namespace: id.namespace.as_deref(), name: &id.name, subresource: subresource.unwrap_or_default() }
}

fn selector(def: &KindDef, selection: &Selection) -> Result<Selector, Status> {
    Selector::parse(&def.kind, &selection.labels, &selection.fields)
}

fn decode(def: &KindDef, body: Value) -> Result<Value, Status> {
    normalise(def, body).map(|(tree, _)| tree).map_err(|error| error.to_status())
}

fn answer(tree: &Value) -> Arc<Object> {
    Arc::new(Object::new(ResourceVersion::default(), tree.to_string().into()))
}

#[async_trait]
impl Client for LocalClient {
    async fn get(&self, id: &ObjectId) -> Result<Arc<Object>, Status> {
        self.registry.get(kind(&id.resource)?, id.namespace.as_deref(), &id.name)
    }

    async fn list(&self, target: &Collection, selection: &Selection) -> Result<ObjectList, Status> {
        let def = kind(&target.resource)?;
        let request = ListRequest {
            namespace: target.namespace.clone(),
            selector: selector(def, selection)?,
            at: ListAt::Latest,
            ..ListRequest::default()
        };
        let page = self.registry.list(def, &request).await?;
        let items = page.records.iter().map(|record| object(def, record)).collect();
        Ok(ObjectList { resource_version: ResourceVersion(page.revision.0), items })
    }

    async fn watch(
        &self,
        target: &Collection,
        selection: &Selection,
        from: ResourceVersion,
    ) -> Result<WatchStream, Status> {
        let def = kind(&target.resource)?;
        let request = WatchRequest {
            namespace: target.namespace.clone(),
            selector: Arc::new(selector(def, selection)?),
            from: WatchFrom::After(Revision(from.0)),
        };
        let changes = self.registry.watch(def, request).await?;
        let feed =
            Feed { changes, ready: VecDeque::new(), bookmark_at: Instant::now() + BOOKMARK_INTERVAL, ended: false };
        Ok(Box::pin(futures::stream::unfold(feed, |mut feed| async move {
            let event = feed.next().await?;
            Some((event, feed))
        })))
    }

    async fn create(
        &self,
        target: &Collection,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let def = kind(&target.resource)?;
        let options = self.options(options);
        let namespace = target.namespace.as_deref();
        let Some(subresource) = subresource else {
            if def.kind.verbs == api::CREATE_ONLY {
                return Ok(answer(&reviews::answer(&self.registry, def, body, &self.user, namespace)?));
            }
            let tree = decode(def, body)?;
            return Ok(self.registry.create(def, namespace, tree, &options).await?.object);
        };
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let at = Target { namespace, name: &name, subresource };
        match subresource {
            "binding" => Ok(self.registry.bind(def, &at, &body, &options).await?.object),
            "eviction" => {
                self.registry.evict(def, &at, &body, &options).await?;
                Ok(answer(&body))
            }
            "token" => Ok(answer(&tokens::request(&self.registry, def, &at, body)?)),
            other => Err(no_such_subresource(other)),
        }
    }

    async fn update(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let def = kind(&id.resource)?;
        let options = self.options(options);
        let target = target(id, subresource);
        let written = match subresource {
            None | Some("status") => {
                let tree = decode(def, body)?;
                let change =
                    |_: &Value| Ok(Changed { tree: tree.clone(), applied: false, warnings: Vec::new(), decided: None });
                self.registry.update(def, &target, &options, change).await?
            }
            Some("scale") => self.registry.scale(def, &target, &options, |_| Ok(body.clone())).await?,
            Some("finalize") => self.registry.finalize(def, &target, &body, &options).await?,
            Some(other) => return Err(no_such_subresource(other)),
        };
        Ok(written.object)
    }

    async fn patch(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let def = kind(&id.resource)?;
        let options = self.options(options);
        let target = target(id, subresource);
        let body = match patch {
            Patch::Merge(body) => PatchBody::Merge(body),
            Patch::Json(body) => PatchBody::Json(body),
            Patch::Strategic(body) => PatchBody::Strategic(body),
            Patch::Apply { body, force } => PatchBody::Apply { config: body, force },
        };
        let written = match subresource {
            None | Some("status") => {
                self.registry.patch(def, &target, &body, &options, FieldValidation::Strict).await?
            }
            Some("scale") => self.registry.patch_scale(def, &target, &options, &body).await?,
            Some(other) => return Err(no_such_subresource(other)),
        };
        Ok(written.object)
    }

    async fn delete(&self, id: &ObjectId, options: &DeleteOptions) -> Result<(), Status> {
        let def = kind(&id.resource)?;
        let last_status = &options.last_status;
        let options = DeletionOptions {
            uid: options.uid.as_ref().map(|uid| uid.0.clone()),
            resource_version: options.resource_version.map(|version| version.to_string()),
            grace_period_secs: options.grace_period_secs,
            propagation: options.propagation.map(|propagation| match propagation {
                Propagation::Orphan => write::Propagation::Orphan,
                Propagation::Background => write::Propagation::Background,
                Propagation::Foreground => write::Propagation::Foreground,
            }),
            ..DeletionOptions::default()
        };
        let target = target(id, None);
        let deleted = match last_status {
            None => self.registry.delete(def, &target, &options).await,
            Some(patch) => self.registry.end(def, &target, &options, patch.clone(), self.manager()).await,
        };
        deleted.map(drop)
    }
}

fn no_such_subresource(name: &str) -> Status {
    Status::new(meta::Reason::NotFound, format!("the server could not find the requested subresource {name:?}"))
}

/// A watch on its way to one reader in process.
struct Feed {
    changes: Changes,
    ready: VecDeque<Change>,
    bookmark_at: Instant,
    ended: bool,
}

impl Feed {
    async fn next(&mut self) -> Option<Result<WatchEvent, Status>> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(Ok(match change {
                    Change::Added(object) => WatchEvent::Added(object),
                    Change::Modified(object) => WatchEvent::Modified(object),
                    Change::Deleted(object) => WatchEvent::Deleted(object),
                    Change::InitialEventsEnd(revision) => WatchEvent::Bookmark(ResourceVersion(revision.0)),
                }));
            }
            tokio::select! {
                biased;
                changes = self.changes.next() => match changes {
                    Ok(changes) => self.ready = changes.into(),
                    Err(status) => {
                        self.ended = true;
                        return Some(Err(status));
                    }
                },
                () = tokio::time::sleep_until(self.bookmark_at) => {
                    self.bookmark_at = Instant::now() + BOOKMARK_INTERVAL;
                    if let Some(revision) = self.changes.progress() {
                        return Some(Ok(WatchEvent::Bookmark(ResourceVersion(revision.0))));
                    }
                }
            }
        }
    }
}
