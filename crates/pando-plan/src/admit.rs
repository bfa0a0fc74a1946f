//! Is a release fit to be deployed here? Asked before anything is recorded.

use std::collections::BTreeMap;

use pando_model::app::{AppSpec, EnvValue, ProcessSpec, ReplicaCount, RunSource, Strategy};
use pando_model::desired::AppDesired;
use pando_model::id::ServerId;
use pando_model::name::{AppName, ProcessName};
use pando_model::resources::{Bytes, Cores, Resources};
use pando_model::server::Server;

use crate::input::{Input, World};
use crate::placement;

/// Why something is refused before anything changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// With the arithmetic.
    #[error("{0}")]
    DoesNotFit(String),
    #[error("{0}")]
    Invalid(String),
}

/// Whether `spec` can be deployed as the next release of its app.
///
/// # Errors
/// The first reason against it: it wants something that this cluster doesn't have, or more than the servers of a role hold.
pub fn admit(input: &Input<'_>, spec: &AppSpec) -> Result<(), Refusal> {
    check_runnable(spec)?;
    check_domains(input.desired, spec)?;
    let none = AppDesired::default();
    let app = input.desired.apps.get(&spec.name).unwrap_or(&none);
    fits(input, spec, &app.wish.scale, extra(spec))
}

/// Whether the app, as it runs, can be scaled so.
///
/// # Errors
/// When a process is not the app's, or the servers of its role can't hold so many.
pub fn admit_scale(
    input: &Input<'_>,
    app: &AppName,
    scale: &BTreeMap<ProcessName, u32>,
) -> Result<(), Refusal> {
    let Some(desired) = input.desired.apps.get(app) else {
        return Err(Refusal::Invalid(format!("there is no app `{app}` here")));
    };
    let committed = desired.assigned.committed.map(|target| target.release);
    let latest = committed.or_else(|| desired.deployments.back().map(|deployment| deployment.release));
    let Some(release) = latest.and_then(|number| desired.releases.get(&number)) else {
        return Err(Refusal::Invalid(format!("`{app}` runs no release; deploy it first")));
    };
    for (process, count) in scale {
        if *count > 1 && release.spec.processes.get(process).is_some_and(|spec| spec.singleton) {
            return Err(Refusal::Invalid(format!(
                "`{process}` is a singleton: there is never more than one of it"
            )));
        }
        if !release.spec.processes.contains_key(process) {
            let known: Vec<&str> = release.spec.processes.keys().map(AsRef::as_ref).collect();
            let known = known.join("`, `");
            return Err(Refusal::Invalid(format!("`{app}` has no process `{process}`; it has `{known}`")));
        }
    }
    fits(input, &release.spec, scale, 0)
}

fn check_runnable(spec: &AppSpec) -> Result<(), Refusal> {
    if let RunSource::Image { reference, .. } = &spec.run {
        return Err(Refusal::Invalid(format!(
            "this version runs plain processes only, not the image `{reference}`: give `source:` instead"
        )));
    }
    if spec.processes.is_empty() {
        return Err(Refusal::Invalid("the app has no process".to_owned()));
    }
    for (name, process) in &spec.processes {
        if process.command.as_deref().is_none_or(|command| command.trim().is_empty()) {
            return Err(Refusal::Invalid(format!("the process `{name}` has no command")));
        }
    }
    let all = spec.env.iter().chain(spec.processes.values().flat_map(|process| &process.env));
    for (name, value) in all {
        match value {
            EnvValue::Value(_) => {}
            EnvValue::Secret(secret) => {
                return Err(Refusal::Invalid(format!(
                    "`{name}` is to come from the secret `{secret}`, but this version keeps no secrets"
                )));
            }
            EnvValue::Service(service) => {
                return Err(Refusal::Invalid(format!(
                    "`{name}` is to come from the service `{service}`, but this version runs no services"
                )));
            }
        }
    }
    Ok(())
}

/// A host that another app answers to can't be had twice.
fn check_domains(world: &World, spec: &AppSpec) -> Result<(), Refusal> {
    for (name, app) in world.apps.iter().filter(|(name, _)| **name != spec.name) {
        let running = app.assigned.committed.and_then(|target| app.releases.get(&target.release));
        let Some(other) = running else { continue };
        for domain in domains(&other.spec) {
            if domains(spec).any(|wanted| wanted == domain) {
                return Err(Refusal::Invalid(format!(
                    "the domain `{domain}` belongs to the app `{name}` already"
                )));
            }
        }
        let both_open = other.spec.domains.is_empty() && spec.domains.is_empty();
        if both_open && world.settings.open_host && has_web(&other.spec) && has_web(spec) {
            return Err(Refusal::Invalid(format!(
                "the app `{name}` answers every host here already; give one of the two a domain"
            )));
        }
    }
    Ok(())
}

fn has_web(spec: &AppSpec) -> bool {
    spec.processes.contains_key(&ProcessName::web())
}

fn domains(spec: &AppSpec) -> impl Iterator<Item = &String> {
    spec.domains.iter().flat_map(|domain| std::iter::once(&domain.domain).chain(&domain.aliases))
}

/// How many more than wanted may run at once while this release replaces another.
fn extra(spec: &AppSpec) -> u32 {
    match spec.strategy {
        Strategy::Rolling { max_surge: pando_model::app::Amount::Count(count), .. } => count,
        Strategy::Rolling { .. } => 1,
        Strategy::Replace => 0,
    }
}

/// The sum over everything that would run, server by server, against what each server has.
fn fits(
    input: &Input<'_>,
    spec: &AppSpec,
    scale: &BTreeMap<ProcessName, u32>,
    extra: u32,
) -> Result<(), Refusal> {
    let mut loads = others(input, &spec.name);
    for (name, process) in &spec.processes {
        let places = placement::Homes::of(input, &process.role);
        let servers = &places.go;
        let count = placement::wanted_count(process, scale.get(name).copied());
        if servers.is_empty() && wants_any(count) {
            let role = &process.role;
            return Err(Refusal::DoesNotFit(format!("no server has the role `{role}` that `{name}` needs")));
        }
        for slot in placement::slots(name, count, &places, &[]) {
            loads.entry(slot.server).or_default().push(part(&spec.name, name, process.resources, 1));
        }
        // The surplus of a rolling deployment lands on the first servers.
        for server in servers.iter().take(extra as usize) {
            loads.entry(server.id).or_default().push(part(&spec.name, name, process.resources, 1));
        }
    }
    loads.iter().try_for_each(|(server, parts)| check_server(input, *server, parts, extra))
}

fn wants_any(count: ReplicaCount) -> bool {
    !matches!(count, ReplicaCount::Total(0) | ReplicaCount::PerServer(0))
}

#[derive(Debug, Clone)]
struct Part {
    name: String,
    resources: Resources,
    count: u64,
}

fn part(app: &AppName, process: &ProcessName, resources: Resources, count: u64) -> Part {
    Part { name: format!("{app}/{process}"), resources, count }
}

/// What the other apps have set aside, as they run.
fn others(input: &Input<'_>, app: &AppName) -> BTreeMap<ServerId, Vec<Part>> {
    let mut loads: BTreeMap<ServerId, Vec<Part>> = BTreeMap::new();
    for (name, other) in input.desired.apps.iter().filter(|(name, _)| *name != app) {
        for instance in other.assigned.instances.values() {
            let release = other.releases.get(&instance.target.release);
            let process: Option<&ProcessSpec> =
                release.and_then(|release| release.spec.processes.get(&instance.replica.process));
            if let Some(process) = process {
                let parts = loads.entry(instance.server).or_default();
                parts.push(part(name, &instance.replica.process, process.resources, 1));
            }
        }
    }
    loads
}

fn check_server(input: &Input<'_>, id: ServerId, parts: &[Part], extra: u32) -> Result<(), Refusal> {
    let Some(server) = input.desired.servers.get(&id) else { return Ok(()) };
    let memory: u64 = parts.iter().filter_map(|part| part.resources.memory_bytes).sum();
    let cpu: u64 = parts.iter().filter_map(|part| part.resources.cpu_millis).map(u64::from).sum();
    if memory > server.capacity.memory_bytes {
        let one = |resources: Resources| resources.memory_bytes.map(|bytes| Bytes(bytes).to_string());
        let has = Bytes(server.capacity.memory_bytes).to_string();
        return Err(refuse(server, "memory", &sum(parts, one), &Bytes(memory).to_string(), &has, extra));
    }
    if cpu > u64::from(server.capacity.cpu_millis) {
        let one = |resources: Resources| resources.cpu_millis.map(|cpu| Cores(u64::from(cpu)).to_string());
        let has = Cores(u64::from(server.capacity.cpu_millis)).to_string();
        return Err(refuse(server, "cores", &sum(parts, one), &Cores(cpu).to_string(), &has, extra));
    }
    Ok(())
}

/// `hits/web 4 × 512 MB + blog/web 1 × 1 GB`
fn sum(parts: &[Part], one: impl Fn(Resources) -> Option<String>) -> String {
    let mut terms: Vec<(String, String, u64)> = Vec::new();
    for part in parts {
        let Some(amount) = one(part.resources) else { continue };
        match terms.iter_mut().find(|(name, held, _)| *name == part.name && *held == amount) {
            Some(term) => term.2 += part.count,
            None => terms.push((part.name.clone(), amount, part.count)),
        }
    }
    let terms = terms.iter().map(|(name, amount, count)| format!("{name} {count} × {amount}"));
    terms.collect::<Vec<_>>().join(" + ")
}

fn refuse(server: &Server, what: &str, sum: &str, total: &str, has: &str, extra: u32) -> Refusal {
    let surge = match extra {
        0 => String::new(),
        _ => ", one more at a time while it is replaced included (`max_surge`)".to_owned(),
    };
    Refusal::DoesNotFit(format!(
        "{} has {has} of {what}, and {sum} = {total} is more{surge}. Lower `replicas` or `resources`, or add a server",
        server.name
    ))
}
