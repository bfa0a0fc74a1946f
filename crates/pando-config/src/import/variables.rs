//! Environment variables of other files, as entries of `env`.

use std::collections::HashSet;

use super::draft::Draft;
use super::secrecy::is_secret_name;
use super::write::Out;
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::tree::{Node, Scalar, Value};
use crate::value::{EnvName, EnvText};

/// A variable that can be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: From,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum From {
    Value(String),
    /// To be set by hand, as a secret.
    Secret,
    /// To be set by hand: only the caller's environment has it.
    Unknown,
    /// The URL or address of one of `services`.
    Service(String),
}

/// `NAME: value` and `- NAME=value` alike; a variable without a value is one of the caller's.
pub(super) fn pairs(node: &Node) -> Vec<(String, Option<String>)> {
    match &node.value {
        Value::Map(entries) => {
            let pair =
                |value: &Node| value.scalar().filter(|_| !value.is_null()).map(|scalar| scalar.text.clone());
            entries.iter().map(|entry| (entry.key.clone(), pair(&entry.value))).collect()
        }
        Value::List(items) => {
            let texts = items.iter().filter_map(|item| item.scalar().map(|scalar| scalar.text.as_str()));
            let pair = |text: &str| match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text.to_owned(), None),
            };
            texts.map(pair).collect()
        }
        Value::Scalar(_) => Vec::new(),
    }
}

/// Whether a variable can be written as one; a note says why not.
pub(super) fn usable(name: &str, draft: &mut Draft) -> bool {
    if EnvName::parse(&Scalar::text(name)).is_err() {
        draft.note(format!("`env`: {} is not the name of a variable", quoted(name)));
        return false;
    }
    if name == "PORT" || name.starts_with("PANDO_") {
        draft.note(format!(
            "`env`: `{name}` is set by Pando, for each replica; `port` says which it is in containers"
        ));
        return false;
    }
    true
}

/// `value` as it is, unless no variable can have it.
pub(super) fn literal(name: &str, value: &str, draft: &mut Draft) -> Option<From> {
    if EnvText::parse(&Scalar::text(value)).is_err() {
        draft.note(format!("`env`: the value of `{name}` has a NUL character in it"));
        return None;
    }
    Some(From::Value(value.to_owned()))
}

/// `value` with what Haloy takes from the caller's environment: `${NAME:-default}` is its default, `${NAME}` a secret.
pub(super) fn value(name: &str, value: &str, draft: &mut Draft) -> Option<From> {
    let whole = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let with_default = whole.and_then(|inner| inner.split_once(":-").or_else(|| inner.split_once('-')));
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if let Some((_, default)) = with_default.filter(|(of, default)| is_name(of) && !default.contains("${")) {
        draft.note(format!("`env`: `{name}` was taken from your environment; its default is kept"));
        return literal(name, default, draft);
    }
    if value.contains("${") {
        draft.note(format!("`env`: `{name}` was put together from your environment, which is not done here"));
        return Some(if is_secret_name(name) { From::Secret } else { From::Unknown });
    }
    literal(name, value, draft)
}

/// The entry of `env`, and the note that a secret needs.
fn entry(variable: &Variable, draft: &mut Draft) -> Out {
    let name = ("name", Out::text(variable.name.clone()));
    match &variable.value {
        From::Value(value) => Out::pairs([name, ("value", Out::text(value.clone()))]),
        From::Secret => draft.secret(&variable.name),
        From::Unknown => draft.unknown(&variable.name),
        From::Service(service) => {
            Out::pairs([name, ("from", Out::pairs([("service", Out::text(service.clone()))]))])
        }
    }
}

/// `env` of these, each name once, the last one of it.
pub(super) fn list(variables: &[Variable], draft: &mut Draft) -> Option<Out> {
    let mut names: HashSet<&str> = HashSet::new();
    let mut kept: Vec<&Variable> =
        variables.iter().rev().filter(|variable| names.insert(&variable.name)).collect();
    kept.reverse();
    let entries: Vec<Out> = kept.into_iter().map(|variable| entry(variable, draft)).collect();
    (!entries.is_empty()).then_some(Out::List(entries))
}
