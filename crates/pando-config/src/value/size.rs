//! Shares of a machine: memory in bytes, processor time in thousandths of a core.

use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::tree::{Kind, Scalar};

const LEAST_MEMORY: u64 = 4_000_000;
const MOST_MEMORY: u64 = 1 << 50;
const LEAST_CPU: f64 = 10.0;
const MOST_CPU: f64 = 1_024_000.0;

/// Bytes: `512MB` and `512M` are powers of ten, `512MiB` and `512Mi` powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) u64);

impl Leaf for Memory {
    fn expected() -> String {
        "a size such as `512MB` or `1GiB`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let given = bytes(scalar)?;
        let bytes = Some(given).filter(|bytes| (LEAST_MEMORY..=MOST_MEMORY).contains(bytes));
        bytes.map(Self).ok_or_else(|| {
            let wrong = Wrong::because(format!("expected 4MB or more, found `{}`", scalar.text));
            if scalar.text.ends_with(|c: char| c.is_ascii_digit()) {
                wrong.hint("a plain number is bytes; write the unit, such as `512MB`")
            } else {
                wrong
            }
        })
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "integer", "minimum": LEAST_MEMORY},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?([kKmMgGtT]([iI]?[bB]?)?|[bB])?$"},
        ]})
    }
}

/// Thousandths of a core: `0.5` and `500m` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpu(pub(crate) u32);

impl Leaf for Cpu {
    fn expected() -> String {
        "a number of cores such as `0.5`, or thousandths such as `500m`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        if scalar.kind == Kind::Bool {
            return Err(Wrong::default());
        }
        let (number, unit) = split(&scalar.text).ok_or_else(Wrong::default)?;
        let millis = match unit {
            "" => number * 1000.0,
            "m" => number,
            _ => return Err(Wrong::default()),
        };
        if !(LEAST_CPU..=MOST_CPU).contains(&millis) {
            return Err(Wrong::because(format!("expected 0.01 to 1024 cores, found `{}`", scalar.text)));
        }
        let millis = rounded(millis).and_then(|millis| u32::try_from(millis).ok());
        millis.map(Self).ok_or_else(Wrong::default)
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "number", "minimum": LEAST_CPU / 1000.0, "maximum": MOST_CPU / 1000.0},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?m?$"},
        ]})
    }
}

/// A number and its unit; without one, bytes.
pub(super) fn bytes(scalar: &Scalar) -> Result<u64, Wrong> {
    if scalar.kind == Kind::Bool {
        return Err(Wrong::default());
    }
    let (number, unit) = split(&scalar.text).ok_or_else(Wrong::default)?;
    let unit = unit_size(unit).ok_or_else(|| {
        Wrong::with_hint(
            "the units are `KB`, `MB`, `GB`, `TB` (powers of ten) and `KiB`, `MiB`, `GiB`, `TiB`",
        )
    })?;
    // What is beyond all bounds is larger than any.
    Ok(rounded(number * unit).unwrap_or(u64::MAX))
}

fn unit_size(unit: &str) -> Option<f64> {
    let unit = unit.to_ascii_lowercase();
    let plain = unit.strip_suffix('b').unwrap_or(&unit);
    let (base, letter): (f64, &str) =
        plain.strip_suffix('i').map_or((1000.0, plain), |letter| (1024.0, letter));
    let power = match letter {
        "" if base > 1000.0 => return None,
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(base.powi(power))
}

/// The number that `text` starts with and the unit after it, perhaps with a space between.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits.parse().ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()))?;
    Some((number, unit.strip_prefix(' ').unwrap_or(unit)))
}

fn rounded(number: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 2^60")]
    (0.0..=1.15e18).contains(&number).then(|| number.round() as u64)
}
