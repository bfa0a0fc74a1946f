//! `environment` and `env_file`: the variables that a service is told.

use std::collections::BTreeSet;

use super::dotenv::{Given, Line};
use super::interpolate::{self, Filled, Report};
use super::keys::Keys;
use super::labels::Rule;
use super::{Project, dotenv, paths};
use crate::decode::{Leaf, listed};
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::secrecy::{self, is_secret_name};
use crate::import::variables::{self, From, Variable};
use crate::source::Span;
use crate::tree::{Node, Scalar};
use crate::value::Host;

/// Those of the files first, since `environment` wins.
pub(super) fn variables(of: &str, service: &Node, project: &Project<'_>, draft: &mut Draft) -> Vec<Variable> {
    let mut found = from_files(of, service, project, draft);
    let mut report = Report::default();
    let written = service.get("environment").map(variables::pairs).unwrap_or_default();
    let names: BTreeSet<&str> = written.iter().map(|(name, _)| name.as_str()).collect();
    found.retain(|given| !names.contains(&*given.name));
    for (name, value) in written.iter().cloned() {
        if variables::usable(&name, draft) {
            let value = match value {
                Some(value) => self::written(&name, &value, project, &mut report, draft),
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
    is_secret_name(name) || project.variables.get(name).is_some_and(|value| value.text().is_none())
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
        None => From::Unknown,
        Some(value) => match value.text().filter(|value| !secrecy::is_secret(name, value)) {
            None => From::Secret,
            Some(value) => {
                report.from_file.insert(name.to_owned());
                From::Value(value.to_owned())
            }
        },
    }
}

fn from_files(of: &str, service: &Node, project: &Project<'_>, draft: &mut Draft) -> Vec<Variable> {
    let mut found: Vec<Variable> = Vec::new();
    let Some(node) = service.get("env_file") else { return found };
    let mut report = Report::default();
    for item in node.items().unwrap_or(std::slice::from_ref(node)) {
        let Some((path, read)) = file(item, of, project, draft) else { continue };
        dotenv::tell_unread(&read, &path, draft);
        dotenv::tell_unknown(&read, &path, draft);
        let names: BTreeSet<&str> = read.lines.iter().map(|line| line.name.as_str()).collect();
        found.retain(|given| !names.contains(&*given.name));
        for line in &read.lines {
            if variables::usable(&line.name, draft) {
                let value = from_line(line, project, &mut report, draft);
                found.extend(value.map(|value| Variable { name: line.name.clone(), value }));
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

/// A file that an item of `env_file` names, and what is in it. `None`: it can't be had, which is noted.
fn file(item: &Node, of: &str, project: &Project<'_>, draft: &mut Draft) -> Option<(String, dotenv::Read)> {
    let mut keys = Keys::of(item);
    let path = item.scalar().map(|scalar| scalar.text.as_str()).or_else(|| keys.text("path"));
    let (format, required) = (keys.text("format"), keys.flag("required"));
    keys.name_others("env_file", of, "Compose has no such key", draft);
    let Some(path) = path else {
        draft.left_out(&format!("env_file ({})", project.reader.place(item.span)), of, "it names no file");
        return None;
    };
    match content(path, format, required, item.span, project) {
        Ok(read) => {
            let whole = paths::under(&project.directory, path);
            project.reader.tell_outside(&whole, "env_file", item.span, draft);
            Some((path.to_owned(), read))
        }
        Err(why) => {
            draft.left_out(&format!("env_file: {}", plain(path)), of, &why);
            None
        }
    }
}

/// What is in the file at `path`, or why that can't be known.
fn content(
    path: &str,
    format: Option<&str>,
    required: Option<bool>,
    span: Span,
    project: &Project<'_>,
) -> Result<dotenv::Read, String> {
    let whole = paths::under(&project.directory, path);
    if required == Some(false) && project.reader.is_missing(&whole) {
        return Err(
            "it is not there, and need not be: what it has on your servers is to be written below `env`"
                .to_owned(),
        );
    }
    let text = project.reader.text(&whole).map_err(|why| {
        let at = project.reader.place(span);
        format!("it can't be read here ({at}: {why}); write its variables below `env`")
    })?;
    match format {
        None => Ok(dotenv::parse(&text, &project.variables)),
        Some("raw") => Ok(dotenv::parse_raw(&text)),
        Some(other) => {
            Err(format!("the format {} is not known here; write its variables below `env`", quoted(other)))
        }
    }
}

/// What a file of variables has, unless it is secret.
fn from_line(line: &Line, project: &Project<'_>, report: &mut Report, draft: &mut Draft) -> Option<From> {
    let name = &line.name;
    match &line.value {
        None => Some(passed_on(name, project, report)),
        Some(Given::Secret) => Some(From::Secret),
        Some(Given::Unknown(_)) if is_secret_name(name) => Some(From::Secret),
        Some(Given::Unknown(_)) => Some(From::Unknown),
        Some(Given::Text(value)) if secrecy::is_secret(name, value) => Some(From::Secret),
        Some(Given::Text(value)) => variables::literal(name, value, draft),
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
