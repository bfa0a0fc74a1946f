//! What goes to stdout (data) and to stderr (talk), and in which colours.
//!
//! A reader of stdout that leaves (`pando logs | head`) is no failure of ours;
//! `exit` knows it by its error. Nobody listening to talk is no failure at all.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::cli::{Color, GlobalArgs};

/// Where everything that a command says goes through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
    out: Paint,
    err: Paint,
    live: bool,
    label: Option<Label>,
}

/// What each line of talk begins with: a name, which is a DNS label, and the width of its column.
#[derive(Debug, Clone, Copy)]
struct Label {
    name: [u8; Label::LONGEST],
    length: usize,
    width: usize,
    colour: usize,
}

impl Label {
    const LONGEST: usize = 63;

    fn render(&self, paint: Paint) -> String {
        let name = String::from_utf8_lossy(&self.name[..self.length]);
        paint.with(Style::Source(self.colour), &format!("{name:<width$} | ", width = self.width))
    }
}

impl Printer {
    /// Looks at the terminal and the environment once.
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let out = io::stdout().is_terminal();
        let err = io::stderr().is_terminal();
        let plain = is_set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = |terminal: bool| Paint {
            colour: match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal && !plain,
            },
        };
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { json: global.json, out: paint(out), err: paint(err), live: err && !dumb, label: None }
    }

    /// For one of several that talk at the same time: each line begins with `name`, padded to `width`, and none is drawn
    /// anew. Of a name, 63 bytes are shown.
    pub(crate) fn labelled(self, name: &str, width: usize, colour: usize) -> Self {
        let length =
            (0..=Label::LONGEST.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        let mut bytes = [0; Label::LONGEST];
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self { label: Some(Label { name: bytes, length, width, colour }), live: false, ..self }
    }

    /// Data is wanted as JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Lines on stderr may be drawn anew.
    pub(crate) fn is_live(self) -> bool {
        self.live
    }

    /// The colours of stdout.
    pub(crate) fn paint(self) -> Paint {
        self.out
    }

    /// The colours of stderr.
    pub(crate) fn talk_paint(self) -> Paint {
        self.err
    }

    /// A line of data.
    pub(crate) fn line(self, text: impl Display) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout().lock(), "{text}")?)
    }

    /// Lines of data, all at once.
    pub(crate) fn lines(self, lines: &[String]) -> anyhow::Result<()> {
        let mut text = lines.join("\n");
        text.push('\n');
        Ok(io::stdout().lock().write_all(text.as_bytes())?)
    }

    /// A value on one line of JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(text)
    }

    /// A line of talk.
    pub(crate) fn talk(self, text: impl Display) {
        // Talk that nobody can hear must not stop the work.
        let _ = match self.label.map(|label| label.render(self.err)) {
            None => writeln!(io::stderr().lock(), "{text}"),
            Some(label) => io::stderr().lock().write_all(labelled(&label, &text.to_string()).as_bytes()),
        };
    }

    /// Something that a person should know, and that stops nothing.
    pub(crate) fn warn(self, text: impl Display) {
        self.talk(format_args!("{} {text}", self.err.with(Style::Warn, "warning:")));
    }
}

fn labelled(label: &str, text: &str) -> String {
    text.lines().map(|line| format!("{label}{line}\n")).collect()
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    Hint,
    /// One of six colours that tell sources apart.
    Source(usize),
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    colour: bool,
}

impl Paint {
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false }
    }

    #[cfg(test)]
    pub(crate) fn coloured() -> Self {
        Self { colour: true }
    }

    pub(crate) fn is_coloured(self) -> bool {
        self.colour
    }

    pub(crate) fn with(self, style: Style, text: &str) -> String {
        const SOURCES: [&str; 6] = ["36", "35", "34", "33", "32", "96"];
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warn => "1;33",
            Style::Bad => "1;31",
            Style::Hint => "1;36",
            Style::Source(n) => SOURCES[n % SOURCES.len()],
        };
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_labelled_text_says_whose_it_is() {
        let printer = Printer::new(&GlobalArgs::default()).labelled("prod", 7, 0);
        let label = printer.label.unwrap().render(Paint::plain());
        assert_eq!(labelled(&label, "one\ntwo"), "prod    | one\nprod    | two\n");
        assert!(!printer.is_live(), "several can't draw on one screen");
    }

    #[test]
    fn a_label_is_cut_between_characters() {
        let long = format!("{}é", "a".repeat(62));
        let label = Printer::new(&GlobalArgs::default()).labelled(&long, 3, 0).label.unwrap();
        assert_eq!(label.render(Paint::plain()), format!("{} | ", "a".repeat(62)));
    }
}
