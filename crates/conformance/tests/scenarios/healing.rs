//! Updates that go wrong: what stays stuck is explained, and the two annotations get it going.

use anyhow::Result;
use conformance::{Cluster, TestImage, run};

use crate::support::{apply, cluster, event, field, kubectl, until};

const GOOD: &str = "busybox:1.35";
const CORRECTED: &str = "busybox:1.35-debian";
/// Nobody listens there, so the pull fails at once.
const BROKEN: &str = "127.0.0.1:1/nothing:1";

/// A set of two pods; the annotations are in flow style.
fn set(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: c, image: \"{GOOD}\", command: [sleep, \"3600\"]}}
"
    )
}

fn use_image(cluster: &Cluster, set: &str, image: &str) -> Result<()> {
    kubectl(cluster, &["set", "image", &format!("sts/{set}"), &format!("c={image}")]).map(drop)
}

fn rolled_out(cluster: &Cluster, set: &str) -> Result<()> {
    kubectl(cluster, &["rollout", "status", &format!("sts/{set}"), "--timeout=120s"]).map(drop)
}

fn image_of(cluster: &Cluster, pod: &str) -> Result<String> {
    field(cluster, &format!("pod/{pod}"), "{.spec.containers[0].image}")
}

/// Waits until the pod was made with the image and the node has said why it does not run.
fn fails_to_pull(cluster: &Cluster, pod: &str) -> Result<()> {
    until(&format!("{pod} cannot have its image"), || {
        let pod = cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].state}"])?;
        Ok((pod.stdout.contains("ImagePull")).then_some(()))
    })
}

/// Waits until the set's controller has seen the newest template.
fn is_observed(cluster: &Cluster, set: &str) -> Result<()> {
    let object = format!("sts/{set}");
    let generation = field(cluster, &object, "{.metadata.generation}")?;
    until("the controller has seen the template", || {
        Ok((field(cluster, &object, "{.status.observedGeneration}")? == generation).then_some(()))
    })
}

#[test]
fn a_corrected_template_heals_where_it_is_asked_for_and_is_explained_where_not() -> Result<()> {
    // C-47, C-96e.
    let cluster = cluster("heal", &[TestImage::Busybox], &[])?;
    apply(&cluster, &set("healed", "roadstead.dev/heal-rollout: never-ready"))?;
    apply(&cluster, &set("stuck", ""))?;
    for name in ["healed", "stuck"] {
        rolled_out(&cluster, name)?;
    }
    let never_touched = field(&cluster, "pod/stuck-0", "{.metadata.uid}")?;
    for name in ["healed", "stuck"] {
        use_image(&cluster, name, BROKEN)?;
        fails_to_pull(&cluster, &format!("{name}-1"))?;
        assert_eq!(image_of(&cluster, &format!("{name}-0"))?, GOOD, "the broken one stops the update");
    }
    let broken = field(&cluster, "pod/stuck-1", "{.metadata.uid}")?;
    use_image(&cluster, "stuck", CORRECTED)?;
    is_observed(&cluster, "stuck")?;
    use_image(&cluster, "healed", CORRECTED)?;
    rolled_out(&cluster, "healed")?;
    assert_eq!(image_of(&cluster, "healed-0")?, CORRECTED);
    event(&cluster, "healed", &["RolloutHealed", "healed-1"])?;

    // The other set has had the same time, and is where it was: upstream's rule.
    assert_eq!(field(&cluster, "pod/stuck-1", "{.metadata.uid}")?, broken);
    assert_eq!(field(&cluster, "pod/stuck-0", "{.metadata.uid}")?, never_touched);
    let why = run(&mut cluster.roadstead(&["why", "stuck"]))?;
    assert_eq!(why.code, 3, "{why:?}");
    for word in ["stuck-1", BROKEN, "kubectl delete pod stuck-1"] {
        assert!(why.stdout.contains(word), "{word:?} is missing in: {}", why.stdout);
    }
    let proposed = "kubectl annotate statefulset stuck roadstead.dev/heal-rollout=never-ready";
    assert!(why.stdout.contains(proposed), "{}", why.stdout);
    kubectl(&cluster, &proposed.split(' ').skip(1).collect::<Vec<_>>())?;
    rolled_out(&cluster, "stuck")?;
    assert_eq!(image_of(&cluster, "stuck-1")?, CORRECTED);
    let why = run(&mut cluster.roadstead(&["why", "stuck"]))?;
    assert_eq!(why.code, 0, "{why:?}");
    Ok(())
}

#[test]
fn an_update_without_progress_goes_back_to_the_last_good_template() -> Result<()> {
    let cluster = cluster("rollback", &[TestImage::Busybox], &[])?;
    apply(&cluster, &set("db", "roadstead.dev/rollback-after: 2s"))?;
    rolled_out(&cluster, "db")?;
    let good = field(&cluster, "sts/db", "{.status.updateRevision}")?;
    let (first, second) =
        (field(&cluster, "pod/db-0", "{.metadata.uid}")?, field(&cluster, "pod/db-1", "{.metadata.uid}")?);
    use_image(&cluster, "db", BROKEN)?;
    event(&cluster, "db", &["RolledBack", "db-1", &good])?;
    rolled_out(&cluster, "db")?;
    assert_eq!(field(&cluster, "sts/db", "{.spec.template.spec.containers[0].image}")?, GOOD);
    assert_eq!(field(&cluster, "sts/db", "{.status.updateRevision}")?, good, "its revision is used again");
    assert_eq!(image_of(&cluster, "db-1")?, GOOD);
    assert_eq!(field(&cluster, "pod/db-0", "{.metadata.uid}")?, first, "the good pod was not touched");
    assert_ne!(field(&cluster, "pod/db-1", "{.metadata.uid}")?, second);

    // A template that is right is simply rolled out.
    use_image(&cluster, "db", CORRECTED)?;
    rolled_out(&cluster, "db")?;
    assert_eq!(image_of(&cluster, "db-0")?, CORRECTED);
    Ok(())
}
