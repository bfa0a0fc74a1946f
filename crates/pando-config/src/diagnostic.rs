//! Problems in a file: what is wrong, where, how bad, and what to do about it.
//!
//! They are collected, so that a reader of the file can fix all at once. How
//! they look on a terminal is in `render`.

mod render;

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::source::{Position, SourceFile, Span};

/// More than this and the file is not what it seems; the rest would only hide the first ones.
const MOST_PROBLEMS: usize = 200;

/// Whether a problem forbids going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong, or may be, in a file.
///
/// As JSON: `file`, `line` and `column` (from 1, in characters), `length`
/// (in characters), `severity`, `message`, `hint`. Without a place in the file (it
/// could not be read), `line`, `column` and `length` are null.
#[derive(Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    file: Arc<SourceFile>,
    span: Option<Span>,
    /// The line has a secret in it and is not shown.
    hidden: bool,
}

impl Problem {
    /// The name of the file that it is in, as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        self.file.name()
    }

    /// `None` when it is about the file as a whole.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.span.map(|span| self.file.position(span))
    }

    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render::problem(self, false))
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let position = self.position();
        let mut fields = serializer.serialize_struct("Problem", 7)?;
        fields.serialize_field("file", self.file())?;
        fields.serialize_field("line", &position.map(|place| place.line))?;
        fields.serialize_field("column", &position.map(|place| place.column))?;
        fields.serialize_field("length", &position.map(|place| place.length))?;
        fields.serialize_field("severity", &self.severity)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("hint", &self.hint)?;
        fields.end()
    }
}

/// Problems by file and place, none of them twice. As an error, it shows as
/// [`Problems::render`] does without colour.
#[derive(Clone, Default, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", self.render(false))]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn new(mut list: Vec<Problem>) -> Self {
        list.sort_by(|a, b| (a.file(), a.span, a.severity).cmp(&(b.file(), b.span, b.severity)));
        let mut distinct: Vec<Problem> = Vec::new();
        for problem in list {
            if !distinct.contains(&problem) {
                distinct.push(problem);
            }
        }
        Self(distinct)
    }

    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Problem::is_error)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// These and `others`, in order again.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self::new(self.0.into_iter().chain(others.0).collect())
    }

    /// For a person: each with its file, line and column, the line it is in, the
    /// words meant underlined, and what to do. Passwords in URLs are masked.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let each: Vec<String> = self.0.iter().map(|problem| render::problem(problem, colour)).collect();
        each.join("\n")
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Sink {
    file: Arc<SourceFile>,
    problems: Vec<Problem>,
}

impl Sink {
    pub(crate) fn new(file: Arc<SourceFile>) -> Self {
        Self { file, problems: Vec::new() }
    }

    pub(crate) fn file(&self) -> &SourceFile {
        &self.file
    }

    /// For more problems of the same file, kept apart.
    pub(crate) fn sibling(&self) -> Self {
        Self::new(Arc::clone(&self.file))
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Severity::Error, Some(span), message.into(), None);
    }

    pub(crate) fn error_hint(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, Some(span), message.into(), Some(hint.into()));
    }

    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Warning, Some(span), message.into(), Some(hint.into()));
    }

    /// About the file as a whole.
    pub(crate) fn whole(&mut self, message: impl Into<String>, hint: Option<String>) {
        self.push(Severity::Error, None, message.into(), hint);
    }

    fn push(&mut self, severity: Severity, span: Option<Span>, message: String, hint: Option<String>) {
        self.add(Problem { severity, message, hint, file: Arc::clone(&self.file), span, hidden: false });
    }

    /// An error about a secret: the line that it is in is not shown.
    pub(crate) fn error_in_secret(&mut self, span: Span, message: impl Into<String>, hint: Option<String>) {
        let (severity, message) = (Severity::Error, message.into());
        let file = Arc::clone(&self.file);
        self.add(Problem { severity, message, hint, file, span: Some(span), hidden: true });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    pub(crate) fn absorb(&mut self, others: Vec<Problem>) {
        for problem in others {
            self.add(problem);
        }
    }

    fn add(&mut self, problem: Problem) {
        if !self.is_full() && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Whether more would be dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.problems
    }

    pub(crate) fn into_problems(self) -> Problems {
        Problems::new(self.problems)
    }
}

/// `text` in backticks, short and on one line, for a message.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    let shown: String = text.chars().take(LONGEST).map(render::visible).collect();
    if text.chars().nth(LONGEST).is_some() { format!("`{shown}…`") } else { format!("`{shown}`") }
}
