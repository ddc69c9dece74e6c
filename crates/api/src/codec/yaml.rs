//! YAML, within limits: a body of a few kilobytes must not become gigabytes.

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};
use serde_saphyr::{Deserializer, Options};

/// Deepest nesting of a YAML document; the same as for JSON.
const DEPTH_MAX: usize = 128;
/// Most aliases in one document.
const ALIASES_MAX: usize = 1_000;
/// Most events in one document, replayed aliases included.
const EVENTS_MAX: usize = 1_500_000;

/// One document of a YAML file.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlDocument {
    /// First line of the document in its file, from 1.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// A YAML file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// The documents of a YAML (or JSON) file, as `kubectl` would read them; empty ones are left out.
///
/// # Errors
/// [`YamlError`] of the first document that cannot be read, with its line in the file.
pub fn documents(text: &str) -> Result<Vec<YamlDocument>, YamlError> {
    let mut found = Vec::new();
    for (line, part) in split(text) {
        let value = with_deserializer(part.as_bytes(), |de| Value::deserialize(de)).map_err(|e| located(&e, line))?;
        if !value.is_null() {
            found.push(YamlDocument { line, value });
        }
    }
    Ok(found)
}

/// Parts between lines that begin with `---`, and the number of each part's first line.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let is_separator = line.starts_with("---") && line[3..].trim_start_matches([' ', '\t', '\r', '\n']).is_empty();
        if is_separator {
            parts.push((start_line, &text[start..at]));
            (start, start_line) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts.retain(|(_, part)| part.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')));
    parts
}

fn located(error: &serde_saphyr::Error, first_line: usize) -> YamlError {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (line, column) = error.location().map_or((1, 1), |l| (number(l.line()), number(l.column())));
    let text = error.without_snippet().to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    let message = message.split_once(": ").filter(|(head, _)| head.starts_with("error: ")).map_or(message, |(_, m)| m);
    YamlError { line: first_line - 1 + line, column, message: message.to_owned() }
}

/// Runs `read` on a YAML document with YAML 1.1's booleans and octal numbers, as upstream reads them.
pub(super) fn with_deserializer<'de, R>(
    body: &'de [u8],
    read: impl for<'e> FnOnce(Deserializer<'de, 'e>) -> Result<R, serde_saphyr::Error>,
) -> Result<R, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! {
        max_depth: DEPTH_MAX,
        max_aliases: ALIASES_MAX,
        max_anchors: ALIASES_MAX,
        max_events: EVENTS_MAX,
        max_documents: 1,
    };
    let options: Options = serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        alias_limits: AliasLimits::default(),
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::with_deserializer_from_slice_with_options(body, options, read)
}
