//! Bad requests about sets and their neighbours over HTTP: reliability.md section 3, kind by kind and category by
//! category.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use apiserver_core::patch::merge_patch;
use expect_test::expect_file;
use serde_json::{Value, json};
use support::{Answer, TestServer, said, yaml};

/// A namespace with room for nothing more, beside `default`.
const FULL: &str = "full";
/// A namespace that is being deleted, and stays because nobody empties it.
const ENDING: &str = "ending";
/// What upstream answers with 500, and so do we (reliability.md 3.2, 19).
const SERVER_ERRORS: [&str; 1] = ["resourceVersion should not be set on objects to be created"];

const GOOD: &str = "
statefulsets:
  spec:
    selector: {matchLabels: {app: web}}
    template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'nginx:1.27'}]}}
deployments:
  spec:
    selector: {matchLabels: {app: web}}
    template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'nginx:1.27'}]}}
replicasets:
  spec:
    selector: {matchLabels: {app: web}}
    template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'nginx:1.27'}]}}
daemonsets:
  spec:
    selector: {matchLabels: {app: web}}
    template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'nginx:1.27'}]}}
jobs:
  spec: {template: {spec: {restartPolicy: Never, containers: [{name: web, image: 'nginx:1.27'}]}}}
cronjobs:
  spec:
    schedule: 0 3 * * *
    jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: web, image: 'nginx:1.27'}]}}}}
poddisruptionbudgets: {spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}
resourcequotas: {spec: {hard: {pods: '10'}}}
limitranges: {spec: {limits: [{type: Container, max: {cpu: 100m}}]}}
pods: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'nginx:1.27'}]}}
";

/// What fills the namespace [`FULL`].
const LIMITS: [(&str, &str); 2] = [
    (
        "resourcequotas",
        "{metadata: {name: few}, spec: {hard: {pods: '0', count/deployments.apps: '0', count/jobs.batch: '0', \
         count/statefulsets.apps: '0', requests.cpu: '1'}}}",
    ),
    (
        "limitranges",
        "{metadata: {name: small}, spec: {limits: [{type: Container, min: {cpu: 10m}, max: {cpu: 100m}}]}}",
    ),
];

/// Where a resource is served; `full/` before its name means the full namespace, `ending/` the one that ends.
fn collection(resource: &str) -> String {
    let (namespace, resource) = resource.split_once('/').unwrap_or(("default", resource));
    let group = match resource {
        "statefulsets" | "deployments" | "replicasets" | "daemonsets" => "apis/apps/v1",
        "jobs" | "cronjobs" => "apis/batch/v1",
        "poddisruptionbudgets" => "apis/policy/v1",
        _ => "api/v1",
    };
    format!("/{group}/namespaces/{namespace}/{resource}")
}

fn good(resource: &str, name: &str) -> Value {
    let resource = resource.rsplit('/').next().unwrap();
    merge_patch(&yaml(GOOD)[resource], &json!({"metadata": {"name": name}}))
}

/// One of each kind with the name `web`, the full namespace and the one that ends.
async fn furnished() -> TestServer {
    let server = TestServer::start().await;
    for resource in yaml(GOOD).as_object().unwrap().keys() {
        let answer = server.post(&collection(resource), &good(resource, "web")).await;
        assert_eq!(answer.status, 201, "{resource}: {:?}", answer.body);
    }
    assert_eq!(server.post("/api/v1/namespaces", &json!({"metadata": {"name": FULL}})).await.status, 201);
    for (resource, change) in LIMITS {
        let path = collection(&format!("{FULL}/{resource}"));
        let answer = server.post(&path, &yaml(change)).await;
        assert_eq!(answer.status, 201, "{resource}: {:?}", answer.body);
    }
    assert_eq!(server.post("/api/v1/namespaces", &json!({"metadata": {"name": ENDING}})).await.status, 201);
    let ending = server.delete(&format!("/api/v1/namespaces/{ENDING}")).await.json();
    assert_eq!(ending["status"]["phase"], "Terminating");
    server
}

/// Content type of a method as the table writes it: `PATCH:merge`.
fn media(method: &str) -> String {
    match method.split_once(':') {
        None => "application/json".to_owned(),
        Some((_, "none")) => String::new(),
        Some((_, "json")) => "application/json-patch+json".to_owned(),
        Some((_, "merge")) => "application/merge-patch+json".to_owned(),
        Some((_, "strategic")) => "application/strategic-merge-patch+json".to_owned(),
        Some((_, "apply")) => "application/apply-patch+yaml".to_owned(),
        Some((_, other)) => other.to_owned(),
    }
}

/// A text in which UIDs, of which no two runs have the same, are not shown.
fn without_uids(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
    let shown = text.split_inclusive(|c| !is_part(c)).map(|word| {
        let uid = word.trim_end_matches(|c| !is_part(c));
        let is_uid = uid.len() == 36 && uid.matches('-').count() == 4 && !uid.starts_with("00000000");
        if is_uid { word.replace(uid, "(a uid)") } else { word.to_owned() }
    });
    shown.collect()
}

/// Sends a row: `RESOURCE METHOD WHERE BODY`. `WHERE` follows the collection's path; `-` is the collection itself. The
/// body of a POST is a change to a good object, of a PUT one to the stored object; after `raw:` it is sent as it is,
/// and after `times:N` it is sent as a list that holds it so often.
async fn send(server: &TestServer, row: &str) -> Answer {
    let mut words = row.splitn(4, ' ');
    let (resource, method, place) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let body = words.next().unwrap_or(if method == "POST" { "{}" } else { "raw:" });
    let path = match place {
        "-" => collection(resource),
        query if query.starts_with('?') => format!("{}{query}", collection(resource)),
        name => format!("{}/{name}", collection(resource)),
    };
    let verb = method.split(':').next().unwrap();
    let body = match (verb, body.strip_prefix("raw:")) {
        (_, Some(raw)) => raw.to_owned(),
        (_, None) if body.starts_with("times:") => {
            let (times, item) = body["times:".len()..].split_once(' ').unwrap();
            Value::from(vec![yaml(item); times.parse().unwrap()]).to_string()
        }
        ("POST", None) if !place.contains('/') => merge_patch(&good(resource, "new"), &yaml(body)).to_string(),
        ("PUT", None) => {
            let stored = server.get(path.split('?').next().unwrap()).await.json();
            merge_patch(&stored, &yaml(body)).to_string()
        }
        _ => yaml(body).to_string(),
    };
    let content_type = format!("Content-Type: {}", media(method));
    server.call(verb, &path, &[&content_type], body).await
}

/// and the categories of reliability.md 3.2 that touch these kinds: each row is refused with
/// upstream's code, reason, field and text, and changes nothing (S22).
///
/// The table holds the questions and the answers. `UPDATE_EXPECT=1` writes the answers anew.
#[tokio::test]
async fn bad_requests_about_workloads_are_refused_with_upstreams_answers_and_change_nothing() {
    let table = include_str!("bad_workloads.txt");
    let server = furnished().await;
    let (mut answers, mut wrong) = (String::new(), Vec::new());
    for line in table.lines().filter(|line| !line.starts_with("  ")) {
        answers.push_str(&format!("{line}\n"));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let before = server.store.revision();
        let answer = send(&server, line).await;
        answers.push_str(&without_uids(&said(&answer)));
        let status = answer.json();
        let is_failure = status["kind"] == "Status" && status["status"] == "Failure";
        let is_known = answer.status == 500 && SERVER_ERRORS.iter().any(|known| status["message"] == *known);
        let is_refused = answer.status.is_client_error() || is_known;
        if !is_refused || !is_failure || status["code"] != answer.status.as_u16() {
            wrong.push(format!("{line} is not refused: {} {status}", answer.status));
        }
        if server.store.revision() != before {
            wrong.push(format!("{line} changed something"));
        }
    }
    expect_file!["bad_workloads.txt"].assert_eq(&answers);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
