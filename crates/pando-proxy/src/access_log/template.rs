//! Lines as a template has them: text with variables, named as nginx names them.
//!
//! Nothing that a client sends ends a line or a pair of quotes: quotes and backslashes get a backslash, control characters are written
//! as `\x` with two digits. What a request has none of is `-`.

mod variable;

use std::sync::Arc;

use super::line::{Asked, Ended};
use variable::{Early, Late};

/// A longer one is a mistake.
const LONGEST: usize = 4 << 10;

/// Stands for what is known only at the end; neither text nor values have it.
const GAP: u8 = 0;

/// A format of one's own for the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Arc<[Piece]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// Known when the request was read.
    Early(Early),
    /// Known when it is over.
    Late(Late),
}

/// Why a text is no format. Places are counted in characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLogFormat {
    #[error("there is no variable `${name}` (at character {at}){}", hint(suggestion.as_deref()))]
    Unknown { name: String, at: usize, suggestion: Option<String> },
    #[error("the `$` at character {at} names no variable; for the sign itself write `$$`")]
    Nameless { at: usize },
    #[error("the `${{` at character {at} has no `}}`")]
    Open { at: usize },
    #[error("the character {at} is a control character, which would break lines")]
    Control { at: usize },
    #[error("it is longer than {LONGEST} bytes")]
    Long,
    #[error(
        "there is no format `{name}`{}; it is `json`, `combined`, or a text with variables such as `$remote_addr $status`",
        format_hint(suggestion.as_deref())
    )]
    NoFormat { name: String, suggestion: Option<String> },
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean `${name}`?")).unwrap_or_default()
}

fn format_hint(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

impl Template {
    /// `$name` or `${name}` is a variable, `$$` the sign.
    ///
    /// # Errors
    /// Says what is wrong, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, BadLogFormat> {
        if text.len() > LONGEST {
            return Err(BadLogFormat::Long);
        }
        if let Some(at) = text.chars().position(char::is_control) {
            return Err(BadLogFormat::Control { at: at + 1 });
        }
        let mut pieces = Vec::new();
        let (mut rest, mut at) = (text, 1);
        while let Some((before, after)) = rest.split_once('$') {
            push_text(&mut pieces, before);
            at += before.chars().count();
            let (piece, taken) = sign(after, at)?;
            match piece {
                Some(piece) => pieces.push(piece),
                None => push_text(&mut pieces, "$"),
            }
            at += 1 + taken;
            // Names are ASCII.
            rest = &after[taken..];
        }
        push_text(&mut pieces, rest);
        Ok(Self { pieces: pieces.into() })
    }

    /// What is known when the request was read.
    pub(super) fn begin(&self, asked: &Asked<'_>, out: &mut Vec<u8>) {
        for piece in &*self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Early(variable) => variable.write(asked, out),
                Piece::Late(_) => out.push(GAP),
            }
        }
    }

    /// Fills the gaps of what `begin` has written.
    pub(super) fn end(&self, begun: &[u8], ended: &Ended<'_>, out: &mut Vec<u8>) {
        let mut runs = begun.split(|byte| *byte == GAP);
        out.extend_from_slice(runs.next().unwrap_or_default());
        let late = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Late(variable) => Some(variable),
            Piece::Text(_) | Piece::Early(_) => None,
        });
        for (variable, run) in late.zip(runs) {
            variable.write(ended, out);
            out.extend_from_slice(run);
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
}

/// What stands behind a `$` at character `at`, and how many bytes of it; no piece: the sign itself.
fn sign(after: &str, at: usize) -> Result<(Option<Piece>, usize), BadLogFormat> {
    if after.starts_with('$') {
        return Ok((None, 1));
    }
    let (name, taken) = match after.strip_prefix('{') {
        Some(inner) => {
            let end = inner.find('}').ok_or(BadLogFormat::Open { at })?;
            (&inner[..end], end + 2)
        }
        None => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
            (&after[..end], end)
        }
    };
    if name.is_empty() {
        return Err(BadLogFormat::Nameless { at });
    }
    let piece = Early::named(name).map(Piece::Early).or_else(|| Late::named(name).map(Piece::Late));
    let unknown = || BadLogFormat::Unknown { name: name.to_owned(), at, suggestion: variable::nearest(name) };
    Ok((Some(piece.ok_or_else(unknown)?), taken))
}

/// The likest of some names, if one is like enough to be meant.
pub(crate) fn likest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = names.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 > 0.8).then(|| best.1.to_owned())
}

#[cfg(test)]
mod tests;
