//! The verbs on objects, over TLS on loopback, with a store in memory.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{CONFIG_MAPS, TestServer, version};

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let server = TestServer::start().await;
    let created = server.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "1"}})).await;
    assert_eq!((created.status.as_u16(), created.header("content-type")), (201, "application/json"));
    let created = created.json();
    assert_eq!((&created["kind"], &created["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(created["metadata"]["uid"].as_str().unwrap().len(), 36);

    let path = format!("{CONFIG_MAPS}/a");
    let read = server.get(&path).await;
    assert_eq!(read.json(), created);
    assert_eq!(read.header("cache-control"), "no-cache, private");
    assert!(read.body.ends_with(b"}\n"));

    let mut changed = created.clone();
    changed["data"]["k"] = "2".into();
    let updated = server.put(&path, &changed).await;
    assert_eq!(updated.status, 200);
    assert!(version(&updated.json()).parse::<u64>().unwrap() > version(&created).parse::<u64>().unwrap());

    let stale = server.put(&path, &changed).await;
    assert_eq!(stale.status, 409);
    assert_eq!(
        stale.json()["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );

    let deleted = server.delete(&path).await;
    assert_eq!(deleted.status, 200);
    let status = deleted.json();
    assert_eq!((&status["status"], &status["details"]["uid"]), (&json!("Success"), &created["metadata"]["uid"]));
    let gone = server.get(&path).await;
    assert_eq!((gone.status.as_u16(), gone.json()["reason"].clone()), (404, json!("NotFound")));
}

#[tokio::test]
async fn a_write_that_changes_nothing_has_no_revision() {
    let server = TestServer::start().await;
    server.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let before = server.get(&path).await.json();
    let revision = server.store.revision();
    assert_eq!(server.put(&path, &before).await.json(), before);
    assert_eq!(server.patch(&path, "merge-patch+json", &json!({"data": {"k": "v"}})).await.json(), before);
    assert_eq!(server.patch(&path, "strategic-merge-patch+json", &json!({})).await.json(), before);
    assert_eq!(server.store.revision(), revision);
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_stores_nothing() {
    let server = TestServer::start().await;
    let revision = server.store.revision();
    let body = json!({"metadata": {"name": "a"}});
    let answer = server.post(&format!("{CONFIG_MAPS}?dryRun=All"), &body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["metadata"]["resourceVersion"], Value::Null);
    assert_eq!(server.get(&format!("{CONFIG_MAPS}/a")).await.status, 404);
    assert_eq!(server.store.revision(), revision);
    assert_eq!(server.post(&format!("{CONFIG_MAPS}?dryRun=Some"), &body).await.status, 422);
}

#[tokio::test]
async fn refusals_are_statuses_with_upstreams_words() {
    let server = TestServer::start().await;
    server.config_map("a", json!({})).await;
    let named = |name: &str| json!({"metadata": {"name": name}});
    let check = async |method: &str, path: &str, headers: &[&str], body: &Value, code: u16, text: &str| {
        let answer =
            server.call(method, path, headers, if body.is_null() { String::new() } else { body.to_string() }).await;
        assert_eq!(answer.status, code, "{method} {path}: {:?}", answer.body);
        let status = answer.json();
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)));
        assert!(status["message"].as_str().unwrap().contains(text), "{}", status["message"]);
        assert!(!answer.body[..answer.body.len() - 1].contains(&b'\n'), "one line");
    };
    check("POST", CONFIG_MAPS, &[], &named("a"), 409, "configmaps \"a\" already exists").await;
    let missing = "/api/v1/namespaces/nowhere/configmaps";
    check("POST", missing, &[], &named("a"), 404, "namespaces \"nowhere\" not found").await;
    check("POST", CONFIG_MAPS, &[], &json!({}), 422, "name or generateName is required").await;
    check("POST", CONFIG_MAPS, &["Content-Type: text/plain"], &named("b"), 415, "unknown format").await;
    check("GET", CONFIG_MAPS, &["Accept: text/html"], &Value::Null, 406, "only the following media types").await;
    check("PUT", CONFIG_MAPS, &[], &named("b"), 405, "does not allow this method").await;
    check("DELETE", "/api/v1/namespaces", &[], &Value::Null, 405, "does not allow this method").await;
    check("GET", "/api/v1/nothings", &[], &Value::Null, 404, "could not find the requested resource").await;
    let unknown = json!({"metadata": {"name": "b"}, "dta": {}});
    check("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &[], &unknown, 400, "unknown field \"dta\"").await;
    check("GET", &format!("{CONFIG_MAPS}?fieldSelector=a=b"), &[], &Value::Null, 400, "not a known field selector")
        .await;
    check("GET", &format!("{CONFIG_MAPS}?continue=x"), &[], &Value::Null, 400, "invalid continue token").await;
    let token = &["Authorization: Bearer wrong"];
    check("GET", CONFIG_MAPS, token, &Value::Null, 401, "Unauthorized").await;
    let nobody = &["Authorization: "];
    check("GET", CONFIG_MAPS, nobody, &Value::Null, 403, "User \"system:anonymous\" cannot list resource").await;
    let large = json!({"metadata": {"name": "b"}, "data": {"k": "x".repeat(3 << 20)}});
    check("POST", CONFIG_MAPS, &[], &large, 413, "limit is 3145728").await;
    let off_map = server.get("/apis/nowhere/v1/things").await;
    assert_eq!((off_map.status.as_u16(), &off_map.body[..]), (404, &b"404 page not found\n"[..]));
}

#[tokio::test]
async fn unknown_fields_are_warned_of() {
    let server = TestServer::start().await;
    let answer = server.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}, "dta": {}})).await;
    assert_eq!((answer.status.as_u16(), answer.header("warning")), (201, "299 - \"unknown field \\\"dta\\\"\""));
}

#[tokio::test]
async fn protobuf_and_yaml_bodies_are_understood() {
    let server = TestServer::start().await;
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "pb"}, "data": {"k": "v"}});
    let bytes = api::codec::protobuf::encode(&object).unwrap();
    let protobuf = "application/vnd.kubernetes.protobuf";
    let headers = [&*format!("Content-Type: {protobuf}"), &*format!("Accept: {protobuf},application/json")];
    let answer = server.call("POST", CONFIG_MAPS, &headers, bytes).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (201, protobuf));
    assert!(answer.body.starts_with(b"k8s\0"));
    let refused = server.call("GET", &format!("{CONFIG_MAPS}/none"), &headers[1..], "").await;
    assert!(refused.body.starts_with(b"k8s\0"), "errors are negotiated too");

    let yaml = "metadata:\n  name: yml\ndata:\n  k: v\n";
    let headers = ["Content-Type: application/yaml", "Accept: application/yaml"];
    let answer = server.call("POST", CONFIG_MAPS, &headers, yaml).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (201, "application/yaml"));
    assert!(String::from_utf8_lossy(&answer.body).contains("name: yml\n"));
}

#[tokio::test]
async fn pages_show_one_snapshot_and_count_what_remains() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.config_map(name, json!({})).await;
    }
    let first = server.get(&format!("{CONFIG_MAPS}?limit=2")).await.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.delete(&format!("{CONFIG_MAPS}/c")).await;
    server.config_map("cc", json!({})).await;
    let mut names: Vec<String> = names_of(&first);
    let mut token = first["metadata"]["continue"].as_str().map(str::to_owned);
    while let Some(next) = token {
        let page = server.get(&format!("{CONFIG_MAPS}?limit=2&continue={next}")).await.json();
        assert_eq!(version(&page), version(&first));
        names.extend(names_of(&page));
        token = page["metadata"]["continue"].as_str().map(str::to_owned);
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

fn names_of(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_page_of_a_compacted_snapshot_is_410_with_a_token_that_goes_on() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c"] {
        server.config_map(name, json!({})).await;
    }
    let first = server.get(&format!("{CONFIG_MAPS}?limit=1")).await.json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    server.config_map("d", json!({})).await;
    server.store.compact(server.store.revision()).await.unwrap();
    let gone = server.get(&format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    assert_eq!((gone.status.as_u16(), gone.json()["reason"].clone()), (410, json!("Expired")));
    let fresh = gone.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = server.get(&format!("{CONFIG_MAPS}?continue={fresh}")).await.json();
    assert_eq!(names_of(&rest), ["b", "c", "d"]);
}

#[tokio::test]
async fn selectors_are_applied_before_the_limit() {
    let server = TestServer::start().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")] {
        server.config_map(name, json!({"l": label})).await;
    }
    let page = server.get(&format!("{CONFIG_MAPS}?labelSelector=l%3Dx&limit=2")).await.json();
    assert_eq!(names_of(&page), ["a", "c"]);
    assert_eq!(page["metadata"]["remainingItemCount"], Value::Null);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let page = server.get(&format!("{CONFIG_MAPS}?labelSelector=l%3Dx&limit=2&continue={token}")).await.json();
    assert_eq!(names_of(&page), ["d"]);
    let one = server.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db")).await.json();
    assert_eq!(names_of(&one), ["b"]);
}

#[tokio::test]
async fn tables_and_metadata_are_projections_of_lists_and_objects() {
    let server = TestServer::start().await;
    server.config_map("a", json!({})).await;
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = server.call("GET", CONFIG_MAPS, &[accept], "").await.json();
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let accept = "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = server.call("GET", CONFIG_MAPS, &[accept], "").await.json();
    assert_eq!((&list["kind"], &list["items"][0]["data"]), (&json!("PartialObjectMetadataList"), &Value::Null));
}

#[tokio::test]
async fn a_revision_that_has_not_come_is_504_after_a_while() {
    let server = TestServer::start().await;
    let answer = server.get(&format!("{CONFIG_MAPS}?resourceVersion=999999")).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_patch_that_loses_a_race_is_repeated() {
    //
    let server = TestServer::start().await;
    server.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let server = &server;
    let patches = (0..10).map(|n| {
        let path = &path;
        async move {
            let patch = json!({"data": {format!("k{n}"): "v"}});
            server.patch(path, "merge-patch+json", &patch).await.status.as_u16()
        }
    });
    let codes = futures::future::join_all(patches).await;
    assert!(codes.iter().all(|code| *code == 200 || *code == 409), "{codes:?}");
    let data = server.get(&path).await.json()["data"].as_object().unwrap().len();
    assert_eq!(data, 1 + codes.iter().filter(|code| **code == 200).count());
}

#[tokio::test]
async fn finalizers_hold_a_deleted_object_until_the_last_is_gone() {
    let server = TestServer::start().await;
    let body = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    server.post(CONFIG_MAPS, &body).await;
    let path = format!("{CONFIG_MAPS}/a");
    let marked = server.delete(&path).await;
    assert_eq!(marked.status, 200);
    assert!(marked.json()["metadata"]["deletionTimestamp"].is_string());
    let last = server.patch(&path, "merge-patch+json", &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(last.status, 200);
    assert_eq!(server.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    // C-94.
    let server = TestServer::start().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        server.config_map(name, json!({"l": label})).await;
    }
    let answer = server.delete(&format!("{CONFIG_MAPS}?labelSelector=l%3Dx")).await;
    assert_eq!(names_of(&answer.json()), ["a", "c"]);
    assert_eq!(names_of(&server.get(CONFIG_MAPS).await.json()), ["b"]);
}

#[tokio::test]
async fn services_get_addresses_that_nobody_else_has() {
    let server = TestServer::start().await;
    let mut given = std::collections::BTreeSet::new();
    for n in 0..40 {
        let body = json!({"metadata": {"name": format!("s{n}")}, "spec": {"ports": [{"port": 80}]}});
        let answer = server.post("/api/v1/namespaces/default/services", &body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        assert!(given.insert(answer.json()["spec"]["clusterIP"].as_str().unwrap().to_owned()));
    }
    assert!(!given.contains("10.96.0.1"), "the first address is that of default/kubernetes");
    let own = server.get("/api/v1/namespaces/default/services/kubernetes").await.json();
    assert_eq!(own["spec"]["clusterIP"], "10.96.0.1");
    let taken = given.first().unwrap();
    let body = json!({"metadata": {"name": "t"}, "spec": {"clusterIP": taken, "ports": [{"port": 80}]}});
    let refused = server.post("/api/v1/namespaces/default/services", &body).await;
    assert_eq!(refused.status, 422);
}

#[tokio::test]
async fn an_address_is_free_again_when_its_service_is_gone_and_not_before() {
    let server = TestServer::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, held: bool| {
        let finalizers: &[&str] = if held { &["example.com/hold"] } else { &[] };
        json!({
            "metadata": {"name": name, "finalizers": finalizers},
            "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]},
        })
    };
    assert_eq!(server.post(services, &service("a", true)).await.status, 201);
    assert_eq!(server.delete(&format!("{services}/a?dryRun=All")).await.status, 200);
    assert_eq!(server.delete(&format!("{services}/a")).await.status, 200);
    assert_eq!(server.post(services, &service("b", false)).await.status, 422, "it is going, but not gone");
    let free = json!({"metadata": {"finalizers": null}});
    assert_eq!(server.patch(&format!("{services}/a"), "merge-patch+json", &free).await.status, 200);
    assert_eq!(server.post(services, &service("b", false)).await.status, 201);
    let path = format!("{services}/b");
    server.patch(&path, "merge-patch+json", &json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(server.post(services, &service("c", false)).await.status, 422, "an update keeps it");
}

#[tokio::test]
async fn a_token_of_a_service_account_is_good_until_the_account_is_gone() {
    let server = TestServer::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.post(accounts, &json!({"metadata": {"name": "robot"}})).await;
    let answer = server.post(&format!("{accounts}/robot/token"), &json!({"spec": {"expirationSeconds": 600}})).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let token = format!("Authorization: Bearer {}", answer.json()["status"]["token"].as_str().unwrap());
    assert_eq!(server.call("GET", CONFIG_MAPS, &[&token], "").await.status, 200);
    server.delete(&format!("{accounts}/robot")).await;
    assert_eq!(server.call("GET", CONFIG_MAPS, &[&token], "").await.status, 401);
}

#[tokio::test]
async fn the_server_describes_itself() {
    let server = TestServer::start().await;
    let nobody = &["Authorization: "];
    assert_eq!(&server.call("GET", "/healthz", nobody, "").await.body[..], b"ok");
    assert!(server.call("GET", "/readyz?verbose", nobody, "").await.body.ends_with(b"readyz check passed\n"));
    assert_eq!(server.call("GET", "/version", nobody, "").await.json()["minor"], "37");
    assert_eq!(server.call("GET", "/api", nobody, "").await.status, 403);
    let accept = "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = server.call("GET", "/apis", &[accept], "").await;
    assert_eq!(
        aggregated.header("content-type"),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let held = format!("If-None-Match: {}", aggregated.header("etag"));
    assert_eq!(server.call("GET", "/apis", &[accept, &held], "").await.status, 304);
    assert_eq!(server.get("/apis").await.json()["kind"], "APIGroupList");
    assert_eq!(server.get("/api/v1").await.json()["kind"], "APIResourceList");
    let index = server.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&url).await.header("cache-control"), "public, immutable");
    assert!(String::from_utf8_lossy(&server.get("/metrics").await.body).contains("store_revision"));
}

#[tokio::test]
async fn an_applied_configuration_owns_its_fields_and_equal_values_change_nothing() {
    let server = TestServer::start().await;
    let path = "/apis/apps/v1/namespaces/default/statefulsets/web";
    let config = |replicas: u32, memory: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
            "spec": {
                "replicas": replicas, "serviceName": "web", "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                    {"name": "c", "image": "i", "resources": {"limits": {"memory": memory}}}
                ]}},
            },
        })
    };
    let apply = async |manager: &str, config: Value| {
        server.patch(&format!("{path}?fieldManager={manager}"), "apply-patch+yaml", &config).await
    };
    assert_eq!(server.patch(path, "apply-patch+yaml", &config(1, "1Gi")).await.status, 422, "no manager");
    let created = apply("one", config(1, "1024Mi")).await;
    assert_eq!(created.status, 201, "{:?}", created.body);
    let created = created.json();
    assert_eq!(created["metadata"]["managedFields"][0]["manager"], "one");
    let again = apply("one", config(1, "1Gi")).await;
    assert_eq!((again.status.as_u16(), version(&again.json())), (200, version(&created)));
    let conflict = apply("two", config(2, "1Gi")).await;
    assert_eq!(conflict.status, 409);
    assert_eq!(conflict.json()["details"]["causes"][0]["field"], ".spec.replicas");
    let forced =
        server.patch(&format!("{path}?fieldManager=two&force=true"), "apply-patch+yaml", &config(2, "1Gi")).await;
    assert_eq!((forced.status.as_u16(), forced.json()["spec"]["replicas"].clone()), (200, json!(2)));
    let mut unknown = config(2, "1Gi");
    unknown["spec"]["foo"] = json!(1);
    let refused = apply("two", unknown).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["message"].as_str().unwrap().contains(".spec.foo: field not declared in schema"));
}

#[tokio::test]
async fn a_scale_is_read_and_written_on_its_own() {
    let server = TestServer::start().await;
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "serviceName": "web", "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    assert_eq!(server.post(sets, &set).await.status, 201);
    let path = format!("{sets}/web/scale");
    let scale = server.get(&path).await.json();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    let patched = server.patch(&path, "merge-patch+json", &json!({"spec": {"replicas": 5}})).await;
    assert_eq!((patched.status.as_u16(), patched.json()["spec"]["replicas"].clone()), (200, json!(5)));
    let set = server.get(&format!("{sets}/web")).await.json();
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["generation"]), (&json!(5), &json!(2)));
    let negative = server.patch(&path, "merge-patch+json", &json!({"spec": {"replicas": -1}})).await;
    assert_eq!(negative.status, 422);
}

#[tokio::test]
async fn a_pod_is_bound_once_and_evicted() {
    let server = TestServer::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let created = server.post(pods, &pod).await;
    assert_eq!(created.status, 201, "{:?}", created.body);
    assert_eq!(created.json()["spec"]["serviceAccountName"], "default", "the namespace came with its account");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(server.post(&format!("{pods}/p/binding"), &binding).await.status, 201);
    assert_eq!(server.post(&format!("{pods}/p/binding"), &binding).await.status, 409);
    let status = json!({"status": {"phase": "Running"}, "spec": {"nodeName": "n2"}});
    let patched = server.patch(&format!("{pods}/p/status"), "strategic-merge-patch+json", &status).await.json();
    assert_eq!((&patched["status"]["phase"], &patched["spec"]["nodeName"]), (&json!("Running"), &json!("n1")));
    let eviction = json!({"metadata": {"name": "p"}, "kind": "Eviction", "apiVersion": "policy/v1"});
    assert_eq!(server.post(&format!("{pods}/p/eviction"), &eviction).await.status, 201);
    assert_eq!(server.get(&format!("{pods}/p")).await.json()["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(server.delete(&format!("{pods}/p?gracePeriodSeconds=0")).await.status, 200);
    assert_eq!(server.get(&format!("{pods}/p")).await.status, 404);
}

#[tokio::test]
async fn an_administrator_may_act_as_somebody_else() {
    let server = TestServer::start().await;
    let asked = ["Impersonate-User: system:anonymous"];
    assert_eq!(server.call("GET", CONFIG_MAPS, &asked, "").await.status, 403);
    assert_eq!(server.call("GET", CONFIG_MAPS, &["Impersonate-User: jane"], "").await.status, 200);
    assert_eq!(server.call("GET", CONFIG_MAPS, &["Impersonate-Group: x"], "").await.status, 400);
}

#[tokio::test]
async fn an_applied_scale_is_owned_by_its_applier_through_scale() {
    // P-52.
    let server = TestServer::start().await;
    let sets = "/apis/apps/v1/namespaces/default/deployments";
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}},
        },
    });
    assert_eq!(server.post(&format!("{sets}?fieldManager=maker"), &set).await.status, 201);
    let scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": replicas}});
    let apply = async |query: &str, body: Value| {
        server.patch(&format!("{sets}/web/scale?fieldManager=scaler{query}"), "apply-patch+yaml", &body).await
    };
    let refused = apply("", scale(3)).await;
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 1 conflict: conflict with \"maker\" using apps/v1: .spec.replicas"
    );
    let done = apply("&force=true", scale(3)).await;
    assert_eq!((done.status.as_u16(), &done.json()["spec"]["replicas"]), (200, &json!(3)));
    let web = server.get(&format!("{sets}/web")).await.json();
    let entries = web["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == "scaler").unwrap();
    assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("scale")));
    assert_eq!(own["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert!(entries.iter().all(|it| it["manager"] != "maker" || it["fieldsV1"]["f:spec"]["f:replicas"].is_null()));
    let version = web["metadata"]["resourceVersion"].clone();
    assert_eq!(apply("", scale(3)).await.status, 200);
    let same = server.get(&format!("{sets}/web")).await.json();
    assert_eq!(same["metadata"]["resourceVersion"], version, "applying the same again changes nothing");
    assert_eq!(apply("", scale(-1)).await.status, 422);
    assert_eq!(apply("", json!({"apiVersion": "apps/v1", "kind": "Deployment"})).await.status, 400);
}
