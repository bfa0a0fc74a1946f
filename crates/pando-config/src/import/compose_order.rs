//! What a compose file says of who starts before whom: a service that must have ended well is the release command, and the rest is
//! `depends_on`.

use super::compose_service::Process;
use super::draft::Draft;
use super::shell;
use super::write::Out;
use crate::diagnostic::quoted;
use crate::tree::Node;

const ENDED_WELL: &str = "service_completed_successfully";

/// What a service depends on, each with its condition if it names one.
fn dependencies(service: &Node) -> Vec<(&str, Option<&str>)> {
    let text = |node: &'_ Node| node.scalar().is_some();
    match service.get("depends_on") {
        Some(node) if node.entries().is_some() => {
            let entries = node.entries().unwrap_or_default().iter();
            entries.map(|entry| (entry.key.as_str(), condition(&entry.value))).collect()
        }
        Some(node) => {
            let items = node.items().unwrap_or_default().iter().filter(|item| text(item));
            items.filter_map(|item| Some((item.scalar()?.text.as_str(), None))).collect()
        }
        None => Vec::new(),
    }
}

fn condition(node: &Node) -> Option<&str> {
    node.get("condition").and_then(Node::scalar).map(|scalar| scalar.text.as_str())
}

/// Takes the service out of `mine` that others wait for until it has ended well, and writes its command as `release`; its name.
pub(super) fn take_release<'a>(mine: &mut Vec<(&'a str, &'a Node)>, draft: &mut Draft) -> Option<&'a str> {
    let awaited = |name: &str| {
        let mut all = mine.iter().flat_map(|(_, service)| dependencies(service));
        all.any(|(other, condition)| other == name && condition == Some(ENDED_WELL))
    };
    let command = |service: &Node| service.get("command").and_then(shell::command_line);
    let found = mine.iter().position(|(name, service)| awaited(name) && command(service).is_some())?;
    if mine.len() == 1 {
        return None;
    }
    let (name, service) = mine.remove(found);
    let comment = format!("Ran to its end before the others, as {} did.", quoted(name));
    draft.set_with(&comment, "release", Out::text(command(service)?));
    Some(name)
}

/// Adds `depends_on` to each process; `names` tells which process a service has become.
pub(super) fn carry_over(
    mine: &[(&str, &Node)],
    processes: &mut [Process],
    release: Option<&str>,
    draft: &mut Draft,
) {
    let names: Vec<(String, String)> =
        processes.iter().map(|process| (process.service.clone(), process.name.clone())).collect();
    let mut kept: Vec<(String, String)> = Vec::new();
    for (service, node) in mine {
        let Some((_, name)) = names.iter().find(|(of, _)| of == service) else { continue };
        for (other, _) in dependencies(node).into_iter().filter(|(other, _)| Some(*other) != release) {
            match names.iter().find(|(of, _)| of == other) {
                Some((_, other)) if !leads(&kept, other, name) => kept.push((name.clone(), other.clone())),
                Some(_) => draft.note(format!("`processes.{name}.depends_on`: {} depends on it", quoted(other))),
                None => draft.note(format!(
                    "`processes.{name}.depends_on`: {} is no process of this app, so nothing waits for it; the app has to try again",
                    quoted(other)
                )),
            }
        }
    }
    for process in processes {
        let mut others: Vec<Out> = Vec::new();
        for (_, other) in kept.iter().filter(|(name, _)| *name == process.name) {
            let other = Out::text(other.clone());
            if !others.contains(&other) {
                others.push(other);
            }
        }
        if !others.is_empty() {
            process.keys.push(("depends_on".to_owned(), Out::List(others)));
        }
    }
}

/// Whether `from` depends on `to`, be it through others, or is the same.
fn leads(kept: &[(String, String)], from: &str, to: &str) -> bool {
    from == to || kept.iter().any(|(name, other)| name == from && leads(kept, other, to))
}
