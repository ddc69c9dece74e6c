//! What can be wrong with a body, in upstream's words.

use std::fmt;

use meta::{Reason, Status};

use crate::Gvk;

/// A field that a strict reader refuses and a lenient one warns about (V-122).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FieldProblem {
    /// The type has no such field.
    Unknown(String),
    /// The field stands twice in one object.
    Duplicate(String),
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field {path:?}"),
            Self::Duplicate(path) => write!(f, "duplicate field {path:?}"),
        }
    }
}

/// The query parameter `fieldValidation` (V-122).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum FieldValidation {
    /// Problems are dropped silently.
    Ignore,
    /// Each becomes a `Warning` header.
    #[default]
    Warn,
    /// The first makes the request fail.
    Strict,
}

impl FieldValidation {
    /// Reads the parameter; empty is the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }

    /// The texts of `Warning` headers for the problems of an object of kind `gvk`.
    ///
    /// # Errors
    /// [`DecodeError::Unhandled`] under [`FieldValidation::Strict`], if there are any.
    pub fn judge(self, problems: &[FieldProblem], gvk: Gvk<'_>) -> Result<Vec<String>, DecodeError> {
        match self {
            Self::Ignore => Ok(Vec::new()),
            Self::Warn => Ok(problems.iter().map(ToString::to_string).collect()),
            Self::Strict if problems.is_empty() => Ok(Vec::new()),
            Self::Strict => Err(DecodeError::unhandled(gvk, strict_text(problems))),
        }
    }
}

/// `strict decoding error: …`, as it stands in upstream's errors of bodies and of patches.
pub fn strict_text(problems: &[FieldProblem]) -> String {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    format!("strict decoding error: {}", texts.join(", "))
}

/// Why a body could not be decoded; all are 400 `BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not even kind and version could be read.
    #[error("the object provided is unrecognized (must be of type {kind}): {why} ({summary})")]
    Unrecognized {
        /// What it must be.
        kind: String,
        /// What went wrong.
        why: String,
        /// The beginning of the body.
        summary: String,
    },
    /// Kind and version are known; the rest does not fit.
    #[error("{kind} in version \"{version}\" cannot be handled as a {expected}: {why}")]
    Unhandled {
        /// Kind of the body.
        kind: String,
        /// Its version, without the group.
        version: String,
        /// What it must be.
        expected: String,
        /// What went wrong.
        why: String,
    },
    /// Another version than the address says.
    #[error("the API version in the data ({found}) does not match the expected API version ({expected})")]
    Version {
        /// `apiVersion` of the body.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// The schema has no such kind.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    NotRegistered {
        /// Kind.
        kind: String,
        /// Group and version.
        api_version: String,
    },
    /// A body without a schema is malformed.
    #[error("error decoding patch: {why}")]
    Syntax {
        /// What the parser says.
        why: String,
    },
}

impl DecodeError {
    pub(crate) fn unhandled(gvk: Gvk<'_>, why: impl Into<String>) -> Self {
        Self::Unhandled {
            kind: gvk.kind.to_owned(),
            version: gvk.version.to_owned(),
            expected: gvk.kind.to_owned(),
            why: why.into(),
        }
    }

    /// What went wrong alone, as it stands in the error of a patch: whoever patches has not sent the kind and version.
    pub fn why(&self) -> String {
        match self {
            Self::Unhandled { why, .. } => why.clone(),
            Self::Unrecognized { .. } | Self::Version { .. } | Self::NotRegistered { .. } | Self::Syntax { .. } => {
                self.to_string()
            }
        }
    }

    /// The answer to the client.
    pub fn to_status(&self) -> Status {
        Status::new(Reason::BadRequest, self.to_string())
    }
}

/// The beginning of a body for an error text: as it is if it looks like JSON, else in hexadecimal.
pub(super) fn summary(body: &[u8]) -> String {
    const SHOWN_MAX: usize = 30;
    let shown = &body[..body.len().min(SHOWN_MAX)];
    let more = if body.len() > SHOWN_MAX { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => format!("{}{more}", shown.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}
