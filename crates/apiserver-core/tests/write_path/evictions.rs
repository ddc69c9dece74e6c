//! Evictions under disruption budgets (K-33, S11).

use crate::bed::{POD, def_of, merged, now, refusal, stored, yaml};
use apiserver_core::write::{Deletion, Eviction, decide_eviction};
use expect_test::expect;
use meta::Status;
use serde_json::{Value, json};

/// A pod that runs and is ready, on a node.
fn running() -> Value {
    let change = "{metadata: {labels: {app: web}}, spec: {nodeName: here}, status: {phase: Running, conditions: \
                  [{type: Ready, status: 'True'}]}}";
    merged(&stored(yaml(POD)), &yaml(change))
}

/// A budget that allows one disruption, as its controller wrote it.
fn budget() -> Value {
    let change = "{status: {observedGeneration: 1, disruptionsAllowed: 1, currentHealthy: 3, desiredHealthy: 2, \
                  expectedPods: 3}}";
    merged(&stored(yaml(crate::workloads::BUDGET)), &yaml(change))
}

fn evict(pod: &Value, budgets: &[Value]) -> Result<Eviction, Status> {
    let body = yaml("{metadata: {name: web-0}, deleteOptions: {gracePeriodSeconds: 3}}");
    let budgets: Vec<&Value> = budgets.iter().collect();
    decide_eviction(def_of(pod), pod, &body, (def_of(&budget()), &budgets), now())
}

fn said(result: Result<Eviction, Status>) -> String {
    match result {
        Err(status) => {
            let details = status.details.clone().unwrap_or_default();
            let causes: Vec<String> =
                details.causes.iter().map(|cause| format!("{}: {}", cause.reason, cause.message)).collect();
            format!("{} [retry after {}] {}", refusal(&status), details.retry_after_secs, causes.join("; "))
        }
        Ok(eviction) => {
            let fate = match eviction.deletion {
                Deletion::Mark(_) => "marked",
                Deletion::Remove(_) => "removed",
                Deletion::Unchanged => "unchanged",
            };
            let left = eviction.budget.map(|budget| budget["status"]["disruptionsAllowed"].to_string());
            format!("{fate}, budget {}", left.as_deref().unwrap_or("not asked"))
        }
    }
}

#[test]
fn an_evicted_pod_says_why_it_goes_and_its_budget_counts_it() {
    let eviction = evict(&running(), &[budget()]).expect("allowed");
    let Deletion::Mark(pod) = eviction.deletion else { panic!("marked") };
    let charged = eviction.budget.expect("charged");
    let part = json!([pod["metadata"]["deletionGracePeriodSeconds"], pod["status"]["conditions"], charged["status"]]);
    expect![[r#"
        [
          3,
          [
            {
              "status": "True",
              "type": "Ready"
            },
            {
              "lastProbeTime": null,
              "lastTransitionTime": "2026-11-21T07:00:00Z",
              "message": "Eviction API: evicting",
              "reason": "EvictionByEvictionAPI",
              "status": "True",
              "type": "DisruptionTarget"
            }
          ],
          {
            "conditions": [
              {
                "lastTransitionTime": "2026-11-21T07:00:00Z",
                "message": "",
                "observedGeneration": 1,
                "reason": "InsufficientPods",
                "status": "False",
                "type": "DisruptionAllowed"
              }
            ],
            "currentHealthy": 3,
            "desiredHealthy": 2,
            "disruptedPods": {
              "web-0": "2026-11-21T07:00:00Z"
            },
            "disruptionsAllowed": 0,
            "expectedPods": 3,
            "observedGeneration": 1
          }
        ]
    "#]]
    .assert_eq(&crate::bed::shown(&part));
    let managers = charged["metadata"]["managedFields"].as_array().expect("managers");
    assert!(managers.iter().any(|it| it["manager"] == "kube-apiserver" && it["subresource"] == "status"));
}

#[test]
fn a_budget_decides_about_pods_that_run() {
    // N-49, N-53.
    let mut text = String::new();
    let mut row = |pod_change: &str, budget_changes: &[&str]| {
        let pod = merged(&running(), &yaml(pod_change));
        let budgets: Vec<Value> = budget_changes.iter().map(|change| merged(&budget(), &yaml(change))).collect();
        text.push_str(&format!("{pod_change} under {budget_changes:?}\n   {}\n", said(evict(&pod, &budgets))));
    };
    let unready = "{status: {conditions: [{type: Ready, status: 'False'}]}}";
    let none = "{status: {disruptionsAllowed: 0}}";
    row("{}", &[]);
    row("{}", &["{}"]);
    row("{}", &["{spec: {selector: {matchLabels: {app: other}}}}"]);
    row("{}", &["{spec: {selector: {matchLabels: null}}}"]);
    row("{}", &["{spec: {selector: null}}"]);
    row("{}", &["{}", "{metadata: {name: second}}"]);
    row("{}", &[none]);
    row("{}", &["{status: {disruptionsAllowed: 0, currentHealthy: 2}}"]);
    row(
        "{}",
        &[
            "{status: {disruptionsAllowed: 0, conditions: [{type: DisruptionAllowed, status: 'False', reason: SyncFailed, message: no luck}]}}",
        ],
    );
    row(
        "{}",
        &[
            "{status: {disruptionsAllowed: 0, conditions: [{type: DisruptionAllowed, status: 'False', reason: Other, message: no luck}]}}",
        ],
    );
    row("{}", &["{status: {disruptionsAllowed: -1}}"]);
    row("{}", &["{metadata: {generation: 2}}"]);
    row(unready, &[none]);
    row(unready, &["{status: {disruptionsAllowed: 0, currentHealthy: 1}}"]);
    row(
        unready,
        &["{spec: {unhealthyPodEvictionPolicy: IfHealthyBudget}, status: {disruptionsAllowed: 0, currentHealthy: 1}}"],
    );
    row(
        unready,
        &["{spec: {unhealthyPodEvictionPolicy: AlwaysAllow}, status: {disruptionsAllowed: 0, currentHealthy: 1}}"],
    );
    row("{status: {phase: Pending}}", &[none]);
    row("{status: {phase: Succeeded}}", &[none, none]);
    row("{status: {phase: Failed}}", &[none]);
    row("{metadata: {deletionTimestamp: '2026-11-21T07:00:30Z', deletionGracePeriodSeconds: 1}}", &[none]);
    expect![[r#"
        {} under []
           marked, budget not asked
        {} under ["{}"]
           marked, budget 0
        {} under ["{spec: {selector: {matchLabels: {app: other}}}}"]
           marked, budget not asked
        {} under ["{spec: {selector: {matchLabels: null}}}"]
           marked, budget not asked
        {} under ["{spec: {selector: null}}"]
           marked, budget not asked
        {} under ["{}", "{metadata: {name: second}}"]
           500 -: This pod has more than one PodDisruptionBudget, which the eviction subresource does not support. [retry after 0] 
        {} under ["{status: {disruptionsAllowed: 0}}"]
           429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget. [retry after 0] DisruptionBudget: The disruption budget web does not allow evicting pods currently
        {} under ["{status: {disruptionsAllowed: 0, currentHealthy: 2}}"]
           429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget. [retry after 0] DisruptionBudget: The disruption budget web needs 2 healthy pods and has 2 currently
        {} under ["{status: {disruptionsAllowed: 0, conditions: [{type: DisruptionAllowed, status: 'False', reason: SyncFailed, message: no luck}]}}"]
           429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget. [retry after 0] DisruptionBudget: The disruption budget web does not allow evicting pods currently because it failed sync: no luck
        {} under ["{status: {disruptionsAllowed: 0, conditions: [{type: DisruptionAllowed, status: 'False', reason: Other, message: no luck}]}}"]
           429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget. [retry after 0] DisruptionBudget: The disruption budget web does not allow evicting pods currently (Other): no luck
        {} under ["{status: {disruptionsAllowed: -1}}"]
           403 Forbidden: poddisruptionbudget.policy "web" is forbidden: pdb disruptions allowed is negative [retry after 0] DisruptionBudget: The disruption budget web does not allow evicting pods currently: pdb disruptions allowed is negative
        {} under ["{metadata: {generation: 2}}"]
           429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget. [retry after 10] DisruptionBudget: The disruption budget web is still being processed by the server.
        {status: {conditions: [{type: Ready, status: 'False'}]}} under ["{status: {disruptionsAllowed: 0}}"]
           marked, budget not asked
        {status: {conditions: [{type: Ready, status: 'False'}]}} under ["{status: {disruptionsAllowed: 0, currentHealthy: 1}}"]
           429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget. [retry after 0] DisruptionBudget: The disruption budget web needs 2 healthy pods and has 1 currently
        {status: {conditions: [{type: Ready, status: 'False'}]}} under ["{spec: {unhealthyPodEvictionPolicy: IfHealthyBudget}, status: {disruptionsAllowed: 0, currentHealthy: 1}}"]
           429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget. [retry after 0] DisruptionBudget: The disruption budget web needs 2 healthy pods and has 1 currently
        {status: {conditions: [{type: Ready, status: 'False'}]}} under ["{spec: {unhealthyPodEvictionPolicy: AlwaysAllow}, status: {disruptionsAllowed: 0, currentHealthy: 1}}"]
           marked, budget not asked
        {status: {phase: Pending}} under ["{status: {disruptionsAllowed: 0}}"]
           marked, budget not asked
        {status: {phase: Succeeded}} under ["{status: {disruptionsAllowed: 0}}", "{status: {disruptionsAllowed: 0}}"]
           removed, budget not asked
        {status: {phase: Failed}} under ["{status: {disruptionsAllowed: 0}}"]
           removed, budget not asked
        {metadata: {deletionTimestamp: '2026-11-21T07:00:30Z', deletionGracePeriodSeconds: 1}} under ["{status: {disruptionsAllowed: 0}}"]
           marked, budget not asked
    "#]].assert_eq(&text);
}

#[test]
fn a_body_about_something_else_is_refused() {
    let pod = running();
    let mut text = String::new();
    for body in [
        "{metadata: {name: web-1}}",
        "{metadata: {}}",
        "{metadata: {name: web-0}, deleteOptions: {ignoreStoreReadErrorWithClusterBreakingPotential: true}}",
        "{metadata: {name: web-0}, deleteOptions: {preconditions: {uid: other}}}",
        "{metadata: {name: web-0}, deleteOptions: {preconditions: {resourceVersion: '99'}}}",
    ] {
        let refused = decide_eviction(def_of(&pod), &pod, &yaml(body), (def_of(&budget()), &[]), now());
        text.push_str(&format!("{body}\n   {}\n", refusal(&refused.expect_err("refused"))));
    }
    expect![[r#"
        {metadata: {name: web-1}}
           400 BadRequest: name in URL does not match name in Eviction object
        {metadata: {}}
           400 BadRequest: name in URL does not match name in Eviction object
        {metadata: {name: web-0}, deleteOptions: {ignoreStoreReadErrorWithClusterBreakingPotential: true}}
           422 Invalid: Eviction.policy "web-0" is invalid: deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: can not be set for pod eviction, try after removing the option
        {metadata: {name: web-0}, deleteOptions: {preconditions: {uid: other}}}
           409 Conflict: Operation cannot be fulfilled on pods "web-0": the UID in the precondition (other) does not match the UID in record (11111111-2222-4333-8444-555555555555). The object might have been deleted and then recreated
        {metadata: {name: web-0}, deleteOptions: {preconditions: {resourceVersion: '99'}}}
           409 Conflict: Operation cannot be fulfilled on pods "web-0": the ResourceVersion in the precondition (99) does not match the ResourceVersion in record (100). The object might have been modified
    "#]].assert_eq(&text);
}

#[test]
fn a_budget_without_end_of_pending_evictions_allows_no_more() {
    let mut budget = budget();
    let pods: serde_json::Map<String, Value> =
        (0..=2000).map(|n| (format!("pod-{n}"), json!("2026-11-21T07:00:00Z"))).collect();
    budget["status"]["disruptedPods"] = pods.into();
    expect![[r#"403 Forbidden: poddisruptionbudget.policy "web" is forbidden: DisruptedPods map too big - too many evictions not confirmed by PDB controller [retry after 0] DisruptionBudget: The disruption budget web does not allow evicting pods currently: too many pending evictions not confirmed by PDB controller"#]].assert_eq(&said(evict(&running(), &[budget])));
}
