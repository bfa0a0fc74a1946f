//! What is done and what is waited for, in one line each.

use std::collections::BTreeMap;

use pando_model::desired::{DeploymentPhase, Phase};
use pando_model::id::ServerId;
use pando_model::name::{AppName, ProcessName};
use pando_model::observed::{InstanceState, InstanceStatus, ReleaseState};
use pando_model::release::ReleaseNumber;
use serde::{Deserialize, Serialize};

use crate::app::AppPlan;
use crate::input::Liveness;
use crate::members::Member;
use crate::placement::{self, Slot, Stand};
use crate::step::Step;
use crate::transfer;
use crate::unplaced::Unplaced;
use crate::view::{self, View};
use crate::words;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub apps: BTreeMap<AppName, AppReport>,
    /// Servers of which there is something to say.
    pub servers: BTreeMap<ServerId, String>,
    /// So many servers are silent that nothing moves: which, and what to do. `None`: all is as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppReport {
    /// What the app runs, or goes back to.
    pub release: Option<ReleaseNumber>,
    /// Nothing is under way and nothing is missing.
    pub settled: bool,
    /// What the deployment under way does.
    pub deployment: Option<String>,
    /// How far the release that it brings is, on each server that has begun to fetch it and has not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<String>,
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
    /// Every line: the deployment's, then those of servers, then those of processes.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let processes = self.processes.values().map(|process| process.line.as_str());
        let transfers = self.transfers.iter().map(String::as_str);
        self.deployment.as_deref().into_iter().chain(transfers).chain(processes)
    }
}

pub(crate) fn of_app(view: &View<'_>, app: &AppPlan<'_>) -> AppReport {
    let of_step = |step: &Step<'_>| (step.process.clone(), of_process(view, app, step));
    AppReport {
        release: app.committed.map(|target| target.release),
        deployment: deployment_line(view, app),
        transfers: transfers(view, app),
        processes: app.steps.iter().map(of_step).collect(),
        settled: app.deployments.is_empty() && app.is_settled(view),
    }
}

fn deployment_line(view: &View<'_>, app: &AppPlan<'_>) -> Option<String> {
    let (deployment, target) = app.current()?;
    let release = target.release;
    Some(match &deployment.phase {
        DeploymentPhase::Queued => format!("{release} waits for its turn"),
        DeploymentPhase::Releasing { task: None } => {
            let places = app.places_of(view, target);
            let names = words::names(places.iter().map(|place| view.name_of(*place)));
            match places.is_empty() {
                true => format!("{release} waits for its servers, which are lost"),
                false => format!("{release} is being brought to {names}"),
            }
        }
        DeploymentPhase::Releasing { task: Some(_) } => format!("{release}: its release command runs"),
        DeploymentPhase::Rolling => format!("{release} is rolling out"),
        DeploymentPhase::GoingBack { failure, .. } => {
            format!("going back from {release}: {}", failure.message)
        }
        DeploymentPhase::Done { .. } | DeploymentPhase::Failed { .. } => return None,
    })
}

fn transfers(view: &View<'_>, app: &AppPlan<'_>) -> Vec<String> {
    match app.current() {
        Some((deployment, target)) if deployment.phase == (DeploymentPhase::Releasing { task: None }) => {
            transfer::lines(view, app, target)
        }
        _ => Vec::new(),
    }
}

fn of_process(view: &View<'_>, app: &AppPlan<'_>, step: &Step<'_>) -> ProcessReport {
    let members = app.members.of_process(step.process);
    let of_goal = members.iter().filter(|member| member.target == step.goal.target);
    let ready = of_goal.filter(|member| member.is_available()).count();
    let wanted = step.wanted().max(u32::try_from(step.placement.slots.len()).unwrap_or(u32::MAX));
    let places = places(view, &step.placement.slots);
    let mut line = format!("{}: {ready} of {wanted} ready", step.process);
    if !places.is_empty() {
        line.push_str(" on ");
        line.push_str(&words::names(places.into_iter().map(|place| view.name_of(place))));
    }
    let waits = waits(view, app, step);
    if !waits.is_empty() {
        line.push_str("; waiting on ");
        line.push_str(&waits.join(", "));
    }
    ProcessReport { wanted, ready: u32::try_from(ready).unwrap_or(u32::MAX), line }
}

/// By name, each once.
fn places(view: &View<'_>, slots: &[Slot]) -> Vec<usize> {
    let mut used = vec![false; view.seats.len()];
    for slot in slots {
        used.get_mut(slot.place).into_iter().for_each(|used| *used = true);
    }
    view::marked(&used)
}

fn waits(view: &View<'_>, app: &AppPlan<'_>, step: &Step<'_>) -> Vec<String> {
    let members = app.members.of_process(step.process);
    let unplaced = Unplaced::of(view, step).filter(|_| !view.halted);
    let mut waits: Vec<String> = unplaced.iter().map(|unplaced| unplaced.wait(step)).collect();
    let unfilled = step.unfilled();
    waits.extend(unfilled.iter().filter_map(|slot| slot_wait(view, step, slot)));
    let awaited = app.awaited_by(step).filter(|_| !unfilled.is_empty());
    waits.extend(awaited.map(|other| format!("`{}`, which it depends on", other.process)));
    let mut of_members: Vec<(u32, String)> = members
        .iter()
        .filter_map(|member| Some((member.replica.ordinal, member_wait(view, member)?)))
        .collect();
    // Of a replica's two instances, the old and the new, both may wait for the same.
    of_members.sort();
    of_members.dedup();
    waits.extend(of_members.into_iter().map(|(_, wait)| wait));
    let serves = |member: &Member<'_>| member.kind.routed && matches!(member.phase, Phase::Serving { .. });
    let balanced = members.iter().any(|member| serves(member) && !member.is_available());
    waits.extend(view.seats.iter().filter(|_| balanced).filter_map(words::balancer_error));
    waits
}

fn member_wait(view: &View<'_>, member: &Member<'_>) -> Option<String> {
    match member.phase {
        Phase::Starting => Some(start_wait(member)),
        Phase::Serving { .. } if member.is_available() => None,
        Phase::Serving { .. } => Some(serve_wait(view, member)),
        Phase::Draining { .. } => Some(drain_wait(view, member)),
        Phase::Stopping { .. } if member.is_beyond_reach() => None,
        Phase::Stopping { .. } => Some(format!("{} of {} to stop", member.replica, member.target.release)),
    }
}

/// Something wanted that nobody has started yet, and can't be just now.
fn slot_wait(view: &View<'_>, step: &Step<'_>, slot: &Slot) -> Option<String> {
    let (replica, name) = (placement::replica(step.process, slot.ordinal), view.name_of(slot.place));
    match slot.stand {
        Stand::Awaited => {
            let lost = view.seat(slot.place).is_none_or(|seat| seat.is_lost());
            Some(format!("{name} for {replica}: it is {}", if lost { "lost" } else { "cut off" }))
        }
        Stand::Open if !step.has_release(view, slot.place) => {
            let why = match step.release_there(view, slot.place) {
                Some(ReleaseState::Failed { message }) => format!(": {message}"),
                Some(state) => transfer::how_far(state).map(|far| format!(": {far}")).unwrap_or_default(),
                None => String::new(),
            };
            Some(format!("{} to be brought to {name} for {replica}{why}", step.goal.target.release))
        }
        Stand::Open | Stand::Refuge => None,
    }
}

fn start_wait(member: &Member<'_>) -> String {
    match member.seen.ready_since {
        Some(since) => {
            let min_ready = member.kind.min_ready;
            format!("{} to have been ready for {min_ready} (since {since})", member.replica)
        }
        None => health_wait(member),
    }
}

fn serve_wait(view: &View<'_>, member: &Member<'_>) -> String {
    if member.seen.ready_since.is_none() {
        return health_wait(member);
    }
    if !member.kind.routed {
        return format!("{}: its server is silent", member.replica);
    }
    match member.seen.endpoint {
        Some(_) if view.balancers.settled => format!("a load balancer to reach {}", member.replica),
        _ => format!("the load balancers to take {} in", member.replica),
    }
}

fn health_wait(member: &Member<'_>) -> String {
    let replica = &member.replica;
    match member.seen.liveness {
        Liveness::Lost => return format!("{replica}: its server is lost"),
        Liveness::Unknown => return format!("{replica}: its server has not been heard yet"),
        Liveness::Alive | Liveness::Suspect => {}
    }
    let Some(status) = member.seen.status else { return format!("{replica} to start") };
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

fn drain_wait(view: &View<'_>, member: &Member<'_>) -> String {
    let name = format!("{} of {}", member.replica, member.target.release);
    if !view.is_drained(member.id) {
        return format!("the load balancers to let {name} go");
    }
    format!("{} open on {name}", view.open_requests(member.id))
}
