//! What each volume of a pod consists of.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Secret, Volume, VolumeProjection,
};
use meta::Quantity;

use crate::env;
use crate::sources::{Sources, token_need};

/// A volume, with all its content known but for the bytes of claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VolumePlan {
    /// `emptyDir`.
    EmptyDir {
        /// In memory instead of on disk.
        memory: bool,
        /// Most bytes it may hold.
        size_limit_bytes: Option<u64>,
    },
    /// Files with known content.
    Files {
        /// By relative path.
        files: BTreeMap<String, File>,
        /// Holds secrets: keep it in memory.
        confidential: bool,
    },
    /// A claim.
    Claim {
        /// Its name.
        name: String,
        /// Mounted read-only everywhere.
        read_only: bool,
    },
    /// A path of the host.
    HostPath {
        /// The path.
        path: String,
        /// `hostPath.type`; empty for unchecked.
        kind: String,
    },
}

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner, if not root.
    pub owner: Option<u32>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} bytes, {:o})", self.bytes.len(), self.mode)
    }
}

/// Why a volume cannot be made yet, in upstream's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilesError {
    /// A ConfigMap is not there.
    #[error("configmap {0:?} not found")]
    NoConfigMap(String),
    /// A Secret is not there.
    #[error("secret {0:?} not found")]
    NoSecret(String),
    /// A ConfigMap has no such key.
    #[error("configmap references non-existent config key: {0}")]
    NoConfigMapKey(String),
    /// A Secret has no such key.
    #[error("references non-existent secret key: {0}")]
    NoSecretKey(String),
    /// No token was issued.
    #[error("failed to fetch token: {0}")]
    NoToken(String),
    /// The downward API has no such field.
    #[error(transparent)]
    Field(#[from] env::EnvError),
    /// This node does not know the kind of volume.
    #[error("volumes of this kind are not supported by this node: {0}")]
    Unsupported(String),
}

const MODE: i32 = 0o644;

/// Works out one volume.
///
/// # Errors
/// [`FilesError`] says which source is missing.
pub fn plan(volume: &Volume, pod: &Pod, sources: &Sources) -> Result<VolumePlan, FilesError> {
    if let Some(empty) = &volume.empty_dir {
        let limit = empty.size_limit.as_ref().and_then(|text| Quantity::parse(&text.0).ok());
        return Ok(VolumePlan::EmptyDir {
            memory: empty.medium.as_deref() == Some("Memory"),
            size_limit_bytes: limit.and_then(|limit| u64::try_from(limit.units()).ok()).filter(|limit| *limit > 0),
        });
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Ok(VolumePlan::Claim { name: claim.claim_name.clone(), read_only: claim.read_only == Some(true) });
    }
    if let Some(host) = &volume.host_path {
        return Ok(VolumePlan::HostPath { path: host.path.clone(), kind: host.type_.clone().unwrap_or_default() });
    }
    if let Some(wanted) = &volume.config_map {
        let found = sources.config_maps.get(&wanted.name).and_then(Option::as_ref);
        let mode = mode(wanted.default_mode, MODE);
        let items = wanted.items.as_deref();
        let files = config_map(found.map(AsRef::as_ref), &wanted.name, items, mode, wanted.optional == Some(true))?;
        return Ok(VolumePlan::Files { files, confidential: false });
    }
    if let Some(wanted) = &volume.secret {
        let name = wanted.secret_name.as_deref().unwrap_or_default();
        let found = sources.secrets.get(name).and_then(Option::as_ref);
        let mode = mode(wanted.default_mode, MODE);
        let optional = wanted.optional == Some(true);
        let files = secret(found.map(AsRef::as_ref), name, wanted.items.as_deref(), mode, optional)?;
        return Ok(VolumePlan::Files { files, confidential: true });
    }
    if let Some(wanted) = &volume.downward_api {
        let files =
            downward(wanted.items.as_deref().unwrap_or_default(), mode(wanted.default_mode, MODE), pod, sources)?;
        return Ok(VolumePlan::Files { files, confidential: false });
    }
    if let Some(wanted) = &volume.projected {
        return projected(wanted, pod, sources);
    }
    Err(FilesError::Unsupported(volume.name.clone()))
}

fn mode(given: Option<i32>, default: i32) -> u32 {
    u32::try_from(given.unwrap_or(default)).unwrap_or(0o644)
}

fn file(bytes: Vec<u8>, mode: u32) -> File {
    File { bytes, mode, owner: None }
}

/// Chooses and renames keys; without `items` each key is a file of its own name.
fn choose<'a>(
    keys: impl Fn(&str) -> Option<&'a [u8]>,
    all: impl IntoIterator<Item = (&'a String, &'a [u8])>,
    items: Option<&[KeyToPath]>,
    mode: u32,
    optional: bool,
    missing: impl Fn(String) -> FilesError,
) -> Result<BTreeMap<String, File>, FilesError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(all.into_iter().map(|(key, bytes)| (key.clone(), file(bytes.to_vec(), mode))).collect());
    };
    let mut files = BTreeMap::new();
    for item in items {
        let own = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
        match keys(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), file(bytes.to_vec(), own));
            }
            None if optional => {}
            None => return Err(missing(item.key.clone())),
        }
    }
    Ok(files)
}

fn config_map(
    found: Option<&ConfigMap>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: u32,
    optional: bool,
) -> Result<BTreeMap<String, File>, FilesError> {
    let Some(found) = found else {
        return if optional { Ok(BTreeMap::new()) } else { Err(FilesError::NoConfigMap(name.to_owned())) };
    };
    let text = |key: &str| found.data.as_ref().and_then(|data| data.get(key)).map(|value| value.as_bytes());
    let binary = |key: &str| found.binary_data.as_ref().and_then(|data| data.get(key)).map(|value| &value.0[..]);
    let texts = found.data.iter().flatten().map(|(key, value)| (key, value.as_bytes()));
    let binaries = found.binary_data.iter().flatten().map(|(key, ByteString(value))| (key, &value[..]));
    let keys = |key: &str| text(key).or_else(|| binary(key));
    choose(keys, texts.chain(binaries), items, mode, optional, FilesError::NoConfigMapKey)
}

fn secret(
    found: Option<&Secret>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: u32,
    optional: bool,
) -> Result<BTreeMap<String, File>, FilesError> {
    let Some(found) = found else {
        return if optional { Ok(BTreeMap::new()) } else { Err(FilesError::NoSecret(name.to_owned())) };
    };
    let keys = |key: &str| found.data.as_ref().and_then(|data| data.get(key)).map(|value| &value.0[..]);
    let all = found.data.iter().flatten().map(|(key, ByteString(value))| (key, &value[..]));
    choose(keys, all, items, mode, optional, FilesError::NoSecretKey)
}

fn downward(
    items: &[DownwardAPIVolumeFile],
    mode: u32,
    pod: &Pod,
    sources: &Sources,
) -> Result<BTreeMap<String, File>, FilesError> {
    let mut files = BTreeMap::new();
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => env::field_value(&field.field_path, pod, sources)?,
            (None, Some(resource)) => env::resource_value(resource, None, pod, sources)?,
            (None, None) => String::new(),
        };
        let own = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
        files.insert(item.path.clone(), file(text.into_bytes(), own));
    }
    Ok(files)
}

fn projected(wanted: &ProjectedVolumeSource, pod: &Pod, sources: &Sources) -> Result<VolumePlan, FilesError> {
    let mode = mode(wanted.default_mode, MODE);
    let mut files = BTreeMap::new();
    let mut confidential = false;
    for source in wanted.sources.iter().flatten() {
        confidential |= source.secret.is_some() || source.service_account_token.is_some();
        files.extend(projection(source, mode, pod, sources)?);
    }
    Ok(VolumePlan::Files { files, confidential })
}

fn projection(
    source: &VolumeProjection,
    mode: u32,
    pod: &Pod,
    sources: &Sources,
) -> Result<BTreeMap<String, File>, FilesError> {
    if let Some(wanted) = &source.config_map {
        let found = sources.config_maps.get(&wanted.name).and_then(Option::as_ref);
        let optional = wanted.optional == Some(true);
        return config_map(found.map(AsRef::as_ref), &wanted.name, wanted.items.as_deref(), mode, optional);
    }
    if let Some(wanted) = &source.secret {
        let found = sources.secrets.get(&wanted.name).and_then(Option::as_ref);
        let optional = wanted.optional == Some(true);
        return secret(found.map(AsRef::as_ref), &wanted.name, wanted.items.as_deref(), mode, optional);
    }
    if let Some(wanted) = &source.downward_api {
        return downward(wanted.items.as_deref().unwrap_or_default(), mode, pod, sources);
    }
    if let Some(wanted) = &source.service_account_token {
        let need = token_need(wanted);
        let token = sources.tokens.get(&need).ok_or_else(|| FilesError::NoToken(wanted.path.clone()))?;
        let owner = token_owner(pod);
        let has_group = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.security_context.as_ref())
            .is_some_and(|security| security.fs_group.is_some());
        let mode = if owner.is_some() || has_group { 0o600 } else { mode };
        let token = File { bytes: token.clone().into_bytes(), mode, owner };
        return Ok([(wanted.path.clone(), token)].into());
    }
    Err(FilesError::Unsupported("projected source".to_owned()))
}

/// The user that all containers of the pod run as, if they agree: the token is readable for that user alone.
fn token_owner(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let common = spec.security_context.as_ref().and_then(|security| security.run_as_user);
    let mut users = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .map(|one| one.security_context.as_ref().and_then(|security| security.run_as_user).or(common));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(volume: Value, want: expect_test::Expect) {
        let mut volume = volume;
        volume["name"] = json!("v");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p-0", "namespace": "ns", "uid": "u", "labels": {"b": "two \"2\"", "a": "1"}},
            "spec": {"containers": [{"name": "c", "securityContext": {"runAsUser": 7}}], "volumes": [volume]},
        }))
        .unwrap();
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({"data": {"k": "c2VjcmV0"}})).unwrap();
        let mut sources = Sources::default();
        sources.config_maps.insert("m".to_owned(), Some(Arc::new(map)));
        sources.secrets.insert("s".to_owned(), Some(Arc::new(secret)));
        let need = crate::sources::TokenNeed { audience: String::new(), expiration_secs: 3607 };
        sources.tokens.insert(need, "jwt".to_owned());
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        let text = match plan(volume, &pod, &sources) {
            Ok(VolumePlan::Files { files, confidential }) => {
                let lines: String = files
                    .iter()
                    .map(|(path, file)| {
                        let owner = file.owner.map(|owner| format!(" u{owner}")).unwrap_or_default();
                        format!("{path} {:o}{owner} {:?}\n", file.mode, String::from_utf8_lossy(&file.bytes))
                    })
                    .collect();
                format!("{}{lines}", if confidential { "confidential\n" } else { "" })
            }
            Ok(other) => format!("{other:?}\n"),
            Err(error) => format!("! {error}\n"),
        };
        want.assert_eq(&text);
    }

    #[test]
    fn a_config_map_becomes_a_file_for_each_key() {
        check(
            json!({"configMap": {"name": "m", "defaultMode": 256}}),
            expect_test::expect![[r#"
                a 400 "1"
                b 400 "2"
                c 400 "\0\u{1}"
            "#]],
        );
    }

    #[test]
    fn items_choose_rename_and_set_modes_and_a_missing_key_is_told() {
        check(
            json!({"configMap": {"name": "m", "items": [{"key": "a", "path": "x/y", "mode": 292}]}}),
            expect_test::expect![[r#"
                x/y 444 "1"
            "#]],
        );
        let missing = json!({"configMap": {"name": "m", "items": [{"key": "z", "path": "z"}]}});
        check(missing, expect_test::expect!["! configmap references non-existent config key: z\n"]);
        check(json!({"configMap": {"name": "n"}}), expect_test::expect!["! configmap \"n\" not found\n"]);
        check(json!({"configMap": {"name": "n", "optional": true}}), expect_test::expect![""]);
    }

    #[test]
    fn the_service_account_volume_holds_token_root_and_namespace_and_only_its_user_reads_the_token() {
        check(
            json!({"projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "m", "items": [{"key": "a", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ]}}),
            expect_test::expect![[r#"
                confidential
                ca.crt 644 "1"
                labels 644 "a=\"1\"\nb=\"two \\\"2\\\"\""
                namespace 644 "ns"
                token 600 u7 "jwt"
            "#]],
        );
    }

    #[test]
    fn other_volumes_are_passed_on_and_unknown_kinds_refused() {
        check(
            json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
            expect_test::expect!["EmptyDir { memory: true, size_limit_bytes: Some(1048576) }\n"],
        );
        check(
            json!({"nfs": {"server": "s", "path": "/"}}),
            expect_test::expect!["! volumes of this kind are not supported by this node: v\n"],
        );
    }
}
