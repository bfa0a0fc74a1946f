//! Maps with known keys, as structs: one declaration gives the struct, how it is
//! read, its schema, its documentation and how one overrides another.

use serde_json::{Map, Value as Json, json};

use super::{At, Decode, Definitions, Field, Wrong, complain, listed, nearest};
use crate::diagnostic::{Sink, quoted};
use crate::source::Span;
use crate::tree::{Entry, Node, Value};

/// What is known of one key of a record.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) note: Note,
    pub(crate) expected: fn() -> String,
    pub(crate) schema: fn(&mut Definitions) -> Json,
    pub(crate) nested: fn() -> Option<(&'static str, Vec<Key>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    Optional,
    Required,
    /// What it is when the key is absent, as one would type it.
    Default(&'static str),
}

impl Note {
    /// The default as a value of JSON.
    pub(crate) fn default_json(self) -> Option<Json> {
        let Self::Default(typed) = self else { return None };
        Some(serde_json::from_str(typed).unwrap_or_else(|_| Json::from(typed)))
    }
}

/// A map with known keys. Defined by `record!`.
pub(crate) trait Record: Sized {
    const NAME: &'static str;
    /// As in "expected …" and "… has no key": `a health check`.
    const WHAT: &'static str;

    fn about() -> String;
    fn keys() -> Vec<Key>;
    fn read(reader: &mut Reader<'_>) -> Self;
    fn record_over(self, under: Self) -> Self;

    /// Keys of elsewhere that people try here, and what to write instead.
    fn misplaced(_key: &str) -> Option<String> {
        None
    }

    /// Drops what makes no sense any more beside what `over` has: of keys that exclude each other, the overriding one wins.
    fn give_way(&mut self, _over: &Self) {}
}

/// Defines a record. A field is `name: Type;`, with `[required]` or `[default "as typed"]` before the semicolon.
macro_rules! record {
    ($(#[doc = $about:expr])* $name:ident = $what:literal {
        $($(#[doc = $doc:expr])* $field:ident: $type:ty $([$($note:tt)*])?;)*
    } $(misplaced $misplaced:ident)? $(give_way $give_way:ident)?) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* pub(crate) $field: $crate::decode::Field<$type>,)*
        }

        impl $crate::decode::Record for $name {
            const NAME: &'static str = stringify!($name);
            const WHAT: &'static str = $what;

            fn about() -> String {
                [$($about),*].concat().trim().to_owned()
            }

            fn keys() -> Vec<$crate::decode::Key> {
                vec![$($crate::decode::Key {
                    name: stringify!($field).trim_start_matches("r#"),
                    about: [$($doc),*].concat().trim().to_owned(),
                    note: $crate::decode::note!($($($note)*)?),
                    expected: <$type as $crate::decode::Decode>::expected,
                    schema: <$type as $crate::decode::Decode>::schema,
                    nested: <$type as $crate::decode::Decode>::nested,
                }),*]
            }

            fn read(reader: &mut $crate::decode::Reader<'_>) -> Self {
                Self { $($field: reader.field(stringify!($field).trim_start_matches("r#"))),* }
            }

            fn record_over(self, under: Self) -> Self {
                Self { $($field: self.$field.over(under.$field)),* }
            }

            $(fn misplaced(key: &str) -> Option<String> {
                $misplaced(key)
            })?

            $(fn give_way(&mut self, over: &Self) {
                $give_way(self, over);
            })?
        }

        impl $crate::decode::Decode for $name {
            fn expected() -> String {
                <Self as $crate::decode::Record>::WHAT.to_owned()
            }

            fn decode(node: &$crate::tree::Node, sink: &mut $crate::diagnostic::Sink) -> Option<Self> {
                $crate::decode::Reader::read(node, <Self as $crate::decode::Record>::WHAT, &[], sink).map(|(record, _)| record)
            }

            fn schema(definitions: &mut $crate::decode::Definitions) -> serde_json::Value {
                $crate::decode::Reader::schema::<Self>(definitions)
            }

            fn over(self, mut under: Self) -> Self {
                $crate::decode::Record::give_way(&mut under, &self);
                $crate::decode::Record::record_over(self, under)
            }

            fn nested() -> Option<(&'static str, Vec<$crate::decode::Key>)> {
                Some((".", <Self as $crate::decode::Record>::keys()))
            }
        }
    };
}

macro_rules! note {
    () => {
        $crate::decode::Note::Optional
    };
    (required) => {
        $crate::decode::Note::Required
    };
    (default $typed:literal) => {
        $crate::decode::Note::Default($typed)
    };
}

pub(crate) use {note, record};

/// Reads the keys of one map.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    entries: &'a [Entry],
    /// Keys that were probably meant, and what was typed: these are wrong, not missing.
    misspelt: Vec<(String, Span)>,
    sink: &'a mut Sink,
}

impl Reader<'_> {
    /// The record that `node` is, called `what`, and the entries of `besides`, which are keys that the caller reads itself.
    pub(crate) fn read<'n, R: Record>(
        node: &'n Node,
        what: &str,
        besides: &[&str],
        sink: &mut Sink,
    ) -> Option<(R, Vec<&'n Entry>)> {
        let Value::Map(entries) = &node.value else {
            let names: Vec<&str> = R::keys().iter().map(|key| key.name).collect();
            complain(node, what, Wrong::with_hint(all_of(&names)), sink);
            return None;
        };
        let keys = R::keys();
        let names: Vec<&str> = keys.iter().map(|key| key.name).chain(besides.iter().copied()).collect();
        let mut misspelt = Vec::new();
        for entry in entries {
            if !names.contains(&entry.key.as_str()) && !sink.is_full() {
                let meant = unknown::<R>(entry, what, &names, sink);
                misspelt.extend(meant.map(|name| (name, entry.key_span)));
            }
        }
        for key in keys.iter().filter(|key| key.note == Note::Required) {
            let given = entries.iter().any(|entry| entry.key == key.name);
            if !given && misspelt.iter().all(|(name, _)| name != key.name) {
                sink.error(start_of(node, entries), format!("{what} needs the key `{}`", key.name));
            }
        }
        let own: Vec<&Entry> = entries.iter().filter(|entry| besides.contains(&entry.key.as_str())).collect();
        Some((R::read(&mut Reader { entries, misspelt, sink }), own))
    }

    pub(crate) fn field<T: Decode>(&mut self, name: &str) -> Field<T> {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == name) else {
            let misspelt = self.misspelt.iter().find(|(meant, _)| meant == name);
            return misspelt.map_or(Field::Absent, |(_, span)| Field::Wrong(*span));
        };
        match T::decode(&entry.value, self.sink) {
            Some(value) => Field::Given(At { key: entry.key_span, span: entry.value.span, value }),
            None => Field::Wrong(entry.key_span),
        }
    }

    /// A reference to the record's schema, which is put among the definitions.
    pub(crate) fn schema<R: Record>(definitions: &mut Definitions) -> Json {
        if !definitions.0.contains_key(R::NAME) {
            definitions.0.insert(R::NAME, Json::Null);
            let schema = object_schema::<R>(definitions);
            definitions.0.insert(R::NAME, schema);
        }
        json!({"$ref": format!("#/$defs/{}", R::NAME)})
    }
}

/// The schema of a record, itself.
pub(crate) fn object_schema<R: Record>(definitions: &mut Definitions) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in R::keys() {
        let mut schema = (key.schema)(definitions);
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), key.about.into());
            if let Some(default) = key.note.default_json() {
                object.insert("default".to_owned(), default);
            }
        }
        if key.note == Note::Required {
            required.push(key.name);
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let mut schema = json!({
        "type": "object",
        "description": R::about(),
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Reports a key that is not known; the one that was probably meant.
fn unknown<R: Record>(entry: &Entry, what: &str, names: &[&str], sink: &mut Sink) -> Option<String> {
    let typed = entry.key.as_str();
    let meant = nearest(typed, names.iter().copied());
    let hint = R::misplaced(typed)
        .or_else(|| meant.map(|name| format!("did you mean `{name}`?")))
        .unwrap_or_else(|| all_of(names));
    sink.error_hint(entry.key_span, format!("{what} has no key {}", quoted(typed)), hint);
    meant.map(str::to_owned)
}

fn all_of(names: &[&str]) -> String {
    const MOST: usize = 12;
    if names.len() > MOST {
        return "`pando schema` lists the keys that there are".to_owned();
    }
    format!("the keys are {}", listed(names.iter().copied(), "and"))
}

/// For a missing key: the first key that is there, or the map itself.
fn start_of(node: &Node, entries: &[Entry]) -> Span {
    entries.first().map_or(node.span, |entry| entry.key_span)
}

/// A record that can also be given by its main value alone, such as `image: org/app:1`.
pub(crate) trait Shorthand: Record {
    type Short: Decode;

    fn from_short(short: At<Self::Short>) -> Self;
}

/// A record, or its shorthand.
#[derive(Debug, Clone)]
pub(crate) struct OrRecord<R>(pub(crate) R);

impl<R: Shorthand + Decode> Decode for OrRecord<R> {
    fn expected() -> String {
        format!("{}, or a map of its keys", R::Short::expected())
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.value {
            Value::Map(_) => R::decode(node, sink).map(Self),
            Value::Scalar(_) if !node.is_null() => {
                let short = R::Short::decode(node, sink)?;
                Some(Self(R::from_short(At::new(node.span, short))))
            }
            _ => {
                complain(node, &Self::expected(), Wrong::default(), sink);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({"anyOf": [R::Short::schema(definitions), R::schema(definitions)]})
    }

    fn nested() -> Option<(&'static str, Vec<Key>)> {
        R::nested()
    }
}
