//! Values as people type them: lengths of time and counts per process.

use std::str::FromStr;
use std::time::Duration;

use pando_model::name::ProcessName;

/// A length of time: `90d`, `12h`, `10m`, `30s`, `500ms`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// Longer than this is a mistake in typing: a hundred years.
const LONGEST: u64 = 100 * 366 * 24 * 3600 * 1000;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a length of time, such as `10m`, `12h`, `90d` or `1h30m`");
        let mut rest = text.trim();
        let mut millis = 0_u64;
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let count: u64 = rest[..digits].parse().map_err(|_| bad())?;
            let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).map(|at| digits + at);
            let end = letters.unwrap_or(rest.len());
            let unit = unit_millis(&rest[digits..end]).ok_or_else(bad)?;
            let part = count.checked_mul(unit).ok_or_else(bad)?;
            millis = millis.checked_add(part).filter(|sum| *sum <= LONGEST).ok_or_else(bad)?;
            rest = &rest[end..];
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    })
}

/// `web=5`, or `web=file` for the count that the file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scaling {
    pub(crate) process: ProcessName,
    pub(crate) count: Option<u32>,
}

/// As many as the control plane takes.
const MOST_REPLICAS: u32 = 1000;

impl FromStr for Scaling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (process, count) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not PROCESS=COUNT, such as `web=5`, or `web=file`"))?;
        let process = ProcessName::new(process).map_err(|error| error.to_string())?;
        if count == "file" {
            return Ok(Self { process, count: None });
        }
        match count.parse() {
            Ok(number) if number <= MOST_REPLICAS => Ok(Self { process, count: Some(number) }),
            _ => Err(format!("`{count}` is not a count from 0 to {MOST_REPLICAS}, or `file`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in
            [("10m", 600), ("1h30m", 5400), ("90d", 7_776_000), ("0s", 0), ("2w", 1_209_600), ("5min", 300)]
        {
            assert_eq!(text.parse::<Span>().map(|span| span.0.as_secs()), Ok(seconds), "{text}");
        }
        for bad in ["", "10", "m", "-1m", "1.5h", "10y", "10 m", "99999999999999999999s", "9999999d", "é"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_numbers_or_the_file_s() {
        let web = ProcessName::web();
        assert_eq!("web=5".parse(), Ok(Scaling { process: web.clone(), count: Some(5) }));
        assert_eq!("web=file".parse(), Ok(Scaling { process: web, count: None }));
        for bad in ["web", "web=", "web=-1", "web=1001", "=3", "Web=1", "web=1=2"] {
            assert!(bad.parse::<Scaling>().is_err(), "{bad}");
        }
    }
}
