//! Paths of a compose file that is read along with another one, seen from that other.

use std::path::{Path, PathBuf};

use crate::import::build;
use crate::tree::{Entry, Node, Scalar, Value};

/// `path` seen from `directory`, without `.` and `..` where they can be left out, so that a file has one name. As Compose does, `a/../b`
/// is `b` whether there is an `a` or not.
pub(super) fn under(directory: &Path, path: &str) -> PathBuf {
    let joined = build::joined(directory, path);
    PathBuf::from(if joined == "." { String::new() } else { joined })
}

/// A service with its paths, which are seen from `below`, as seen from where `below` is seen from.
pub(super) fn seen_from_above(service: &Node, below: &Path) -> Node {
    if below.as_os_str().is_empty() || below == Path::new(".") {
        return service.clone();
    }
    each(service, |key, value| match key {
        "build" if value.scalar().is_some() => joined(value, below),
        "build" => {
            each(value, |key, value| if key == "context" { joined(value, below) } else { value.clone() })
        }
        "env_file" | "label_file" => files(value, below),
        "volumes" => items(value, |item| mount(item, below)),
        _ => value.clone(),
    })
}

/// A path, a list of paths, and either with `path` before it.
fn files(node: &Node, below: &Path) -> Node {
    match &node.value {
        Value::Scalar(_) => joined(node, below),
        Value::List(_) => items(node, |item| files(item, below)),
        Value::Map(_) => {
            each(node, |key, value| if key == "path" { joined(value, below) } else { value.clone() })
        }
    }
}

fn mount(node: &Node, below: &Path) -> Node {
    let is_beside = |text: &str| text.starts_with("./") || text.starts_with("../") || text == ".";
    match &node.value {
        Value::Scalar(scalar) => match scalar.text.split_once(':').filter(|(source, _)| is_beside(source)) {
            Some((source, rest)) => with_text(node, format!("./{}:{rest}", build::joined(below, source))),
            None => node.clone(),
        },
        _ => each(node, |key, value| match value.scalar() {
            Some(source) if key == "source" && is_beside(&source.text) => joined(value, below),
            _ => value.clone(),
        }),
    }
}

fn joined(node: &Node, below: &Path) -> Node {
    let Some(scalar) = node.scalar().filter(|_| !node.is_null()) else { return node.clone() };
    let text = &scalar.text;
    if is_elsewhere(text) || text.starts_with(['/', '~']) || text.starts_with("${") {
        return node.clone();
    }
    with_text(node, build::joined(below, text))
}

/// Whether it is fetched, and no path.
pub(super) fn is_elsewhere(text: &str) -> bool {
    ["git@", "github.com/", "oci:"].iter().any(|start| text.starts_with(start)) || text.contains("://")
}

fn with_text(node: &Node, text: String) -> Node {
    Node { span: node.span, value: Value::Scalar(Scalar::text(text)) }
}

/// A map with other values, by their keys.
pub(super) fn each(node: &Node, value: impl Fn(&str, &Node) -> Node) -> Node {
    let Some(entries) = node.entries() else { return node.clone() };
    let entries =
        entries.iter().map(|entry| Entry { value: value(&entry.key, &entry.value), ..entry.clone() });
    Node { span: node.span, value: Value::Map(entries.collect()) }
}

pub(super) fn items(node: &Node, item: impl Fn(&Node) -> Node) -> Node {
    match node.items() {
        Some(items) => Node { span: node.span, value: Value::List(items.iter().map(item).collect()) },
        None => node.clone(),
    }
}
