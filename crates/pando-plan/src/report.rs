//! What is done and what is waited for, in one line each.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::desired::{DeploymentPhase, Instance, Phase};
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::{AppName, ProcessName};
use pando_model::observed::{InstanceState, InstanceStatus};
use pando_model::release::ReleaseNumber;
use serde::{Deserialize, Serialize};

use crate::app::AppPlan;
use crate::input::{Context, Input, Liveness};
use crate::rollout::Goal;
use crate::words;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub apps: BTreeMap<AppName, AppReport>,
    /// Servers of which there is something to say.
    pub servers: BTreeMap<ServerId, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppReport {
    /// What the app runs, or goes back to.
    pub release: Option<ReleaseNumber>,
    /// Nothing is under way and nothing is missing.
    pub settled: bool,
    /// What the deployment under way does.
    pub deployment: Option<String>,
    pub processes: BTreeMap<ProcessName, ProcessReport>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReport {
    pub wanted: u32,
    /// Reachable through every live balancer, or ready where no requests go.
    pub ready: u32,
    /// ``web: 2 of 3 ready on main; waiting on health of web-3 (503 from /health)``
    pub line: String,
}

impl AppReport {
    /// Every line, the deployment's first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let processes = self.processes.values().map(|process| process.line.as_str());
        self.deployment.as_deref().into_iter().chain(processes)
    }
}

pub(crate) fn of_app(context: &Context<'_>, app: &AppPlan<'_>) -> AppReport {
    let mut report = AppReport {
        release: app.assigned.committed.map(|target| target.release),
        deployment: deployment_line(context.input, app),
        ..AppReport::default()
    };
    if let Some(goal) = app.goal() {
        for process in goal.spec.processes.keys() {
            report.processes.insert(process.clone(), of_process(context.input, app, goal, process));
        }
    }
    report.settled = app.deployments.is_empty() && app.is_complete(context.input);
    report
}

fn deployment_line(input: &Input<'_>, app: &AppPlan<'_>) -> Option<String> {
    let (deployment, target) = app.current()?;
    let release = target.release;
    Some(match &deployment.phase {
        DeploymentPhase::Queued => format!("{release} waits for its turn"),
        DeploymentPhase::Releasing { task: None } => {
            let servers = app.servers_of(input, target);
            let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            format!("{release} is being brought to {}", names.join(", "))
        }
        DeploymentPhase::Releasing { task: Some(_) } => format!("{release}: its release command runs"),
        DeploymentPhase::Rolling => format!("{release} is rolling out"),
        DeploymentPhase::GoingBack { failure, .. } => {
            format!("going back from {release}: {}", failure.message)
        }
        DeploymentPhase::Done { .. } | DeploymentPhase::Failed { .. } => return None,
    })
}

fn of_process(input: &Input<'_>, app: &AppPlan<'_>, goal: Goal<'_>, process: &ProcessName) -> ProcessReport {
    let slots = app.slots(input, goal, process);
    let members: Vec<(&InstanceId, &Instance)> =
        app.assigned.instances.iter().filter(|(_, i)| i.replica.process == *process).collect();
    let of_goal = members.iter().filter(|(_, i)| i.target == goal.target);
    let ready = of_goal.filter(|(id, _)| app.is_available(input, **id)).count();
    let wanted = app.wanted(goal, process).max(u32::try_from(slots.len()).unwrap_or(u32::MAX));
    let names: BTreeSet<&str> = slots
        .iter()
        .filter_map(|slot| input.desired.servers.get(&slot.server))
        .map(|s| s.name.as_str())
        .collect();
    let places = names.into_iter().collect::<Vec<_>>().join(", ");
    let mut line = format!("{process}: {ready} of {wanted} ready");
    if !places.is_empty() {
        line.push_str(&format!(" on {places}"));
    }
    let waits = waits(input, app, goal, process, &members, slots.is_empty() && wanted > 0);
    if !waits.is_empty() {
        line.push_str("; waiting on ");
        line.push_str(&waits.join(", "));
    }
    ProcessReport { wanted, ready: u32::try_from(ready).unwrap_or(u32::MAX), line }
}

fn waits(
    input: &Input<'_>,
    app: &AppPlan<'_>,
    goal: Goal<'_>,
    process: &ProcessName,
    members: &[(&InstanceId, &Instance)],
    homeless: bool,
) -> Vec<String> {
    let mut waits = Vec::new();
    if homeless {
        let role = goal.spec.processes.get(process).map(|spec| spec.role.to_string()).unwrap_or_default();
        waits.push(format!("a server with the role `{role}`"));
    }
    for (id, instance) in members {
        let wait = match instance.phase {
            Phase::Starting => start_wait(input, app, **id, instance),
            Phase::Serving { .. } if app.is_available(input, **id) => None,
            Phase::Serving { .. } => Some(serve_wait(input, **id, instance)),
            Phase::Draining { .. } => Some(drain_wait(input, **id, instance)),
            Phase::Stopping { .. } => {
                Some(format!("{} of {} to stop", instance.replica, instance.target.release))
            }
        };
        waits.extend(wait);
    }
    waits
}

fn start_wait(input: &Input<'_>, app: &AppPlan<'_>, id: InstanceId, instance: &Instance) -> Option<String> {
    if let Some(since) = input.ready_since(instance.server, id) {
        let min_ready = app.spec(instance.target).map(|spec| spec.min_ready).unwrap_or_default();
        return Some(format!("{} to have been ready for {min_ready} (since {since})", instance.replica));
    }
    Some(health_wait(input, id, instance))
}

fn serve_wait(input: &Input<'_>, id: InstanceId, instance: &Instance) -> String {
    if input.ready_since(instance.server, id).is_none() {
        return health_wait(input, id, instance);
    }
    match input.published_state(id) {
        Some(_) if input.is_settled() => format!("a load balancer to reach {}", instance.replica),
        _ => format!("the load balancers to take {} in", instance.replica),
    }
}

fn health_wait(input: &Input<'_>, id: InstanceId, instance: &Instance) -> String {
    let replica = &instance.replica;
    match input.liveness(instance.server) {
        Liveness::Lost => return format!("{replica}: its server is lost"),
        Liveness::Unknown => return format!("{replica}: its server has not been heard yet"),
        Liveness::Alive | Liveness::Suspect => {}
    }
    let Some(status) = input.status(instance.server, id) else { return format!("{replica} to start") };
    match &status.state {
        InstanceState::Waiting => format!("{replica}: its release is being brought"),
        InstanceState::BackingOff { next_start_in } => {
            format!("{replica}: {}, starts again in {next_start_in}", last_exit(status))
        }
        InstanceState::Failed { message, .. } => format!("{replica}: {message}"),
        InstanceState::Stopping => format!("{replica} to stop"),
        InstanceState::Starting | InstanceState::Unhealthy | InstanceState::Ready => {
            let answer = status.check.as_ref().map(|answer| format!(" ({answer})")).unwrap_or_default();
            format!("health of {replica}{answer}")
        }
    }
}

fn last_exit(status: &InstanceStatus) -> String {
    status.last_exit.as_ref().map_or_else(|| "it ended".to_owned(), words::exit)
}

fn drain_wait(input: &Input<'_>, id: InstanceId, instance: &Instance) -> String {
    let name = format!("{} of {}", instance.replica, instance.target.release);
    if !input.is_drained(id) {
        return format!("the load balancers to let {name} go");
    }
    let open: u64 = input
        .live_proxies()
        .filter_map(|(_, status)| status.and_then(|status| status.in_flight.get(&id)))
        .sum();
    format!("{open} open on {name}")
}

pub(crate) fn servers(context: &Context<'_>) -> BTreeMap<ServerId, String> {
    let input = context.input;
    let words = |server: &pando_model::Server| {
        let what = match input.liveness(server.id) {
            Liveness::Alive => return None,
            Liveness::Suspect => "is silent; its replicas are judged by the load balancers alone",
            Liveness::Unknown => "has not been heard since the control plane started",
            Liveness::Lost => "is lost: its replicas are out of the load balancers",
        };
        Some((server.id, format!("{} {what}", server.name)))
    };
    input.desired.servers.values().filter_map(words).collect()
}
