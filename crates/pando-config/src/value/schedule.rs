//! When a scheduled command runs.

use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::Scalar;

/// The fields of a cron expression: name, least, most, names of values from the least on.
const FIELDS: [(&str, u32, u32, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const WORDS: [&str; 6] = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly"];

/// Five fields: minute, hour, day of the month, month, day of the week; or a word such as `@daily`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron(pub(crate) String);

impl Leaf for Cron {
    fn expected() -> String {
        "a cron expression such as `0 3 * * *`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let text = scalar.text.trim();
        if WORDS.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            let reason = format!("a cron expression has 5 fields, and this has {}", fields.len());
            return Err(Wrong::because(reason).hint("minute, hour, day of the month, month, day of the week"));
        }
        for (field, (name, least, most, names)) in fields.iter().zip(FIELDS) {
            if !field.split(',').all(|part| part_fits(part, least, most, names)) {
                let reason = format!("{} is not right for the {name}", quoted(field));
                return Err(Wrong::because(reason).hint(format!("it goes from {least} to {most}, or is `*`")));
            }
        }
        Ok(Self(fields.join(" ")))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^\\s*(@[a-z]+|(\\S+\\s+){4}\\S+)\\s*$"})
    }
}

/// `*`, `5`, `1-5`, `*/10`, `0-30/10`.
fn part_fits(part: &str, least: u32, most: u32, names: &[&str]) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let step_fits = step.is_none_or(|step| step.parse().is_ok_and(|step: u32| (1..=most).contains(&step)));
    let value = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(index) => u32::try_from(index).ok()? + least,
            None => text.parse().ok()?,
        };
        (least..=most).contains(&number).then_some(number)
    };
    let range_fits = match range.split_once('-') {
        _ if range == "*" => true,
        Some((from, to)) => matches!((value(from), value(to)), (Some(from), Some(to)) if from <= to),
        None => value(range).is_some(),
    };
    step_fits && range_fits
}

/// The name of a time zone, such as `Europe/Paris`. Only its form is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeZone(pub(crate) String);

impl Leaf for TimeZone {
    fn expected() -> String {
        "a time zone such as `Europe/Paris` or `UTC`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
        };
        if scalar.text.split('/').all(part) { Ok(Self(scalar.text.clone())) } else { Err(Wrong::default()) }
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[A-Za-z][-A-Za-z0-9_+]*(/[A-Za-z][-A-Za-z0-9_+]*)*$"})
    }
}
