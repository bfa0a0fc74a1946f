//! `env`: with `clear` and `secret`, or the variables themselves.

use super::erb::PLACE;
use crate::decode::listed;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::secrecy::{is_secret, is_secret_name};
use crate::import::variables::{self, From, Variable};
use crate::import::write::Out;
use crate::tree::Node;

/// `at`: what it is called.
pub(super) fn variables(node: Option<&Node>, at: &str, draft: &mut Draft) -> Option<Out> {
    let node = node?;
    let nested = ["clear", "secret", "tags"]
        .iter()
        .any(|key| node.get(key).is_some_and(|value| value.scalar().is_none()));
    let mut found = Vec::new();
    let clear = if nested { node.get("clear") } else { Some(node) };
    for (name, value) in clear.map(variables::pairs).unwrap_or_default() {
        if variables::usable(&name, draft) {
            let value = self::value(&name, &value.unwrap_or_default(), at, draft);
            found.extend(value.map(|value| Variable { name, value }));
        }
    }
    for item in node.get("secret").filter(|_| nested).and_then(Node::items).unwrap_or_default() {
        let typed = item.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        let (name, source) = typed.split_once(':').unwrap_or((typed, ""));
        let name = name.to_owned();
        if !source.is_empty() && source != name {
            draft.note(format!(
                "`{at}.secret`: `{}` has the value of the secret {}",
                plain(&name),
                quoted(source)
            ));
        }
        if variables::usable(&name, draft) {
            found.push(Variable { name, value: From::Secret });
        }
    }
    tags(node.get("tags").filter(|_| nested), at, draft);
    variables::list(&found, draft)
}

fn value(name: &str, value: &str, at: &str, draft: &mut Draft) -> Option<From> {
    if value.contains(PLACE) {
        return Some(if is_secret_name(name) { From::Secret } else { From::Unknown });
    }
    if !value.is_empty() && is_secret(name, value) {
        draft.left_out(
            name,
            at,
            "it looks secret, and stands in the file as it did in the other: whoever reads the repository reads it",
        );
    }
    variables::literal(name, value, draft)
}

fn tags(tags: Option<&Node>, at: &str, draft: &mut Draft) {
    for tag in tags.and_then(Node::entries).unwrap_or_default() {
        let groups = ["clear", "secret"].iter().filter_map(|key| tag.value.get(key));
        let mut names: Vec<String> = groups.flat_map(variables::pairs).map(|(name, _)| name).collect();
        if names.is_empty() {
            names = variables::pairs(&tag.value).into_iter().map(|(name, _)| name).collect();
        }
        draft.note(format!(
            "`{at}.tags.{}`: {}: for the hosts with that tag; variables are of the app or of a process, so give such hosts a role and \
             a process of their own",
            plain(&tag.key),
            listed(names.iter().map(String::as_str), "and")
        ));
    }
}
