//! How a record looks as a line.

use std::fmt::Write;

use pando_http::Version;
use serde::Serialize;

use super::{Outcome, Record};
use crate::settings::LogFormat;

/// Appends one line, with its end.
pub(super) fn line(format: LogFormat, record: &Record, out: &mut String) {
    match format {
        LogFormat::Json => json(record, out),
        LogFormat::Combined => combined(record, out),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: std::net::IpAddr,
    method: &'a str,
    host: &'a str,
    target: &'a str,
    version: &'static str,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    pool: Option<&'a str>,
    endpoint: Option<std::net::SocketAddr>,
    retries: u32,
    outcome: &'static str,
    request_id: &'a str,
    user_agent: &'a str,
    referer: &'a str,
}

fn json(record: &Record, out: &mut String) {
    #[allow(clippy::cast_precision_loss)]
    let duration_ms = record.took.as_micros() as f64 / 1000.0;
    let line = Line {
        time: rfc3339(record.at_millis),
        client: record.client,
        method: &record.method,
        host: &record.host,
        target: &record.target,
        version: version(record.version),
        status: record.status,
        bytes: record.bytes,
        duration_ms,
        pool: record.pool.as_ref().map(|pool| pool.0.as_str()),
        endpoint: record.endpoint,
        retries: record.retries,
        outcome: match record.outcome {
            Outcome::Whole => "whole",
            Outcome::Cut => "cut",
            Outcome::Cancelled => "cancelled",
        },
        request_id: &record.id,
        user_agent: &record.user_agent,
        referer: &record.referer,
    };
    // Plain values always serialise.
    if let Ok(text) = serde_json::to_string(&line) {
        out.push_str(&text);
        out.push('\n');
    }
}

fn combined(record: &Record, out: &mut String) {
    let status = if record.status == 0 { 499 } else { record.status };
    // Writing to a string doesn't fail.
    let _ = write!(out, "{} - - [{}] \"{} ", record.client, apache_time(record.at_millis), record.method);
    quoted(&record.target, out);
    let _ = write!(out, " {}\" {status} {} \"", version(record.version), record.bytes);
    quoted(or_dash(&record.referer), out);
    out.push_str("\" \"");
    quoted(or_dash(&record.user_agent), out);
    out.push_str("\"\n");
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// As Apache does it: nothing that a client sends ends the quotes or the line.
fn quoted(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn version(version: Version) -> &'static str {
    if version == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// `2026-11-02T10:20:30.456Z`
fn rfc3339(millis: i64) -> String {
    let Civil { year, month, day, hour, minute, second, millis } = Civil::of(millis);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// `02/Nov/2026:10:20:30 +0000`
fn apache_time(millis: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(millis);
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
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
    millis: i64,
}

impl Civil {
    /// The days are counted from 1 March of a year 0, in eras of 400 years, so that leap days come last.
    fn of(unix_millis: i64) -> Self {
        let (seconds, millis) = (unix_millis.div_euclid(1000), unix_millis.rem_euclid(1000));
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
            millis,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asked::Asked;
    use crate::client::Client;
    use crate::forward::Id;
    use crate::inbox::Inbox;

    fn record() -> Record {
        let mut asked = Asked::blank();
        let paper = &mut *asked;
        paper.bytes = Inbox::holding(
            b"GET /x?q=1 HTTP/1.1\r\nhost: a.example\r\nx-request-id: id-1\r\nuser-agent: evil\"\\ \xff agent\r\n\r\n",
        );
        paper.head.read(paper.bytes.bytes(), &pando_http::Limits::default()).unwrap();
        let client = Client { address: "10.0.0.1:1".parse().unwrap() };
        let id = paper.head.fields.only(pando_http::Known::XRequestId).unwrap().value;
        let mut record = Record::of(&asked, client, &Id::Given(id), 1_793_614_830_456);
        record.status = 200;
        record.bytes = 12;
        record.took = std::time::Duration::from_micros(1_500);
        record.outcome = Outcome::Whole;
        record
    }

    #[test]
    fn combined_lines_cannot_be_forged() {
        let mut out = String::new();
        line(LogFormat::Combined, &record(), &mut out);
        let expected = "10.0.0.1 - - [02/Nov/2026:10:20:30 +0000] \"GET /x?q=1 HTTP/1.1\" 200 12 \"-\" \"evil\\\"\\\\ \u{fffd} agent\"\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn json_lines_are_whole_objects() {
        let mut out = String::new();
        line(LogFormat::Json, &record(), &mut out);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["time"], "2026-11-02T10:20:30.456Z");
        assert_eq!(value["status"], 200);
        assert_eq!(value["duration_ms"], 1.5);
        assert_eq!(value["request_id"], "id-1");
        assert_eq!(value["outcome"], "whole");
        assert_eq!(out.matches('\n').count(), 1);
    }

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
            assert_eq!(rfc3339(millis), text);
        }
    }
}
