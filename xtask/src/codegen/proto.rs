//! Reads the little of protobuf's language that `generated.proto` files use.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Type as written; `map<string, T>` for maps. Names are full.
    pub(super) ty: String,
    /// Repeated.
    pub(super) repeated: bool,
}

/// Fields of a message by number.
pub(super) type Message = BTreeMap<u16, Field>;

/// Messages of a file by full name.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Message>> {
    let mut package = String::new();
    let mut messages = BTreeMap::new();
    let mut open: Option<(String, Message)> = None;
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("package ") {
            package = rest.trim_end_matches(';').to_owned();
        } else if let Some(rest) = line.strip_prefix("message ") {
            open = Some((format!("{package}.{}", rest.trim_end_matches('{').trim()), Message::new()));
        } else if line == "}" {
            messages.extend(open.take());
        } else if let Some((_, message)) = &mut open {
            let (number, field) = field(line, &package).with_context(|| format!("line {line:?}"))?;
            message.insert(number, field);
        }
    }
    Ok(messages)
}

fn field(line: &str, package: &str) -> Result<(u16, Field)> {
    let (left, number) = line.trim_end_matches(';').rsplit_once('=').context("no number")?;
    let number = number.trim().parse().context("bad number")?;
    let left = left.trim();
    let (head, _name) = left.rsplit_once(' ').context("no name")?;
    let head = head.trim();
    if head.starts_with("map<") {
        let (key, value) = head.trim_start_matches("map<").trim_end_matches('>').split_once(',').context("bad map")?;
        let ty = format!("map<{key},{}>", full_name(value.trim(), package));
        return Ok((number, Field { ty, repeated: false }));
    }
    let (label, ty) = head.split_once(' ').context("no label")?;
    Ok((number, Field { ty: full_name(ty.trim(), package), repeated: label == "repeated" }))
}

fn full_name(ty: &str, package: &str) -> String {
    match ty {
        "string" | "bytes" | "int32" | "int64" | "bool" | "double" | "uint32" | "uint64" => ty.to_owned(),
        _ => match ty.strip_prefix('.') {
            Some(full) => full.to_owned(),
            None => format!("{package}.{ty}"),
        },
    }
}
