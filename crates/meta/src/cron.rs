//! Schedules in cron's notation, as CronJob has them: five fields or a word such as `@daily`.
//!
//! The texts of errors and the reading of odd cases are those of the parser that upstream uses (robfig/cron v3,
//! `ParseStandard`). Time zones come from the database in the binary, so that every machine knows the same ones.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan, Zoned};

/// How far ahead a moment is looked for before a schedule is taken to have none (the 30th of February), in years.
const YEARS_AHEAD_MAX: i16 = 5;

/// A schedule that cannot be read; the text is upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

/// When something is to happen again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    times: Times,
    zone: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Times {
    /// At all minutes that meet every field.
    Fields(Fields),
    /// A fixed time after the last one, in seconds.
    Every(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// A set of small numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// Written as `*`: days and weekdays ask each other.
    is_any: bool,
}

impl Field {
    fn has(self, number: i8) -> bool {
        self.bits >> number & 1 == 1
    }
}

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// True for the name of a time zone that is known.
pub fn is_time_zone(name: &str) -> bool {
    time_zone(name).is_some()
}

/// The time zone of that name.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    TimeZoneDatabase::bundled().get(name).ok()
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// [`ScheduleError`] with upstream's text.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.is_empty() {
            return Err(ScheduleError("empty spec string".to_owned()));
        }
        let (zone, rest) = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
            None => (None, text),
            Some(zoned) => {
                let (name, rest) = zoned.split_once(' ').ok_or_else(|| {
                    ScheduleError("invalid schedule format: runtime error: slice bounds out of range".to_owned())
                })?;
                if !name.is_empty() && !is_time_zone(name) {
                    return Err(ScheduleError(format!("provided bad location {name}: unknown time zone {name}")));
                }
                (Some(name.to_owned()), rest.trim())
            }
        };
        let times = if rest.starts_with('@') { descriptor(rest)? } else { Times::Fields(fields(rest)?) };
        Ok(Self { times, zone })
    }

    /// The time zone that the text itself names.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The first moment after `after`, in its time zone; `None` if there is none in the next five years.
    ///
    /// An hour that the change to summer time skips has no moments; one that is repeated has them twice.
    pub fn next(&self, after: &Zoned) -> Option<Zoned> {
        match &self.times {
            Times::Every(secs) => {
                let whole = after.timestamp().as_second();
                Some(jiff::Timestamp::from_second(whole + secs).ok()?.to_zoned(after.time_zone().clone()))
            }
            Times::Fields(fields) => fields.next(after),
        }
    }
}

impl Fields {
    fn next(&self, after: &Zoned) -> Option<Zoned> {
        let last_year = after.year() + YEARS_AHEAD_MAX;
        let zone = after.time_zone();
        let start_of = |date: Date| zone.to_zoned(date.at(0, 0, 0, 0)).ok();
        let secs_left = 60 - i64::from(after.second());
        let minute = after.timestamp().as_second() + secs_left;
        let mut at = jiff::Timestamp::from_second(minute).ok()?.to_zoned(zone.clone());
        while at.year() <= last_year {
            let date = at.date();
            if !self.months.has(at.month()) {
                at = start_of(date.first_of_month().checked_add(1.month()).ok()?)?;
            } else if !self.has_day(date) {
                at = start_of(date.tomorrow().ok()?)?;
            } else if !self.hours.has(at.hour()) {
                let to_next_hour = SignedDuration::from_secs(3600 - i64::from(at.minute()) * 60);
                at = at.checked_add(to_next_hour).ok()?;
            } else if self.minutes.has(at.minute()) {
                return Some(at);
            } else {
                at = at.checked_add(SignedDuration::from_secs(60)).ok()?;
            }
        }
        None
    }

    /// If both kinds of day are asked for, one is enough.
    fn has_day(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        if self.days.is_any || self.weekdays.is_any { day && weekday } else { day || weekday }
    }
}

fn descriptor(text: &str) -> Result<Times, ScheduleError> {
    let same = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => {
            let Some(duration) = other.strip_prefix("@every ") else {
                return Err(ScheduleError(format!("unrecognized descriptor: {other}")));
            };
            let secs = duration_secs(duration)
                .map_err(|why| ScheduleError(format!("failed to parse duration {other}: {why}")))?;
            return Ok(Times::Every(secs.max(1)));
        }
    };
    fields(same).map(Times::Fields)
}

/// Whole seconds of a duration in Go's notation, such as `1h30m`.
fn duration_secs(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() && rest != "0" {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..unit_len];
        let secs = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        total += number * secs;
        rest = &rest[unit_len..];
    }
    Ok(total as i64)
}

fn fields(text: &str) -> Result<Fields, ScheduleError> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
        return Err(ScheduleError(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" "))));
    };
    Ok(Fields {
        minutes: field(minutes, &MINUTES)?,
        hours: field(hours, &HOURS)?,
        days: field(days, &DAYS)?,
        months: field(months, &MONTHS)?,
        weekdays: field(weekdays, &WEEKDAYS)?,
    })
}

fn field(text: &str, bounds: &Bounds) -> Result<Field, ScheduleError> {
    let mut all = Field { bits: 0, is_any: false };
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let one = range(part, bounds).map_err(ScheduleError)?;
        all.bits |= one.bits;
        all.is_any |= one.is_any;
    }
    Ok(all)
}

/// `*`, `3`, `3-7`, each with `/2` behind.
fn range(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let (range, steps): (&str, Vec<&str>) = match text.split_once('/') {
        None => (text, Vec::new()),
        Some((range, steps)) => (range, steps.split('/').collect()),
    };
    let limits: Vec<&str> = range.split('-').collect();
    let is_star = matches!(limits[0], "*" | "?");
    let (start, mut end) = match limits.as_slice() {
        _ if is_star => (bounds.min, bounds.max),
        [one] => (number_or_name(one, bounds)?, number_or_name(one, bounds)?),
        [start, end] => (number_or_name(start, bounds)?, number_or_name(end, bounds)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match steps.as_slice() {
        [] => 1,
        [step] => {
            if limits.len() == 1 {
                end = bounds.max;
            }
            number(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < bounds.min {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.min));
    }
    if end > bounds.max {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let bits = (start..=end).step_by(step as usize).fold(0, |bits, number| bits | 1 << number);
    Ok(Field { bits, is_any: is_star && step == 1 })
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let name = text.to_lowercase();
    match bounds.names.iter().position(|known| *known == name && !name.is_empty()) {
        Some(index) => Ok(index as u32),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    let parsed = text.parse::<i64>();
    match parsed {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let after: Zoned = after.parse().expect("a time");
        let next = Schedule::parse(schedule).expect("a schedule").next(&after);
        next.map_or_else(|| "never".to_owned(), |next| next.strftime("%a %Y-%m-%dT%H:%M:%S %Z").to_string())
    }

    #[test]
    fn the_next_moment_is_found_in_the_time_zone() {
        let noon = "2026-11-21T12:00:00[UTC]";
        for (schedule, expected) in [
            ("* * * * *", "Sat 2026-11-21T12:01:00 UTC"),
            ("*/15 * * * *", "Sat 2026-11-21T12:15:00 UTC"),
            ("5/15 * * * *", "Sat 2026-11-21T12:05:00 UTC"),
            ("0 12 * * *", "Sun 2026-11-22T12:00:00 UTC"),
            ("0 0 1 1 *", "Fri 2027-01-01T00:00:00 UTC"),
            ("0 0 13 * FRI", "Fri 2026-11-27T00:00:00 UTC"),
            ("0 0 */2 * mon", "Mon 2026-11-23T00:00:00 UTC"),
            ("0 0 29 feb *", "Tue 2028-02-29T00:00:00 UTC"),
            ("0 0 30 2 *", "never"),
            ("@hourly", "Sat 2026-11-21T13:00:00 UTC"),
            ("@weekly", "Sun 2026-11-22T00:00:00 UTC"),
            ("@every 1h30m", "Sat 2026-11-21T13:30:00 UTC"),
            ("@every 1ms", "Sat 2026-11-21T12:00:01 UTC"),
        ] {
            assert_eq!(next(schedule, noon), expected, "{schedule}");
        }
        assert_eq!(next("0 6 * * *", "2026-11-21T12:00:00[Europe/Berlin]"), "Sun 2026-11-22T06:00:00 CET");
    }

    #[test]
    fn a_skipped_hour_has_no_moments_and_a_repeated_one_has_them_twice() {
        let spring = "2026-03-29T01:00:00[Europe/Berlin]";
        assert_eq!(next("30 2 * * *", spring), "Mon 2026-03-30T02:30:00 CEST");
        let autumn = "2026-10-25T01:00:00+02:00[Europe/Berlin]";
        assert_eq!(next("30 2 * * *", autumn), "Sun 2026-10-25T02:30:00 CEST");
        let again = "2026-10-25T02:30:00+02:00[Europe/Berlin]";
        assert_eq!(next("30 2 * * *", again), "Sun 2026-10-25T02:30:00 CET");
    }

    #[test]
    fn broken_schedules_are_refused_with_upstream_s_text() {
        for (schedule, expected) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/1/2 * * * *", "too many slashes: */1/2"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
            ("TZ=Nowhere/At_All * * * * *", "provided bad location Nowhere/At_All: unknown time zone Nowhere/At_All"),
        ] {
            assert_eq!(Schedule::parse(schedule).expect_err(schedule).to_string(), expected, "{schedule}");
        }
    }

    #[test]
    fn time_zones_are_known_without_the_machine_s_files() {
        for (zone, known) in [("UTC", true), ("Etc/UTC", true), ("America/New_York", true), ("Mars/Base", false)] {
            assert_eq!(is_time_zone(zone), known, "{zone}");
        }
        assert_eq!(Schedule::parse("TZ=Asia/Tokyo 0 0 * * *").expect("a schedule").zone(), Some("Asia/Tokyo"));
    }
}
