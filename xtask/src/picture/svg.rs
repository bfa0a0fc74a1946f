//! Lines of a terminal as an SVG: monospaced, with the colours that the program printed.

use std::fmt::Write;

const WIDTH: usize = 100;
const CELL: (f64, f64) = (8.4, 19.0);
const MARGIN: f64 = 20.0;
const TITLE: f64 = 34.0;

/// The picture of `lines`, which may hold SGR colour sequences; longer lines are cut at 100 columns.
pub(crate) fn draw(lines: &[String]) -> String {
    let columns = u32::try_from(WIDTH).unwrap_or(100);
    let rows = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let (width, height) =
        (f64::from(columns) * CELL.0 + 2.0 * MARGIN, f64::from(rows) * CELL.1 + TITLE + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#16181d\"/>\n\
         <circle cx=\"20\" cy=\"18\" r=\"5\" fill=\"#e06c60\"/><circle cx=\"38\" cy=\"18\" r=\"5\" fill=\"#e5b567\"/><circle cx=\"56\" cy=\"18\" r=\"5\" fill=\"#7bb661\"/>\n"
    );
    let mut y = TITLE + 14.0;
    for line in lines {
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{}</text>", spans(line));
        y += CELL.1;
    }
    svg.push_str("</svg>\n");
    svg
}

fn spans(line: &str) -> String {
    let prompt = line.starts_with("$ ");
    let (mut style, mut out, mut left) =
        (if prompt { "#8fd0ff" } else { "#d5d8de" }.to_owned(), String::new(), WIDTH);
    let mut rest = line;
    while !rest.is_empty() && left > 0 {
        if let Some((code, after)) = escape(rest) {
            if let Some(colour) = colour(code) {
                colour.clone_into(&mut style);
            }
            rest = after;
            continue;
        }
        let end = rest.find('\u{1b}').filter(|end| *end > 0).unwrap_or(rest.len());
        let text: String = rest[..end].chars().take(left).collect();
        left -= text.chars().count();
        let _ = write!(out, "<tspan fill=\"{style}\">{}</tspan>", quoted(&text));
        rest = &rest[end..];
    }
    out
}

/// A colour sequence at the start: its numbers, and what follows it.
fn escape(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.find(|c: char| c.is_ascii_alphabetic())?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// `None`: keep the colour (bold, underline).
fn colour(code: &str) -> Option<&'static str> {
    let last = code.rsplit(';').next().unwrap_or_default();
    match last {
        "" | "0" | "39" | "22" => Some("#d5d8de"),
        "31" | "91" => Some("#e06c60"),
        "32" | "92" => Some("#7bb661"),
        "33" | "93" => Some("#e5b567"),
        "34" | "94" | "36" | "96" => Some("#8fd0ff"),
        "35" | "95" => Some("#c99bd8"),
        "2" | "90" => Some("#8a909c"),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_spans_and_markup_is_quoted() {
        let line = "\u{1b}[32mok\u{1b}[0m a<b".to_owned();
        let drawn = draw(&[line]);
        assert!(drawn.contains("<tspan fill=\"#7bb661\">ok</tspan>"), "{drawn}");
        assert!(drawn.contains("<tspan fill=\"#d5d8de\"> a&lt;b</tspan>"), "{drawn}");
        assert!(!drawn.contains('\u{1b}'));
    }
}
