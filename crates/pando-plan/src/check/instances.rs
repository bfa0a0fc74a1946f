//! Of instances: they only move on, stop when nobody sends them anything, and enough of them can always be reached.

use pando_model::app::Strategy;
use pando_model::desired::{AppDesired, Assigned, Deployment, DeploymentPhase, Instance, Phase, Target};
use pando_model::id::InstanceId;
use pando_model::name::{AppName, ProcessName};
use pando_routing::EndpointState;

use super::{After, Violation, is_live};
use crate::action::{Action, Plan};
use crate::input::version_of;
use crate::placement::{self, Ground, Home, Stand};
use crate::rooms::Rooms;
use crate::view::View;

pub(super) fn check(
    after: &After<'_>,
    name: &AppName,
    app: &AppDesired,
    assigned: &Assigned,
    found: &mut Vec<Violation>,
) {
    let under_way = under_way_after(after.plan, app);
    let goals = Goals { app, under_way: under_way.as_ref(), committed: assigned.committed };
    check_phases(name, app, assigned, found);
    check_drains(after, app, assigned, found);
    check_counts(after, name, &goals, assigned, found);
    check_starts(after, name, &goals, assigned, found);
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

/// Stopping: only what no live balancer sends anything to, and whose requests have ended or had their time. What went with its
/// server is beyond that.
fn check_drains(after: &After<'_>, app: &AppDesired, assigned: &Assigned, found: &mut Vec<Violation>) {
    let view = &after.view;
    for (id, before) in &app.assigned.instances {
        let stops = match assigned.instances.get(id) {
            Some(now) => matches!(now.phase, Phase::Stopping { .. }),
            None => !after.forgets(before.server) && view.place_of(before.server).is_some(),
        };
        if !stops || matches!(before.phase, Phase::Stopping { .. } | Phase::Starting) {
            continue;
        }
        let routed = is_routed(app, before);
        let had_time = match before.phase {
            Phase::Draining { deadline, .. } => view.input.now >= deadline,
            _ => !routed && view.endpoint(*id).is_none(),
        };
        let confirmed = is_confirmed_without(view, *id);
        if !(confirmed && (had_time || is_idle(view, *id)) || (had_time && !routed)) {
            found.push(Violation::StoppedUndrained { replica: before.replica.clone(), id: *id });
        }
    }
}

/// Every live balancer acknowledged a table that sends the instance nothing.
fn is_confirmed_without(view: &View<'_>, id: InstanceId) -> bool {
    let Some(table) = &view.input.desired.table else { return true };
    let active = view.endpoint(id).is_some_and(|endpoint| endpoint.state == EndpointState::Active);
    let wanted = Some(version_of(table.version));
    let mut statuses = view.balancers.live.iter().map(|balancer| balancer.status);
    !active && statuses.all(|status| status.is_some_and(|status| status.acknowledged >= wanted))
}

fn is_idle(view: &View<'_>, id: InstanceId) -> bool {
    let mut statuses = view.balancers.live.iter().map(|balancer| balancer.status);
    statuses.all(|status| status.is_some_and(|status| !status.in_flight.contains_key(&id)))
}

fn is_routed(app: &AppDesired, instance: &Instance) -> bool {
    let release = app.releases.get(&instance.target.release);
    release.is_some_and(|release| release.spec.routed().contains(&instance.replica.process))
}

/// Reachable through every live balancer, judged from the reports alone.
fn is_reachable(view: &View<'_>, app: &AppDesired, id: InstanceId, instance: &Instance) -> bool {
    if !matches!(instance.phase, Phase::Serving { .. }) {
        return false;
    }
    let ready = view.input.ready_since(instance.server, id).is_some();
    ready && (!is_routed(app, instance) || is_balanced(view, id))
}

fn is_balanced(view: &View<'_>, id: InstanceId) -> bool {
    let published = view.endpoint(id).is_some_and(|endpoint| endpoint.state == EndpointState::Active);
    let mut statuses = view.balancers.live.iter().map(|balancer| balancer.status);
    published
        && !view.balancers.lacks_every_one
        && statuses.all(|status| {
            status.is_some_and(|s| s.acknowledged.is_some() && !s.not_in_rotation.contains(&id))
        })
}

/// Nothing reachable is taken away below what the strategy allows, and nothing is started beyond it.
fn check_counts(
    after: &After<'_>,
    name: &AppName,
    goals: &Goals<'_>,
    assigned: &Assigned,
    found: &mut Vec<Violation>,
) {
    let app = goals.app;
    for wanted in wanted_counts(&after.view, goals) {
        let process = wanted.process;
        let reached = |assigned: &Assigned| -> Vec<(u32, Target)> {
            let of_process = of_process(assigned, process);
            let reached = of_process.filter(|(id, i)| is_reachable(&after.view, app, **id, i));
            reached.map(|(_, instance)| (instance.replica.ordinal, instance.target)).collect()
        };
        if !app.wish.stopped {
            let (before, left) = (reached(&app.assigned), reached(assigned));
            let needed = wanted.waited_for.saturating_sub(wanted.unavailable).min(before.len());
            // An exchange of one for one, whatever else is amiss.
            let exchanged = before.iter().all(|replica| left.contains(replica));
            if left.len() < needed && !exchanged {
                let (process, left) = (process.clone(), left.len());
                found.push(Violation::TooFewReady { app: name.clone(), process, left, needed });
            }
        }
        let running = of_process(assigned, process).filter(|(_, instance)| is_live(instance)).count();
        let started = of_process(assigned, process).any(|(id, _)| !app.assigned.instances.contains_key(id));
        let most = wanted.slots + wanted.surge;
        if started && running > most {
            found.push(Violation::TooMany { app: name.clone(), process: process.clone(), running, most });
        }
    }
}

fn of_process<'a>(
    assigned: &'a Assigned,
    process: &'a ProcessName,
) -> impl Iterator<Item = (&'a InstanceId, &'a Instance)> {
    assigned.instances.iter().filter(move |(_, instance)| instance.replica.process == *process)
}

/// How many of a process there are to be, and how far it may stray from that.
struct Wanted<'a> {
    process: &'a ProcessName,
    slots: usize,
    /// Slots but for those that wait for a lost server.
    waited_for: usize,
    surge: usize,
    unavailable: usize,
}

/// Each process of what the app should run. Singletons may be gone for a while.
fn wanted_counts<'a>(view: &View<'_>, goals: &Goals<'a>) -> Vec<Wanted<'a>> {
    let app = goals.app;
    let under_way = goals.under_way.filter(|deployment| {
        matches!(deployment.phase, DeploymentPhase::Rolling | DeploymentPhase::GoingBack { .. })
    });
    let strategy_of = under_way.and_then(|deployment| app.releases.get(&deployment.release));
    let target = match under_way {
        Some(deployment) if deployment.phase == DeploymentPhase::Rolling => {
            Some(Target { release: deployment.release, deployment: deployment.id })
        }
        _ => goals.committed,
    };
    let Some(goal) = target.and_then(|target| app.releases.get(&target.release)) else { return Vec::new() };
    let strategy = strategy_of.map_or(goal.spec.strategy, |release| release.spec.strategy);
    let processes = goal.spec.processes.iter().filter(|(_, spec)| !spec.singleton);
    let wanted = |(process, spec): (&'a ProcessName, &'a pando_model::ProcessSpec)| {
        let count = placement::wanted_count(spec, app.wish.scale.get(process).copied());
        let homes = homes(view, &app.assigned, process, target);
        let slots = Ground::of(view, spec, count).place(&homes, false, &mut Rooms::default()).slots;
        let waited_for = slots.iter().filter(|slot| slot.stand != Stand::Awaited).count();
        let (surge, unavailable) = pace(strategy, under_way.is_some(), slots.len());
        Wanted { process, slots: slots.len(), waited_for, surge, unavailable }
    };
    processes.map(wanted).collect()
}

fn homes(view: &View<'_>, assigned: &Assigned, process: &ProcessName, wanted: Option<Target>) -> Vec<Home> {
    let live = of_process(assigned, process).filter(|(_, instance)| is_live(instance));
    let home = |(id, instance): (&InstanceId, &Instance)| {
        let place = view.place_of(instance.server)?;
        Some(Home::of(*id, instance, place, wanted))
    };
    live.filter_map(home).collect()
}

/// How far above and below.
fn pace(strategy: Strategy, deploying: bool, wanted: usize) -> (usize, usize) {
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    let (surge, unavailable) = match strategy {
        Strategy::Rolling { max_surge, max_unavailable } => {
            (max_surge.ceil_of(wanted).max(1), max_unavailable.floor_of(wanted))
        }
        Strategy::Replace if deploying => (0, wanted),
        Strategy::Replace => (1, 0),
    };
    (surge as usize, if deploying { unavailable as usize } else { 0 })
}

fn check_starts(
    after: &After<'_>,
    name: &AppName,
    goals: &Goals<'_>,
    assigned: &Assigned,
    found: &mut Vec<Violation>,
) {
    let app = goals.app;
    let is_new = |id: &InstanceId| !app.assigned.instances.contains_key(id);
    let new: Vec<&Instance> =
        assigned.instances.iter().filter(|(id, _)| is_new(id)).map(|(_, i)| i).collect();
    for instance in &new {
        let release = app.releases.get(&instance.target.release);
        let process = release.and_then(|release| release.spec.processes.get(&instance.replica.process));
        let of_same = of_process(assigned, &instance.replica.process).count();
        if process.is_some_and(|process| process.singleton) && of_same > 1 {
            let process = instance.replica.process.clone();
            found.push(Violation::TwoSingletons { app: name.clone(), process });
        }
    }
    let replacing = goals.under_way.is_some_and(|deployment| {
        let spec = app.releases.get(&deployment.release).map(|release| release.spec.strategy);
        spec == Some(Strategy::Replace) && matches!(deployment.phase, DeploymentPhase::Rolling)
    });
    // What a server beyond reach should stop is nothing to wait for.
    let there = |other: &Instance| {
        let beyond_reach = after.view.seat_of(other.server).is_none_or(|seat| seat.is_beyond_reach());
        is_live(other) || !beyond_reach
    };
    let others = |instance: &Instance| {
        assigned.instances.values().any(|other| other.target != instance.target && there(other))
    };
    if replacing && new.iter().any(|instance| others(instance)) {
        found.push(Violation::MixedReplace { app: name.clone() });
    }
}
