//! Manifests: from files, folders and standard input to objects that say where they come from.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Largest manifest file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// One object of a manifest file.
#[derive(Clone, PartialEq, Debug)]
pub struct Manifest {
    /// Where it stands, for error texts: `redis.yaml, document 2`.
    pub origin: String,
    /// The object.
    pub object: Value,
}

impl Manifest {
    /// `StatefulSet redis`, for error texts.
    pub fn title(&self) -> String {
        format!("{} {}", self.text("/kind"), self.text("/metadata/name"))
    }

    /// The text at a JSON pointer; empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads everything that `-f` names, in the order given; a folder's files by name.
///
/// # Errors
/// With the file, the document and the line that cannot be read. Nothing has been applied then.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in files {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .take(FILE_BYTES_MAX)
                .read_to_string(&mut text)
                .context("read manifests from standard input")?;
            manifests.extend(parse("standard input", &text)?);
        } else if path.is_dir() {
            for file in manifest_files(path)? {
                manifests.extend(read_file(&file)?);
            }
        } else {
            manifests.extend(read_file(path)?);
        }
    }
    Ok(manifests)
}

fn manifest_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read the folder {}", folder.display()))? {
        let path = entry?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if path.is_file() && ["yaml", "yml", "json"].contains(&extension) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("the folder {} has no .yaml, .yml or .json file", folder.display());
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<Vec<Manifest>> {
    let length = fs::metadata(path).with_context(|| format!("the path {:?} does not exist", path.display()))?.len();
    if length > FILE_BYTES_MAX {
        bail!("{} has {length} bytes; a manifest file has at most {FILE_BYTES_MAX}", path.display());
    }
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&path.display().to_string(), &text)
}

/// Splits a text into objects; the items of a `List` stand for themselves.
fn parse(origin: &str, text: &str) -> Result<Vec<Manifest>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).with_context(|| format!("error parsing {origin}"))?;
    let mut manifests = Vec::new();
    let count = documents.len();
    for (index, document) in documents.into_iter().enumerate() {
        if document.is_null() {
            continue;
        }
        let origin = if count > 1 { format!("{origin}, document {}", index + 1) } else { origin.to_owned() };
        let is_list = document["kind"].as_str().is_some_and(|k| k.ends_with("List")) && document["items"].is_array();
        let objects = match document {
            Value::Object(mut list) if is_list => match list.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            other => vec![other],
        };
        for object in objects {
            let manifest = Manifest { origin: origin.clone(), object };
            check_head(&manifest)?;
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

fn check_head(manifest: &Manifest) -> Result<()> {
    let origin = &manifest.origin;
    if !manifest.object.is_object() {
        bail!("{origin}: an object is expected here, with apiVersion, kind and metadata");
    }
    for (pointer, field) in [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")] {
        if manifest.text(pointer).is_empty() {
            bail!("{origin}: {field}: Required value: every object of a manifest has apiVersion, kind and a name");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: &Expect) {
        let shown = match parse("x.yaml", text) {
            Ok(all) => all.iter().map(|m| format!("{}: {}\n", m.origin, m.title())).collect(),
            Err(error) => format!("{error:#}\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn documents_and_lists_become_objects_that_know_their_place() {
        check(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems:\n- \
             {apiVersion: v1, kind: Secret, metadata: {name: b}}\n",
            &expect![[r#"
                x.yaml, document 1: ConfigMap a
                x.yaml, document 2: Secret b
            "#]],
        );
    }

    #[test]
    fn an_object_without_a_name_is_refused_by_field() {
        check(
            "apiVersion: v1\nkind: ConfigMap\n",
            &expect![[r#"
                x.yaml: metadata.name: Required value: every object of a manifest has apiVersion, kind and a name
            "#]],
        );
    }

    #[test]
    fn broken_indentation_is_reported_with_its_line() {
        let error = parse("x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n namespace: b\n");
        let text = format!("{:#}", error.expect_err("the indentation is broken"));
        assert!(text.contains("x.yaml") && text.contains("line 5"), "{text}");
    }
}
