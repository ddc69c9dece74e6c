//! Archives of images: docker-archive and OCI layout, packed or as a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ImageError;
use crate::disk::Packed;
use crate::name::{normal, parse};
use crate::record::hex_of;
use crate::transfer::{Meter, Metered, Stage};

/// Largest manifest or configuration, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
/// Most files in an archive of images.
const FILES_MAX: usize = 100_000;
/// Indexes may hold indexes; so deep and no deeper.
const INDEX_DEPTH_MAX: u32 = 4;

/// An archive that can be read file by file.
pub(crate) enum Archive {
    /// A tar file: where each member's bytes are.
    Packed { path: PathBuf, members: BTreeMap<String, Member> },
    /// An unpacked folder.
    Folder(PathBuf),
}

/// A member of a tar file.
pub(crate) enum Member {
    /// Offset and length.
    Bytes(u64, u64),
    /// The same bytes as another member: old docker-archives link repeated layers.
    SameAs(String),
}

/// An image of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Archived {
    /// Normal names.
    pub(crate) names: Vec<String>,
    /// Member that holds the configuration.
    pub(crate) config: String,
    /// Members that hold the layers, lowest first.
    pub(crate) layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An OCI or docker index, or manifest: whichever fields are there say which.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    #[serde(default)]
    pub(crate) manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<Descriptor>>,
}

/// A reference to bytes by digest.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// This machine's architecture as images spell it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Document {
    /// The manifest for this machine in an index; one without a platform is taken if there is no better.
    pub(crate) fn for_this_machine(&self) -> Option<&Descriptor> {
        let manifests = self.manifests.as_ref()?;
        let fits =
            |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture());
        manifests.iter().find(fits).or_else(|| manifests.iter().find(|d| d.platform.is_none()))
    }
}

fn damaged(what: &Path, why: impl Into<String>) -> ImageError {
    ImageError::Damaged { what: what.display().to_string(), why: why.into() }
}

fn disk(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
    let doing = format!("{doing} {}", path.display());
    move |source| ImageError::Disk { doing, source }
}

/// Reads through gzip, zstd or nothing, whichever the first bytes say.
pub(crate) fn decompressed<'a>(raw: impl Read + Send + 'a) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    let mut buffered = BufReader::with_capacity(256 << 10, raw);
    let head = buffered.fill_buf()?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::read::MultiGzDecoder::new(buffered))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::with_buffer(buffered)?)
    } else {
        Box::new(buffered)
    })
}

impl Archive {
    /// Opens a folder or a tar file; a compressed one is unpacked to `scratch` first, because members are read in
    /// another order than they stand.
    pub(crate) fn open(path: &Path, scratch: &Path, meter: &mut Meter) -> Result<Self, ImageError> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_path_buf()));
        }
        let mut file = File::open(path).map_err(disk("open", path))?;
        let mut head = [0; 4];
        let length = file.read(&mut head).map_err(disk("read", path))?;
        let plain =
            !(head[..length].starts_with(&[0x1f, 0x8b]) || head[..length].starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
        file.seek(SeekFrom::Start(0)).map_err(disk("read", path))?;
        if plain {
            return Ok(Self::Packed { path: path.to_path_buf(), members: members(path, file)? });
        }
        let unpacked = scratch.join("archive.tar");
        let mut target = File::create(&unpacked).map_err(disk("create", &unpacked))?;
        meter.begin(Stage::Read, 0, file.metadata().map_or(0, |m| m.len()));
        let mut source = decompressed(Metered { inner: file, meter }).map_err(disk("read", path))?;
        std::io::copy(&mut source, &mut target).map_err(|e| damaged(path, e.to_string()))?;
        let file = File::open(&unpacked).map_err(disk("open", &unpacked))?;
        Ok(Self::Packed { path: unpacked, members: members(path, file)? })
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Packed { members, .. } => members.contains_key(name),
            Self::Folder(folder) => folder.join(name).is_file(),
        }
    }

    /// Opens a member.
    pub(crate) fn reader(&self, name: &str) -> Result<Packed, ImageError> {
        match self {
            Self::Packed { path, members } => {
                let mut name = name;
                // A link to a link to … ends: each step must lead to a member that is not the one before.
                for _ in 0..8 {
                    match members.get(name) {
                        Some(Member::Bytes(offset, length)) => {
                            let mut file = File::open(path).map_err(disk("open", path))?;
                            file.seek(SeekFrom::Start(*offset)).map_err(disk("read", path))?;
                            return Ok(Packed { reader: Box::new(file.take(*length)), bytes: *length });
                        }
                        Some(Member::SameAs(other)) => name = other,
                        None => break,
                    }
                }
                Err(damaged(path, format!("the archive has no file {name:?}")))
            }
            Self::Folder(folder) => {
                // The name comes out of the archive's own documents; it must not lead elsewhere.
                let odd = Path::new(name).components().any(|c| !matches!(c, std::path::Component::Normal(_)));
                let path = folder.join(name);
                if odd {
                    return Err(damaged(&path, "a file name that leaves the folder"));
                }
                let file = File::open(&path).map_err(disk("open", &path))?;
                let bytes = file.metadata().map_err(disk("read", &path))?.len();
                Ok(Packed { reader: Box::new(file), bytes })
            }
        }
    }

    /// Reads a small member wholly.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let read = self.reader(name)?.reader.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|e| damaged(Path::new(name), e.to_string()))?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(damaged(Path::new(name), format!("longer than {DOCUMENT_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    }

    /// The images in it.
    pub(crate) fn images(&self, shown: &Path) -> Result<Vec<Archived>, ImageError> {
        if self.has("manifest.json") {
            return self.docker_images(shown);
        }
        if !self.has("index.json") {
            let why = "neither a docker-archive (manifest.json) nor an OCI layout (index.json)";
            return Err(damaged(shown, why));
        }
        let mut found = Vec::new();
        self.oci_images("index.json", &[], 0, &mut found)?;
        if found.is_empty() {
            return Err(damaged(shown, format!("no image for linux/{} in it", architecture())));
        }
        Ok(found)
    }

    fn docker_images(&self, shown: &Path) -> Result<Vec<Archived>, ImageError> {
        let bytes = self.document("manifest.json")?;
        let listed: Vec<DockerImage> =
            serde_json::from_slice(&bytes).map_err(|e| damaged(shown, format!("manifest.json: {e}")))?;
        listed
            .into_iter()
            .map(|image| {
                let names = image.repo_tags.unwrap_or_default();
                let names = names.iter().map(|n| Ok(normal(&parse(n)?))).collect::<Result<_, ImageError>>()?;
                Ok(Archived {
                    names,
                    config: clean(&image.config),
                    layers: image.layers.iter().map(|l| clean(l)).collect(),
                })
            })
            .collect()
    }

    fn oci_images(
        &self,
        member: &str,
        names: &[String],
        depth: u32,
        found: &mut Vec<Archived>,
    ) -> Result<(), ImageError> {
        let bytes = self.document(member)?;
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|e| damaged(Path::new(member), e.to_string()))?;
        if let (Some(config), Some(layers)) = (&document.config, &document.layers) {
            let layers = layers.iter().map(|l| blob(&l.digest)).collect::<Result<_, _>>()?;
            found.push(Archived { names: names.to_vec(), config: blob(&config.digest)?, layers });
            return Ok(());
        }
        if depth >= INDEX_DEPTH_MAX {
            return Err(damaged(Path::new(member), format!("indexes more than {INDEX_DEPTH_MAX} deep")));
        }
        let inner: Vec<&Descriptor> = if depth == 0 {
            // The layout's own index lists images; each may be an index of platforms.
            document.manifests.iter().flatten().collect()
        } else {
            document.for_this_machine().into_iter().collect()
        };
        for descriptor in inner {
            if descriptor.platform.as_ref().is_some_and(|p| p.os != "linux" || p.architecture != architecture()) {
                continue;
            }
            let named = if depth == 0 { names_of(descriptor)? } else { names.to_vec() };
            self.oci_images(&blob(&descriptor.digest)?, &named, depth + 1, found)?;
        }
        Ok(())
    }
}

/// Names of an image in a layout: the full one if a tool wrote it, else the reference, which may be only a tag.
fn names_of(descriptor: &Descriptor) -> Result<Vec<String>, ImageError> {
    let full = descriptor.annotations.get("io.containerd.image.name");
    let reference = descriptor.annotations.get("org.opencontainers.image.ref.name");
    match full.or(reference.filter(|r| r.contains(['/', ':']))) {
        Some(name) => Ok(vec![normal(&parse(name)?)]),
        None => Ok(Vec::new()),
    }
}

fn blob(digest: &str) -> Result<String, ImageError> {
    match hex_of(digest) {
        Some(hex) => Ok(format!("blobs/sha256/{hex}")),
        None => Err(ImageError::Damaged { what: format!("digest {digest:?}"), why: "only sha256 is known".to_owned() }),
    }
}

fn clean(name: &str) -> String {
    name.trim_start_matches("./").to_owned()
}

fn members(shown: &Path, file: File) -> Result<BTreeMap<String, Member>, ImageError> {
    let mut found = BTreeMap::new();
    let length = file.metadata().map_err(disk("read", shown))?.len();
    let mut archive = tar::Archive::new(file);
    let bad = |e: std::io::Error| damaged(shown, format!("not a tar archive: {e}"));
    for entry in archive.entries_with_seek().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        let name = clean(&entry.path().map_err(bad)?.display().to_string());
        if entry.raw_file_position().saturating_add(entry.size()) > length {
            let why = format!("the archive ends in the middle of {name}: it is not complete, copy it here again");
            return Err(damaged(shown, why));
        }
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                found.insert(name, Member::Bytes(entry.raw_file_position(), entry.size()));
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name().map_err(bad)?.map(|t| t.display().to_string()).unwrap_or_default();
                let target = target.trim_start_matches("../").to_owned();
                found.insert(name, Member::SameAs(clean(&target)));
            }
            _ => {}
        }
        if found.len() > FILES_MAX {
            return Err(damaged(shown, format!("more than {FILES_MAX} files")));
        }
    }
    Ok(found)
}
