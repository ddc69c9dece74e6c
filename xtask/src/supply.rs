//! What the product is made of: licences, banned crates, sources (deny.toml), and dependencies that nobody uses.
//!
//! Own code, because building cargo-deny takes longer than all of this. What it cannot do: ask for advisories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use conformance::root_folder;
use serde::Deserialize;

use crate::build::cargo;
use crate::tidy::rust_files;

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    clarify: Vec<Clarify>,
}

#[derive(Deserialize)]
struct Clarify {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Nothing for our own crates.
    source: Option<String>,
}

/// Checks licences, bans and sources of everything that may be linked, and looks for unused dependencies.
///
/// # Errors
/// If a rule is broken; each breach is printed.
pub fn run() -> Result<()> {
    let root = root_folder();
    let rules: Rules = toml::from_str(&fs::read_to_string(root.join("deny.toml"))?).context("deny.toml")?;
    let output = cargo().args(["metadata", "--format-version", "1", "--locked"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let mut breaches: Vec<String> = metadata.packages.iter().flat_map(|package| judge(package, &rules)).collect();
    breaches.extend(unused(&root)?);
    for breach in &breaches {
        eprintln!("supply: {breach}");
    }
    if !breaches.is_empty() {
        bail!("{} rules are broken", breaches.len());
    }
    Ok(())
}

fn judge(package: &Package, rules: &Rules) -> Vec<String> {
    let shown = format!("{} {}", package.name, package.version);
    let mut breaches = Vec::new();
    let clarified = rules.licenses.clarify.iter().find(|clarify| clarify.name == package.name);
    let license = clarified.map(|clarify| clarify.expression.as_str()).or(package.license.as_deref());
    match license {
        None => breaches.push(format!("{shown} names no licence; look into it and clarify it in deny.toml")),
        Some(license) if !is_allowed(license, &rules.licenses.allow) => {
            breaches.push(format!("{shown} is under {license}, which deny.toml does not allow"));
        }
        Some(_) => {}
    }
    if rules.bans.deny.iter().any(|ban| ban.name == package.name) {
        breaches
            .push(format!("{shown} is banned by deny.toml; `cargo tree --invert {}` says who wants it", package.name));
    }
    if package.source.as_deref().is_some_and(|source| !source.starts_with("registry+")) {
        breaches.push(format!("{shown} does not come from the registry"));
    }
    breaches
}

/// Whether the terms of an SPDX expression can be met with allowed licences; `/` is the old way to write `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let outcome = any_of(&mut rest, allowed);
    outcome && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut outcome = all_of(rest, allowed);
    while let ["OR", more @ ..] = *rest {
        *rest = more;
        outcome |= all_of(rest, allowed);
    }
    outcome
}

fn all_of(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut outcome = term(rest, allowed);
    while let ["AND", more @ ..] = *rest {
        *rest = more;
        outcome &= term(rest, allowed);
    }
    outcome
}

fn term(rest: &mut &[&str], allowed: &[String]) -> bool {
    match *rest {
        ["(", more @ ..] => {
            *rest = more;
            let outcome = any_of(rest, allowed);
            if let [")", more @ ..] = *rest {
                *rest = more;
            }
            outcome
        }
        [license, "WITH", exception, more @ ..] => {
            *rest = more;
            allowed.contains(&format!("{license} WITH {exception}"))
        }
        [license, more @ ..] => {
            *rest = more;
            allowed.iter().any(|known| known == license)
        }
        [] => false,
    }
}

#[derive(Deserialize)]
struct Manifest {
    package: Option<Named>,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    #[serde(default, rename = "dev-dependencies")]
    dev_dependencies: BTreeMap<String, toml::Value>,
    workspace: Option<Workspace>,
    #[serde(default)]
    lints: toml::Table,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    /// `unused-here = ["crate"]`: wanted for its features only, or soon.
    #[serde(default)]
    metadata: toml::Table,
}

#[derive(Deserialize)]
struct Workspace {
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
}

/// Dependencies that no source of their crate names, and shared ones that no crate wants.
fn unused(root: &Path) -> Result<Vec<String>> {
    let read = |path: &Path| -> Result<Manifest> {
        toml::from_str(&fs::read_to_string(path)?).with_context(|| path.display().to_string())
    };
    let mut folders: Vec<_> =
        fs::read_dir(root.join("crates"))?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    folders.push(root.join("xtask"));
    folders.sort();
    let (mut breaches, mut wanted) = (Vec::new(), BTreeSet::new());
    for folder in folders {
        let manifest = read(&folder.join("Cargo.toml"))?;
        let Some(package) = manifest.package else { continue };
        let mut sources = String::new();
        for file in rust_files(&folder)? {
            sources.push_str(&fs::read_to_string(file)?);
            sources.push('\n');
        }
        let kept = package.metadata.get("unused-here").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        for dependency in manifest.dependencies.keys().chain(manifest.dev_dependencies.keys()) {
            wanted.insert(dependency.clone());
            let is_kept = kept.iter().any(|name| name.as_str() == Some(dependency));
            if !is_kept && !names(&sources, &dependency.replace('-', "_")) {
                breaches.push(format!("{} does not use {dependency}", package.name));
            }
        }
        if manifest.lints.is_empty() {
            breaches.push(format!("{} does not take the workspace's lints", package.name));
        }
    }
    let shared = read(&root.join("Cargo.toml"))?.workspace.map(|workspace| workspace.dependencies).unwrap_or_default();
    let idle = shared.keys().filter(|name| !wanted.contains(*name));
    breaches.extend(idle.map(|name| format!("no crate wants the workspace's {name}")));
    Ok(breaches)
}

/// Whether code (not a comment) names the crate: `name::…`, `use name`, `name!` is not enough of a sign.
fn names(sources: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    sources.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            if before.ends_with(is_word) || after.starts_with(is_word) {
                return false;
            }
            // `crate::name::…` is a module of our own; `::name` begins a path.
            let inner = before.strip_suffix("::").is_some_and(|path| path.ends_with(is_word));
            let imported = before.trim_end().ends_with("use");
            !inner && (after.starts_with("::") || imported)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(expression: &str) -> bool {
        is_allowed(expression, &["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned))
    }

    #[test]
    fn a_licence_is_allowed_if_its_terms_can_be_met() {
        assert!(allowed("MIT") && allowed("GPL-3.0 OR MIT") && allowed("GPL-3.0/MIT") && allowed("MIT AND ISC"));
        assert!(allowed("Apache-2.0 WITH LLVM-exception") && allowed("(GPL-3.0 OR ISC) AND MIT"));
        assert!(!allowed("GPL-3.0") && !allowed("MIT AND GPL-3.0") && !allowed("Apache-2.0") && !allowed(""));
        assert!(!allowed("(MIT OR ISC) AND GPL-3.0"));
    }

    #[test]
    fn a_banned_or_foreign_crate_is_a_breach() {
        let rules: Rules =
            toml::from_str("[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"openssl-sys\" }]\n")
                .expect("rules");
        let package = |name: &str, source: &str| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            source: Some(source.to_owned()),
        };
        assert!(judge(&package("bytes", "registry+x"), &rules).is_empty());
        assert!(judge(&package("openssl-sys", "registry+x"), &rules)[0].contains("is banned"));
        assert_eq!(judge(&package("bytes", "git+x"), &rules), ["bytes 1.0.0 does not come from the registry"]);
    }

    #[test]
    fn a_crate_is_used_if_code_names_it() {
        assert!(names("use bytes::Bytes;", "bytes") && names("    let b = bytes::Bytes::new();", "bytes"));
        assert!(!names("// bytes::Bytes", "bytes") && !names("let bytes = 1;", "bytes"));
        assert!(!names("use crate::http::x;", "http") && names("use ::http::x;", "http"));
    }
}
