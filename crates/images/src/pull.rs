//! Fetching from a registry: manifests and blobs by `oci-client`, every digest checked by us.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use futures::TryStreamExt;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth as Auth;
use oci_client::{Reference, manifest};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::archive::{DOCUMENT_BYTES_MAX, Descriptor, Document};
use crate::disk::{Packed, Shared, blocking};
use crate::name::{normal, parse};
use crate::record::{hex_of, read_config};
use crate::transfer::{Meter, Stage};
use crate::{Image, ImageError, RegistryAuth};

/// Longest time to connect to a registry.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a registry.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest layer as it is sent, in bytes.
const LAYER_BYTES_MAX: u64 = 32 << 30;

/// What registries are asked for: OCI and docker, indexes and manifests.
const ACCEPTED: [&str; 4] = [
    manifest::OCI_IMAGE_INDEX_MEDIA_TYPE,
    manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    manifest::OCI_IMAGE_MEDIA_TYPE,
    manifest::IMAGE_MANIFEST_MEDIA_TYPE,
];

/// Mirrors, in `registries.json` beside the store's folder:
/// `{"mirrors": {"docker.io": ["http://127.0.0.1:5000"]}}`, tried in order before the registry itself.
#[derive(Deserialize, Default)]
struct Settings {
    #[serde(default)]
    mirrors: BTreeMap<String, Vec<String>>,
}

/// The part of docker's configuration file that holds credentials. Credential helpers are not run.
#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

/// Where a pull goes: a registry or a mirror of it.
struct Source {
    client: Client,
    reference: Reference,
    auth: Auth,
}

/// The way to registries.
#[derive(Debug)]
pub(crate) struct Registry {
    settings: PathBuf,
    /// One pull of a name at a time; the second finds the layers of the first.
    busy: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Registry {
    pub(crate) fn new(folder: &Path) -> Self {
        // The client takes the process's provider; ours is named here, and a second naming is harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = folder.parent().unwrap_or(folder).join("registries.json");
        Self { settings, busy: Mutex::default() }
    }

    /// Fetches what is not here and lists the image.
    pub(crate) async fn pull(
        &self,
        shared: &Arc<Shared>,
        name: &str,
        auths: &BTreeMap<String, RegistryAuth>,
    ) -> Result<Image, ImageError> {
        let reference = parse(name)?;
        let turn = self.turn(&normal(&reference));
        let _turn = turn.lock().await;
        let mut failures = Vec::new();
        for source in self.sources(name, &reference, auths)? {
            match fetch(shared, &source, &reference, name).await {
                Ok(image) => return Ok(image),
                Err(ImageError::Pull { why, .. }) => failures.push(why),
                Err(other) => return Err(other),
            }
        }
        Err(ImageError::Pull { name: name.to_owned(), why: failures.join("; ") })
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(busy.entry(name.to_owned()).or_default())
    }

    fn sources(
        &self,
        name: &str,
        reference: &Reference,
        auths: &BTreeMap<String, RegistryAuth>,
    ) -> Result<Vec<Source>, ImageError> {
        let settings: Settings = match fs::read(&self.settings) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| ImageError::Pull {
                name: name.to_owned(),
                why: format!("{}: {e}", self.settings.display()),
            })?,
            Err(_) => Settings::default(),
        };
        let mut sources = Vec::new();
        for mirror in settings.mirrors.get(reference.registry()).into_iter().flatten() {
            let (scheme, host) = mirror.split_once("://").unwrap_or(("https", mirror));
            let host = host.trim_end_matches('/');
            let mut mirrored = reference.clone();
            mirrored.set_mirror_registry(host.to_owned());
            let plain = scheme == "http";
            sources.push(Source { client: client(host, plain), auth: auth_for(host, auths), reference: mirrored });
        }
        let host = reference.resolve_registry();
        let auth = auth_for(reference.registry(), auths);
        sources.push(Source { client: client(host, is_loopback(host)), auth, reference: reference.clone() });
        Ok(sources)
    }
}

fn client(host: &str, plain: bool) -> Client {
    let protocol = if plain { ClientProtocol::HttpsExcept(vec![host.to_owned()]) } else { ClientProtocol::Https };
    Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        ..ClientConfig::default()
    })
}

/// Registries on this machine speak plain HTTP, as with docker; all others must have TLS.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Given credentials first, then the user's docker configuration, then none.
fn auth_for(host: &str, auths: &BTreeMap<String, RegistryAuth>) -> Auth {
    let given = auths.iter().find(|(key, _)| same_registry(key, host)).map(|(_, a)| a.clone());
    match given.or_else(|| docker_auth(host)) {
        Some(auth) => Auth::Basic(auth.username, auth.password),
        None => Auth::Anonymous,
    }
}

/// Keys of credentials are written as hosts or as URLs; Docker Hub has an old name.
fn same_registry(key: &str, host: &str) -> bool {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    let hub = |name: &str| matches!(name, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    bare == host || (hub(bare) && hub(host))
}

fn docker_auth(host: &str) -> Option<RegistryAuth> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")))?;
    let config: DockerConfig = serde_json::from_slice(&fs::read(folder.join("config.json")).ok()?).ok()?;
    let (_, found) = config.auths.into_iter().find(|(key, _)| same_registry(key, host))?;
    if let (Some(username), Some(password)) = (found.username, found.password) {
        return Some(RegistryAuth { username, password });
    }
    let plain = base64::engine::general_purpose::STANDARD.decode(found.auth?).ok()?;
    let (username, password) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    Some(RegistryAuth { username: username.to_owned(), password: password.to_owned() })
}

fn refused(name: &str) -> impl Fn(oci_client::errors::OciDistributionError) -> ImageError {
    let name = name.to_owned();
    move |error| {
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            cause = inner.source();
        }
        ImageError::Pull { name: name.clone(), why }
    }
}

async fn fetch(shared: &Arc<Shared>, source: &Source, wanted: &Reference, name: &str) -> Result<Image, ImageError> {
    let fail = |why: String| ImageError::Pull { name: name.to_owned(), why };
    let (bytes, digest) =
        source.client.pull_manifest_raw(&source.reference, &source.auth, &ACCEPTED).await.map_err(refused(name))?;
    check(&bytes, wanted.digest().unwrap_or(&digest)).map_err(&fail)?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|e| fail(format!("manifest: {e}")))?;
    let document = if document.manifests.is_some() {
        let chosen =
            document.for_this_machine().ok_or_else(|| fail("no image for this machine's platform".to_owned()))?;
        let inner = source.reference.clone_with_digest(chosen.digest.clone());
        let (bytes, _) =
            source.client.pull_manifest_raw(&inner, &source.auth, &ACCEPTED).await.map_err(refused(name))?;
        check(&bytes, &chosen.digest).map_err(&fail)?;
        serde_json::from_slice(&bytes).map_err(|e| fail(format!("manifest: {e}")))?
    } else {
        document
    };
    let (Some(config), Some(layers)) = (document.config, document.layers) else {
        return Err(fail("the manifest names no configuration or no layers".to_owned()));
    };
    let scratch = shared.scratch()?;
    let mut meter = Meter::new(scratch.path(), &normal(wanted));
    let config_path = scratch.path().join("config");
    blob(source, &config, &config_path, DOCUMENT_BYTES_MAX, name, &mut |_| ()).await?;
    let config = fs::read(&config_path).map_err(|e| fail(e.to_string()))?;
    let (_, diff_ids) = read_config(&config, name)?;
    if diff_ids.len() != layers.len() {
        return Err(fail(format!("{} layers, but the configuration has {}", layers.len(), diff_ids.len())));
    }
    meter.name(&normal(wanted), layers.len());
    for (n, (descriptor, diff_id)) in layers.iter().zip(&diff_ids).enumerate() {
        if !shared.has_layer(diff_id) {
            meter.begin(Stage::Pull, n, descriptor.size);
            let path = scratch.path().join(format!("layer-{n}"));
            blob(source, descriptor, &path, LAYER_BYTES_MAX, name, &mut |bytes| meter.advance(bytes)).await?;
        }
    }
    let repo_digest = format!("{}/{}@{digest}", wanted.registry(), wanted.repository());
    let (shared, names) = (Arc::clone(shared), vec![normal(wanted)]);
    blocking(move || {
        let mut open = |n: usize| -> Result<Packed, ImageError> {
            let path = scratch.path().join(format!("layer-{n}"));
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (bytes, file) =
                opened.map_err(|source| ImageError::Disk { doing: format!("open {}", path.display()), source })?;
            Ok(Packed { reader: Box::new(file), bytes })
        };
        shared.add(&config, names, Some(repo_digest), &mut meter, &mut open)
    })
    .await
}

fn check(bytes: &[u8], digest: &str) -> Result<(), String> {
    if hex_of(digest).is_none() {
        return Err(format!("digest {digest:?} is not a sha256"));
    }
    let found = format!("sha256:{:x}", Sha256::digest(bytes));
    if found == digest { Ok(()) } else { Err(format!("the manifest's digest is {found}, not {digest}")) }
}

/// Streams a blob to a file; its digest and size must be those of the manifest.
async fn blob(
    source: &Source,
    wanted: &Descriptor,
    path: &Path,
    bytes_max: u64,
    name: &str,
    came: &mut (dyn FnMut(u64) + Send),
) -> Result<(), ImageError> {
    let fail = |why: String| ImageError::Pull { name: name.to_owned(), why };
    if hex_of(&wanted.digest).is_none() {
        return Err(fail(format!("digest {:?} is not a sha256", wanted.digest)));
    }
    let limit = if wanted.size > 0 { wanted.size.min(bytes_max) } else { bytes_max };
    let descriptor = OciDescriptor {
        digest: wanted.digest.clone(),
        size: i64::try_from(wanted.size).unwrap_or_default(),
        ..OciDescriptor::default()
    };
    let sized = source.client.pull_blob_stream(&source.reference, &descriptor).await.map_err(refused(name))?;
    let disk = |source: std::io::Error| ImageError::Disk { doing: format!("write {}", path.display()), source };
    let mut file = File::create(path).map_err(disk)?;
    let (mut stream, mut digest, mut length) = (sized.stream, Sha256::new(), 0_u64);
    while let Some(chunk) = stream.try_next().await.map_err(|e| fail(e.to_string()))? {
        length += chunk.len() as u64;
        came(chunk.len() as u64);
        if length > limit {
            return Err(fail(format!("blob {} is longer than {limit} bytes", wanted.digest)));
        }
        digest.update(&chunk);
        // A short write to the page cache; it blocks no longer than a copy.
        file.write_all(&chunk).map_err(disk)?;
    }
    let found = format!("sha256:{:x}", digest.finalize());
    if found != wanted.digest {
        return Err(fail(format!("the digest of blob {} is {found}", wanted.digest)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_however_their_registry_is_written() {
        for (key, host) in [
            ("registry.example.com", "registry.example.com"),
            ("https://registry.example.com/v2/", "registry.example.com"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
        ] {
            assert!(same_registry(key, host), "{key} {host}");
        }
        assert!(!same_registry("registry.example.com", "example.com"));
    }

    #[test]
    fn only_registries_on_this_machine_speak_without_tls() {
        for (host, plain) in
            [("127.0.0.1:5000", true), ("localhost", true), ("10.0.0.1:5000", false), ("docker.io", false)]
        {
            assert_eq!(is_loopback(host), plain, "{host}");
        }
    }
}
