//! Async shells of the controllers.
//!
//! Here lives the acting half: each controller takes a key from its queue, makes sure that its caches have seen its own
//! last writes (D6), builds the view, asks `controllers-core` for the plan, carries it out through the API under its own
//! user name, and reports what became of it. What is not here: decisions. Wakes come from events only; the one periodic
//! look ([`Config::resync`]) is a safety net. Start with [`Controllers::start`]; the loop they share is in `run`.

mod act;
mod cron_job;
mod daemon_set;
mod dependents;
mod deployment;
mod disruption;
mod endpoints;
mod figures;
mod garbage_collector;
mod job;
mod kinds;
mod namespaces;
mod persistent_volumes;
mod pod_collector;
mod replica_set;
mod run;
mod seen;
mod service_accounts;
mod stateful_set;
mod taint_eviction;
mod workload;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Client;
pub use controllers_core::stateful_set::HealRollout;
use controllers_core::stateful_set::Plan;
pub use figures::Figures;
use informer::{Clock, EventRecorder, Informers, events};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the controllers run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Absolute path of the folder below which provisioned volumes live on the node (`<data>/volumes`).
    pub volume_root: PathBuf,
    /// PEM of the cluster's CA, published in each namespace as `kube-root-ca.crt`.
    pub root_ca_pem: String,
    /// Keys that one controller works on at once.
    pub workers: NonZeroUsize,
    /// Period of the safety net that looks at everything again.
    pub resync: Duration,
    /// Whether rollouts of StatefulSets that say nothing about it are healed (docs/decisions/0016).
    pub heal_rollout: HealRollout,
    /// Who is shown the plans.
    pub on_plan: PlanObserver,
    /// Where those controllers run that no pod waits for, if not with the others.
    pub background: Option<Handle>,
}

/// Is shown each plan of a StatefulSet before it is carried out; by default nobody is. For the simulator, which counts
/// what was reached.
#[derive(Clone, Default)]
pub struct PlanObserver(Option<Arc<ObservePlan>>);

/// What an observer does with a plan.
type ObservePlan = dyn Fn(&Plan) + Send + Sync;

impl PlanObserver {
    /// Shows each plan to `look`.
    pub fn new(look: impl Fn(&Plan) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(look)))
    }

    pub(crate) fn show(&self, plan: &Plan) {
        if let Some(look) = &self.0 {
            look(plan);
        }
    }
}

impl std::fmt::Debug for PlanObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlanObserver")
    }
}

impl Config {
    /// The usual numbers: 16 keys at once, a look at everything every 12 hours (C-9), no healing.
    pub fn standard(volume_root: PathBuf, root_ca_pem: String) -> Self {
        const WORKERS: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not zero");
        Self {
            volume_root,
            root_ca_pem,
            workers: WORKERS,
            resync: Duration::from_secs(12 * 3600),
            heal_rollout: HealRollout::Off,
            on_plan: PlanObserver::default(),
            background: None,
        }
    }
}

/// Makes a client that acts under a user name.
pub type ClientFactory = Arc<dyn Fn(&str) -> Arc<dyn Client> + Send + Sync>;

/// What every controller is given.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) informers: Informers,
    pub(crate) clients: ClientFactory,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
    pub(crate) config: Config,
}

impl Parts {
    /// A client that acts as a controller's service account in `kube-system`.
    pub(crate) fn client(&self, controller: &str) -> Arc<dyn Client> {
        (self.clients)(&format!("system:serviceaccount:kube-system:{controller}"))
    }

    pub(crate) fn recorder(&self, client: &Arc<dyn Client>, component: &str) -> EventRecorder {
        let _there = self.config.background.as_ref().map(Handle::enter);
        EventRecorder::start(
            Arc::clone(client),
            events::Source::component(component),
            Arc::clone(&self.clock),
            &self.tasks,
            self.cancel.clone(),
        )
    }
}

/// The running controllers.
#[derive(Debug)]
pub struct Controllers {
    figures: Figures,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Controllers {
    /// Starts all controllers; they stop with `cancel`. Returns at once: caches fill in the background.
    pub fn start(
        clients: ClientFactory,
        informers: Informers,
        clock: Arc<dyn Clock>,
        config: Config,
        cancel: &CancellationToken,
    ) -> Self {
        let cancel = cancel.child_token();
        let tasks = TaskTracker::new();
        let parts = Parts { informers, clients, clock, tasks: tasks.clone(), cancel: cancel.clone(), config };
        let figures = Figures::new(&parts.informers, Arc::clone(&parts.clock));
        stateful_set::start(&parts);
        replica_set::start(&parts);
        deployment::start(&parts);
        disruption::start(&parts);
        daemon_set::start(&parts);
        job::start(&parts);
        cron_job::start(&parts);
        pod_collector::start(&parts);
        taint_eviction::start(&parts);
        persistent_volumes::start(&parts);
        service_accounts::start(&parts);
        // Last: caches that others read, too, are filled where those are. What is spawned from here on goes there.
        let _there = parts.config.background.as_ref().map(Handle::enter);
        let things = dependents::Things::start(&parts.informers);
        endpoints::start(&parts);
        garbage_collector::start(&parts, things.clone());
        namespaces::start(&parts, things);
        tasks.close();
        Self { figures, tasks, cancel }
    }

    /// What they show in `/metrics`.
    pub fn figures(&self) -> Figures {
        self.figures.clone()
    }

    /// Stops all controllers and waits for them. A write that is under way happens wholly or not at all.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_looked_at_again_twice_a_day_and_nothing_hangs_on_it() {
        // C-9, C-1.
        let config = Config::standard(PathBuf::from("/v"), String::new());
        assert_eq!((config.resync, config.workers.get()), (Duration::from_secs(12 * 3600), 16));
        assert_eq!(config.heal_rollout, HealRollout::Off, "healing is asked for");
    }
}
