//! Lengths of time: `500ms`, `2s`, `10m`, `1h30m`; a plain number is seconds.

use pando_model::Millis;
use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::tree::{Kind, Scalar};

const UNITS: [(&str, f64); 5] =
    [("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0)];

/// From `MIN` to `MAX` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration<const MIN: u64, const MAX: u64>(pub(crate) Millis);

impl<const MIN: u64, const MAX: u64> Leaf for Duration<MIN, MAX> {
    fn expected() -> String {
        "a duration such as `30s`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        if scalar.kind == Kind::Bool {
            return Err(Wrong::default());
        }
        let millis = parse(&scalar.text).ok_or_else(|| {
            Wrong::with_hint("the units are `ms`, `s`, `m`, `h` and `d`; a plain number is seconds")
        })?;
        if !(MIN..=MAX).contains(&millis) {
            let (least, most) = (typed(MIN), typed(MAX));
            return Err(Wrong::because(format!("expected {least} to {most}, found `{}`", typed(millis))));
        }
        Ok(Self(Millis(millis)))
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$"},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"},
        ]})
    }
}

/// Milliseconds as one would type them: `90s`, `10m`.
pub(crate) fn typed(millis: u64) -> String {
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

fn parse(text: &str) -> Option<u64> {
    if let Some((seconds, "")) = number(text) {
        return whole(seconds * 1000.0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let (amount, after) = number(rest)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += amount * size;
        rest = next;
    }
    (!text.is_empty()).then(|| whole(total)).flatten()
}

/// The number that `text` starts with, and the rest.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let well_formed = digits.starts_with(|c: char| c.is_ascii_digit()) && !digits.ends_with('.');
    well_formed.then(|| digits.parse().ok()).flatten().map(|number| (number, rest))
}

/// To the millisecond; `None` beyond what a caller could mean (a hundred years).
fn whole(millis: f64) -> Option<u64> {
    const MOST: f64 = 3.2e12;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to MOST")]
    (0.0..=MOST).contains(&millis).then(|| millis.round() as u64)
}
