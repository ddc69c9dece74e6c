//! SPDY/3.1 framing: what `kubectl exec` up to 1.29 speaks after its upgrade (S-26).
//!
//! Only what that needs: streams opened by the client, data, half-close, ping. Flow control is deliberately absent: the
//! library behind every such client neither keeps windows nor announces them, so keeping ours would stop the stream
//! after 64 KiB.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Largest frame that is read; clients write 32 KiB at most.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Largest header block after inflating: a bound against a block that grows a thousandfold.
const HEADER_BYTES_MAX: usize = 64 * 1024;

const FLAG_FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// A stream's number; odd when the client opened it.
pub type StreamId = u32;

/// What a peer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A stream begins.
    Open {
        /// Its number.
        stream: StreamId,
        /// The client will send nothing on it.
        fin: bool,
        /// Its headers, names in lower case.
        headers: Vec<(String, String)>,
    },
    /// Bytes of a stream.
    Data {
        /// Its number.
        stream: StreamId,
        /// The last ones.
        fin: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// A stream is broken off.
    Reset(StreamId),
    /// To be echoed.
    Ping(u32),
    /// The peer opens no more streams.
    GoAway,
    /// Something that we need not understand.
    Ignored,
}

/// Why a peer's bytes make no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame over the limit.
    #[error("a frame of {bytes} bytes, {FRAME_BYTES_MAX} is the limit")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A frame shorter than its kind.
    #[error("a frame is cut short")]
    Truncated,
    /// A header block that does not inflate or is over the limit.
    #[error("a header block does not inflate")]
    Headers,
}

/// The dictionary with which header blocks are compressed (SPDY/3, 1,423 bytes): known words behind their lengths, then
/// common values run together.
fn dictionary() -> Vec<u8> {
    const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
        accept-ranges age allow authorization cache-control connection content-base content-encoding \
        content-language content-length content-location content-md5 content-range content-type date etag expect \
        expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified \
        location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te \
        trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status";
    const MORE: [&str; 8] = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
    const VALUES: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
        203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
        403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar \
        Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,\
        image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,public\
        privatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split(' ').chain(MORE) {
        bytes.put_u32(u32::try_from(word.len()).expect("words are short"));
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(VALUES.as_bytes());
    bytes
}

/// Reads frames out of received bytes.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    inflate: Decompress,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), inflate: Decompress::new(true) }
    }
}

impl Decoder {
    /// Where received bytes are put.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame; `None` until more bytes have come.
    ///
    /// # Errors
    /// [`FrameError`]; the connection cannot go on.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<8>().copied() else { return Ok(None) };
        let (first, second) = head.split_at(4);
        let first = u32::from_be_bytes(first.try_into().map_err(|_| FrameError::Truncated)?);
        let second = u32::from_be_bytes(second.try_into().map_err(|_| FrameError::Truncated)?);
        let (flags, length) = (head[4], (second & 0x00ff_ffff) as usize);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes: length });
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        self.buffer.advance(8);
        let body = self.buffer.split_to(length).freeze();
        let fin = flags & FLAG_FIN != 0;
        if first >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: first, fin, bytes: body }));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lower 16 bits are the frame's kind")]
        let kind = first as u16;
        self.control(kind, fin, body).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, mut body: Bytes) -> Result<Frame, FrameError> {
        let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| FrameError::Truncated);
        Ok(match kind {
            SYN_STREAM => {
                let stream = number(&mut body)? & 0x7fff_ffff;
                let (_associated, _priority) =
                    (number(&mut body)?, body.try_get_u16().map_err(|_| FrameError::Truncated)?);
                Frame::Open { stream, fin, headers: self.headers(&body)? }
            }
            // The block must be inflated even if nobody reads it: all blocks share one compression state.
            SYN_REPLY | 8 => {
                number(&mut body)?;
                self.headers(&body)?;
                Frame::Ignored
            }
            RST_STREAM => Frame::Reset(number(&mut body)? & 0x7fff_ffff),
            PING => Frame::Ping(number(&mut body)?),
            GOAWAY => Frame::GoAway,
            _ => Frame::Ignored,
        })
    }

    fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, FrameError> {
        let plain = self.inflate(block)?;
        let mut rest = plain.as_slice();
        let text = |rest: &mut &[u8]| -> Result<String, FrameError> {
            let length = rest.try_get_u32().map_err(|_| FrameError::Headers)? as usize;
            let (text, after) = rest.split_at_checked(length).ok_or(FrameError::Headers)?;
            *rest = after;
            Ok(String::from_utf8_lossy(text).into_owned())
        };
        let count = rest.try_get_u32().map_err(|_| FrameError::Headers)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((text(&mut rest)?.to_ascii_lowercase(), text(&mut rest)?));
        }
        Ok(headers)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, FrameError> {
        let (mut plain, mut consumed) = (Vec::new(), 0);
        loop {
            if plain.len() >= HEADER_BYTES_MAX {
                return Err(FrameError::Headers);
            }
            plain.reserve(4096);
            let (before_in, before_out) = (self.inflate.total_in(), plain.len());
            let outcome = self.inflate.decompress_vec(&block[consumed..], &mut plain, FlushDecompress::Sync);
            consumed += usize::try_from(self.inflate.total_in() - before_in).map_err(|_| FrameError::Headers)?;
            match outcome {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&dictionary()).map_err(|_| FrameError::Headers)?;
                }
                Ok(Status::Ok | Status::BufError) if consumed < block.len() || plain.len() == plain.capacity() => {
                    if plain.len() == before_out && self.inflate.total_in() == before_in {
                        return Err(FrameError::Headers);
                    }
                }
                Ok(_) => return Ok(plain),
                Err(_) => return Err(FrameError::Headers),
            }
        }
    }
}

/// Writes frames.
#[derive(Debug)]
pub struct Encoder {
    deflate: Compress,
}

impl Default for Encoder {
    fn default() -> Self {
        let mut deflate = Compress::new(Compression::fast(), true);
        deflate.set_dictionary(&dictionary()).expect("a fresh compressor takes a dictionary");
        Self { deflate }
    }
}

impl Encoder {
    /// Accepts a stream that the client opened.
    pub fn reply(&mut self, stream: StreamId, out: &mut BytesMut) {
        let block = self.pack(&plain_headers(&[]));
        control(SYN_REPLY, 0, 4 + block.len(), out);
        out.put_u32(stream);
        out.extend_from_slice(&block);
    }

    /// Opens a stream, as a client does.
    #[cfg(test)]
    pub fn open(&mut self, stream: StreamId, headers: &[(&str, &str)], out: &mut BytesMut) {
        self.open_plain(stream, &plain_headers(headers), out);
    }

    /// Opens a stream with a header block that may be rubbish, for tests.
    pub fn open_plain(&mut self, stream: StreamId, plain: &[u8], out: &mut BytesMut) {
        let block = self.pack(plain);
        control(SYN_STREAM, 0, 10 + block.len(), out);
        out.put_u32(stream);
        out.put_u32(0);
        out.put_u16(0);
        out.extend_from_slice(&block);
    }

    /// Echoes a ping.
    pub fn ping(&self, id: u32, out: &mut BytesMut) {
        control(PING, 0, 4, out);
        out.put_u32(id);
    }

    /// Announces the end of the connection.
    pub fn go_away(&self, last: StreamId, out: &mut BytesMut) {
        control(GOAWAY, 0, 8, out);
        out.put_u32(last);
        out.put_u32(0);
    }

    /// Bytes of a stream; `fin` closes our half.
    pub fn data(&self, stream: StreamId, fin: bool, bytes: &[u8], out: &mut BytesMut) {
        out.reserve(8 + bytes.len());
        out.put_u32(stream);
        out.put_u32(flags_and_length(if fin { FLAG_FIN } else { 0 }, bytes.len()));
        out.extend_from_slice(bytes);
    }

    fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        let (mut block, mut consumed) = (Vec::with_capacity(plain.len() + 64), 0);
        loop {
            let before = self.deflate.total_in();
            let done = self.deflate.compress_vec(&plain[consumed..], &mut block, FlushCompress::Sync);
            done.expect("deflating into memory cannot fail");
            consumed += usize::try_from(self.deflate.total_in() - before).expect("no more than was given");
            // Room left over means that the flush is complete.
            if consumed == plain.len() && block.len() < block.capacity() {
                return block;
            }
            block.reserve(256);
        }
    }
}

fn plain_headers(headers: &[(&str, &str)]) -> Vec<u8> {
    let length = |n: usize| u32::try_from(n).expect("headers are short");
    let mut plain = Vec::new();
    plain.put_u32(length(headers.len()));
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        plain.put_u32(length(text.len()));
        plain.extend_from_slice(text.as_bytes());
    }
    plain
}

fn control(kind: u16, flags: u8, length: usize, out: &mut BytesMut) {
    out.put_u16(0x8003);
    out.put_u16(kind);
    out.put_u32(flags_and_length(flags, length));
}

fn flags_and_length(flags: u8, length: usize) -> u32 {
    u32::from(flags) << 24 | u32::try_from(length).expect("a frame's length has 24 bits") & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::{Decoder, Encoder, Frame, dictionary};

    fn adler32(bytes: &[u8]) -> u32 {
        let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65521;
            (a, (b + a) % 65521)
        });
        b << 16 | a
    }

    #[test]
    fn the_dictionary_is_that_of_spdy_3() {
        let dictionary = dictionary();
        assert_eq!((dictionary.len(), adler32(&dictionary)), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn several_header_blocks_share_one_compression_state() {
        let (mut encoder, mut decoder, mut wire) = (Encoder::default(), Decoder::default(), BytesMut::new());
        encoder.open(1, &[("streamtype", "error")], &mut wire);
        encoder.open(3, &[("Streamtype", "stdin"), ("x", "")], &mut wire);
        encoder.reply(5, &mut wire);
        encoder.ping(7, &mut wire);
        encoder.data(3, true, b"hello", &mut wire);
        decoder.buffer().extend_from_slice(&wire);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next().unwrap() {
            frames.push(frame);
        }
        let headers = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(
            frames,
            [
                Frame::Open { stream: 1, fin: false, headers: headers(&[("streamtype", "error")]) },
                Frame::Open { stream: 3, fin: false, headers: headers(&[("streamtype", "stdin"), ("x", "")]) },
                Frame::Ignored,
                Frame::Ping(7),
                Frame::Data { stream: 3, fin: true, bytes: "hello".into() },
            ]
        );
    }

    proptest! {
        #[test]
        fn frames_survive_any_splitting(payload in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..40) {
            let (mut encoder, mut decoder, mut wire) = (Encoder::default(), Decoder::default(), BytesMut::new());
            encoder.open(1, &[("streamtype", "stdin")], &mut wire);
            encoder.data(1, false, &payload, &mut wire);
            let mut frames = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.buffer().extend_from_slice(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    frames.push(frame);
                }
            }
            prop_assert_eq!(frames.len(), 2);
            prop_assert_eq!(&frames[1], &Frame::Data { stream: 1, fin: false, bytes: payload.into() });
        }

        #[test]
        fn rubbish_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
