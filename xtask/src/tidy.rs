//! `cargo xtask tidy`: the project's own rules, checked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use conformance::root_folder;
use serde::Deserialize;

/// Files longer than this must be on the list of exceptions, which may only shrink.
const LINES_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Layers {
    levels: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
struct Manifest {
    package: Package,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

/// Checks every rule and prints each breach.
///
/// # Errors
/// If a rule is broken.
pub fn run() -> Result<()> {
    let root = root_folder();
    let mut breaches = layers(&root)?;
    for file in source_files(&root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let shown = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
        breaches.extend(file_rules(&shown, &text));
    }
    for breach in &breaches {
        eprintln!("tidy: {breach}");
    }
    if !breaches.is_empty() {
        bail!("{} rules are broken", breaches.len());
    }
    Ok(())
}

/// A crate depends only on crates of lower levels.
fn layers(root: &Path) -> Result<Vec<String>> {
    let layers: Layers = toml::from_str(&fs::read_to_string(root.join("layers.toml"))?)?;
    let mut manifests = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let path = entry?.path().join("Cargo.toml");
        manifests.push(toml::from_str::<Manifest>(&fs::read_to_string(&path)?)?);
    }
    Ok(check_layers(&layers.levels, &manifests))
}

fn check_layers(levels: &BTreeMap<String, u32>, manifests: &[Manifest]) -> Vec<String> {
    let mut breaches = Vec::new();
    for manifest in manifests {
        let name = &manifest.package.name;
        let Some(level) = levels.get(name) else {
            breaches.push(format!("crate {name} has no level in layers.toml"));
            continue;
        };
        for dependency in manifest.dependencies.keys() {
            if let Some(below) = levels.get(dependency)
                && below >= level
            {
                breaches.push(format!("{name} (level {level}) depends on {dependency} (level {below})"));
            }
        }
    }
    breaches
}

fn source_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in ["crates", "fuzz/fuzz_targets", "xtask"] {
        files.extend(rust_files(&root.join(folder))?);
    }
    Ok(files)
}

/// Every Rust file below a folder, in order.
pub(crate) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn file_rules(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        breaches.push(format!("{name} has {lines} lines; split it or say why ({LINES_MAX} at most)"));
    }
    // Tests and examples of a deciding crate may look at the clock.
    let decides = name.split('/').nth(1).is_some_and(|c| c.ends_with("-core"))
        && name.split('/').nth(2) == Some("src")
        && !name.contains("/tests");
    for (number, line) in text.lines().enumerate() {
        // A line that names the rule is not a breach of it.
        if name.starts_with("xtask/src/tidy") {
            break;
        }
        let mut breach = |what: &str| breaches.push(format!("{name}:{}: {what}", number + 1));
        if line.contains("todo!(") || line.contains("unimplemented!(") {
            breach("unfinished code on main");
        }
        if line.contains("#[ignore") {
            breach("an ignored test proves nothing");
        }
        if decides {
            for word in ["std::time::Instant", "SystemTime::now", "Timestamp::now(", "std::fs", "std::env", "HashMap<"]
            {
                if line.contains(word) && !line.trim_start().starts_with("//") {
                    breach(&format!("{word} in a crate that only decides"));
                }
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        toml::from_str(text).expect("a manifest")
    }

    #[test]
    fn the_rooms_of_this_checkout_stand_on_lower_floors_only() {
        assert_eq!(layers(&root_folder()).expect("the layers are readable"), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_upwards_is_a_breach() {
        let levels = BTreeMap::from([("meta".to_owned(), 0), ("store".to_owned(), 4)]);
        let upwards = manifest("[package]\nname = \"meta\"\n[dependencies]\nstore = \"1\"\n");
        assert_eq!(check_layers(&levels, &[upwards]), ["meta (level 0) depends on store (level 4)"]);
    }

    #[test]
    fn a_clock_in_a_deciding_crate_is_a_breach() {
        let found = file_rules("crates/node-core/src/lib.rs", "let t = SystemTime::now();\n");
        assert_eq!(found, ["crates/node-core/src/lib.rs:1: SystemTime::now in a crate that only decides"]);
    }
}
