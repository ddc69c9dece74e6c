//! What one container runs as: every choice of the pod's spec and its image, made.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext};
use meta::Quantity;

use crate::env::{self, EnvError};
use crate::sources::Sources;

/// What an image says about itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ImageConfig {
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// `CMD`.
    pub cmd: Vec<String>,
    /// `ENV`, `NAME=value`.
    pub env: Vec<String>,
    /// `WORKDIR`.
    pub working_dir: String,
    /// `USER`.
    pub user: String,
    /// `STOPSIGNAL`.
    pub stop_signal: Option<String>,
}

/// A container, ready for a runtime.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Run {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; empty for `/`.
    pub cwd: String,
    /// `runAsUser`.
    pub uid: Option<u32>,
    /// `runAsGroup`.
    pub gid: Option<u32>,
    /// The image's `USER`, in force without `runAsUser`.
    pub image_user: String,
    /// Further groups.
    pub supplementary_gids: Vec<u32>,
    /// Everything is allowed.
    pub privileged: bool,
    /// Capabilities to add.
    pub capabilities_add: Vec<String>,
    /// Capabilities to drop.
    pub capabilities_drop: Vec<String>,
    /// No gain of privileges.
    pub no_new_privileges: bool,
    /// The root file system is read-only.
    pub read_only_root: bool,
    /// System call filter.
    pub seccomp: SeccompChoice,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
    /// Memory limit in bytes.
    pub memory_bytes_max: Option<u64>,
    /// CPU shares.
    pub cpu_shares: u64,
    /// CPU limit in microseconds per 100 ms.
    pub cpu_quota_micros: Option<i64>,
    /// Badness for the kernel's out-of-memory choice.
    pub oom_score_adj: i32,
    /// Volume mounts in the order in which they are made.
    pub mounts: Vec<MountPlan>,
    /// On a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin: bool,
    /// Where its last words are read from.
    pub termination_message_path: Option<String>,
    /// Signal that asks it to end; empty for `SIGTERM`.
    pub stop_signal: String,
}

/// `seccompProfile`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum SeccompChoice {
    /// The runtime's own profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile file below the node's profile folder.
    Localhost(String),
}

/// One `volumeMounts` entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountPlan {
    /// Name of the volume.
    pub volume: String,
    /// Path below its root; empty for the root.
    pub sub_path: String,
    /// Path in the container.
    pub target: String,
    /// The container may not write.
    pub read_only: bool,
    /// `mountPropagation`.
    pub propagation: Option<String>,
}

/// Why a container cannot be run as it is written (`CreateContainerConfigError`).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RunError {
    /// Its environment.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// `runAsNonRoot` and user 0.
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    ImageRunsAsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// `runAsNonRoot` and `runAsUser: 0`.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    UserIsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// `runAsNonRoot` and a user name that only the image's own files can resolve.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root \
         (pod: {pod:?}, container: {container})"
    )]
    UserIsAName {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)`.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// Neither pod nor image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// A `subPathExpr` names a variable that is not there.
    #[error("missing value for {0:?}")]
    SubPathVariable(String),
    /// A user or group id that is no id.
    #[error("id {0} is not between 0 and 4294967295")]
    Id(i64),
}

/// Works out how a container runs.
///
/// # Errors
/// [`RunError`] with upstream's words.
pub fn run(container: &Container, pod: &Pod, image: &ImageConfig, sources: &Sources) -> Result<Run, RunError> {
    let own = container.security_context.clone().unwrap_or_default();
    let common = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let variables = env::environment(container, pod, sources)?;
    let args = command(container, image, &variables)?;
    let mut run = Run {
        args,
        cwd: container.working_dir.clone().filter(|dir| !dir.is_empty()).unwrap_or_else(|| image.working_dir.clone()),
        mounts: mounts(container, pod, &variables)?,
        env: merged(image, variables),
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        termination_message_path: Some(
            container.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".to_owned()),
        )
        .filter(|path| !path.is_empty()),
        stop_signal: container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.stop_signal.clone())
            .or_else(|| image.stop_signal.clone())
            .unwrap_or_default(),
        ..Run::default()
    };
    identity(&mut run, container, pod, image, &own, &common)?;
    security(&mut run, &own, &common);
    resources(&mut run, container, pod, sources);
    Ok(run)
}

fn command(
    container: &Container,
    image: &ImageConfig,
    variables: &[(String, String)],
) -> Result<Vec<String>, RunError> {
    let look_up = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let expand_all = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| env::expand(word, look_up)).collect()
    };
    let (command, args) = (expand_all(&container.command), expand_all(&container.args));
    // The pod's command replaces the image's entrypoint and its arguments, too (Kubernetes documentation).
    let words = match (command.is_empty(), args.is_empty()) {
        (true, true) => [image.entrypoint.clone(), image.cmd.clone()].concat(),
        (true, false) => [image.entrypoint.clone(), args].concat(),
        (false, _) => [command, args].concat(),
    };
    if words.is_empty() { Err(RunError::NoCommand) } else { Ok(words) }
}

/// The image's variables, overridden by the pod's.
fn merged(image: &ImageConfig, variables: Vec<(String, String)>) -> Vec<String> {
    let mut all: Vec<(String, String)> = image
        .env
        .iter()
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let place: BTreeMap<String, usize> = all.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
    for (name, value) in variables {
        match place.get(&name) {
            Some(at) => all[*at].1 = value,
            None => all.push((name, value)),
        }
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn mounts(container: &Container, pod: &Pod, variables: &[(String, String)]) -> Result<Vec<MountPlan>, RunError> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let is_read_only_claim = |name: &str| {
        let volume = volumes.into_iter().flatten().find(|volume| volume.name == name);
        volume
            .and_then(|volume| volume.persistent_volume_claim.as_ref())
            .is_some_and(|claim| claim.read_only == Some(true))
    };
    let mut all = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let sub_path = match &mount.sub_path_expr {
            Some(text) if !text.is_empty() => sub_path(text, variables)?,
            _ => mount.sub_path.clone().unwrap_or_default(),
        };
        let target =
            if mount.mount_path.starts_with('/') { mount.mount_path.clone() } else { format!("/{}", mount.mount_path) };
        all.push(MountPlan {
            volume: mount.name.clone(),
            sub_path: sub_path.trim_matches('/').to_owned(),
            target,
            read_only: mount.read_only == Some(true) || is_read_only_claim(&mount.name),
            propagation: mount.mount_propagation.clone(),
        });
    }
    // A mount below another one is made after it, whatever the order in the spec.
    all.sort_by_key(|mount| mount.target.split('/').filter(|step| !step.is_empty()).count());
    Ok(all)
}

fn sub_path(text: &str, variables: &[(String, String)]) -> Result<String, RunError> {
    let missing = std::cell::Cell::new(None);
    let expanded = env::expand(text, |name| {
        let found = variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        if found.is_none() {
            missing.set(Some(name.to_owned()));
        }
        found
    });
    match missing.take() {
        Some(name) => Err(RunError::SubPathVariable(name)),
        None => Ok(expanded),
    }
}

fn id(value: i64) -> Result<u32, RunError> {
    u32::try_from(value).map_err(|_| RunError::Id(value))
}

fn identity(
    run: &mut Run,
    container: &Container,
    pod: &Pod,
    image: &ImageConfig,
    own: &SecurityContext,
    common: &PodSecurityContext,
) -> Result<(), RunError> {
    run.uid = own.run_as_user.or(common.run_as_user).map(id).transpose()?;
    run.gid = own.run_as_group.or(common.run_as_group).map(id).transpose()?;
    run.image_user.clone_from(&image.user);
    let groups = common.supplemental_groups.iter().flatten().copied().chain(common.fs_group);
    run.supplementary_gids = groups.map(id).collect::<Result<_, _>>()?;
    if own.run_as_non_root.or(common.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let metadata = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let pod = format!("{}_{}({})", text(&metadata.name), text(&metadata.namespace), text(&metadata.uid));
    let container = container.name.clone();
    let user = image.user.split(':').next().unwrap_or_default();
    match run.uid {
        Some(0) => Err(RunError::UserIsRoot { pod, container }),
        Some(_) => Ok(()),
        None if user.is_empty() || user == "0" => Err(RunError::ImageRunsAsRoot { pod, container }),
        None if user.parse::<u32>().is_err() => Err(RunError::UserIsAName { user: user.to_owned(), pod, container }),
        None => Ok(()),
    }
}

fn security(run: &mut Run, own: &SecurityContext, common: &PodSecurityContext) {
    run.privileged = own.privileged == Some(true);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    run.capabilities_add = capabilities.add.unwrap_or_default();
    run.capabilities_drop = capabilities.drop.unwrap_or_default();
    let gains = own.allow_privilege_escalation;
    let is_admin = run.capabilities_add.iter().any(|one| matches!(one.as_str(), "SYS_ADMIN" | "CAP_SYS_ADMIN" | "ALL"));
    run.no_new_privileges = gains == Some(false) && !run.privileged && !is_admin;
    run.read_only_root = own.read_only_root_filesystem == Some(true);
    run.unmasked_proc = own.proc_mount.as_deref() == Some("Unmasked");
    let profile = own.seccomp_profile.as_ref().or(common.seccomp_profile.as_ref());
    run.seccomp = match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        Some(("Unconfined", _)) => SeccompChoice::Unconfined,
        Some(("Localhost", Some(path))) => SeccompChoice::Localhost(path.to_owned()),
        _ if run.privileged => SeccompChoice::Unconfined,
        _ => SeccompChoice::Default,
    };
}

/// Reads one resource of a map.
pub(crate) fn amount(
    map: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
    name: &str,
) -> Option<Quantity> {
    map?.get(name).and_then(|text| Quantity::parse(&text.0).ok())
}

fn resources(run: &mut Run, container: &Container, pod: &Pod, sources: &Sources) {
    let own = container.resources.as_ref();
    let limits = own.and_then(|own| own.limits.as_ref());
    let requests = own.and_then(|own| own.requests.as_ref());
    let cpu_limit = amount(limits, "cpu").map(|cpu| cpu.millis());
    let memory_limit = amount(limits, "memory").map(|memory| memory.units());
    let cpu_request = amount(requests, "cpu").map(|cpu| cpu.millis()).or(cpu_limit).unwrap_or(0);
    let memory_request = amount(requests, "memory").map(|memory| memory.units()).or(memory_limit).unwrap_or(0);
    run.memory_bytes_max = memory_limit.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    run.cpu_shares = (u64::try_from(cpu_request).unwrap_or(0) * 1024 / 1000).max(2);
    // 100 ms periods; the kernel wants at least 1 ms of each.
    run.cpu_quota_micros = cpu_limit.filter(|millis| *millis > 0).map(|millis| (millis * 100).max(1000));
    let class = pod.status.as_ref().and_then(|status| status.qos_class.as_deref()).unwrap_or("Burstable");
    run.oom_score_adj = match class {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let share = 1000 * memory_request / sources.node_memory_bytes.max(1);
            i32::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    };
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(container: Value, image: ImageConfig, want: expect_test::Expect) {
        let mut container = container;
        container["name"] = json!("c");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p-0", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [container], "securityContext": {"fsGroup": 9}},
            "status": {"qosClass": "Burstable"},
        }))
        .unwrap();
        let sources = Sources { node_memory_bytes: 1000, ..Sources::default() };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let text = match run(container, &pod, &image, &sources) {
            Ok(run) => format!(
                "{:?} env={:?} mounts={:?} uid={:?} groups={:?} shares={} quota={:?} oom={}\n",
                run.args,
                run.env,
                run.mounts.iter().map(|m| format!("{}/{}:{}", m.volume, m.sub_path, m.target)).collect::<Vec<_>>(),
                run.uid,
                run.supplementary_gids,
                run.cpu_shares,
                run.cpu_quota_micros,
                run.oom_score_adj
            ),
            Err(error) => format!("! {error}\n"),
        };
        want.assert_eq(&text);
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/entry".to_owned()],
            cmd: vec!["serve".to_owned()],
            env: vec!["PATH=/bin".to_owned(), "A=image".to_owned()],
            ..ImageConfig::default()
        }
    }

    #[test]
    fn the_command_of_the_pod_replaces_that_of_the_image_and_is_expanded() {
        check(
            json!({}),
            image(),
            expect_test::expect![[r#"
            ["/entry", "serve"] env=["PATH=/bin", "A=image"] mounts=[] uid=None groups=[9] shares=2 quota=None oom=999
        "#]],
        );
        check(
            json!({"args": ["$(A)"], "env": [{"name": "A", "value": "pod"}],
                "resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "250m", "memory": "400"}}}),
            image(),
            expect_test::expect![[r#"
                ["/entry", "pod"] env=["PATH=/bin", "A=pod"] mounts=[] uid=None groups=[9] shares=256 quota=Some(50000) oom=600
            "#]],
        );
        check(
            json!({}),
            ImageConfig::default(),
            expect_test::expect![[r#"
            ! no command specified
        "#]],
        );
    }

    #[test]
    fn mounts_are_made_outermost_first_with_expanded_sub_paths() {
        check(
            json!({"env": [{"name": "A", "value": "x"}], "volumeMounts": [
                {"name": "v", "mountPath": "/a/b", "subPathExpr": "$(A)/y"}, {"name": "w", "mountPath": "/a"}]}),
            image(),
            expect_test::expect![[r#"
                ["/entry", "serve"] env=["PATH=/bin", "A=x"] mounts=["w/:/a", "v/x/y:/a/b"] uid=None groups=[9] shares=2 quota=None oom=999
            "#]],
        );
    }

    #[test]
    fn a_container_that_must_not_be_root_is_refused_in_upstreams_words() {
        let non_root = |user: Value| json!({"securityContext": {"runAsNonRoot": true, "runAsUser": user}});
        check(
            non_root(Value::Null),
            image(),
            expect_test::expect![[r#"
            ! container has runAsNonRoot and image will run as root (pod: "p-0_ns(u)", container: c)
        "#]],
        );
        check(
            non_root(json!(0)),
            image(),
            expect_test::expect![[r#"
            ! container's runAsUser breaks non-root policy (pod: "p-0_ns(u)", container: c)
        "#]],
        );
        let named = ImageConfig { user: "redis".to_owned(), ..image() };
        check(
            non_root(Value::Null),
            named,
            expect_test::expect![[r#"
            ! container has runAsNonRoot and image has non-numeric user (redis), cannot verify user is non-root (pod: "p-0_ns(u)", container: c)
        "#]],
        );
    }
}
