//! A file as a tree of lists, maps and scalars, each with its place, whatever
//! the format it was written in. What they mean is left to `decode`.

use crate::diagnostic::quoted;
use crate::source::Span;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// For an empty value, the place of its key.
    pub(crate) span: Span,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the file's order, no key twice.
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
    pub(crate) merge: Merge,
}

/// What becomes of an entry where its file is laid over another. Only Compose's files say anything else than the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Both values are made one.
    #[default]
    Join,
    /// `!override`: this value takes the place of the other.
    Replace,
    /// `!reset`: the key is in neither.
    Remove,
}

impl Entry {
    pub(crate) fn new(key: impl Into<String>, key_span: Span, value: Node) -> Self {
        Self { key: key.into(), key_span, value, merge: Merge::Join }
    }
}

/// A single value with its text as it was typed, without quotes and escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Integer,
    Float,
    Text,
    /// Without quotes, where the dialect has dates.
    Date,
}

impl Scalar {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: Kind::Text }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        (self.kind == Kind::Bool).then(|| self.text.eq_ignore_ascii_case("true"))
    }

    /// Of a number without a fraction, whether it was typed as such or within quotes.
    pub(crate) fn as_integer(&self) -> Option<i128> {
        let text = self.text.strip_prefix('+').unwrap_or(&self.text);
        if self.kind == Kind::Integer {
            for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
                if let Some(digits) = text.strip_prefix(prefix) {
                    return i128::from_str_radix(digits, radix).ok();
                }
            }
        }
        if self.kind == Kind::Float {
            return text.strip_suffix(".0").and_then(|whole| whole.parse().ok());
        }
        matches!(self.kind, Kind::Integer | Kind::Text).then(|| text.parse().ok()).flatten()
    }
}

impl Node {
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of `key`, if this is a map that has it and it is not empty.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let entry = self.entries()?.iter().find(|entry| entry.key == key)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// As many values as there are in it.
    pub(crate) fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }

    /// The same with all places moved by `by`.
    pub(crate) fn moved(mut self, by: usize) -> Self {
        let moved = |span: Span| Span::new(span.start + by, span.end + by);
        self.span = moved(self.span);
        match &mut self.value {
            Value::Scalar(_) => {}
            Value::List(items) => {
                *items = std::mem::take(items).into_iter().map(|item| item.moved(by)).collect()
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.key_span = moved(entry.key_span);
                    let empty = Self { span: entry.key_span, value: Value::List(Vec::new()) };
                    entry.value = std::mem::replace(&mut entry.value, empty).moved(by);
                }
            }
        }
        self
    }

    /// What it is, for a message: `a list`, or the value itself.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
            Value::Scalar(scalar) if scalar.kind == Kind::Null => "nothing".to_owned(),
            Value::Scalar(scalar) => quoted(&scalar.text),
        }
    }
}
