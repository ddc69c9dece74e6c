//! Images from a registry that wants a password: Debian's `docker-registry` beside the cluster.

use std::fs;

use anyhow::{Context, Result};
use conformance::{Cluster, TestImage, Tools, Up, build_image, run};

use crate::support::{Beside, cluster, event, field, kubectl, listening, wait_for};

const PORT: u16 = 5000;
const IMAGE: &str = "127.0.0.1:5000/team/app:1";

/// A registry with one user, and an image in it.
fn registry(cluster: &Cluster) -> Result<Beside> {
    Tools::install_packages(&["docker-registry", "apache2-utils", "skopeo"])?;
    let folder = cluster.folder();
    let users = run(std::process::Command::new("htpasswd").args(["-Bbn", "anna", "right"]))?.success()?;
    fs::write(folder.join("users"), users.trim())?;
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}/registry}}}}\n\
         http: {{addr: \"127.0.0.1:{PORT}\"}}\nauth: {{htpasswd: {{realm: test, path: {0}/users}}}}\n",
        folder.display()
    );
    let file = folder.join("registry.yml");
    fs::write(&file, config)?;
    let mut command = cluster.netns().command("docker-registry");
    let serving = Beside::logging(command.arg("serve").arg(&file), &folder.join("registry.log"))?;
    listening(cluster, PORT)?;
    let archive = build_image(TestImage::Busybox)?;
    let mut push = cluster.netns().command("skopeo");
    push.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--dest-creds=anna:right"])
        .arg(format!("docker-archive:{}:busybox:1.35", archive.display()))
        .arg(format!("docker://{IMAGE}"));
    run(&mut push)?.success().context("push")?;
    Ok(serving)
}

fn pod(name: &str, image: &str, secret: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         imagePullSecrets: [{{name: {secret}}}]\n  containers:\n  - {{name: c, image: \"{image}\", command: [sleep, \"3600\"]}}\n"
    )
}

fn secret(cluster: &Cluster, name: &str, password: &str) -> Result<()> {
    let (server, password) = (format!("--docker-server=127.0.0.1:{PORT}"), format!("--docker-password={password}"));
    kubectl(cluster, &["create", "secret", "docker-registry", name, &server, "--docker-username=anna", &password])?;
    Ok(())
}

#[test]
fn a_pull_secret_opens_the_registry_and_a_wrong_one_is_explained() -> Result<()> {
    let cluster = cluster("pull-secret", &[], &[])?;
    let _registry = registry(&cluster)?;
    secret(&cluster, "wrong", "guessed")?;
    secret(&cluster, "right", "right")?;

    for (name, given) in [("refused", "wrong"), ("nameless", "absent")] {
        let file = cluster.folder().join("pod.yaml");
        fs::write(&file, pod(name, IMAGE, given))?;
        let output = cluster.up(&Up { files: vec![file], arguments: vec!["--timeout=60s".to_owned()] })?;
        assert_ne!(output.code, 0, "{output:?}");
        for word in [name, IMAGE, "pull secret"] {
            assert!(output.stderr.contains(word), "{word:?} is missing in: {}", output.stderr);
        }
        event(&cluster, name, &["Failed", IMAGE, "uthori"])?;
    }
    // A secret that is not there is said by its name.
    event(&cluster, "nameless", &["FailedToRetrieveImagePullSecret", "absent"])?;

    let file = cluster.folder().join("pod.yaml");
    fs::write(&file, pod("served", IMAGE, "right"))?;
    cluster.up(&Up { files: vec![file], ..Up::default() })?.success()?;
    event(&cluster, "served", &["Pulled", "Successfully pulled image"])?;
    let id = field(&cluster, "pod/served", "{.status.containerStatuses[0].imageID}")?;
    assert!(id.starts_with("127.0.0.1:5000/team/app@sha256:"), "{id}");

    // By digest: exactly these bytes, pulled anew, as nothing is known under this name yet.
    crate::support::apply(&cluster, &pod("exact", &id, "right"))?;
    wait_for(&cluster, "pod/exact", "condition=Ready")?;
    assert_eq!(field(&cluster, "pod/exact", "{.status.containerStatuses[0].imageID}")?, id);
    let other = format!("127.0.0.1:5000/team/app@sha256:{}", "0".repeat(64));
    crate::support::apply(&cluster, &pod("unknown", &other, "right"))?;
    event(&cluster, "unknown", &["Failed", "0000"])
}
