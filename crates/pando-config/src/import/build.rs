//! How an image is built, of whichever tool: context, Dockerfile and arguments.

use std::path::{Component, Path};

use super::draft::Draft;
use super::variables;
use super::write::Out;
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::tree::{Node, Scalar};
use crate::value::{EnvName, EnvText, Text};

/// `build` from a map with keys such as `context`, or from the context alone. `at`: what it is called where it is from. `base`: what
/// its paths are seen from, seen from where the new file will be.
pub(super) fn keys(node: Option<&Node>, at: &str, base: &Path, draft: &mut Draft) -> Out {
    let mut pairs = vec![("context".to_owned(), context(node, at, base, draft))];
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        match entry.key.as_str() {
            "context" => {}
            key @ ("dockerfile" | "target") => {
                let value = draft.checked::<Text>(&format!("{at}.{key}"), &entry.value);
                pairs.extend(value.map(|value| (key.to_owned(), value)));
            }
            "args" => pairs.extend(arguments(&entry.value, at, draft).map(|args| ("args".to_owned(), args))),
            key => left_out(key, at, draft),
        }
    }
    Out::Map(pairs)
}

fn context(node: Option<&Node>, at: &str, base: &Path, draft: &mut Draft) -> Out {
    let given = node.filter(|node| node.scalar().is_some()).or_else(|| node?.get("context"));
    let typed = given.and_then(|node| draft.checked::<Text>(&format!("{at}.context"), node));
    let typed = match typed {
        Some(Out::Text(typed) | Out::Raw(typed)) => typed,
        _ => ".".to_owned(),
    };
    if typed.contains("://") || typed.starts_with("git@") || typed.starts_with("github.com/") {
        draft.note(format!(
            "`{at}.context`: {} is fetched from elsewhere, and Pando builds from a directory: check it out here, or name the image",
            quoted(&typed)
        ));
        return Out::text(joined(base, "."));
    }
    Out::text(joined(base, &typed))
}

/// `path`, which is seen from `base`, seen from where `base` is seen from.
pub(super) fn joined(base: &Path, path: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let path = base.join(path);
    for part in path.components() {
        let last_is_name = parts.last().is_some_and(|last| last != ".." && last != "/");
        match part {
            Component::CurDir => {}
            Component::ParentDir if last_is_name => drop(parts.pop()),
            other => parts.push(other.as_os_str().to_string_lossy().into_owned()),
        }
    }
    match parts.split_first() {
        None => ".".to_owned(),
        Some((first, rest)) if first == "/" => format!("/{}", rest.join("/")),
        Some(_) => parts.join("/"),
    }
}

fn left_out(key: &str, at: &str, draft: &mut Draft) {
    let why = match key {
        "arch" | "multiarch" | "platforms" | "platform" => "it is built for the servers' own platform",
        "local" | "remote" | "driver" => "it is built by this machine's `docker`, for the servers' platform",
        "cache" | "cache_from" | "cache_to" => "the builder's own cache on this machine is used",
        "dockerfile_inline" => "write it to a file, and name that as `build.dockerfile`",
        "tags" | "labels" | "image" => {
            "what is built is known by its content, and is given a name on each server"
        }
        "no_cache"
        | "pull"
        | "network"
        | "shm_size"
        | "extra_hosts"
        | "isolation"
        | "privileged"
        | "ulimits"
        | "additional_contexts"
        | "entitlements"
        | "provenance"
        | "sbom"
        | "pack" => "the image is built by `docker build` without it",
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
        let Some(value) = value else {
            draft.note(format!(
                "`{at}.args`: {} was taken from your environment; give it a value",
                quoted(&name)
            ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_new_file() {
        for (base, path, expected) in [
            ("", ".", "."),
            ("", "./api/", "api"),
            ("..", ".", ".."),
            ("../..", "../x", "../../../x"),
            ("config/..", ".", "."),
            ("deploy", "../api", "api"),
            ("..", "/srv/app", "/srv/app"),
        ] {
            assert_eq!(joined(Path::new(base), path), expected, "{base} {path}");
        }
    }
}
