//! Compose's own variables: `$NAME`, `${NAME:-default}` and the like, from `.env` and from the environment of whoever runs it.
//!
//! What that environment has is not asked: another day and another machine have
//! another one. Values that look secret are never filled in.

use std::collections::{BTreeMap, BTreeSet};

use crate::import::secrecy::{is_secret, is_secret_name, is_secret_value};
use crate::tree::{Entry, Kind, Node, Scalar, Value};

/// What `.env` has.
pub(super) type Variables = BTreeMap<String, Known>;

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    Text(String),
    /// It is made of secrets, and never filled in.
    Secret,
}

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    /// Unless it is secret by itself.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !is_secret_value(text) => Some(text),
            _ => None,
        }
    }
}

/// Deeper than any default within a default.
const DEEPEST: usize = 8;
/// No variable of a process may be longer, on Linux.
const LONGEST: usize = 128 << 10;

/// A text with its variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filled {
    Known(String),
    /// It takes these from an environment that is not known here.
    Unknown(Vec<String>),
    /// It takes these, whose values are secret.
    Secret(Vec<String>),
}

/// Where values came from, and what has none.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub(super) by_default: BTreeSet<String>,
    pub(super) from_file: BTreeSet<String>,
    /// Keys that were left out, each with the variables that it takes.
    pub(super) left_out: Vec<(String, Vec<String>)>,
    /// Bytes that were filled in.
    pub(super) filled: usize,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.by_default.extend(other.by_default);
        self.from_file.extend(other.from_file);
        self.left_out.extend(other.left_out);
        self.filled += other.filled;
    }
}

/// One text on its way.
struct Filler<'a> {
    variables: &'a Variables,
    report: &'a mut Report,
    unknown: Vec<String>,
    secret: Vec<String>,
}

pub(super) fn fill(text: &str, variables: &Variables, report: &mut Report) -> Filled {
    let mut filler = Filler { variables, report, unknown: Vec::new(), secret: Vec::new() };
    let filled = filler.text(text, 0);
    filler.report.filled += filled.len();
    match (filler.secret, filler.unknown) {
        (secret, unknown) if !secret.is_empty() => Filled::Secret([secret, unknown].concat()),
        (_, unknown) if !unknown.is_empty() => Filled::Unknown(unknown),
        _ => Filled::Known(filled),
    }
}

impl Filler<'_> {
    fn text(&mut self, text: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            if out.len() > LONGEST {
                self.unknown.push("what makes it longer than 128 KiB".to_owned());
                return String::new();
            }
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = closing(after).unwrap_or(after.len());
                out.push_str(&self.braced(&after[..end], depth));
                rest = after.get(end + 1..).unwrap_or_default();
            } else {
                let end = name_end(rest);
                if end == 0 {
                    out.push('$');
                } else {
                    out.push_str(&self.plain(&rest[..end]));
                }
                rest = &rest[end..];
            }
        }
        out + rest
    }

    /// What stands between `${` and `}`.
    fn braced(&mut self, inner: &str, depth: usize) -> String {
        let (name, operation) = inner.split_at(name_end(inner));
        let (empty_too, operation) =
            operation.strip_prefix(':').map_or((false, operation), |operation| (true, operation));
        let given = self.variables.get(name).filter(|value| !(empty_too && value.is_empty())).cloned();
        let operand = operation.get(1..).unwrap_or_default();
        match operation.chars().next() {
            _ if depth >= DEEPEST || name.is_empty() => {
                self.unknown.push(if inner.is_empty() { "${".to_owned() } else { inner.to_owned() });
                String::new()
            }
            Some('+') => {
                self.report.by_default.insert(name.to_owned());
                if given.is_some() { self.text(operand, depth + 1) } else { String::new() }
            }
            Some('-') if given.is_none() && !is_secret_name(name) => {
                self.report.by_default.insert(name.to_owned());
                self.text(operand, depth + 1)
            }
            _ => self.plain(name),
        }
    }

    fn plain(&mut self, name: &str) -> String {
        match self.variables.get(name) {
            _ if is_secret_name(name) => self.secret.push(name.to_owned()),
            None => self.unknown.push(name.to_owned()),
            Some(value) => match value.text() {
                None => self.secret.push(name.to_owned()),
                Some(text) => {
                    self.report.from_file.insert(name.to_owned());
                    return text.to_owned();
                }
            },
        }
        String::new()
    }
}

fn name_end(text: &str) -> usize {
    let is_part =
        |(at, c): (usize, char)| c.is_ascii_alphabetic() || c == '_' || (at > 0 && c.is_ascii_digit());
    text.char_indices().find(|part| !is_part(*part)).map_or(text.len(), |(at, _)| at)
}

/// Where the brace closes that was open before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Lists of which no part makes sense without the others.
const WHOLE: [&str; 3] = ["command", "entrypoint", "test"];

/// `node` with its texts filled in, and without those that can't be; `None`: it is one of them. What is below `environment`
/// stays as it is. `at`: how it is called.
pub(super) fn tree(node: &Node, at: &str, variables: &Variables, report: &mut Report) -> Option<Node> {
    let value = match &node.value {
        Value::Scalar(scalar) => Value::Scalar(self::scalar(scalar, at, variables, report)?),
        Value::List(items) => {
            let filled: Vec<Node> =
                items.iter().filter_map(|item| tree(item, at, variables, report)).collect();
            let whole = WHOLE.iter().any(|key| at.ends_with(key));
            if whole && filled.len() < items.len() {
                return None;
            }
            Value::List(filled)
        }
        Value::Map(entries) => {
            let filled = entries.iter().filter_map(|entry| {
                let at = if at.is_empty() { entry.key.clone() } else { format!("{at}.{}", entry.key) };
                let value = match at.as_str() {
                    "environment" => entry.value.clone(),
                    _ => tree(&entry.value, &at, variables, report)?,
                };
                Some(Entry { value, ..entry.clone() })
            });
            Value::Map(filled.collect())
        }
    };
    Some(Node { span: node.span, value })
}

fn scalar(scalar: &Scalar, at: &str, variables: &Variables, report: &mut Report) -> Option<Scalar> {
    if !scalar.text.contains('$') {
        return Some(scalar.clone());
    }
    match fill(&scalar.text, variables, report) {
        Filled::Known(text) => Some(Scalar { kind: kind(&text), text }),
        Filled::Unknown(names) | Filled::Secret(names) => {
            report.left_out.push((at.to_owned(), names));
            None
        }
    }
}

/// As Compose does, which reads what was filled in as the type that the key has.
fn kind(text: &str) -> Kind {
    match text {
        "true" | "false" => Kind::Bool,
        _ if text.parse::<i64>().is_ok() => Kind::Integer,
        _ if text.parse::<f64>().is_ok_and(f64::is_finite) && !text.contains(['e', 'E']) => Kind::Float,
        _ => Kind::Text,
    }
}

/// `node`, a map of services, with those of its variables filled in that are known, for a reader that knows fewer. What is filled in
/// is spelled as that reads it: `$` as `$$`. Of what must not be known, the variable stays.
pub(super) fn partly(node: &Node, key: &str, variables: &Variables, report: &mut Report) -> Node {
    let value = match &node.value {
        Value::Scalar(scalar) => {
            Value::Scalar(Scalar { text: text_partly(&scalar.text, variables, report), kind: scalar.kind })
        }
        Value::List(items) if key == "environment" => {
            Value::List(items.iter().map(|item| item_of_environment(item, variables, report)).collect())
        }
        Value::List(items) => {
            Value::List(items.iter().map(|item| partly(item, key, variables, report)).collect())
        }
        Value::Map(entries) => {
            let entry = |entry: &Entry| {
                let value = match (key, entry.value.scalar()) {
                    ("environment", Some(scalar)) => of_environment(&entry.key, scalar, variables, report),
                    _ => None,
                };
                let value = match value {
                    Some(value) => Node { span: entry.value.span, value: Value::Scalar(value) },
                    None => partly(&entry.value, &entry.key, variables, report),
                };
                Entry { value, ..entry.clone() }
            };
            Value::Map(entries.iter().map(entry).collect())
        }
    };
    Node { span: node.span, value }
}

/// The value of a variable of a container; one without is passed on, where it is known.
fn of_environment(name: &str, scalar: &Scalar, variables: &Variables, report: &mut Report) -> Option<Scalar> {
    if scalar.kind == Kind::Null {
        let known = variables.get(name).and_then(Known::text).filter(|_| !is_secret_name(name))?;
        report.from_file.insert(name.to_owned());
        return Some(Scalar::text(known.replace('$', "$$")));
    }
    let text = text_partly(&scalar.text, variables, report);
    let becomes_secret = text != scalar.text && is_secret(name, &text.replace("$$", "$"));
    Some(if becomes_secret { scalar.clone() } else { Scalar { text, kind: scalar.kind } })
}

fn item_of_environment(item: &Node, variables: &Variables, report: &mut Report) -> Node {
    let Some(typed) = item.scalar().map(|scalar| scalar.text.as_str()) else { return item.clone() };
    let (name, value) = match typed.split_once('=') {
        Some((name, value)) => (name, Scalar::text(value)),
        None => (typed, Scalar { text: String::new(), kind: Kind::Null }),
    };
    match of_environment(name, &value, variables, report) {
        Some(value) => {
            let text = format!("{name}={}", value.text);
            Node { span: item.span, value: Value::Scalar(Scalar::text(text)) }
        }
        None => item.clone(),
    }
}

fn text_partly(text: &str, variables: &Variables, report: &mut Report) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let length = expression_end(&rest[at..]);
        let typed = &rest[at..at + length];
        let mut own = Report::default();
        match fill(typed, variables, &mut own) {
            Filled::Known(filled) => {
                out.push_str(&filled.replace('$', "$$"));
                report.add(own);
            }
            Filled::Unknown(_) | Filled::Secret(_) => out.push_str(typed),
        }
        rest = &rest[at + length..];
    }
    out + rest
}

/// How long the expression is that `text` begins with, which is a `$` at least.
fn expression_end(text: &str) -> usize {
    let after = &text[1..];
    match after.chars().next() {
        Some('$') => 2,
        Some('{') => closing(&after[1..]).map_or(text.len(), |end| end + 3),
        _ => 1 + name_end(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Filled {
        let variables = [("TAG", "1.2"), ("EMPTY", ""), ("HOST", "x.example"), ("URL", "redis://:pw@r/1")];
        let variables = variables.map(|(name, value)| (name.to_owned(), Known::Text(value.to_owned())));
        fill(text, &Variables::from(variables), &mut Report::default())
    }

    #[test]
    fn what_has_a_value_is_filled_in() {
        for (text, expected) in [
            ("app:$TAG", "app:1.2"),
            ("app:${TAG}-slim", "app:1.2-slim"),
            ("${TAG:-9}", "1.2"),
            ("${EMPTY:-9}${EMPTY-8}", "9"),
            ("${NONE:-a${TAG:-b}c}", "a1.2c"),
            ("${NONE-}", ""),
            ("${TAG:?has to be set}", "1.2"),
            ("${TAG+set}${NONE:+not}", "set"),
            ("$$HOME $${TAG} 5$ $", "$HOME ${TAG} 5$ $"),
            ("https://${HOST}/", "https://x.example/"),
        ] {
            assert_eq!(filled(text), Filled::Known(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_known_is_filled_in_for_a_reader_that_knows_less() {
        let variables = [("TAG", "1$2"), ("URL", "redis://:pw@r/1")];
        let variables = variables.map(|(name, value)| (name.to_owned(), Known::Text(value.to_owned())));
        let variables = Variables::from(variables);
        for (text, expected) in [
            ("a:$TAG-${TAG:-x}", "a:1$$2-1$$2"),
            ("$$TAG ${URL} ${NONE} $ ${NONE:-y}", "$$TAG ${URL} ${NONE} $$ y"),
            ("${OPEN", "${OPEN"),
        ] {
            assert_eq!(text_partly(text, &variables, &mut Report::default()), expected, "{text}");
        }
    }

    #[test]
    fn what_has_none_or_is_secret_is_told_apart() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(filled("${A:?set it}/$B"), Filled::Unknown(names(&["A", "B"])));
        assert_eq!(filled("x:${DB_PASSWORD:-dev}@$A"), Filled::Secret(names(&["DB_PASSWORD", "A"])));
        assert_eq!(filled("$URL"), Filled::Secret(names(&["URL"])));
        assert_eq!(filled("${"), Filled::Unknown(names(&["${"])));
    }
}
