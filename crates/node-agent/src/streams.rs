//! The node's half of `logs` and `exec`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use client::{ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams};
use container_runtime::{ContainerId, ExecSpec};
use futures::StreamExt;
use futures::stream::BoxStream;
use meta::{Status, Timestamp, Uid};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::handles::{Handle, Handles};
use crate::logs::{FolderWatch, LogReader, Wanted};
use crate::pod::PodView;
use crate::sandbox::sentence;

/// Implements [`NodeStreams`] for the pods of this machine's node, and of virtual ones.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) handles: Vec<Handles>,
    pub(crate) tasks: TaskTracker,
}

impl Streams {
    fn handle(&self, uid: &Uid, name: &str) -> Result<Handle, Status> {
        let found = self.handles.iter().find_map(|handles| handles.get(uid));
        let handle = found.ok_or_else(|| Status::not_found(&api::resources::PODS, name))?;
        if handle.shared.is_virtual() {
            let node = &handle.shared.config.node_name;
            return Err(Status::bad_request(format!(
                "pod {name:?} is on the virtual node {node:?}: no process runs there, so there is no log to read and \
                 nothing to exec into; a nodeSelector or affinity keeps pods on real nodes"
            )));
        }
        Ok(handle)
    }
}

#[async_trait]
impl NodeStreams for Streams {
    async fn logs(&self, request: LogRequest) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let handle = self.handle(&request.pod_uid, &request.pod)?;
        let attempt = attempt(&handle.view.borrow(), &request)?;
        let wanted = wanted(&request, handle.shared.now())?;
        let path = handle.shared.log_path(&handle.pod, &request.container, attempt);
        let reader = LogReader::new(path.clone(), wanted).map_err(|error| Status::internal(&error))?;
        let follow = if request.follow && !request.previous {
            let folder = path.parent().unwrap_or(&path);
            Some(Follow {
                folder: FolderWatch::new(folder),
                view: handle.view.clone(),
                container: request.container.clone(),
                attempt,
            })
        } else {
            None
        };
        let state = Reading { reader, follow, is_over: false };
        Ok(futures::stream::unfold(state, Reading::next).boxed())
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, Status> {
        let handle = self.handle(&request.pod_uid, &request.pod)?;
        let view = handle.view.borrow().clone();
        let id = match view.containers.get(&request.container) {
            None => return Err(not_valid(&request.container, &request.pod)),
            Some(known) => known.running.clone(),
        };
        let Some(id) = id else {
            return Err(Status::bad_request(format!("container not found ({:?})", request.container)));
        };
        let spec = ExecSpec {
            args: request.command.clone(),
            env: Vec::new(),
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr && !request.tty,
            tty: request.tty,
            timeout: None,
        };
        let session = handle.shared.parts.runtime.exec(&request.pod_uid, &ContainerId(id), spec).await;
        let session = session.map_err(|error| Status::internal(sentence(&error)))?;
        Ok(self.bridge(session))
    }
}

impl Streams {
    /// The runtime's session as the API server's: the same ends, other words for size and exit.
    fn bridge(&self, session: container_runtime::ExecSession) -> ExecSession {
        let (sent, exit) = oneshot::channel();
        let from = session.exit;
        self.tasks.spawn(async move {
            let mut sent = sent;
            tokio::select! {
                biased;
                // The API server has dropped the session: dropping the runtime's end kills the program.
                () = sent.closed() => {}
                ended = from => {
                    let ended = match ended {
                        Ok(container_runtime::ExecExit::Code(code)) => ExecExit::Code(code),
                        Ok(container_runtime::ExecExit::Failed(why)) => ExecExit::Failed(why),
                        Ok(container_runtime::ExecExit::TimedOut) => ExecExit::Failed("timed out".to_owned()),
                        Err(_) => ExecExit::Failed("the container went away".to_owned()),
                    };
                    let _nobody_waits = sent.send(ended);
                }
            }
        });
        let resize = session.resize.map(|sizes| {
            let (sent, mut wanted) = mpsc::channel::<client::TerminalSize>(4);
            self.tasks.spawn(async move {
                while let Some(size) = wanted.recv().await {
                    let size = container_runtime::TerminalSize { width: size.width, height: size.height };
                    if sizes.send(size).await.is_err() {
                        return;
                    }
                }
            });
            sent
        });
        ExecSession { stdin: session.stdin, stdout: session.stdout, stderr: session.stderr, resize, exit }
    }
}

fn not_valid(container: &str, pod: &str) -> Status {
    Status::bad_request(format!("container {container} is not valid for pod {pod}"))
}

/// Which instance's log is meant.
fn attempt(view: &PodView, request: &LogRequest) -> Result<u32, Status> {
    let (container, pod) = (&request.container, &request.pod);
    let known = view.containers.get(container).ok_or_else(|| not_valid(container, pod))?;
    if request.previous {
        return known.previous.ok_or_else(|| {
            Status::bad_request(format!("previous terminated container {container:?} in pod {pod:?} not found"))
        });
    }
    known.current.ok_or_else(|| {
        let why = known.waiting.unwrap_or("ContainerCreating");
        let verb = match why {
            "ContainerCreating" | "PodInitializing" => format!("is waiting to start: {why}"),
            why => format!("is waiting to start: {}", waiting_text(why)),
        };
        Status::bad_request(format!("container {container:?} in pod {pod:?} {verb}"))
    })
}

/// Upstream tells image trouble in words of its own.
fn waiting_text(reason: &str) -> &str {
    match reason {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    }
}

fn wanted(request: &LogRequest, now: Timestamp) -> Result<Wanted, Status> {
    let since = match (&request.since_time, request.since_secs) {
        (Some(text), _) => {
            Some(text.parse::<Timestamp>().map_err(|error| Status::bad_request(format!("sinceTime: {error}")))?)
        }
        (None, Some(secs)) => now.checked_sub(Duration::from_secs(u64::try_from(secs).unwrap_or(0))).ok(),
        (None, None) => None,
    };
    let size = |value: Option<i64>| value.and_then(|value| usize::try_from(value).ok());
    Ok(Wanted {
        since,
        tail_lines: size(request.tail_lines),
        limit_bytes: size(request.limit_bytes),
        timestamps: request.timestamps,
    })
}

struct Follow {
    folder: FolderWatch,
    view: watch::Receiver<PodView>,
    container: String,
    attempt: u32,
}

impl Follow {
    /// True while the instance may write more.
    fn is_alive(&self) -> bool {
        let view = self.view.borrow();
        let known = view.containers.get(&self.container);
        self.view.has_changed().is_ok()
            && known.is_some_and(|known| known.running.is_some() && known.current == Some(self.attempt))
    }
}

struct Reading {
    reader: LogReader,
    follow: Option<Follow>,
    is_over: bool,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Bytes, Status>, Self)> {
        loop {
            if self.is_over {
                return None;
            }
            // Asked before the read: what was written before the end is read after it.
            let was_alive = self.follow.as_ref().is_some_and(Follow::is_alive);
            match self.reader.read() {
                Err(error) => {
                    self.is_over = true;
                    return Some((Err(Status::internal(&error)), self));
                }
                Ok(piece) if !piece.is_empty() => return Some((Ok(piece), self)),
                Ok(_) => {}
            }
            let Some(follow) = self.follow.as_mut().filter(|_| was_alive && !self.reader.is_full()) else {
                self.is_over = true;
                continue;
            };
            let Follow { folder, view, .. } = follow;
            tokio::select! {
                biased;
                changed = view.changed() => if changed.is_err() { self.is_over = true },
                () = folder.changed() => {}
            }
        }
    }
}
