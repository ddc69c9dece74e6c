//! The store on disk: archives of both kinds, a real registry on loopback, and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use images::{DiskImages, Image, ImageError, Images};
use serde_json::json;
use sha2::{Digest, Sha256};

fn sha(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut builder, name, content.as_bytes());
    }
    builder.into_inner().expect("a layer")
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).expect("append");
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|l| format!("sha256:{}", sha(l))).collect();
    json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["A=1"], "Cmd": ["sh"], "Entrypoint": null, "WorkingDir": "/w", "User": "nobody"},
        "rootfs": {"type": "layers", "diff_ids": ids},
    })
    .to_string()
    .into_bytes()
}

fn docker_archive(path: &Path, tag: &str, layers: &[&[u8]]) {
    let config = config(layers);
    let names: Vec<String> = layers.iter().map(|l| format!("{}/layer.tar", sha(l))).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]).to_string();
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "manifest.json", manifest.as_bytes());
    append(&mut builder, "config.json", &config);
    for (name, bytes) in names.iter().zip(layers) {
        append(&mut builder, name, bytes);
    }
    fs::write(path, builder.into_inner().expect("an archive")).expect("write");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

fn oci_layout(folder: &Path, name: &str, layers: &[&[u8]]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder");
    let put = |bytes: &[u8]| {
        fs::write(blobs.join(sha(bytes)), bytes).expect("write");
        json!({"digest": format!("sha256:{}", sha(bytes)), "size": bytes.len()})
    };
    let layers: Vec<_> = layers.iter().map(|l| (gzip(l), *l)).collect();
    let plain: Vec<&[u8]> = layers.iter().map(|(_, l)| *l).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "config": put(&config(&plain)),
        "layers": layers.iter().map(|(packed, _)| put(packed)).collect::<Vec<_>>(),
    });
    let mut entry = put(manifest.to_string().as_bytes());
    entry["annotations"] = json!({"io.containerd.image.name": name});
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).expect("write");
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write");
}

fn content(image: &Image, n: usize, name: &str) -> String {
    fs::read_to_string(image.layers[n].join(name)).expect("the file")
}

#[tokio::test]
async fn a_docker_archive_is_imported_and_its_layers_are_shared() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = DiskImages::open(&folder.path().join("images")).expect("open");
    let (base, first, second) = (layer(&[("base", "b")]), layer(&[("app", "1")]), layer(&[("app", "2")]));
    let archive = folder.path().join("one.tar");
    docker_archive(&archive, "app:1", &[&base, &first]);
    let imported = store.import(&archive).await.expect("import");
    assert_eq!(imported[0].names, ["docker.io/library/app:1"]);
    let image = store.find("app:1").await.expect("find").expect("it is here");
    assert_eq!((content(&image, 0, "base"), content(&image, 1, "app")), ("b".to_owned(), "1".to_owned()));
    assert_eq!(
        (image.cmd, image.env, image.working_dir, image.user),
        (vec!["sh".to_owned()], vec!["A=1".to_owned()], "/w".to_owned(), "nobody".to_owned())
    );

    docker_archive(&archive, "app:2", &[&base, &second]);
    // Another process works on the same folder.
    let other = DiskImages::open(&folder.path().join("images")).expect("open");
    other.import(&archive).await.expect("import");
    let newer = store.find("app:2").await.expect("find").expect("seen by the first as well");
    assert_eq!(newer.layers[0], image.layers[0], "the base is unpacked once");
    store.remove("app:1").await.expect("remove");
    assert!(newer.layers[0].exists() && !image.layers[1].exists(), "only what nobody needs goes");
    assert!(matches!(store.remove("app:1").await, Err(ImageError::NotPresent { .. })));
}

#[tokio::test]
async fn an_oci_layout_is_imported_as_a_folder_and_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = folder.path().join("layout");
    oci_layout(&layout, "registry.example.com/db:3", &[&layer(&[("db", "3")])]);
    let store = DiskImages::open(&folder.path().join("images")).expect("open");
    let imported = store.import(&layout).await.expect("import");
    assert_eq!(imported[0].names, ["registry.example.com/db:3"]);
    assert_eq!(content(&imported[0], 0, "db"), "3");

    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", &layout).expect("pack");
    let packed = folder.path().join("layout.tar.gz");
    fs::write(&packed, gzip(&builder.into_inner().expect("pack"))).expect("write");
    let again = store.import(&packed).await.expect("import");
    assert_eq!(again[0].id, imported[0].id);
    assert!(fs::read_dir(folder.path().join("images/new")).expect("the folder").next().is_none(), "no work is left");
}

#[tokio::test]
async fn a_layer_whose_digest_is_wrong_is_refused_and_nothing_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = DiskImages::open(&folder.path().join("images")).expect("open");
    let layout = folder.path().join("layout");
    let good = layer(&[("a", "1")]);
    oci_layout(&layout, "x:1", &[&good]);
    fs::write(layout.join("blobs/sha256").join(sha(&gzip(&good))), gzip(&layer(&[("a", "evil")]))).expect("write");
    let refused = store.import(&layout).await;
    assert!(matches!(refused, Err(ImageError::Damaged { .. })), "{refused:?}");
    assert!(store.list().await.expect("list").is_empty());
    assert!(fs::read_dir(folder.path().join("images/layers")).expect("the folder").next().is_none());
}

#[tokio::test]
async fn what_is_no_image_archive_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = DiskImages::open(&folder.path().join("images")).expect("open");
    let file = folder.path().join("file");
    for bytes in [b"hello".to_vec(), vec![0x1f, 0x8b, 1, 2], layer(&[("a", "1")])] {
        fs::write(&file, bytes).expect("write");
        let refused = store.import(&file).await;
        assert!(matches!(refused, Err(ImageError::Damaged { .. } | ImageError::Disk { .. })), "{refused:?}");
    }
    assert!(matches!(store.import(Path::new("/nowhere")).await, Err(ImageError::Disk { .. })));
}

/// Debian's registry on a free port of the loopback; stopped when dropped.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let file = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            folder.join("registry").display()
        );
        fs::write(&file, text).expect("write");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry of Debian is installed by `cargo xtask ci`");
        // It answers as soon as it listens: each refused connection is asked again.
        let begun = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed().as_secs() < 30, "the registry does not listen");
            std::thread::yield_now();
        }
        Self { child, port }
    }

    fn push(&self, layout: &Path, name: &str) {
        let to = format!("docker://127.0.0.1:{}/{name}", self.port);
        let pushed = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
            .arg(format!("oci:{}", layout.display()))
            .arg(to)
            .output()
            .expect("skopeo of Debian is installed by `cargo xtask ci`");
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find_blob(folder: &Path, digest: &str) -> PathBuf {
    folder.join("registry/docker/registry/v2/blobs/sha256").join(&digest[..2]).join(digest).join("data")
}

#[tokio::test]
async fn an_image_is_pulled_from_a_real_registry_and_every_digest_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::start(folder.path());
    let layout = folder.path().join("layout");
    let (base, top) = (layer(&[("base", "b")]), layer(&[("app", "1")]));
    oci_layout(&layout, "app:1", &[&base, &top]);
    registry.push(&layout, "team/app:1");
    let name = format!("127.0.0.1:{}/team/app:1", registry.port);
    let store = DiskImages::open(&folder.path().join("images")).expect("open");
    assert!(store.find(&name).await.expect("find").is_none());

    // Two at once: both get it.
    let none = BTreeMap::new();
    let (one, two) = tokio::join!(store.pull(&name, &none), store.pull(&name, &none));
    let (one, two) = (one.expect("pull"), two.expect("pull"));
    assert_eq!(one, two);
    assert_eq!((content(&one, 0, "base"), content(&one, 1, "app")), ("b".to_owned(), "1".to_owned()));
    let digest = one.repo_digest.clone().expect("it came from a registry");
    assert!(digest.starts_with(&format!("127.0.0.1:{}/team/app@sha256:", registry.port)), "{digest}");
    assert_eq!(store.pull(&digest, &none).await.expect("by digest").id, one.id);

    let missing = store.pull(&format!("127.0.0.1:{}/team/app:none", registry.port), &none).await;
    assert!(matches!(missing, Err(ImageError::Pull { .. })), "{missing:?}");

    // A registry that serves other bytes than it promised.
    let evil = gzip(&layer(&[("app", "evil")]));
    fs::write(find_blob(folder.path(), &sha(&gzip(&top))), evil).expect("write");
    let fresh = DiskImages::open(&folder.path().join("fresh")).expect("open");
    let refused = fresh.pull(&name, &none).await;
    assert!(matches!(refused, Err(ImageError::Pull { .. })), "{refused:?}");
    assert!(fresh.list().await.expect("list").is_empty());
}

#[tokio::test]
async fn a_mirror_is_asked_before_the_registry() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::start(folder.path());
    let layout = folder.path().join("layout");
    oci_layout(&layout, "db:1", &[&layer(&[("db", "1")])]);
    registry.push(&layout, "library/db:1");
    let mirrors = json!({"mirrors": {"docker.io": [format!("http://127.0.0.1:{}", registry.port)]}});
    fs::write(folder.path().join("registries.json"), mirrors.to_string()).expect("write");
    let store = DiskImages::open(&folder.path().join("images")).expect("open");
    let image = store.pull("db:1", &BTreeMap::new()).await.expect("pull");
    assert_eq!(image.names, ["docker.io/library/db:1"]);
    assert!(image.repo_digest.is_some_and(|d| d.starts_with("docker.io/library/db@sha256:")));
}
