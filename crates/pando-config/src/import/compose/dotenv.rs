//! Files of variables: `.env`, which Compose fills its file in from, and those that `env_file` names.

use super::interpolate::{self, Filled, Report, Variables};

/// `NAME=value`, one a line, perhaps quoted; later ones may be made of earlier ones. Lines that are none are passed over, as are
/// values that take what is not known.
pub(super) fn parse(text: &str, known: &Variables) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut seen = known.clone();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, typed)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let name = name.trim();
        let Some(value) = value(typed.trim_start(), &mut lines, &seen) else { continue };
        seen.insert(name.to_owned(), value.clone());
        found.retain(|(given, _)| given != name);
        found.push((name.to_owned(), value));
    }
    found
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
                    KEY=\"-----BEGIN\nmiddle\nEND\"\nA=2\n";
        let expected = [
            ("B", "two words"),
            ("C", "$A # kept"),
            ("D", "x\n1"),
            ("E", ""),
            ("F", "10"),
            ("KEY", "-----BEGIN\nmiddle\nEND"),
            ("A", "2"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text, &Variables::new()), expected);
    }
}
