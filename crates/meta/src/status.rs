//! `metav1.Status`: the one shape in which the API says no (V-6, V-7).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why the API said no; clients switch on this first and on the HTTP code second (G-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// 400: the request cannot be understood.
    BadRequest,
    /// 401: no or bad credentials.
    Unauthorized,
    /// 403: understood and refused.
    Forbidden,
    /// 404: no such object or path.
    NotFound,
    /// 405: the resource has no such verb.
    MethodNotAllowed,
    /// 406: no representation that the client accepts.
    NotAcceptable,
    /// 409: an object of that name exists.
    AlreadyExists,
    /// 409: a precondition failed, most often a stale resourceVersion.
    Conflict,
    /// 410: the revision has been compacted.
    Expired,
    /// 413: the body is over the limit.
    RequestEntityTooLarge,
    /// 415: the body's media type is unknown.
    UnsupportedMediaType,
    /// 422: the object breaks a rule; `details.causes` names the fields.
    Invalid,
    /// 429: try again later.
    TooManyRequests,
    /// 500: our fault.
    InternalError,
    /// 503: not now.
    ServiceUnavailable,
    /// 504: not in time.
    Timeout,
    /// Anything a newer or foreign server says.
    #[serde(other)]
    Unknown,
}

impl Reason {
    /// The HTTP status code that goes with the reason.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::Unknown => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// One field-level cause of a [`Status`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cause {
    /// Machine-readable kind of cause, for example `FieldValueInvalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Text for people, without the field's path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field's path, for example `spec.containers[0].name`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What a [`Status`] is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StatusDetails {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The plural resource, except in `Invalid`, where it is the Kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Field-level causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which a retry makes sense; 0 is absent.
    #[serde(default, rename = "retryAfterSeconds", skip_serializing_if = "is_zero")]
    pub retry_after_secs: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The API's refusal, as every client sees it. The error type of every client call.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason; `None` where upstream sends none.
    pub reason: Option<Reason>,
    /// Text for people.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<StatusDetails>>,
    /// Continue token of an expired paged list (V-66).
    pub continue_token: Option<String>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Status {
    /// A status with the reason's own code and no details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { code: reason.code(), reason: Some(reason), message: message.into(), details: None, continue_token: None }
    }

    /// 400 `BadRequest`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 500 `InternalError`, with upstream's prefix.
    pub fn internal(text: impl fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {text}"))
    }

    /// 404 `NotFound` for one object.
    pub fn not_found(resource: &crate::ResourceId, name: &str) -> Self {
        Self::new(Reason::NotFound, format!("{} \"{name}\" not found", resource.group_resource())).about(resource, name)
    }

    /// 409 `AlreadyExists` for one object.
    pub fn already_exists(resource: &crate::ResourceId, name: &str) -> Self {
        Self::new(Reason::AlreadyExists, format!("{} \"{name}\" already exists", resource.group_resource()))
            .about(resource, name)
    }

    /// 409 `Conflict`: upstream's sentence with the given cause at its end.
    pub fn conflict(resource: &crate::ResourceId, name: &str, why: impl fmt::Display) -> Self {
        let about = resource.group_resource();
        Self::new(Reason::Conflict, format!("Operation cannot be fulfilled on {about} \"{name}\": {why}"))
            .about(resource, name)
    }

    /// 409 `Conflict` of a stale resourceVersion.
    pub fn modified(resource: &crate::ResourceId, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403 `Forbidden` by admission.
    pub fn forbidden(resource: &crate::ResourceId, name: &str, why: impl fmt::Display) -> Self {
        let about = resource.group_resource();
        Self::new(Reason::Forbidden, format!("{about} \"{name}\" is forbidden: {why}")).about(resource, name)
    }

    /// Fills `details` with the resource and name.
    #[must_use]
    pub fn about(mut self, resource: &crate::ResourceId, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.name = name.to_owned();
        details.group = resource.group.to_string();
        details.kind = resource.resource.to_string();
        self
    }

    /// True if the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.reason == Some(Reason::NotFound)
    }

    /// True if an object of that name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Some(Reason::AlreadyExists)
    }

    /// True if a precondition failed; read again and decide anew.
    pub fn is_conflict(&self) -> bool {
        self.reason == Some(Reason::Conflict)
    }

    /// True if the revision is gone; list again.
    pub fn is_expired(&self) -> bool {
        self.reason == Some(Reason::Expired) || self.code == 410
    }

    /// True if what was asked may have been done all the same: the server went away or did not answer in time. One that
    /// answers `InternalError` has refused.
    pub fn may_be_done(&self) -> bool {
        self.code >= 500 && self.reason != Some(Reason::InternalError)
    }

    /// The JSON body, with `kind` and `apiVersion` (G-4).
    pub fn to_json(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.continue_token {
            metadata["continue"] = json!(token);
        }
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if let Some(reason) = self.reason {
            body["reason"] = json!(reason);
        }
        if let Some(details) = &self.details {
            body["details"] = json!(details);
        }
        body
    }

    /// Reads a `Status` body; `None` if `body` is something else.
    pub fn from_json(body: &Value) -> Option<Self> {
        if body.get("kind")?.as_str()? != "Status" {
            return None;
        }
        Some(Self {
            code: body.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok()).unwrap_or(500),
            reason: body.get("reason").and_then(|r| Reason::deserialize(r).ok()),
            message: body.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            details: body.get("details").and_then(|d| StatusDetails::deserialize(d).ok()).map(Box::new),
            continue_token: body.pointer("/metadata/continue").and_then(Value::as_str).map(str::to_owned),
        })
    }
}
