//! Several compose files as one, and services that extend others, by Compose's rules: maps are merged, most lists are joined, and
//! commands are replaced.

use crate::import::variables;
use crate::tree::{Entry, Kind, Node, Scalar, Value};

/// Keys that are maps although they may be written as lists of `name=value`.
const PAIRS: [&str; 7] =
    ["environment", "labels", "args", "extra_hosts", "sysctls", "annotations", "additional_contexts"];
/// Keys of which the later value takes the place of the earlier.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];
/// Lists of mounts, of which there is one for each path in the container.
const MOUNTS: [&str; 2] = ["volumes", "devices"];

/// `over` over `under`; `key`: what they are the values of.
pub(super) fn merged(key: &str, under: &Node, over: &Node) -> Node {
    let (under, over) = (normal(key, under), normal(key, over));
    let value = match (&under.value, &over.value) {
        (_, _) if REPLACED.contains(&key) => over.value,
        (Value::Map(below), Value::Map(above)) => Value::Map(maps(below, above)),
        (Value::List(below), Value::List(above)) => Value::List(lists(key, below, above)),
        _ => over.value,
    };
    Node { span: over.span, value }
}

fn maps(below: &[Entry], above: &[Entry]) -> Vec<Entry> {
    let mut entries = below.to_vec();
    for entry in above {
        match entries.iter_mut().find(|given| given.key == entry.key) {
            Some(given) => given.value = merged(&entry.key, &given.value, &entry.value),
            None => entries.push(entry.clone()),
        }
    }
    entries
}

fn lists(key: &str, below: &[Node], above: &[Node]) -> Vec<Node> {
    let target = |item: &Node| match item.scalar() {
        Some(scalar) => scalar.text.split(':').nth(1).unwrap_or(&scalar.text).to_owned(),
        None => {
            item.get("target").and_then(Node::scalar).map(|target| target.text.clone()).unwrap_or_default()
        }
    };
    let hidden = |item: &Node| {
        let same_path = MOUNTS.contains(&key) && above.iter().any(|other| target(other) == target(item));
        same_path || above.iter().any(|other| other.value == item.value)
    };
    let kept = below.iter().filter(|item| !hidden(item));
    kept.chain(above).cloned().collect()
}

/// A key that may be written in several ways, in the one that can be merged.
fn normal(key: &str, node: &Node) -> Node {
    let value = match (key, &node.value) {
        (key, Value::List(_)) if PAIRS.contains(&key) => Value::Map(
            variables::pairs(node)
                .into_iter()
                .map(|(name, value)| entry(node, name, text_or_null(node, value)))
                .collect(),
        ),
        ("depends_on" | "networks", Value::List(items)) => {
            let names = items.iter().filter_map(Node::scalar);
            Value::Map(names.map(|name| entry(node, name.text.clone(), text_or_null(node, None))).collect())
        }
        ("build", Value::Scalar(_)) => Value::Map(vec![entry(node, "context".to_owned(), node.clone())]),
        ("env_file" | "tmpfs" | "dns", Value::Scalar(_)) => Value::List(vec![node.clone()]),
        (_, value) => value.clone(),
    };
    Node { span: node.span, value }
}

fn entry(node: &Node, key: String, value: Node) -> Entry {
    Entry { key, key_span: node.span, value }
}

fn text_or_null(node: &Node, text: Option<String>) -> Node {
    let scalar = text.map_or(Scalar { text: String::new(), kind: Kind::Null }, Scalar::text);
    Node { span: node.span, value: Value::Scalar(scalar) }
}
