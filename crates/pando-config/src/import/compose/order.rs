//! What a compose file says of who starts before whom: services that must have ended well are the release command, and the rest is
//! `depends_on`.

use std::collections::{HashMap, HashSet};

use super::keys::Keys;
use super::{Process, Project, Service, command, environment};
use crate::decode::listed;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, few, plain};
use crate::import::write::Out;
use crate::tree::Node;

const ENDED_WELL: &str = "service_completed_successfully";
const CONDITIONS: [&str; 3] = ["service_started", "service_healthy", ENDED_WELL];

/// What a service depends on, each with what is said of that.
fn dependencies(service: &Node) -> Vec<(&str, Option<&Node>)> {
    let node = service.get("depends_on");
    let entries = node.and_then(Node::entries).unwrap_or_default().iter();
    let items = node.and_then(Node::items).unwrap_or_default().iter();
    let named = entries.map(|entry| (entry.key.as_str(), Some(&entry.value)));
    named.chain(items.filter_map(|item| Some((item.scalar()?.text.as_str(), None)))).collect()
}

fn condition(node: Option<&Node>) -> Option<&str> {
    node?.get("condition").and_then(Node::scalar).map(|scalar| scalar.text.as_str())
}

/// A service that runs to its end.
#[derive(Debug)]
pub(super) struct OneOff {
    pub(super) service: Service,
    line: Option<String>,
    awaited: bool,
}

/// Takes those out of `mine` that run to their ends: that others wait for until they have ended well, or that are not started again
/// and that nobody reaches. At least one stays.
pub(super) fn take_one_offs(mine: &mut Vec<Service>) -> Vec<OneOff> {
    let all = mine.iter().flat_map(|service| dependencies(&service.node));
    let awaited = all.filter(|(_, node)| condition(*node) == Some(ENDED_WELL));
    let names: HashSet<String> = awaited.map(|(name, _)| name.to_owned()).collect();
    let ends = |service: &Service| names.contains(&service.name) || is_once(&service.node);
    if mine.iter().all(ends) {
        return Vec::new();
    }
    let (one_offs, others): (Vec<Service>, Vec<Service>) = std::mem::take(mine).into_iter().partition(ends);
    *mine = others;
    let one_off = |service: Service| OneOff {
        line: command::line(&service.node),
        awaited: names.contains(&service.name),
        service,
    };
    sorted(one_offs.into_iter().map(one_off).collect())
}

/// Not started again, and without anything that requests or others come to.
fn is_once(service: &Node) -> bool {
    let policy = service.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
    let policy = policy.and_then(|policy| policy.get("condition")).or(service.get("restart"));
    let never = policy
        .and_then(Node::scalar)
        .is_some_and(|scalar| matches!(scalar.text.as_str(), "no" | "none" | "false"));
    never && ["ports", "expose", "healthcheck"].iter().all(|key| service.get(key).is_none())
}

/// Those first that others wait for; the file's order otherwise.
fn sorted(mut left: Vec<OneOff>) -> Vec<OneOff> {
    let mut sorted: Vec<OneOff> = Vec::new();
    while !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|one| one.service.name.as_str()).collect();
        let free =
            |one: &OneOff| !dependencies(&one.service.node).iter().any(|(other, _)| names.contains(other));
        let at = left.iter().position(free).unwrap_or(0);
        sorted.push(left.remove(at));
    }
    sorted
}

/// Writes `release` of those that others waited for, one after the other.
pub(super) fn write_release(one_offs: &[OneOff], draft: &mut Draft) {
    let (awaited, others): (Vec<&OneOff>, Vec<&OneOff>) =
        one_offs.iter().partition(|one| one.awaited && one.line.is_some());
    for one in others {
        let name = quoted(&one.service.name);
        draft.note(match (&one.line, one.awaited) {
            (Some(line), _) => format!(
                "`services`: {name} ran once and was not started again: `pando run {line}` does so, and `release:` once per \
                 deployment, before traffic moves"
            ),
            (None, _) => format!(
                "`services`: {name} ran once, by the image's own command; write that as `release:`, which runs once per deployment, \
                 before traffic moves"
            ),
        });
    }
    if awaited.is_empty() {
        return;
    }
    let names = listed(awaited.iter().map(|one| one.service.name.as_str()), "and");
    let line = awaited.iter().filter_map(|one| one.line.as_deref()).collect::<Vec<_>>().join(" && ");
    let mut entrypoints = awaited.iter().filter(|one| one.service.node.get("entrypoint").is_some());
    if entrypoints.next().is_some() {
        draft.note(command::IMAGE_ENTRYPOINT_OF_RELEASE);
    }
    let comment =
        format!("Runs once per deployment, before traffic moves, as {names} did before the others.");
    draft.set_with(&comment, "release", Out::text(line));
}

/// Adds `depends_on` to each process.
pub(super) fn carry_over(
    mine: &[Service],
    processes: &mut [Process],
    one_offs: &[OneOff],
    draft: &mut Draft,
) {
    let names: HashMap<String, String> =
        processes.iter().map(|process| (process.service.clone(), process.name.clone())).collect();
    let ended: HashSet<&str> = one_offs.iter().map(|one| one.service.name.as_str()).collect();
    let mut kept = Kept::default();
    let mut nobody: Vec<&str> = Vec::new();
    for service in mine.iter().chain(one_offs.iter().map(|one| &one.service)) {
        for (other, node) in dependencies(&service.node) {
            extras(&service.name, other, node, names.contains_key(other), draft);
            let Some(name) = names.get(&service.name) else { continue };
            match names.get(other) {
                _ if ended.contains(other) => {}
                Some(other) if !kept.leads(other, name) => kept.add(name, other),
                Some(_) => draft.note(format!("`depends_on` of `{name}`: {} depends on it", quoted(other))),
                None => nobody.push(other),
            }
        }
    }
    tell_nobody(nobody, draft);
    write(&kept, processes);
}

/// Says what nothing waits for.
fn tell_nobody(mut names: Vec<&str>, draft: &mut Draft) {
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    if !names.is_empty() {
        draft.note(format!(
            "`depends_on`: nothing waits for {}, which this app does not run; it has to try again until it reaches them",
            few(names.into_iter())
        ));
    }
}

/// What is said of a dependency beside which one it is. `is_own`: the app runs it.
fn extras(of: &str, other: &str, node: Option<&Node>, is_own: bool, draft: &mut Draft) {
    let Some(node) = node else { return };
    let at = format!("depends_on.{}", plain(other));
    let mut keys = Keys::of_map(node, &at, of, draft);
    let (condition, restart, required) =
        (keys.text("condition"), keys.flag("restart"), keys.flag("required"));
    keys.name_others(&at, of, "Pando has nothing like it", draft);
    if restart == Some(true) {
        let why = "nothing is restarted because another thing was";
        draft.left_out(&format!("{at}.restart"), of, why);
    }
    if required == Some(false) && is_own {
        let why = "what is in `depends_on` is waited for; take it out there if the app can do without";
        draft.left_out(&format!("{at}.required: false"), of, why);
    }
    if let Some(odd) = condition.filter(|condition| !CONDITIONS.contains(condition)) {
        let why = "Compose knows no such condition; it waits until that one is ready";
        draft.left_out(&format!("{at}.condition: {}", plain(odd)), of, why);
    }
}

fn write(kept: &Kept, processes: &mut [Process]) {
    for process in processes {
        let others = kept.0.get(&process.name).map(Vec::as_slice).unwrap_or_default();
        if !others.is_empty() {
            let others = others.iter().cloned().map(Out::Text).collect();
            process.keys.push(("depends_on".to_owned(), Out::List(others)));
        }
    }
}

/// Which processes depend on which, without rings.
#[derive(Debug, Default)]
struct Kept(HashMap<String, Vec<String>>);

impl Kept {
    fn add(&mut self, from: &str, to: &str) {
        let others = self.0.entry(from.to_owned()).or_default();
        if others.iter().all(|other| other != to) {
            others.push(to.to_owned());
        }
    }

    /// Whether `from` depends on `to`, be it through others, or is the same.
    fn leads(&self, from: &str, to: &str) -> bool {
        let mut reached = HashSet::from([from]);
        let mut next = vec![from];
        while let Some(from) = next.pop() {
            let others = self.0.get(from).map(Vec::as_slice).unwrap_or_default();
            next.extend(others.iter().map(String::as_str).filter(|other| reached.insert(other)));
        }
        reached.contains(to)
    }
}

/// Keys of a service that say what its command is and when it runs.
const OF_RELEASE: [&str; 9] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "depends_on",
    "restart",
    "extends",
];

/// Of what is the release command now, what it was told and given that it is not any more.
pub(super) fn tell_lost(
    one_offs: &[OneOff],
    processes: &[Process],
    project: &Project<'_>,
    draft: &mut Draft,
) {
    for one in one_offs.iter().filter(|one| one.awaited && one.line.is_some()) {
        tell_variables(&one.service, processes, project, draft);
        for entry in one.service.node.entries().unwrap_or_default() {
            if !OF_RELEASE.contains(&entry.key.as_str()) && !entry.key.starts_with("x-") {
                let why = "the release command runs as the app does, with its volumes";
                draft.left_out(&plain(&entry.key), &one.service.name, why);
            }
        }
    }
}

/// It has the variables that all processes have.
fn tell_variables(service: &Service, processes: &[Process], project: &Project<'_>, draft: &mut Draft) {
    let mut silent = Draft::new("");
    let env = environment::variables(&service.name, &service.node, project, &mut silent);
    let told = |name: &String| {
        processes.iter().all(|process| process.env.iter().any(|variable| variable.name == *name))
    };
    let lost: Vec<String> =
        env.into_iter().map(|variable| variable.name).filter(|name| !told(name)).collect();
    if !lost.is_empty() {
        draft.note(format!(
            "`release`: {} of {} is not told to it: it has the variables that stand at the root of `env`",
            listed(lost.iter().map(String::as_str), "and"),
            quoted(&service.name)
        ));
    }
}
