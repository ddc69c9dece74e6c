//! Reads the Go type declarations of upstream's API packages, line by line.
//!
//! Not a Go parser: it knows the shape that these generated-from files have kept for ten years and stops with an error
//! at anything else.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A type expression with its package resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    /// A pointer.
    Pointer(Box<Expr>),
    /// A slice.
    Slice(Box<Expr>),
    /// A map from text.
    Map(Box<Expr>),
    /// A builtin.
    Builtin(String),
    /// A named type: import path and name.
    Named(String, String),
}

/// One field of a Go struct.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// JSON name; empty for an embedded struct whose fields stand in the parent.
    pub(super) json: String,
    /// `omitempty`.
    pub(super) omit_empty: bool,
    /// `omitzero`.
    pub(super) omit_zero: bool,
    /// Protobuf number; 0 without one.
    pub(super) proto: u16,
    /// Type.
    pub(super) ty: Expr,
    /// `+default=`, not yet resolved.
    pub(super) default: Option<String>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Decl {
    /// A struct.
    Struct(Vec<Field>),
    /// Another type.
    Alias {
        /// What it is made of.
        of: Expr,
        /// Marked `+enum`.
        enumerated: bool,
    },
}

/// All declarations read.
#[derive(Debug, Default)]
pub(super) struct Types {
    decls: BTreeMap<(String, String), Decl>,
    /// Typed string constants: package, type, constant's name, value; in order of declaration.
    consts: Vec<(String, String, String, String)>,
}

impl Types {
    /// The declaration of a name.
    pub(super) fn get(&self, package: &str, name: &str) -> Option<&Decl> {
        self.decls.get(&(package.to_owned(), name.to_owned()))
    }

    /// Values of an enumerated type, sorted.
    pub(super) fn values(&self, package: &str, name: &str) -> Vec<String> {
        let mut values: Vec<_> =
            self.consts.iter().filter(|c| c.0 == package && c.1 == name).map(|c| c.3.clone()).collect();
        values.sort();
        values.dedup();
        values
    }

    /// The value of a `+default=`: JSON, or a reference to a constant.
    pub(super) fn default_value(&self, package: &str, text: &str) -> Result<Value> {
        match text.strip_prefix("ref(").and_then(|t| t.strip_suffix(')')) {
            None => serde_json::from_str(text).with_context(|| format!("default {text}")),
            Some(name) => {
                let found = self.consts.iter().find(|c| c.0 == package && c.2 == name);
                Ok(Value::String(found.with_context(|| format!("no constant {name}"))?.3.clone()))
            }
        }
    }

    /// Reads one file of a package.
    pub(super) fn read(&mut self, package: &str, text: &str) -> Result<()> {
        let mut reader = Reader { package, imports: imports(text), default: None, enumerated: false, types: self };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            reader.top_level(line, &mut lines).with_context(|| format!("line {line:?}"))?;
        }
        Ok(())
    }
}

struct Reader<'a> {
    package: &'a str,
    imports: BTreeMap<String, String>,
    default: Option<String>,
    enumerated: bool,
    types: &'a mut Types,
}

impl Reader<'_> {
    fn top_level<'t>(&mut self, line: &str, lines: &mut impl Iterator<Item = &'t str>) -> Result<()> {
        let trimmed = line.trim();
        if trimmed.starts_with("//") {
            self.enumerated |= trimmed == "// +enum";
            return Ok(());
        }
        let enumerated = std::mem::take(&mut self.enumerated);
        if let Some(rest) = line.strip_prefix("type ") {
            let mut words = rest.split_whitespace();
            let name = words.next().context("no name")?.to_owned();
            let decl = match words.next() {
                Some("struct") if rest.ends_with("{}") => Decl::Struct(Vec::new()),
                Some("struct") => Decl::Struct(self.fields(lines)?),
                Some("interface" | "func(") | None | Some("=") => return Ok(()),
                Some(ty) => Decl::Alias { of: self.expr(ty)?, enumerated },
            };
            self.types.decls.insert((self.package.to_owned(), name), decl);
        } else if trimmed.contains(" = \"") {
            self.constant(trimmed);
        }
        Ok(())
    }

    /// `Name Type = "value"`, inside a block or after `const`.
    fn constant(&mut self, line: &str) {
        let words: Vec<_> = line.trim_start_matches("const ").split_whitespace().collect();
        if let [name, ty, "=", value, ..] = words.as_slice() {
            let value = value.trim_matches('"').to_owned();
            self.types.consts.push((self.package.to_owned(), (*ty).to_owned(), (*name).to_owned(), value));
        }
    }

    fn fields<'t>(&mut self, lines: &mut impl Iterator<Item = &'t str>) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        let mut in_comment = false;
        for line in lines.by_ref() {
            let trimmed = line.trim();
            if line == "}" {
                return Ok(fields);
            }
            in_comment |= trimmed.starts_with("/*");
            if in_comment {
                in_comment = !trimmed.ends_with("*/");
            } else if let Some(comment) = trimmed.strip_prefix("//") {
                if let Some(value) = comment.trim().strip_prefix("+default=") {
                    self.default = Some(value.to_owned());
                }
            } else if !trimmed.is_empty() {
                let default = self.default.take();
                let field = self.field(trimmed, default).with_context(|| format!("field {trimmed:?}"))?;
                fields.extend(field);
            }
        }
        anyhow::bail!("struct does not end")
    }

    fn field(&self, line: &str, default: Option<String>) -> Result<Option<Field>> {
        let Some((left, rest)) = line.split_once('`') else {
            ensure!(!line.contains(' ') || !line.starts_with(char::is_uppercase), "no tag");
            return Ok(None);
        };
        let tags = rest.split_once('`').context("tag does not end")?.0;
        let json = tag(tags, "json").context("no json tag")?;
        let mut parts = json.split(',');
        let json = parts.next().unwrap_or_default().to_owned();
        let options: Vec<_> = parts.collect();
        let words: Vec<_> = left.split_whitespace().collect();
        let ty = match words.as_slice() {
            [embedded] => embedded,
            [_, ty] => ty,
            _ => anyhow::bail!("neither embedded nor named"),
        };
        let proto = tag(tags, "protobuf").and_then(|t| t.split(',').nth(1)?.parse().ok()).unwrap_or(0);
        if json == "-" {
            return Ok(None);
        }
        Ok(Some(Field {
            json,
            omit_empty: options.contains(&"omitempty"),
            omit_zero: options.contains(&"omitzero"),
            proto,
            ty: self.expr(ty)?,
            default,
        }))
    }

    fn expr(&self, text: &str) -> Result<Expr> {
        if let Some(rest) = text.strip_prefix('*') {
            return Ok(Expr::Pointer(Box::new(self.expr(rest)?)));
        }
        if let Some(rest) = text.strip_prefix("[]") {
            return Ok(Expr::Slice(Box::new(self.expr(rest)?)));
        }
        if let Some(rest) = text.strip_prefix("map[") {
            let (_key, value) = rest.split_once(']').context("bad map")?;
            return Ok(Expr::Map(Box::new(self.expr(value)?)));
        }
        if let Some((package, name)) = text.split_once('.') {
            let import = self.imports.get(package).with_context(|| format!("no import {package}"))?;
            return Ok(Expr::Named(import.clone(), name.to_owned()));
        }
        let builtin = ["string", "bool", "byte", "int", "int32", "int64", "float64", "uint8", "uint32", "uint64"];
        if builtin.contains(&text) {
            return Ok(Expr::Builtin(text.to_owned()));
        }
        Ok(Expr::Named(self.package.to_owned(), text.to_owned()))
    }
}

fn imports(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines().take_while(|l| !l.starts_with("type ")) {
        let words: Vec<_> = line.trim().trim_start_matches("import ").split_whitespace().collect();
        let (name, path) = match words.as_slice() {
            [path] if path.starts_with('"') => (path.trim_matches('"').rsplit('/').next().unwrap_or_default(), path),
            [name, path] if path.starts_with('"') => (*name, path),
            _ => continue,
        };
        found.insert(name.to_owned(), path.trim_matches('"').to_owned());
    }
    found
}

/// `json:"name,omitempty"` inside a struct tag.
fn tag<'a>(tags: &'a str, key: &str) -> Option<&'a str> {
    let start = tags.find(&format!("{key}:\""))? + key.len() + 2;
    let rest = &tags[start..];
    rest.split_once('"').map(|(value, _)| value)
}
