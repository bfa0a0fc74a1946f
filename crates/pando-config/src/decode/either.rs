//! Values that may be written in two ways: one or a list of them, a record or a plain yes or no.

use serde_json::{Value as Json, json};

use super::{At, Decode, Definitions, Key, Leaf, List, Record, Wrong, complain};
use crate::diagnostic::Sink;
use crate::tree::{Node, Value};
use crate::value::Flag;

/// One, or a list.
#[derive(Debug, Clone)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<At<T>>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for OneOrMany<T> {
    fn expected() -> String {
        format!("{}, or a list of such", T::expected())
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.value {
            Value::List(_) => List::<T>::decode(node, sink).map(|list| Self(list.0)),
            _ => T::decode(node, sink).map(|one| Self(vec![At::new(node.span, one)])),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({"anyOf": [T::schema(definitions), List::<T>::schema(definitions)]})
    }

    fn nested() -> Option<(&'static str, Vec<Key>)> {
        T::nested()
    }
}

/// A record, `true` for one with its defaults, or `false` for none.
#[derive(Debug, Clone)]
pub(crate) enum Switch<R> {
    Off,
    On(R),
}

impl<R> Switch<R> {
    pub(crate) fn on(&self) -> Option<&R> {
        match self {
            Self::On(record) => Some(record),
            Self::Off => None,
        }
    }
}

impl<R: Record + Decode + Default> Decode for Switch<R> {
    fn expected() -> String {
        format!("`true`, `false`, or {}", R::WHAT)
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        if node.entries().is_some() {
            return R::decode(node, sink).map(Self::On);
        }
        match node.scalar().filter(|_| !node.is_null()).map(Flag::parse) {
            Some(Ok(Flag(true))) => Some(Self::On(R::default())),
            Some(Ok(Flag(false))) => Some(Self::Off),
            Some(Err(Wrong { hint, .. })) => {
                complain(node, &Self::expected(), Wrong { hint, ..Wrong::default() }, sink);
                None
            }
            None => {
                complain(node, &Self::expected(), Wrong::default(), sink);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({"anyOf": [<Flag as Leaf>::schema(), R::schema(definitions)]})
    }

    fn over(self, under: Self) -> Self {
        match (self, under) {
            (Self::On(over), Self::On(under)) => Self::On(over.over(under)),
            (over, _) => over,
        }
    }

    fn nested() -> Option<(&'static str, Vec<Key>)> {
        R::nested()
    }
}
