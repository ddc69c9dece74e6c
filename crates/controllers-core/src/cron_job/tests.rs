use crate::testing::World;
use crate::writes::Verb;

use super::*;

static JOB: Kind = Kind { api_version: "batch/v1", kind: "Job", resource: JOBS };

struct Bed {
    world: World,
}

impl Bed {
    fn new(spec: Value) -> Self {
        let mut world = World::new();
        let mut body = json!({"metadata": {"name": "tick"}, "spec": {
            "schedule": "*/5 * * * *", "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}}});
        for (key, value) in spec.as_object().unwrap() {
            body["spec"][key] = value.clone();
        }
        world.create(&KIND.resource, body);
        Self { world }
    }

    fn plan(&self) -> Plan<Wait> {
        let cron_job = CronJobFacts::read(&self.world.json(&KIND.resource, "tick")).unwrap();
        let jobs: Vec<(Subject, Value)> = self
            .world
            .all(&JOBS)
            .into_iter()
            .map(|job| {
                let meta = serde_json::from_value(job["metadata"].clone()).unwrap();
                (Subject::of(&JOB, meta), job["status"].clone())
            })
            .collect();
        let seen = jobs.iter().map(|(subject, status)| JobSeen {
            subject,
            ending: match status["ended"].as_str() {
                Some("Complete") => Some(Ending::Complete),
                Some(_) => Some(Ending::Failed),
                None => None,
            },
            started: Some(subject.created),
            completed: status["at"].as_str().map(|at| at.parse().unwrap()),
        });
        plan(&View { cron_job: &cron_job, jobs: seen.collect() }, self.world.now)
    }

    fn settle(&mut self) {
        for _ in 0..10 {
            let plan = self.plan();
            self.world.events.extend(plan.notes.iter().map(|note| format!("{} {}", note.reason, note.message)));
            self.world.obey(&plan);
            if plan.is_settled() {
                return;
            }
        }
        panic!("settles: {:#?}", self.plan());
    }

    fn end(&mut self, job: &str, how: &str) {
        let now = crate::pods::stamp(self.world.now);
        self.world.edit(&JOBS, job, |job| job["status"] = json!({"ended": how, "at": now}));
    }

    fn jobs(&self) -> Vec<String> {
        self.world.names(&JOBS)
    }
}

/// 2026-01-01T00:00:00Z in minutes.
const START: i64 = 29_453_760;

#[test]
fn a_job_is_made_at_each_moment_and_once() {
    let mut bed = Bed::new(json!({}));
    bed.settle();
    assert!(bed.jobs().is_empty());
    let first = after(bed.world.now, 300).unwrap();
    assert_eq!((bed.plan().look_again, bed.plan().waits), (Some(first), vec![Wait::NotYet(first)]));
    bed.world.later(300);
    bed.settle();
    let name = format!("tick-{}", START + 5);
    assert_eq!(bed.jobs(), std::slice::from_ref(&name));
    let job = bed.world.get(&JOBS, &name);
    assert_eq!(job["metadata"]["annotations"][SCHEDULED], "2026-01-01T00:05:00Z");
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    let status = &bed.world.get(&KIND.resource, "tick")["status"];
    assert_eq!(
        (&status["lastScheduleTime"], &status["active"][0]["name"]),
        (&json!("2026-01-01T00:05:00Z"), &json!(name))
    );
    bed.world.later(299);
    bed.settle();
    assert_eq!(bed.jobs().len(), 1);
    bed.world.later(1);
    bed.settle();
    assert_eq!(bed.jobs().len(), 2);
}

#[test]
fn missed_moments_are_made_up_for_by_the_latest() {
    let mut bed = Bed::new(json!({}));
    bed.world.later(3600 * 24);
    bed.settle();
    assert_eq!(bed.jobs(), [format!("tick-{}", START + 1440)]);
    assert!(bed.world.events.iter().any(|event| event.starts_with("TooManyMissedTimes")));
}

#[test]
fn a_moment_past_its_deadline_is_missed() {
    let mut bed = Bed::new(json!({"startingDeadlineSeconds": 30}));
    bed.world.later(331);
    bed.settle();
    assert!(bed.jobs().is_empty());
    bed.world.later(300 - 31 + 20);
    bed.settle();
    assert_eq!(bed.jobs(), [format!("tick-{}", START + 10)]);
}

#[test]
fn concurrency_is_as_the_policy_says() {
    for (policy, after_two) in [("Allow", 2), ("Forbid", 1), ("Replace", 1)] {
        let mut bed = Bed::new(json!({"concurrencyPolicy": policy}));
        bed.world.later(300);
        bed.settle();
        bed.world.later(300);
        bed.settle();
        assert_eq!(bed.jobs().len(), after_two, "{policy}");
        let newest = format!("tick-{}", START + 10);
        assert_eq!(bed.jobs().contains(&newest), policy != "Forbid", "{policy}");
    }
}

#[test]
fn a_moment_that_was_held_back_comes_when_the_job_ends() {
    let mut bed = Bed::new(json!({"concurrencyPolicy": "Forbid"}));
    bed.world.later(300);
    bed.settle();
    bed.world.later(330);
    bed.settle();
    assert!(matches!(bed.plan().waits[0], Wait::StillRunning(_)));
    let first = bed.jobs()[0].clone();
    bed.end(&first, "Complete");
    bed.settle();
    assert_eq!(bed.jobs().len(), 2);
    let status = &bed.world.get(&KIND.resource, "tick")["status"];
    assert_eq!(status["lastSuccessfulTime"], "2026-01-01T00:10:30Z");
    assert!(bed.world.events.contains(&format!("SawCompletedJob Saw completed job: {first}, condition: Complete")));
}

#[test]
fn history_is_kept_to_its_limits() {
    let mut bed = Bed::new(json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0}));
    for how in ["Complete", "Failed", "Complete", "Complete"] {
        bed.world.later(300);
        bed.settle();
        let newest = bed.jobs().last().unwrap().clone();
        bed.end(&newest, how);
        bed.settle();
    }
    assert_eq!(bed.jobs(), [format!("tick-{}", START + 15), format!("tick-{}", START + 20)]);
}

#[test]
fn a_time_zone_moves_the_moments_and_a_suspended_one_has_none() {
    let mut bed = Bed::new(json!({"schedule": "0 6 * * *", "timeZone": "Europe/Berlin"}));
    assert_eq!(bed.plan().look_again, after(bed.world.now, 5 * 3600));
    bed.world.later(5 * 3600);
    bed.settle();
    let job = bed.world.all(&JOBS)[0];
    assert_eq!(job["metadata"]["annotations"][SCHEDULED], "2026-01-01T06:00:00+01:00");
    let bed = Bed::new(json!({"suspend": true}));
    assert_eq!((bed.plan().look_again, bed.plan().waits), (None, vec![Wait::Suspended]));
    let bed = Bed::new(json!({"timeZone": "Mars/Olympus"}));
    assert_eq!(bed.plan().notes[0].reason, "UnknownTimeZone");
    assert_eq!(bed.plan().waits, [Wait::NotUnderstood]);
}

#[test]
fn what_a_crash_left_unwritten_is_put_right() {
    let mut bed = Bed::new(json!({}));
    bed.world.later(300);
    let plan = bed.plan();
    let create = plan.stages.iter().flatten().find(|write| matches!(write.verb, Verb::Create(_))).unwrap();
    bed.world.act(create);
    bed.settle();
    assert_eq!(bed.jobs().len(), 1);
    let status = &bed.world.get(&KIND.resource, "tick")["status"];
    assert_eq!(status["active"].as_array().unwrap().len(), 1);
    assert_eq!(status["lastScheduleTime"], "2026-01-01T00:05:00Z");
}
