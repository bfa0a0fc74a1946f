//! What must always hold of a finished plan, read off the plan itself.
//!
//! Nothing here knows how planning works: it compares what was, what was seen
//! and what the plan would make of it. Property tests, the simulator and debug
//! builds call it.

mod reach;

use std::collections::{BTreeMap, BTreeSet};

use pando_model::Assignment;
use pando_model::app::Strategy;
use pando_model::desired::{AppDesired, Assigned, Deployment, DeploymentPhase, Instance, Phase, Target};
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::{AppName, ProcessName, ReplicaName};
use pando_routing::{EndpointState, Table};

use crate::action::{Action, Plan};
use crate::input::{Input, Liveness};
use crate::placement;

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
    #[error("{server}: two instances of {replica} of one target are assigned")]
    TwoOfOneName { server: ServerId, replica: ReplicaName },
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
    for (name, app) in &input.desired.apps {
        let after = assigned_after(plan, name, app);
        let under_way = under_way_after(plan, app);
        let goals = Goals { app, under_way: under_way.as_ref(), committed: after.committed };
        check_phases(name, app, after, &mut found);
        check_drains(input, app, after, &mut found);
        check_enough(input, name, &goals, after, &mut found);
        check_surge(input, name, &goals, after, &mut found);
        check_starts(name, &goals, after, &mut found);
        check_deployments(name, app, plan, &mut found);
    }
    check_table(input, plan, &mut found);
    check_assignments(input, plan, &mut found);
    reach::check_reach(input, plan, &mut found);
    found
}

fn assigned_after<'a>(plan: &'a Plan, name: &AppName, app: &'a AppDesired) -> &'a Assigned {
    let recorded = plan.actions.iter().find_map(|action| match action {
        Action::RecordAssigned { app, assigned } if app == name => Some(assigned),
        _ => None,
    });
    recorded.unwrap_or(&app.assigned)
}

/// What the app is to run, as the plan leaves it.
struct Goals<'a> {
    app: &'a AppDesired,
    under_way: Option<&'a Deployment>,
    committed: Option<Target>,
}

/// The first deployment that has not ended, as the plan leaves it.
fn under_way_after(plan: &Plan, app: &AppDesired) -> Option<Deployment> {
    let recorded = |id| {
        plan.actions.iter().find_map(|action| match action {
            Action::RecordDeployment(deployment) if deployment.id == id => Some(deployment),
            _ => None,
        })
    };
    let after = app.deployments.iter().map(|before| recorded(before.id).unwrap_or(before));
    after.into_iter().find(|deployment| !deployment.phase.has_ended()).cloned()
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Starting => 0,
        Phase::Serving { .. } => 1,
        Phase::Draining { .. } => 2,
        Phase::Stopping { .. } => 3,
    }
}

fn check_phases(name: &AppName, app: &AppDesired, after: &Assigned, found: &mut Vec<Violation>) {
    for (id, instance) in &after.instances {
        if !app.releases.contains_key(&instance.target.release) {
            found.push(Violation::LostRelease { app: name.clone(), id: *id });
        }
        let Some(before) = app.assigned.instances.get(id) else { continue };
        if rank(instance.phase) < rank(before.phase) {
            let (from, to) = (before.phase, instance.phase);
            found.push(Violation::MovedBack { app: name.clone(), id: *id, from, to });
        }
    }
}

/// Stopping: only what no live balancer sends anything to, and whose requests have ended or had their time.
fn check_drains(input: &Input<'_>, app: &AppDesired, after: &Assigned, found: &mut Vec<Violation>) {
    for (id, before) in &app.assigned.instances {
        let stops = match after.instances.get(id) {
            Some(now) => matches!(now.phase, Phase::Stopping { .. }),
            None => true,
        };
        if !stops || matches!(before.phase, Phase::Stopping { .. } | Phase::Starting) {
            continue;
        }
        let routed = is_routed(app, before);
        let had_time = match before.phase {
            Phase::Draining { deadline, .. } => input.now >= deadline,
            _ => !routed && input.published_state(*id).is_none(),
        };
        let confirmed = confirmed_without(input, *id);
        if !(confirmed && (had_time || is_idle(input, *id)) || (had_time && !routed)) {
            found.push(Violation::StoppedUndrained { replica: before.replica.clone(), id: *id });
        }
    }
}

/// Every live balancer acknowledged a table that sends the instance nothing.
fn confirmed_without(input: &Input<'_>, id: InstanceId) -> bool {
    let Some(table) = &input.desired.table else { return true };
    let active = table.endpoints().any(|(_, e)| e.id.0 == id.as_uuid() && e.state == EndpointState::Active);
    let wanted = crate::input::version_of(table.version);
    let acknowledged = |status: Option<&pando_model::observed::ProxyStatus>| {
        status.is_some_and(|s| s.acknowledged >= Some(wanted))
    };
    !active && input.live_proxies().all(|(_, status)| acknowledged(status))
}

fn is_idle(input: &Input<'_>, id: InstanceId) -> bool {
    input.live_proxies().all(|(_, status)| status.is_some_and(|s| !s.in_flight.contains_key(&id)))
}

fn is_routed(app: &AppDesired, instance: &Instance) -> bool {
    let release = app.releases.get(&instance.target.release);
    release.is_some_and(|release| release.spec.routed().contains(&instance.replica.process))
}

/// Reachable through every live balancer, judged from the reports alone.
fn reachable(input: &Input<'_>, app: &AppDesired, id: InstanceId, instance: &Instance) -> bool {
    let ready = input.ready_since(instance.server, id).is_some();
    let in_rotation = |status: Option<&pando_model::observed::ProxyStatus>| {
        status.is_some_and(|s| s.acknowledged.is_some() && !s.not_in_rotation.contains(&id))
    };
    let published = input.published_state(id) == Some(EndpointState::Active);
    let everywhere = published
        && !input.lacks_every_proxy()
        && input.live_proxies().all(|(_, status)| in_rotation(status));
    matches!(instance.phase, Phase::Serving { .. }) && ready && (!is_routed(app, instance) || everywhere)
}

/// A rolling deployment takes nothing reachable away below what its strategy allows.
fn check_enough(
    input: &Input<'_>,
    name: &AppName,
    goals: &Goals<'_>,
    after: &Assigned,
    found: &mut Vec<Violation>,
) {
    let app = goals.app;
    if app.wish.stopped {
        return;
    }
    for (process, wanted, strategy) in wanted_counts(input, goals) {
        let Strategy::Rolling { max_unavailable, .. } = strategy else { continue };
        let count = |assigned: &Assigned| {
            of_process(assigned, &process).filter(|(id, i)| reachable(input, app, **id, i)).count()
        };
        let (before, left) = (count(&app.assigned), count(after));
        let unavailable = max_unavailable.floor_of(u32::try_from(wanted).unwrap_or(u32::MAX)) as usize;
        let needed = wanted.saturating_sub(unavailable).min(before);
        if left < needed {
            found.push(Violation::TooFewReady { app: name.clone(), process, left, needed });
        }
    }
}

fn of_process<'a>(
    assigned: &'a Assigned,
    process: &'a ProcessName,
) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> {
    assigned.instances.iter().filter(move |(_, instance)| instance.replica.process == *process)
}

/// Each process of what the app should run, how many of it, and how it may change. Singletons may be gone for a while.
fn wanted_counts(input: &Input<'_>, goals: &Goals<'_>) -> Vec<(ProcessName, usize, Strategy)> {
    let app = goals.app;
    let under_way = goals.under_way.filter(|deployment| {
        matches!(deployment.phase, DeploymentPhase::Rolling | DeploymentPhase::GoingBack { .. })
    });
    let strategy_of = under_way.and_then(|deployment| app.releases.get(&deployment.release));
    let goal = match under_way.map(|deployment| &deployment.phase) {
        Some(DeploymentPhase::Rolling) => strategy_of,
        _ => goals.committed.and_then(|target| app.releases.get(&target.release)),
    };
    let Some(goal) = goal else { return Vec::new() };
    let strategy = strategy_of.map_or(goal.spec.strategy, |release| release.spec.strategy);
    let strategy = match strategy {
        Strategy::Replace if under_way.is_none() => Strategy::default(),
        strategy => strategy,
    };
    let processes = goal.spec.processes.iter().filter(|(_, spec)| !spec.singleton);
    processes
        .map(|(name, spec)| {
            let count = placement::wanted_count(spec, app.wish.scale.get(name).copied());
            let places = placement::Homes::of(input, &spec.role);
            let existing: Vec<&Instance> = of_process(&app.assigned, name).map(|(_, i)| i).collect();
            (name.clone(), placement::slots(name, count, &places, &existing).len(), strategy)
        })
        .collect()
}

/// A rolling deployment starts nothing beyond what its strategy allows.
fn check_surge(
    input: &Input<'_>,
    name: &AppName,
    goals: &Goals<'_>,
    after: &Assigned,
    found: &mut Vec<Violation>,
) {
    let app = goals.app;
    for (process, wanted, strategy) in wanted_counts(input, goals) {
        let live =
            |assigned: &Assigned| of_process(assigned, &process).filter(|(_, i)| rank(i.phase) < 2).count();
        let started = after.instances.keys().any(|id| {
            !app.assigned.instances.contains_key(id)
                && after.instances.get(id).is_some_and(|i| i.replica.process == process)
        });
        let surge = match strategy {
            Strategy::Rolling { max_surge, .. } => {
                max_surge.ceil_of(u32::try_from(wanted).unwrap_or(u32::MAX)).max(1) as usize
            }
            Strategy::Replace => 0,
        };
        let (running, most) = (live(after), wanted + surge);
        if started && running > most {
            found.push(Violation::TooMany { app: name.clone(), process, running, most });
        }
    }
}

fn check_starts(name: &AppName, goals: &Goals<'_>, after: &Assigned, found: &mut Vec<Violation>) {
    let app = goals.app;
    let new: Vec<&Instance> = after
        .instances
        .iter()
        .filter(|(id, _)| !app.assigned.instances.contains_key(id))
        .map(|(_, i)| i)
        .collect();
    for instance in &new {
        let release = app.releases.get(&instance.target.release);
        let process = release.and_then(|release| release.spec.processes.get(&instance.replica.process));
        let of_same = of_process(after, &instance.replica.process).count();
        if process.is_some_and(|process| process.singleton) && of_same > 1 {
            let process = instance.replica.process.clone();
            found.push(Violation::TwoSingletons { app: name.clone(), process });
        }
    }
    let replacing = goals.under_way.is_some_and(|deployment| {
        let spec = app.releases.get(&deployment.release).map(|release| release.spec.strategy);
        spec == Some(Strategy::Replace) && matches!(deployment.phase, DeploymentPhase::Rolling)
    });
    let mixed = |instance: &&Instance| after.instances.values().any(|other| other.target != instance.target);
    if replacing && new.iter().any(mixed) {
        found.push(Violation::MixedReplace { app: name.clone() });
    }
}

fn check_deployments(name: &AppName, app: &AppDesired, plan: &Plan, found: &mut Vec<Violation>) {
    for action in &plan.actions {
        let Action::RecordDeployment(now) = action else { continue };
        let Some(before) = app.deployments.iter().find(|before| before.id == now.id) else { continue };
        let (from, to) = (phase_name(&before.phase), phase_name(&now.phase));
        let allowed = from == to
            || matches!(
                (from, to),
                ("queued", "releasing" | "rolling" | "failed" | "going back")
                    | ("releasing", "rolling" | "failed" | "going back")
                    | ("rolling", "going back" | "done" | "failed")
                    | ("going back", "failed")
            );
        if !allowed {
            found.push(Violation::Transition { app: name.clone(), from, to });
        }
        let tasks = (&before.phase, &now.phase);
        if let (DeploymentPhase::Releasing { task: Some(a) }, DeploymentPhase::Releasing { task }) = tasks
            && task.is_none_or(|b| b.id != a.id)
        {
            found.push(Violation::SecondReleaseCommand { app: name.clone() });
        }
    }
}

fn phase_name(phase: &DeploymentPhase) -> &'static str {
    match phase {
        DeploymentPhase::Queued => "queued",
        DeploymentPhase::Releasing { .. } => "releasing",
        DeploymentPhase::Rolling => "rolling",
        DeploymentPhase::GoingBack { .. } => "going back",
        DeploymentPhase::Done { .. } => "done",
        DeploymentPhase::Failed { .. } => "failed",
    }
}

fn check_table(input: &Input<'_>, plan: &Plan, found: &mut Vec<Violation>) {
    let published = plan.actions.iter().find_map(|action| match action {
        Action::Publish(table) => Some(table),
        _ => None,
    });
    let Some(table) = published else { return };
    if let Err(errors) = table.validate() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        found.push(Violation::BadTable(errors.join("; ")));
    }
    if let Some(before) = &input.desired.table
        && table.version <= before.version
    {
        let (old, new) = (before.version.to_string(), table.version.to_string());
        found.push(Violation::VersionFell { old, new });
    }
    check_routes(input, plan, table, found);
}

fn check_routes(input: &Input<'_>, plan: &Plan, table: &Table, found: &mut Vec<Violation>) {
    let mut instances: BTreeMap<InstanceId, &Instance> = BTreeMap::new();
    for (name, app) in &input.desired.apps {
        instances.extend(assigned_after(plan, name, app).instances.iter().map(|(id, i)| (*id, i)));
    }
    for (_, endpoint) in table.endpoints().filter(|(_, e)| e.state == EndpointState::Active) {
        let id = InstanceId::from_uuid(endpoint.id.0);
        let Some(instance) = instances.get(&id) else {
            let replica = ReplicaName::new(ProcessName::web(), 0);
            found.push(Violation::RouteToUnready { replica, id });
            continue;
        };
        let ready = match input.liveness(instance.server) {
            Liveness::Lost => false,
            Liveness::Unknown => input.published_state(id) == Some(EndpointState::Active),
            Liveness::Alive | Liveness::Suspect => input.ready_since(instance.server, id).is_some(),
        };
        if !ready || !matches!(instance.phase, Phase::Serving { .. }) {
            found.push(Violation::RouteToUnready { replica: instance.replica.clone(), id });
        }
    }
}

fn check_assignments(input: &Input<'_>, plan: &Plan, found: &mut Vec<Violation>) {
    for action in &plan.actions {
        let Action::Assign(assignment) = action else { continue };
        if let Some(before) = input.desired.assignments.get(&assignment.server) {
            if assignment.version <= before.version {
                let (old, new) = (before.version.to_string(), assignment.version.to_string());
                found.push(Violation::VersionFell { old, new });
            }
            check_leavers(input, plan, before, assignment, found);
        }
        check_names_and_ports(input, plan, assignment, found);
    }
}

/// Only what is stopping may leave an assignment.
fn check_leavers(
    input: &Input<'_>,
    plan: &Plan,
    before: &Assignment,
    after: &Assignment,
    found: &mut Vec<Violation>,
) {
    for (id, left) in before.instances.iter().filter(|(id, _)| !after.instances.contains_key(id)) {
        let Some(app) = input.desired.apps.get(&left.app) else { continue };
        let instance = assigned_after(plan, &left.app, app).instances.get(id);
        if let Some(instance) = instance.filter(|i| !matches!(i.phase, Phase::Stopping { .. })) {
            let (replica, phase) = (instance.replica.clone(), instance.phase);
            found.push(Violation::LeftWhileWanted { replica, id: *id, phase });
        }
    }
}

fn check_names_and_ports(
    input: &Input<'_>,
    plan: &Plan,
    assignment: &Assignment,
    found: &mut Vec<Violation>,
) {
    let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (id, assigned) in &assignment.instances {
        let Some(app) = input.desired.apps.get(&assigned.app) else { continue };
        let instance = assigned_after(plan, &assigned.app, app).instances.get(id);
        let live = instance.filter(|i| rank(i.phase) < 2);
        let target = live.map(|i| (i.target.release, i.target.deployment));
        if target.is_some() && !names.insert((&assigned.app, &assigned.replica, target)) {
            let replica = assigned.replica.clone();
            found.push(Violation::TwoOfOneName { server: assignment.server, replica });
        }
        if !ports.insert(assigned.port) {
            found.push(Violation::PortTwice { server: assignment.server, port: assigned.port });
        }
    }
}
