//! Lines that come to stay and, on a terminal, lines below them that change.
//!
//! Without a terminal only the lines that stay are printed. What the lines say
//! is for others to decide.

use std::io::{self, Write as _};

use crate::printer::Printer;
use crate::terminal;

/// The part of stderr that this program draws anew. Dropping it wipes the changing lines.
#[derive(Debug)]
pub(crate) struct Progress {
    printer: Printer,
    /// The changing lines as they are on the screen.
    drawn: Vec<String>,
}

impl Progress {
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, drawn: Vec::new() }
    }

    /// Whether [`Progress::show`] does anything.
    pub(crate) fn is_live(&self) -> bool {
        self.printer.is_live()
    }

    /// A line that stays, above those that change.
    pub(crate) fn keep(&mut self, line: &str) {
        if !self.is_live() {
            return self.printer.talk(line);
        }
        let lines: Vec<&str> = [line].into_iter().chain(self.drawn.iter().map(String::as_str)).collect();
        self.write(&redrawing(self.drawn.len(), &lines));
    }

    /// All of these lines stay, in place of those that change; without a terminal they are talk.
    pub(crate) fn leave(&mut self, lines: &[String]) {
        if !self.is_live() {
            return lines.iter().for_each(|line| self.printer.talk(line));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.write(&redrawing(self.drawn.len(), &lines));
        self.drawn.clear();
    }

    /// The lines that change, in place of those before, as many as fit on the screen. Nothing without a terminal.
    pub(crate) fn show(&mut self, lines: &[String]) {
        if !self.is_live() {
            return;
        }
        let (columns, rows) = terminal::talk_size();
        let fitting: Vec<String> =
            lines.iter().take(rows.saturating_sub(1)).map(|line| cut(line, columns)).collect();
        if fitting != self.drawn {
            let lines: Vec<&str> = fitting.iter().map(String::as_str).collect();
            self.write(&redrawing(self.drawn.len(), &lines));
            self.drawn = fitting;
        }
    }

    /// Wipes the lines that change.
    pub(crate) fn clear(&mut self) {
        self.show(&[]);
    }

    fn write(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // A screen that went away must not stop the work.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Up over the lines that are drawn, each overwritten, and what is left of them wiped. Wiping all of them first would
/// flicker, and some terminals keep what is wiped from the top of the screen.
fn redrawing(drawn: usize, lines: &[&str]) -> String {
    let up = if drawn == 0 { String::new() } else { format!("\u{1b}[{drawn}A\r") };
    let end = if drawn == 0 { "" } else { "\u{1b}[K" };
    let lines_of_it: String = lines.iter().map(|line| format!("{line}{end}\n")).collect();
    let rest = if drawn > lines.len() { "\u{1b}[J" } else { "" };
    format!("{up}{lines_of_it}{rest}")
}

/// So that a line takes one row of the screen. Escape sequences take no room.
fn cut(line: &str, columns: usize) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut room, mut in_escape) = (columns.saturating_sub(1), false);
    let mut cut_off = false;
    for character in line.chars() {
        if in_escape || character == '\u{1b}' {
            in_escape = character != 'm';
            out.push(character);
        } else if room > 0 {
            room -= 1;
            out.push(character);
        } else {
            cut_off = true;
        }
    }
    if cut_off { out + "\u{1b}[0m…" } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_one_row_and_keeps_its_colours() {
        assert_eq!(cut("short", 80), "short");
        assert_eq!(cut("0123456789", 8), "0123456\u{1b}[0m…");
        assert_eq!(cut("\u{1b}[31mred\u{1b}[0m", 4), "\u{1b}[31mred\u{1b}[0m");
    }

    #[test]
    fn what_was_drawn_is_overwritten_and_the_rest_of_it_wiped() {
        assert_eq!(redrawing(0, &["a", "b"]), "a\nb\n");
        assert_eq!(redrawing(2, &["a", "b"]), "\u{1b}[2A\ra\u{1b}[K\nb\u{1b}[K\n");
        assert_eq!(redrawing(2, &["a"]), "\u{1b}[2A\ra\u{1b}[K\n\u{1b}[J");
        assert_eq!(redrawing(2, &[]), "\u{1b}[2A\r\u{1b}[J");
    }
}
