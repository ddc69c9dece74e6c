//! Job and CronJob: manifests and upstream's answers.

use crate::bed::{check, check_stored, check_update, check_update_of, merged, stored, yaml};
use expect_test::expect;
use serde_json::Value;

pub(crate) const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: backup, namespace: default}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: work, image: 'busybox:1.37'}
";

const INDEXED: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: backup, namespace: default}
spec:
  completionMode: Indexed
  completions: 5
  parallelism: 2
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: work, image: 'busybox:1.37'}
";

pub(crate) const CRON_JOB: &str = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: default}
spec:
  schedule: '5 4 * * *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
          - {name: work, image: 'busybox:1.37'}
";

#[test]
fn a_small_job_is_stored_with_selector_labels_and_defaults() {
    check_stored(
        JOB,
        "{}",
        "/spec",
        expect![[r#"
        {
          "backoffLimit": 6,
          "completionMode": "NonIndexed",
          "completions": 1,
          "manualSelector": false,
          "parallelism": 1,
          "podReplacementPolicy": "TerminatingOrFailed",
          "selector": {
            "matchLabels": {
              "batch.kubernetes.io/controller-uid": "11111111-2222-4333-8444-555555555555"
            }
          },
          "suspend": false,
          "template": {
            "metadata": {
              "labels": {
                "batch.kubernetes.io/controller-uid": "11111111-2222-4333-8444-555555555555",
                "batch.kubernetes.io/job-name": "backup",
                "controller-uid": "11111111-2222-4333-8444-555555555555",
                "job-name": "backup"
              }
            },
            "spec": {
              "containers": [
                {
                  "image": "busybox:1.37",
                  "imagePullPolicy": "IfNotPresent",
                  "name": "work",
                  "resources": {},
                  "terminationMessagePath": "/dev/termination-log",
                  "terminationMessagePolicy": "File"
                }
              ],
              "dnsPolicy": "ClusterFirst",
              "restartPolicy": "Never",
              "schedulerName": "default-scheduler",
              "securityContext": {},
              "terminationGracePeriodSeconds": 30
            }
          }
        }
    "#]],
    );
    check_stored(
        JOB,
        "{}",
        "/metadata/labels",
        expect![[r#"
        {
          "batch.kubernetes.io/controller-uid": "11111111-2222-4333-8444-555555555555",
          "batch.kubernetes.io/job-name": "backup",
          "controller-uid": "11111111-2222-4333-8444-555555555555",
          "job-name": "backup"
        }
    "#]],
    );
    check_stored(
        JOB,
        "{metadata: {labels: {a: b}}}",
        "/metadata/labels",
        expect![[r#"
        {
          "a": "b"
        }
    "#]],
    );
    check_stored(
        CRON_JOB,
        "{}",
        "/spec",
        expect![[r#"
        {
          "concurrencyPolicy": "Allow",
          "failedJobsHistoryLimit": 1,
          "jobTemplate": {
            "metadata": {},
            "spec": {
              "template": {
                "metadata": {},
                "spec": {
                  "containers": [
                    {
                      "image": "busybox:1.37",
                      "imagePullPolicy": "IfNotPresent",
                      "name": "work",
                      "resources": {},
                      "terminationMessagePath": "/dev/termination-log",
                      "terminationMessagePolicy": "File"
                    }
                  ],
                  "dnsPolicy": "ClusterFirst",
                  "restartPolicy": "OnFailure",
                  "schedulerName": "default-scheduler",
                  "securityContext": {},
                  "terminationGracePeriodSeconds": 30
                }
              }
            }
          },
          "schedule": "5 4 * * *",
          "successfulJobsHistoryLimit": 3,
          "suspend": false
        }
    "#]],
    );
}

#[test]
fn completions_follow_from_what_is_given() {
    let counts = |change: &str| {
        let job = stored(merged(&yaml(JOB), &yaml(change)));
        let count = |key: &str| job["spec"].get(key).map_or_else(|| "-".to_owned(), Value::to_string);
        ["completions", "parallelism", "backoffLimit", "podReplacementPolicy"].map(count).join(" ")
    };
    assert_eq!(counts("{}"), "1 1 6 \"TerminatingOrFailed\"");
    assert_eq!(counts("{spec: {parallelism: 3}}"), "- 3 6 \"TerminatingOrFailed\"");
    assert_eq!(counts("{spec: {completions: 3}}"), "3 1 6 \"TerminatingOrFailed\"");
    let indexed =
        "{spec: {completionMode: Indexed, completions: 2, backoffLimitPerIndex: 1, podFailurePolicy: {rules: []}}}";
    assert_eq!(counts(indexed), "2 1 2147483647 \"Failed\"");
}

#[test]
fn jobs_that_make_no_sense_are_refused() {
    check(
        JOB,
        &[
            "{spec: {parallelism: -1, completions: -1, activeDeadlineSeconds: -1, backoffLimit: -1}}",
            "{spec: {ttlSecondsAfterFinished: -1}}",
            "{spec: {template: {spec: {restartPolicy: null}}}}",
            "{spec: {template: {spec: {restartPolicy: Always}}}}",
            "{spec: {template: {spec: {restartPolicy: Sometimes}}}}",
            "{spec: {completionMode: Ordered}}",
            "{spec: {completionMode: Indexed, parallelism: 1}}",
            "{spec: {backoffLimitPerIndex: 1}}",
            "{spec: {maxFailedIndexes: 1}}",
            "{spec: {managedBy: me}}",
            "{spec: {managedBy: example.com/me}}",
            "{spec: {selector: {matchLabels: {a: b}}}}",
            "{spec: {manualSelector: true}}",
            "{spec: {manualSelector: true, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}}",
            "{spec: {template: {metadata: {labels: {job-name: other}}}}}",
            "{spec: {podReplacementPolicy: Never}}",
            "{spec: {podFailurePolicy: {rules: []}, podReplacementPolicy: TerminatingOrFailed}}",
            "{spec: {podFailurePolicy: {rules: []}, template: {spec: {restartPolicy: OnFailure}}}}",
            "{spec: {podFailurePolicy: {rules: [{action: ''}]}}}",
            "{spec: {podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [3, 0, 3]}}]}}}",
            "{spec: {podFailurePolicy: {rules: [{action: Count, onExitCodes: {containerName: x, operator: At, values: []}}]}}}",
            "{spec: {podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}}}",
            "{spec: {podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: a b, status: Maybe}]}]}}}",
            "{spec: {successPolicy: {rules: []}}}",
            "{metadata: {name: a.b}}",
        ],
        expect![[r#"
            {spec: {parallelism: -1, completions: -1, activeDeadlineSeconds: -1, backoffLimit: -1}}
               spec.parallelism: Invalid value: -1: must be greater than or equal to 0
               spec.completions: Invalid value: -1: must be greater than or equal to 0
               spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
               spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
            {spec: {ttlSecondsAfterFinished: -1}}
               spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0
            {spec: {template: {spec: {restartPolicy: null}}}}
               spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
            {spec: {template: {spec: {restartPolicy: Always}}}}
               spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
            {spec: {template: {spec: {restartPolicy: Sometimes}}}}
               spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
               spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: "OnFailure", "Never"
            {spec: {completionMode: Ordered}}
               spec.completionMode: Unsupported value: "Ordered": supported values: "NonIndexed", "Indexed"
            {spec: {completionMode: Indexed, parallelism: 1}}
               spec.completions: Required value: when completion mode is Indexed
            {spec: {backoffLimitPerIndex: 1}}
               spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode
            {spec: {maxFailedIndexes: 1}}
               spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
               spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode
            {spec: {managedBy: me}}
               spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")
            {spec: {managedBy: example.com/me}}
               ok
            {spec: {selector: {matchLabels: {a: b}}}}
               spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"11111111-2222-4333-8444-555555555555"}}: `selector` not auto-generated
               spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"11111111-2222-4333-8444-555555555555","batch.kubernetes.io/job-name":"backup","controller-uid":"11111111-2222-4333-8444-555555555555","job-name":"backup"}: `selector` does not match template `labels`
            {spec: {manualSelector: true}}
               spec.selector: Required value
               spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`
            {spec: {manualSelector: true, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}}
               ok
            {spec: {template: {metadata: {labels: {job-name: other}}}}}
               spec.template.metadata.labels[job-name]: Invalid value: {"batch.kubernetes.io/controller-uid":"11111111-2222-4333-8444-555555555555","batch.kubernetes.io/job-name":"backup","controller-uid":"11111111-2222-4333-8444-555555555555","job-name":"other"}: must be 'backup'
            {spec: {podReplacementPolicy: Never}}
               spec.podReplacementPolicy: Unsupported value: "Never": supported values: "Failed", "TerminatingOrFailed"
            {spec: {podFailurePolicy: {rules: []}, podReplacementPolicy: TerminatingOrFailed}}
               spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"
            {spec: {podFailurePolicy: {rules: []}, template: {spec: {restartPolicy: OnFailure}}}}
               spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified
            {spec: {podFailurePolicy: {rules: [{action: ''}]}}}
               spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]
               spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required
            {spec: {podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [3, 0, 3]}}]}}}
               spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
               spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator
               spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3
               spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered
            {spec: {podFailurePolicy: {rules: [{action: Count, onExitCodes: {containerName: x, operator: At, values: []}}]}}}
               spec.podFailurePolicy.rules[0].onExitCodes.operator: Unsupported value: "At": supported values: "In", "NotIn"
               spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer names in the pod template
               spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required
            {spec: {podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}}}
               spec.podFailurePolicy.rules[0].onPodConditions[0].status: Required value: valid values: ["False" "True" "Unknown"]
            {spec: {podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: a b, status: Maybe}]}]}}}
               spec.podFailurePolicy.rules[0].onPodConditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
               spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"
            {spec: {successPolicy: {rules: []}}}
               spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode
            {metadata: {name: a.b}}
               ok, but metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]
        "#]],
    );
    check(
        INDEXED,
        &[
            "{spec: {completions: null}}",
            "{spec: {parallelism: 100001}}",
            "{spec: {maxFailedIndexes: 6, backoffLimitPerIndex: 1}}",
            "{spec: {completions: 100001, backoffLimitPerIndex: 1, parallelism: 10001}}",
            "{spec: {successPolicy: {rules: []}}}",
            "{spec: {successPolicy: {rules: [{}]}}}",
            "{spec: {successPolicy: {rules: [{succeededIndexes: '0-2,4', succeededCount: 5}]}}}",
            "{spec: {successPolicy: {rules: [{succeededIndexes: '3-5'}, {succeededIndexes: '2-1'}, {succeededIndexes: 'x'}]}}}",
            "{spec: {successPolicy: {rules: [{succeededIndexes: '1-2-3'}, {succeededIndexes: '2,1'}, {succeededCount: 6}]}}}",
            "{metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}",
        ],
        expect![[r#"
            {spec: {completions: null}}
               spec.completions: Required value: when completion mode is Indexed
            {spec: {parallelism: 100001}}
               spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed
            {spec: {maxFailedIndexes: 6, backoffLimitPerIndex: 1}}
               spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions
            {spec: {completions: 100001, backoffLimitPerIndex: 1, parallelism: 10001}}
               spec.maxFailedIndexes: Required value: must be specified when completions is above 100000
               spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index
            {spec: {successPolicy: {rules: []}}}
               spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified
            {spec: {successPolicy: {rules: [{}]}}}
               spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified
            {spec: {successPolicy: {rules: [{succeededIndexes: '0-2,4', succeededCount: 5}]}}}
               spec.successPolicy.rules[0].succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of indexes in the specified succeededIndexes field)
            {spec: {successPolicy: {rules: [{succeededIndexes: '3-5'}, {succeededIndexes: '2-1'}, {succeededIndexes: 'x'}]}}}
               spec.successPolicy.rules[0].succeededIndexes: Invalid value: "3-5": error parsing succeededIndexes: too large index: "5"
               spec.successPolicy.rules[1].succeededIndexes: Invalid value: "2-1": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1
               spec.successPolicy.rules[2].succeededIndexes: Invalid value: "x": error parsing succeededIndexes: cannot convert string to integer for index: "x"
            {spec: {successPolicy: {rules: [{succeededIndexes: '1-2-3'}, {succeededIndexes: '2,1'}, {succeededCount: 6}]}}}
               spec.successPolicy.rules[0].succeededIndexes: Invalid value: "1-2-3": error parsing succeededIndexes: the fragment "1-2-3" violates the requirement that an index interval can have at most two parts separated by '-'
               spec.successPolicy.rules[1].succeededIndexes: Invalid value: "2,1": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1
               spec.successPolicy.rules[2].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)
            {metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}
               metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": will not able to create pod with invalid DNS label: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-4
        "#]],
    );
}

#[test]
fn most_of_a_job_never_changes() {
    check_update(
        JOB,
        &[
            "{spec: {parallelism: 3}}",
            "{spec: {completions: 3}}",
            "{spec: {completionMode: Indexed}}",
            "{spec: {suspend: true}}",
            "{spec: {managedBy: example.com/me}}",
            "{spec: {selector: {matchLabels: {a: b}}}}",
        ],
        expect![[r#"
            {spec: {parallelism: 3}}
               written, generation 2
            {spec: {completions: 3}}
               spec.completions: Invalid value: 3: field is immutable
            {spec: {completionMode: Indexed}}
               spec.completionMode: Invalid value: "Indexed": field is immutable
            {spec: {suspend: true}}
               written, generation 2
            {spec: {managedBy: example.com/me}}
               spec.managedBy: Invalid value: "example.com/me": field is immutable
            {spec: {selector: {matchLabels: {a: b}}}}
               spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"11111111-2222-4333-8444-555555555555","batch.kubernetes.io/job-name":"backup","controller-uid":"11111111-2222-4333-8444-555555555555","job-name":"backup"}: `selector` does not match template `labels`
               spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"11111111-2222-4333-8444-555555555555"}}: field is immutable
        "#]],
    );
    check_update(
        INDEXED,
        &["{spec: {completions: 6}}", "{spec: {completions: 6, parallelism: 6}}"],
        expect![[r#"
        {spec: {completions: 6}}
           spec.completions: Invalid value: 6: can only be modified in tandem with spec.parallelism
        {spec: {completions: 6, parallelism: 6}}
           written, generation 2
    "#]],
    );
    let job = stored(yaml(JOB));
    let image = merged(&job, &yaml("{spec: {template: {spec: {nodeSelector: {a: b}}}}}"));
    let refusal = crate::bed::update(&job, image.clone(), "").expect_err("the template is immutable");
    assert!(refusal.message.ends_with(": field is immutable") && refusal.message.contains("spec.template: Invalid"));
    let suspended = merged(&job, &yaml("{spec: {suspend: true}}"));
    let image = merged(&image, &yaml("{spec: {suspend: true}}"));
    assert!(crate::bed::update(&suspended, image, "").is_ok(), "a suspended job that never ran may move");
}

#[test]
fn a_job_that_is_over_stays_over() {
    let running =
        merged(&stored(yaml(JOB)), &yaml("{status: {active: 1, ready: 1, startTime: '2026-11-21T07:00:00Z'}}"));
    check_update_of(
        &running,
        "status",
        &[
            "{status: {ready: 2}}",
            "{status: {active: -1}}",
            "{status: {startTime: '2026-11-21T07:00:01Z'}}",
            "{status: {completionTime: '2026-11-21T06:00:00Z'}}",
            "{status: {conditions: [{type: Complete, status: 'True'}]}}",
            "{status: {conditions: [{type: Failed, status: 'True'}]}}",
            "{status: {uncountedTerminatedPods: {succeeded: [a, a, '']}}}",
            "{status: {completedIndexes: '0'}}",
            "{status: {failedIndexes: '0'}}",
            "{status: {active: 0, ready: 0, succeeded: 1, completionTime: '2026-11-21T08:00:00Z', conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}}",
        ],
        expect![[r#"
            {status: {ready: 2}}
               status.ready: Invalid value: 2: cannot set more ready pods than active
            {status: {active: -1}}
               status.active: Invalid value: -1: must be greater than or equal to 0
               status.ready: Invalid value: 1: cannot set more ready pods than active
            {status: {startTime: '2026-11-21T07:00:01Z'}}
               status.startTime: Invalid value: "2026-11-21T07:00:01Z": field is immutable for unsuspended job once set
            {status: {completionTime: '2026-11-21T06:00:00Z'}}
               status.completionTime: Invalid value: "2026-11-21T06:00:00Z": cannot set completionTime when there is no Complete=True condition
               status.completionTime: Invalid value: "2026-11-21T06:00:00Z": must be equal to or after `startTime`
            {status: {conditions: [{type: Complete, status: 'True'}]}}
               status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
               status.completionTime: Required value: completionTime is required for Complete jobs
               status.active: Invalid value: 1: active>0 is invalid for finished job
            {status: {conditions: [{type: Failed, status: 'True'}]}}
               status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition
               status.active: Invalid value: 1: active>0 is invalid for finished job
            {status: {uncountedTerminatedPods: {succeeded: [a, a, '']}}}
               status.uncountedTerminatedPods.succeeded[1]: Duplicate value: "a"
               status.uncountedTerminatedPods.succeeded[2]: Invalid value: "": must not be empty
            {status: {completedIndexes: '0'}}
               status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode
            {status: {failedIndexes: '0'}}
               status.failedIndexes: Invalid value: "0": cannot set non-null failedIndexes when backoffLimitPerIndex is null
            {status: {active: 0, ready: 0, succeeded: 1, completionTime: '2026-11-21T08:00:00Z', conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}}
               written, generation 1
        "#]],
    );
    let complete = merged(
        &running,
        &yaml(
            "{status: {active: 0, ready: 0, succeeded: 1, failed: 1, completionTime: '2026-11-21T08:00:00Z', conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}}",
        ),
    );
    check_update_of(
        &complete,
        "status",
        &[
            "{status: {conditions: [{type: SuccessCriteriaMet, status: 'True'}]}}",
            "{status: {succeeded: 0, failed: 0}}",
            "{status: {completionTime: '2026-11-21T09:00:00Z'}}",
            "{status: {active: 1}}",
        ],
        expect![[r#"
            {status: {conditions: [{type: SuccessCriteriaMet, status: 'True'}]}}
               status.conditions: Invalid value: cannot disable the terminal Complete=True condition
               status.completionTime: Invalid value: "2026-11-21T08:00:00Z": cannot set completionTime when there is no Complete=True condition
            {status: {succeeded: 0, failed: 0}}
               status.failed: Invalid value: 0: cannot decrease the failed counter
               status.succeeded: Invalid value: 0: cannot decrease the succeeded counter
            {status: {completionTime: '2026-11-21T09:00:00Z'}}
               status.completionTime: Invalid value: "2026-11-21T09:00:00Z": field is immutable
            {status: {active: 1}}
               status.active: Invalid value: 1: active>0 is invalid for finished job
        "#]],
    );
}

#[test]
fn cron_jobs_that_make_no_sense_are_refused() {
    check(
        CRON_JOB,
        &[
            "{spec: {schedule: ''}}",
            "{spec: {schedule: '* * * *'}}",
            "{spec: {schedule: '61 * * * *'}}",
            "{spec: {schedule: '@often'}}",
            "{spec: {schedule: 'TZ=UTC 0 0 * * *'}}",
            "{spec: {timeZone: ''}}",
            "{spec: {timeZone: Local}}",
            "{spec: {timeZone: Mars/Base}}",
            "{spec: {timeZone: '../etc'}}",
            "{spec: {timeZone: Europe/Berlin}}",
            "{spec: {startingDeadlineSeconds: -1, successfulJobsHistoryLimit: -1, failedJobsHistoryLimit: -1}}",
            "{spec: {concurrencyPolicy: Maybe}}",
            "{spec: {jobTemplate: {spec: {selector: {matchLabels: {a: b}}, manualSelector: true}}}}",
            "{spec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Always}}}}}}",
            "{metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}",
        ],
        expect![[r#"
            {spec: {schedule: ''}}
               spec.schedule: Required value
            {spec: {schedule: '* * * *'}}
               spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]
            {spec: {schedule: '61 * * * *'}}
               spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61
            {spec: {schedule: '@often'}}
               spec.schedule: Invalid value: "@often": unrecognized descriptor: @often
            {spec: {schedule: 'TZ=UTC 0 0 * * *'}}
               spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
            {spec: {timeZone: ''}}
               spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string
            {spec: {timeZone: Local}}
               spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones
               spec.timeZone: Invalid value: "Local": unknown time zone Local
            {spec: {timeZone: Mars/Base}}
               spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base
            {spec: {timeZone: '../etc'}}
               spec.timeZone: Invalid value: "../etc": unknown time zone ../etc
            {spec: {timeZone: Europe/Berlin}}
               ok
            {spec: {startingDeadlineSeconds: -1, successfulJobsHistoryLimit: -1, failedJobsHistoryLimit: -1}}
               spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
               spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
               spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0
            {spec: {concurrencyPolicy: Maybe}}
               spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"
            {spec: {jobTemplate: {spec: {selector: {matchLabels: {a: b}}, manualSelector: true}}}}
               spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated
               spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"
            {spec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Always}}}}}}
               spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
            {metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}
               metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 52 characters
        "#]],
    );
    check_update(
        CRON_JOB,
        &["{spec: {suspend: true}}", "{spec: {schedule: 'TZ=UTC 0 0 * * *'}}", "{status: {active: []}}"],
        expect![[r#"
            {spec: {suspend: true}}
               written, generation 2
            {spec: {schedule: 'TZ=UTC 0 0 * * *'}}
               spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
            {status: {active: []}}
               unchanged
        "#]],
    );
}

/// The titles and the cells of an object.
fn line(object: &Value) -> String {
    let def = crate::bed::def_of(object);
    let row = (def.row)(object, crate::bed::now() + jiff::SignedDuration::from_secs(90));
    let cells = def.columns.iter().zip(&row.cells).take(7);
    let cells: Vec<String> = cells.map(|(column, cell)| format!("{}={cell}", column.name)).collect();
    format!("{}\n", cells.join(" | "))
}

#[test]
fn the_lines_of_kubectl_get_say_what_became_of_it() {
    let rows = [
        (JOB, "{}"),
        (JOB, "{spec: {completions: null, parallelism: 3}, status: {succeeded: 2, startTime: '2026-11-21T07:00:00Z'}}"),
        (
            JOB,
            "{status: {succeeded: 1, startTime: '2026-11-21T07:00:00Z', completionTime: '2026-11-21T07:00:09Z', conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}}",
        ),
        (JOB, "{status: {conditions: [{type: Suspended, status: 'True'}]}}"),
        (
            JOB,
            "{metadata: {deletionTimestamp: '2026-11-21T07:00:00Z'}, status: {conditions: [{type: FailureTarget, status: 'True'}]}}",
        ),
        (CRON_JOB, "{}"),
        (
            CRON_JOB,
            "{spec: {timeZone: Etc/UTC, suspend: true}, status: {active: [{name: a}], lastScheduleTime: '2026-11-21T07:00:00Z'}}",
        ),
    ];
    let lines: String = rows.iter().map(|(base, change)| line(&merged(&stored(yaml(base)), &yaml(change)))).collect();
    expect![[r#"
        Name="backup" | Status="Running" | Completions="0/1" | Duration="" | Age="90s" | Containers="work" | Images="busybox:1.37"
        Name="backup" | Status="Running" | Completions="2/1 of 3" | Duration="90s" | Age="90s" | Containers="work" | Images="busybox:1.37"
        Name="backup" | Status="Complete" | Completions="1/1" | Duration="9s" | Age="90s" | Containers="work" | Images="busybox:1.37"
        Name="backup" | Status="Suspended" | Completions="0/1" | Duration="" | Age="90s" | Containers="work" | Images="busybox:1.37"
        Name="backup" | Status="Terminating" | Completions="0/1" | Duration="" | Age="90s" | Containers="work" | Images="busybox:1.37"
        Name="nightly" | Schedule="5 4 * * *" | Timezone="<none>" | Suspend="False" | Active=0 | Last Schedule="<none>" | Age="90s"
        Name="nightly" | Schedule="5 4 * * *" | Timezone="Etc/UTC" | Suspend="True" | Active=1 | Last Schedule="90s" | Age="90s"
    "#]].assert_eq(&lines);
}
