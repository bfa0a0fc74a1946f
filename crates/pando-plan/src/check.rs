//! What must always hold of a finished plan, read off the plan itself.
//!
//! Nothing here knows how planning works: it compares what was, what was seen
//! and what the plan would make of it. Property tests, the simulator and debug
//! builds call it.

mod deployments;
mod instances;
mod published;
mod reach;
mod servers;

use std::collections::BTreeMap;

use pando_model::app::ProcessSpec;
use pando_model::desired::{AppDesired, Assigned, Instance, Phase};
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::{AppName, ProcessName, ReplicaName};

use crate::action::{Action, Plan};
use crate::input::Input;
use crate::view::View;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("the table sends requests to {replica} ({id}), which is not ready or not meant to serve")]
    RouteToUnready { replica: ReplicaName, id: InstanceId },
    #[error("{app}/{process}: {left} replicas could be reached after this plan, {needed} must")]
    TooFewReady { app: AppName, process: ProcessName, left: usize, needed: usize },
    #[error("{replica} ({id}) is stopped although a live load balancer may still send it requests")]
    StoppedUndrained { replica: ReplicaName, id: InstanceId },
    #[error("{replica} ({id}) leaves the assignment in phase {phase:?}")]
    LeftWhileWanted { replica: ReplicaName, id: InstanceId, phase: Phase },
    #[error("{app}: {id} moved back from {from:?} to {to:?}")]
    MovedBack { app: AppName, id: InstanceId, from: Phase, to: Phase },
    #[error("two instances of {replica} of one target live, on {servers:?}")]
    TwoOfOneName { replica: ReplicaName, servers: Vec<ServerId> },
    #[error("{replica} ({id}) is placed on {server}, which takes nothing new of its process")]
    Misplaced { replica: ReplicaName, id: InstanceId, server: ServerId },
    #[error("{server} is forgotten, but {what}")]
    ForgottenInUse { server: ServerId, what: &'static str },
    #[error("{server} gets an assignment, but is not of the cluster")]
    AssignedToNobody { server: ServerId },
    #[error("{app}: two instances of the singleton {process} at once")]
    TwoSingletons { app: AppName, process: ProcessName },
    #[error("{server}: port {port} is given twice")]
    PortTwice { server: ServerId, port: u16 },
    #[error("{app}: an instance of a new release starts before all old ones are gone, against `replace`")]
    MixedReplace { app: AppName },
    #[error("{app}: {running} replicas of {process} run at once, {most} may")]
    TooMany { app: AppName, process: ProcessName, running: usize, most: usize },
    #[error("version {new} does not follow {old}")]
    VersionFell { old: String, new: String },
    #[error("{app}: a deployment went from {from} to {to}")]
    Transition { app: AppName, from: &'static str, to: &'static str },
    #[error("{app}: a second release command for one deployment")]
    SecondReleaseCommand { app: AppName },
    #[error("the published table is not valid: {0}")]
    BadTable(String),
    #[error("{app}: {id} runs a release that is not kept")]
    LostRelease { app: AppName, id: InstanceId },
    #[error("{from} takes requests for {to}, whose firewall keeps it off port {port}")]
    Unreachable { from: ServerId, to: ServerId, port: u16 },
    #[error("{server}: the ports of replicas are open to others than entry points")]
    Exposed { server: ServerId },
}

/// Everything that the plan would break. Empty: nothing.
#[must_use]
pub fn check(input: &Input<'_>, plan: &Plan) -> Vec<Violation> {
    let mut found = Vec::new();
    let after = After::of(input, plan);
    for (name, app) in &input.desired.apps {
        instances::check(&after, name, app, assigned_after(plan, name, app), &mut found);
        deployments::check(name, app, plan, &mut found);
    }
    published::check(&after, &mut found);
    servers::check(&after, &mut found);
    reach::check_reach(input, plan, &mut found);
    found
}

/// The world as the plan leaves it.
struct After<'a> {
    view: View<'a>,
    plan: &'a Plan,
    instances: BTreeMap<InstanceId, Held<'a>>,
}

/// An instance after the plan, and before it.
struct Held<'a> {
    app: &'a AppName,
    desired: &'a AppDesired,
    instance: &'a Instance,
    before: Option<&'a Instance>,
}

impl Held<'_> {
    fn process(&self) -> Option<&ProcessSpec> {
        let release = self.desired.releases.get(&self.instance.target.release)?;
        release.spec.processes.get(&self.instance.replica.process)
    }
}

impl<'a> After<'a> {
    fn of(input: &Input<'a>, plan: &'a Plan) -> Self {
        let mut instances = BTreeMap::new();
        for (app, desired) in &input.desired.apps {
            for (id, instance) in &assigned_after(plan, app, desired).instances {
                let before = desired.assigned.instances.get(id);
                instances.insert(*id, Held { app, desired, instance, before });
            }
        }
        Self { view: View::new(input), plan, instances }
    }

    fn forgets(&self, server: ServerId) -> bool {
        self.plan.actions.contains(&Action::ForgetServer(server))
    }
}

fn assigned_after<'a>(plan: &'a Plan, name: &AppName, app: &'a AppDesired) -> &'a Assigned {
    let recorded = plan.actions.iter().find_map(|action| match action {
        Action::RecordAssigned { app, assigned } if app == name => Some(assigned),
        _ => None,
    });
    recorded.unwrap_or(&app.assigned)
}

/// Not on its way out.
fn is_live(instance: &Instance) -> bool {
    matches!(instance.phase, Phase::Starting | Phase::Serving { .. })
}
