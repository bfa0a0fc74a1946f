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
    let context = context(node, at, base, draft);
    let rebased = node.filter(|_| at == "builder").and_then(|node| dockerfile(node, &context, base, draft));
    let mut pairs = vec![("context".to_owned(), context)];
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        match entry.key.as_str() {
            "context" => {}
            "dockerfile" if rebased.is_some() => {}
            key @ ("dockerfile" | "target") => {
                let value = draft.checked::<Text>(&format!("{at}.{key}"), &entry.value);
                pairs.extend(value.map(|value| (key.to_owned(), value)));
            }
            "args" => pairs.extend(arguments(&entry.value, at, draft).map(|args| ("args".to_owned(), args))),
            key => left_out(key, at, draft),
        }
    }
    pairs.extend(rebased.map(|path| ("dockerfile".to_owned(), path)));
    Out::Map(pairs)
}

/// Kamal's is seen from where it runs, as its context is; Pando's, from the context. `None`: it names no context, and they are the same.
fn dockerfile(node: &Node, context: &Out, base: &Path, draft: &mut Draft) -> Option<Out> {
    node.get("context")?;
    let Out::Text(context) = context else { return None };
    let typed = node.get("dockerfile").and_then(Node::scalar).map_or("Dockerfile", |scalar| &scalar.text);
    let whole = joined(base, typed);
    let inside = Path::new(&whole).strip_prefix(context).map(|path| path.to_string_lossy().into_owned());
    let inside = if context == "." && !whole.starts_with("..") { Ok(whole.clone()) } else { inside };
    let Ok(inside) = inside else {
        draft.note(format!(
            "`builder.dockerfile`: {} lies outside the context {}, and `build.dockerfile` is relative to that: it is written as seen \
             from there; put it into the context if the builder can't read it",
            quoted(&whole),
            quoted(context)
        ));
        return Some(Out::text(from_context(context, &whole)));
    };
    let is_told = inside != "Dockerfile" || node.get("dockerfile").is_some();
    draft.checked_text::<Text>("builder.dockerfile", &inside).filter(|_| is_told)
}

/// `path` seen from `context`, which it is not in.
fn from_context(context: &str, path: &str) -> String {
    if path.starts_with('/') || context.starts_with('/') {
        return path.to_owned();
    }
    let (here, there): (Vec<&str>, Vec<&str>) = (context.split('/').collect(), path.split('/').collect());
    let common = here.iter().zip(&there).take_while(|(one, other)| one == other).count();
    let ups = here[common..].iter().filter(|part| **part != ".").map(|_| "..");
    ups.chain(there[common..].iter().copied()).collect::<Vec<_>>().join("/")
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
