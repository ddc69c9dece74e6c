//! The Job controller: obeys `controllers_core::job::plan`.

use std::sync::Arc;

use controllers_core::job::{FINALIZER, JobFacts, KIND, View, plan};
use controllers_core::words::controller_of;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};

use crate::Parts;
use crate::run::Controller;
use crate::workload::{Desk, Known, Memory, follow, matters, near_pods, wake_all, wake_on_relief, wake_owner};

struct JobController {
    desk: Desk,
    clock: Arc<dyn Clock>,
    jobs: Informer<Known<JobFacts>>,
    pods: Informer<Pod>,
    quotas: Informer<ResourceQuota>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(JobController {
        desk: Desk::of(parts, "job-controller"),
        clock: Arc::clone(&parts.clock),
        jobs: parts.informers.of(),
        pods: parts.informers.of(),
        quotas: parts.informers.of(),
        queue: parts.queue(),
    });
}

impl Controller for JobController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.jobs.synced().await;
        self.pods.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        follow(&self.jobs, &self.queue);
        wake_on_relief(&self.quotas, &self.jobs, &self.queue);
        let this = Arc::clone(self);
        self.pods.on_change(move |change| this.pod_changed(change));
    }

    fn wake_all(&self) {
        wake_all(&self.jobs, &self.queue);
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.settle(&self.jobs, &key.namespace).await && memory.settle(&self.pods, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let Some(job) = self.jobs.get(&key.namespace, &key.name) else {
            return self.release_orphans(key).await;
        };
        let job = &job.value.0;
        let near = near_pods(&self.pods, job);
        let view = View { job, pods: near.iter().map(|pod| &*pod.value).collect() };
        let plan = plan(&view, self.clock.now());
        Some(self.desk.obey(&job.subject, &plan, memory).await)
    }
}

impl JobController {
    fn pod_changed(&self, change: &Change<Pod>) {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && !matters(before, after)
            && before.metadata.finalizers == after.metadata.finalizers
        {
            return;
        }
        for pod in [&change.before, &change.after].into_iter().flatten() {
            wake_owner(&self.jobs, &self.queue, &pod.metadata);
            // A Job that is gone may have left pods that still wait to be counted.
            if let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == KIND.kind) {
                self.queue.add(Key::new(pod.namespace(), &owner.name));
            }
        }
    }

    /// Takes the finalizer off pods whose Job is gone: nobody will count them.
    async fn release_orphans(&self, key: &Key) -> Option<Outcome> {
        let api = crate::act::Api::new(&self.desk.client, &key.namespace);
        let is_left = |pod: &Pod| {
            let owner = controller_of(&pod.metadata);
            let held = pod.metadata.finalizers.iter().flatten().any(|found| found == FINALIZER);
            held && owner.is_some_and(|owner| owner.kind == KIND.kind && owner.name == key.name)
        };
        let mut failed = false;
        for pod in self.pods.matching(Some(&key.namespace), is_left) {
            // The cache may be behind; whether the Job is gone is asked of the API (S9).
            let owner = controller_of(&pod.metadata).map(|owner| owner.uid.as_str()).unwrap_or_default();
            match api.get(KIND.resource.clone(), &key.name).await {
                Ok(job) if job.uid().0 == owner => continue,
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(_) => {
                    failed = true;
                    continue;
                }
            }
            let write = controllers_core::job::without_finalizer(&pod.value);
            failed |= self.desk.write(&api, &write).await.is_err_and(|error| !error.is_not_found());
        }
        failed.then_some(Outcome::Failed)
    }
}
