//! Async shell of the scheduler.
//!
//! Here lives the acting half: caches tell what changed, `scheduler-core` decides, the calls go out many at a time and
//! their outcomes go back to the core. What is not here: decisions. The loop is woken by events, by answers and by the
//! core's own deadlines, never by a period. Start with [`Scheduler::start`].

mod act;
mod desk;
mod dirty;

use std::collections::VecDeque;
use std::sync::Arc;

use client::{Client, Placer};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use informer::{Clock, EventRecorder, Informers, events};
use scheduler_core::Action;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use act::Actor;
use desk::Desk;
use dirty::Dirty;

/// Most calls under way at once; further ones wait their turn in order.
const CALLS_MAX: usize = 64;

/// The running scheduler.
pub struct Scheduler {
    tasks: TaskTracker,
    cancel: CancellationToken,
    desk: Arc<Desk>,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("tasks", &self.tasks).finish_non_exhaustive()
    }
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
        let desk = Arc::new(Desk::new(Dirty::follow(&informers), cancel.clone()));
        let (stop, own_desk) = (cancel.clone(), Arc::clone(&desk));
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = run(actor, &own_desk, clock) => {}
            }
        });
        tasks.close();
        Self { tasks, cancel, desk }
    }

    /// Who places pods before they are stored: at once where no other pod has its turn first, and until this scheduler
    /// stops (decision 24).
    pub fn placer(&self) -> Arc<dyn Placer> {
        Arc::clone(&self.desk) as Arc<dyn Placer>
    }

    /// Stops and waits. A call that is under way happens wholly or not at all; what was assumed is read anew at the
    /// next start.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

/// Feeds the core and obeys it, for ever. If dropped, calls under way happen or not; nothing else is lost.
async fn run(actor: Actor, desk: &Desk, clock: Arc<dyn Clock>) {
    desk.open().await;
    let mut waiting: VecDeque<Action> = VecDeque::new();
    let mut calls = FuturesUnordered::new();
    loop {
        let polled = desk.ask(|core| (core.poll_actions(clock.now()), core.next_deadline()));
        let Some((actions, deadline)) = polled else { return };
        waiting.extend(actions);
        while calls.len() < CALLS_MAX
            && let Some(action) = waiting.pop_front()
        {
            calls.push(actor.act(action));
        }
        let sleep = async {
            match deadline {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some((action, outcome)) = calls.next(), if !calls.is_empty() => {
                desk.ask(|core| core.outcome(&action, &outcome, clock.now()));
            }
            () = desk.dirty.changed() => {}
            () = sleep => {}
        }
    }
}
