//! Request bodies: reading them within a limit, and what they are written in.

use api::codec::Media;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use meta::{Reason, Status};

/// Media types of patches, for error texts (P-1).
pub const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// A body that is read at most once.
#[derive(Debug, Default)]
pub struct Taken(Option<Incoming>);

impl Taken {
    /// A body that has not been read.
    pub fn new(incoming: Incoming) -> Self {
        Self(Some(incoming))
    }
}

/// Reads a body whole.
///
/// # Errors
/// 413 above the limit (V-5), 400 if the client breaks off.
pub async fn read(headers: &HeaderMap, body: Taken, bytes_max: usize) -> Result<Bytes, Status> {
    let Some(mut body) = body.0 else { return Ok(Bytes::new()) };
    let too_large =
        || Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {bytes_max}"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > bytes_max) {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        // Most bodies come in one piece, which is taken as it is.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.reserve(announced.unwrap_or(first.len() + data.len()));
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// The media type of a request body, without parameters; empty if there is none.
pub fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// What an object in a request body is written in (V-2).
///
/// # Errors
/// 415 for anything that is not ours.
pub fn media(headers: &HeaderMap) -> Result<Media, Status> {
    match content_type(headers) {
        "" | "application/json" | "*/*" => Ok(Media::Json),
        "application/yaml" => Ok(Media::Yaml),
        crate::negotiate::PROTOBUF => Ok(Media::Protobuf),
        _ => Err(Status::new(
            Reason::UnsupportedMediaType,
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}
