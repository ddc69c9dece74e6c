//! What cells of several kinds have in common.

use meta::Timestamp;
use serde_json::Value;

use crate::tree::{items, member, text};

/// The object's name.
pub(super) fn name(object: &Value) -> Value {
    text(member(object, "metadata"), "name").into()
}

/// How long ago the object was created.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(text(member(object, "metadata"), "creationTimestamp"), now).into()
}

/// When the object was created.
pub(super) fn created_at(object: &Value) -> Value {
    text(member(object, "metadata"), "creationTimestamp").into()
}

/// How long ago a printed time was; `<unknown>` without one.
pub(super) fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human_duration(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// A duration in seconds as kubectl shows ages (V-146).
pub(super) fn human_duration(secs: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let pair = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        small => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match secs {
        i64::MIN..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{secs}s"),
        120..600 => pair(secs / MINUTE, "m", secs % MINUTE, "s"),
        600..10_800 => format!("{}m", secs / MINUTE),
        10_800..28_800 => pair(secs / HOUR, "h", secs % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", secs / HOUR),
        172_800..691_200 => pair(secs / DAY, "d", secs % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", secs / DAY),
        63_072_000..252_288_000 => pair(secs / YEAR, "y", secs % YEAR / DAY, "d"),
        _ => format!("{}y", secs / YEAR),
    }
}

/// The names and images of the containers of a pod spec, each with commas between.
pub(super) fn containers_and_images(pod_spec: &Value) -> (Value, Value) {
    let join = |key: &str| {
        let parts: Vec<&str> = items(pod_spec, "containers").iter().map(|container| text(container, key)).collect();
        Value::from(parts.join(","))
    };
    (join("name"), join("image"))
}

/// A text, or `<none>` for an empty one.
pub(super) fn or_none(text: &str) -> Value {
    or(text, "<none>")
}

/// A text, or another one for an empty one.
pub(super) fn or(text: &str, otherwise: &str) -> Value {
    if text.is_empty() { otherwise.into() } else { text.into() }
}

/// `RWO,ROX`: access modes in their short form and fixed order.
pub(super) fn access_modes(modes: &[Value]) -> Value {
    let short: Vec<&str> =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")]
            .into_iter()
            .filter(|(long, _)| modes.iter().any(|mode| mode == long))
            .map(|(_, short)| short)
            .collect();
    short.join(",").into()
}

/// The first three of many, with the count of the rest.
pub(super) fn first_three(parts: &[String], more: &str) -> String {
    let shown = parts.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    match parts.len() {
        0 => String::new(),
        1..=3 => shown,
        len => format!("{shown} + {} more{more}", len - 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_change_their_units_at_the_limits() {
        for (secs, expected) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_199, "7d23h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_287_999, "7y364d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human_duration(secs), expected, "{secs}");
        }
    }
}
