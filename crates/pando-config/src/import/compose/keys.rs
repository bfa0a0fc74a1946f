//! A map of a compose file as one reader takes it apart: whoever reads a key says so by reading it, and all others are named.

use crate::import::draft::{Draft, plain};
use crate::tree::{Entry, Node};

pub(super) struct Keys<'n> {
    entries: &'n [Entry],
    read: Vec<&'static str>,
}

impl<'n> Keys<'n> {
    /// Those of `node`; none if it is no map.
    pub(super) fn of(node: &'n Node) -> Self {
        Self { entries: node.entries().unwrap_or_default(), read: Vec::new() }
    }

    /// Those of `node`, which a note names where it is no map. `at`: how it is called.
    pub(super) fn of_map(node: &'n Node, at: &str, of: &str, draft: &mut Draft) -> Self {
        if node.entries().is_none() && !node.is_null() {
            let why = format!("expected a map of keys, found {}", node.describe());
            draft.left_out(at, of, &why);
        }
        Self::of(node)
    }

    /// The value of `key`, which counts as read from here on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.read.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<&'n str> {
        self.take(key).and_then(Node::scalar).map(|scalar| scalar.text.as_str())
    }

    /// Be it within quotes, as Compose takes it.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let scalar = self.take(key).and_then(Node::scalar)?;
        scalar.as_bool().or_else(|| scalar.text.parse().ok())
    }

    /// What nobody has read, and says something.
    pub(super) fn others(&self) -> impl Iterator<Item = &'n Entry> {
        let is_other = |entry: &&Entry| {
            !self.read.contains(&entry.key.as_str()) && !entry.value.is_null() && !entry.key.starts_with("x-")
        };
        self.entries.iter().filter(is_other).collect::<Vec<_>>().into_iter()
    }

    /// Names them: `at.key` of `of`, and why.
    pub(super) fn name_others(&self, at: &str, of: &str, why: &str, draft: &mut Draft) {
        for entry in self.others() {
            draft.left_out(&format!("{at}.{}", plain(&entry.key)), of, why);
        }
    }
}
