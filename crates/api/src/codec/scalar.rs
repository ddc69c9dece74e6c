//! The scalar types that are text on the wire and something else in meaning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use meta::Quantity;

/// A quantity in canonical form.
pub(super) fn quantity(text: &str) -> Result<String, String> {
    Quantity::parse(text).map(|q| q.to_string()).map_err(|e| e.to_string())
}

/// A moment with whole seconds, in UTC.
pub(super) fn time(text: &str) -> Result<String, String> {
    let moment = moment(text, "2006-01-02T15:04:05Z07:00")?;
    Ok(format!("{moment:.0}"))
}

/// A moment with microseconds, in UTC.
pub(super) fn micro_time(text: &str) -> Result<String, String> {
    let moment = moment(text, "2006-01-02T15:04:05.000000Z07:00")?;
    Ok(format!("{moment:.6}"))
}

/// Parses RFC 3339 and nothing more lenient; the error is upstream's.
pub(super) fn moment(text: &str, layout: &str) -> Result<Timestamp, String> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let is_shaped = bytes.len() >= 20
        && separators.iter().all(|(at, byte)| bytes[*at] == *byte)
        && bytes[19..].iter().all(|b| b.is_ascii_digit() || b".Z+-:".contains(b));
    let parsed = if is_shaped { text.parse().ok() } else { None };
    parsed.ok_or_else(|| match out_of_range(text).filter(|_| is_shaped) {
        Some(part) => format!("parsing time \"{text}\": {part} out of range"),
        None => format!("parsing time \"{text}\" as \"{layout}\": cannot parse \"{text}\" as \"2006\""),
    })
}

/// The part of a well-shaped moment that is too large or too small.
fn out_of_range(text: &str) -> Option<&'static str> {
    let parts =
        [("month", 5, 1, 12), ("day", 8, 1, 31), ("hour", 11, 0, 23), ("minute", 14, 0, 59), ("second", 17, 0, 59)];
    let is_outside = |at: usize, min: u32, max: u32| {
        let number: Option<u32> = text.get(at..at + 2).and_then(|t| t.parse().ok());
        number.is_some_and(|n| n < min || n > max)
    };
    parts.into_iter().find(|(_, at, min, max)| is_outside(*at, *min, *max)).map(|(name, ..)| name)
}

/// Base64 as upstream's decoder takes it: line breaks are skipped. `None` if the text is canonical already.
pub(super) fn bytes(text: &str) -> Result<Option<String>, String> {
    let position = |e: base64::DecodeError| match e {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len() / 4 * 4,
    };
    let error = |e| format!("illegal base64 data at input byte {}", position(e));
    if text.bytes().any(|b| b == b'\n' || b == b'\r') {
        let joined: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        let raw = STANDARD.decode(&joined).map_err(error)?;
        return Ok(Some(STANDARD.encode(raw)));
    }
    STANDARD.decode(text).map_err(error)?;
    Ok(None)
}
