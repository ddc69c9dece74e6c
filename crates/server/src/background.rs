//! Threads for what nobody waits for: Endpoints, the garbage collector.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// How much lower the priority of the background's threads is, in steps of `nice`: they get what the others leave.
const NICER: i32 = 10;
/// One is enough: what falls behind is caught up with in fewer, larger steps.
const THREADS: usize = 1;

/// A runtime beside the main one, whose threads have a lower priority.
#[derive(Debug)]
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start() -> io::Result<Self> {
        let lower = || {
            // Linux knows priorities of threads; without one they are as fast as the others.
            let nice = rustix::process::getpriority_process(None).unwrap_or_default();
            if let Err(error) = rustix::process::setpriority_process(None, nice + NICER) {
                tracing::debug!(%error, "the background has the priority of everything else");
            }
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("background")
            .on_thread_start(lower)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where tasks are spawned.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Background {
    /// Does not wait: its tasks have ended with the parts that they are of.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
