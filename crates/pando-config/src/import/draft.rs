//! The file being written: its keys in order, each with a comment, and the notes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::Imported;
use super::write::{self, Out};
use crate::decode::{Leaf, listed};
use crate::diagnostic::quoted;
use crate::tree::{Kind, Node, Scalar};
use crate::value::to_label;

/// In lines of a comment.
const WIDTH: usize = 100;
/// As comments in the file, which would be too large to be read if each of thousands had some.
const MOST_NOTES: usize = 1_000;

#[derive(Debug)]
pub(super) struct Draft {
    source: String,
    keys: Vec<Line>,
    notes: Vec<Note>,
    /// The notes by what they say, so that none is there twice: their places in `notes`.
    told: HashMap<String, usize>,
    /// Variables whose values are secret, by name.
    secrets: Names,
    /// Variables whose values only the caller's environment has.
    unknown: Names,
    /// Variables of the other tool that have the values that its file has for want of others.
    defaults: Names,
    /// Variables of the other tool that have the values of `.env`.
    in_file: Names,
}

/// Names in the order in which they came, each once.
#[derive(Debug, Default)]
struct Names {
    list: Vec<String>,
    known: BTreeSet<String>,
}

impl Names {
    fn push(&mut self, name: &str) {
        if self.known.insert(name.to_owned()) {
            self.list.push(name.to_owned());
        }
    }
}

#[derive(Debug)]
enum Note {
    Plain(String),
    /// The same key of several things that have names.
    Key {
        key: String,
        /// In the order in which they came.
        of: Vec<String>,
        known: BTreeSet<String>,
        why: String,
    },
}

#[derive(Debug)]
struct Line {
    comment: Option<String>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Pair(String, Out),
    /// A key that is worth knowing, commented out.
    Offer(String),
}

impl Draft {
    /// `source`: what it is written from, such as `a Procfile`.
    pub(super) fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            keys: Vec::new(),
            notes: Vec::new(),
            told: HashMap::new(),
            secrets: Names::default(),
            unknown: Names::default(),
            defaults: Names::default(),
            in_file: Names::default(),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: Out) {
        self.push(None, Content::Pair(key.to_owned(), value));
    }

    /// With a comment above.
    pub(super) fn set_with(&mut self, comment: &str, key: &str, value: Out) {
        self.push(Some(comment), Content::Pair(key.to_owned(), value));
    }

    pub(super) fn offer(&mut self, comment: &str, line: &str) {
        self.push(Some(comment), Content::Offer(line.to_owned()));
    }

    fn push(&mut self, comment: Option<&str>, content: Content) {
        self.keys.push(Line { comment: comment.map(str::to_owned), content });
    }

    /// Something that was not carried over, or has to be done by hand.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = one_line(&note.into());
        if let Entry::Vacant(place) = self.told.entry(note.clone()) {
            place.insert(self.notes.len());
            self.notes.push(Note::Plain(note));
        }
    }

    /// `key` of `name` was not carried over. What is said of the same key of others for the same reason becomes one note.
    pub(super) fn left_out(&mut self, key: &str, name: &str, why: &str) {
        let (key, name, why) = (one_line(key), one_line(name), one_line(why));
        // No text of a note has a line end in it.
        match self.told.entry(format!("{key}\n{why}")) {
            Entry::Vacant(place) => {
                place.insert(self.notes.len());
                let of = BTreeSet::from([name.clone()]);
                self.notes.push(Note::Key { key, of: vec![name], known: of, why });
            }
            Entry::Occupied(place) => {
                if let Some(Note::Key { of, known, .. }) = self.notes.get_mut(*place.get())
                    && known.insert(name.clone())
                {
                    of.push(name);
                }
            }
        }
    }

    /// The name of the app: the one given, or else `app`, as a DNS label.
    pub(super) fn name(&mut self, given: Option<&str>, app: &str) -> String {
        let typed = given.unwrap_or(app);
        let name = to_label(typed);
        if given.is_some() && name != typed && !name.is_empty() {
            self.note(format!("`name`: {} is called `{name}`, since names are DNS labels", quoted(typed)));
        }
        let name = if name.is_empty() { "app".to_owned() } else { name };
        self.set("name", Out::text(name.clone()));
        name
    }

    /// The value of `node` if a `T` can be read from it; else a note about `key`.
    pub(super) fn checked<T: Leaf>(&mut self, key: &str, node: &Node) -> Option<Out> {
        match node.scalar().filter(|_| !node.is_null()) {
            Some(scalar) => self.checked_scalar::<T>(key, scalar),
            None => {
                self.note(format!("`{key}`: expected {}, found {}", T::expected(), node.describe()));
                None
            }
        }
    }

    pub(super) fn checked_text<T: Leaf>(&mut self, key: &str, text: &str) -> Option<Out> {
        self.checked_scalar::<T>(key, &Scalar::text(text))
    }

    fn checked_scalar<T: Leaf>(&mut self, key: &str, scalar: &Scalar) -> Option<Out> {
        // Other tools take `"3"` for a number.
        let unquoted = Scalar { kind: Kind::Integer, text: scalar.text.clone() };
        let is_number = scalar.kind == Kind::Text && scalar.text.parse::<i64>().is_ok();
        let scalar = if is_number && T::parse(scalar).is_err() { &unquoted } else { scalar };
        match T::parse(scalar) {
            Ok(_) if scalar.kind == Kind::Text => Some(Out::text(scalar.text.clone())),
            Ok(_) => Some(Out::Raw(scalar.text.clone())),
            Err(wrong) => {
                let expected = || format!("expected {}, found {}", T::expected(), quoted(&scalar.text));
                self.note(format!("`{key}`: {}", wrong.message.unwrap_or_else(expected)));
                None
            }
        }
    }

    /// The entry of a variable whose value is secret, which the file has as a comment.
    pub(super) fn secret(&mut self, variable: &str) -> Out {
        let secret = to_label(variable).replace('-', "_");
        let secret = if secret.is_empty() { "secret".to_owned() } else { secret };
        self.secrets.push(variable);
        let from = Out::pairs([("secret", Out::text(secret))]);
        Out::Later(Box::new(Out::pairs([("name", Out::text(variable)), ("from", from)])))
    }

    /// The entry of a variable whose value is not known here, which the file has as a comment.
    pub(super) fn unknown(&mut self, variable: &str) -> Out {
        self.unknown.push(variable);
        Out::Later(Box::new(Out::pairs([("name", Out::text(variable)), ("value", Out::text("…"))])))
    }

    /// A variable that was filled in with the value that the file has for want of another.
    pub(super) fn by_default(&mut self, variable: &str) {
        self.defaults.push(variable);
    }

    /// A variable that was filled in with the value of `.env`.
    pub(super) fn by_file(&mut self, variable: &str) {
        self.in_file.push(variable);
    }

    fn notes(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        for (names, values) in
            [(&self.defaults, "the defaults of the file"), (&self.in_file, "the values of `.env`")]
        {
            if !names.list.is_empty() {
                let names: Vec<String> = names.list.iter().map(|name| format!("${{{name}}}")).collect();
                let names = few(names.iter().map(String::as_str));
                notes.push(one_line(&format!("{names}: filled in with {values}, once and for all")));
            }
        }
        if !self.secrets.list.is_empty() {
            let names = few(self.secrets.list.iter().map(String::as_str));
            notes.push(one_line(&format!(
                "`env`: {names}: secret; this version of Pando takes no values from secrets yet, so they stand as comments: give them a \
                 `value`, or let the app read them from a file on its server"
            )));
        }
        if !self.unknown.list.is_empty() {
            let names = few(self.unknown.list.iter().map(String::as_str));
            notes.push(one_line(&format!(
                "`env`: {names}: taken from an environment that is not known here, so they stand as comments: give them a `value`"
            )));
        }
        notes.extend(self.notes.drain(..).map(|note| match note {
            Note::Plain(text) => text,
            Note::Key { key, of, why, .. } => {
                format!("`{key}` of {}: {why}", few(of.iter().map(String::as_str)))
            }
        }));
        notes
    }

    pub(super) fn finish(mut self) -> Imported {
        let notes = self.notes();
        let mut yaml = String::new();
        let head = format!(
            "Written by `pando init` from {}. `pando check` says whether it is right, `pando deploy` deploys it.",
            self.source
        );
        comment_lines(&mut yaml, &head, "");
        self.write_keys(&mut yaml);
        write_notes(&notes, &mut yaml);
        Imported { yaml, notes }
    }

    fn write_keys(&self, yaml: &mut String) {
        let mut last_was_plain = false;
        for line in &self.keys {
            // Keys with a comment stand apart; those without, together.
            if line.comment.is_some() || !last_was_plain {
                yaml.push('\n');
            }
            last_was_plain = line.comment.is_none();
            if let Some(comment) = &line.comment {
                comment_lines(yaml, comment, "");
            }
            match &line.content {
                Content::Pair(key, value) => write::pair(yaml, 0, key, value),
                Content::Offer(text) => comment_lines(yaml, text, ""),
            }
        }
    }
}

fn write_notes(notes: &[String], yaml: &mut String) {
    if notes.is_empty() {
        return;
    }
    yaml.push_str("\n# Not carried over, or to be done by hand:\n");
    for note in notes.iter().take(MOST_NOTES) {
        comment_lines(yaml, &format!("- {note}"), "  ");
    }
    if notes.len() > MOST_NOTES {
        let more = notes.len() - MOST_NOTES;
        let line = format!("- {more} more, which `pando init` showed when it wrote this file");
        comment_lines(yaml, &line, "  ");
    }
}

/// Text of the file within a note, between backticks that the note has.
pub(super) fn plain(text: &str) -> String {
    const LONGEST: usize = 200;
    let kept = text.chars().map(|c| {
        if c.is_control() {
            ' '
        } else if c == '`' {
            '\''
        } else {
            c
        }
    });
    kept.take(LONGEST).collect()
}

/// As many of these names as somebody reads, and how many more there are.
pub(super) fn few<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const MOST: usize = 50;
    let names: Vec<&str> = names.collect();
    match names.len().checked_sub(MOST) {
        None | Some(0) => listed(names, "and"),
        Some(more) => {
            let shown: Vec<String> = names[..MOST].iter().map(|name| format!("`{name}`")).collect();
            format!("{} and {more} more", shown.join(", "))
        }
    }
}

/// Whatever a key or value of the file is made of.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As comments, broken at spaces; lines after the first start with `hang`.
fn comment_lines(out: &mut String, text: &str, hang: &str) {
    let mut line = String::new();
    let mut lines = Vec::new();
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() >= WIDTH && !line.is_empty() {
            lines.push(std::mem::replace(&mut line, format!("{hang}{word}")));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.push(line);
    for line in lines {
        out.push_str("# ");
        out.push_str(&line);
        out.push('\n');
    }
}
