//! From a `compose.yaml`: services of one image or build are the processes of
//! the app; databases and caches become `services`; other images are other apps.
//!
//! Each key of a service that is a part of the app is carried over with its
//! meaning, or a note names it and says why not.

mod choose;
mod command;
mod databases;
mod dotenv;
mod environment;
mod extend;
mod health;
mod interpolate;
mod labels;
mod left_out;
mod merge;
mod names;
mod order;
mod ports;
mod project;
pub(super) mod resources;
mod run;
mod service;

use std::path::PathBuf;

use databases::{Database, kind_of};
use interpolate::Report;
use project::Project;
use service::{Process, process};

use super::draft::Draft;
use super::mounts::{self, Mount};
use super::secrecy::{has_password, is_secret_name};
use super::variables::{self, From, Variable};
use super::write::Out;
use super::{Imported, Request, directory};
use crate::decode::listed;
use crate::diagnostic::{Problems, quoted};
use crate::files::Files;
use crate::tree::Node;

/// A service with its texts filled in.
#[derive(Debug, Clone)]
struct Service {
    name: String,
    node: Node,
    /// Before anything was filled in.
    typed_image: Option<String>,
    report: Report,
}

/// The services by what they are to the app.
struct Parts {
    main: Option<Service>,
    mine: Vec<Service>,
    databases: Vec<Database>,
}

pub(super) fn import(
    sources: &[(PathBuf, Node)],
    request: &Request<'_>,
    files: &dyn Files,
) -> Result<Imported, Problems> {
    let mut draft = Draft::new("a compose.yaml");
    let Some(project) = Project::read(sources, files, &mut draft) else { return Ok(draft.finish()) };
    name(&project, request, &mut draft);
    let services = project.services(&mut draft);
    let names = names::Names::of(&services);
    let mut parts = parts(services, request, &mut draft)?;
    match &parts.main {
        Some(main) => run::set(main, &parts.mine, request.base, &mut draft),
        None => {
            draft.note(
                "`services`: none of them is an app; what is run is taken from the look of the directory",
            );
            directory::describe(&project.directory, files, &mut draft);
        }
    }
    let one_offs = order::take_one_offs(&mut parts.mine);
    order::write_release(&one_offs, &mut draft);
    let mut processes = processes(&parts.mine, &project, &mut draft);
    order::carry_over(&parts.mine, &mut processes, &one_offs, &mut draft);
    ports::tell_entrances(&processes, &mut draft);
    write(&mut processes, &mut parts, &names, &mut draft);
    order::tell_lost(&one_offs, &processes, &project, &mut draft);
    left_out::tell_of_file(&project.node, &mut draft);
    Ok(draft.finish())
}

fn name(project: &Project<'_>, request: &Request<'_>, draft: &mut Draft) {
    let given = project.node.get("name").and_then(Node::scalar).map(|scalar| scalar.text.clone());
    let given = given.filter(|name| !name.contains('$'));
    let given = request.service.map(str::to_owned).or(given);
    draft.name(given.as_deref(), request.app);
}

fn parts(services: Vec<Service>, request: &Request<'_>, draft: &mut Draft) -> Result<Parts, Problems> {
    let services = started(services, request.service, draft);
    let main = choose::main(&services, request.service).cloned();
    if let (Some(asked), None) = (request.service, &main) {
        let names = services.iter().map(|service| service.name.as_str());
        let hint = format!("its services are {}", listed(names, "and"));
        let reason = format!("the file has no service {}", quoted(asked));
        return Err(super::whole(&request.shown(), &reason, Some(&hint)));
    }
    let mut parts = Parts { main, mine: Vec::new(), databases: Vec::new() };
    for service in services {
        match &parts.main {
            Some(main) if choose::is_same(main, &service) || main.name == service.name => {
                parts.mine.push(service)
            }
            _ if kind_of(&service).is_some() => parts.databases.extend(Database::of(&service, draft)),
            Some(main) => choose::tell_other(main, &service, draft),
            None => choose::tell_other(&service, &service, draft),
        }
    }
    for service in &parts.mine {
        tell(&service.report, &service.name, draft);
    }
    Ok(parts)
}

/// Without those that start only when somebody asks for their profile.
fn started(services: Vec<Service>, asked: Option<&str>, draft: &mut Draft) -> Vec<Service> {
    let has_profile = |service: &Service| {
        let profiles = service.node.get("profiles").and_then(Node::items);
        profiles.is_some_and(|profiles| !profiles.is_empty()) && Some(service.name.as_str()) != asked
    };
    let (left, started): (Vec<_>, Vec<_>) = services.into_iter().partition(has_profile);
    for service in left {
        let name = quoted(&service.name);
        draft.note(format!(
            "`services.{}`: it has `profiles`, so it starts only when it is asked for; `pando run` runs a command once",
            name.trim_matches('`')
        ));
    }
    started
}

/// Where the values of variables are from, and which keys are missing for want of one.
fn tell(report: &Report, of: &str, draft: &mut Draft) {
    for (names, what) in
        [(&report.by_default, "the defaults of the file"), (&report.from_file, "the values of `.env`")]
    {
        for name in names {
            let why = format!(
                "Compose takes it from the environment or `.env`; here it has {what}, once and for all"
            );
            draft.left_out(&format!("${{{name}}}"), of, &why);
        }
    }
    for (key, names) in &report.left_out {
        let shown = quoted(key);
        draft.note(format!(
            "{shown} of {}: it takes {} from an environment that is not known here; write it yourself",
            quoted(of),
            listed(names.iter().map(String::as_str), "and")
        ));
    }
}

/// The processes, of which the one that gets requests is called `web`.
fn processes(mine: &[Service], project: &Project<'_>, draft: &mut Draft) -> Vec<Process> {
    let mut found: Vec<Process> =
        mine.iter().map(|service| process(&service.name, &service.node, project, draft)).collect();
    if found.iter().all(|process| process.name != "web")
        && let Some(index) = entrance(&found)
    {
        draft.note(format!("`services.{}`: it gets the requests, so it is called `web`", found[index].name));
        "web".clone_into(&mut found[index].name);
    }
    let mut kept: Vec<Process> = Vec::new();
    for process in found {
        if kept.iter().any(|other| other.name == process.name) {
            draft.note(format!("`services`: two of them would be called `{}`", process.name));
        } else {
            kept.push(process);
        }
    }
    kept
}

/// Which process gets requests: one with a rule, or else with a port, or else the only one.
fn entrance(processes: &[Process]) -> Option<usize> {
    let ruled = processes.iter().position(|process| !process.rules.is_empty());
    let with_port = || processes.iter().position(|process| process.keys.iter().any(|(key, _)| key == "port"));
    ruled.or_else(with_port).or_else(|| (processes.len() == 1).then_some(0))
}

fn write(processes: &mut [Process], parts: &mut Parts, names: &names::Names, draft: &mut Draft) {
    let own: Vec<String> = parts.mine.iter().map(|service| service.name.clone()).collect();
    let mut taken = Vec::new();
    for process in processes.iter_mut() {
        let databases = &mut parts.databases;
        names::Resolver { names, databases, taken: &mut taken, own: &own }.resolve(process, draft);
        tell_secrets(process, draft);
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
    let own: Vec<Variable> =
        process.env.iter().filter(|variable| !common.contains(variable)).cloned().collect();
    let mut keys = process.keys.clone();
    keys.extend(variables::list(&own, draft).map(|env| ("env".to_owned(), env)));
    Out::Map(keys)
}

/// What every process is told, which then stands at the root.
fn common_variables(processes: &[Process]) -> Vec<Variable> {
    let Some((first, others)) = processes.split_first() else { return Vec::new() };
    let in_all = |variable: &&Variable| others.iter().all(|process| process.env.contains(variable));
    first.env.iter().filter(in_all).cloned().collect()
}

/// They are in the repository with the compose file, and stay in it with the new one.
fn tell_secrets(process: &Process, draft: &mut Draft) {
    for variable in &process.env {
        if let From::Value(value) = &variable.value
            && !value.is_empty()
            && (is_secret_name(&variable.name) || has_password(value))
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
