//! The pod-template-hash: upstream's, digit by digit.
//!
//! Upstream prints the whole template, every field of every struct in its order of declaration with its type's name,
//! and hashes that text with FNV-32a. The same text comes from `template_types.txt` and the template's JSON. Known
//! difference: quantities that do not fit upstream's fast path of 64 bits are printed as if they did.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use meta::Quantity;
use serde_json::Value;

const FNV_OFFSET: u32 = 2_166_136_261;
const FNV_PRIME: u32 = 16_777_619;

/// The hash of a template after so many collisions; `None` is no count, which is not a count of 0.
pub fn template_hash(template: &Value, collision_count: Option<i32>) -> String {
    let mut hash = fnv1a_32(FNV_OFFSET, dump(template).as_bytes());
    if let Some(count) = collision_count {
        let mut bytes = [0_u8; 8];
        bytes[..4].copy_from_slice(&count.to_le_bytes());
        hash = fnv1a_32(hash, &bytes);
    }
    crate::words::safe_digits(hash)
}

/// FNV-1a: xor, then multiply.
fn fnv1a_32(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The template as upstream prints it. Two templates mean the same if their dumps are equal.
pub fn dump(template: &Value) -> String {
    let mut out = String::with_capacity(4096);
    typed(&mut out, "v1.PodTemplateSpec", Some(template));
    out
}

/// `(TYPE)` and the value.
fn typed(out: &mut String, kind: &str, value: Option<&Value>) {
    out.push('(');
    out.push_str(TYPES.maps.get(kind).map_or(kind, |_| kind));
    out.push(')');
    bare(out, kind, value);
}

/// The value without its type.
fn bare(out: &mut String, kind: &str, value: Option<&Value>) {
    let value = value.filter(|value| !value.is_null());
    if let Some(pointed) = kind.strip_prefix('*') {
        match value {
            Some(value) => bare(out, pointed, Some(value)),
            None => out.push_str("<nil>"),
        }
    } else if let Some(item) = kind.strip_prefix("[]") {
        let items = value.and_then(Value::as_array).filter(|items| !items.is_empty());
        let Some(items) = items else { return out.push_str("<nil>") };
        list(out, "[", items, |out, value| bare(out, item, Some(value)));
    } else if let Some(item) = map_item(kind) {
        let entries = value.and_then(Value::as_object).filter(|entries| !entries.is_empty());
        let Some(entries) = entries else { return out.push_str("<nil>") };
        let sorted: BTreeMap<_, _> = entries.iter().collect();
        list(out, "map[", sorted, |out, (key, value)| {
            out.push_str(key);
            out.push(':');
            bare(out, item, Some(value));
        });
    } else if let Some(fields) = TYPES.structs.get(kind) {
        fields_of(out, kind, fields, value);
    } else {
        scalar(out, kind, value);
    }
}

fn list<T>(out: &mut String, open: &str, items: impl IntoIterator<Item = T>, each: impl Fn(&mut String, T)) {
    out.push_str(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        each(out, item);
    }
    out.push(']');
}

fn map_item(kind: &str) -> Option<&str> {
    let kind = TYPES.maps.get(kind).map_or(kind, |map| map.as_str());
    kind.strip_prefix("map[")?.split_once(']').map(|(_, item)| item)
}

fn fields_of(out: &mut String, kind: &str, fields: &[Field], value: Option<&Value>) {
    let port = (kind == "intstr.IntOrString").then_some(value).flatten();
    list_fields(out, fields, |field| match (field.json.as_str(), field.name.as_str()) {
        ("-", "Type") => Some(Value::from(i64::from(port.is_some_and(Value::is_string)))),
        ("-", "IntVal") => port.filter(|port| port.is_i64()).cloned(),
        ("-", "StrVal") => port.filter(|port| port.is_string()).cloned(),
        ("-", _) => value.cloned(),
        (name, _) => value.and_then(|value| value.get(name)).cloned(),
    });
}

fn list_fields(out: &mut String, fields: &[Field], value: impl Fn(&Field) -> Option<Value>) {
    out.push('{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(&field.name);
        out.push(':');
        typed(out, &field.kind, value(field).as_ref());
    }
    out.push('}');
}

fn scalar(out: &mut String, kind: &str, value: Option<&Value>) {
    const NO_TIME: &str = "{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}";
    match (kind, TYPES.scalars.get(kind).map_or(kind, String::as_str)) {
        ("v1.Time", _) => out.push_str(NO_TIME),
        ("resource.Quantity", _) => quantity(out, value),
        (_, "string") => out.push_str(value.and_then(Value::as_str).unwrap_or_default()),
        (_, "bool") => out.push_str(if value == Some(&Value::Bool(true)) { "true" } else { "false" }),
        (_, _) => {
            let number = value.and_then(Value::as_i64).unwrap_or(0);
            write!(out, "{number}").expect("a string takes every text");
        }
    }
}

/// A quantity as upstream holds it after it was stored: a number, a power of ten, and the text if it is canonical.
fn quantity(out: &mut String, value: Option<&Value>) {
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let text = Quantity::parse(&text).map_or(text, |quantity| quantity.to_string());
    let Amount { number, scale, format, is_kept } = amount(&text);
    let kept = if is_kept { text.as_str() } else { "" };
    write!(
        out,
        "{{i:(resource.int64Amount){{value:(int64){number} scale:(resource.Scale){scale}}} \
         d:(resource.infDecAmount){{Dec:(*inf.Dec)<nil>}} s:(string){kept} Format:(resource.Format){format}}}"
    )
    .expect("a string takes every text");
}

struct Amount {
    number: i64,
    scale: i32,
    format: &'static str,
    is_kept: bool,
}

fn amount(text: &str) -> Amount {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [(&str, i32); 9] =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15)];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let number: i64 = format!("{whole}{part}").parse().unwrap_or(0);
    let places = i32::try_from(part.len()).unwrap_or(0);
    if let Some(power) = BINARY.iter().position(|binary| *binary == suffix) {
        let factor = 1_i64 << (10 * (power + 1));
        return Amount {
            number: number.saturating_mul(factor),
            scale: 0,
            format: "BinarySI",
            is_kept: number & 7 != 0,
        };
    }
    let known = DECIMAL.iter().find(|(decimal, _)| *decimal == suffix).map(|(_, scale)| (*scale, "DecimalSI"));
    let exponent = || suffix.trim_start_matches(['e', 'E']).parse().unwrap_or(0);
    let (scale, format) = known.unwrap_or_else(|| (if suffix == "E" { 18 } else { exponent() }, "DecimalExponent"));
    let format = if suffix == "E" { "DecimalSI" } else { format };
    let scale = scale - places;
    let shifted = digits.trim_start_matches('-');
    let is_kept = scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0') || text == "0";
    Amount { number, scale, format, is_kept }
}

struct Field {
    name: String,
    json: String,
    kind: String,
}

#[derive(Default)]
struct Types {
    structs: BTreeMap<String, Vec<Field>>,
    scalars: BTreeMap<String, String>,
    maps: BTreeMap<String, String>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let mut types = Types::default();
    let mut current = String::new();
    for line in include_str!("template_types.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["=", name, map] if map.starts_with("map[") => {
                types.maps.insert((*name).to_owned(), (*map).to_owned());
            }
            ["=", name, kind] => {
                types.scalars.insert((*name).to_owned(), (*kind).to_owned());
            }
            [name, json, kind] => types.structs.entry(current.clone()).or_default().push(Field {
                name: (*name).to_owned(),
                json: (*json).to_owned(),
                kind: (*kind).to_owned(),
            }),
            [name] => (*name).clone_into(&mut current),
            _ => unreachable!("the table has lines of one or three words"),
        }
    }
    types
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Templates with the hashes that upstream's own code (v1.37.0) gives them: without a count, and with a count of 1.
    const VECTORS: &str = include_str!("template_vectors.txt");

    #[test]
    fn hashes_are_upstreams() {
        for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.splitn(3, ' ');
            let (plain, counted) = (words.next().unwrap(), words.next().unwrap());
            let template: Value = serde_json::from_str(words.next().unwrap()).unwrap();
            assert_eq!(template_hash(&template, None), plain, "{template}");
            assert_eq!(template_hash(&template, Some(1)), counted, "{template}");
        }
    }

    #[test]
    fn empty_and_missing_are_the_same_template() {
        let with: Value = serde_json::json!({"spec": {"containers": [{"name": "c", "env": [], "command": null}]}});
        let without: Value = serde_json::json!({"spec": {"containers": [{"name": "c"}]}});
        assert_eq!(dump(&with), dump(&without));
        assert_eq!(template_hash(&with, None), template_hash(&without, None));
        assert_ne!(template_hash(&with, None), template_hash(&with, Some(0)));
    }
}
