//! Entries for `cargo fuzz`: whatever the other side of a socket, or a log file, holds.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use crate::logs::LogLine;
use crate::wire::{Message, Receiver, Request, SandboxRecord, Spawn};

/// What a helper, or an agent of another version, may send: as it is, and as the text of a frame.
pub fn wire(bytes: &[u8]) {
    // More would fill the socket, and this thread has both ends.
    let bytes = &bytes[..bytes.len().min(32 << 10)];
    let mut framed = u32::try_from(bytes.len()).expect("it was cut").to_be_bytes().to_vec();
    framed.extend_from_slice(&[0; 4]);
    framed.extend_from_slice(bytes);
    for sent in [bytes, &framed] {
        let mut receiver = Receiver::default();
        let (mut near, far) = UnixStream::pair().expect("sockets");
        near.write_all(sent).expect("it fits into the socket");
        drop(near);
        while matches!(receiver.fill(far.as_fd()), Ok(1..)) {}
        while let Ok(Some(_)) = receiver.next::<Message>() {}
    }
    let _ = serde_json::from_slice::<Request>(bytes);
    let _ = serde_json::from_slice::<Spawn>(bytes);
    let _ = serde_json::from_slice::<SandboxRecord>(bytes);
    for line in bytes.split(|byte| *byte == b'\n') {
        let _ = LogLine::parse(line);
    }
}
