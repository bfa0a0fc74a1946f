//! One app's plan: a working copy of what was decided, moved on by what is seen.

use std::collections::VecDeque;

use pando_model::app::AppSpec;
use pando_model::desired::{AppDesired, Assigned, Deployment, DeploymentPhase, Target};
use pando_model::name::AppName;
use pando_model::release::{Release, ReleaseNumber};

use crate::action::{Action, Note, Plan, Severity};
use crate::context::Context;
use crate::members::Members;
use crate::report::{self, AppReport};
use crate::step::Step;

#[derive(Debug)]
pub(crate) struct AppPlan<'a> {
    pub(crate) name: &'a AppName,
    pub(crate) desired: &'a AppDesired,
    /// What the app runs when no deployment is under way.
    pub(crate) committed: Option<Target>,
    pub(crate) members: Members<'a>,
    /// Those that have not ended, the one under way first.
    pub(crate) deployments: VecDeque<Deployment>,
    /// Those that ended in this plan.
    pub(crate) ended: Vec<Deployment>,
    /// Each process of the goal on its way there. Empty: nothing is to run.
    pub(crate) steps: Vec<Step<'a>>,
    pub(crate) notes: Vec<Note>,
    pub(crate) report: AppReport,
}

impl<'a> AppPlan<'a> {
    pub(crate) fn make(context: &mut Context<'a>, name: &'a AppName, desired: &'a AppDesired) -> Self {
        let mut app = Self {
            name,
            desired,
            committed: desired.assigned.committed,
            members: Members::of(&context.view, desired),
            deployments: desired.deployments.clone(),
            ended: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            report: AppReport::default(),
        };
        app.reap(context);
        app.track_readiness(context);
        app.advance_drains(context);
        app.step_deployment(context);
        app.roll(context);
        app.finish_deployment(context);
        app.report = report::of_app(&context.view, &app);
        app
    }

    pub(crate) fn record_changes(&self, plan: &mut Plan) {
        let before = self.desired;
        for deployment in self.deployments.iter().chain(&self.ended) {
            if before.deployments.iter().all(|old| old != deployment) {
                plan.actions.push(Action::RecordDeployment(deployment.clone()));
            }
        }
        if let Some(assigned) = self.assigned_anew() {
            plan.actions.push(Action::RecordAssigned { app: self.name.clone(), assigned });
        }
        for release in self.forgotten_releases() {
            plan.actions.push(Action::ForgetRelease { app: self.name.clone(), release });
        }
    }

    /// `None`: as it was.
    fn assigned_anew(&self) -> Option<Assigned> {
        let before = &self.desired.assigned;
        let instances = self.members.recorded();
        if instances.is_none() && self.committed == before.committed {
            return None;
        }
        let instances = instances.unwrap_or_else(|| before.instances.clone());
        let assigned = Assigned { committed: self.committed, instances, served: self.served() };
        (assigned != *before).then_some(assigned)
    }

    /// Something runs it, or is to run it.
    pub(crate) fn is_in_use(&self, release: ReleaseNumber) -> bool {
        let committed = self.committed.is_some_and(|target| target.release == release);
        let wanted = self.deployments.iter().any(|deployment| deployment.release == release);
        committed || wanted || self.members.iter().any(|member| member.target.release == release)
    }

    pub(crate) fn release(&self, number: ReleaseNumber) -> Option<&'a Release> {
        self.desired.releases.get(&number)
    }

    pub(crate) fn spec(&self, target: Target) -> Option<&'a AppSpec> {
        self.release(target.release).map(|release| &release.spec)
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
        self.committed.and_then(|target| self.spec(target)).or_else(first)
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
        self.notes.push(Note { app: Some(self.name.clone()), deployment, severity, text });
    }
}
