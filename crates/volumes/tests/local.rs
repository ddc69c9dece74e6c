//! Volumes on a real file system. Tests that mount need root; without it they say so and end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meta::Uid;
use volumes::{
    BindRequest, FileContent, FileSet, FsGroup, FsGroupPolicy, HostPathKind, LocalVolumes, Medium, MemoryVolumes,
    Origin, PodVolumes, VolumeError, VolumeSource, Volumes,
};

struct Cluster {
    folder: tempfile::TempDir,
    volumes: LocalVolumes,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let volumes = self.volumes.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::spawn(move || runtime.block_on(volumes.close()).unwrap()).join().unwrap();
    }
}

/// A cluster's folder, or `None` (said aloud) where mounting is not allowed.
fn cluster() -> Option<Cluster> {
    let folder = tempfile::tempdir().unwrap();
    match LocalVolumes::open(folder.path(), "0badcafe") {
        Ok(volumes) => Some(Cluster { folder, volumes }),
        Err(error) => {
            assert!(!rustix::process::geteuid().is_root(), "{}", error.sentence());
            eprintln!("not run: mounting needs root");
            None
        }
    }
}

fn uid() -> Uid {
    Uid("0a1b".to_owned())
}

fn file(text: &str, mode: u32) -> FileContent {
    FileContent { bytes: text.to_owned().into(), mode, owner: None }
}

fn files(pairs: &[(&str, &str)], confidential: bool) -> FileSet {
    let files = pairs.iter().map(|(path, text)| ((*path).to_owned(), file(text, 0o644))).collect();
    FileSet { files, confidential }
}

fn pod(volumes: &[(&str, VolumeSource)]) -> PodVolumes {
    let volumes: BTreeMap<_, _> = volumes.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect();
    PodVolumes { pod: uid(), fs_group: None, volumes }
}

fn bind(volume: &str, sub_path: &str) -> BindRequest {
    BindRequest { pod: uid(), volume: volume.to_owned(), sub_path: sub_path.to_owned(), fs_group: None }
}

fn local(path: &Path, origin: Origin) -> VolumeSource {
    VolumeSource::Local { path: path.to_path_buf(), origin }
}

/// What a volume that cannot be set up says.
async fn refusal(volumes: &dyn Volumes, source: VolumeSource) -> VolumeError {
    match volumes.set_up(&pod(&[("v", source.clone())])).await {
        Err(VolumeError::SetUp { volume, source }) if volume == "v" => *source,
        other => panic!("{source:?}: {other:?}"),
    }
}

#[tokio::test]
async fn files_change_in_one_step_and_stale_ones_go() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    let set = files(&[("a", "1"), ("b/c", "2")], false);
    volumes.set_up(&pod(&[("v", VolumeSource::Files(set.clone()))])).await.unwrap();
    let root = volumes.bind_source(&bind("v", "")).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.join("b/c")).unwrap(), "2");
    assert_eq!(fs::read_link(root.join("a")).unwrap(), Path::new("..data/a"));
    let first = fs::read_link(root.join("..data")).unwrap();

    volumes.update_files(&uid(), "v", &set, None).await.unwrap();
    assert_eq!(fs::read_link(root.join("..data")).unwrap(), first, "equal content is not written again");

    volumes.update_files(&uid(), "v", &files(&[("a", "new")], false), None).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "new");
    assert!(!root.join("b").exists() && fs::symlink_metadata(root.join("b")).is_err());
    let left: Vec<_> = fs::read_dir(&root).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "..data, its folder, a: {left:?}");
}

#[tokio::test]
async fn a_path_that_would_leave_the_volume_is_refused() {
    let Some(cluster) = cluster() else { return };
    for path in ["../x", "/x", "a/../../x", "..data", ""] {
        let set = files(&[(path, "1")], false);
        let refused = refusal(&cluster.volumes, VolumeSource::Files(set)).await;
        assert!(matches!(refused, VolumeError::FilePath { .. }), "{path:?}");
    }
}

#[tokio::test]
async fn secrets_lie_in_memory_only_and_go_with_the_pod() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    volumes.set_up(&pod(&[("v", VolumeSource::Files(files(&[("k", "s")], true)))])).await.unwrap();
    let root = volumes.bind_source(&bind("v", "")).await.unwrap();
    assert!(root.starts_with(cluster.folder.path().join("memory")));
    let memory = fs::metadata(&root).unwrap().dev();
    assert_ne!(memory, fs::metadata(cluster.folder.path()).unwrap().dev());
    assert_eq!(volumes.pods().await.unwrap(), [uid()]);
    volumes.tear_down(&uid()).await.unwrap();
    assert!(!root.exists());
    assert!(volumes.pods().await.unwrap().is_empty());
}

#[tokio::test]
async fn data_of_a_claim_outlives_the_pod_and_goes_only_when_asked() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    let path = volumes.data_path("pv-1");
    let claim = local(&path, Origin::Unused);
    volumes.set_up(&pod(&[("v", claim.clone())])).await.unwrap();
    assert_eq!(volumes.bind_source(&bind("v", "")).await.unwrap(), path);
    fs::write(path.join("key"), "value").unwrap();
    volumes.tear_down(&uid()).await.unwrap();
    volumes.set_up(&pod(&[("v", claim)])).await.unwrap();
    assert_eq!(fs::read_to_string(path.join("key")).unwrap(), "value");
    volumes.tear_down(&uid()).await.unwrap();
    volumes.delete_data("pv-1").await.unwrap();
    assert!(!path.exists());
    for name in ["", "..", "../pods", "a/b"] {
        assert!(matches!(volumes.delete_data(name).await, Err(VolumeError::NotOurs { .. })), "{name:?}");
    }
}

#[tokio::test]
async fn a_missing_folder_of_a_foreign_volume_is_not_made() {
    let Some(cluster) = cluster() else { return };
    let path = cluster.folder.path().join("elsewhere");
    let refused = refusal(&cluster.volumes, local(&path, Origin::Foreign)).await;
    assert!(matches!(refused, VolumeError::LocalPathMissing { .. }));
    let refused = refusal(&cluster.volumes, local(&path, Origin::Unused)).await;
    assert!(matches!(refused, VolumeError::NotOurs { .. }));
}

/// The same on every implementation: made once, used, lost, refused, brought back.
async fn a_lost_folder_is_never_made_anew(volumes: &dyn Volumes, lose: impl Fn(&str)) {
    let path = volumes.data_path("pvc-1");
    let request = |origin| pod(&[("v", local(&path, origin))]);
    volumes.set_up(&request(Origin::Unused)).await.unwrap();
    volumes.set_up(&request(Origin::Used)).await.unwrap();
    lose("pvc-1");
    for _ in 0..2 {
        let refused = refusal(volumes, local(&path, Origin::Used)).await;
        assert!(matches!(&refused, VolumeError::DataMissing { path: missing } if *missing == path), "{refused:?}");
    }
    volumes.set_up(&request(Origin::Unused)).await.unwrap();
    volumes.set_up(&request(Origin::Used)).await.unwrap();
}

#[tokio::test]
async fn a_used_volume_whose_folder_is_lost_is_refused_on_disk() {
    let Some(cluster) = cluster() else { return };
    let data = cluster.folder.path().join("volumes");
    a_lost_folder_is_never_made_anew(&cluster.volumes, |name| fs::remove_dir(data.join(name)).unwrap()).await;
}

#[tokio::test]
async fn a_used_volume_whose_folder_is_lost_is_refused_in_memory() {
    let volumes = MemoryVolumes::default();
    a_lost_folder_is_never_made_anew(&volumes, |name| volumes.lose_data(name)).await;
}

#[tokio::test]
async fn a_folder_that_a_kill_left_half_made_gets_its_mode() {
    let Some(cluster) = cluster() else { return };
    let path = cluster.volumes.data_path("pvc-1");
    fs::create_dir(path.with_file_name(".pvc-1.new")).unwrap();
    let source = local(&path, Origin::Unused);
    cluster.volumes.set_up(&pod(&[("v", source)])).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o777);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

/// Nests folders by descriptor: the path becomes longer than any path may be.
fn nest(root: &Path, levels: usize) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&folder, "d", Mode::from_raw_mode(0o755)).unwrap();
        folder = rustix::fs::openat(&folder, "d", flags, Mode::empty()).unwrap();
    }
}

#[tokio::test]
async fn folders_nested_without_end_are_removed_and_refused_a_group() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    let path = volumes.data_path("pvc-1");
    fs::create_dir(&path).unwrap();
    nest(&path, 128);
    let group = FsGroup { gid: 4321, policy: FsGroupPolicy::Always };
    let source = local(&path, Origin::Used);
    let request = PodVolumes { fs_group: Some(group), ..pod(&[("v", source)]) };
    volumes.set_up(&request).await.unwrap();
    volumes.delete_data("pvc-1").await.unwrap();

    fs::create_dir(&path).unwrap();
    nest(&path, 3000);
    let Err(VolumeError::SetUp { source, .. }) = volumes.set_up(&request).await else { panic!("it is too deep") };
    assert!(matches!(*source, VolumeError::TooDeep { levels_max: 128, .. }), "{source:?}");
    volumes.delete_data("pvc-1").await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn an_empty_dir_in_memory_has_its_size_and_leaves_no_mount() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    let limit = VolumeSource::EmptyDir { medium: Medium::Memory, size_limit_bytes: Some(64 * 1024) };
    let plain = VolumeSource::EmptyDir { medium: Medium::Disk, size_limit_bytes: None };
    volumes.set_up(&pod(&[("m", limit), ("d", plain)])).await.unwrap();
    let root = volumes.bind_source(&bind("m", "")).await.unwrap();
    assert!(fs::write(root.join("big"), vec![0; 128 * 1024]).is_err());
    let disk = volumes.bind_source(&bind("d", "")).await.unwrap();
    assert_eq!(fs::metadata(&disk).unwrap().permissions().mode() & 0o777, 0o777);
    volumes.tear_down(&uid()).await.unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let folder = cluster.folder.path().join("pods");
    assert!(!mounts.contains(folder.to_str().unwrap()), "a mount is left");
}

#[tokio::test]
async fn fs_group_owns_what_the_pod_writes_but_no_link_is_followed() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    let path = volumes.data_path("pv-1");
    fs::create_dir_all(path.join("sub")).unwrap();
    fs::write(path.join("sub/file"), "x").unwrap();
    let outside = cluster.folder.path().join("outside");
    fs::write(&outside, "host").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&outside, path.join("link")).unwrap();
    let group = FsGroup { gid: 4321, policy: FsGroupPolicy::OnRootMismatch };
    let mut request = pod(&[("v", local(&path, Origin::Used))]);
    request.fs_group = Some(group);
    volumes.set_up(&request).await.unwrap();
    let inner = fs::metadata(path.join("sub/file")).unwrap();
    assert_eq!((inner.gid(), inner.mode() & 0o777), (4321, 0o664));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o2775);
    let host = fs::metadata(&outside).unwrap();
    assert_eq!((host.gid(), host.mode() & 0o777), (0, 0o600), "the link's target is untouched");
    // The root has its owner now: what changed below is not walked again.
    std::os::unix::fs::chown(path.join("sub/file"), None, Some(7)).unwrap();
    volumes.set_up(&request).await.unwrap();
    assert_eq!(fs::metadata(path.join("sub/file")).unwrap().gid(), 7);
}

#[tokio::test]
async fn a_host_path_is_checked_or_made_as_its_type_says() {
    let Some(cluster) = cluster() else { return };
    let base = cluster.folder.path();
    let try_one = async |name: &str, kind| {
        let volume = VolumeSource::HostPath { path: base.join(name), kind };
        cluster.volumes.set_up(&pod(&[("v", volume)])).await.map_err(|error| error.sentence())
    };
    fs::write(base.join("file"), "").unwrap();
    assert!(try_one("none", HostPathKind::Directory).await.unwrap_err().contains("is not a directory"));
    assert!(try_one("file", HostPathKind::Directory).await.is_err());
    assert!(try_one("file", HostPathKind::File).await.is_ok());
    let made = base.join("made");
    let volume = VolumeSource::HostPath { path: made.clone(), kind: HostPathKind::DirectoryOrCreate };
    let other = PodVolumes { pod: Uid("other".to_owned()), ..pod(&[("v", volume)]) };
    cluster.volumes.set_up(&other).await.unwrap();
    cluster.volumes.tear_down(&other.pod).await.unwrap();
    assert!(made.is_dir(), "host paths are never removed");
}

#[tokio::test]
async fn a_sub_path_is_made_inside_the_volume_and_links_do_not_lead_out() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    let plain = VolumeSource::EmptyDir { medium: Medium::Disk, size_limit_bytes: None };
    volumes.set_up(&pod(&[("v", plain)])).await.unwrap();
    let root = volumes.bind_source(&bind("v", "a/b")).await.unwrap();
    assert!(root.join("a/b").is_dir());
    symlink("/etc", root.join("evil")).unwrap();
    let _either_way = volumes.bind_source(&bind("v", "evil/made")).await;
    assert!(!Path::new("/etc/made").exists(), "nothing is made outside the volume");
    for path in ["../x", "/x"] {
        let refused = volumes.bind_source(&bind("v", path)).await;
        assert!(matches!(refused, Err(VolumeError::SubPathEscapes { .. })), "{path}");
    }
}

/// A container swaps a folder for a link to a host folder while the volume is removed: the host's file must stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tearing_down_never_follows_a_link_that_a_container_swaps_in() {
    let Some(cluster) = cluster() else { return };
    let volumes = &cluster.volumes;
    let canary = cluster.folder.path().join("host");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("canary"), "alive").unwrap();
    let rounds: usize = std::env::var("SLOW_TESTS").map_or(100, |_| 10_000);
    for _ in 0..rounds {
        let plain = VolumeSource::EmptyDir { medium: Medium::Disk, size_limit_bytes: None };
        volumes.set_up(&pod(&[("v", plain)])).await.unwrap();
        let root = volumes.bind_source(&bind("v", "")).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (racer_stop, racer_root, racer_canary) = (stop.clone(), root.clone(), canary.clone());
        let racer = std::thread::spawn(move || {
            while !racer_stop.load(Ordering::Relaxed) {
                let _raced = fs::create_dir(racer_root.join("x"));
                let _raced = fs::write(racer_root.join("x/canary"), "");
                let _raced = fs::remove_dir_all(racer_root.join("x"));
                let _raced = symlink(&racer_canary, racer_root.join("x"));
                let _raced = fs::remove_file(racer_root.join("x"));
            }
        });
        let _first_try_may_race = volumes.tear_down(&uid()).await;
        stop.store(true, Ordering::Relaxed);
        racer.join().unwrap();
        volumes.tear_down(&uid()).await.unwrap();
        assert_eq!(fs::read_to_string(canary.join("canary")).unwrap(), "alive");
    }
}
