//! Probes and lifecycle hooks of every kind, against real servers.

use std::fs;
use std::process::Command;

use anyhow::Result;
use conformance::{Cluster, TestImage, run};

use crate::support::{Beside, apply, cluster, event, field, kubectl, listening, until, wait_for};

/// A pod of one busybox container; `container` is the rest of it, in flow style.
fn pod(name: &str, command: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - {{name: c, image: \"busybox:1.35\", command: [sh, -c, \"{command}\"], {container}}}\n"
    )
}

/// A web server on the cluster's loopback that says what it was asked.
fn server(cluster: &Cluster, port: u16, pages: &[&str]) -> Result<Beside> {
    let folder = cluster.folder().join("pages");
    fs::create_dir_all(&folder)?;
    for page in pages {
        fs::write(folder.join(page), "ok\n")?;
    }
    let mut command = cluster.netns().command("python3");
    command.args(["-u", "-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]).arg(&folder);
    let serving = Beside::logging(&mut command, &cluster.folder().join("server.log"))?;
    listening(cluster, port)?;
    Ok(serving)
}

fn was_asked(cluster: &Cluster, page: &str) -> Result<bool> {
    let log = fs::read_to_string(cluster.folder().join("server.log"))?;
    Ok(log.contains(&format!("\"GET /{page} HTTP/1.1\" 200")))
}

#[test]
fn startup_readiness_and_liveness_probes_decide_over_a_web_server() -> Result<()> {
    let cluster = cluster("probes", &[TestImage::Busybox], &[])?;
    // It listens at once, but has the page only when somebody makes it.
    let command = "mkdir -p /tmp/w; exec busybox httpd -f -p 8080 -h /tmp/w";
    let probes = "startupProbe: {httpGet: {path: /up, port: web}, periodSeconds: 1, failureThreshold: 120}, \
                  readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}, \
                  livenessProbe: {httpGet: {path: /up, port: 8080}, periodSeconds: 1, failureThreshold: 2}, \
                  ports: [{name: web, containerPort: 8080}]";
    apply(&cluster, &pod("web", command, probes))?;
    event(&cluster, "web", &["Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 404"])?;
    let started = "{.status.containerStatuses[0].started}";
    assert_eq!(field(&cluster, "pod/web", started)?, "false", "not started before its startup probe");
    assert_eq!(field(&cluster, "pod/web", "{.status.containerStatuses[0].ready}")?, "false");
    kubectl(&cluster, &["exec", "web", "--", "touch", "/tmp/w/up"])?;
    wait_for(&cluster, "pod/web", "condition=Ready")?;
    assert_eq!(field(&cluster, "pod/web", started)?, "true");

    kubectl(&cluster, &["exec", "web", "--", "rm", "/tmp/w/up"])?;
    event(&cluster, "web", &["Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404"])?;
    event(&cluster, "web", &["Killing", "failed liveness probe, will be restarted"])?;
    until("the container was restarted", || {
        let count = field(&cluster, "pod/web", "{.status.containerStatuses[0].restartCount}")?;
        Ok((count == "1").then_some(()))
    })
}

#[test]
fn an_https_probe_asks_a_server_whose_certificate_nobody_signed() -> Result<()> {
    let cluster = cluster("https", &[TestImage::Busybox], &[])?;
    let (key, certificate) = (cluster.folder().join("key.pem"), cluster.folder().join("certificate.pem"));
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=nobody", "-keyout"]);
    run(make.arg(&key).arg("-out").arg(&certificate))?.success()?;
    let mut serve = cluster.netns().command("openssl");
    serve
        .args(["s_server", "-accept", "127.0.0.1:8443", "-www", "-quiet", "-key"])
        .arg(&key)
        .arg("-cert")
        .arg(&certificate);
    let serving = Beside::logging(&mut serve, &cluster.folder().join("openssl.log"))?;
    listening(&cluster, 8443)?;
    let probe = "readinessProbe: {httpGet: {scheme: HTTPS, host: 127.0.0.1, port: 8443, path: /}, periodSeconds: 1, \
                 failureThreshold: 1}";
    apply(&cluster, &pod("asker", "exec sleep 3600", probe))?;
    wait_for(&cluster, "pod/asker", "condition=Ready")?;
    drop(serving);
    wait_for(&cluster, "pod/asker", "condition=Ready=false")?;
    event(&cluster, "asker", &["Unhealthy", "Readiness probe failed", "connection refused"])
}

#[test]
fn http_hooks_are_called_after_the_start_and_before_the_stop() -> Result<()> {
    let cluster = cluster("hooks", &[TestImage::Busybox], &[])?;
    let _serving = server(&cluster, 8000, &["started", "stopping"])?;
    let hooks = "lifecycle: {postStart: {httpGet: {host: 127.0.0.1, port: 8000, path: /started}}, \
                 preStop: {httpGet: {host: 127.0.0.1, port: 8000, path: /stopping}}}";
    apply(&cluster, &pod("hooked", "exec sleep 3600", hooks))?;
    wait_for(&cluster, "pod/hooked", "condition=Ready")?;
    assert!(was_asked(&cluster, "started")? && !was_asked(&cluster, "stopping")?);
    kubectl(&cluster, &["delete", "pod", "hooked"])?;
    assert!(was_asked(&cluster, "stopping")?);

    // A hook that reaches nobody: upstream kills the container, and keeps the details out of the event.
    let refused = hooks.replace("8000, path: /started", "8001, path: /started");
    apply(&cluster, &pod("refused", "exec sleep 3600", &refused))?;
    event(&cluster, "refused", &["FailedPostStartHook", "PostStartHook failed"])?;
    until("the container was restarted", || {
        let count = field(&cluster, "pod/refused", "{.status.containerStatuses[0].restartCount}")?;
        Ok(count.parse::<u32>().is_ok_and(|count| count > 0).then_some(()))
    })
}
