//! Files of variables: `.env`, which Compose fills its file in from, and those that `env_file` names. They are read by the rules of
//! Compose's own reader; a line that it would stop at is passed over here, and named.

use std::collections::BTreeSet;

use super::interpolate::{self, Filled, Known, Report, Variables};
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, few, plain};
use crate::import::secrecy::{is_secret, is_secret_name, is_secret_value};

/// What a file of variables says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) lines: Vec<Line>,
    unread: Vec<Unread>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    /// Without one it is that of whoever runs Compose.
    pub(super) value: Option<Given>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Text(String),
    /// It is made of what is secret.
    Secret,
    /// It is made of these, whose values are not known here.
    Unknown(Vec<String>),
}

impl Given {
    /// As others are made of it.
    pub(super) fn variable(self) -> Option<Known> {
        match self {
            Self::Text(text) => Some(Known::Text(text)),
            Self::Secret => Some(Known::Secret),
            Self::Unknown(_) => None,
        }
    }
}

/// A line that is no variable.
#[derive(Debug, PartialEq, Eq)]
struct Unread {
    line: usize,
    /// What may be shown of it.
    shown: String,
    why: String,
}

/// `NAME=value`, `NAME: value` or `NAME`, with or without `export`, values perhaps quoted, over several lines then; later ones may be
/// made of earlier ones, and of those that are `known`, which come first.
pub(super) fn parse(text: &str, known: &Variables) -> Read {
    let text = text.replace("\r\n", "\n");
    let mut parser =
        Parser { rest: &text, line: 1, seen: known.clone(), known, made: 0, found: Found::default() };
    while parser.statement() {}
    parser.found.read()
}

/// As `format: raw` has it: what stands behind `=` is the value, quotes and `$` included.
pub(super) fn parse_raw(text: &str) -> Read {
    let mut found = Found::default();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) =
            line.split_once('=').map_or((line.trim_end(), None), |(name, value)| (name, Some(value)));
        match name_trouble(name) {
            Some(why) => found.unread(at + 1, line, why),
            None => found.add(name, value.map(|value| Given::Text(value.to_owned()))),
        }
    }
    found.read()
}

/// Names the lines that could not be read. `file`: as it is shown.
pub(super) fn tell_unread(read: &Read, file: &str, draft: &mut Draft) {
    const MOST: usize = 20;
    for unread in read.unread.iter().take(MOST) {
        let shown = if unread.shown.is_empty() { "a line".to_owned() } else { quoted(&unread.shown) };
        draft.note(format!(
            "{}:{}: {shown} is passed over: {}; Compose takes no such file",
            plain(file),
            unread.line,
            unread.why
        ));
    }
    if read.unread.len() > MOST {
        let others = read.unread.len() - MOST;
        draft.note(format!(
            "{}: {others} more lines of it are no variables, and are passed over",
            plain(file)
        ));
    }
}

/// Says of variables that they are not known, since others are not that they are made of.
pub(super) fn tell_unknown(read: &Read, file: &str, draft: &mut Draft) {
    let unknown = read.lines.iter().filter_map(|line| match &line.value {
        Some(Given::Unknown(of)) if !is_secret_name(&line.name) => Some((line.name.as_str(), of)),
        _ => None,
    });
    let (names, of): (Vec<&str>, Vec<&Vec<String>>) = unknown.unzip();
    let of: BTreeSet<&str> = of.into_iter().flatten().map(String::as_str).collect();
    if !names.is_empty() {
        draft.note(format!(
            "{}: {} can't be known here, being made with {}; where that is meant as text, Compose needs single quotes, too",
            plain(file),
            few(names.into_iter()),
            few(of.into_iter())
        ));
    }
}

/// The variables on their way, the later one of a name in the place of the earlier.
#[derive(Debug, Default)]
struct Found {
    lines: Vec<Option<Line>>,
    places: std::collections::HashMap<String, usize>,
    unread: Vec<Unread>,
}

impl Found {
    fn add(&mut self, name: &str, value: Option<Given>) {
        if let Some(earlier) = self.places.insert(name.to_owned(), self.lines.len()) {
            self.lines[earlier] = None;
        }
        self.lines.push(Some(Line { name: name.to_owned(), value }));
    }

    fn unread(&mut self, line: usize, text: &str, why: String) {
        self.unread.push(Unread { line, shown: shown_of(text), why });
    }

    fn read(self) -> Read {
        Read { lines: self.lines.into_iter().flatten().collect(), unread: self.unread }
    }
}

/// The name that a line begins with. Never a value: that may be secret, and so may a line without a name.
fn shown_of(line: &str) -> String {
    let line = line.lines().next().unwrap_or_default();
    let has_value = |value: &str| !value.trim_matches(['=', ' ', '\t', '\r']).is_empty();
    let name = line.split_once('=').filter(|(_, value)| has_value(value)).map(|(name, _)| name.trim());
    let may_be =
        |name: &&str| name.chars().count() <= 40 && !name.contains(['+', '/']) && !is_secret_value(name);
    name.filter(may_be).unwrap_or_default().to_owned()
}

fn name_trouble(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it has no name".to_owned());
    }
    name.contains(char::is_whitespace).then(|| "names have no spaces in them".to_owned())
}

struct Parser<'t> {
    rest: &'t str,
    /// Of what is left.
    line: usize,
    seen: Variables,
    known: &'t Variables,
    /// Bytes of values that are made of others.
    made: usize,
    found: Found,
}

/// Of values that are made of others: lines that double each other would fill every memory.
const MOST_MADE: usize = 16 << 20;

/// White space within a line.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

impl<'t> Parser<'t> {
    /// Reads one; whether there is more to read.
    fn statement(&mut self) -> bool {
        self.advance(self.rest.len() - self.rest.trim_start().len());
        if self.rest.is_empty() {
            return false;
        }
        if self.rest.starts_with('#') {
            self.advance_line();
            return true;
        }
        if let Some(after) =
            self.rest.strip_prefix("export").filter(|after| after.starts_with(char::is_whitespace))
        {
            let after = after.trim_start_matches(is_space);
            self.advance(self.rest.len() - after.len());
        }
        let (start, line) = (self.rest, self.line);
        match self.name() {
            Ok((name, true)) => match self.value() {
                Ok(value) => self.add(name, &value, line),
                Err(why) => self.unread(start, line, why),
            },
            Ok((name, false)) => self.found.add(name, None),
            Err(why) => self.unread(start, line, why),
        }
        true
    }

    fn unread(&mut self, start: &str, line: usize, why: String) {
        self.found.unread(line, start, why);
        self.advance_line();
    }

    fn advance(&mut self, by: usize) {
        self.line += self.rest[..by].matches('\n').count();
        self.rest = &self.rest[by..];
    }

    /// To the end of this line.
    fn advance_line(&mut self) {
        self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
    }

    /// The name, and whether a value follows.
    fn name(&mut self) -> Result<(&'t str, bool), String> {
        let is_part =
            |c: char| is_space(c) || c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let after = self.rest[end..].chars().next();
        if let Some(wrong) = after.filter(|c| !matches!(c, '=' | ':' | '\n')) {
            return Err(format!("no name has {} in it", quoted(&wrong.to_string())));
        }
        let name = self.rest[..end].trim();
        if let Some(why) = name_trouble(name) {
            return Err(why);
        }
        let has_value = matches!(after, Some('=' | ':'));
        self.advance(end + usize::from(has_value));
        Ok((name, has_value))
    }

    fn value(&mut self) -> Result<Typed, String> {
        self.advance(self.rest.len() - self.rest.trim_start_matches(is_space).len());
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            let line = self.rest.split('\n').next().unwrap_or_default();
            self.advance(line.len());
            return Ok(Typed::Made(line.split(" #").next().unwrap_or(line).trim_end().to_owned()));
        };
        let Some((text, length)) = within_quotes(quote, &self.rest[1..]) else {
            return Err(format!("the quote {} is not closed", quoted(&quote.to_string())));
        };
        self.advance(1 + length);
        Ok(if quote == '"' { Typed::Made(unescaped(&text)) } else { Typed::Plain(text) })
    }

    fn add(&mut self, name: &str, typed: &Typed, line: usize) {
        let given = match typed {
            Typed::Plain(text) => Given::Text(text.clone()),
            Typed::Made(text) => made(name, text, &self.seen),
        };
        if let (Typed::Made(_), Given::Text(text)) = (typed, &given) {
            self.made += text.len();
        }
        if self.made > MOST_MADE {
            return self.found.unread(
                line,
                &format!("{name}=…"),
                "its variables add up to more than 16 MiB".to_owned(),
            );
        }
        if !self.known.contains_key(name) {
            match given.clone().variable() {
                Some(value) => drop(self.seen.insert(name.to_owned(), value)),
                None => drop(self.seen.remove(name)),
            }
        }
        self.found.add(name, Some(given));
    }
}

/// A value as it is, or with variables in it.
enum Typed {
    Plain(String),
    Made(String),
}

fn made(name: &str, text: &str, seen: &Variables) -> Given {
    match interpolate::fill(text, seen, &mut Report::default()) {
        Filled::Known(text) => Given::Text(text),
        Filled::Secret(_) => Given::Secret,
        // A lone `$` may well be a part of a password.
        Filled::Unknown(_) if is_secret(name, text) => Given::Secret,
        Filled::Unknown(names) => Given::Unknown(names),
    }
}

/// The text up to the closing quote, be it lines further down, and its length with that.
fn within_quotes(quote: char, typed: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut escaped = false;
    for (at, c) in typed.char_indices() {
        if c == quote && !escaped {
            return Some((text, at + 1));
        }
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped && c != quote {
            text.push('\\');
        }
        escaped = false;
        text.push(c);
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let octal = after.strip_prefix('0').and_then(|digits| u8::from_str_radix(digits.get(..3)?, 8).ok());
        let (meant, length) = match after.chars().next() {
            Some('n') => ("\n", 1),
            Some('t') => ("\t", 1),
            Some('r') => ("\r", 1),
            Some('a') => ("\u{7}", 1),
            Some('b') => ("\u{8}", 1),
            Some('f') => ("\u{c}", 1),
            Some('v') => ("\u{b}", 1),
            // As what fills in variables spells it.
            Some('$') => ("$$", 1),
            Some('"') => ("\"", 1),
            Some('\\') => ("\\", 1),
            Some('0') if octal.is_some_and(|byte| byte.is_ascii()) => {
                out.push(char::from(octal.unwrap_or_default()));
                ("", 4)
            }
            _ => ("\\", 0),
        };
        out.push_str(meant);
        rest = &after[length..];
    }
    out + rest
}

#[cfg(test)]
mod tests;
