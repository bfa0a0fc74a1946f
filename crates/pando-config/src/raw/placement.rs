//! Which of the servers with its role a process may run on.
//!
//! Both are one statement each: a target that gives one takes the place of the
//! root's as a whole.

use std::collections::BTreeSet;

use pando_model::ServerName;
use serde_json::Value as Json;

use crate::decode::{Decode, Definitions, List, Named, Wrong, complain};
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
        let list = List::<ServerName>::decode(node, sink)?;
        if node.items().is_some_and(<[Node]>::is_empty) {
            let hint = "name one, or remove the key: then it may run on every server with the role";
            sink.error_hint(node.span, "this names no server", hint);
            return None;
        }
        let mut names = BTreeSet::new();
        for name in list.0 {
            if !names.insert(name.value.clone()) {
                sink.error(name.span, format!("the server `{}` is given twice", name.value));
            }
        }
        Some(Self(names))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        let mut schema = List::<ServerName>::schema(definitions);
        schema["minItems"] = 1.into();
        schema["uniqueItems"] = true.into();
        schema
    }
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
