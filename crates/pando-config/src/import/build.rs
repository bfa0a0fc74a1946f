//! How an image is built, of whichever tool: context, Dockerfile and arguments.

use super::draft::Draft;
use super::variables;
use super::write::Out;
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::tree::{Node, Scalar};
use crate::value::{EnvName, EnvText, Text};

/// `build` from a map with keys such as `context`, or from the context alone. `at`: what it is called where it is from.
pub(super) fn keys(node: Option<&Node>, at: &str, draft: &mut Draft) -> Out {
    let mut pairs = Vec::new();
    if let Some(context) = node.filter(|node| node.scalar().is_some()) {
        pairs.extend(draft.checked::<Text>(at, context).map(|context| ("context".to_owned(), context)));
    }
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        match entry.key.as_str() {
            key @ ("context" | "dockerfile" | "target") => {
                let value = draft.checked::<Text>(&format!("{at}.{key}"), &entry.value);
                pairs.extend(value.map(|value| (key.to_owned(), value)));
            }
            "args" => pairs.extend(arguments(&entry.value, at, draft).map(|args| ("args".to_owned(), args))),
            key => left_out(key, at, draft),
        }
    }
    if pairs.is_empty() {
        pairs.push(("context".to_owned(), Out::text(".")));
    }
    Out::Map(pairs)
}

fn left_out(key: &str, at: &str, draft: &mut Draft) {
    let why = match key {
        "arch" | "multiarch" | "platforms" | "platform" => return,
        "local" | "remote" | "driver" => "it is built by this machine's `docker`, for the servers' platform",
        "cache" | "cache_from" | "cache_to" => "the builder's own cache on this machine is used",
        "secrets" | "ssh" => {
            "a build is given no secrets; leave what needs one to `release:` or to the start"
        }
        _ => return draft.note(format!("`{at}`: Pando has no key {}", quoted(key))),
    };
    draft.note(format!("`{at}.{key}`: {why}"));
}

fn arguments(node: &Node, at: &str, draft: &mut Draft) -> Option<Out> {
    let mut pairs: Vec<(String, Out)> = Vec::new();
    for (name, value) in variables::pairs(node) {
        let Some(value) = value.filter(|value| !value.contains("${")) else {
            draft.note(format!("`{at}.args`: {} was taken from your environment", quoted(&name)));
            continue;
        };
        let fits =
            EnvName::parse(&Scalar::text(&name)).is_ok() && EnvText::parse(&Scalar::text(&value)).is_ok();
        if fits && pairs.iter().all(|(given, _)| *given != name) {
            pairs.push((name, Out::text(value)));
        } else {
            draft.note(format!("`{at}.args`: {} can't be carried over", quoted(&name)));
        }
    }
    (!pairs.is_empty()).then_some(Out::Map(pairs))
}
