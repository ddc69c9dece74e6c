//! The wall clock, read and printed without allocating.

use std::fmt;

use meta::Timestamp;

/// Now.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// Now, as `2026-11-21T06:51:24.123456789Z`.
pub(super) fn rfc3339_nanos() -> impl fmt::Display {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the value outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    Instant { secs: now.tv_sec, nanos: now.tv_nsec as u32 }
}

struct Instant {
    secs: i64,
    nanos: u32,
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (self.secs.div_euclid(86_400), self.secs.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", self.nanos)
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Count from 0000-03-01, so that the leap day is the last day of a year.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_the_date_library_prints() {
        for secs in [0, 951_782_400, 951_868_799, 1_709_164_800, 1_795_243_884, 4_107_542_399] {
            let ours = Instant { secs, nanos: 1 }.to_string();
            let theirs = Timestamp::new(secs, 1).unwrap().to_string();
            assert_eq!(ours, theirs);
        }
    }
}
