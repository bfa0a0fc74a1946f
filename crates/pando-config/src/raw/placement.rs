//! Which of the servers with its role a process may run on, and which processes come before it.
//!
//! Each is one statement: a target that gives one takes the place of the
//! root's as a whole.

use std::collections::BTreeSet;
use std::fmt::Display;

use pando_model::{ProcessName, ServerName};
use serde_json::Value as Json;

use crate::decode::{Decode, Definitions, Leaf, List, Named, Wrong, complain};
use crate::diagnostic::Sink;
use crate::tree::Node;
use crate::value::{LabelKey, LabelValue};

/// Servers by name: at least one, none twice.
#[derive(Debug, Clone)]
pub(crate) struct Servers(pub(crate) BTreeSet<ServerName>);

impl Decode for Servers {
    fn expected() -> String {
        List::<ServerName>::expected()
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let hint = "name one, or remove the key: then it may run on every server with the role";
        names(node, "server", hint, sink).map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Json {
        schema_of_names::<ServerName>(definitions)
    }
}

/// Processes by name: at least one, none twice.
#[derive(Debug, Clone)]
pub(crate) struct Processes(pub(crate) BTreeSet<ProcessName>);

impl Decode for Processes {
    fn expected() -> String {
        List::<ProcessName>::expected()
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        names(node, "process", "name one, or remove the key", sink).map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Json {
        schema_of_names::<ProcessName>(definitions)
    }
}

/// `what` they are the names of; `hint`: what to do about none.
fn names<T: Leaf + Ord + Clone + Display>(
    node: &Node,
    what: &str,
    hint: &str,
    sink: &mut Sink,
) -> Option<BTreeSet<T>> {
    let list = List::<T>::decode(node, sink)?;
    if node.items().is_some_and(<[Node]>::is_empty) {
        sink.error_hint(node.span, format!("this names no {what}"), hint);
        return None;
    }
    let mut names = BTreeSet::new();
    for name in list.0 {
        if !names.insert(name.value.clone()) {
            sink.error(name.span, format!("the {what} `{}` is given twice", name.value));
        }
    }
    Some(names)
}

fn schema_of_names<T: Decode>(definitions: &mut Definitions) -> Json {
    let mut schema = List::<T>::schema(definitions);
    schema["minItems"] = 1.into();
    schema["uniqueItems"] = true.into();
    schema
}

/// Labels by name.
#[derive(Debug, Clone)]
pub(crate) struct Labels(pub(crate) Named<LabelKey, LabelValue>);

impl Decode for Labels {
    fn expected() -> String {
        "a map of labels such as `disk: ssd`".to_owned()
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        if node.entries().is_none() {
            complain(node, &Self::expected(), Wrong::default(), sink);
            return None;
        }
        Named::decode(node, sink).map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Json {
        Named::<LabelKey, LabelValue>::schema(definitions)
    }
}
