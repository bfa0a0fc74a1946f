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
mod include;
mod interpolate;
mod keys;
mod labels;
mod left_out;
mod merge;
mod model;
mod names;
mod order;
mod paths;
mod ports;
mod project;
mod reader;
mod refused;
pub(super) mod resources;
mod run;
mod service;
mod shapes;
mod write;

use databases::{Database, kind_of};
use interpolate::Report;
use project::Project;
use service::Process;

use super::draft::{Draft, plain};
use super::{Imported, Request, directory};
use crate::decode::listed;
use crate::diagnostic::{Problems, quoted};
use crate::files::{Files, LARGEST_FILE};
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
    /// Whether something beside the app brings it its requests.
    proxied: bool,
}

pub(super) fn import(request: &Request<'_>, files: &dyn Files) -> Result<Imported, Problems> {
    let mut draft = Draft::new("a compose.yaml");
    let mut project = Project::read(request.files, files, &mut draft)?;
    name(&project, request, &mut draft);
    let services = project.services(&mut draft)?;
    project.names = names::Names::of(&services);
    let mut parts = parts(services, request, &mut draft)?;
    match &parts.main {
        Some(main) => run::set(main, &parts.mine, request.base, &project, &mut draft),
        None => {
            draft.note(
                "`services`: none of them is an app; what is run is taken from the look of the directory",
            );
            directory::describe(&project.directory, request.base, files, &mut draft);
        }
    }
    let one_offs = order::take_one_offs(&mut parts.mine);
    order::write_release(&one_offs, &mut draft);
    let mut processes = write::processes(&parts, &project, &mut draft);
    order::carry_over(&parts.mine, &mut processes, &one_offs, &mut draft);
    ports::tell_entrances(&processes, &mut draft);
    write::write(&mut processes, &mut parts, &project, &mut draft);
    order::tell_lost(&one_offs, &processes, &project, &mut draft);
    left_out::tell_of_file(&project.node, &mut draft);
    bounded(draft.finish(), request)
}

fn bounded(imported: Imported, request: &Request<'_>) -> Result<Imported, Problems> {
    if imported.yaml.len() > LARGEST_FILE {
        let hint = "import the services that are one app, from a file of their own";
        let reason = "what would be written is larger than 1 MiB, which no specification may be";
        return Err(super::whole(&request.shown(), reason, Some(hint)));
    }
    Ok(imported)
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
    let mut parts = Parts { main, mine: Vec::new(), databases: Vec::new(), proxied: false };
    for service in services {
        match &parts.main {
            Some(main) if choose::is_same(main, &service) || main.name == service.name => {
                parts.mine.push(service)
            }
            _ if kind_of(&service).is_some() => parts.databases.extend(Database::of(&service, draft)),
            main => {
                parts.proxied |= choose::is_proxy(&service);
                choose::tell_other(main.as_ref().unwrap_or(&service), &service, &request.shown(), draft);
            }
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
    report.by_default.iter().for_each(|name| draft.by_default(name));
    report.from_file.iter().for_each(|name| draft.by_file(name));
    for (key, names) in &report.left_out {
        draft.note(format!(
            "`{}` of `{of}`: it takes {} from an environment that is not known here; write it yourself",
            plain(key),
            listed(names.iter().map(String::as_str), "and")
        ));
    }
}
