//! A watch over HTTP: changes as a stream of frames (V-75 to V-85, V-95 to V-101).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::codec::protobuf;
use apiserver_core::kinds::KindDef;
use apiserver_core::table;
use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use client::Object;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use meta::{ResourceVersion, Status};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use store_core::Revision;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::changes::{Change, Changes};
use crate::http::respond::{Shape, core_version, encode, encode_one};
use crate::negotiate::{Encoding, Projection, Representation};

/// How often a quiet watcher is told how far it has got.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// The last bookmark comes this long before the end.
const LAST_BOOKMARK_MARGIN: Duration = Duration::from_secs(2);
/// Bounds of the life of a watch whose client names none, in seconds (V-81).
const LIFE_SECS: std::ops::Range<u64> = 1800..3600;
/// The annotation of the bookmark behind the initial events (V-96).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How a watch is shown.
#[derive(Clone)]
pub struct WatchShape {
    /// The kind.
    pub def: &'static KindDef,
    /// Of each object.
    pub shape: Shape,
    /// The client takes bookmarks.
    pub bookmarks: bool,
    /// Life in seconds; `None` takes a random one.
    pub timeout_secs: Option<u64>,
}

/// Counts a watch for as long as it is open.
pub struct Counted {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    /// A watch more.
    pub fn new(gauge: &Gauge, permit: OwnedSemaphorePermit) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone(), _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A running watch on its way to one client.
pub struct Feed {
    changes: Changes,
    frames: Frames,
    bookmarks: bool,
    deadline: Instant,
    next_bookmark: Instant,
    last_bookmark_sent: bool,
    /// Fires at the next bookmark or at the end; set anew only when that changes.
    alarm: Pin<Box<Sleep>>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    _counted: Counted,
}

/// The answer that streams a watch; its headers go out at once.
pub fn response(changes: Changes, watch: WatchShape, cancel: CancellationToken, open: Counted) -> Response<Body> {
    let now = Instant::now();
    let secs = watch.timeout_secs.unwrap_or_else(|| rand::random_range(LIFE_SECS));
    let encoding = watch.shape.representation.encoding;
    let feed = Feed {
        changes,
        bookmarks: watch.bookmarks,
        frames: Frames { watch, columns_told: false },
        deadline: now + Duration::from_secs(secs),
        next_bookmark: now + BOOKMARK_INTERVAL,
        last_bookmark_sent: false,
        alarm: Box::pin(tokio::time::sleep_until(now)),
        cancelled: Box::pin(cancel.cancelled_owned()),
        ended: false,
        _counted: open,
    };
    let mut feed = Box::new(feed);
    feed.set_alarm(now);
    let stream = futures::stream::unfold(feed, |mut feed| async move {
        let piece = feed.next().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), feed))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let content_type = HeaderValue::from_static(encoding.stream_content_type());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A watch that ends at once with an error within the stream (V-78).
pub fn refused(status: &Status, watch: &WatchShape) -> Response<Body> {
    let frames = Frames { watch: watch.clone(), columns_told: false };
    let mut response = Response::new(Body::from(frames.error(status)));
    let content_type = watch.shape.representation.encoding.stream_content_type();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl Feed {
    /// The next piece of the body; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                changes = self.changes.next() => match changes {
                    Ok(changes) => return Some(self.frames.of(&changes)),
                    Err(status) => {
                        self.ended = true;
                        return Some(self.frames.error(&status));
                    }
                },
                () = self.cancelled.as_mut() => return None,
                () = self.alarm.as_mut() => {}
            }
            let now = Instant::now();
            if now >= self.deadline {
                return None;
            }
            self.last_bookmark_sent = now + LAST_BOOKMARK_MARGIN >= self.deadline;
            self.next_bookmark = now + BOOKMARK_INTERVAL;
            self.set_alarm(now);
            if let Some(revision) = self.changes.progress() {
                return Some(self.frames.bookmark(revision, false));
            }
        }
    }

    /// The next bookmark, the last one shortly before the end, or the end.
    fn set_alarm(&mut self, now: Instant) {
        let last = self.deadline - LAST_BOOKMARK_MARGIN.min(self.deadline - now);
        let alarm =
            if self.bookmarks && !self.last_bookmark_sent { self.next_bookmark.min(last) } else { self.deadline };
        self.alarm.as_mut().reset(alarm);
    }
}

/// Puts changes into frames.
struct Frames {
    watch: WatchShape,
    columns_told: bool,
}

impl Frames {
    fn of(&mut self, changes: &[Change]) -> Bytes {
        let mut out = BytesMut::with_capacity(changes.iter().map(size_hint).sum());
        for change in changes {
            match change {
                Change::Added(object) => self.event(&mut out, "ADDED", object),
                Change::Modified(object) => self.event(&mut out, "MODIFIED", object),
                Change::Deleted(object) => self.event(&mut out, "DELETED", object),
                Change::InitialEventsEnd(revision) => out.extend_from_slice(&self.bookmark(*revision, true)),
            }
        }
        out.freeze()
    }

    fn event(&mut self, out: &mut BytesMut, kind: &str, object: &Arc<Object>) {
        let columns = !std::mem::replace(&mut self.columns_told, true);
        let (_, bytes) = encode_one(self.watch.def, object, &self.watch.shape, columns);
        self.frame(out, kind, &bytes);
    }

    fn frame(&self, out: &mut BytesMut, kind: &str, object: &[u8]) {
        if self.watch.shape.representation.encoding == Encoding::Protobuf {
            out.extend_from_slice(&protobuf::watch_event(kind, object));
            return;
        }
        out.reserve(object.len() + 32);
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        out.extend_from_slice(object);
        out.put_slice(b"}\n");
    }

    /// The bookmark at a revision: an object of the kind with nothing but that (V-82).
    fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let kind = &self.watch.def.kind;
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = json!({"kind": kind.kind, "apiVersion": kind.resource.group_version(), "metadata": metadata});
        let mut out = BytesMut::new();
        if let Projection::Table(version) = self.watch.shape.representation.projection {
            let table = table::bookmark(&object, revision.to_string(), core_version(version));
            let text = serde_json::to_vec(&table).expect("a table can be written into memory");
            self.frame(&mut out, "BOOKMARK", &text);
        } else {
            let object = Object::new(ResourceVersion(revision.0), object.to_string().into());
            let (_, bytes) = encode_one(self.watch.def, &object, &self.watch.shape, false);
            self.frame(&mut out, "BOOKMARK", &bytes);
        }
        out.freeze()
    }

    /// The last frame of a watch that cannot go on (V-78).
    fn error(&self, status: &Status) -> Bytes {
        let representation =
            Representation { projection: Projection::Whole, pretty: false, ..self.watch.shape.representation };
        let tree: Value = status.to_json();
        let (_, bytes) = encode(&tree, representation);
        let mut out = BytesMut::new();
        self.frame(&mut out, "ERROR", &bytes);
        out.freeze()
    }
}

fn size_hint(change: &Change) -> usize {
    match change {
        Change::Added(object) | Change::Modified(object) | Change::Deleted(object) => object.json.len() + 40,
        Change::InitialEventsEnd(_) => 256,
    }
}
