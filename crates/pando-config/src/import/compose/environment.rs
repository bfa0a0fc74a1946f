//! `environment` and `env_file`: the variables that a service is told.

use std::path::Path;

use super::interpolate::{self, Filled, Report};
use super::labels::Rule;
use super::{Project, dotenv};
use crate::decode::{Leaf, listed};
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::secrecy::{self, is_secret_name, is_secret_value};
use crate::import::variables::{self, From, Variable};
use crate::tree::{Node, Scalar};
use crate::value::Host;

/// Those of the files first, since `environment` wins.
pub(super) fn variables(of: &str, service: &Node, project: &Project<'_>, draft: &mut Draft) -> Vec<Variable> {
    let mut found = from_files(of, service, project, draft);
    let mut report = Report::default();
    for (name, value) in service.get("environment").map(variables::pairs).unwrap_or_default() {
        found.retain(|given| given.name != name);
        if variables::usable(&name, draft) {
            let value = match value {
                Some(value) => written(&name, &value, project, &mut report, draft),
                None => Some(passed_on(&name, project, &mut report)),
            };
            found.extend(value.map(|value| Variable { name, value }));
        }
    }
    super::tell(&report, of, draft);
    found
}

/// What the file has. As it is in the repository already, it is kept even if it looks secret; what is filled in is not.
fn written(
    name: &str,
    value: &str,
    project: &Project<'_>,
    report: &mut Report,
    draft: &mut Draft,
) -> Option<From> {
    match interpolate::fill(value, &project.variables, report) {
        Filled::Known(filled) if filled != value.replace("$$", "$") && secrecy::is_secret(name, &filled) => {
            Some(From::Secret)
        }
        Filled::Known(filled) => variables::literal(name, &filled, draft),
        Filled::Secret(names) | Filled::Unknown(names) => {
            if names != [name] {
                tell_parts(name, value, &names, project, draft);
            }
            let secret = is_secret_name(name) || names.iter().any(|name| is_secret(name, project));
            Some(if secret { From::Secret } else { From::Unknown })
        }
    }
}

fn is_secret(name: &str, project: &Project<'_>) -> bool {
    is_secret_name(name) || project.variables.get(name).is_some_and(|value| is_secret_value(value))
}

/// What has to be known to write the value by hand.
fn tell_parts(name: &str, value: &str, taken: &[String], project: &Project<'_>, draft: &mut Draft) {
    let taken = listed(taken.iter().map(String::as_str), "and");
    let places = project.names.places(value);
    let named = listed(places.iter().map(|place| place.name), "and");
    let end = match places.is_empty() {
        true => String::new(),
        false => format!(", and {named} in it is no address here: write that of its server"),
    };
    draft.note(format!("`env`: `{name}` is made with {taken}, which is not filled in{end}"));
}

/// A variable without a value has the one of the caller, or of `.env`.
fn passed_on(name: &str, project: &Project<'_>, report: &mut Report) -> From {
    match project.variables.get(name) {
        _ if is_secret_name(name) => From::Secret,
        Some(value) if secrecy::is_secret(name, value) => From::Secret,
        Some(value) => {
            report.from_file.insert(name.to_owned());
            From::Value(value.clone())
        }
        None => From::Unknown,
    }
}

fn from_files(of: &str, service: &Node, project: &Project<'_>, draft: &mut Draft) -> Vec<Variable> {
    let mut found: Vec<Variable> = Vec::new();
    let Some(node) = service.get("env_file") else { return found };
    let mut report = Report::default();
    for item in node.items().unwrap_or(std::slice::from_ref(node)) {
        let path = item.scalar().or_else(|| item.get("path")?.scalar()).map(|scalar| scalar.text.clone());
        let Some(path) = path else { continue };
        let text = project.files.read(&project.directory.join(Path::new(&path)));
        let Some(text) = text.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            let key = format!("env_file: {}", plain(&path));
            draft.left_out(&key, of, "it can't be read here; write its variables below `env`");
            continue;
        };
        let lines = match item.get("format").and_then(Node::scalar).map(|format| format.text.as_str()) {
            None => dotenv::parse(&text, &project.variables),
            Some("raw") => dotenv::parse_raw(&text),
            Some(other) => {
                let why = format!(
                    "the format {} is not known here; write its variables below `env`",
                    quoted(other)
                );
                draft.left_out(&format!("env_file: {}", plain(&path)), of, &why);
                continue;
            }
        };
        for (name, value) in lines {
            found.retain(|given| given.name != name);
            if variables::usable(&name, draft) {
                let value = from_line(&name, value, project, &mut report, draft);
                found.extend(value.map(|value| Variable { name, value }));
            }
        }
        draft.left_out(
            &format!("env_file: {}", plain(&path)),
            of,
            "its variables are below `env`, as it has them now; those that look secret without their values",
        );
    }
    super::tell(&report, of, draft);
    found
}

/// What a file of variables has, unless it is secret.
fn from_line(
    name: &str,
    value: Option<String>,
    project: &Project<'_>,
    report: &mut Report,
    draft: &mut Draft,
) -> Option<From> {
    match value {
        None => Some(passed_on(name, project, report)),
        Some(value) if secrecy::is_secret(name, &value) => Some(From::Secret),
        Some(value) => variables::literal(name, &value, draft),
    }
}

/// The port that the variables say the program listens on, where `ports` do not.
pub(super) fn port(service: &Node, project: &Project<'_>) -> Option<u16> {
    if service.get("ports").is_some() || service.get("expose").is_some() {
        return None;
    }
    let of = |wanted: &str| {
        let pairs = service.get("environment").map(variables::pairs).unwrap_or_default();
        let (_, value) = pairs.into_iter().find(|(name, _)| name == wanted)?;
        match interpolate::fill(&value?, &project.variables, &mut Report::default()) {
            Filled::Known(text) => text.parse().ok().filter(|port| *port > 0),
            _ => None,
        }
    };
    of("VIRTUAL_PORT").or_else(|| of("PORT"))
}

/// What a proxy that goes by variables was told: `VIRTUAL_HOST`, names with commas between them.
pub(super) fn rule(variables: &[Variable]) -> Option<Rule> {
    let told = variables.iter().find(|variable| variable.name == "VIRTUAL_HOST")?;
    let From::Value(value) = &told.value else { return None };
    let names = value.split(',').map(|name| name.trim().split(':').next().unwrap_or_default());
    let hosts: Vec<String> =
        names.filter_map(|name| Host::parse(&Scalar::text(name)).ok().map(|host| host.0)).collect();
    (!hosts.is_empty()).then(|| Rule { hosts, paths: Vec::new() })
}
