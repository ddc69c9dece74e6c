//! Runtimes beside the main one: threads for those whose work must not stand in the way of the control plane's.
//!
//! The main runtime has one thread: controllers, scheduler and node wait for each other, and handing work from thread to
//! thread costs more than a second one gains. Requests of clients, which do not, have threads of their own, and so have
//! virtual pods that start in a crowd: each of them does not wait for the others.

use std::io;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

/// A runtime whose tasks end with the parts that they are of.
#[derive(Debug)]
pub(crate) struct Beside(Option<Runtime>);

impl Beside {
    /// For clients' requests and watches, and for crowds of virtual pods.
    pub(crate) fn front() -> io::Result<Self> {
        Self::start("front", crate::FRONT_THREADS, 0)
    }

    /// For what nobody waits for (docs/decisions/0023): one thread that gets what the others leave. What falls behind is
    /// caught up with in fewer, larger steps.
    pub(crate) fn background() -> io::Result<Self> {
        Self::start("background", 1, 10)
    }

    /// `nicer` is how much lower the priority of its threads is, in steps of `nice`.
    fn start(name: &'static str, threads: usize, nicer: i32) -> io::Result<Self> {
        let lower = move || {
            // Linux knows priorities of threads; without one they are as fast as the others.
            let nice = rustix::process::getpriority_process(None).unwrap_or_default();
            if let Err(error) = rustix::process::setpriority_process(None, nice + nicer) {
                tracing::debug!(%error, name, "threads have the priority of everything else");
            }
        };
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name(name).enable_all();
        if nicer != 0 {
            builder.on_thread_start(lower);
        }
        Ok(Self(Some(builder.build()?)))
    }

    /// Where tasks are spawned.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }

    /// What is spawned while the guard lives runs here.
    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.handle().map(Handle::enter)
    }
}

impl Drop for Beside {
    /// Does not wait, which async code must not.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
