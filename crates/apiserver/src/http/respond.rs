//! Answers: bodies in the negotiated representation, headers, Status.

use std::sync::Arc;

use api::codec::protobuf;
use apiserver_core::kinds::KindDef;
use apiserver_core::table::{self, IncludeObject, ListMeta, TableOptions};
use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use client::Object;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use meta::{Status, Timestamp};
use serde::Serialize;
use serde_json::Value;
use store_core::Record;

use crate::negotiate::{Encoding, MetaVersion, Projection, Representation};
use crate::registry::{ListPage, object};

/// A body above this size is compressed for clients that take gzip (D-7).
const GZIP_BYTES_MIN: usize = 128 * 1024;
/// Lists are written in pieces of about this size.
const LIST_CHUNK_BYTES: usize = 128 * 1024;
/// Longest warning once there is much to warn of, in characters (V-10).
const WARNING_CHARS_MAX: usize = 256;
/// Bytes of warnings from which on each is cut (V-10).
const WARNING_BYTES_MAX: usize = 4 * 1024;

/// What an answer needs to know of its request.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How and what.
    pub representation: Representation,
    /// What table rows carry.
    pub include: IncludeObject,
    /// The client takes gzip.
    pub gzip: bool,
    /// Ages in tables are counted from here.
    pub now: Timestamp,
}

impl Shape {
    /// Whether the headers allow gzip.
    pub fn takes_gzip(headers: &HeaderMap) -> bool {
        let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        accepted.flat_map(|value| value.split(',')).any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("gzip") && !parts.any(|q| matches!(q, "q=0" | "q=0.0"))
        })
    }

    /// The same without a projection: for documents that have none.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.representation.projection = Projection::Whole;
        self
    }

    fn table(&self, version: MetaVersion, columns: bool) -> TableOptions {
        TableOptions { include: self.include, version: core_version(version), columns, now: self.now }
    }
}

/// The `meta.k8s.io` version as the tables know it.
pub fn core_version(version: MetaVersion) -> table::Version {
    match version {
        MetaVersion::V1 => table::Version::V1,
        MetaVersion::V1Beta1 => table::Version::V1Beta1,
    }
}

/// An answer of one object.
pub fn one(code: StatusCode, def: &KindDef, object: &Object, shape: &Shape) -> Response<Body> {
    let (content_type, body) = encode_one(def, object, shape, true);
    plain(code, content_type, finish(body))
}

/// The bytes of one object in a representation, without a line end; `columns` describes the columns of a table.
pub fn encode_one(def: &KindDef, object: &Object, shape: &Shape, columns: bool) -> (&'static str, Bytes) {
    let Representation { encoding, projection, pretty } = shape.representation;
    match projection {
        Projection::Whole if encoding == Encoding::Json && !pretty => (encoding.content_type(), object.json.clone()),
        Projection::Whole if encoding == Encoding::Protobuf => {
            match object.encoded(|| protobuf::encode(object.tree()).ok().map(Bytes::from)) {
                Some(bytes) => (encoding.content_type(), bytes),
                None => encode_text(object.tree().as_ref(), shape.representation),
            }
        }
        Projection::Whole => encode(object.tree().as_ref(), shape.representation),
        Projection::Table(version) => {
            let metadata = ListMeta { resource_version: object.resource_version.to_string(), ..ListMeta::default() };
            let options = shape.table(version, columns);
            encode_meta(&table::table(def, [object.tree().as_ref()], metadata, options), shape.representation)
        }
        Projection::Metadata(version) => {
            encode_meta(&table::partial(object.tree(), core_version(version)), shape.representation)
        }
    }
}

/// An answer of any document of ours: discovery, a scale, a review, a Status.
pub fn document(code: StatusCode, document: &Value, shape: &Shape) -> Response<Body> {
    let (content_type, body) = encode(document, shape.representation);
    plain(code, content_type, finish(body))
}

/// The bytes of a tree in an encoding; JSON where there is no other.
pub fn encode(tree: &Value, representation: Representation) -> (&'static str, Bytes) {
    if representation.encoding == Encoding::Protobuf
        && let Ok(bytes) = protobuf::encode(tree)
    {
        return (Encoding::Protobuf.content_type(), bytes.into());
    }
    encode_text(tree, representation)
}

/// As [`encode`], for tables and their like.
fn encode_meta<T: Serialize>(document: &T, representation: Representation) -> (&'static str, Bytes) {
    if representation.encoding == Encoding::Protobuf {
        let tree = serde_json::to_value(document).unwrap_or_default();
        return encode(&tree, representation);
    }
    encode_text(document, representation)
}

fn encode_text<T: Serialize>(document: &T, representation: Representation) -> (&'static str, Bytes) {
    let text = match representation.encoding {
        Encoding::Yaml => serde_saphyr::to_string(document).map(String::into_bytes).ok(),
        Encoding::Json | Encoding::Protobuf => None,
    };
    if let Some(yaml) = text {
        return (Encoding::Yaml.content_type(), yaml.into());
    }
    let json = if representation.pretty { serde_json::to_vec_pretty(document) } else { serde_json::to_vec(document) };
    (Encoding::Json.content_type(), json.expect("a tree can be written into memory").into())
}

/// The body of a text ends with a line end (V-4); protobuf is what it is.
fn finish(body: Bytes) -> Body {
    let is_protobuf = body.starts_with(protobuf::MAGIC);
    if is_protobuf || body.ends_with(b"\n") {
        return body.into();
    }
    let mut line = BytesMut::with_capacity(body.len() + 1);
    line.extend_from_slice(&body);
    line.put_u8(b'\n');
    line.freeze().into()
}

/// An answer with a body that is at hand.
pub fn plain(code: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An answer of text for people and probes.
pub fn text(code: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = plain(code, "text/plain; charset=utf-8", body);
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// An answer that says no, with the Status as its body (G-4, V-6).
pub fn refusal(status: &Status, representation: Representation) -> Response<Body> {
    let shape = Shape { representation, include: IncludeObject::None, gzip: false, now: Timestamp::UNIX_EPOCH };
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = document(code, &status.to_json(), &shape);
    let retry_after = status.details.as_ref().map_or(0, |details| details.retry_after_secs);
    if retry_after > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    }
    response
}

/// Adds `Warning` headers (V-10).
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let total: usize = warnings.iter().map(String::len).sum();
    let mut said: Vec<&str> = Vec::new();
    for warning in warnings {
        if said.contains(&warning.as_str()) {
            continue;
        }
        said.push(warning);
        let limit = if total > WARNING_BYTES_MAX { WARNING_CHARS_MAX } else { usize::MAX };
        let mut quoted = String::from("299 - \"");
        for character in warning.chars().filter(|c| !c.is_control()).take(limit) {
            if matches!(character, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        quoted.push('"');
        if let Ok(value) = HeaderValue::from_str(&quoted).or_else(|_| HeaderValue::from_bytes(quoted.as_bytes())) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// An answer of a page of a list.
pub fn list(def: &KindDef, page: ListPage, shape: &Shape) -> Response<Body> {
    let quarantined = page.quarantined;
    let mut response = list_whole(def, page, shape);
    if quarantined > 0 {
        let text = format!("{quarantined} objects are left out because their stored bytes are corrupt");
        warn(&mut response, &[text]);
    }
    response
}

fn list_whole(def: &KindDef, page: ListPage, shape: &Shape) -> Response<Body> {
    let metadata = ListMeta {
        resource_version: page.revision.to_string(),
        continue_token: page.continue_token,
        remaining_item_count: page.remaining,
    };
    let Representation { encoding, projection, pretty } = shape.representation;
    if projection == Projection::Whole && encoding == Encoding::Json && !pretty {
        return list_json(def, &metadata, page.records, shape);
    }
    if projection == Projection::Whole
        && encoding == Encoding::Protobuf
        && let Some(body) = list_protobuf(def, &metadata, &page.records)
    {
        return sized(Encoding::Protobuf.content_type(), body, shape);
    }
    let objects: Vec<Arc<Object>> = page.records.iter().map(|record| object(def, record)).collect();
    let trees = objects.iter().map(|object| object.tree().as_ref());
    let (content_type, body) = match projection {
        Projection::Whole => {
            let items: Vec<&Value> = trees.collect();
            let list = serde_json::json!({
                "kind": def.kind.list_kind,
                "apiVersion": def.kind.resource.group_version(),
                "metadata": metadata,
                "items": items,
            });
            encode(&list, shape.representation)
        }
        Projection::Table(version) => {
            encode_meta(&table::table(def, trees, metadata, shape.table(version, true)), shape.representation)
        }
        Projection::Metadata(version) => {
            encode_meta(&table::partial_list(trees, metadata, core_version(version)), shape.representation)
        }
    };
    sized(content_type, body, shape)
}

/// An answer with a body that is compressed if it is large.
fn sized(content_type: &'static str, body: Bytes, shape: &Shape) -> Response<Body> {
    if shape.gzip && body.len() > GZIP_BYTES_MIN {
        return gzipped(content_type, std::iter::once(body));
    }
    plain(StatusCode::OK, content_type, finish(body))
}

/// A list in protobuf, item by item; `None` where the kind has no such form.
fn list_protobuf(def: &KindDef, metadata: &ListMeta, records: &[Arc<Record>]) -> Option<Bytes> {
    let metadata = serde_json::to_value(metadata).ok()?;
    let mut list = protobuf::ListEncoder::new(def.kind.list_gvk(), &metadata).ok()?;
    for record in records {
        list.push(object(def, record).tree()).ok()?;
    }
    Some(list.finish().into())
}

/// A list whose items are the stored bytes, put together in large pieces without being decoded.
fn list_json(def: &KindDef, metadata: &ListMeta, records: Vec<Arc<Record>>, shape: &Shape) -> Response<Body> {
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        def.kind.list_kind,
        def.kind.resource.group_version(),
        serde_json::to_string(metadata).unwrap_or_default(),
    );
    let bytes: usize = head.len() + records.iter().map(|record| record.value.len() + 1).sum::<usize>() + 3;
    let pieces = ListPieces {
        def: def.conversion.map(|_| def.kind.resource.clone()),
        head: Some(head),
        records: records.into_iter(),
        first: true,
        done: false,
    };
    let content_type = Encoding::Json.content_type();
    if shape.gzip && bytes > GZIP_BYTES_MIN {
        return gzipped(content_type, pieces);
    }
    if bytes <= LIST_CHUNK_BYTES {
        let whole = pieces.fold(BytesMut::with_capacity(bytes), |mut whole, piece| {
            whole.extend_from_slice(&piece);
            whole
        });
        return plain(StatusCode::OK, content_type, whole.freeze());
    }
    let stream = futures::stream::iter(pieces.map(Ok::<_, std::convert::Infallible>));
    plain(StatusCode::OK, content_type, Body::from_stream(stream))
}

struct ListPieces {
    /// The kind whose items must be converted one by one.
    def: Option<meta::ResourceId>,
    head: Option<String>,
    records: std::vec::IntoIter<Arc<Record>>,
    first: bool,
    done: bool,
}

impl Iterator for ListPieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut piece = BytesMut::with_capacity(LIST_CHUNK_BYTES + 4096);
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(head.as_bytes());
        }
        let converted = self.def.as_ref().and_then(apiserver_core::kinds::by_resource);
        while piece.len() < LIST_CHUNK_BYTES {
            let Some(record) = self.records.next() else {
                piece.extend_from_slice(b"]}\n");
                self.done = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                piece.put_u8(b',');
            }
            match converted {
                Some(def) => piece.extend_from_slice(&object(def, &record).json),
                None => piece.extend_from_slice(&record.value),
            }
        }
        Some(piece.freeze())
    }
}

/// A body that is compressed piece by piece, with the fastest setting.
fn gzipped(content_type: &'static str, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    use std::io::Write as _;
    let mut encoder = Some(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut pieces = pieces;
    let compressed = std::iter::from_fn(move || {
        loop {
            let writer = encoder.as_mut()?;
            let Some(piece) = pieces.next() else {
                let rest = encoder.take()?.finish().expect("compressing into memory cannot fail");
                return Some(Bytes::from(rest));
            };
            writer.write_all(&piece).expect("compressing into memory cannot fail");
            let ready = std::mem::take(writer.get_mut());
            if !ready.is_empty() {
                return Some(Bytes::from(ready));
            }
        }
    });
    let stream = futures::stream::iter(compressed.map(Ok::<_, std::convert::Infallible>));
    let mut response = plain(StatusCode::OK, content_type, Body::from_stream(stream));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}
