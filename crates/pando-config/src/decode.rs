//! From the tree to typed values, every problem at once.
//!
//! A type that can be read says, in one place, what it is called in messages,
//! how it is read, what its JSON Schema is and how one value overrides another;
//! so parser, schema, reference and merging can't disagree. Whether values fit
//! together is left to `lower`.

mod choice;
mod either;
mod record;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::diagnostic::Sink;
use crate::source::Span;
use crate::tree::{Node, Scalar, Value};

pub(crate) use choice::choice;
pub(crate) use either::{OneOrMany, Switch};
pub(crate) use record::{Key, Note, OrRecord, Reader, Record, Shorthand, note, object_schema, record};

/// What the file has at a key or in a list.
pub(crate) trait Decode: Sized {
    /// As in "expected …": `a count`, `one of …`.
    fn expected() -> String;

    /// `None`: it is not one, and `sink` has the reason.
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self>;

    /// Accepts what `decode` accepts, as far as a schema can say.
    fn schema(definitions: &mut Definitions) -> Json;

    /// This where both are given: a target's value over the root's.
    fn over(self, _under: Self) -> Self {
        self
    }

    /// The keys below, with what their names are joined to (`.` or `[].` or `.NAME.`).
    fn nested() -> Option<(&'static str, Vec<Key>)> {
        None
    }
}

/// The `$defs` of a schema, by name. A name is taken before its schema is made, so that types may contain themselves.
#[derive(Debug, Default)]
pub(crate) struct Definitions(pub(crate) BTreeMap<&'static str, Json>);

/// A value with the places of itself and of its key; in a list, of itself twice.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) key: Span,
    pub(crate) span: Span,
    pub(crate) value: T,
}

impl<T> At<T> {
    pub(crate) fn new(span: Span, value: T) -> Self {
        Self { key: span, span, value }
    }
}

/// A key of a record: what the file has there. A wrong value is not a missing one: only the latter is worth more words.
#[derive(Debug, Clone, Default)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    /// Given, but not right; reported already.
    Wrong(Span),
    Given(At<T>),
}

impl<T> Field<T> {
    pub(crate) fn get(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Wrong(_) => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&T> {
        self.get().map(|at| &at.value)
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The place of the key, if the file has it, right or wrong.
    pub(crate) fn key(&self) -> Option<Span> {
        match self {
            Self::Absent => None,
            Self::Wrong(key) => Some(*key),
            Self::Given(at) => Some(at.key),
        }
    }
}

impl<T: Decode> Field<T> {
    pub(crate) fn over(self, under: Self) -> Self {
        match (self, under) {
            (Self::Absent, under) => under,
            (Self::Given(At { key, span, value }), Self::Given(under)) => {
                Self::Given(At { key, span, value: value.over(under.value) })
            }
            (over, _) => over,
        }
    }
}

/// Why a scalar is not what was expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// `None`: "expected …, found …".
    pub(crate) message: Option<String>,
    pub(crate) hint: Option<String>,
    /// What was found must not be shown.
    pub(crate) secret: bool,
}

impl Wrong {
    pub(crate) fn because(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::default() }
    }

    pub(crate) fn with_hint(hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::default() }
    }

    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A type that is read from a scalar.
pub(crate) trait Leaf: Sized {
    fn expected() -> String;

    fn parse(scalar: &Scalar) -> Result<Self, Wrong>;

    /// What to write instead of a list or a map, where it is known.
    fn instead_of(_: &Node) -> Option<String> {
        None
    }

    fn schema() -> Json;
}

impl<T: Leaf> Decode for T {
    fn expected() -> String {
        T::expected()
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let parsed = match node.scalar() {
            Some(scalar) if !node.is_null() => T::parse(scalar),
            _ => Err(Wrong { hint: T::instead_of(node), ..Wrong::default() }),
        };
        parsed.map_err(|wrong| complain(node, &T::expected(), wrong, sink)).ok()
    }

    fn schema(_: &mut Definitions) -> Json {
        T::schema()
    }
}

pub(crate) fn complain(node: &Node, expected: &str, wrong: Wrong, sink: &mut Sink) {
    if let (true, Some(message)) = (wrong.secret, &wrong.message) {
        return sink.error_in_secret(node.span, message.clone(), wrong.hint);
    }
    let message = wrong.message.unwrap_or_else(|| format!("expected {expected}, found {}", node.describe()));
    let nothing = || node.is_null().then(|| "give it a value, or remove the key".to_owned());
    match wrong.hint.or_else(nothing) {
        Some(hint) => sink.error_hint(node.span, message, hint),
        None => sink.error(node.span, message),
    }
}

/// A list, each item with its place.
#[derive(Debug, Clone)]
pub(crate) struct List<T>(pub(crate) Vec<At<T>>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for List<T> {
    fn expected() -> String {
        format!("a list, each {}", T::expected())
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let hint = if node.scalar().is_some() && !node.is_null() {
                "put it in a list: `[…]`"
            } else {
                "lists are `[…]`, or lines that start with `- `"
            };
            complain(node, &Self::expected(), Wrong::with_hint(hint), sink);
            return None;
        };
        let decoded = items.iter().filter_map(|item| Some(At::new(item.span, T::decode(item, sink)?)));
        Some(Self(decoded.collect()))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({"type": "array", "items": T::schema(definitions)})
    }

    fn nested() -> Option<(&'static str, Vec<Key>)> {
        Some(("[].", T::nested()?.1))
    }
}

/// A map from names to values, in the file's order; one overrides another name by name.
#[derive(Debug, Clone)]
pub(crate) struct Named<N, T> {
    pub(crate) entries: Vec<(At<N>, At<T>)>,
    /// Whether the file has more, with names or values that are wrong.
    pub(crate) incomplete: bool,
}

impl<N, T> Default for Named<N, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), incomplete: false }
    }
}

impl<N: Leaf + Clone + PartialEq, T: Decode> Decode for Named<N, T> {
    fn expected() -> String {
        format!("a map from {} to {}", N::expected(), T::expected())
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            complain(node, &Self::expected(), Wrong::default(), sink);
            return None;
        };
        let mut decoded = Self::default();
        for entry in entries {
            let key = Node { span: entry.key_span, value: Value::Scalar(Scalar::text(&entry.key)) };
            let name = N::decode(&key, sink);
            let value = T::decode(&entry.value, sink);
            if let (Some(name), Some(value)) = (name, value) {
                let at = At { key: entry.key_span, span: entry.value.span, value };
                decoded.entries.push((At::new(entry.key_span, name), at));
            } else {
                decoded.incomplete = true;
            }
        }
        Some(decoded)
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({"type": "object", "propertyNames": N::schema(), "additionalProperties": T::schema(definitions)})
    }

    fn over(self, under: Self) -> Self {
        let incomplete = self.incomplete || under.incomplete;
        let mut merged = under.entries;
        for (name, over) in self.entries {
            match merged.iter().position(|(given, _)| given.value == name.value) {
                Some(index) => {
                    let (given, below) = merged.remove(index);
                    let value = At { key: over.key, span: over.span, value: over.value.over(below.value) };
                    merged.insert(index, (given, value));
                }
                None => merged.push((name, over)),
            }
        }
        Self { entries: merged, incomplete }
    }

    fn nested() -> Option<(&'static str, Vec<Key>)> {
        Some((".NAME.", T::nested()?.1))
    }
}

/// The one of `known` that `typed` was most likely meant to be.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase().replace(['-', ' '], "_");
    let scored = known.into_iter().filter_map(|candidate| {
        let plain = candidate.replace('-', "_");
        let distance = strsim::damerau_levenshtein(&typed, &plain);
        let close = distance <= 1 + typed.len().min(plain.len()) / 4;
        let similar = strsim::jaro_winkler(&typed, &plain) > 0.9;
        ((close || similar) && typed.len() < 64).then_some((distance, candidate))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// "`a`, `b` and `c`".
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => names.concat(),
    }
}
