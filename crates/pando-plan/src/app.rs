//! One app's plan: a working copy of what was decided, moved on by what is seen.

use std::collections::{BTreeSet, VecDeque};

use pando_model::app::{AppSpec, ProcessSpec};
use pando_model::desired::{AppDesired, Assigned, Deployment, DeploymentPhase, Instance, Target};
use pando_model::id::InstanceId;
use pando_model::name::AppName;
use pando_model::release::{Release, ReleaseNumber};
use pando_model::time::{Millis, Timestamp};

use crate::action::{Action, Note, Plan, Severity};
use crate::input::Context;
use crate::report::{self, AppReport};

/// How many releases are kept to roll back to, the committed one included.
pub(crate) const KEPT_RELEASES: usize = 10;
/// For an instance whose release is no longer known.
const DEFAULT_STOP_TIMEOUT: Millis = Millis::from_secs(30);

#[derive(Debug)]
pub(crate) struct AppPlan<'a> {
    pub(crate) name: AppName,
    pub(crate) desired: &'a AppDesired,
    pub(crate) assigned: Assigned,
    /// Those that have not ended, the one under way first.
    pub(crate) deployments: VecDeque<Deployment>,
    /// Those that ended in this plan.
    pub(crate) ended: Vec<Deployment>,
    /// Instances that serve nobody for sure, though they are meant to.
    pub(crate) out: BTreeSet<InstanceId>,
    pub(crate) notes: Vec<Note>,
    pub(crate) wakes: Vec<Timestamp>,
    pub(crate) report: AppReport,
}

impl<'a> AppPlan<'a> {
    pub(crate) fn make(context: &mut Context<'_>, name: &AppName, desired: &'a AppDesired) -> Self {
        let mut app = Self {
            name: name.clone(),
            desired,
            assigned: desired.assigned.clone(),
            deployments: desired.deployments.clone(),
            ended: Vec::new(),
            out: BTreeSet::new(),
            notes: Vec::new(),
            wakes: Vec::new(),
            report: AppReport::default(),
        };
        app.reap(context);
        app.track_readiness(context);
        app.advance_drains(context);
        app.step_deployment(context);
        app.roll(context);
        app.finish_deployment(context);
        app.report = report::of_app(context, &app);
        app
    }

    pub(crate) fn record_changes(&self, before: &AppDesired, plan: &mut Plan) {
        for deployment in self.deployments.iter().chain(&self.ended) {
            if before.deployments.iter().all(|old| old != deployment) {
                plan.actions.push(Action::RecordDeployment(deployment.clone()));
            }
        }
        if self.assigned != before.assigned {
            let action = Action::RecordAssigned { app: self.name.clone(), assigned: self.assigned.clone() };
            plan.actions.push(action);
        }
        for release in self.forgotten_releases() {
            plan.actions.push(Action::ForgetRelease { app: self.name.clone(), release });
        }
    }

    /// Releases beyond those kept that nothing refers to any more.
    pub(crate) fn forgotten_releases(&self) -> Vec<ReleaseNumber> {
        let kept = self.desired.releases.len().saturating_sub(KEPT_RELEASES);
        let oldest = self.desired.releases.keys().copied().take(kept);
        oldest.filter(|release| !self.is_in_use(*release)).collect()
    }

    /// Something runs it, or is to run it.
    pub(crate) fn is_in_use(&self, release: ReleaseNumber) -> bool {
        let committed = self.assigned.committed.is_some_and(|target| target.release == release);
        let wanted = self.deployments.iter().any(|deployment| deployment.release == release);
        let runs = self.assigned.instances.values().any(|instance| instance.target.release == release);
        committed || wanted || runs
    }

    pub(crate) fn release(&self, number: ReleaseNumber) -> Option<&'a Release> {
        self.desired.releases.get(&number)
    }

    pub(crate) fn spec(&self, target: Target) -> Option<&'a AppSpec> {
        self.release(target.release).map(|release| &release.spec)
    }

    /// The specification that an instance was started with.
    pub(crate) fn process_of(&self, instance: &Instance) -> Option<&'a ProcessSpec> {
        self.spec(instance.target)?.processes.get(&instance.replica.process)
    }

    pub(crate) fn stop_timeout_of(&self, instance: &Instance) -> Millis {
        self.process_of(instance).map_or(DEFAULT_STOP_TIMEOUT, |spec| spec.stop_timeout)
    }

    /// Requests go to instances of its process.
    pub(crate) fn is_routed(&self, instance: &Instance) -> bool {
        self.spec(instance.target).is_some_and(|spec| spec.routed().contains(&instance.replica.process))
    }

    /// The deployment under way, with its target.
    pub(crate) fn current(&self) -> Option<(&Deployment, Target)> {
        let deployment = self.deployments.front()?;
        Some((deployment, Target { release: deployment.release, deployment: deployment.id }))
    }

    pub(crate) fn is_rolling(&self) -> bool {
        self.current().is_some_and(|(deployment, _)| deployment.phase == DeploymentPhase::Rolling)
    }

    /// The rules that the balancers follow: the committed release's, or a first release's while it comes up.
    pub(crate) fn routing_spec(&self) -> Option<&'a AppSpec> {
        let first = || self.current().filter(|_| self.is_rolling()).and_then(|(_, target)| self.spec(target));
        self.assigned.committed.and_then(|target| self.spec(target)).or_else(first)
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.say(Severity::Info, text.into());
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.say(Severity::Warning, text.into());
    }

    pub(crate) fn fail(&mut self, text: impl Into<String>) {
        self.say(Severity::Error, text.into());
    }

    fn say(&mut self, severity: Severity, text: String) {
        let deployment = self.current().map(|(deployment, _)| deployment.id);
        self.notes.push(Note { app: self.name.clone(), deployment, severity, text });
    }
}
