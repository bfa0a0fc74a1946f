//! Environment variables: a list by name, so that a target overrides one by one.

use std::collections::BTreeSet;

use pando_model::ServiceName;
use serde_json::Value as Json;

use crate::decode::{At, Decode, Definitions, Key, List, Wrong, complain, record};
use crate::diagnostic::Sink;
use crate::tree::{Node, Value};
use crate::value::{EnvName, EnvText};

record! {
    /// An environment variable.
    EnvEntry = "a variable" {
        /// The name of the variable.
        name: EnvName [required];
        /// Its value. Exactly one of `value` and `from` is given.
        value: EnvText;
        /// Where its value comes from.
        from: From;
    }
}

record! {
    /// Where a value comes from: exactly one of these.
    From = "a source of a value" {
        /// The name of a secret in the cluster's store.
        secret: SecretName;
        /// The name of one of `services`; the value is its URL, or else the private address of its server.
        service: ServiceName;
    }
}

/// The name of a secret: a DNS label, or a word such as `secret_key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretName(pub(crate) String);

impl crate::decode::Leaf for SecretName {
    fn expected() -> String {
        "the name of a secret".to_owned()
    }

    fn parse(scalar: &crate::tree::Scalar) -> Result<Self, Wrong> {
        let name = &scalar.text;
        let fits = (1..=63).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if fits {
            Ok(Self(name.clone()))
        } else {
            Err(Wrong::with_hint("it has up to 63 letters, digits, `_` and `-`"))
        }
    }

    fn schema() -> Json {
        serde_json::json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,63}$"})
    }
}

/// The variables of an app or a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct EnvList(pub(crate) List<EnvEntry>);

impl EnvList {
    pub(crate) fn entries(&self) -> &[At<EnvEntry>] {
        &self.0.0
    }
}

impl Decode for EnvList {
    fn expected() -> String {
        "a list of variables".to_owned()
    }

    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        if let Value::Map(entries) = &node.value {
            let name = entries.first().map_or("NAME", |entry| entry.key.as_str());
            let hint = format!("write each variable as an item of a list: `- {{name: {name}, value: …}}`");
            complain(node, &Self::expected(), Wrong::with_hint(hint), sink);
            return None;
        }
        let list = List::<EnvEntry>::decode(node, sink)?;
        let mut names = BTreeSet::new();
        for name in list.0.iter().filter_map(|at| at.value.name.get()) {
            if !names.insert(&name.value) {
                sink.error(name.span, format!("the variable `{}` is given twice", name.value.0));
            }
        }
        Some(Self(list))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        List::<EnvEntry>::schema(definitions)
    }

    fn over(self, under: Self) -> Self {
        let mut merged = under.0.0;
        for at in self.0.0 {
            let name = at.value.name.value();
            match merged.iter().position(|given| name.is_some() && given.value.name.value() == name) {
                Some(index) => merged[index] = at,
                None => merged.push(at),
            }
        }
        Self(List(merged))
    }

    fn nested() -> Option<(&'static str, Vec<Key>)> {
        List::<EnvEntry>::nested()
    }
}
