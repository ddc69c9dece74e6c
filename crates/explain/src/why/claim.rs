//! Claims and the volumes behind them.

use serde_json::Value;

use super::{Trail, Verdict, deletion, kubectl};
use crate::cluster::{Ref, condition, text};

/// Names the default class.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// The node that the scheduler chose for the claim's first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// What a claim waits for.
pub(super) fn follow(trail: &mut Trail<'_>, about: &Ref, claim: &Value) -> Verdict {
    match text(claim, "/status/phase") {
        "Bound" => bound(trail, about, claim),
        "Lost" => {
            let volume = text(claim, "/spec/volumeName");
            trail.says(about, format!("has lost its volume: persistentvolume/{volume} does not exist any more"));
            Verdict::stuck([
                "bring the PersistentVolume object back from a backup; the bytes may still be there".to_owned(),
                format!(
                    "to begin with an empty volume: `{}`",
                    kubectl(&about.namespace, &format!("delete pvc {}", about.name))
                ),
            ])
        }
        _ => pending(trail, about, claim),
    }
}

fn bound(trail: &mut Trail<'_>, about: &Ref, claim: &Value) -> Verdict {
    let volume = text(claim, "/spec/volumeName");
    if let Some(resizing) = condition(claim, "FileSystemResizePending").or_else(|| condition(claim, "Resizing")) {
        trail.says(about, format!("is being made larger: {}", text(resizing, "/message")));
        return Verdict::working();
    }
    let (asked, has) = (text(claim, "/spec/resources/requests/storage"), text(claim, "/status/capacity/storage"));
    let larger = asked.parse::<meta::Quantity>().ok().zip(has.parse::<meta::Quantity>().ok());
    if larger.is_some_and(|(asked, has)| asked > has) {
        trail.says(about, format!("asks for {asked} and has {has}"));
        let class = Ref::new("StorageClass", "", text(claim, "/spec/storageClassName"));
        if trail.cluster.get(&class).is_some_and(|class| class["allowVolumeExpansion"] == true) {
            return Verdict::working();
        }
        return Verdict::stuck([
            "its storage class does not let volumes grow: copy the data to a larger claim".to_owned()
        ]);
    }
    trail.says(about, format!("is bound to persistentvolume/{volume}"));
    Verdict::fine()
}

fn pending(trail: &mut Trail<'_>, about: &Ref, claim: &Value) -> Verdict {
    let wanted = text(claim, "/spec/volumeName");
    if !wanted.is_empty() {
        return prebound(trail, about, wanted);
    }
    let Some(name) = claim.pointer("/spec/storageClassName").and_then(Value::as_str) else {
        let has_default = trail
            .cluster
            .list("StorageClass", "")
            .any(|class| class["metadata"]["annotations"][DEFAULT_CLASS] == "true");
        if has_default {
            trail.says(about, "gets the default storage class");
            return Verdict::working();
        }
        trail.says(about, "names no storage class, and there is no default one");
        return Verdict::stuck([format!(
            "mark one as the default: `kubectl annotate storageclass NAME {DEFAULT_CLASS}=true`, \
             or delete the claim and create it with spec.storageClassName"
        )]);
    };
    if name.is_empty() {
        trail.says(about, "wants a volume that exists already (storageClassName \"\"), and none fits");
        return Verdict::stuck(["create a PersistentVolume with its size, access modes and labels".to_owned()]);
    }
    let Some(class) = trail.cluster.get(&Ref::new("StorageClass", "", name)) else {
        trail.says(about, format!("waits for storage class {name:?}, which does not exist"));
        return Verdict::stuck([format!(
            "`kubectl get storageclass` shows those that exist; create {name:?}, or the claim anew with another class"
        )]);
    };
    if let Some(message) = trail.warning(about, &["ProvisioningFailed"]) {
        trail.says(about, format!("gets no volume: {message}"));
        return Verdict::stuck(["remove the cause that the message names; provisioning is tried again".to_owned()]);
    }
    let is_selected = !text(&claim["metadata"]["annotations"][SELECTED_NODE], "").is_empty();
    if class["volumeBindingMode"] == "WaitForFirstConsumer" && !is_selected {
        if let Some(user) = deletion::claim_user(trail, about) {
            trail.says(about, format!("gets its volume where {user} is placed"));
            return if trail.chain.iter().any(|link| link.about == user) {
                Verdict::working()
            } else {
                trail.follow(&user)
            };
        }
        trail.says(about, "gets its volume when the first pod uses it (WaitForFirstConsumer), and no pod does");
        return Verdict::working();
    }
    let provisioner = text(class, "/provisioner");
    trail.says(about, format!("waits for {provisioner:?} to make its volume"));
    Verdict::working()
}

fn prebound(trail: &mut Trail<'_>, about: &Ref, wanted: &str) -> Verdict {
    let volume = Ref::new("PersistentVolume", "", wanted);
    let Some(found) = trail.cluster.get(&volume) else {
        trail.says(about, format!("waits for {volume}, which does not exist"));
        return Verdict::stuck([format!(
            "create the PersistentVolume {wanted:?}, or the claim anew without spec.volumeName"
        )]);
    };
    let owner = text(found, "/spec/claimRef/name");
    let owner_namespace = text(found, "/spec/claimRef/namespace");
    if !owner.is_empty() && (owner != about.name || owner_namespace != about.namespace) {
        trail.says(about, format!("waits for {volume}, which belongs to claim {owner_namespace}/{owner}"));
        return Verdict::stuck(["name another volume, or delete the other claim and free the volume".to_owned()]);
    }
    if text(found, "/status/phase") == "Released" {
        trail.says(about, format!("waits for {volume}, which was released by an earlier claim and keeps its data"));
        return Verdict::stuck([format!(
            "if its data is wanted: `kubectl patch pv {wanted} --type=merge -p '{{\"spec\":{{\"claimRef\":null}}}}'`"
        )]);
    }
    trail.says(about, format!("is being bound to {volume}"));
    Verdict::working()
}
