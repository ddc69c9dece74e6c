//! A container's log file in the CRI format: one line per line, `<RFC 3339 time> <stream> <F|P> <text>`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::LogLimits;

/// Longest piece of a line in one log line; the rest follows in further lines, all but the last tagged `P`.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Reads from one container in one turn of the loop.
const PIECES_PER_TURN: usize = 8;
/// Reads after a container's end: more than its pipes can hold (a pipe holds at most 1 MiB unless root changes that).
const PIECES_AT_END: usize = 256;

/// One of a container's two output streams.
pub(super) struct Stream {
    name: &'static str,
    pub(super) fd: OwnedFd,
    partial: Vec<u8>,
}

/// Takes a container's output and keeps its log file.
pub(super) struct LogWriter {
    path: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    size: u64,
    pub(super) streams: Vec<Stream>,
}

impl LogWriter {
    /// Opens the log for the given streams (name, read end).
    pub(super) fn open(path: &Path, limits: LogLimits, streams: Vec<(&'static str, OwnedFd)>) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let (file, size) = open_file(path)?;
        for (_, fd) in &streams {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let streams = streams.into_iter().map(|(name, fd)| Stream { name, fd, partial: Vec::new() }).collect();
        Ok(Self { path: path.to_owned(), limits, file: Some(file), size, streams })
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.streams.iter().map(|s| s.fd.as_fd())
    }

    /// Writes what the streams hold now, a bounded part of it, so that a loud container does not hold up the others.
    /// A stream that has ended is closed. A disk that refuses loses lines, never blocks the container.
    pub(super) fn pump(&mut self, buffer: &mut [u8]) {
        self.take_pieces(buffer, PIECES_PER_TURN);
    }

    fn take_pieces(&mut self, buffer: &mut [u8], pieces_max: usize) {
        let mut index = 0;
        for _ in 0..pieces_max {
            if index == self.streams.len() {
                return;
            }
            match rustix::io::read(&self.streams[index].fd, &mut *buffer) {
                Ok(0) => self.close(index),
                Ok(count) => self.take(index, &buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => index += 1,
                Err(_) => self.close(index),
            }
        }
    }

    /// Writes what is left after the container's end, and closes the log.
    pub(super) fn finish(&mut self, buffer: &mut [u8]) {
        self.take_pieces(buffer, PIECES_AT_END);
        while !self.streams.is_empty() {
            self.close(0);
        }
        self.file = None;
    }

    fn close(&mut self, index: usize) {
        let mut stream = self.streams.remove(index);
        if !stream.partial.is_empty() {
            let text = std::mem::take(&mut stream.partial);
            self.line(stream.name, b'F', &text);
        }
    }

    fn take(&mut self, index: usize, bytes: &[u8]) {
        let name = self.streams[index].name;
        let mut partial = std::mem::take(&mut self.streams[index].partial);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if partial.is_empty() => self.line(name, b'F', end),
                Some(end) => {
                    partial.extend_from_slice(end);
                    self.line(name, b'F', &partial);
                    partial.clear();
                }
                None => partial.extend_from_slice(piece),
            }
            while partial.len() >= LINE_BYTES_MAX {
                self.line(name, b'P', &partial[..LINE_BYTES_MAX]);
                partial.drain(..LINE_BYTES_MAX);
            }
        }
        if partial.is_empty() {
            partial = Vec::new();
        }
        self.streams[index].partial = partial;
    }

    fn line(&mut self, stream: &str, tag: u8, text: &[u8]) {
        let mut head = [0u8; 64];
        let head = {
            let mut rest = &mut head[..];
            // The buffer holds the longest head: 35 bytes of time, 6 of stream, the tag and blanks.
            let _ = write!(rest, "{} {stream} {} ", super::clock::rfc3339_nanos(), tag as char);
            let left = rest.len();
            &head[..64 - left]
        };
        let length = (head.len() + text.len() + 1) as u64;
        if self.size + length > self.limits.file_bytes_max && self.size > 0 {
            self.rotate();
        }
        let Some(file) = &mut self.file else { return };
        let parts = [io::IoSlice::new(head), io::IoSlice::new(text), io::IoSlice::new(b"\n")];
        match file.write_vectored(&parts) {
            Ok(written) if written as u64 == length => self.size += length,
            // A full disk may take half a line: end it where it is, so that the next one stands alone.
            Ok(written) => {
                self.size += written as u64;
                let _ = file.set_len(self.size - written as u64);
                self.size -= written as u64;
            }
            Err(_) => {}
        }
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, and so on; the oldest goes.
    fn rotate(&mut self) {
        for age in (1..self.limits.files_max.max(1)).rev() {
            let _ = fs::rename(rotated(&self.path, age - 1), rotated(&self.path, age));
        }
        if self.limits.files_max <= 1 {
            let _ = fs::remove_file(&self.path);
        }
        if let Ok((file, size)) = open_file(&self.path) {
            self.file = Some(file);
            self.size = size;
        }
    }
}

fn rotated(path: &Path, age: u32) -> PathBuf {
    if age == 0 { path.to_owned() } else { crate::logs::rotated_path(path, age) }
}

/// Opens for appending; whatever stands at the path but a regular file is refused, a symlink too (reliability 4.2).
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a file", path.display())));
    }
    let _ = file.set_permissions(fs::Permissions::from_mode(0o640));
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(limits: LogLimits, writes: &[&[u8]]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c/0.log");
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut log = LogWriter::open(&path, limits, vec![("stdout", read)]).unwrap();
        let mut buffer = [0; 4096];
        for bytes in writes {
            for part in bytes.chunks(4096) {
                rustix::io::write(&write, part).unwrap();
                log.pump(&mut buffer);
            }
        }
        drop(write);
        log.finish(&mut buffer);
        (dir, path)
    }

    fn tails(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_kept_apart_and_a_last_one_without_an_end_is_kept() {
        let (_dir, path) = log_of(LogLimits::default(), &[b"one\ntw", b"o\n\nlast"]);
        assert_eq!(tails(&path), ["stdout F one", "stdout F two", "stdout F ", "stdout F last"]);
    }

    #[test]
    fn a_long_line_is_cut_into_tagged_pieces() {
        let long = [b'x'; LINE_BYTES_MAX + 5];
        let (_dir, path) = log_of(LogLimits::default(), &[&long, b"\n"]);
        let lines = tails(&path);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("stdout P xxx") && lines[0].len() == LINE_BYTES_MAX + 9);
        assert_eq!(lines[1], "stdout F xxxxx");
    }

    #[test]
    fn only_the_allowed_number_of_files_is_kept() {
        let limits = LogLimits { file_bytes_max: 100, files_max: 3 };
        let (dir, path) =
            log_of(limits, &[b"aaaaaaaaaa\nbbbbbbbbbb\ncccccccccc\ndddddddddd\neeeeeeeeee\nffffffffff\n"]);
        assert_eq!(fs::read_dir(dir.path().join("c")).unwrap().count(), 3);
        let kept: Vec<String> = [2, 1, 0].iter().flat_map(|age| tails(&rotated(&path, *age))).collect();
        assert_eq!(kept.last().unwrap(), "stdout F ffffffffff");
        assert!(fs::metadata(&path).unwrap().len() <= 100);
    }

    #[test]
    fn a_symlink_in_the_place_of_the_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(LogWriter::open(&path, LogLimits::default(), Vec::new()).is_err());
    }
}
