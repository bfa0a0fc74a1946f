//! May a server lose roles, be emptied, or be removed? Asked before anything is recorded.
//!
//! The answer is no while something would be left without a server: a process
//! that runs, a service that an app uses, requests from outside, the control
//! plane; or when what remains can't hold the replicas. Whoever asks may insist.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::app::{AppSpec, ServiceSpec};
use pando_model::id::ServerId;
use pando_model::name::{RoleName, ServiceName};
use pando_model::server::{Server, Standing};

use super::Refusal;
use super::fit::{self, Wanted};
use crate::input::{Input, World};
use crate::placement::{self, Ground};
use crate::view::View;
use crate::words;

/// The role of the servers that the control plane runs on.
const CONTROL: &str = "control";

/// Whether a server may have just these roles.
///
/// # Errors
/// [`Refusal::Harmful`] when it is the last server for something that is in use, [`Refusal::DoesNotFit`] when the others, or the
/// server with its new roles, can't hold what would run there; with the reason, and what to do.
pub fn admit_roles(input: &Input<'_>, server: ServerId, roles: &BTreeSet<RoleName>) -> Result<(), Refusal> {
    changed(input, server, |server| server.roles.clone_from(roles))
}

/// Whether a server may have just these labels.
///
/// # Errors
/// As [`admit_roles`].
pub fn admit_labels(
    input: &Input<'_>,
    server: ServerId,
    labels: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    changed(input, server, |server| server.labels.clone_from(labels))
}

/// Whether a server may be emptied.
///
/// # Errors
/// As [`admit_roles`].
pub fn admit_drain(input: &Input<'_>, server: ServerId) -> Result<(), Refusal> {
    changed(input, server, |server| server.standing = Standing::Draining)
}

/// Whether a server may be emptied and removed.
///
/// # Errors
/// As [`admit_roles`].
pub fn admit_remove(input: &Input<'_>, server: ServerId) -> Result<(), Refusal> {
    changed(input, server, |server| server.standing = Standing::Leaving)
}

/// The cluster before and after a change of one server.
struct Change<'v> {
    before: View<'v>,
    after: View<'v>,
    server: &'v Server,
    changed: &'v Server,
    /// What it keeps of its roles.
    keeps: BTreeSet<&'v RoleName>,
}

fn changed(input: &Input<'_>, server: ServerId, change: impl Fn(&mut Server)) -> Result<(), Refusal> {
    let mut world: World = input.desired.clone();
    world.servers.entry(server).and_modify(change);
    let (Some(known), Some(changed)) = (input.desired.servers.get(&server), world.servers.get(&server))
    else {
        return Err(Refusal::Invalid(format!("there is no server {server} here")));
    };
    let keeps = match changed.standing {
        Standing::Leaving => BTreeSet::new(),
        Standing::Active | Standing::Draining => known.roles.intersection(&changed.roles).collect(),
    };
    let after = View::new(&Input { desired: &world, ..*input });
    let change = Change { before: View::new(input), after, server: known, changed, keeps };
    change.check_control()?;
    change.check_apps()?;
    change.check_entry()?;
    change.check_fit()
}

impl Change<'_> {
    fn loses(&self, role: &str) -> bool {
        let has = self.server.roles.iter().any(|own| own.as_str() == role);
        has && self.keeps.iter().all(|kept| kept.as_str() != role)
    }

    fn check_control(&self) -> Result<(), Refusal> {
        if self.loses(CONTROL) {
            return Err(harmful(format!("the control plane runs on {}", self.server.name)));
        }
        Ok(())
    }

    fn check_apps(&self) -> Result<(), Refusal> {
        let apps = &self.after.input.desired.apps;
        for wanted in apps.iter().flat_map(|(name, app)| Wanted::all_of(name, app)) {
            self.check_processes(&wanted)?;
            for (service, spec) in &wanted.spec.services {
                self.check_service(wanted.spec, service, spec)?;
            }
        }
        Ok(())
    }

    /// A process that this server is meant for must have another that takes it, and is heard.
    fn check_processes(&self, wanted: &Wanted<'_>) -> Result<(), Refusal> {
        for (process, spec, count) in wanted.processes() {
            let loses = placement::is_meant(self.server, spec) && !placement::is_meant(self.changed, spec);
            let has = Ground::of(&self.after, spec, count);
            if !loses || !has.open.is_empty() {
                continue;
            }
            let (app, role, name) = (wanted.name, &spec.role, &self.server.name);
            let others = if has.exists { "; the others with it are lost" } else { "" };
            return Err(harmful(format!(
                "{name} is the last server with {} for `{process}` of {app}{others}. Give the role to another server first \
                 (`pando server roles NAME +{role}`), or end the process there (`pando scale {process}=0`)",
                words::asked_for(spec),
            )));
        }
        Ok(())
    }

    /// What people run themselves stays where it is while its server is emptied, but not when the server goes.
    fn check_service(&self, app: &AppSpec, name: &ServiceName, spec: &ServiceSpec) -> Result<(), Refusal> {
        let others = self.after.with_role(&spec.role).iter().filter_map(|place| self.after.seat(*place));
        let left = others.filter(|seat| seat.server.id != self.server.id).count();
        if left > 0 || !self.loses(spec.role.as_str()) {
            return Ok(());
        }
        let (app, server, role) = (&app.name, &self.server.name, &spec.role);
        Err(harmful(format!(
            "{app} finds its service `{name}` on {server}, the last server with the role `{role}`. Move it, and give the role to \
             its new server first (`pando server roles NAME +{role}`)"
        )))
    }

    /// Requests from outside must arrive somewhere.
    fn check_entry(&self) -> Result<(), Refusal> {
        let takes = |view: &View<'_>| {
            let settings = &view.input.desired.settings;
            let mut staying =
                view.seats.iter().filter(|seat| !seat.is_lost() && seat.server.standing != Standing::Leaving);
            staying.any(|seat| seat.server.is_entry_point(settings))
        };
        if !takes(&self.before) || takes(&self.after) {
            return Ok(());
        }
        let role = if self.after.input.desired.settings.lockdown { "lb" } else { "web` or `lb" };
        Err(harmful(format!(
            "{} is the last server that takes requests from outside. Add one with the role `{role}` first",
            self.server.name
        )))
    }

    /// Only what does not fit for this change counts against it.
    fn check_fit(&self) -> Result<(), Refusal> {
        let fits = |view: &View<'_>| {
            let apps = &view.input.desired.apps;
            let wanted: Vec<Wanted<'_>> =
                apps.iter().filter_map(|(name, app)| Wanted::of(name, app)).collect();
            fit::fits(view, &wanted)
        };
        match (fits(&self.before), fits(&self.after)) {
            (Ok(()), Err(refusal)) => Err(refusal),
            _ => Ok(()),
        }
    }
}

fn harmful(text: String) -> Refusal {
    Refusal::Harmful(text)
}
