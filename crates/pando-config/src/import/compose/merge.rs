//! Several compose files as one, and services that extend others, by Compose's rules: maps are merged, most lists are joined, and
//! commands are replaced. `!override` replaces whatever it is, and `!reset` takes it away.

use std::collections::{HashMap, HashSet};

use crate::import::variables;
use crate::source::Span;
use crate::tree::{Entry, Kind, Merge, Node, Scalar, Value};

/// Keys that are maps although they may be written as lists of `name=value`.
const PAIRS: [&str; 7] =
    ["environment", "labels", "args", "extra_hosts", "sysctls", "annotations", "additional_contexts"];
/// Keys of which the later value takes the place of the earlier.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];
/// Lists of mounts, of which there is one for each path in the container.
const MOUNTS: [&str; 2] = ["volumes", "devices"];

/// `over` over `under`; `key`: what they are the values of. What `over` says of merging stays in it: see [`settled`].
pub(super) fn merged(key: &str, under: &Node, over: &Node) -> Node {
    let (under, over) = (normal(key, under), normal(key, over));
    let value = match (&under.value, &over.value) {
        (Value::Map(_) | Value::List(_), _) if over.is_null() => under.value,
        (_, _) if REPLACED.contains(&key) => over.value,
        (Value::Map(below), Value::Map(above)) => Value::Map(maps(below, above)),
        (Value::List(below), Value::List(above)) => Value::List(lists(key, below, above)),
        _ => over.value,
    };
    Node { span: over.span, value }
}

fn maps(below: &[Entry], above: &[Entry]) -> Vec<Entry> {
    let mut entries = below.to_vec();
    let places: HashMap<&str, usize> =
        below.iter().enumerate().map(|(at, entry)| (entry.key.as_str(), at)).collect();
    for entry in above {
        match places.get(entry.key.as_str()) {
            Some(&at) if entry.merge == Merge::Join => {
                entries[at].value = merged(&entry.key, &below[at].value, &entry.value);
            }
            Some(&at) => entries[at] = entry.clone(),
            None => entries.push(entry.clone()),
        }
    }
    entries
}

fn lists(key: &str, below: &[Node], above: &[Node]) -> Vec<Node> {
    let given: HashSet<String> = above.iter().map(identity).collect();
    let is_mounts = MOUNTS.contains(&key);
    let targets: HashSet<String> = above.iter().filter(|_| is_mounts).map(target).collect();
    let hidden =
        |item: &Node| given.contains(&identity(item)) || (is_mounts && targets.contains(&target(item)));
    below.iter().filter(|item| !hidden(item)).chain(above).cloned().collect()
}

fn identity(item: &Node) -> String {
    match item.scalar() {
        Some(scalar) => scalar.text.clone(),
        None => format!("{:?}", without_places(item).value),
    }
}

/// The path in the container.
fn target(item: &Node) -> String {
    match item.scalar() {
        Some(scalar) => scalar.text.split(':').nth(1).unwrap_or(&scalar.text).to_owned(),
        None => {
            item.get("target").and_then(Node::scalar).map(|target| target.text.clone()).unwrap_or_default()
        }
    }
}

/// Without what is said of merging: it has been done.
pub(super) fn settled(node: Node) -> Node {
    let value = match node.value {
        Value::Map(entries) => {
            let kept = entries.into_iter().filter(|entry| entry.merge != Merge::Remove);
            let settled = |entry: Entry| Entry { value: settled(entry.value), merge: Merge::Join, ..entry };
            Value::Map(kept.map(settled).collect())
        }
        Value::List(items) => Value::List(items.into_iter().map(settled).collect()),
        value => value,
    };
    Node { span: node.span, value }
}

/// Where a value stands in its file is no part of what it is.
pub(super) fn without_places(node: &Node) -> Node {
    let span = Span::default();
    let value = match &node.value {
        Value::Scalar(scalar) => Value::Scalar(scalar.clone()),
        Value::List(items) => Value::List(items.iter().map(without_places).collect()),
        Value::Map(entries) => {
            let entry = |entry: &Entry| Entry::new(entry.key.clone(), span, without_places(&entry.value));
            let mut entries: Vec<Entry> = entries.iter().map(entry).collect();
            entries.sort_by(|one, other| one.key.cmp(&other.key));
            Value::Map(entries)
        }
    };
    Node { span, value }
}

/// Whether two values say the same, wherever they stand.
pub(super) fn is_same(one: &Node, other: &Node) -> bool {
    without_places(one) == without_places(other)
}

/// A key that may be written in several ways, in the one that can be merged.
fn normal(key: &str, node: &Node) -> Node {
    let value = match (key, &node.value) {
        (key, Value::List(_)) if PAIRS.contains(&key) => Value::Map(
            variables::pairs(node)
                .into_iter()
                .map(|(name, value)| Entry::new(name, node.span, text_or_null(node, value)))
                .collect(),
        ),
        ("depends_on" | "networks", Value::List(items)) => {
            let names = items.iter().filter_map(Node::scalar);
            let entry = |name: &Scalar| Entry::new(&*name.text, node.span, text_or_null(node, None));
            Value::Map(names.map(entry).collect())
        }
        ("build", Value::Scalar(_)) if !node.is_null() => {
            Value::Map(vec![Entry::new("context", node.span, node.clone())])
        }
        ("env_file" | "tmpfs" | "dns", Value::Scalar(_)) if !node.is_null() => {
            Value::List(vec![node.clone()])
        }
        ("env_file", Value::Map(_)) => Value::List(vec![node.clone()]),
        (_, value) => value.clone(),
    };
    Node { span: node.span, value }
}

fn text_or_null(node: &Node, text: Option<String>) -> Node {
    let scalar = text.map_or(Scalar { text: String::new(), kind: Kind::Null }, Scalar::text);
    Node { span: node.span, value: Value::Scalar(scalar) }
}
