//! The agent's end of one helper: a task that owns the socket.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::POD_KILL_LIMIT;
use super::pod::PodEntry;
use crate::cgroup::Cgroups;
use crate::error::Refusal;
use crate::events::Events;
use crate::wire::{Hello, Message, Outgoing, Receiver, Reply, Request, RequestBody, Sender};
use crate::{RuntimeError, RuntimeEvent};

/// Requests that wait for the task.
pub(super) const COMMANDS_MAX: usize = 64;

/// What a helper answered, with the descriptors that came along.
pub(super) type Answer = (Result<Reply, Refusal>, Vec<OwnedFd>);

/// Something for the task to do.
pub(super) enum Command {
    /// Ask the helper.
    Ask { body: RequestBody, fds: Vec<OwnedFd>, reply: oneshot::Sender<Answer> },
    /// Tell when the exec of that number ends.
    Watch { exec: u64, ended: oneshot::Sender<i32> },
}

/// A connection whose hello has arrived.
pub(super) struct Connection {
    socket: AsyncFd<OwnedFd>,
    receiver: Receiver,
    pub(super) hello: Hello,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) netns: Option<OwnedFd>,
}

impl Connection {
    /// Waits for the helper's first word.
    ///
    /// # Errors
    /// [`RuntimeError::Sandbox`] if the helper says what went wrong or is too slow, [`RuntimeError::Helper`] if nobody
    /// is at the other end any more.
    pub(super) async fn greet(socket: OwnedFd, limit: Duration) -> Result<Self, RuntimeError> {
        let broken = |why: String| RuntimeError::Helper { doing: "wait for the pod's helper".to_owned(), why };
        let waiting = async {
            rustix::io::ioctl_fionbio(&socket, true)?;
            let socket = super::watch_fd(socket, Interest::READABLE | Interest::WRITABLE)?;
            let mut receiver = Receiver::default();
            loop {
                if let Some(frame) = receiver.next::<Message>()? {
                    return io::Result::Ok((socket, receiver, frame));
                }
                if fill(&socket, &mut receiver).await? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended"));
                }
            }
        };
        let (socket, receiver, (message, fds)) = tokio::time::timeout(limit, waiting)
            .await
            .map_err(|_| RuntimeError::Sandbox {
                doing: "wait for the pod's helper".to_owned(),
                why: format!("no word from it within {limit:?}"),
            })?
            .map_err(|error| broken(error.to_string()))?;
        match message {
            Message::Hello(hello) => {
                let mut fds = fds.into_iter();
                let pidfd = fds.next();
                let netns = if hello.has_netns { fds.next() } else { None };
                Ok(Self { socket, receiver, hello: *hello, pidfd, netns })
            }
            Message::Failed { doing, why } => Err(RuntimeError::Sandbox { doing, why }),
            other => Err(broken(format!("it began with {other:?}"))),
        }
    }
}

async fn fill(socket: &AsyncFd<OwnedFd>, receiver: &mut Receiver) -> io::Result<usize> {
    socket.async_io(Interest::READABLE, |fd| receiver.fill(fd.as_fd()).map_err(io::Error::from)).await
}

/// Carries requests and answers until the helper ends or the runtime is dropped. When the helper is gone, waits until
/// the kernel has confirmed the death of all its containers, and only then says so.
pub(super) async fn run(
    connection: Connection,
    mut commands: mpsc::Receiver<Command>,
    pod: Arc<PodEntry>,
    events: Arc<Events>,
    cgroups: Arc<Cgroups>,
) {
    let Connection { socket, mut receiver, pidfd, .. } = connection;
    let mut state = Exchange { pending: BTreeMap::new(), watched: BTreeMap::new(), sender: Sender::default(), next: 1 };
    loop {
        loop {
            match receiver.next::<Message>() {
                Ok(Some((message, fds))) => state.take(message, fds, &pod, &events).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(pod = %pod.uid, %error, "helper sent nonsense");
                    break;
                }
            }
        }
        tokio::select! {
            biased;
            count = fill(&socket, &mut receiver) => match count {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            },
            flushed = flush(&socket, &mut state.sender), if !state.sender.is_empty() => if flushed.is_err() { break },
            command = commands.recv() => match command {
                Some(command) => state.command(command),
                None => return,
            },
        }
    }
    drop(state);
    confirm_death(pidfd, &pod, &cgroups).await;
    drop(commands);
    let (deliberate, ends) = pod.died();
    for event in ends {
        events.publish(event).await;
    }
    if !deliberate {
        events.publish(RuntimeEvent::SandboxDied { pod: pod.uid.clone() }).await;
    }
}

async fn flush(socket: &AsyncFd<OwnedFd>, sender: &mut Sender) -> io::Result<()> {
    let send = |fd: &OwnedFd| match sender.flush(fd.as_fd()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    };
    socket.async_io(Interest::WRITABLE, send).await
}

/// The socket closes before the processes are gone; the helper's pidfd becomes readable after them.
async fn confirm_death(pidfd: Option<OwnedFd>, pod: &PodEntry, cgroups: &Arc<Cgroups>) {
    if let Some(pidfd) = pidfd
        && let Ok(pidfd) = super::watch_fd(pidfd, Interest::READABLE)
        && tokio::time::timeout(POD_KILL_LIMIT, pidfd.readable()).await.is_err()
    {
        tracing::warn!(pod = %pod.uid, "helper closed its socket but lives on; killing it");
        let _ = rustix::process::pidfd_send_signal(pidfd.get_ref(), rustix::process::Signal::KILL);
        let _ = pidfd.readable().await;
    }
    let (cgroups, group) = (Arc::clone(cgroups), pod.cgroup.clone());
    let empty = tokio::task::spawn_blocking(move || cgroups.kill(&group, POD_KILL_LIMIT)).await;
    if !matches!(empty, Ok(true)) {
        tracing::error!(pod = %pod.uid, "processes of a dead pod cannot be killed");
    }
}

struct Exchange {
    pending: BTreeMap<u64, oneshot::Sender<Answer>>,
    watched: BTreeMap<u64, oneshot::Sender<i32>>,
    sender: Sender,
    next: u64,
}

impl Exchange {
    fn command(&mut self, command: Command) {
        match command {
            Command::Watch { exec, ended } => {
                self.watched.insert(exec, ended);
            }
            Command::Ask { body, fds, reply } => {
                let id = self.next;
                self.next += 1;
                match Outgoing::new(&Request { id, body }, fds) {
                    Ok(frame) => {
                        self.sender.push(frame);
                        self.pending.insert(id, reply);
                    }
                    Err(error) => {
                        let _ = reply.send((Err(Refusal::Other(error.to_string())), Vec::new()));
                    }
                }
            }
        }
    }

    async fn take(&mut self, message: Message, fds: Vec<OwnedFd>, pod: &PodEntry, events: &Events) {
        match message {
            Message::Reply { id, result } => {
                if let Some(reply) = self.pending.remove(&id) {
                    let _ = reply.send((result, fds));
                }
            }
            Message::Exited { container, exit } => {
                if pod.container_exited(&container, &exit) {
                    let event = RuntimeEvent::ContainerExited { pod: pod.uid.clone(), container, exit };
                    events.publish(event).await;
                }
            }
            Message::ExecExited { exec, code } => {
                if let Some(ended) = self.watched.remove(&exec) {
                    let _ = ended.send(code);
                }
            }
            Message::Warning { text } => tracing::warn!(pod = %pod.uid, "{text}"),
            Message::Hello(_) | Message::Failed { .. } => {}
        }
    }
}
