//! Reading the log files that the helper writes.
//!
//! A log is the file at [`crate::ContainerSpec::log_path`] and its older parts, `log.1` (the youngest of them) up to
//! `log.4`. A line is `<RFC 3339 time with nanoseconds> <stdout|stderr> <F|P> <text>`; `P` says that the line goes on
//! in the next one of the same stream.

use std::path::{Path, PathBuf};

/// Path of an older part of a log; 1 is the youngest of them.
pub fn rotated_path(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// The files of a log that exist, oldest first.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = (1..).map(|age| rotated_path(path, age)).take_while(|part| part.exists()).collect();
    found.reverse();
    if path.exists() {
        found.push(path.to_owned());
    }
    found
}

/// One line of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogLine<'a> {
    /// When it was written, RFC 3339 with nanoseconds.
    pub time: &'a str,
    /// True for standard error.
    pub stderr: bool,
    /// True if the text goes on in the next line of the same stream.
    pub partial: bool,
    /// The text, without an end of line.
    pub text: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// Reads one line, given without its end of line; `None` if it is not of the format.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |b| *b == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?;
        let stderr = match fields.next()? {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        let partial = fields.next()?.first() == Some(&b'P');
        Some(Self { time, stderr, partial, text: fields.next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_blanks() {
        let line = LogLine::parse(b"2026-11-21T06:51:24.000000001Z stderr F  two  blanks ").unwrap();
        assert_eq!((line.stderr, line.partial, line.text), (true, false, &b" two  blanks "[..]));
        assert_eq!(LogLine::parse(b"not a log line"), None);
    }
}
