//! What the API asks before it records anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pando_api::{ErrorBody, ErrorCode};
use pando_model::app::AppSpec;
use pando_model::desired::Deployment;
use pando_model::id::ServerId;
use pando_model::name::{AppName, ProcessName, RoleName};
use pando_model::release::{Digest, Release};
use pando_plan::{Input, Refusal};

/// Whether the cluster can run it.
pub trait Admission: Send + Sync + fmt::Debug {
    /// # Errors
    /// Why `spec` can't be the app's next release: it asks for what is not here, or for more than there is.
    fn admit(&self, input: &Input<'_>, spec: &AppSpec) -> Result<(), ErrorBody>;

    /// # Errors
    /// Why the app can't have these counts.
    fn admit_scale(
        &self,
        input: &Input<'_>,
        app: &AppName,
        scale: &BTreeMap<ProcessName, u32>,
    ) -> Result<(), ErrorBody>;

    /// # Errors
    /// What would have nowhere to run if the server had these roles and no others.
    fn admit_roles(
        &self,
        input: &Input<'_>,
        server: ServerId,
        roles: &BTreeSet<RoleName>,
    ) -> Result<(), ErrorBody>;

    /// # Errors
    /// What would have nowhere to run if the server had these labels and no others.
    fn admit_labels(
        &self,
        input: &Input<'_>,
        server: ServerId,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ErrorBody>;

    /// # Errors
    /// What would have nowhere to run if the server were emptied.
    fn admit_drain(&self, input: &Input<'_>, server: ServerId) -> Result<(), ErrorBody>;

    /// # Errors
    /// What would have nowhere to run if the server left the cluster.
    fn admit_remove(&self, input: &Input<'_>, server: ServerId) -> Result<(), ErrorBody>;
}

/// A deployment that was asked for and not recorded yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub deployment: Deployment,
    /// What it would run.
    pub release: Release,
}

/// What a change would do.
pub trait DryRun: Send + Sync + fmt::Debug {
    /// A deployment: one line for each step, in order.
    fn dry_run(&self, input: &Input<'_>, proposal: &Proposal) -> Vec<String>;
}

/// Asks the planner.
#[derive(Debug, Clone, Copy, Default)]
pub struct Planner;

impl Admission for Planner {
    fn admit(&self, input: &Input<'_>, spec: &AppSpec) -> Result<(), ErrorBody> {
        pando_plan::admit(input, spec).map_err(refused)
    }

    fn admit_scale(
        &self,
        input: &Input<'_>,
        app: &AppName,
        scale: &BTreeMap<ProcessName, u32>,
    ) -> Result<(), ErrorBody> {
        pando_plan::admit_scale(input, app, scale).map_err(refused)
    }

    fn admit_roles(
        &self,
        input: &Input<'_>,
        server: ServerId,
        roles: &BTreeSet<RoleName>,
    ) -> Result<(), ErrorBody> {
        pando_plan::admit_roles(input, server, roles).map_err(insistent)
    }

    fn admit_labels(
        &self,
        input: &Input<'_>,
        server: ServerId,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ErrorBody> {
        pando_plan::admit_labels(input, server, labels).map_err(insistent)
    }

    fn admit_drain(&self, input: &Input<'_>, server: ServerId) -> Result<(), ErrorBody> {
        pando_plan::admit_drain(input, server).map_err(insistent)
    }

    fn admit_remove(&self, input: &Input<'_>, server: ServerId) -> Result<(), ErrorBody> {
        pando_plan::admit_remove(input, server).map_err(insistent)
    }
}

/// What may be done all the same, by whoever says so.
fn insistent(refusal: Refusal) -> ErrorBody {
    let may_insist = matches!(refusal, Refusal::Harmful(_) | Refusal::DoesNotFit(_));
    let error = refused(refusal);
    if may_insist { error.hint("`--force` does it all the same") } else { error }
}

impl DryRun for Planner {
    fn dry_run(&self, input: &Input<'_>, proposal: &Proposal) -> Vec<String> {
        let Proposal { deployment, release } = proposal;
        let mut world = input.desired.clone();
        let app = world.apps.entry(deployment.app.clone()).or_default();
        (app.wish.stopped, app.wish.remove) = (false, false);
        let mut release = release.clone();
        // A release that was not packed and sent yet is rehearsed as if it had been.
        if !release.can_be_had() {
            release.artifact = Digest::new("0".repeat(64)).ok();
        }
        app.releases.insert(release.number, release);
        app.deployments.push_back(deployment.clone());
        pando_plan::rehearse(world, &deployment.app, input.now, input.seed)
    }
}

fn refused(refusal: Refusal) -> ErrorBody {
    let code = match &refusal {
        Refusal::DoesNotFit(_) => ErrorCode::DoesNotFit,
        Refusal::Invalid(_) => ErrorCode::Invalid,
        Refusal::Harmful(_) => ErrorCode::Harmful,
    };
    ErrorBody::new(code, refusal.to_string())
}
