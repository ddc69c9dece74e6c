//! Image names as people write them, and as they are kept.

use oci_client::Reference;

use crate::ImageError;

/// The registry of names that name none.
const DOCKER_HUB: &str = "docker.io";
/// Longest name that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// Reads a name: `redis` is `docker.io/library/redis:latest`.
pub(crate) fn parse(name: &str) -> Result<Reference, ImageError> {
    let invalid = |why: String| ImageError::InvalidName { name: name.to_owned(), why };
    if name.len() > NAME_BYTES_MAX {
        return Err(invalid(format!("longer than {NAME_BYTES_MAX} bytes")));
    }
    if let Some(reference) = plain(name) {
        return Ok(reference);
    }
    let reference = name.parse::<Reference>().map_err(|e| invalid(e.to_string()))?;
    // What stands before the first slash may be read as a host by one rule and as a repository by the next, which allows
    // less: `Team/app` would be kept under a name that nobody can ask for.
    normal(&reference).parse::<Reference>().map_err(|e| invalid(e.to_string()))?;
    Ok(reference)
}

/// Reads the names that people write nearly always, as the library would; `None` leaves a name to the library.
///
/// The library's regular expression is right about all of them, and keeps some 6 MB of tables once it was asked.
fn plain(name: &str) -> Option<Reference> {
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let last = name.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match name[last..].split_once(':') {
        Some((component, tag)) => (&name[..last + component.len()], Some(tag)),
        None => (name, None),
    };
    let (registry, repository) = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest.to_owned()),
        Some(_) => (DOCKER_HUB, path.to_owned()),
        None => (DOCKER_HUB, format!("library/{path}")),
    };
    let is_known = path.split_once('/').is_none_or(|(host, _)| !host.ends_with(DOCKER_HUB) && is_host(registry));
    let is_plain = is_known
        && repository.len() <= 255
        && repository.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(|digest| digest.strip_prefix("sha256:").is_some_and(is_hex));
    let registry = registry.to_owned();
    is_plain.then(|| match (tag, digest) {
        (Some(tag), Some(digest)) => {
            Reference::with_tag_and_digest(registry, repository, tag.to_owned(), digest.to_owned())
        }
        (None, Some(digest)) => Reference::with_digest(registry, repository, digest.to_owned()),
        (tag, None) => Reference::with_tag(registry, repository, tag.unwrap_or("latest").to_owned()),
    })
}

/// Lower-case letters and digits, with single separators between them.
fn is_component(text: &str) -> bool {
    text.split(['.', '_', '-']).all(|part| !part.is_empty() && part.bytes().all(is_letter))
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port && host.split(['.', '-']).all(|part| !part.is_empty() && part.bytes().all(is_letter))
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// The name as it is kept, of a name as people write it: `redis` is `docker.io/library/redis:latest`.
///
/// # Errors
/// [`ImageError::InvalidName`].
pub fn normal_name(name: &str) -> Result<String, ImageError> {
    Ok(normal(&parse(name)?))
}

/// The name as it is kept: with registry, repository and tag or digest.
pub(crate) fn normal(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{}/{}@{digest}", reference.registry(), reference.repository()),
        (None, tag) => format!("{}/{}:{}", reference.registry(), reference.repository(), tag.unwrap_or("latest")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_names_mean_what_they_mean_to_docker() {
        for (written, kept) in [
            ("redis", "docker.io/library/redis:latest"),
            ("redis:7.0", "docker.io/library/redis:7.0"),
            ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("localhost/x:1", "localhost/x:1"),
        ] {
            assert_eq!(normal(&parse(written).expect(written)), kept, "{written}");
        }
        let digest = format!("redis@sha256:{}", "a".repeat(64));
        assert_eq!(normal(&parse(&digest).expect("a digest")), format!("docker.io/library/{digest}"));
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_read_as_the_library_reads_it(
            name in "(([a-z0-9]{1,3}[.-]?){1,3}(:[0-9]{1,6})?/|localhost(:1)?/|docker.io/|index.docker.io/)?\
                ([a-zA-Z0-9]{0,3}[._/-]{0,2}){1,4}[a-z0-9]{0,2}(:[a-zA-Z0-9._-]{0,5})?(@sha256:[0-9a-f]{64})?"
        ) {
            if let Some(read) = plain(&name) {
                let library = name.parse::<Reference>();
                prop_assert_eq!(Ok(&read), library.as_ref(), "{}", name);
                prop_assert!(normal(&read).parse::<Reference>().is_ok(), "{}", name);
            }
        }
    }

    #[test]
    fn ordinary_names_need_no_library() {
        let digest = "a".repeat(64);
        for name in [
            "redis",
            "redis:7.0-alpine3.20",
            "bitnami/redis:7",
            "127.0.0.1:5000/a/b",
            "localhost/x:1",
            "registry.k8s.io/pause:3.10",
            "gcr.io/distroless/static-debian12:nonroot",
            &format!("quay.io/minio/minio:latest@sha256:{digest}"),
            &format!("redis@sha256:{digest}"),
        ] {
            assert_eq!(plain(name), Some(name.parse().expect(name)), "{name}");
        }
        for name in ["", "Redis", "a__b", "docker.io/redis", "redis@sha256:1", "a:", "a/", "/a", "a:b/c"] {
            assert_eq!(plain(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_refused_and_named() {
        for written in ["", "team/UPPER", "Team/app", "loE/a1", "a b", &"x".repeat(2000)] {
            assert!(matches!(parse(written), Err(ImageError::InvalidName { .. })), "{written}");
        }
    }
}
