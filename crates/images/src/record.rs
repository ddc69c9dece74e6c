//! What the store knows of an image, as it stands in `index.json`, and how it is read from an image's configuration.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Image, ImageError};

/// The store's list: image id to record.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    /// By image id, `sha256:…` of the configuration.
    pub(crate) images: BTreeMap<String, Record>,
}

/// One image.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Normal names; a name belongs to one image at a time.
    pub(crate) names: Vec<String>,
    /// `repository@sha256:…`, if it came from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repo_digest: Option<String>,
    /// Digests of the uncompressed layers, lowest first: the names of their folders.
    pub(crate) layers: Vec<String>,
    /// Bytes of the unpacked layers.
    pub(crate) size_bytes: u64,
    /// How it is run.
    pub(crate) config: RunConfig,
}

/// The part of an image's configuration that says how it is run; null and absent are the same.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RunConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
}

/// An image's configuration as it stands in archives and registries.
#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default)]
    config: Option<RunConfig>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Most layers of an image: as many as overlayfs can stack with our mount options.
const LAYERS_MAX: usize = 120;

/// Reads an image's configuration: how it is run, and the digests of its layers.
pub(crate) fn read_config(bytes: &[u8], of: &str) -> Result<(RunConfig, Vec<String>), ImageError> {
    let damaged = |why: String| ImageError::Damaged { what: format!("configuration of {of}"), why };
    let config: ImageConfig = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
    let layers = config.rootfs.diff_ids;
    if layers.len() > LAYERS_MAX {
        return Err(damaged(format!("{} layers; at most {LAYERS_MAX} can be stacked", layers.len())));
    }
    if let Some(odd) = layers.iter().find(|l| hex_of(l).is_none()) {
        return Err(damaged(format!("layer digest {odd:?} is not a sha256")));
    }
    Ok((config.config.unwrap_or_default(), layers))
}

/// The 64 hexadecimal digits of a `sha256:` digest; anything else must never become a path.
pub(crate) fn hex_of(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let fits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (hex.len() == 64 && hex.bytes().all(fits)).then_some(hex)
}

impl Record {
    /// What the node needs of it.
    pub(crate) fn image(&self, id: &str, layers_dir: &Path) -> Image {
        let RunConfig { user, env, entrypoint, cmd, working_dir, stop_signal } = self.config.clone();
        Image {
            id: id.to_owned(),
            names: self.names.clone(),
            repo_digest: self.repo_digest.clone(),
            layers: self.layers.iter().filter_map(|l| hex_of(l)).map(|hex| layers_dir.join(hex)).collect(),
            entrypoint: entrypoint.unwrap_or_default(),
            cmd: cmd.unwrap_or_default(),
            env: env.unwrap_or_default(),
            working_dir: working_dir.unwrap_or_default(),
            user: user.unwrap_or_default(),
            stop_signal: stop_signal.filter(|s| !s.is_empty()),
            size_bytes: self.size_bytes,
        }
    }
}

impl Index {
    /// Adds an image or another name of it; a name moves from the image that had it before, as with docker.
    pub(crate) fn add(&mut self, id: &str, record: Record) {
        for (other, known) in &mut self.images {
            if other != id {
                known.names.retain(|n| !record.names.contains(n));
            }
        }
        match self.images.get_mut(id) {
            Some(known) => {
                known.names.extend(record.names);
                known.names.sort();
                known.names.dedup();
                known.repo_digest = record.repo_digest.or(known.repo_digest.take());
            }
            None => drop(self.images.insert(id.to_owned(), record)),
        }
    }

    /// The image of a normal name, or of an image id.
    pub(crate) fn find(&self, name: &str) -> Option<(&String, &Record)> {
        self.images.iter().find(|(id, record)| {
            *id == name || record.names.iter().any(|n| n == name) || record.repo_digest.as_deref() == Some(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(names: &[&str]) -> Record {
        Record { names: names.iter().map(|n| (*n).to_owned()).collect(), ..Record::default() }
    }

    #[test]
    fn a_name_belongs_to_the_image_that_was_given_it_last() {
        let mut index = Index::default();
        index.add("old", record(&["redis:7", "redis:old"]));
        index.add("new", record(&["redis:7"]));
        assert_eq!(index.find("redis:7").map(|(id, _)| id.as_str()), Some("new"));
        assert_eq!(index.find("redis:old").map(|(id, _)| id.as_str()), Some("old"));
    }

    #[test]
    fn a_digest_that_could_be_a_path_is_no_digest() {
        assert_eq!(hex_of(&format!("sha256:{}", "a".repeat(64))), Some("a".repeat(64).as_str()));
        for odd in ["sha256:../../etc", "sha256:", "md5:aa", &format!("sha256:{}", "A".repeat(64))] {
            assert_eq!(hex_of(odd), None, "{odd}");
        }
    }
}
