//! Moments as logs write them.

use std::cell::RefCell;
use std::io::Write;
use std::thread::LocalKey;

/// A second, and how it is written.
type Last = RefCell<(i64, Vec<u8>)>;

thread_local! {
    static RFC3339: Last = const { RefCell::new((i64::MIN, Vec::new())) };
    static APACHE: Last = const { RefCell::new((i64::MIN, Vec::new())) };
}

/// `2026-11-02T10:20:30.456Z`
pub(in super::super) fn rfc3339(millis: i64, out: &mut Vec<u8>) {
    once_a_second(&RFC3339, millis, out, write_rfc3339);
    three_digits(millis.rem_euclid(1000).unsigned_abs(), out);
    out.push(b'Z');
}

/// Of a number below 1000.
pub(super) fn three_digits(number: u64, out: &mut Vec<u8>) {
    let digit = |place: u64| b'0' + (number / place % 10).to_le_bytes()[0];
    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
}

/// `02/Nov/2026:10:20:30 +0000`
pub(in super::super) fn apache(millis: i64, out: &mut Vec<u8>) {
    once_a_second(&APACHE, millis, out, write_apache);
}

/// What the thread wrote last is right for the whole second.
fn once_a_second(
    last: &'static LocalKey<Last>,
    millis: i64,
    out: &mut Vec<u8>,
    write: impl Fn(i64, &mut Vec<u8>),
) {
    let second = millis.div_euclid(1000);
    last.with_borrow_mut(|(at, text)| {
        if *at != second {
            text.clear();
            write(millis, text);
            *at = second;
        }
        out.extend_from_slice(text);
    });
}

/// Without the milliseconds and what follows them.
fn write_rfc3339(millis: i64, out: &mut Vec<u8>) {
    let Civil { year, month, day, hour, minute, second } = Civil::of(millis);
    // Writing to memory doesn't fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
}

fn write_apache(millis: i64, out: &mut Vec<u8>) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Civil { year, month, day, hour, minute, second } = Civil::of(millis);
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    let _ = write!(out, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000");
}

/// A moment in UTC as calendars write it.
#[derive(Debug, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// The days are counted from 1 March of a year 0, in eras of 400 years, so that leap days come last.
    fn of(unix_millis: i64) -> Self {
        let seconds = unix_millis.div_euclid(1000);
        let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            rfc3339(millis, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
