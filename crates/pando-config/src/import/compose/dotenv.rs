//! Files of variables: `.env`, which Compose fills its file in from, and those that `env_file` names.

use super::interpolate::{self, Filled, Report, Variables};

/// A variable; without a value it has that of whoever runs Compose.
pub(super) type Line = (String, Option<String>);

/// `NAME=value`, `NAME: value` or `NAME`, one a line, values perhaps quoted; later ones may be made of earlier ones. Lines that are
/// none are passed over, as are values that take what is not known.
pub(super) fn parse(text: &str, known: &Variables) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut seen = known.clone();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, typed)) = taken_apart(line) else { continue };
        let value = match typed {
            Some(typed) => match value(typed.trim_start(), &mut lines, &seen) {
                Some(value) => Some(value),
                None => continue,
            },
            None => None,
        };
        seen.extend(value.clone().map(|value| (name.to_owned(), value)));
        add(&mut found, name, value);
    }
    found
}

/// As `format: raw` has it: what stands behind `=` is the value, quotes and `$` included.
pub(super) fn parse_raw(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) =
            line.split_once('=').map_or((line.trim_end(), None), |(name, value)| (name, Some(value)));
        add(&mut found, name, value.map(str::to_owned));
    }
    found
}

/// The later one of a name counts.
fn add(found: &mut Vec<Line>, name: &str, value: Option<String>) {
    found.retain(|(given, _)| given != name);
    found.push((name.to_owned(), value));
}

/// The name, and what stands behind `=` or `:`.
fn taken_apart(line: &str) -> Option<(&str, Option<&str>)> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    let end = line.find(['=', ':']).unwrap_or(line.len());
    let (name, typed) = (line[..end].trim(), line.get(end + 1..));
    is_name(name).then_some((name, typed))
}

fn value(typed: &str, lines: &mut std::str::Lines<'_>, seen: &Variables) -> Option<String> {
    match typed.chars().next() {
        Some('\'') => Some(quoted('\'', &typed[1..], lines)),
        Some('"') => filled(&unescaped(&quoted('"', &typed[1..], lines)), seen),
        _ => filled(typed.split(" #").next().unwrap_or(typed).trim_end(), seen),
    }
}

/// Up to the closing quote, be it lines further down.
fn quoted(quote: char, typed: &str, lines: &mut std::str::Lines<'_>) -> String {
    let mut text = typed.to_owned();
    let mut escaped = false;
    let mut from = 0;
    loop {
        for (at, c) in text[from..].char_indices() {
            if c == quote && !escaped {
                text.truncate(from + at);
                return text;
            }
            escaped = c == '\\' && !escaped && quote == '"';
        }
        from = text.len();
        let Some(line) = lines.next() else { return text };
        text.push('\n');
        text.push_str(line);
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('$') => out.push_str("$$"),
                other => out.extend(other),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

/// Here secrets may be made of secrets: what looks so is kept out where it would be written.
fn filled(text: &str, seen: &Variables) -> Option<String> {
    let mut report = Report::default();
    match interpolate::fill(text, seen, &mut report) {
        Filled::Known(text) => Some(text),
        // A lone `$` is more likely a part of a password than a variable.
        Filled::Unknown(_) | Filled::Secret(_) => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variables() {
        let text = "# a comment\nA=1\nexport B = two words # told\nC='$A # kept'\nD=\"x\\n$A\"\n\nE=\nF=${A}0\nnothing\n\
                    KEY=\"-----BEGIN\nmiddle\nEND\"\nY: of yaml\nA=2\n";
        let expected = [
            ("B", Some("two words")),
            ("C", Some("$A # kept")),
            ("D", Some("x\n1")),
            ("E", Some("")),
            ("F", Some("10")),
            ("nothing", None),
            ("KEY", Some("-----BEGIN\nmiddle\nEND")),
            ("Y", Some("of yaml")),
            ("A", Some("2")),
        ];
        let owned = |(name, value): (&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(parse(text, &Variables::new()), expected.map(owned));
        let raw = [("A", Some("\"$B\" # c")), ("B", None)].map(owned);
        assert_eq!(parse_raw("# x\n\nA=1\n A=\"$B\" # c\nB\n").as_slice(), [raw[0].clone(), raw[1].clone()]);
    }
}
