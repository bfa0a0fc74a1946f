//! The terminal: its size, and a keyboard whose every key is sent on.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use pando_api::v1::agents::TerminalSize;
use rustix::termios::{self, OptionalActions, Termios};

/// A size for terminals that don't tell theirs.
const USUAL: TerminalSize = TerminalSize { columns: 80, rows: 24 };

/// Both a keyboard and a screen are there.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Of the terminal that stdout is, or the usual one.
pub(crate) fn size() -> TerminalSize {
    size_of(&io::stdout())
}

/// Columns and rows of the terminal that stderr is.
pub(crate) fn talk_size() -> (usize, usize) {
    let size = size_of(&io::stderr());
    (usize::from(size.columns), usize::from(size.rows))
}

fn size_of(stream: &impl std::os::fd::AsFd) -> TerminalSize {
    match termios::tcgetwinsize(stream) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            TerminalSize { columns: size.ws_col, rows: size.ws_row }
        }
        _ => USUAL,
    }
}

/// Asks on the terminal for a line that it does not show.
///
/// # Errors
/// When stdin is no terminal, or can't be read.
pub(crate) fn ask_hidden(question: &str) -> io::Result<String> {
    let before = termios::tcgetattr(io::stdin())?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(termios::LocalModes::ECHO);
    // What was typed before the question was shown is no answer.
    termios::tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
    let _shown_again = RawKeyboard { before };
    let mut answer = String::new();
    write!(io::stderr(), "{question}")?;
    io::stdin().lock().read_line(&mut answer)?;
    writeln!(io::stderr())?;
    Ok(answer)
}

/// While it lives, keys come one by one and without meaning: Ctrl-C too is a key for the other side.
#[derive(Debug)]
pub(crate) struct RawKeyboard {
    before: Termios,
}

impl RawKeyboard {
    /// # Errors
    /// When stdin is no terminal.
    pub(crate) fn new() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawKeyboard {
    fn drop(&mut self) {
        // The terminal went away: there is nothing to restore.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
