//! A problem as text: place, message, the line it is in with the words meant
//! underlined, and the hint.

use std::fmt::Write as _;

use super::{Problem, Severity};
use crate::source::Position;

/// Wider than this and a terminal wraps the line, so that the carets point nowhere.
const WIDEST: usize = 100;

pub(super) fn problem(problem: &Problem, colour: bool) -> String {
    let paint = Paint { colour };
    let (word, code) = match problem.severity {
        Severity::Error => ("error", "1;31"),
        Severity::Warning => ("warning", "1;33"),
    };
    let name: String = problem.file().chars().map(visible).collect();
    let mut out = String::new();
    let place = problem.position();
    let at = place.map_or_else(|| name.clone(), |place| format!("{name}:{}:{}", place.line, place.column));
    let message: String = problem.message.chars().map(visible).collect();
    let _ = writeln!(out, "{at}: {}: {}", paint.with(code, word), paint.with("1", &message));
    let margin = place.map_or(0, |place| place.line.to_string().len()) + 2;
    if let Some(place) = place.filter(|_| !problem.hidden) {
        excerpt(&mut out, problem.file.line(place.line), place, &paint, code);
    }
    if let Some(hint) = &problem.hint {
        let hint: String = hint.chars().map(visible).collect();
        let _ = writeln!(out, "{:margin$}{} {hint}", "", paint.with("1;36", "help:"));
    }
    out
}

fn excerpt(out: &mut String, line: &str, place: Position, paint: &Paint, code: &str) {
    let masked: Vec<char> = mask_passwords(line).chars().map(visible).collect();
    let column = place.column - 1;
    let first = window_start(masked.len(), column, place.length);
    let shown: String = masked.iter().skip(first).take(WIDEST).collect();
    if shown.trim().is_empty() {
        return;
    }
    let indent = column - first;
    let carets = "^".repeat(place.length.min(WIDEST.saturating_sub(indent)).max(1));
    let number = place.line.to_string();
    let gutter = number.len();
    let _ = writeln!(out, " {} {shown}", paint.with("1;34", &format!("{number} |")));
    let _ = writeln!(
        out,
        " {} {:indent$}{}",
        paint.with("1;34", &format!("{:gutter$} |", "")),
        "",
        paint.with(code, &carets)
    );
}

/// The first character to show of a line, so that the words meant are within the window.
fn window_start(line_length: usize, column: usize, length: usize) -> usize {
    let end = (column + length.min(WIDEST / 2)).min(line_length.max(column));
    if end <= WIDEST { 0 } else { (end - WIDEST / 2).min(column) }
}

/// What a terminal may be shown of `character`: a file must not move its cursor or change its colours.
pub(super) fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        c if c.is_control() || is_bidirectional_control(c) => '\u{fffd}',
        c => c,
    }
}

fn is_bidirectional_control(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The line with the password of each `scheme://user:password@host` starred, as long as before.
fn mask_passwords(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ','))
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        out.push_str(&mask_authority(authority));
        rest = tail;
    }
    out + rest
}

fn mask_authority(authority: &str) -> String {
    let Some((user, host)) = authority.rsplit_once('@') else { return authority.to_owned() };
    let Some((name, password)) = user.split_once(':') else { return authority.to_owned() };
    format!("{name}:{}@{host}", "*".repeat(password.chars().count()))
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::Sink;
    use crate::source::{SourceFile, Span};

    fn rendered(text: &str, span: Span) -> String {
        let mut sink = Sink::new(Arc::new(SourceFile::new("pando.yaml", text)));
        sink.error_hint(span, "wrong", "do it right");
        sink.into_problems().render(false)
    }

    #[test]
    fn the_words_meant_are_underlined() {
        insta::assert_snapshot!(rendered("name: a\nreplicas: three\n", Span::new(18, 23)), @r"
        pando.yaml:2:11: error: wrong
         2 | replicas: three
           |           ^^^^^
           help: do it right
        ");
    }

    #[test]
    fn a_long_line_is_shown_around_the_words_meant() {
        let line = format!("{{\"a\": \"{}\", \"b\": 1}}", "x".repeat(500));
        let start = line.find("\"b\"").unwrap();
        let text = rendered(&line, Span::new(start, start + 3));
        let lines: Vec<&str> = text.lines().collect();
        let (shown, carets) = (lines[1], lines[2]);
        assert!(shown.chars().count() <= WIDEST + 5, "{shown}");
        let at = carets.find('^').unwrap();
        assert_eq!(&shown[at..at + 3], "\"b\"");
    }

    #[test]
    fn a_file_can_not_play_with_the_terminal_nor_show_a_password() {
        let text = rendered("a: \u{1b}[31mred\tX\u{202e}\n", Span::new(0, 1));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\t'), "{text}");
        let text = rendered("v: postgres://app:s3cret@localhost/db, x: http://plain/\n", Span::new(0, 1));
        assert!(text.contains("postgres://app:******@localhost/db, x: http://plain/"), "{text}");
    }
}
