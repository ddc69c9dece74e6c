//! Entries for `cargo fuzz`: whatever comes over a connection, no panic.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};

use crate::negotiate::{Answer, negotiate, negotiate_error};
use crate::query::Query;
use crate::request::{Target, parse_path, verb};
use crate::streams::{spdy, websocket};

/// The request line and an `Accept` header: path, query and header, one line each.
pub fn request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let (path, query, accept) = (lines.next(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Some(Target::Resource(place)) = path.map(parse_path) {
        verb(&Method::GET, &place, false);
        assert!(place.name.as_deref() != Some(""), "an empty segment names nothing");
    }
    let query = Query::parse(query);
    for name in ["limit", "timeoutSeconds", "pretty", "watch"] {
        let _ = (query.integer(name), query.flag(name), query.all(name).count());
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(accept) {
        headers.insert(ACCEPT, value);
    }
    for answer in [Answer::One, Answer::List, Answer::Watch, Answer::Plain] {
        let _ = negotiate(&headers, &query, answer);
    }
    negotiate_error(&headers, &query);
}

/// The bytes of a SPDY connection: as they are, and as the header block of a stream, packed as a client packs it.
pub fn spdy(bytes: &[u8]) {
    read_frames(bytes);
    let mut wire = BytesMut::new();
    spdy::Encoder::default().open_plain(1, bytes, &mut wire);
    wire.put_slice(bytes);
    read_frames(&wire);
}

fn read_frames(bytes: &[u8]) {
    let mut decoder = spdy::Decoder::default();
    // Cut where a network might cut.
    for piece in bytes.chunks(37) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// A message of every WebSocket protocol for remote commands.
pub fn websocket(bytes: &[u8]) {
    websocket::read_any(&Bytes::copy_from_slice(bytes));
}
