//! `roadstead plan`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::process::ExitCode;

use anyhow::Result;
use explain::forecast::{FieldChange, Forecast, changed_fields, forecast};
use explain::{Cluster, Ref};
use kube::Client;
use serde_json::{Value, json};

use crate::apply::{Applied, Applier, Outcome};
use crate::cli::{Output, PlanArgs};
use crate::gather;
use crate::manifest::{self, Manifest};

/// Exit code if there is something to do.
const SOMETHING: u8 = 2;

/// What becomes of one manifest.
struct Planned {
    title: String,
    outcome: Outcome,
    fields: Vec<FieldChange>,
    forecast: Option<Forecast>,
    note: Option<&'static str>,
}

/// Prints what the manifests would do; exit code 0 if nothing, 2 if something.
///
/// # Errors
/// If a manifest is refused: with the API's own words; nothing is changed in any case.
pub async fn run(args: &PlanArgs) -> Result<ExitCode> {
    let manifests = manifest::read_all(&args.files)?;
    let client = super::connect_to(&args.instance, args.kubeconfig.as_deref()).await?;
    let mut applier = Applier::new(client.clone(), &args.namespace);
    let mut applied = Vec::with_capacity(manifests.len());
    for manifest in &manifests {
        applied.push(tried(&mut applier, manifest, &manifests, &args.namespace).await?);
    }
    let clusters = clusters_of(&client, &applied).await?;
    let planned = applied.iter().map(|one| plan(&clusters, one, &applied)).collect::<Result<Vec<_>>>()?;
    match args.output {
        Output::Text => planned.iter().for_each(print_one),
        Output::Json => {
            println!("{:#}", json!({"objects": planned.iter().map(to_json).collect::<Vec<_>>()}));
        }
    }
    let nothing = planned.iter().all(|one| one.outcome == Outcome::Unchanged);
    Ok(if nothing { ExitCode::SUCCESS } else { ExitCode::from(SOMETHING) })
}

/// A dry run; in a namespace that another manifest makes, the manifest as it is, because the API cannot look at it yet.
async fn tried(applier: &mut Applier, manifest: &Manifest, all: &[Manifest], namespace: &str) -> Result<Applied> {
    let named = manifest.text("/metadata/namespace");
    let within = if named.is_empty() { namespace } else { named };
    let made_here = all.iter().any(|one| one.text("/kind") == "Namespace" && one.text("/metadata/name") == within);
    match applier.dry_run(manifest).await {
        Err(error) if made_here && format!("{error:#}").contains("not found") => {
            let mut object = manifest.object.clone();
            object["metadata"]["namespace"] = json!(within);
            Ok(Applied { title: manifest.title(), outcome: Outcome::Created, before: None, object })
        }
        other => other,
    }
}

/// What is there now in every namespace for one of whose sets a forecast is made, by the namespace's name.
async fn clusters_of(client: &Client, all: &[Applied]) -> Result<BTreeMap<String, Cluster>> {
    let mut clusters = BTreeMap::new();
    for one in all.iter().filter(|one| one.object["kind"] == "StatefulSet") {
        let namespace = Ref::of(&one.object).namespace;
        if let Entry::Vacant(place) = clusters.entry(namespace) {
            let found = gather::everything(client, place.key()).await?;
            place.insert(found);
        }
    }
    Ok(clusters)
}

fn plan(clusters: &BTreeMap<String, Cluster>, one: &Applied, all: &[Applied]) -> Result<Planned> {
    let kind = one.object["kind"].as_str().unwrap_or_default();
    let fields = one.before.as_ref().map_or_else(Vec::new, |before| changed_fields(before, &one.object));
    let forecast = if kind == "StatefulSet" { Some(forecast_of(clusters, one, all)?) } else { None };
    let note = note(kind, one, &fields);
    // An annotation of ours alone is no change that anybody would call one.
    let outcome = match one.outcome {
        Outcome::Configured if fields.is_empty() && forecast.as_ref().is_none_or(Forecast::is_nothing) => {
            Outcome::Unchanged
        }
        outcome => outcome,
    };
    Ok(Planned { title: one.title.clone(), outcome, fields, forecast, note })
}

/// The set's future on a copy of its namespace in which the other manifests are applied already.
fn forecast_of(clusters: &BTreeMap<String, Cluster>, one: &Applied, all: &[Applied]) -> Result<Forecast> {
    let set = Ref::of(&one.object);
    let mut cluster = clusters.get(&set.namespace).cloned().unwrap_or_default();
    for other in all.iter().filter(|other| Ref::of(&other.object) != set) {
        cluster.insert(other.object.clone());
    }
    Ok(forecast(&cluster, &one.object, jiff::Timestamp::now())?)
}

/// What the change of another kind means for pods.
fn note(kind: &str, one: &Applied, fields: &[FieldChange]) -> Option<&'static str> {
    if one.before.is_none() || fields.is_empty() {
        return None;
    }
    let touches = |prefix: &str| fields.iter().any(|field| field.path.starts_with(prefix));
    match kind {
        "ConfigMap" | "Secret" if touches("data") || touches("stringData") => {
            Some("pods see it in mounted files by themselves, in their environment only after a restart")
        }
        "Pod" if touches("spec.containers") || touches("spec.initContainers") => Some(
            "the containers whose image changes are restarted in place; the pod keeps its name, address and volumes",
        ),
        "PersistentVolumeClaim" if touches("spec.resources") => Some("the volume grows; its data stays"),
        "Deployment" | "DaemonSet" if touches("spec.template") => Some("its pods are replaced by its update strategy"),
        _ => None,
    }
}

fn print_one(one: &Planned) {
    let verb = match one.outcome {
        Outcome::Created => "is created",
        Outcome::Configured => "changes",
        Outcome::Unchanged => "stays as it is",
    };
    println!("{} {verb}", one.title);
    // The forecast tells the fields itself.
    if let Some(forecast) = one.forecast.as_ref().filter(|_| one.outcome != Outcome::Unchanged) {
        let text = forecast.to_string();
        text.lines().skip(1).for_each(|line| println!("{line}"));
        return;
    }
    for field in &one.fields {
        println!("  {field}");
    }
    if let Some(note) = one.note {
        println!("  {note}");
    }
}

fn to_json(one: &Planned) -> Value {
    json!({
        "object": one.title,
        "outcome": one.outcome.to_string(),
        "fields": one.fields,
        "note": one.note,
        "forecast": one.forecast,
    })
}
