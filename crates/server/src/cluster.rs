//! `cluster.json`: what is chosen once, on first start, and never changes (decision 3).

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pod_network::{Ranges, choose_ranges, routed};
use serde::{Deserialize, Serialize};

use crate::StartError;

/// What is chosen once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// Eight lower-case hexadecimal digits, in the name of every resource on the host.
    pub(crate) id: String,
    /// Addresses of pods and services.
    pub(crate) ranges: Ranges,
}

impl Cluster {
    /// Reads the file, if there is one.
    pub(crate) fn load(data: &Path) -> Result<Option<Self>, StartError> {
        let path = data.join("cluster.json");
        let damaged = |why: String| StartError::ClusterFile { path: path.clone(), why };
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| damaged(e.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    /// Reads the file, or chooses and writes it.
    pub(crate) fn load_or_choose(data: &Path) -> Result<Self, StartError> {
        if let Some(chosen) = Self::load(data)? {
            return Ok(chosen);
        }
        let id = format!("{:08x}", rand::random::<u32>());
        let ranges = choose_ranges(&routed()?, &id).ok_or(StartError::NoRange)?;
        let chosen = Self { id, ranges };
        let path = data.join("cluster.json");
        chosen.write(data, &path).map_err(|e| StartError::ClusterFile { path, why: e.to_string() })?;
        Ok(chosen)
    }

    /// On disk before anything on the host carries the id: what a crash leaves behind can then be found.
    fn write(&self, data: &Path, path: &Path) -> std::io::Result<()> {
        let unfinished = data.join("cluster.json.new");
        let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(unfinished, path)?;
        fs::File::open(data)?.sync_all()
    }
}
