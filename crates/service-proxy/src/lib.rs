//! Services and EndpointSlices to the node's service rules.
//!
//! Here lives the decision which connection goes where (`plan`) and the task that keeps the node's rules at it. What is
//! not here: the rules themselves (`pod-network`) and who is an endpoint (`controllers-core`). Start with [`start`].

mod plan;

use std::sync::Arc;
use std::time::Duration;

use informer::Informers;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pod_network::PodNetwork;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause before a refused ruleset is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the node's service rules at what the services and slices say, until cancelled.
pub fn start(informers: &Informers, network: Arc<dyn PodNetwork>, tasks: &TaskTracker, cancel: CancellationToken) {
    let services = informers.of::<Service>();
    let slices = informers.of::<EndpointSlice>();
    tasks.spawn(async move {
        let (mut services_change, mut slices_change) = (services.changes(), slices.changes());
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = async { services.synced().await; slices.synced().await } => {}
        }
        let mut applied = None;
        let mut retry = false;
        loop {
            services_change.mark_unchanged();
            slices_change.mark_unchanged();
            let (all_services, all_slices) = (services.list(), slices.list());
            let wanted = plan::plan(all_services.iter().map(|s| &***s), all_slices.iter().map(|s| &***s));
            if applied.as_ref() != Some(&wanted) {
                match network.set_services(&wanted).await {
                    Ok(()) => {
                        applied = Some(wanted);
                        retry = false;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the service rules are not applied");
                        retry = true;
                    }
                }
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = services_change.changed() => {}
                () = slices_change.changed() => {}
                () = tokio::time::sleep(RETRY), if retry => {}
            }
        }
    });
}
