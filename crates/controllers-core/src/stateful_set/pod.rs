//! The objects that a set makes: pods and claims (section 1.9).

use serde_json::{Map, Value, json};

use super::view::{ClaimTemplate, Ordinal, POD_INDEX_LABEL, POD_NAME_LABEL, PodFacts, REVISION_LABEL, SetFacts};

/// The pod of a slot, made from a revision's template.
pub(super) fn pod(set: &SetFacts, ordinal: Ordinal, revision: &str, template: &Value) -> Value {
    let name = set.pod_name(ordinal);
    let mut labels = object(template.pointer("/metadata/labels"));
    labels.insert(REVISION_LABEL.to_owned(), json!(revision));
    labels.insert(POD_NAME_LABEL.to_owned(), json!(name));
    labels.insert(POD_INDEX_LABEL.to_owned(), json!(ordinal.to_string()));
    let mut metadata = json!({
        "name": name,
        "generateName": format!("{}-", set.name),
        "namespace": set.namespace,
        "labels": labels,
        "ownerReferences": [set.owner_reference()],
    });
    for copied in ["annotations", "finalizers"] {
        if let Some(value) = template.pointer(&format!("/metadata/{copied}")) {
            metadata[copied] = value.clone();
        }
    }
    let mut spec = object(template.get("spec"));
    spec.insert("hostname".to_owned(), json!(name));
    if set.service_name.is_empty() {
        spec.remove("subdomain");
    } else {
        spec.insert("subdomain".to_owned(), json!(set.service_name));
    }
    let volumes = volumes(set, ordinal, &spec);
    if !volumes.is_empty() {
        spec.insert("volumes".to_owned(), Value::Array(volumes));
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// One volume per claim template, then the template's volumes whose names are not taken.
fn volumes(set: &SetFacts, ordinal: Ordinal, spec: &Map<String, Value>) -> Vec<Value> {
    let claims = set.claim_templates.iter().map(|template| {
        json!({"name": template.name, "persistentVolumeClaim": {"claimName": set.claim_name(template, ordinal)}})
    });
    let own = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let free = own.filter(|volume| !set.claim_templates.iter().any(|template| volume["name"] == template.name));
    claims.chain(free.cloned()).collect()
}

/// The claim of a slot.
pub(super) fn claim(set: &SetFacts, ordinal: Ordinal, template: &ClaimTemplate, owners: &Value) -> Value {
    let mut metadata = object(template.body.get("metadata"));
    let mut labels = object(metadata.get("labels"));
    labels.extend(set.match_labels.iter().map(|(key, value)| (key.clone(), json!(value))));
    metadata.insert("name".to_owned(), json!(set.claim_name(template, ordinal)));
    metadata.insert("namespace".to_owned(), json!(set.namespace));
    metadata.insert("labels".to_owned(), Value::Object(labels));
    if owners.as_array().is_some_and(|owners| !owners.is_empty()) {
        metadata.insert("ownerReferences".to_owned(), owners.clone());
    }
    metadata.retain(|_, value| !value.is_null());
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": template.body.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

/// Whether each claim template is a volume of the pod, with the slot's claim (C-50).
pub(super) fn storage_matches(set: &SetFacts, ordinal: Ordinal, pod: &PodFacts<'_>) -> bool {
    set.claim_templates.iter().enumerate().all(|(index, template)| {
        let is_its = |claim: &str| {
            set.slot_of_claim(claim).is_some_and(|slot| slot.ordinal == ordinal && slot.template == index)
        };
        pod.claim_volumes.iter().any(|(volume, claim)| *volume == template.name && is_its(claim))
    })
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}
