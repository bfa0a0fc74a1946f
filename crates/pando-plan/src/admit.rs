//! Is it fit to be done here? Asked before anything is recorded.

mod fit;
mod servers;

use std::collections::BTreeMap;

use pando_model::app::{AppSpec, EnvValue, RunSource};
use pando_model::name::{AppName, ProcessName};

use crate::input::{Input, World};
use crate::view::View;
use fit::Wanted;

pub use servers::{admit_drain, admit_labels, admit_remove, admit_roles};

/// Why something is refused before anything changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// With the arithmetic.
    #[error("{0}")]
    DoesNotFit(String),
    #[error("{0}")]
    Invalid(String),
    /// Something that runs would be left without a server.
    #[error("{0}")]
    Harmful(String),
}

/// Whether `spec` can be deployed as the next release of its app.
///
/// # Errors
/// The first reason against it: it wants something that this cluster doesn't have, or more than the servers of a role hold.
pub fn admit(input: &Input<'_>, spec: &AppSpec) -> Result<(), Refusal> {
    check_runnable(spec)?;
    check_domains(input.desired, spec)?;
    let view = View::new(input);
    check_services(&view, spec)?;
    let none = BTreeMap::new();
    let app = input.desired.apps.get(&spec.name);
    let scale = app.map_or(&none, |app| &app.wish.scale);
    let next = Wanted { name: &spec.name, app, spec, scale, extra: fit::extra(spec) };
    fits_with_others(&view, next)
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
    let Some((name, desired)) = input.desired.apps.get_key_value(app) else {
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
    let scaled = Wanted { name, app: Some(desired), spec: &release.spec, scale, extra: 0 };
    fits_with_others(&View::new(input), scaled)
}

/// The app beside all others as they run.
fn fits_with_others(view: &View<'_>, app: Wanted<'_>) -> Result<(), Refusal> {
    let others = view.input.desired.apps.iter().filter(|(name, _)| *name != app.name);
    let mut wanted: Vec<Wanted<'_>> = others.filter_map(|(name, app)| Wanted::of(name, app)).collect();
    // What is amiss with another app is no reason against this one.
    wanted.retain(|other| {
        other
            .processes()
            .all(|(_, spec, count)| !crate::placement::Ground::of(view, spec, count).open.is_empty())
    });
    wanted.push(app);
    fit::fits(view, &wanted)
}

fn check_runnable(spec: &AppSpec) -> Result<(), Refusal> {
    if spec.processes.is_empty() {
        return Err(Refusal::Invalid("the app has no process".to_owned()));
    }
    let plain = matches!(spec.run, RunSource::Directory { .. });
    if plain && !spec.volumes.is_empty() {
        return Err(Refusal::Invalid(
            "volumes are for images; plain processes have the server's own files".to_owned(),
        ));
    }
    for (name, process) in spec.processes.iter().filter(|_| plain) {
        if process.command.as_deref().is_none_or(|command| command.trim().is_empty()) {
            return Err(Refusal::Invalid(format!("the process `{name}` has no command")));
        }
    }
    spec.start_order().map_err(|error| Refusal::Invalid(error.to_string()))?;
    if let Some((name, _)) = spec.processes.iter().find(|(_, process)| plain && process.user.is_some()) {
        return Err(Refusal::Invalid(format!(
            "`{name}` names a user, which is for images; plain processes run as the app's own user"
        )));
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
            EnvValue::Service(service) if spec.services.contains_key(service) => {}
            EnvValue::Service(service) => {
                return Err(Refusal::Invalid(format!(
                    "`{name}` is to come from the service `{service}`, which the app does not declare"
                )));
            }
        }
    }
    Ok(())
}

/// Wherever a variable points, somebody must be.
fn check_services(view: &View<'_>, spec: &AppSpec) -> Result<(), Refusal> {
    for (name, service) in &spec.services {
        if view.with_role(&service.role).is_empty() {
            let role = &service.role;
            return Err(Refusal::DoesNotFit(format!(
                "the service `{name}` ({}) is on the server with the role `{role}`, and no server has it. Give it to the server \
                 where it runs (`pando server roles NAME +{role}`)",
                service.kind
            )));
        }
    }
    Ok(())
}

/// A host that another app answers to can't be had twice.
fn check_domains(world: &World, spec: &AppSpec) -> Result<(), Refusal> {
    for (name, app) in world.apps.iter().filter(|(name, _)| **name != spec.name) {
        let running = app.assigned.committed.and_then(|target| app.releases.get(&target.release));
        let Some(other) = running else { continue };
        for domain in names(&other.spec) {
            if names(spec).any(|wanted| wanted == domain) {
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

/// Domains, their aliases, and what its routes name below its wildcards.
fn names(spec: &AppSpec) -> impl Iterator<Item = &String> {
    let domains =
        spec.domains.iter().flat_map(|domain| std::iter::once(&domain.domain).chain(&domain.aliases));
    domains.chain(spec.routes.iter().filter_map(|route| route.host.as_ref()))
}
