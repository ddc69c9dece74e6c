//! Reading container logs: from the files the runtime's helper writes, as text, from where and how much as asked.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use container_runtime::logs::{LogLine, parts};
use meta::Timestamp;
use tokio::io::unix::AsyncFd;

/// Most bytes of a log that become a termination message, and most lines.
const LAST_WORDS_BYTES_MAX: usize = 2048;
const LAST_WORDS_LINES_MAX: usize = 80;
/// Longest line that is read whole; the helper splits lines well below this.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 32 * 1024;
/// A follower looks at the files again after this time even if nothing told it to: only a net below the events.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often a follower looks where the kernel refuses to tell.
const WITHOUT_INOTIFY: Duration = Duration::from_secs(1);

/// What of a log is wanted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Wanted {
    pub(crate) since: Option<Timestamp>,
    pub(crate) tail_lines: Option<usize>,
    pub(crate) limit_bytes: Option<usize>,
    pub(crate) timestamps: bool,
}

/// Prints lines as text and counts what was printed.
#[derive(Debug)]
pub(crate) struct Printer {
    wanted: Wanted,
    left: Option<usize>,
    /// The last line of each stream did not end: what follows is no new line.
    goes_on: [bool; 2],
}

impl Printer {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { left: wanted.limit_bytes, wanted, goes_on: [false; 2] }
    }

    /// True when the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Adds one raw line, without its end, to the text.
    pub(crate) fn print(&mut self, raw: &[u8], out: &mut BytesMut) {
        let Some(line) = LogLine::parse(raw) else { return };
        if !self.is_recent(&line) {
            return;
        }
        let stream = usize::from(line.stderr);
        if self.wanted.timestamps && !self.goes_on[stream] {
            self.put(line.time.as_bytes(), out);
            self.put(b" ", out);
        }
        self.put(line.text, out);
        self.goes_on[stream] = line.partial;
        if !line.partial {
            self.put(b"\n", out);
        }
    }

    fn is_recent(&self, line: &LogLine<'_>) -> bool {
        match self.wanted.since {
            Some(since) => line.time.parse::<Timestamp>().is_ok_and(|at| at >= since),
            None => true,
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let bytes = match &mut self.left {
            Some(left) => {
                let taken = bytes.len().min(*left);
                *left -= taken;
                &bytes[..taken]
            }
            None => bytes,
        };
        out.extend_from_slice(bytes);
    }
}

/// Opens a log file: a regular file, not a link (reliability.md 4.2).
fn open(path: &Path) -> std::io::Result<File> {
    let file = std::fs::OpenOptions::new().read(true).custom_flags(rustix_nofollow()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other(format!("{} is not a regular file", path.display())))
    }
}

fn rustix_nofollow() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or(0)
}

/// Reads the next line without its end; `None` at the end of what is there. A line without an end is put back.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(true);
    }
    if read > 0 {
        reader.seek_relative(-i64::try_from(read).unwrap_or(0))?;
    }
    Ok(false)
}

/// A log that is read from its oldest part to its newest, and then as it grows.
#[derive(Debug)]
pub(crate) struct LogReader {
    path: PathBuf,
    current: Option<BufReader<File>>,
    /// Of the part that is read; its number is not given to another file while it is open.
    inode: u64,
    /// The part that is read was seen to have a successor: nothing is written to it any more.
    is_whole: bool,
    printer: Printer,
    line: Vec<u8>,
    /// Raw lines to leave out before printing begins, for `tailLines`.
    skip: usize,
}

impl LogReader {
    /// A reader at the place where the wanted text begins.
    pub(crate) fn new(path: PathBuf, wanted: Wanted) -> std::io::Result<Self> {
        let skip = match wanted.tail_lines {
            Some(tail) => count_whole_lines(&path)?.saturating_sub(tail),
            None => 0,
        };
        let printer = Printer::new(wanted);
        Ok(Self { path, current: None, inode: 0, is_whole: false, printer, line: Vec::new(), skip })
    }

    /// The next piece of text; empty when all that is there was read.
    pub(crate) fn read(&mut self) -> std::io::Result<Bytes> {
        let mut out = BytesMut::new();
        while out.len() < PIECE_BYTES && !self.printer.is_full() {
            let Some(reader) = &mut self.current else {
                if self.open_next()? {
                    continue;
                }
                break;
            };
            if next_line(reader, &mut self.line)? {
                let ends = LogLine::parse(&self.line).is_some_and(|line| !line.partial);
                if self.skip == 0 {
                    self.printer.print(&self.line, &mut out);
                } else if ends {
                    self.skip -= 1;
                }
            } else if self.is_whole {
                if !self.open_next()? {
                    break;
                }
            } else if self.successor().is_some() {
                // What was written between the end that was met and the rotation is still to be read.
                self.is_whole = true;
            } else {
                break;
            }
        }
        Ok(out.freeze())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.printer.is_full()
    }

    /// Opens the part after the one that is read, or the oldest; false if there is none.
    fn open_next(&mut self) -> std::io::Result<bool> {
        let Some(path) = self.successor() else { return Ok(false) };
        match open(&path) {
            Ok(file) => {
                self.inode = file.metadata()?.ino();
                self.current = Some(BufReader::new(file));
                self.is_whole = false;
                Ok(true)
            }
            // It was rotated away under this name.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The part after the one that is read. Names move on with each rotation, so parts are told apart by inode; if the
    /// one that is read is gone already, the oldest that is left follows.
    fn successor(&self) -> Option<PathBuf> {
        let mut parts = parts(&self.path);
        let inode = |part: &PathBuf| std::fs::symlink_metadata(part).map(|found| found.ino()).ok();
        let own = parts.iter().position(|part| self.current.is_some() && inode(part) == Some(self.inode));
        let next = own.map_or(0, |own| own + 1);
        (next < parts.len()).then(|| parts.swap_remove(next))
    }
}

fn count_whole_lines(path: &Path) -> std::io::Result<usize> {
    let (mut count, mut line) = (0, Vec::new());
    for part in parts(path) {
        let mut reader = BufReader::new(open(&part)?);
        while next_line(&mut reader, &mut line)? {
            count += usize::from(LogLine::parse(&line).is_some_and(|line| !line.partial));
        }
    }
    Ok(count)
}

/// The end of a log, for a termination message (`FallbackToLogsOnError`).
pub(crate) async fn last_words(path: PathBuf) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let wanted = Wanted { tail_lines: Some(LAST_WORDS_LINES_MAX), ..Wanted::default() };
        let mut reader = LogReader::new(path, wanted)?;
        let mut text = Vec::new();
        loop {
            let piece = reader.read()?;
            if piece.is_empty() {
                return Ok::<Vec<u8>, std::io::Error>(text);
            }
            text.extend_from_slice(&piece);
            let extra = text.len().saturating_sub(LAST_WORDS_BYTES_MAX);
            text.drain(..extra);
        }
    });
    match read.await {
        Ok(Ok(text)) => String::from_utf8_lossy(&text).into_owned(),
        Ok(Err(error)) => format!("Error on reading termination message from logs: {error}"),
        Err(_) => String::new(),
    }
}

/// Wakes when something in a folder changes; without inotify only after a while.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    events: Option<AsyncFd<std::os::fd::OwnedFd>>,
}

impl FolderWatch {
    pub(crate) fn new(folder: &Path) -> Self {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let watch = || {
            let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
            add_watch(&events, folder, flags).ok()?;
            // SAFETY: the descriptor is owned by the AsyncFd and stays open until that is dropped.
            unsafe { AsyncFd::register(events) }.ok()
        };
        let events = watch();
        if events.is_none() {
            static ONCE: std::sync::Once = std::sync::Once::new();
            ONCE.call_once(|| {
                tracing::warn!(
                    period = ?WITHOUT_INOTIFY,
                    "no inotify watch is to be had (fs.inotify.max_user_watches, max_user_instances): followed logs are \
                     looked at periodically"
                );
            });
        }
        Self { events }
    }

    /// Returns when something changed since the last call, or after a while.
    pub(crate) async fn changed(&self) {
        let Some(events) = &self.events else {
            tokio::time::sleep(WITHOUT_INOTIFY).await;
            return;
        };
        if let Ok(Ok(mut guard)) = tokio::time::timeout(LOOK_AGAIN, events.readable()).await {
            let mut buffer = [0_u8; 4096];
            // Which event it was does not matter: the files say.
            while matches!(rustix::io::read(events.get_ref(), &mut buffer), Ok(read) if read > 0) {}
            guard.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn text(path: &Path, wanted: Wanted) -> String {
        let mut reader = LogReader::new(path.to_path_buf(), wanted).unwrap();
        let mut all = String::new();
        loop {
            let piece = reader.read().unwrap();
            if piece.is_empty() {
                return all;
            }
            all.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    fn log(lines: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        std::fs::write(&path, lines).unwrap();
        (folder, path)
    }

    const LINES: &str = "2026-11-21T07:00:00.000000001Z stdout F one\n\
                         2026-11-21T07:00:01.000000001Z stdout P tw\n\
                         2026-11-21T07:00:01.000000002Z stdout F o\n\
                         2026-11-21T07:00:02.000000001Z stderr F three\n";

    #[test]
    fn partial_lines_are_joined_and_limits_hold() {
        let (_folder, path) = log(LINES);
        assert_eq!(text(&path, Wanted::default()), "one\ntwo\nthree\n");
        assert_eq!(text(&path, Wanted { tail_lines: Some(2), ..Wanted::default() }), "two\nthree\n");
        assert_eq!(text(&path, Wanted { tail_lines: Some(0), ..Wanted::default() }), "");
        assert_eq!(text(&path, Wanted { limit_bytes: Some(5), ..Wanted::default() }), "one\nt");
        let since = Some("2026-11-21T07:00:02Z".parse().unwrap());
        assert_eq!(text(&path, Wanted { since, ..Wanted::default() }), "three\n");
        let stamped = text(&path, Wanted { timestamps: true, tail_lines: Some(1), ..Wanted::default() });
        assert_eq!(stamped, "2026-11-21T07:00:02.000000001Z three\n");
    }

    #[test]
    fn a_reader_goes_on_through_rotation_and_waits_for_the_end_of_a_line() {
        let (_folder, path) = log(LINES);
        let mut reader = LogReader::new(path.clone(), Wanted::default()).unwrap();
        assert_eq!(reader.read().unwrap(), "one\ntwo\nthree\n");
        let append = |text: &str| {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        };
        append("2026-11-21T07:00:03Z stdout F fo");
        assert_eq!(reader.read().unwrap(), "");
        append("ur\n");
        std::fs::rename(&path, container_runtime::logs::rotated_path(&path, 1)).unwrap();
        append("2026-11-21T07:00:04Z stdout F five\n");
        assert_eq!(reader.read().unwrap(), "four\nfive\n");
    }

    #[test]
    fn no_line_is_lost_or_read_twice_however_often_a_log_is_rotated_while_it_is_read() {
        let (_folder, path) = log("");
        let line = |n: usize| format!("2026-11-21T07:00:00Z stdout F {n}\n");
        let rotate = || {
            for age in (1..4).rev() {
                let _none = std::fs::rename(
                    container_runtime::logs::rotated_path(&path, age),
                    container_runtime::logs::rotated_path(&path, age + 1),
                );
            }
            std::fs::rename(&path, container_runtime::logs::rotated_path(&path, 1)).unwrap();
        };
        let mut reader = LogReader::new(path.clone(), Wanted::default()).unwrap();
        let mut all = String::new();
        let mut written = 0;
        for rotations in [0, 1, 2, 3, 0, 2] {
            for _ in 0..=rotations {
                written += 1;
                let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
                file.write_all(line(written).as_bytes()).unwrap();
                if rotations > 0 {
                    rotate();
                    std::fs::write(&path, "").unwrap();
                }
            }
            loop {
                let piece = reader.read().unwrap();
                if piece.is_empty() {
                    break;
                }
                all.push_str(std::str::from_utf8(&piece).unwrap());
            }
        }
        let wanted: String = (1..=written).map(|n| format!("{n}\n")).collect();
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_link_in_the_place_of_a_log_is_not_followed() {
        let (folder, path) = log(LINES);
        let link = folder.path().join("1.log");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut reader = LogReader::new(link, Wanted::default()).unwrap();
        assert!(reader.read().is_err());
    }
}
