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
        Self { json: global.json, out: paint(out), err: paint(err), live: err && !dumb }
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
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Something that a person should know, and that stops nothing.
    pub(crate) fn warn(self, text: impl Display) {
        self.talk(format_args!("{} {text}", self.err.with(Style::Warn, "warning:")));
    }
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
