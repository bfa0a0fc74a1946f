//! The processes of the app, and the file that they make up with their domains, volumes and variables.

use std::collections::{HashMap, HashSet};

use super::names::Resolver;
use super::service::{Process, process};
use super::{Parts, Project, command, labels};
use crate::decode::listed;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::mounts::{self, Mount};
use crate::import::secrecy::is_secret;
use crate::import::shell;
use crate::import::variables::{self, From, Variable};
use crate::import::write::Out;
use crate::lower::MOST_PROCESSES;

/// The processes, of which the one that gets requests is called `web`.
pub(super) fn processes(parts: &Parts, project: &Project<'_>, draft: &mut Draft) -> Vec<Process> {
    let mine = parts.mine.iter();
    let mut found: Vec<Process> =
        mine.map(|service| process(&service.name, &service.node, project, draft)).collect();
    rename_web(&mut found, parts.proxied, draft);
    if found.iter().all(|process| process.name != "web") {
        name_web(&mut found, parts.proxied, draft);
    }
    let mut kept = bounded(with_own_names(found, draft), draft);
    for process in kept.iter_mut().filter(|process| process.name == "web") {
        let port = command::port(process, draft);
        process.keys.extend(port.map(|port| ("port".to_owned(), Out::Raw(port.to_string()))));
        if process.keys.iter().all(|(key, _)| key != "port") {
            draft.note(
                "`processes.web.port`: the file does not say where it listens in its container; write it, or it is taken for 8080",
            );
        }
    }
    kept
}

fn with_own_names(processes: Vec<Process>, draft: &mut Draft) -> Vec<Process> {
    let mut names = HashSet::new();
    let (kept, others): (Vec<Process>, Vec<Process>) =
        processes.into_iter().partition(|process| names.insert(process.name.clone()));
    for process in others {
        draft.note(format!(
            "`services`: {} is not carried over, since another one is called `{}`, too: rename one of them",
            quoted(&process.service),
            process.name
        ));
    }
    kept
}

/// As many as an app has at most, `web` among them.
fn bounded(mut processes: Vec<Process>, draft: &mut Draft) -> Vec<Process> {
    let web = processes.iter().position(|process| process.name == "web");
    if let Some(web) = web.filter(|at| *at >= MOST_PROCESSES) {
        processes.swap(0, web);
    }
    if processes.len() > MOST_PROCESSES {
        draft.note(format!(
            "`services`: an app has at most {MOST_PROCESSES} processes: {} services are not carried over, from {} on; make several apps of \
             them",
            processes.len() - MOST_PROCESSES,
            quoted(&processes[MOST_PROCESSES].service)
        ));
        processes.truncate(MOST_PROCESSES);
    }
    processes
}

/// Calls a process `web` otherwise that nobody reaches, where another one is reached.
fn rename_web(processes: &mut [Process], proxied: bool, draft: &mut Draft) {
    let is_reached = |process: &Process| {
        !process.rules.is_empty()
            || process.keys.iter().any(|(key, _)| key == "port")
            || process.published.is_some()
    };
    let listens = |process: &Process| {
        let line = process.keys.iter().find(|(key, _)| key == "command");
        matches!(line, Some((_, Out::Text(line))) if shell::fixed_port(line).is_some())
    };
    let Some(at) = processes.iter().position(|process| process.name == "web") else { return };
    let others = processes.iter().any(|process| process.name != "web" && is_reached(process));
    if proxied || !others || is_reached(&processes[at]) || listens(&processes[at]) {
        return;
    }
    let is_free = |name: &String| processes.iter().all(|process| process.name != *name);
    let names = std::iter::once("worker".to_owned()).chain((2..).map(|number| format!("web-{number}")));
    let Some(name) = names.take(processes.len() + 2).find(is_free) else { return };
    draft.note(format!(
        "`services.{}`: it has no `ports`, and another service has, which is `web` here, as the process that gets the requests is called; \
         this one is called `{name}`",
        plain(&processes[at].service)
    ));
    processes[at].name = name;
}

/// Calls the process `web` that gets requests: one with a rule, or else with a port, or else the only one behind a proxy.
fn name_web(processes: &mut [Process], proxied: bool, draft: &mut Draft) {
    let ruled = processes.iter().position(|process| !process.rules.is_empty());
    let with_port = || processes.iter().position(|process| process.keys.iter().any(|(key, _)| key == "port"));
    let alone = (processes.len() == 1 && proxied).then_some(0);
    match ruled.or_else(with_port).or(alone) {
        Some(index) => {
            draft.note(format!("`services.{}`: it gets the requests, so it is called `web`", processes[index].name));
            "web".clone_into(&mut processes[index].name);
        }
        None if processes.is_empty() => {}
        None => draft.note(
            "`services`: none of the app's has `ports` or `expose`, so none gets requests; the process that is called `web` does, at its \
             `port`",
        ),
    }
}

pub(super) fn write(processes: &mut [Process], parts: &mut Parts, project: &Project<'_>, draft: &mut Draft) {
    let names = &project.names;
    let own: Vec<String> = parts.mine.iter().map(|service| service.name.clone()).collect();
    let mut taken = Vec::new();
    for process in processes.iter_mut() {
        tell_secrets(process, draft);
        let databases = &mut parts.databases;
        Resolver { names, databases, taken: &mut taken, own: &own }.resolve(process, draft);
    }
    labels::write(processes, draft);
    volumes(processes, draft);
    let common = common_variables(processes);
    if let Some(env) = variables::list(&common, draft) {
        draft.set("env", env);
    }
    let written: Vec<(String, Out)> =
        processes.iter().map(|process| (process.name.clone(), keys(process, &common, draft))).collect();
    if !written.is_empty() {
        let comment = "What runs. Without `replicas`, each runs once on every server with its role.";
        draft.set_with(comment, "processes", Out::Map(written));
    }
    let services: Vec<(String, Out)> =
        parts.databases.iter_mut().flat_map(|database| database.entries(&mut taken)).collect();
    if !services.is_empty() {
        let comment =
            "Databases and caches that you run. `{host}` is the private address of the server with the role.";
        draft.set_with(comment, "services", Out::Map(services));
    }
}

fn keys(process: &Process, common: &[Variable], draft: &mut Draft) -> Out {
    let common: HashSet<&str> = common.iter().map(|variable| variable.name.as_str()).collect();
    let is_own = |variable: &&Variable| !common.contains(variable.name.as_str());
    let own: Vec<Variable> = process.env.iter().filter(is_own).cloned().collect();
    let mut keys = process.keys.clone();
    keys.extend(variables::list(&own, draft).map(|env| ("env".to_owned(), env)));
    Out::Map(keys)
}

/// What every process is told, which then stands at the root.
fn common_variables(processes: &[Process]) -> Vec<Variable> {
    let Some((first, others)) = processes.split_first() else { return Vec::new() };
    let by_name = |process: &'_ Process| -> HashMap<String, From> {
        process.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect()
    };
    let others: Vec<HashMap<String, From>> = others.iter().map(by_name).collect();
    let in_all =
        |variable: &&Variable| others.iter().all(|other| other.get(&variable.name) == Some(&variable.value));
    first.env.iter().filter(in_all).cloned().collect()
}

/// They are in the repository with the compose file, and stay in it with the new one.
fn tell_secrets(process: &Process, draft: &mut Draft) {
    for variable in &process.env {
        if let From::Value(value) = &variable.value
            && !value.is_empty()
            && is_secret(&variable.name, value)
        {
            draft.left_out(
                &variable.name,
                &process.service,
                "it looks secret, and stands in the file as it did in the other: whoever reads the repository reads it",
            );
        }
    }
}

fn volumes(processes: &[Process], draft: &mut Draft) {
    let mounts: Vec<Mount> = processes.iter().flat_map(|process| process.mounts.iter().cloned()).collect();
    let Some(volumes) = mounts::carry_over("volumes", &mounts, draft) else { return };
    let without: Vec<&str> =
        processes.iter().filter(|process| process.mounts.is_empty()).map(|process| &*process.name).collect();
    if !without.is_empty() {
        draft.note(format!("`volumes`: they are the app's, so {} sees them, too", listed(without, "and")));
    }
    draft.set("volumes", volumes);
}
