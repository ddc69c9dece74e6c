//! The way to the API server: a client whose requests and answers can be late, lost or repeated.
//!
//! A request runs as a task of the server, as it would behind a socket: a caller that dies or gives up does not stop
//! it, and a server that dies takes it along.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::{
    Client, Collection, DeleteOptions, Object, ObjectList, Patch, Selection, WatchEvent, WatchStream, WriteOptions,
};
use futures::StreamExt;
use futures::future::BoxFuture;
use meta::{ObjectId, Reason, ResourceId, ResourceVersion, Status};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::control::Server;
use crate::ground::Ground;
use crate::oracle::order::Made;
use crate::oracle::watches::WatchJudge;
use crate::process::Process;
use crate::weather::Mishap;

/// Longest way of a message in fair weather.
const WAY_MAX: Duration = Duration::from_micros(1500);
/// How long a caller waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How late a late answer is, at most.
const LATE_MAX: Duration = Duration::from_secs(8);

/// What is asked of the API server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read all.
    List,
    /// Follow.
    Watch,
    /// Create.
    Create,
    /// Replace.
    Update,
    /// Change.
    Patch,
    /// Delete.
    Delete,
}

/// One request, as judges see it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The part that asks.
    pub part: String,
    /// Which incarnation of it.
    pub incarnation: u64,
    /// Under which name.
    pub user: String,
    /// What for.
    pub verb: Verb,
    /// The resource.
    pub resource: ResourceId,
    /// The namespace; empty for none or all.
    pub namespace: String,
    /// The object's name; empty for a list, a watch, or a generated one.
    pub name: String,
    /// Through which door; empty for the object itself.
    pub subresource: String,
    /// What is sent; null if nothing.
    pub body: Arc<Value>,
    /// How it is deleted.
    pub delete: Option<DeleteOptions>,
    /// Only a trial.
    pub dry_run: bool,
}

impl Call {
    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        !self.dry_run && !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { part, verb, resource, namespace, name, subresource, .. } = self;
        write!(f, "{part} {verb:?} {} {namespace}/{name}", resource.resource)?;
        if subresource.is_empty() { Ok(()) } else { write!(f, "/{subresource}") }
    }
}

/// What the server said, as judges see it.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// An object.
    Object(&'a Arc<Object>),
    /// A list.
    List(&'a ObjectList),
    /// A stream.
    Stream,
    /// Done.
    Done,
}

/// Something that can be shown to a judge.
pub trait Shown {
    /// It.
    fn shown(&self) -> Answer<'_>;
}

impl Shown for Arc<Object> {
    fn shown(&self) -> Answer<'_> {
        Answer::Object(self)
    }
}

impl Shown for ObjectList {
    fn shown(&self) -> Answer<'_> {
        Answer::List(self)
    }
}

impl Shown for WatchStream {
    fn shown(&self) -> Answer<'_> {
        Answer::Stream
    }
}

impl Shown for () {
    fn shown(&self) -> Answer<'_> {
        Answer::Done
    }
}

/// A client of one part.
#[derive(Clone)]
pub struct Wire {
    ground: Arc<Ground>,
    process: Arc<Process>,
    user: String,
}

impl Wire {
    /// A client that speaks for a process under a user's name.
    pub fn new(ground: &Arc<Ground>, process: &Arc<Process>, user: &str) -> Self {
        Self { ground: Arc::clone(ground), process: Arc::clone(process), user: user.to_owned() }
    }

    fn facts(&self, verb: Verb, resource: &ResourceId, namespace: Option<&str>, name: &str) -> Call {
        Call {
            part: self.process.name.clone(),
            incarnation: self.process.incarnation,
            user: self.user.clone(),
            verb,
            resource: resource.clone(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            body: Arc::new(Value::Null),
            delete: None,
            dry_run: false,
        }
    }

    async fn call<T, F>(&self, call: Call, work: F) -> Result<T, Status>
    where
        T: Shown + Send + 'static,
        F: Fn(Arc<dyn Client>) -> BoxFuture<'static, Result<T, Status>> + Send + Sync + 'static,
    {
        let made = Made::of(&call);
        let answer = self.process.living(self.carry(call, work)).await;
        if let (Some(made), Ok(Answer::Object(object))) = (made, answer.as_ref().map(Shown::shown)) {
            self.ground.court().order.acknowledged(&made, &object.uid().0);
        }
        answer
    }

    async fn carry<T, F>(&self, call: Call, work: F) -> Result<T, Status>
    where
        T: Shown + Send + 'static,
        F: Fn(Arc<dyn Client>) -> BoxFuture<'static, Result<T, Status>> + Send + Sync + 'static,
    {
        let mishap = {
            let weather = self.ground.weather();
            self.process.rng(|rng| weather.mishap(&call.part, rng))
        };
        if let Some(mishap) = mishap {
            self.ground.count("fault", mishap.name());
            self.ground.note(format_args!("{call}: {}", mishap.name()));
        }
        self.ground.linger(&self.process, WAY_MAX).await;
        match mishap {
            Some(Mishap::Refused) => return Err(lost("connection refused")),
            Some(Mishap::RequestLost) => {
                tokio::time::sleep(PATIENCE).await;
                return Err(Status::new(Reason::Timeout, "no answer in time"));
            }
            Some(Mishap::AnswerLost | Mishap::Repeated | Mishap::Late) | None => {}
        }
        let Some(server) = self.ground.server() else { return Err(lost("connection refused")) };
        let times = if mishap == Some(Mishap::Repeated) { 2 } else { 1 };
        let answered = serve(&self.ground, &server, call, &self.user, times, work);
        let answer = answered.await.unwrap_or_else(|_| Err(lost("connection reset by peer")));
        match mishap {
            Some(Mishap::AnswerLost) => {
                tokio::time::sleep(PATIENCE).await;
                return Err(Status::new(Reason::Timeout, "no answer in time"));
            }
            Some(Mishap::Late) => self.ground.linger(&self.process, LATE_MAX).await,
            _ => self.ground.linger(&self.process, WAY_MAX).await,
        }
        answer
    }
}

fn lost(why: &str) -> Status {
    Status::new(Reason::ServiceUnavailable, why)
}

/// Hands the request to the server; the judges look at what it does before the answer leaves.
fn serve<T, F>(
    ground: &Arc<Ground>,
    server: &Server,
    call: Call,
    user: &str,
    times: u32,
    work: F,
) -> oneshot::Receiver<Result<T, Status>>
where
    T: Shown + Send + 'static,
    F: Fn(Arc<dyn Client>) -> BoxFuture<'static, Result<T, Status>> + Send + Sync + 'static,
{
    let (tell, told) = oneshot::channel();
    let (client, ground) = (server.client(user), Arc::clone(ground));
    server.spawn(async move {
        let mut last = None;
        for _ in 0..times {
            let ticket = ground.court().asked(&call);
            let answer = work(Arc::clone(&client)).await;
            let found = ground.court().answered(&call, ticket, answer.as_ref().map(Shown::shown));
            match &answer {
                Ok(_) if !call.is_write() => {}
                Ok(_) => ground.note(format_args!("{call}: done")),
                Err(status) => ground.note(format_args!("{call}: {} {:?}", status.code, status.reason)),
            }
            ground.violated_all(found);
            last = Some(answer);
        }
        if let Some(answer) = last {
            // A caller that has gone does not hear it.
            let _ = tell.send(answer);
        }
    });
    told
}

/// A watch on its way to its reader.
struct Feed {
    ground: Arc<Ground>,
    process: Arc<Process>,
    server: Arc<Server>,
    resource: String,
    events: WatchStream,
    judge: WatchJudge,
    has_ended: bool,
}

impl Feed {
    async fn next(&mut self) -> Option<Result<WatchEvent, Status>> {
        if self.has_ended {
            return None;
        }
        let process = Arc::clone(&self.process);
        let event = process.living(self.arrive()).await;
        match &event {
            Some(Ok(event)) => {
                let found = self.judge.delivered(&self.ground.court(), event);
                self.ground.violated_all(found);
            }
            Some(Err(status)) => {
                self.has_ended = true;
                self.ground.note(format_args!("{} watch {} ends: {}", self.process.name, self.resource, status.code));
                if status.code == 410 {
                    self.ground.count("event", "watch ended with 410");
                }
            }
            None => self.has_ended = true,
        }
        event
    }

    async fn arrive(&mut self) -> Option<Result<WatchEvent, Status>> {
        self.ground.watches_stand_still(&self.process.name, &self.resource).await;
        let event = tokio::select! {
            biased;
            () = self.server.gone() => return Some(Err(lost("connection reset by peer"))),
            event = self.events.next() => event?,
        };
        self.ground.watches_stand_still(&self.process.name, &self.resource).await;
        Some(event)
    }
}

#[async_trait]
impl Client for Wire {
    async fn get(&self, id: &ObjectId) -> Result<Arc<Object>, Status> {
        let call = self.facts(Verb::Get, &id.resource, id.namespace.as_deref(), &id.name);
        let id = id.clone();
        self.call(call, move |client| {
            let id = id.clone();
            Box::pin(async move { client.get(&id).await })
        })
        .await
    }

    async fn list(&self, target: &Collection, selection: &Selection) -> Result<ObjectList, Status> {
        let mut call = self.facts(Verb::List, &target.resource, target.namespace.as_deref(), "");
        call.body = Arc::new(serde_json::json!({"labels": selection.labels, "fields": selection.fields}));
        let (target, selection) = (target.clone(), selection.clone());
        self.call(call, move |client| {
            let (target, selection) = (target.clone(), selection.clone());
            Box::pin(async move { client.list(&target, &selection).await })
        })
        .await
    }

    async fn watch(
        &self,
        target: &Collection,
        selection: &Selection,
        from: ResourceVersion,
    ) -> Result<WatchStream, Status> {
        let call = self.facts(Verb::Watch, &target.resource, target.namespace.as_deref(), "");
        let judge = WatchJudge::new(target, selection, from);
        let (wanted, selected) = (target.clone(), selection.clone());
        let asked = self.ground.server();
        let events = self
            .call(call, move |client| {
                let (target, selection) = (wanted.clone(), selected.clone());
                Box::pin(async move { client.watch(&target, &selection, from).await })
            })
            .await?;
        // The stream belongs to the server that answered; if that is gone by now, so is the stream, whoever came after it.
        let is_same = |server: &Arc<Server>| asked.as_ref().is_some_and(|asked| Arc::ptr_eq(asked, server));
        let server = self.ground.server().filter(is_same).ok_or_else(|| lost("connection reset by peer"))?;
        let feed = Feed {
            ground: Arc::clone(&self.ground),
            process: Arc::clone(&self.process),
            server,
            resource: target.resource.resource.to_string(),
            events,
            judge,
            has_ended: false,
        };
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
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut call = self.facts(Verb::Create, &target.resource, target.namespace.as_deref(), &name);
        call.subresource = subresource.unwrap_or_default().to_owned();
        call.body = Arc::new(body);
        call.dry_run = options.dry_run;
        let (target, options) = (target.clone(), options.clone());
        let (subresource, body) = (subresource.map(str::to_owned), Arc::clone(&call.body));
        self.call(call, move |client| {
            let (target, subresource) = (target.clone(), subresource.clone());
            let (body, options) = (Value::clone(&body), options.clone());
            Box::pin(async move { client.create(&target, subresource.as_deref(), body, &options).await })
        })
        .await
    }

    async fn update(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let mut call = self.facts(Verb::Update, &id.resource, id.namespace.as_deref(), &id.name);
        call.subresource = subresource.unwrap_or_default().to_owned();
        call.body = Arc::new(body);
        call.dry_run = options.dry_run;
        let (id, options) = (id.clone(), options.clone());
        let (subresource, body) = (subresource.map(str::to_owned), Arc::clone(&call.body));
        self.call(call, move |client| {
            let (id, subresource) = (id.clone(), subresource.clone());
            let (body, options) = (Value::clone(&body), options.clone());
            Box::pin(async move { client.update(&id, subresource.as_deref(), body, &options).await })
        })
        .await
    }

    async fn patch(
        &self,
        id: &ObjectId,
        subresource: Option<&str>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let mut call = self.facts(Verb::Patch, &id.resource, id.namespace.as_deref(), &id.name);
        call.subresource = subresource.unwrap_or_default().to_owned();
        call.body = Arc::new(match &patch {
            Patch::Merge(body) | Patch::Json(body) | Patch::Strategic(body) | Patch::Apply { body, .. } => body.clone(),
        });
        call.dry_run = options.dry_run;
        let (id, options) = (id.clone(), options.clone());
        let subresource = subresource.map(str::to_owned);
        self.call(call, move |client| {
            let (id, subresource) = (id.clone(), subresource.clone());
            let (patch, options) = (patch.clone(), options.clone());
            Box::pin(async move { client.patch(&id, subresource.as_deref(), patch, &options).await })
        })
        .await
    }

    async fn delete(&self, id: &ObjectId, options: &DeleteOptions) -> Result<(), Status> {
        let mut call = self.facts(Verb::Delete, &id.resource, id.namespace.as_deref(), &id.name);
        call.delete = Some(options.clone());
        let (id, options) = (id.clone(), options.clone());
        self.call(call, move |client| {
            let (id, options) = (id.clone(), options.clone());
            Box::pin(async move { client.delete(&id, &options).await })
        })
        .await
    }
}
