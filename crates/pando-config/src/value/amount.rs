//! Numbers: counts, ports, percents.

use pando_model::app;
use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::{Kind, Scalar};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Leaf for Count<MIN, MAX> {
    fn expected() -> String {
        format!("a count from {MIN} to {MAX}")
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        match scalar.as_integer() {
            Some(_) if scalar.kind == Kind::Text => Err(Wrong::with_hint("write it without quotes")),
            Some(number) => in_range(number, MIN, MAX).map(Self),
            None => Err(number_word(&scalar.text)),
        }
    }

    fn schema() -> Json {
        json!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

/// A TCP port, as a number or as text (`"8080"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port(pub(crate) u16);

impl Leaf for Port {
    fn expected() -> String {
        "a port from 1 to 65535".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let number = scalar.as_integer().ok_or_else(Wrong::default)?;
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        port.map(Self).ok_or_else(|| out_of_range(number, 1, 65535))
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 65535},
            {"type": "string", "pattern": "^[0-9]{1,5}$"},
        ]})
    }
}

/// A count, or a share such as `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount(pub(crate) app::Amount);

impl Leaf for Amount {
    fn expected() -> String {
        "a count or a percentage such as `25%`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        if scalar.text.ends_with('%') {
            return Percent::parse(scalar).map(|percent| Self(app::Amount::Percent(percent.0)));
        }
        match scalar.as_integer() {
            Some(number) if scalar.kind != Kind::Text => {
                in_range(number, 0, 1000).map(|count| Self(app::Amount::Count(count)))
            }
            Some(_) => Err(Wrong::with_hint("write it without quotes")),
            None => Err(number_word(&scalar.text)),
        }
    }

    fn schema() -> Json {
        json!({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 1000}, Percent::schema()]})
    }
}

/// `0%` to `100%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u32);

impl Leaf for Percent {
    fn expected() -> String {
        "a percentage such as `60%`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let Some(digits) = scalar.text.strip_suffix('%') else {
            let hint = scalar.as_integer().map(|number| format!("write `{number}%`"));
            return Err(Wrong { hint, ..Wrong::default() });
        };
        let number: i128 = digits.parse().map_err(|_| Wrong::default())?;
        match u32::try_from(number) {
            Ok(percent) if percent <= 100 => Ok(Self(percent)),
            _ => Err(Wrong::because(format!("expected `0%` to `100%`, found {}", quoted(&scalar.text)))),
        }
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(100|[0-9]{1,2})%$"})
    }
}

/// A number above zero, perhaps with a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decimal(pub(crate) f64);

impl Leaf for Decimal {
    fn expected() -> String {
        "a number above 0".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let typed_as_number = matches!(scalar.kind, Kind::Integer | Kind::Float);
        let number = typed_as_number.then(|| scalar.text.parse::<f64>().ok()).flatten();
        number.filter(|number| number.is_finite() && *number > 0.0).map(Self).ok_or_else(Wrong::default)
    }

    fn schema() -> Json {
        json!({"type": "number", "exclusiveMinimum": 0})
    }
}

fn in_range(number: i128, min: u32, max: u32) -> Result<u32, Wrong> {
    let fits = u32::try_from(number).ok().filter(|number| (min..=max).contains(number));
    fits.ok_or_else(|| out_of_range(number, min, max))
}

fn out_of_range(number: i128, min: u32, max: u32) -> Wrong {
    Wrong::because(format!("expected a number from {min} to {max}, found `{number}`"))
}

/// For `three` instead of `3`.
fn number_word(text: &str) -> Wrong {
    const WORDS: [&str; 11] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let number = WORDS.iter().position(|word| text.eq_ignore_ascii_case(word));
    Wrong { hint: number.map(|number| format!("write `{number}`")), ..Wrong::default() }
}
