use api::resources::PODS;
use proptest::prelude::*;

use super::*;
use crate::subject::Facts;
use crate::testing::World;

struct Bed {
    world: World,
}

impl Bed {
    fn new(spec: Value) -> Self {
        let mut world = World::new();
        let mut body = json!({"metadata": {"name": "job"}, "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
            "selector": {"matchLabels": {"job": "x"}},
            "template": {"metadata": {"labels": {"job": "x"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
        }});
        for (key, value) in spec.as_object().unwrap() {
            body["spec"][key] = value.clone();
        }
        world.create(&KIND.resource, body);
        Self { world }
    }

    fn plan(&self) -> Plan<Wait> {
        let job = JobFacts::read(&self.world.json(&KIND.resource, "job")).unwrap();
        let pods = self.world.pods();
        plan(&View { job: &job, pods: pods.iter().collect() }, self.world.now)
    }

    /// One plan, obeyed; what terminates without a finalizer is gone.
    fn turn(&mut self) -> bool {
        let plan = self.plan();
        self.world.obey(&plan);
        for name in self.world.names(&PODS) {
            let metadata = &self.world.get(&PODS, &name)["metadata"];
            let held = metadata["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
            if !metadata["deletionTimestamp"].is_null() && !held {
                self.world.remove(&PODS, &name);
            }
        }
        plan.is_settled()
    }

    fn settle(&mut self) {
        for _ in 0..40 {
            if self.turn() {
                return;
            }
        }
        panic!("settles: {:#?}", self.plan());
    }

    fn running(&self) -> Vec<String> {
        let pods = self.world.pods();
        pods.iter().filter(|pod| pods::is_active(pod)).map(|pod| pods::name(pod).to_owned()).collect()
    }

    /// Ends the first pods at work, `S`uccessfully or `F`ailing, one for each letter.
    fn end(&mut self, how: &str) {
        for (name, how) in self.running().into_iter().zip(how.chars()) {
            self.world.node(&name, if how == 'S' { "Succeeded" } else { "Failed" }, false);
        }
        self.settle();
    }

    fn status(&self) -> &Value {
        &self.world.get(&KIND.resource, "job")["status"]
    }

    /// `active/succeeded/failed`, and the conditions that are true with their reasons.
    fn summary(&self) -> String {
        let number = |key: &str| self.status()[key].as_i64().unwrap_or(0);
        let conditions = self.status()["conditions"].as_array().into_iter().flatten();
        let conditions = conditions.filter(|condition| condition["status"] == "True");
        let words: String = conditions
            .map(|c| format!(" {}:{}", c["type"].as_str().unwrap(), c["reason"].as_str().unwrap_or_default()))
            .collect();
        format!("{}/{}/{}{words}", number("active"), number("succeeded"), number("failed"))
    }
}

#[test]
fn a_job_makes_its_pod_counts_its_success_and_is_complete() {
    let mut bed = Bed::new(json!({}));
    bed.settle();
    assert_eq!(bed.summary(), "1/0/0");
    let pod = bed.world.all(&PODS)[0].clone();
    assert_eq!(pod["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(bed.plan().waits, [Wait::Running(1)]);
    bed.end("S");
    assert_eq!(bed.summary(), "0/1/0 SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached");
    assert!(bed.world.all(&PODS)[0]["metadata"].get("finalizers").is_none(), "the pod is let go");
    assert_eq!(bed.plan().waits, [Wait::Finished]);
    assert!(bed.status()["completionTime"].is_string() && bed.status()["startTime"].is_string());
    assert_eq!(bed.world.events.last().unwrap(), "Completed Job completed");
}

#[test]
fn as_many_pods_as_may_be_work_until_enough_have_succeeded() {
    let mut bed = Bed::new(json!({"parallelism": 3, "completions": 5}));
    bed.settle();
    assert_eq!(bed.summary(), "3/0/0");
    bed.end("SS");
    assert_eq!(bed.summary(), "3/2/0");
    bed.end("SS");
    assert_eq!(bed.summary(), "1/4/0");
    bed.end("S");
    assert_eq!(bed.summary(), "0/5/0 SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached");
}

#[test]
fn a_work_queue_is_complete_when_one_succeeded_and_the_rest_ended() {
    let mut bed = Bed::new(json!({"parallelism": 2, "completions": null}));
    bed.settle();
    assert_eq!(bed.summary(), "2/0/0");
    bed.end("S");
    assert_eq!(bed.summary(), "1/1/0");
    bed.end("S");
    assert_eq!(bed.summary(), "0/2/0 SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached");
}

#[test]
fn failures_are_tried_again_after_a_pause_that_doubles_and_end_at_the_limit() {
    let mut bed = Bed::new(json!({"backoffLimit": 2}));
    bed.settle();
    for pause in [10, 20] {
        bed.end("F");
        let next = after(bed.world.now, pause).unwrap();
        assert_eq!(bed.plan().waits, [Wait::Backoff(next)]);
        assert_eq!(bed.plan().look_again, Some(next));
        assert!(bed.running().is_empty());
        bed.world.later(pause);
        bed.settle();
        assert_eq!(bed.running().len(), 1);
    }
    bed.end("F");
    assert_eq!(bed.summary(), "0/0/3 FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded");
    assert_eq!(bed.world.events.last().unwrap(), "BackoffLimitExceeded Job has reached the specified backoff limit");
}

#[test]
fn a_failed_job_takes_its_other_pods_along() {
    let mut bed = Bed::new(json!({"parallelism": 3, "completions": 3, "backoffLimit": 0}));
    bed.settle();
    bed.end("F");
    assert_eq!(bed.summary(), "0/0/3 FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded");
    assert!(bed.running().is_empty());
}

#[test]
fn a_deadline_ends_a_job_and_the_plan_says_when() {
    let mut bed = Bed::new(json!({"activeDeadlineSeconds": 60}));
    bed.settle();
    assert_eq!(bed.plan().look_again, after(bed.world.now, 60));
    bed.world.later(60);
    bed.settle();
    assert_eq!(bed.summary(), "0/0/1 FailureTarget:DeadlineExceeded Failed:DeadlineExceeded");
}

#[test]
fn a_suspended_job_lets_its_pods_go_uncounted_and_starts_anew() {
    let mut bed = Bed::new(json!({"parallelism": 2, "completions": 2}));
    bed.settle();
    bed.world.edit(&KIND.resource, "job", |job| job["spec"]["suspend"] = json!(true));
    bed.settle();
    assert_eq!(bed.summary(), "0/0/0 Suspended:JobSuspended");
    assert!(bed.world.names(&PODS).is_empty());
    bed.world.edit(&KIND.resource, "job", |job| job["spec"]["suspend"] = json!(false));
    bed.settle();
    assert_eq!(bed.summary(), "2/0/0");
    let told: Vec<_> = bed.world.events.iter().filter(|event| event.contains("Job ")).collect();
    assert_eq!(told, ["Suspended Job suspended", "Resumed Job resumed"]);
    bed.end("SS");
    assert_eq!(bed.summary(), "0/2/0 SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached");
}

#[test]
fn indexes_are_worked_off_from_the_lowest_and_each_once() {
    let mut bed = Bed::new(json!({"parallelism": 2, "completions": 3, "completionMode": "Indexed"}));
    bed.settle();
    let pod = bed.world.all(&PODS)[0].clone();
    assert_eq!(pod["metadata"]["annotations"][INDEX], "0");
    assert_eq!(pod["metadata"]["labels"][INDEX], "0");
    assert_eq!(pod["spec"]["hostname"], "job-0");
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    bed.end("FS");
    assert_eq!(bed.status()["completedIndexes"], "1");
    bed.world.later(10);
    bed.settle();
    assert_eq!(bed.running().len(), 2, "index 0 again, and index 2");
    bed.end("SS");
    assert_eq!(bed.status()["completedIndexes"], "0-2");
    assert_eq!(bed.summary(), "0/3/1 SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached");
}

#[test]
fn an_index_that_fails_too_often_fails_for_good_and_the_others_go_on() {
    let mut bed = Bed::new(json!({
        "parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "backoffLimit": i32::MAX}));
    bed.settle();
    bed.end("FS");
    assert_eq!(bed.status()["completedIndexes"], "1");
    bed.world.later(10);
    bed.settle();
    let pods = bed.world.pods();
    let again = pods.iter().find(|pod| pods::is_active(pod)).unwrap();
    assert_eq!(pods::annotation(again, failures::INDEX_FAILURES), Some("1"));
    bed.end("F");
    assert_eq!(bed.status()["failedIndexes"], "0");
    assert_eq!(bed.summary(), "0/1/2 FailureTarget:FailedIndexes Failed:FailedIndexes");
}

#[test]
fn a_failure_policy_ignores_or_ends() {
    let rule = |action: &str| {
        json!({"podFailurePolicy": {"rules": [
        {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}]}, "backoffLimit": 0})
    };
    let exit = |bed: &mut Bed| {
        let name = bed.running()[0].clone();
        bed.world.node(&name, "Failed", false);
        bed.world.edit(&PODS, &name, |pod| {
            pod["status"]["containerStatuses"] = json!([{"name": "c", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": 42}}}]);
        });
        bed.settle();
        name
    };
    let mut bed = Bed::new(rule("Ignore"));
    bed.settle();
    exit(&mut bed);
    assert_eq!(bed.summary(), "0/0/0", "it waits for the next try");
    let mut bed = Bed::new(rule("FailJob"));
    bed.settle();
    let name = exit(&mut bed);
    assert_eq!(bed.summary(), "0/0/1 FailureTarget:PodFailurePolicy Failed:PodFailurePolicy");
    let text = format!("Container c for pod default/{name} failed with exit code 42 matching FailJob rule at index 0");
    assert_eq!(bed.status()["conditions"][0]["message"], text);
}

#[test]
fn a_success_policy_ends_a_job_early() {
    let mut bed = Bed::new(json!({"parallelism": 3, "completions": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]}}));
    bed.settle();
    bed.end("S");
    assert_eq!(bed.summary(), "0/1/0 SuccessCriteriaMet:SuccessPolicy Complete:SuccessPolicy");
}

#[test]
fn a_finished_job_goes_when_its_time_to_live_is_over() {
    let mut bed = Bed::new(json!({"ttlSecondsAfterFinished": 30}));
    bed.settle();
    bed.end("S");
    assert_eq!(bed.plan().look_again, after(bed.world.now, 30));
    bed.world.later(30);
    let plan = bed.plan();
    bed.world.obey(&plan);
    assert!(bed.world.names(&KIND.resource).is_empty());
}

#[test]
fn a_job_in_other_hands_is_left_alone() {
    let mut bed = Bed::new(json!({"managedBy": "example.com/mine"}));
    assert!(bed.turn());
    assert_eq!(bed.plan().waits, [Wait::ManagedElsewhere]);
}

proptest! {
    /// However pods end, and wherever the controller is interrupted between its writes, every pod is counted once, never
    /// more than `parallelism` are at work, and the Job ends.
    #[test]
    fn every_ended_pod_is_counted_once(
        parallelism in 1..4_i32,
        completions in 1..5_i32,
        indexed in any::<bool>(),
        events in proptest::collection::vec((0..6_u8, 0..4_usize, 0..4_usize), 0..60),
    ) {
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let mut bed = Bed::new(json!({"parallelism": parallelism, "completions": completions,
            "completionMode": mode, "backoffLimit": 1000}));
        let (mut succeeded, mut failed) = (0_i64, 0_i64);
        for (event, which, writes) in events {
            let running = bed.running();
            match (event, running.get(which)) {
                (0..=2, _) => {
                    // The controller dies after some of its writes.
                    let plan = bed.plan();
                    for write in plan.writes().take(writes) {
                        bed.world.act(write);
                    }
                }
                (3, Some(name)) => { bed.world.node(name, "Succeeded", false); succeeded += 1; }
                (4, Some(name)) => { bed.world.node(name, "Failed", false); failed += 1; }
                _ => bed.world.later(700),
            }
            let at_work = i32::try_from(bed.running().len()).unwrap();
            prop_assert!(at_work <= parallelism, "{at_work} at work");
        }
        for _ in 0..20 {
            bed.world.later(700);
            bed.settle();
            let running = bed.running();
            succeeded += i64::try_from(running.len()).unwrap();
            bed.end(&"S".repeat(running.len()));
        }
        let status = bed.status().clone();
        prop_assert!(bed.summary().contains("Complete:"), "{}", status);
        prop_assert_eq!(status["failed"].as_i64().unwrap_or(0), failed);
        let counted = status["succeeded"].as_i64().unwrap();
        prop_assert_eq!(counted, if indexed { i64::from(completions) } else { succeeded });
    }
}
