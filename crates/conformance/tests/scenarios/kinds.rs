//! What people create beside sets, with kubectl's own commands for it.

use anyhow::Result;
use conformance::{Cluster, Kubectl, run};

use crate::support::{cluster, kubectl};

/// Runs the newest kubectl; what it warns of comes back with what it printed.
fn told(cluster: &Cluster, arguments: &[&str]) -> Result<(String, String)> {
    let output = run(&mut cluster.kubectl_command(Kubectl::Newest, arguments))?;
    assert_eq!(output.code, 0, "kubectl {}: {output:?}", arguments.join(" "));
    Ok((output.stdout, output.stderr))
}

#[test]
fn kubectl_s_generators_of_every_kind_work_and_warn_of_what_is_not_enforced() -> Result<()> {
    let cluster = cluster("kinds", &[], &[])?;
    for (arguments, said) in [
        (&["create", "quota", "few", "--hard=count/secrets=1,count/jobs.batch=5"][..], "resourcequota/few created"),
        (&["create", "priorityclass", "high", "--value=7"], "priorityclass.scheduling.k8s.io/high created"),
        (
            &["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1"],
            "poddisruptionbudget.policy/web created",
        ),
        (&["create", "deployment", "web", "--image=none:1", "--replicas=0"], "deployment.apps/web created"),
        (&["create", "cronjob", "nightly", "--image=none:1", "--schedule=0 0 30 2 *"], "cronjob.batch/nightly created"),
        (&["create", "job", "now", "--from=cronjob/nightly"], "job.batch/now created"),
        (&["scale", "deployment", "web", "--replicas=0"], "deployment.apps/web scaled"),
        (&["rollout", "pause", "deployment/web"], "deployment.apps/web paused"),
        (&["rollout", "resume", "deployment/web"], "deployment.apps/web resumed"),
        (&["create", "secret", "generic", "one"], "secret/one created"),
    ] {
        let (stdout, stderr) = told(&cluster, arguments)?;
        assert_eq!((stdout.trim(), stderr.as_str()), (said, ""), "{arguments:?}");
    }
    for (arguments, warning) in [
        (&["create", "role", "reader", "--verb=get", "--resource=pods"][..], "roles and bindings are stored"),
        (&["create", "rolebinding", "readers", "--role=reader", "--user=jane"], "roles and bindings are stored"),
        (&["create", "clusterrole", "reader", "--verb=get", "--resource=nodes"], "roles and bindings are stored"),
        (
            &["create", "clusterrolebinding", "readers", "--clusterrole=reader", "--user=jane"],
            "roles and bindings are stored",
        ),
        (&["create", "ingress", "web", "--rule=example.com/=web:80"], "ingresses are stored"),
        (&["autoscale", "deployment", "web", "--max=3", "--cpu=50%"], "autoscalers are stored"),
    ] {
        let (_, stderr) = told(&cluster, arguments)?;
        assert!(stderr.starts_with("Warning: ") && stderr.contains(warning), "{arguments:?}: {stderr}");
    }
    let refused = cluster.kubectl(&["create", "secret", "generic", "two"])?;
    assert_eq!(
        refused.stderr.trim(),
        "error: failed to create secret secrets \"two\" is forbidden: exceeded quota: few, requested: count/secrets=1, \
         used: count/secrets=1, limited: count/secrets=1"
    );
    assert_eq!(
        kubectl(&cluster, &["get", "quota", "few", "-o", "jsonpath={.status.used}"])?,
        r#"{"count/jobs.batch":"1","count/secrets":"1"}"#
    );
    let described = kubectl(&cluster, &["describe", "quota", "few"])?;
    assert!(described.contains("count/secrets     1     1"), "{described}");
    for kind in ["deploy", "job", "cj", "pdb", "quota", "pc", "role", "rolebinding", "ing", "hpa"] {
        kubectl(&cluster, &["get", kind])?;
        kubectl(&cluster, &["describe", kind])?;
        let explained = kubectl(&cluster, &["explain", kind])?;
        assert!(explained.contains("FIELDS:"), "{kind}: {explained}");
    }
    let may = kubectl(&cluster, &["auth", "can-i", "--list"])?;
    assert!(may.contains("*.*") && may.contains("[*]"), "{may}");
    assert!(kubectl(&cluster, &["auth", "whoami"])?.contains("system:masters"));
    Ok(())
}
