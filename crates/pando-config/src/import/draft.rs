//! The file being written: its keys in order, each with a comment, and the notes.

use super::Imported;
use super::write::{self, Out};
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::raw::Secret;
use crate::tree::{Kind, Node, Scalar};
use crate::value::{Volume, to_label};

/// In lines of a comment.
const WIDTH: usize = 100;

#[derive(Debug)]
pub(super) struct Draft {
    source: String,
    keys: Vec<Line>,
    notes: Vec<String>,
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
        Self { source: source.to_owned(), keys: Vec::new(), notes: Vec::new() }
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
        // One line each, whatever a key or value of the file is made of.
        let note: String = note.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if !self.notes.contains(&note) {
            self.notes.push(note);
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

    /// Those of `texts` that are volumes, one for each path; notes about the others.
    pub(super) fn volumes(&mut self, key: &str, texts: &[String]) -> Option<Out> {
        let mut targets = Vec::new();
        let mut volumes = Vec::new();
        for text in texts {
            match Volume::parse(&Scalar::text(text.clone())) {
                Ok(volume) if !targets.contains(&volume.0.target) => {
                    targets.push(volume.0.target);
                    volumes.push(Out::text(text.clone()));
                }
                Ok(_) => self.note(format!("`{key}`: {} is a second one at its path", quoted(text))),
                Err(_) => self.note(format!("`{key}`: {} is not one that other servers have", quoted(text))),
            }
        }
        if volumes.is_empty() {
            return None;
        }
        self.note(
            "`volumes`: each server has its own, and what is in them is not moved; `servers: [NAME]` keeps a process where its \
             volume is",
        );
        Some(Out::List(volumes))
    }

    /// `from: {secret: NAME}`, and what to do about it.
    pub(super) fn secret_source(&mut self, variable: &str) -> Out {
        let secret = to_label(variable).replace('-', "_");
        let secret = if secret.is_empty() { "secret".to_owned() } else { secret };
        self.note(format!("`env`: set `{variable}` with `pando secret set {secret}`"));
        debug_assert!(
            Secret::parse(&Scalar::text(secret.clone())).is_ok(),
            "made of letters, digits and `_`"
        );
        Out::pairs([("secret", Out::text(secret))])
    }

    pub(super) fn finish(self) -> Imported {
        let mut yaml = String::new();
        let head = format!(
            "Written by `pando init` from {}. `pando check` says whether it is right, `pando deploy` deploys it.",
            self.source
        );
        comment_lines(&mut yaml, &head, "");
        let mut last_was_plain = false;
        for line in &self.keys {
            // Keys with a comment stand apart; those without, together.
            if line.comment.is_some() || !last_was_plain {
                yaml.push('\n');
            }
            last_was_plain = line.comment.is_none();
            if let Some(comment) = &line.comment {
                comment_lines(&mut yaml, comment, "");
            }
            match &line.content {
                Content::Pair(key, value) => write::pair(&mut yaml, 0, key, value),
                Content::Offer(text) => comment_lines(&mut yaml, text, ""),
            }
        }
        if !self.notes.is_empty() {
            yaml.push_str("\n# Not carried over, or to be done by hand:\n");
            for note in &self.notes {
                comment_lines(&mut yaml, &format!("- {note}"), "  ");
            }
        }
        Imported { yaml, notes: self.notes }
    }
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
