//! Numbers and booleans that stand without quotes where a text is meant: Compose makes texts of them by rules of its own.

use crate::tree::{Entry, Kind, Node, Scalar, Value};

/// A service with the values of its variables and of its build's arguments as texts.
pub(super) fn as_texts(service: &Node) -> Node {
    let in_service = |entry: &Entry| match entry.key.as_str() {
        "environment" | "labels" => texts(&entry.value),
        "build" => keys(&entry.value, |entry| match entry.key.as_str() {
            "args" => texts(&entry.value),
            _ => entry.value.clone(),
        }),
        _ => entry.value.clone(),
    };
    keys(service, in_service)
}

fn texts(node: &Node) -> Node {
    keys(node, |entry| match entry.value.scalar() {
        Some(scalar) => Node { span: entry.value.span, value: Value::Scalar(text(scalar)) },
        None => entry.value.clone(),
    })
}

/// A map with other values.
fn keys(node: &Node, value: impl Fn(&Entry) -> Node) -> Node {
    let Some(entries) = node.entries() else { return node.clone() };
    let entries = entries.iter().map(|entry| Entry { value: value(entry), ..entry.clone() });
    Node { span: node.span, value: Value::Map(entries.collect()) }
}

fn text(scalar: &Scalar) -> Scalar {
    let read = match scalar.kind {
        Kind::Null | Kind::Text => return scalar.clone(),
        Kind::Bool => Some(scalar.text.to_ascii_lowercase()),
        Kind::Integer => integer(&scalar.text).or_else(|| float(&scalar.text)),
        Kind::Float => float(&scalar.text),
    };
    Scalar::text(read.unwrap_or_else(|| scalar.text.clone()))
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
    let number = u64::from_str_radix(digits, radix).ok()?;
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
    fn numbers_are_written_as_compose_writes_them() {
        for (kind, typed, expected) in [
            (Kind::Bool, "True", "true"),
            (Kind::Bool, "FALSE", "false"),
            (Kind::Float, "1.50", "1.5"),
            (Kind::Float, "1.0", "1"),
            (Kind::Float, "1e3", "1000"),
            (Kind::Float, "1e21", "1e+21"),
            (Kind::Float, "0.00001", "1e-05"),
            (Kind::Float, ".inf", ".inf"),
            (Kind::Integer, "012", "10"),
            (Kind::Integer, "0o17", "15"),
            (Kind::Integer, "0x1F", "31"),
            (Kind::Integer, "089", "89"),
            (Kind::Integer, "-1", "-1"),
            (Kind::Integer, "+1", "1"),
            (Kind::Integer, "12345678901234567890", "12345678901234567890"),
            (Kind::Text, "1.50", "1.50"),
        ] {
            assert_eq!(text(&Scalar { text: typed.to_owned(), kind }).text, expected, "{typed}");
        }
    }
}
