//! Volumes of virtual nodes: every one is there, and none holds anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use meta::Uid;

use crate::{BindRequest, FileSet, FsGroup, PodVolumes, SizeEnforcement, VolumeError, VolumeSource, Volumes};

/// Volumes without bytes: only which pod has which is remembered. A persistent volume is always there, also after a
/// restart, because there is nothing that could be missing.
#[derive(Debug)]
pub struct VirtualVolumes {
    folder: PathBuf,
    pods: Mutex<BTreeMap<Uid, BTreeSet<String>>>,
}

impl VirtualVolumes {
    /// No pods yet. `folder` is where provisioned volumes of this cluster would lie.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, pods: Mutex::default() }
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<Uid, BTreeSet<String>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, pod: &Uid, volume: &str) -> Result<(), VolumeError> {
        let is_there = self.pods().get(pod).is_some_and(|volumes| volumes.contains(volume));
        is_there.then_some(()).ok_or_else(|| VolumeError::NotSetUp { pod: pod.clone(), volume: volume.to_owned() })
    }
}

#[async_trait]
impl Volumes for VirtualVolumes {
    async fn set_up(&self, request: &PodVolumes) -> Result<(), VolumeError> {
        for (name, source) in &request.volumes {
            if let VolumeSource::Files(files) = source {
                files.check().map_err(VolumeError::of_volume(name))?;
            }
        }
        self.pods().insert(request.pod.clone(), request.volumes.keys().cloned().collect());
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
        self.check(pod, volume)
    }

    async fn bind_source(&self, request: &BindRequest) -> Result<PathBuf, VolumeError> {
        self.check(&request.pod, &request.volume)?;
        Ok(self.folder.join(&request.volume).join(&request.sub_path))
    }

    async fn tear_down(&self, pod: &Uid) -> Result<(), VolumeError> {
        self.pods().remove(pod);
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<Uid>, VolumeError> {
        Ok(self.pods().keys().cloned().collect())
    }

    async fn delete_data(&self, _volume_name: &str) -> Result<(), VolumeError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), VolumeError> {
        Ok(())
    }

    fn data_path(&self, volume_name: &str) -> PathBuf {
        self.folder.join(volume_name)
    }

    fn size_enforcement(&self) -> SizeEnforcement {
        SizeEnforcement::NotEnforced("volumes of virtual nodes hold nothing")
    }
}
