//! The in-memory twin: what tests use, and the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use meta::Uid;

use crate::{BindRequest, FileSet, FsGroup, Origin, PodVolumes, SizeEnforcement, VolumeError, VolumeSource, Volumes};

/// Volumes that exist as values only. Persistent volumes are remembered until their data is deleted.
#[derive(Default, Debug)]
pub struct MemoryVolumes {
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    pods: BTreeMap<Uid, BTreeMap<String, VolumeSource>>,
    data: BTreeSet<PathBuf>,
}

impl MemoryVolumes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses the bytes of a persistent volume, as a disk that is not mounted does.
    pub fn lose_data(&self, volume_name: &str) {
        let path = self.data_path(volume_name);
        self.state().data.remove(&path);
    }

    /// What a volume of files holds now; for tests.
    pub fn files(&self, pod: &Uid, volume: &str) -> Option<FileSet> {
        match self.state().pods.get(pod)?.get(volume)? {
            VolumeSource::Files(files) => Some(files.clone()),
            _ => None,
        }
    }
}

impl State {
    fn set_up(&mut self, source: &VolumeSource) -> Result<(), VolumeError> {
        match source {
            VolumeSource::Files(files) => files.check(),
            VolumeSource::Local { path, origin: Origin::Unused } => {
                self.data.insert(path.clone());
                Ok(())
            }
            VolumeSource::Local { path, .. } if self.data.contains(path) => Ok(()),
            VolumeSource::Local { path, origin: Origin::Used } => Err(VolumeError::DataMissing { path: path.clone() }),
            VolumeSource::Local { path, origin: Origin::Foreign } => {
                Err(VolumeError::LocalPathMissing { path: path.clone() })
            }
            VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => Ok(()),
        }
    }
}

#[async_trait]
impl Volumes for MemoryVolumes {
    async fn set_up(&self, request: &PodVolumes) -> Result<(), VolumeError> {
        let mut state = self.state();
        for (name, source) in &request.volumes {
            state.set_up(source).map_err(VolumeError::of_volume(name))?;
        }
        state.pods.insert(request.pod.clone(), request.volumes.clone());
        Ok(())
    }

    async fn update_files(
        &self,
        pod: &Uid,
        volume: &str,
        files: &FileSet,
        _group: Option<FsGroup>,
    ) -> Result<(), VolumeError> {
        files.check()?;
        let missing = || VolumeError::NotSetUp { pod: pod.clone(), volume: volume.to_owned() };
        let mut state = self.state();
        let volumes = state.pods.get_mut(pod).ok_or_else(missing)?;
        volumes.insert(volume.to_owned(), VolumeSource::Files(files.clone()));
        Ok(())
    }

    async fn bind_source(&self, request: &BindRequest) -> Result<PathBuf, VolumeError> {
        let state = self.state();
        match state.pods.get(&request.pod).and_then(|volumes| volumes.get(&request.volume)) {
            Some(VolumeSource::Local { path, .. } | VolumeSource::HostPath { path, .. }) => {
                Ok(path.join(&request.sub_path))
            }
            Some(_) => Ok(PathBuf::from(format!("/memory/{}/{}", request.pod, request.volume))),
            None => Err(VolumeError::NotSetUp { pod: request.pod.clone(), volume: request.volume.clone() }),
        }
    }

    async fn tear_down(&self, pod: &Uid) -> Result<(), VolumeError> {
        self.state().pods.remove(pod);
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<Uid>, VolumeError> {
        Ok(self.state().pods.keys().cloned().collect())
    }

    async fn close(&self) -> Result<(), VolumeError> {
        Ok(())
    }

    async fn delete_data(&self, volume_name: &str) -> Result<(), VolumeError> {
        self.lose_data(volume_name);
        Ok(())
    }

    fn data_path(&self, volume_name: &str) -> PathBuf {
        PathBuf::from("/memory/volumes").join(volume_name)
    }

    fn size_enforcement(&self) -> SizeEnforcement {
        SizeEnforcement::NotEnforced("volumes in memory have no size")
    }
}
