//! What the clients of a run do to the API: they create, edit, delete and watch, and try again when nobody answers.

use std::sync::Arc;
use std::time::Duration;

use api::resources;
use client::{Client, Collection, DeleteOptions, Object, Patch, Propagation, Selection, WriteOptions};
use futures::StreamExt;
use meta::{ObjectId, Reason, ResourceId, Status};
use serde_json::{Value, json};

use crate::scenario::{Act, Cascade, Edit, SetSpec, Strategy};

/// The namespace in which everything happens.
pub const NAMESPACE: &str = "default";
/// The finalizer with which a client holds a pod.
pub const HOLD: &str = "sim.roadstead.dev/hold";
/// Times a client tries a request that nobody answered.
const ATTEMPTS_MAX: u32 = 4;
/// Times a client tries to use a name that is not free yet.
const RECREATIONS_MAX: u32 = 20;

/// Name of a set.
pub fn name(set: usize) -> String {
    format!("s{set}")
}

/// Name of the pod in a slot.
fn slot(set: usize, ordinal: u32) -> String {
    format!("{}-{ordinal}", name(set))
}

fn container(version: u32, stubborn: bool) -> Value {
    let image = if stubborn { "stubborn" } else { "app" };
    json!({
        "name": "c",
        "image": format!("{image}:v{version}"),
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 1},
    })
}

fn strategy(strategy: Strategy) -> Value {
    match strategy {
        Strategy::OnDelete => json!({"type": "OnDelete", "rollingUpdate": null}),
        Strategy::Rolling { partition, unavailable_max } => {
            let max = if unavailable_max == 0 { Value::Null } else { json!(unavailable_max) };
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition, "maxUnavailable": max}})
        }
        Strategy::RollingShare { percent } => {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": format!("{percent}%")}})
        }
    }
}

fn retention((deleted, scaled): (bool, bool)) -> Value {
    let word = |delete: bool| if delete { "Delete" } else { "Retain" };
    json!({"whenDeleted": word(deleted), "whenScaled": word(scaled)})
}

/// The annotations of a set that heals and rolls back by itself, or a patch that takes them away.
fn healing(is_wanted: bool) -> Value {
    let value = |text| if is_wanted { json!(text) } else { Value::Null };
    json!({"roadstead.dev/heal-rollout": value("never-ready"), "roadstead.dev/rollback-after": value("30s")})
}

/// The manifest of a set.
pub fn manifest(spec: &SetSpec) -> Value {
    let app = name(spec.set);
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": app, "namespace": NAMESPACE, "labels": {"stubborn": spec.stubborn.to_string()}},
        "spec": {
            "replicas": spec.replicas,
            "serviceName": app,
            "minReadySeconds": spec.min_ready_secs,
            "revisionHistoryLimit": spec.history_max,
            "podManagementPolicy": if spec.parallel { "Parallel" } else { "OrderedReady" },
            "ordinals": {"start": spec.start},
            "updateStrategy": without_nulls(strategy(spec.strategy)),
            "selector": {"matchLabels": {"app": app}},
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {
                    "terminationGracePeriodSeconds": spec.grace_secs,
                    "automountServiceAccountToken": false,
                    "containers": [container(1, spec.stubborn)],
                },
            },
        },
    });
    if spec.heals {
        set["metadata"]["annotations"] = healing(true);
    }
    if let Some(policy) = spec.claims {
        set["spec"]["persistentVolumeClaimRetentionPolicy"] = retention(policy);
        set["spec"]["volumeClaimTemplates"] = json!([{
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }]);
        set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "data", "mountPath": "/data"}]);
    }
    set
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        other => other,
    }
}

/// One client.
#[derive(Clone)]
pub struct Person {
    client: Arc<dyn Client>,
}

impl Person {
    /// A client that speaks through this.
    pub fn new(client: Arc<dyn Client>) -> Self {
        Self { client }
    }

    /// The client it speaks through.
    pub fn client(&self) -> &Arc<dyn Client> {
        &self.client
    }

    /// Does one act; what cannot be done is left.
    pub async fn perform(&self, act: &Act) -> Result<(), Status> {
        match act {
            Act::Create(spec) => self.create(spec).await,
            Act::Edit { set, edit } => self.edit(*set, *edit).await,
            Act::DeleteSet { set, cascade } => self.delete_set(*set, *cascade).await,
            Act::DeletePod { set, ordinal, force } => {
                let grace_period_secs = force.then_some(0);
                let options = DeleteOptions { grace_period_secs, ..DeleteOptions::default() };
                self.delete(resources::PODS, &slot(*set, *ordinal), options).await
            }
            Act::Estrange { set, ordinal } => {
                let patch = json!({"metadata": {"labels": {"app": "nobody"}}});
                self.patch(resources::PODS, &slot(*set, *ordinal), patch).await
            }
            Act::Unname { set, ordinal } => {
                let patch = json!({"metadata": {"labels": {"statefulset.kubernetes.io/pod-name": null}}});
                self.patch(resources::PODS, &slot(*set, *ordinal), patch).await
            }
            Act::DeleteClaim { set, ordinal } => {
                let claim = format!("data-{}-{ordinal}", name(*set));
                self.delete(resources::PERSISTENT_VOLUME_CLAIMS, &claim, DeleteOptions::default()).await
            }
            Act::DeleteRevision { set } => self.delete_revision(*set).await,
            Act::Recreate { spec, cascade } => self.recreate(spec, *cascade).await,
            Act::Intrude { set, ordinal, is_selected } => {
                self.intrude(&name(*set), &slot(*set, *ordinal), *is_selected).await
            }
            Act::DeleteAsSeen { set, ordinal, secs } => self.delete_as_seen(&slot(*set, *ordinal), *secs).await,
            Act::KeepVolume { set, ordinal } => {
                let keep = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
                for volume in self.volumes(*set, *ordinal).await? {
                    let (id, keep) = (ObjectId::cluster(resources::PERSISTENT_VOLUMES, volume.name()), keep.clone());
                    self.client.patch(&id, None, Patch::Merge(keep), &WriteOptions::default()).await?;
                }
                Ok(())
            }
            Act::DeleteVolume { set, ordinal } => {
                for volume in self.volumes(*set, *ordinal).await? {
                    let id = ObjectId::cluster(resources::PERSISTENT_VOLUMES, volume.name());
                    self.client.delete(&id, &DeleteOptions::default()).await?;
                }
                Ok(())
            }
            Act::Budget { set, unavailable_max } => self.budget(&name(*set), *unavailable_max).await,
            Act::Hold { set, ordinal, secs } => self.hold(&slot(*set, *ordinal), *secs).await,
            Act::Evict { set, ordinal } => self.evict(&slot(*set, *ordinal)).await,
            Act::Follow { resource, secs } => self.follow(resource, *secs).await,
            Act::Fault(_) => Ok(()),
        }
    }

    async fn delete_set(&self, set: usize, cascade: Cascade) -> Result<(), Status> {
        let propagation = Some(match cascade {
            Cascade::Orphan => Propagation::Orphan,
            Cascade::Background => Propagation::Background,
            Cascade::Foreground => Propagation::Foreground,
        });
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        self.delete(resources::STATEFUL_SETS, &name(set), options).await
    }

    /// Deletes a set and creates another one as soon as the name is free.
    async fn recreate(&self, spec: &SetSpec, cascade: Cascade) -> Result<(), Status> {
        let _if_there = self.delete_set(spec.set, cascade).await;
        for _ in 0..RECREATIONS_MAX {
            match self.create(spec).await {
                Err(status) if status.is_already_exists() => tokio::time::sleep(Duration::from_millis(700)).await,
                answer => return answer,
            }
        }
        Ok(())
    }

    /// Puts a pod where a set wants its own: one that the set does not select, or one that it does and that belongs to
    /// something else.
    async fn intrude(&self, set: &str, pod: &str, is_selected: bool) -> Result<(), Status> {
        let mut metadata = json!({
            "name": pod, "namespace": NAMESPACE, "labels": {"app": "nobody", "stranger": "true"},
        });
        if is_selected {
            let target = Collection::in_namespace(resources::CONFIG_MAPS, NAMESPACE);
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": pod}});
            let keeper = self.client.create(&target, None, body, &WriteOptions::default()).await?;
            metadata["labels"]["app"] = json!(set);
            metadata["ownerReferences"] = json!([{
                "apiVersion": "v1", "kind": "ConfigMap", "name": pod, "uid": keeper.uid().0, "controller": true,
            }]);
        }
        let body = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {
                "terminationGracePeriodSeconds": 2,
                "automountServiceAccountToken": false,
                "containers": [container(1, false)],
            },
        });
        let target = Collection::in_namespace(resources::PODS, NAMESPACE);
        self.client.create(&target, None, body, &WriteOptions::default()).await.map(drop)
    }

    /// Looks at a pod, and deletes after a while that incarnation and no other.
    async fn delete_as_seen(&self, pod: &str, secs: u64) -> Result<(), Status> {
        let seen = self.client.get(&ObjectId::namespaced(resources::PODS, NAMESPACE, pod)).await?;
        tokio::time::sleep(Duration::from_secs(secs)).await;
        let options = DeleteOptions { uid: Some(seen.uid()), ..DeleteOptions::default() };
        self.delete(resources::PODS, pod, options).await
    }

    /// The volumes that belong, or belonged, to the claim of a slot.
    async fn volumes(&self, set: usize, ordinal: u32) -> Result<Vec<Arc<Object>>, Status> {
        let claim = format!("data-{}", slot(set, ordinal));
        let target = Collection::all(resources::PERSISTENT_VOLUMES);
        let all = self.client.list(&target, &Selection::default()).await?;
        Ok(all.items.into_iter().filter(|volume| volume.tree()["spec"]["claimRef"]["name"] == *claim).collect())
    }

    async fn budget(&self, set: &str, unavailable_max: u32) -> Result<(), Status> {
        let spec = json!({"maxUnavailable": unavailable_max, "selector": {"matchLabels": {"app": set}}});
        let body = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": set, "namespace": NAMESPACE}, "spec": spec,
        });
        let target = Collection::in_namespace(resources::POD_DISRUPTION_BUDGETS, NAMESPACE);
        match self.client.create(&target, None, body, &WriteOptions::default()).await {
            Err(status) if status.is_already_exists() => {
                self.patch(resources::POD_DISRUPTION_BUDGETS, set, json!({"spec": spec})).await
            }
            answer => answer.map(drop),
        }
    }

    /// Keeps a pod from going for a while.
    async fn hold(&self, pod: &str, secs: u64) -> Result<(), Status> {
        self.finalizers(pod, |list| list.push(json!(HOLD))).await?;
        tokio::time::sleep(Duration::from_secs(secs)).await;
        self.let_go(pod).await
    }

    /// Takes the client's finalizer off a pod.
    pub async fn let_go(&self, pod: &str) -> Result<(), Status> {
        self.finalizers(pod, |list| list.retain(|one| one != HOLD)).await
    }

    /// Changes the finalizers that a pod has at the moment.
    async fn finalizers(&self, pod: &str, change: impl Fn(&mut Vec<Value>)) -> Result<(), Status> {
        let found = self.client.get(&ObjectId::namespaced(resources::PODS, NAMESPACE, pod)).await?;
        let mut list = found.tree()["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        change(&mut list);
        let revision = found.resource_version.0.to_string();
        let patch = json!({"metadata": {"resourceVersion": revision, "finalizers": list}});
        self.patch(resources::PODS, pod, patch).await
    }

    /// Asks for an eviction, as a drain does: again while the budget does not allow it.
    async fn evict(&self, pod: &str) -> Result<(), Status> {
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE},
        });
        let target = Collection::in_namespace(resources::PODS, NAMESPACE);
        let mut attempts = 1;
        loop {
            let answer = self.client.create(&target, Some("eviction"), body.clone(), &WriteOptions::default()).await;
            match answer {
                Err(status) if status.code == 429 && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// Tries a request again while it is not known what became of it.
    async fn insist<T, F>(&self, work: impl Fn(Arc<dyn Client>) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut attempts = 1;
        loop {
            match work(Arc::clone(&self.client)).await {
                Err(status)
                    if matches!(status.reason, Some(Reason::ServiceUnavailable | Reason::Timeout))
                        && attempts < ATTEMPTS_MAX =>
                {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn create(&self, spec: &SetSpec) -> Result<(), Status> {
        let body = manifest(spec);
        self.insist(|client| {
            let body = body.clone();
            async move {
                let target = Collection::in_namespace(resources::STATEFUL_SETS, NAMESPACE);
                client.create(&target, None, body, &WriteOptions::default()).await
            }
        })
        .await
        .map(drop)
    }

    async fn patch(&self, resource: ResourceId, name: &str, patch: Value) -> Result<(), Status> {
        let id = ObjectId::namespaced(resource, NAMESPACE, name);
        self.insist(|client| {
            let (id, patch) = (id.clone(), patch.clone());
            async move { client.patch(&id, None, Patch::Merge(patch), &WriteOptions::default()).await }
        })
        .await
        .map(drop)
    }

    async fn delete(&self, resource: ResourceId, name: &str, options: DeleteOptions) -> Result<(), Status> {
        let id = ObjectId::namespaced(resource, NAMESPACE, name);
        self.insist(|client| {
            let (id, options) = (id.clone(), options.clone());
            async move { client.delete(&id, &options).await }
        })
        .await
    }

    async fn edit(&self, set: usize, edit: Edit) -> Result<(), Status> {
        let id = ObjectId::namespaced(resources::STATEFUL_SETS, NAMESPACE, &name(set));
        let spec = match edit {
            Edit::Heal(is_wanted) => {
                let patch = json!({"metadata": {"annotations": healing(is_wanted)}});
                return self.patch(resources::STATEFUL_SETS, &name(set), patch).await;
            }
            Edit::Apply(replicas) => return self.apply(&id, replicas).await,
            Edit::Start(start) => json!({"ordinals": {"start": start}}),
            Edit::History(limit) => json!({"revisionHistoryLimit": limit}),
            Edit::Scale(replicas) => json!({"replicas": replicas}),
            Edit::Roll(_) | Edit::Break | Edit::Crowd => {
                let found = self.insist(|client| {
                    let id = id.clone();
                    async move { client.get(&id).await }
                });
                let found = found.await?;
                let mut old = found.tree()["spec"]["template"]["spec"]["containers"][0].clone();
                let stubborn = found.tree()["metadata"]["labels"]["stubborn"] == "true";
                old["image"] = match edit {
                    Edit::Roll(version) => container(version, stubborn)["image"].clone(),
                    Edit::Crowd => old["image"].clone(),
                    _ => json!("missing:v1"),
                };
                let is_crowd = edit == Edit::Crowd;
                old["resources"] = if is_crowd { json!({"requests": {"cpu": "4k"}}) } else { json!({}) };
                let node = if is_crowd { json!("n1") } else { Value::Null };
                json!({"template": {"spec": {"nodeName": node, "containers": [old]}}})
            }
            Edit::Strategy(wanted) => json!({"updateStrategy": strategy(wanted)}),
            Edit::Retention(deleted, scaled) => {
                json!({"persistentVolumeClaimRetentionPolicy": retention((deleted, scaled))})
            }
            Edit::MinReady(secs) => json!({"minReadySeconds": secs}),
        };
        self.patch(resources::STATEFUL_SETS, &name(set), json!({"spec": spec})).await
    }

    async fn apply(&self, id: &ObjectId, replicas: u32) -> Result<(), Status> {
        let body = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": id.name, "namespace": NAMESPACE}, "spec": {"replicas": replicas},
        });
        let options = WriteOptions { field_manager: "sim".to_owned(), ..WriteOptions::default() };
        let applied = self.insist(|client| {
            let (id, body, options) = (id.clone(), body.clone(), options.clone());
            async move { client.patch(&id, None, Patch::Apply { body, force: true }, &options).await }
        });
        applied.await.map(drop)
    }

    async fn delete_revision(&self, set: usize) -> Result<(), Status> {
        let target = Collection::in_namespace(resources::CONTROLLER_REVISIONS, NAMESPACE);
        let list = self.client.list(&target, &Selection::default()).await?;
        let prefix = format!("{}-", name(set));
        let mine = list.items.iter().filter(|one| one.name().starts_with(&prefix));
        match mine.max_by_key(|one| one.tree()["revision"].as_i64()) {
            Some(newest) => self.delete(resources::CONTROLLER_REVISIONS, newest.name(), DeleteOptions::default()).await,
            None => Ok(()),
        }
    }

    /// Watches; the judges look at what arrives.
    async fn follow(&self, resource: &str, secs: u64) -> Result<(), Status> {
        let resource = match resource {
            "pods" => resources::PODS,
            "statefulsets" => resources::STATEFUL_SETS,
            "persistentvolumeclaims" => resources::PERSISTENT_VOLUME_CLAIMS,
            _ => resources::EVENTS,
        };
        let target = Collection::in_namespace(resource, NAMESPACE);
        let labels = if target.resource == resources::PODS { "app=s0".to_owned() } else { String::new() };
        let selection = Selection { labels, ..Selection::default() };
        let list = self.client.list(&target, &selection).await?;
        let mut events = self.client.watch(&target, &selection, list.resource_version).await?;
        let _over =
            tokio::time::timeout(Duration::from_secs(secs), async { while let Some(Ok(_)) = events.next().await {} })
                .await;
        Ok(())
    }
}
