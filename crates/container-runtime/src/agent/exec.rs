//! The agent's end of an exec: pipes or a terminal, carried to channels.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

use super::connection::Command;
use crate::wire::{ExecRequest, RequestBody};
use crate::{ExecExit, ExecSession, ExecSpec, TerminalSize};

/// Pieces of a stream that wait for their reader.
const PIECES_MAX: usize = 16;
/// Longest piece of a stream, in bytes.
const PIECE_BYTES_MAX: usize = 32 * 1024;
/// How long a stream that somebody else holds open is waited for after the program's end, without a byte.
const IDLE_LIMIT: Duration = Duration::from_millis(500);

/// Both ends of the program's streams.
pub(super) struct Streams {
    /// For the program: stdin, stdout, stderr, as far as asked for.
    pub(super) theirs: Vec<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Streams {
    /// Pipes for what is asked for; none with a terminal.
    pub(super) fn new(spec: &ExecSpec) -> io::Result<Self> {
        let mut streams = Self { theirs: Vec::new(), stdin: None, stdout: None, stderr: None };
        if spec.tty {
            return Ok(streams);
        }
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        if spec.stdin {
            let (read, write) = pipe()?;
            streams.theirs.push(read);
            streams.stdin = Some(write);
        }
        for (wanted, ours) in [(spec.stdout, &mut streams.stdout), (spec.stderr, &mut streams.stderr)] {
            if wanted {
                let (read, write) = pipe()?;
                streams.theirs.push(write);
                *ours = Some(read);
            }
        }
        Ok(streams)
    }

    /// Starts the tasks that carry the streams, and the one that watches for the end.
    pub(super) fn session(
        self,
        spec: &ExecSpec,
        terminal: Option<OwnedFd>,
        ended: oneshot::Receiver<i32>,
        kill: Kill,
    ) -> io::Result<ExecSession> {
        let (over, is_over) = watch::channel(false);
        let (mut stdin, mut stdout, mut stderr, mut resize) = (self.stdin, self.stdout, self.stderr, None);
        if let Some(master) = terminal {
            stdin = spec.stdin.then(|| master.try_clone()).transpose()?;
            stdout = Some(master.try_clone()?);
            stderr = None;
            let (sizes, wanted) = mpsc::channel(PIECES_MAX);
            tokio::spawn(follow_size(master, wanted));
            resize = Some(sizes);
        }
        let mut readers = Vec::new();
        let mut read = |fd: Option<OwnedFd>| -> io::Result<Option<mpsc::Receiver<Bytes>>> {
            let Some(fd) = fd else { return Ok(None) };
            let (pieces, output) = mpsc::channel(PIECES_MAX);
            readers.push(tokio::spawn(carry_out(nonblocking(fd)?, pieces, is_over.clone())));
            Ok(Some(output))
        };
        let (stdout, stderr) = (read(stdout)?, read(stderr)?);
        let stdin = match stdin {
            None => None,
            Some(fd) => {
                let (input, pieces) = mpsc::channel(PIECES_MAX);
                tokio::spawn(carry_in(nonblocking(fd)?, pieces));
                Some(input)
            }
        };
        let (exit, exited) = oneshot::channel();
        tokio::spawn(watch_end(ended, kill, spec.timeout, over, readers, exit));
        Ok(ExecSession { stdin, stdout, stderr, resize, exit: exited })
    }
}

/// How to kill the program.
pub(super) struct Kill {
    pub(super) exec: u64,
    pub(super) commands: mpsc::Sender<Command>,
}

impl Kill {
    async fn kill(&self) {
        let (reply, _) = oneshot::channel();
        let body = RequestBody::KillExec { exec: self.exec };
        let _ = self.commands.send(Command::Ask { body, fds: Vec::new(), reply }).await;
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(fd.as_fd(), true)?;
    super::watch_fd(fd, Interest::READABLE | Interest::WRITABLE)
}

/// Carries output until its end, or, after the program's end, until nothing comes any more.
async fn carry_out(fd: AsyncFd<OwnedFd>, pieces: mpsc::Sender<Bytes>, mut is_over: watch::Receiver<bool>) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        let piece = fd.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut buffer[..])?));
        let ended = async {
            // The sender lives until the session's end.
            let _ = is_over.wait_for(|over| *over).await;
            tokio::time::sleep(IDLE_LIMIT).await;
        };
        let count = tokio::select! {
            biased;
            count = piece => count,
            () = ended => return,
        };
        match count {
            Ok(count) if count > 0 => {
                if pieces.send(Bytes::copy_from_slice(&buffer[..count])).await.is_err() {
                    return;
                }
            }
            // A terminal whose last user is gone answers with an error.
            Ok(_) | Err(_) => return,
        }
    }
}

async fn carry_in(fd: AsyncFd<OwnedFd>, mut pieces: mpsc::Receiver<Bytes>) {
    while let Some(mut piece) = pieces.recv().await {
        while !piece.is_empty() {
            let written = fd.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, &piece)?)).await;
            match written {
                Ok(count) => drop(piece.split_to(count)),
                Err(_) => return,
            }
        }
    }
}

async fn follow_size(master: OwnedFd, mut sizes: mpsc::Receiver<TerminalSize>) {
    while let Some(size) = sizes.recv().await {
        let size = libc::winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, the value outlives the call.
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    }
}

/// Waits for the program's end, its time limit, or nobody's interest.
async fn watch_end(
    mut ended: oneshot::Receiver<i32>,
    kill: Kill,
    limit: Option<Duration>,
    over: watch::Sender<bool>,
    readers: Vec<tokio::task::JoinHandle<()>>,
    mut exit: oneshot::Sender<ExecExit>,
) {
    let time_over = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let gone = || ExecExit::Failed("the container went away".to_owned());
    let result = tokio::select! {
        biased;
        code = &mut ended => code.map_or_else(|_| gone(), ExecExit::Code),
        () = exit.closed() => {
            kill.kill().await;
            return;
        }
        () = time_over => {
            kill.kill().await;
            let _ = ended.await;
            ExecExit::TimedOut
        }
    };
    over.send_replace(true);
    for reader in readers {
        let _ = reader.await;
    }
    let _ = exit.send(result);
}

pub(super) fn request(spec: &ExecSpec) -> ExecRequest {
    ExecRequest {
        args: spec.args.clone(),
        env: spec.env.clone(),
        stdin: spec.stdin,
        stdout: spec.stdout,
        stderr: spec.stderr && !spec.tty,
        tty: spec.tty,
    }
}
