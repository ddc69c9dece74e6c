//! Who is connected to the helper.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use super::super::exec;
use super::{Connection, Pending, Pod};
use crate::error::Refusal;
use crate::wire::{Hello, Message, Outgoing, PROTOCOL, Receiver, Reply, Sender};

/// Agents connected at the same time; one is usual, two during a restart.
const CONNECTIONS_MAX: usize = 8;
/// An agent that does not read is dropped when this much waits for it; it connects again and is told everything.
const UNSENT_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Pod {
    pub(super) fn accept(&mut self) {
        while let Ok((socket, _)) = self.ready.listener.accept() {
            if self.connections.len() < CONNECTIONS_MAX {
                self.connect(socket.into());
            }
        }
    }

    pub(super) fn connect(&mut self, socket: OwnedFd) {
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        let id = self.next_connection;
        self.next_connection += 1;
        let hello = Hello {
            protocol: PROTOCOL,
            pid: exec::host_pid(&self.ready.host_proc, rustix::process::getpid().as_raw_nonzero().get()).unwrap_or(0),
            started_at: self.started_at,
            has_netns: !self.spawn.spec.host_network,
            containers: self.containers.values().filter(|h| h.removing.is_none()).map(|h| h.status.clone()).collect(),
        };
        let mut fds = Vec::new();
        let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty());
        fds.extend(own);
        if hello.has_netns {
            fds.extend(fs::File::open("/proc/self/ns/net").map(OwnedFd::from));
        }
        let mut connection = Connection { id, socket, receiver: Receiver::default(), sender: Sender::default() };
        if let Ok(frame) = Outgoing::new(&Message::Hello(Box::new(hello)), fds) {
            connection.sender.push(frame);
        }
        self.connections.push(connection);
    }

    pub(super) fn disconnect(&mut self, id: u64) {
        self.connections.retain(|c| c.id != id);
        // Whoever ran these programs is gone, and their streams with it.
        for running in self.execs.iter().filter(|running| running.connection == id) {
            exec::kill(running.pid);
        }
    }

    pub(super) fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else { return };
        match connection.receiver.fill(connection.socket.as_fd()) {
            Ok(0) => return self.disconnect(id),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => return self.disconnect(id),
        }
        loop {
            let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else { return };
            match connection.receiver.next::<serde_json::Value>() {
                Ok(None) => return,
                Ok(Some((request, fds))) => self.request(id, request, fds),
                Err(_) => return self.disconnect(id),
            }
        }
    }

    pub(super) fn send(&mut self, connection: u64, message: &Message, fds: Vec<OwnedFd>) {
        let Ok(frame) = Outgoing::new(message, fds) else { return };
        if let Some(connection) = self.connections.iter_mut().find(|c| c.id == connection) {
            connection.sender.push(frame);
        }
    }

    pub(super) fn tell_all(&mut self, message: &Message) {
        for index in 0..self.connections.len() {
            self.send(self.connections[index].id, message, Vec::new());
        }
    }

    pub(super) fn answer(&mut self, pending: Pending, result: Result<Reply, Refusal>, fds: Vec<OwnedFd>) {
        self.send(pending.connection, &Message::Reply { id: pending.request, result }, fds);
    }

    pub(super) fn flush(&mut self) {
        let mut lost = Vec::new();
        for connection in &mut self.connections {
            let failed = connection.sender.flush(connection.socket.as_fd()).is_err();
            if failed || connection.sender.queued_bytes() > UNSENT_BYTES_MAX {
                lost.push(connection.id);
            }
        }
        for id in lost {
            self.disconnect(id);
        }
    }
}
