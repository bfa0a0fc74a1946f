//! TOML into the tree, from the spanned tables of the `toml` crate.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DEEPEST, Format, malformed, too_deep};
use crate::diagnostic::Sink;
use crate::source::{SourceFile, Span};
use crate::tree::{Entry, Kind, Node, Scalar, Value};

pub(super) fn tree(file: &SourceFile, sink: &mut Sink) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(file.text());
    for error in errors {
        let range = error.span().unwrap_or_default();
        malformed(Format::Toml, Span::new(range.start, range.end), error.message(), None, sink);
    }
    if sink.has_errors() {
        return None;
    }
    let entries = entries(file, table.get_ref(), 0, sink)?;
    Some(Node { span: Span::new(0, file.text().len()), value: Value::Map(entries) })
}

fn entries(file: &SourceFile, table: &DeTable<'_>, depth: usize, sink: &mut Sink) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let key_span = span(key);
        let mut value = node(file, value, depth + 1, sink)?;
        if value.span.end == 0 {
            value.span = key_span;
        }
        entries.push(Entry::new(key.get_ref().to_string(), key_span, value));
    }
    // The parser sorts by name; people read problems and processes in the order in which they wrote them.
    entries.sort_by_key(|entry| entry.key_span);
    Some(entries)
}

fn node(file: &SourceFile, value: &Spanned<DeValue<'_>>, depth: usize, sink: &mut Sink) -> Option<Node> {
    let span = span(value);
    if depth > DEEPEST {
        too_deep(span, sink);
        return None;
    }
    let number = |kind| Scalar { text: file.slice(span).replace('_', ""), kind };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Scalar(Scalar::text(text.as_ref())),
        DeValue::Integer(_) => Value::Scalar(number(Kind::Integer)),
        DeValue::Float(_) => Value::Scalar(number(Kind::Float)),
        DeValue::Boolean(_) => Value::Scalar(number(Kind::Bool)),
        DeValue::Datetime(time) => Value::Scalar(Scalar::text(time.to_string())),
        DeValue::Array(items) => {
            let items: Option<Vec<Node>> =
                items.iter().map(|item| node(file, item, depth + 1, sink)).collect();
            Value::List(items?)
        }
        DeValue::Table(table) => Value::Map(entries(file, table, depth, sink)?),
    };
    Some(Node { span, value })
}

fn span<T>(spanned: &Spanned<T>) -> Span {
    let range = spanned.span();
    Span::new(range.start, range.end)
}
