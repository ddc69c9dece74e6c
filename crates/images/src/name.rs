//! Image names as people write them, and as they are kept.

use oci_client::Reference;

use crate::ImageError;

/// Longest name that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// Reads a name: `redis` is `docker.io/library/redis:latest`.
pub(crate) fn parse(name: &str) -> Result<Reference, ImageError> {
    let invalid = |why: String| ImageError::InvalidName { name: name.to_owned(), why };
    if name.len() > NAME_BYTES_MAX {
        return Err(invalid(format!("longer than {NAME_BYTES_MAX} bytes")));
    }
    let reference = name.parse::<Reference>().map_err(|e| invalid(e.to_string()))?;
    // What stands before the first slash may be read as a host by one rule and as a repository by the next, which allows
    // less: `Team/app` would be kept under a name that nobody can ask for.
    normal(&reference).parse::<Reference>().map_err(|e| invalid(e.to_string()))?;
    Ok(reference)
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

    #[test]
    fn a_name_that_is_none_is_refused_and_named() {
        for written in ["", "team/UPPER", "Team/app", "loE/a1", "a b", &"x".repeat(2000)] {
            assert!(matches!(parse(written), Err(ImageError::InvalidName { .. })), "{written}");
        }
    }
}
