//! Async shell of the scheduler.
//!
//! Here lives the acting half: caches tell what changed, `scheduler-core` decides, the calls go out many at a time and
//! their outcomes go back to the core. What is not here: decisions. The loop is woken by events, by answers and by the
//! core's own deadlines, never by a period. Start with [`Scheduler::start`].

mod act;
mod dirty;

use std::collections::VecDeque;
use std::sync::Arc;

use client::Client;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use informer::{Clock, EventRecorder, Informers, events};
use scheduler_core::Action;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use act::Actor;
use dirty::Dirty;

/// Most calls under way at once; further ones wait their turn in order.
const CALLS_MAX: usize = 64;

/// The running scheduler.
#[derive(Debug)]
pub struct Scheduler {
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Scheduler {
    /// Starts to place pods; returns at once, caches fill in the background. Stops with `cancel`.
    ///
    /// `client` acts as `system:kube-scheduler`. Events are written on `background`, if there is one.
    pub fn start(
        client: Arc<dyn Client>,
        informers: Informers,
        clock: Arc<dyn Clock>,
        background: Option<&Handle>,
        cancel: &CancellationToken,
    ) -> Self {
        let cancel = cancel.child_token();
        let tasks = TaskTracker::new();
        let source = events::Source::component("default-scheduler");
        let recorder = {
            let _there = background.map(Handle::enter);
            EventRecorder::start(Arc::clone(&client), source, Arc::clone(&clock), &tasks, cancel.clone())
        };
        let actor = Actor { client, recorder, clock: Arc::clone(&clock), pods: informers.of() };
        let dirty = Dirty::follow(&informers);
        let stop = cancel.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = run(actor, dirty, clock) => {}
            }
        });
        tasks.close();
        Self { tasks, cancel }
    }

    /// Stops and waits. A call that is under way happens wholly or not at all; what was assumed is read anew at the
    /// next start.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

/// Feeds the core and obeys it, for ever. If dropped, calls under way happen or not; nothing else is lost.
async fn run(actor: Actor, dirty: Dirty, clock: Arc<dyn Clock>) {
    dirty.synced().await;
    let mut core = scheduler_core::Scheduler::default();
    let mut waiting: VecDeque<Action> = VecDeque::new();
    let mut calls = FuturesUnordered::new();
    loop {
        dirty.feed(&mut core);
        waiting.extend(core.poll_actions(clock.now()));
        while calls.len() < CALLS_MAX
            && let Some(action) = waiting.pop_front()
        {
            calls.push(actor.act(action));
        }
        let deadline = core.next_deadline();
        let sleep = async {
            match deadline {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some((action, outcome)) = calls.next(), if !calls.is_empty() => {
                core.outcome(&action, &outcome, clock.now());
            }
            () = dirty.changed() => {}
            () = sleep => {}
        }
    }
}
