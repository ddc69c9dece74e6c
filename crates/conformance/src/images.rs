//! Container images made of Debian packages, because tests must not need a registry.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::run::{run, say};
use crate::tools::{Tools, root_folder};

/// An image that [`build_image`] makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestImage {
    /// Redis 7 of Debian with a busybox shell; about 43 MB. Tags `redis:7.0` and `redis:7.0-debian`.
    Redis,
    /// One static busybox; about 2 MB. Tags `busybox:1.35` and `busybox:1.35-debian`.
    Busybox,
}

impl TestImage {
    fn file(self) -> &'static str {
        match self {
            Self::Redis => "redis.tar",
            Self::Busybox => "busybox.tar",
        }
    }

    fn tags(self) -> [&'static str; 2] {
        match self {
            Self::Redis => ["redis:7.0", "redis:7.0-debian"],
            Self::Busybox => ["busybox:1.35", "busybox:1.35-debian"],
        }
    }

    fn cmd(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["redis-server", "--bind", "*", "-::*", "--protected-mode", "no", "--dir", "/data"],
            Self::Busybox => &["sh"],
        }
    }
}

/// The image's docker-archive under the build folder, built if it is not there.
///
/// # Errors
/// If the packages or the disk fail.
pub fn build_image(image: TestImage) -> Result<PathBuf> {
    let folder = root_folder().join("target/images");
    let path = folder.join(image.file());
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(&folder)?;
    say(&format!("building the image {} from Debian packages", image.tags()[0]));
    let layer = folder.join(format!("{}.layer-{}", image.file(), std::process::id()));
    match image {
        TestImage::Redis => redis_layer(&layer)?,
        TestImage::Busybox => busybox_layer(&layer)?,
    }
    let unfinished = folder.join(format!("{}.new-{}", image.file(), std::process::id()));
    pack(image, &layer, &unfinished)?;
    fs::remove_file(&layer)?;
    fs::rename(&unfinished, &path)?;
    Ok(path)
}

/// Programs of busybox that images offer by name.
const APPLETS: [&str; 34] = [
    "sh", "cat", "chmod", "cp", "date", "dd", "df", "du", "echo", "env", "false", "grep", "head", "hostname", "id",
    "kill", "ls", "mkdir", "mount", "mv", "nc", "nslookup", "ps", "rm", "sed", "sleep", "stat", "tail", "test",
    "touch", "true", "tr", "wc", "wget",
];

fn redis_layer(layer: &Path) -> Result<()> {
    Tools::install_packages(&["mmdebstrap"])?;
    run(Command::new("mmdebstrap")
        .args(["--variant=extract", "--mode=root", "--include=redis-server,redis-tools,busybox-static"])
        .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"])
        .arg("--format=tar")
        .arg("bookworm")
        .arg(layer))?
    .success()
    .context("mmdebstrap")?;
    // What the packages' scripts would have made: names for busybox's programs, and Redis' own folder.
    let mut archive = reopen_tar(layer)?;
    for applet in APPLETS {
        link(&mut archive, &format!("usr/bin/{applet}"), "busybox")?;
    }
    for folder in ["data", "tmp"] {
        directory(&mut archive, folder, 0o1777)?;
    }
    archive.finish()?;
    Ok(())
}

fn busybox_layer(layer: &Path) -> Result<()> {
    Tools::install_packages(&["busybox-static"])?;
    let mut archive = tar::Builder::new(File::create(layer)?);
    for folder in ["bin", "dev", "etc", "proc", "root", "sys"] {
        directory(&mut archive, folder, 0o755)?;
    }
    directory(&mut archive, "tmp", 0o1777)?;
    let program = ["/usr/bin/busybox", "/bin/busybox"].iter().find(|p| Path::new(p).exists());
    let bytes = fs::read(program.context("busybox-static has no busybox")?)?;
    let mut header = root_header();
    header.set_mode(0o755);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, "bin/busybox", &bytes[..])?;
    for applet in APPLETS {
        link(&mut archive, &format!("bin/{applet}"), "busybox")?;
    }
    text(&mut archive, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")?;
    text(&mut archive, "etc/group", "root:x:0:\nnogroup:x:65534:\n")?;
    archive.finish()?;
    Ok(())
}

/// Opens a finished archive to append to it: drops the two empty blocks at its end.
fn reopen_tar(path: &Path) -> Result<tar::Builder<File>> {
    let end = {
        let mut archive = tar::Archive::new(File::open(path)?);
        let mut end = 0;
        for entry in archive.entries()? {
            let entry = entry?;
            end = entry.raw_file_position() + entry.size().next_multiple_of(512);
        }
        end
    };
    let mut file = File::options().read(true).write(true).open(path)?;
    file.set_len(end)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
    Ok(tar::Builder::new(file))
}

/// A header of root's own.
fn root_header() -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn directory<W: Write>(archive: &mut tar::Builder<W>, path: &str, mode: u32) -> Result<()> {
    let mut header = root_header();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(mode);
    header.set_size(0);
    archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
    Ok(())
}

fn link<W: Write>(archive: &mut tar::Builder<W>, path: &str, target: &str) -> Result<()> {
    let mut header = root_header();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_mode(0o777);
    header.set_size(0);
    archive.append_link(&mut header, path, target)?;
    Ok(())
}

fn text<W: Write>(archive: &mut tar::Builder<W>, path: &str, content: &str) -> Result<()> {
    let mut header = root_header();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content.as_bytes())?;
    Ok(())
}

fn pack(image: TestImage, layer: &Path, target: &Path) -> Result<()> {
    let diff_id = sha256_of(layer)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Cmd": image.cmd(),
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
        "history": [{"created_by": "roadstead test image from Debian packages"}],
    })
    .to_string();
    let config_name = format!("{:x}.json", Sha256::digest(config.as_bytes()));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": image.tags(),
        "Layers": [format!("{diff_id}/layer.tar")],
    }])
    .to_string();
    let mut archive = tar::Builder::new(File::create(target)?);
    text(&mut archive, &config_name, &config)?;
    let mut file = File::open(layer)?;
    archive.append_file(format!("{diff_id}/layer.tar"), &mut file)?;
    text(&mut archive, "manifest.json", &manifest)?;
    archive.finish()?;
    Ok(())
}

fn sha256_of(path: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(format!("{:x}", digest.finalize()));
        }
        digest.update(&buffer[..n]);
    }
}
