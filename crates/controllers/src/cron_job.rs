//! The CronJob controller: obeys `controllers_core::cron_job::plan`.

use std::sync::Arc;

use controllers_core::cron_job::{CronJobFacts, Ending, JobSeen, View, plan};
use controllers_core::job::JobFacts;
use informer::{Cacheable, Change, Clock, Informer, Key, Outcome, WorkQueue};

use crate::Parts;
use crate::run::Controller;
use crate::workload::{Desk, Known, Memory, follow, named, wake_all};

struct CronJobController {
    desk: Desk,
    clock: Arc<dyn Clock>,
    cron_jobs: Informer<Known<CronJobFacts>>,
    jobs: Informer<Known<JobFacts>>,
    queue: Arc<WorkQueue<Key>>,
}

/// Starts the controller.
pub(crate) fn start(parts: &Parts) {
    parts.run(CronJobController {
        desk: Desk::of(parts, "cronjob-controller"),
        clock: Arc::clone(&parts.clock),
        cron_jobs: parts.informers.of(),
        jobs: parts.informers.of(),
        queue: parts.queue(),
    });
}

impl Controller for CronJobController {
    type Key = Key;
    type Memory = Memory;

    fn queue(&self) -> &Arc<WorkQueue<Key>> {
        &self.queue
    }

    async fn synced(&self) {
        self.cron_jobs.synced().await;
        self.jobs.synced().await;
    }

    fn listen(self: &Arc<Self>) {
        follow(&self.cron_jobs, &self.queue);
        let this = Arc::clone(self);
        self.jobs.on_change(move |change| this.job_changed(change));
    }

    fn wake_all(&self) {
        wake_all(&self.cron_jobs, &self.queue);
    }

    async fn settle(&self, key: &Key, memory: &mut Memory) -> bool {
        memory.settle(&self.cron_jobs, &key.namespace).await && memory.settle(&self.jobs, &key.namespace).await
    }

    async fn look(&self, key: &Key, memory: &mut Memory) -> Option<Outcome> {
        let cron_job = self.cron_jobs.get(&key.namespace, &key.name)?;
        let cron_job = &cron_job.value.0;
        let uid = &cron_job.subject.uid.0;
        let own = self.jobs.owned_by(uid);
        let own = own.iter().filter(|job| job.value.0.subject.controller().is_some_and(|owner| owner.uid == *uid));
        let view = View { cron_job, jobs: own.map(|job| seen(&job.value.0)).collect() };
        let plan = plan(&view, self.clock.now());
        Some(self.desk.obey(&cron_job.subject, &plan, memory).await)
    }
}

impl CronJobController {
    fn job_changed(&self, change: &Change<Known<JobFacts>>) {
        for job in [&change.before, &change.after].into_iter().flatten() {
            let owner = job.value.0.subject.controller();
            if let Some(key) = owner.and_then(|owner| named(&self.cron_jobs, job.namespace(), owner)) {
                self.queue.add(key);
            }
        }
    }
}

fn seen(job: &JobFacts) -> JobSeen<'_> {
    let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.as_ref().map(|time| time.0);
    JobSeen {
        subject: &job.subject,
        ending: job.finished().map(|end| if end.kind == "Complete" { Ending::Complete } else { Ending::Failed }),
        started: time(&job.status.start_time),
        completed: time(&job.status.completion_time),
    }
}
