//! From a `compose.yaml`: services of one image or build are the processes of
//! the app; databases and caches become `services`; other images are other apps.

use super::compose_service::{Process, process};
use super::draft::Draft;
use super::variables::{self, From, Variable};
use super::write::Out;
use super::{Imported, build, compose_order, known};
use crate::diagnostic::{Problems, quoted};
use crate::tree::Node;
use crate::value::{ImageReference, to_label};

/// Of an app: what its services have in common.
#[derive(Debug, Clone, PartialEq)]
enum Run {
    Build(Node),
    Image(String),
}

pub(super) fn import(node: &Node, app: &str) -> Result<Imported, Problems> {
    let mut draft = Draft::new("a compose.yaml");
    draft.name(node.get("name").and_then(Node::scalar).map(|scalar| scalar.text.as_str()), app);
    let services: Vec<(&str, &Node)> = node
        .get("services")
        .and_then(Node::entries)
        .unwrap_or_default()
        .iter()
        .map(|entry| (entry.key.as_str(), &entry.value))
        .collect();
    let services = started(services, &mut draft);
    let databases = databases(&services, &mut draft);
    let (run, mut mine) = choose(&services, &mut draft);
    set_run(run.as_ref(), &mut draft);
    let release = compose_order::take_release(&mut mine, &mut draft);
    let mut processes = processes(&mine, &mut draft);
    compose_order::carry_over(&mine, &mut processes, release, &mut draft);
    write(&processes, &databases, &mut draft);
    for key in ["networks", "configs", "secrets", "include", "volumes"] {
        if node.get(key).is_some() {
            draft.note(format!("`{key}`: {}", why_left_out(key)));
        }
    }
    Ok(draft.finish())
}

/// Without those that start only when somebody asks for their profile.
fn started<'a>(services: Vec<(&'a str, &'a Node)>, draft: &mut Draft) -> Vec<(&'a str, &'a Node)> {
    let asked_for = |service: &Node| {
        let profiles = service.get("profiles").and_then(Node::items);
        profiles.is_some_and(|profiles| !profiles.is_empty())
    };
    let (left, started): (Vec<_>, Vec<_>) = services.into_iter().partition(|(_, service)| asked_for(service));
    for (name, _) in left {
        draft.note(format!(
            "`services.{}`: it has `profiles`, so it starts only when it is asked for; `pando run` runs a command once",
            label(name)
        ));
    }
    started
}

fn why_left_out(key: &str) -> &'static str {
    match key {
        "networks" => {
            "replicas listen on the private address of their server, and the firewall follows roles"
        }
        "volumes" => "how volumes are made is not said here; `volumes` of the app names them",
        "secrets" => {
            "secrets are set with `pando secret set` and used with `env: [{name: …, from: {secret: …}}]`"
        }
        _ => "Pando has no such key",
    }
}

/// Services of images that Pando knows as databases and caches: name here, type, name there.
struct Database<'a> {
    name: String,
    kind: &'static str,
    version: Option<String>,
    compose_name: &'a str,
}

fn image_of(service: &Node) -> Option<&str> {
    service.get("image").and_then(Node::scalar).map(|scalar| scalar.text.as_str())
}

fn is_database(service: &Node) -> Option<&'static str> {
    if service.get("build").is_some() { None } else { known::service_type(image_of(service)?) }
}

fn databases<'a>(services: &[(&'a str, &Node)], draft: &mut Draft) -> Vec<Database<'a>> {
    let mut found: Vec<Database<'a>> = Vec::new();
    for (compose_name, service) in services {
        let Some(kind) = is_database(service) else { continue };
        let name = to_label(compose_name);
        if name.is_empty() || found.iter().any(|other| other.name == name) {
            draft.note(format!("`services`: {} can't be the name of a service", quoted(compose_name)));
            continue;
        }
        draft.note(format!(
            "`services.{name}`: its data is not moved, and this version of Pando runs no services yet; until then, run it \
             yourself and add `managed: false` and its `url`"
        ));
        let version = image_of(service).and_then(known::service_version);
        found.push(Database { name, kind, version, compose_name });
    }
    found
}

/// What the app runs, and its services: those that are built, or else those of the first image with a port, or else the first.
fn choose<'a>(
    services: &[(&'a str, &'a Node)],
    draft: &mut Draft,
) -> (Option<Run>, Vec<(&'a str, &'a Node)>) {
    let candidates: Vec<(&str, &Node)> =
        services.iter().copied().filter(|(_, service)| is_database(service).is_none()).collect();
    let run_of = |service: &Node| match service.get("build") {
        Some(build) => Some(Run::Build(build.clone())),
        None => image_of(service).map(|image| Run::Image(image.to_owned())),
    };
    let built = candidates.iter().find(|(_, service)| service.get("build").is_some());
    let with_port = candidates.iter().find(|(_, service)| service.get("ports").is_some());
    let Some((_, main)) = built.or(with_port).or(candidates.first()) else {
        draft.note("`services`: none of them is an app");
        return (None, Vec::new());
    };
    let run = run_of(main);
    let same = |service: &Node| match (&run, run_of(service)) {
        (Some(Run::Build(ours)), Some(Run::Build(theirs))) => context(ours) == context(&theirs),
        (ours, theirs) => *ours == theirs,
    };
    let (mine, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|(_, service)| same(service));
    for (name, _) in others {
        draft.note(format!(
            "`services.{}`: it runs another image, so it is another app: give it a pando.yaml of its own",
            label(name)
        ));
    }
    (run, mine)
}

fn context(build: &Node) -> Option<(String, String)> {
    let text = |node: &Node| node.scalar().map(|scalar| scalar.text.clone());
    match build.entries() {
        None => Some((text(build)?, String::new())),
        Some(_) => {
            let of = |key: &str| build.get(key).and_then(text);
            Some((of("context").unwrap_or_else(|| ".".to_owned()), of("target").unwrap_or_default()))
        }
    }
}

fn set_run(run: Option<&Run>, draft: &mut Draft) {
    match run {
        Some(Run::Image(image)) => {
            if let Some(image) = draft.checked_text::<ImageReference>("image", image) {
                return draft.set("image", image);
            }
        }
        Some(Run::Build(build)) => {
            let keys = build::keys(Some(build), "build", draft);
            return draft.set("build", keys);
        }
        None => {}
    }
    draft.set("image", Out::text("my-org/my-app:latest"));
    draft.note("`image`: the file names none that fits; `my-org/my-app:latest` stands for it");
}

/// The processes, of which the one that gets requests is called `web`.
fn processes(mine: &[(&str, &Node)], draft: &mut Draft) -> Vec<Process> {
    let mut processes: Vec<Process> = Vec::new();
    let has_web = mine.iter().any(|(name, _)| *name == "web");
    for (name, service) in mine {
        let mut process = process(name, service, draft);
        let reached = ["ports", "expose"].iter().any(|key| service.get(key).is_some());
        let public = reached || !process.domains.is_empty() || mine.len() == 1;
        if public && !has_web && processes.iter().all(|other| other.name != "web") {
            if process.name != "web" {
                draft.note(format!(
                    "`services.{}`: it gets the requests, so it is called `web`",
                    process.name
                ));
            }
            "web".clone_into(&mut process.name);
        }
        if processes.iter().any(|other| other.name == process.name) {
            draft.note(format!("`services`: two of them would be called `{}`", process.name));
        } else {
            processes.push(process);
        }
    }
    processes
}

fn write(processes: &[Process], databases: &[Database<'_>], draft: &mut Draft) {
    let common = common_variables(processes);
    let mut domains: Vec<String> =
        processes.iter().flat_map(|process| process.domains.iter().cloned()).collect();
    domains.sort();
    domains.dedup();
    if !domains.is_empty() {
        draft.set("domains", Out::List(domains.into_iter().map(Out::Text).collect()));
    }
    let volumes: Vec<String> = processes.iter().flat_map(|process| process.volumes.iter().cloned()).collect();
    if let Some(volumes) = draft.volumes("volumes", &volumes) {
        draft.set("volumes", volumes);
    }
    if let Some(env) = env(&common, databases, draft) {
        draft.set("env", env);
    }
    let mut written = Vec::new();
    for process in processes {
        let own: Vec<Variable> =
            process.env.iter().filter(|variable| !common.contains(variable)).cloned().collect();
        let mut keys = process.keys.clone();
        keys.extend(env(&own, databases, draft).map(|env| ("env".to_owned(), env)));
        written.push((process.name.clone(), Out::Map(keys)));
    }
    if !written.is_empty() {
        draft.set_with("The services that run the same image.", "processes", Out::Map(written));
    }
    let services: Vec<(String, Out)> = databases.iter().map(service).collect();
    if !services.is_empty() {
        draft.set_with("Databases and caches.", "services", Out::Map(services));
    }
}

/// What every process is told, which then stands at the root.
fn common_variables(processes: &[Process]) -> Vec<Variable> {
    let Some((first, others)) = processes.split_first() else { return Vec::new() };
    let in_all = |variable: &&Variable| others.iter().all(|process| process.env.contains(variable));
    first.env.iter().filter(in_all).cloned().collect()
}

fn env(variables: &[Variable], databases: &[Database<'_>], draft: &mut Draft) -> Option<Out> {
    let resolved: Vec<Variable> =
        variables.iter().map(|variable| resolved(variable, databases, draft)).collect();
    variables::list(&resolved, draft)
}

fn service(database: &Database<'_>) -> (String, Out) {
    let mut pairs = vec![("type".to_owned(), Out::text(database.kind))];
    pairs.extend(database.version.clone().map(|version| ("version".to_owned(), Out::text(version))));
    (database.name.clone(), Out::Map(pairs))
}

/// A URL whose host is one of the databases comes from it; a database's bare name is kept, and noted.
fn resolved(variable: &Variable, databases: &[Database<'_>], draft: &mut Draft) -> Variable {
    let From::Value(value) = &variable.value else { return variable.clone() };
    for database in databases {
        let host = value.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or(rest));
        let host = host.map(|authority| authority.rsplit('@').next().unwrap_or(authority));
        let name = host.map(|host| host.split(':').next().unwrap_or(host));
        if name == Some(database.compose_name) {
            let value = From::Service(database.name.clone());
            return Variable { name: variable.name.clone(), value };
        }
        if value.split(':').next() == Some(database.compose_name) {
            let note = format!(
                "`env`: `{}` names the service `{}`; give the address of its server",
                variable.name, database.name
            );
            draft.note(note);
        }
    }
    variable.clone()
}

/// A key of the file, for a note.
fn label(key: &str) -> String {
    quoted(key).trim_matches('`').to_owned()
}
