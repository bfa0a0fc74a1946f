//! What plain scalars and tags of YAML mean: by YAML 1.2's core schema, or as Compose reads them.
//!
//! Compose is written in Go, and its library has rules of its own: `012` is octal, `1_000` is a number, and a date is a date. It then
//! makes texts of numbers where a text is meant; here they are read as those texts at once.

use crate::tree::{Kind, Merge, Scalar};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Pando,
    Compose,
}

impl Dialect {
    /// A scalar without quotes.
    pub(super) fn plain(self, text: String) -> Scalar {
        match self {
            Self::Pando => Scalar { kind: plain_kind(&text), text },
            Self::Compose => of_go(text),
        }
    }

    /// What a tag says of merging, where the dialect has such tags.
    pub(super) fn merge(self, tag: &str) -> Option<Merge> {
        match (self, tag) {
            (Self::Compose, "reset") => Some(Merge::Remove),
            (Self::Compose, "override") => Some(Merge::Replace),
            _ => None,
        }
    }
}

fn plain_kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Bool,
        _ if is_integer(text) => Kind::Integer,
        _ if is_float(text) => Kind::Float,
        _ => Kind::Text,
    }
}

fn is_integer(text: &str) -> bool {
    let all = |digits: &str, is: fn(&char) -> bool| !digits.is_empty() && digits.chars().all(|c| is(&c));
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, char::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |c| matches!(c, '0'..='7'));
    }
    all(text.strip_prefix(['+', '-']).unwrap_or(text), char::is_ascii_digit)
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let special = matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    let digits = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    special || (digits && unsigned.parse::<f64>().is_ok())
}

/// As Go's library for YAML reads it, and as Go then writes it.
fn of_go(typed: String) -> Scalar {
    let without_marks = typed.replace('_', "");
    let starts_so = typed.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
    let (kind, text) = match plain_kind(&typed) {
        Kind::Bool => (Kind::Bool, typed.to_ascii_lowercase()),
        Kind::Null => (Kind::Null, typed),
        _ if is_date(&typed) => (Kind::Date, typed),
        // Infinity, or no number at all.
        Kind::Float if !typed.contains(|c: char| c.is_ascii_digit()) => (Kind::Float, typed),
        _ => match (integer(&without_marks), float(&without_marks)) {
            (Some(text), _) if starts_so => (Kind::Integer, text),
            (_, Some(text)) if starts_so || typed == without_marks => (Kind::Float, text),
            _ => (Kind::Text, typed),
        },
    };
    Scalar { text, kind }
}

/// `2024-1-31`, perhaps with a time behind it.
fn is_date(typed: &str) -> bool {
    let (date, time) = typed.split_at(typed.find(['T', 't', ' ']).unwrap_or(typed.len()));
    let parts: Vec<&str> = date.split('-').collect();
    let digits = |part: &str, longest: usize| {
        (1..=longest).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let [year, month, day] = parts[..] else { return false };
    let is_day = year.len() == 4 && digits(year, 4) && digits(month, 2) && digits(day, 2);
    let of_time = |c: char| c.is_ascii_digit() || "Tt :.+-Zz".contains(c);
    is_day && (time.is_empty() || (time.contains(':') && time.chars().all(of_time)))
}

/// By Go's rules: with a zero in front it is octal.
fn integer(typed: &str) -> Option<String> {
    let (sign, digits) = match typed.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", typed.strip_prefix('+').unwrap_or(typed)),
    };
    let (radix, digits) = match digits.get(..2).unwrap_or_default() {
        "0x" | "0X" => (16, &digits[2..]),
        "0o" | "0O" => (8, &digits[2..]),
        "0b" | "0B" => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    };
    let number = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))?;
    Some(if number == 0 { "0".to_owned() } else { format!("{sign}{number}") })
}

/// As short as it can be, and with an exponent where it is very large or very small.
fn float(typed: &str) -> Option<String> {
    let number: f64 = typed.parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    let size = number.abs();
    if size == 0.0 || (1e-4..1e21).contains(&size) {
        return Some(number.to_string());
    }
    let shown = format!("{number:e}");
    let (digits, exponent) = shown.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let sign = if exponent < 0 { '-' } else { '+' };
    Some(format!("{digits}e{sign}{:02}", exponent.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_of_compose_are_what_go_makes_of_them() {
        use Kind::{Bool, Date, Float, Integer, Null, Text};
        for (typed, kind, expected) in [
            ("True", Bool, "true"),
            ("FALSE", Bool, "false"),
            ("~", Null, "~"),
            ("yes", Text, "yes"),
            ("on", Text, "on"),
            ("1.50", Float, "1.5"),
            ("1.0", Float, "1"),
            ("5.", Float, "5"),
            ("-.5", Float, "-0.5"),
            ("1e3", Float, "1000"),
            ("1e21", Float, "1e+21"),
            ("0.00001", Float, "1e-05"),
            ("1_000.5", Float, "1000.5"),
            ("1e400", Text, "1e400"),
            (".inf", Float, ".inf"),
            ("-.Inf", Float, "-.Inf"),
            (".nan", Float, ".nan"),
            ("inf", Text, "inf"),
            ("nan", Text, "nan"),
            ("infinity", Text, "infinity"),
            ("012", Integer, "10"),
            ("0o17", Integer, "15"),
            ("0x1F", Integer, "31"),
            ("-0x1F", Integer, "-31"),
            ("0b101", Integer, "5"),
            ("089", Float, "89"),
            ("-1", Integer, "-1"),
            ("+1", Integer, "1"),
            ("1_000", Integer, "1000"),
            ("_1", Text, "_1"),
            ("1_000s", Text, "1_000s"),
            ("12:30", Text, "12:30"),
            ("1.2.3", Text, "1.2.3"),
            ("--1", Text, "--1"),
            ("-", Text, "-"),
            ("12345678901234567890", Integer, "12345678901234567890"),
            ("123456789012345678901", Float, "123456789012345680000"),
            ("2024-01-31", Date, "2024-01-31"),
            ("2024-1-31 10:00:00", Date, "2024-1-31 10:00:00"),
            ("2024-01-31T10:00:00Z", Date, "2024-01-31T10:00:00Z"),
            ("2024-01", Text, "2024-01"),
            ("2024-01-31-rc1", Text, "2024-01-31-rc1"),
        ] {
            let read = Dialect::Compose.plain(typed.to_owned());
            assert_eq!((read.kind, read.text.as_str()), (kind, expected), "{typed}");
        }
    }
}
