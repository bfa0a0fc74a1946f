//! A deployment's way: bring the release, run its command once, roll, commit; or go back.

use pando_model::app::ReplicaCount;
use pando_model::desired::{
    Deployment, DeploymentKind, DeploymentPhase, Failure, Phase, ReleaseTask, Target,
};
use pando_model::id::TaskId;
use pando_model::observed::{FailureReason, InstanceState, ReleaseState, TaskState};
use pando_model::time::{Millis, Timestamp};

use crate::app::AppPlan;
use crate::balancers::Balancer;
use crate::context::Context;
use crate::input::{Liveness, version_of};
use crate::members::Member;
use crate::placement::{self, Ground};
use crate::unplaced::Unplaced;
use crate::view::{self, Seat, View};
use crate::words;

/// Starts after the first that fail a deployment: at once, after 1 s, after 2 s.
const RESTARTS_THAT_FAIL: u32 = 3;
/// Fetching, unpacking and preparing a release may take so long: agents give up on `prepare` after 30 min.
const RELEASE_WITHIN: Millis = Millis::from_secs(45 * 60);
/// A release command is stopped after this.
pub(crate) const COMMAND_WITHIN: Millis = Millis::from_secs(30 * 60);
/// How long a deployment waits for the old release to be whole again before it reports its failure.
const BACK_WITHIN: Millis = Millis::from_secs(5 * 60);

impl<'a> AppPlan<'a> {
    pub(crate) fn step_deployment(&mut self, context: &mut Context<'a>) {
        let Some(deployment) = self.deployments.front().cloned() else { return };
        if deployment.phase == DeploymentPhase::Queued {
            self.begin(context);
        }
        match self.deployments.front().map(|front| front.phase.clone()) {
            Some(DeploymentPhase::Releasing { task }) => self.bring_release(context, task),
            Some(DeploymentPhase::Rolling) => self.watch_roll(context),
            Some(DeploymentPhase::GoingBack { failure, .. }) if self.deployments.len() > 1 => {
                // The next one decides what runs; waiting for the old release would only hold it up.
                self.end(context, DeploymentPhase::Failed { failure });
            }
            _ => {}
        }
    }

    /// After the roll: is it done, or back?
    pub(crate) fn finish_deployment(&mut self, context: &mut Context<'a>) {
        let Some((deployment, target)) = self.current() else { return };
        let view = &context.view;
        match deployment.phase.clone() {
            DeploymentPhase::Rolling if self.committed == Some(target) => {
                let in_use = view.balancers.settled || view.balancers.lacks_every_one;
                in_use.then(|| self.complete(context, target));
            }
            DeploymentPhase::Rolling if !self.desired.wish.stopped && self.is_complete(view) => {
                self.committed = Some(target);
                self.note(format!("{} is committed: every replica of it serves", target.release));
            }
            DeploymentPhase::GoingBack { failure, since } => {
                if self.is_complete(view) || context.now().since(since) >= BACK_WITHIN {
                    self.end(context, DeploymentPhase::Failed { failure });
                } else {
                    context.wake(since + BACK_WITHIN);
                }
            }
            _ => {}
        }
    }

    fn complete(&mut self, context: &Context<'a>, target: Target) {
        let replaced = self.members.iter().filter(|m| m.target == target && m.is_live()).count();
        let replaced = u32::try_from(replaced).unwrap_or(u32::MAX);
        self.note(format!("{} is live: {}", target.release, words::count(replaced, "replica")));
        self.end(context, DeploymentPhase::Done { replaced });
    }

    fn begin(&mut self, context: &Context<'a>) {
        let Some((deployment, target)) = self.current() else { return };
        let (kind, release) = (deployment.kind, target.release);
        if self.release(release).is_none() {
            let failure = words::plain(format!("{release} is not kept any more"));
            self.end(context, DeploymentPhase::Failed { failure });
            return;
        }
        self.note(match kind {
            DeploymentKind::Deploy => format!("deploying {release}"),
            DeploymentKind::Rollback => format!("rolling back to {release}"),
            DeploymentKind::Restart => format!("restarting {release}"),
        });
        let now = context.now();
        self.change(|deployment| {
            deployment.started_at = Some(now);
            deployment.phase = DeploymentPhase::Releasing { task: None };
        });
    }

    fn bring_release(&mut self, context: &mut Context<'a>, task: Option<ReleaseTask>) {
        let Some((deployment, target)) = self.current() else { return };
        let (deployment, started) = (deployment.clone(), deployment.started_at);
        let brought = self.is_release_everywhere(&context.view, target);
        let outcome = match (brought, self.release_command(&deployment, target), task) {
            (Err(failure), _, _) => Err(failure),
            (Ok(false), _, None) => wait_for_release(context, started),
            (Ok(true), None, _) => Ok(true),
            (Ok(true), Some(_), None) => self.assign_command(context, target),
            (Ok(_), _, Some(task)) => command_outcome(&context.view, target, task),
        };
        match outcome {
            Err(failure) => {
                self.fail(format!("{} failed: {}", target.release, failure.message));
                self.end(context, DeploymentPhase::Failed { failure });
            }
            Ok(true) => self.change(|deployment| deployment.phase = DeploymentPhase::Rolling),
            Ok(false) => {}
        }
    }

    /// A rollback or a restart has run its command before.
    fn release_command(&self, deployment: &Deployment, target: Target) -> Option<&str> {
        let spec = self.spec(target).filter(|_| deployment.kind == DeploymentKind::Deploy)?;
        spec.release_command.as_deref()
    }

    /// Every server that will run it has it unpacked and prepared.
    fn is_release_everywhere(&self, view: &View<'a>, target: Target) -> Result<bool, Failure> {
        if self.desired.wish.stopped {
            return Err(words::plain("the app was stopped meanwhile".to_owned()));
        }
        let Some(release) = self.release(target.release) else {
            return Err(words::plain(format!("{} is not kept any more", target.release)));
        };
        if !release.can_be_had() {
            return Err(words::plain(format!("{} was never sent", target.release)));
        }
        for (process, spec) in &release.spec.processes {
            let count = placement::wanted_count(spec, self.desired.wish.scale.get(process).copied());
            let none = matches!(count, ReplicaCount::Total(0) | ReplicaCount::PerServer(0));
            if !none && !Ground::of(view, spec, count).exists {
                let asked_for = words::asked_for(spec);
                return Err(words::plain(format!("no server has {asked_for} that `{process}` needs")));
            }
        }
        let places = self.places_of(view, target);
        let mut everywhere = !places.is_empty();
        for seat in places.iter().filter_map(|place| view.seat(*place)) {
            everywhere &= self.is_release_on(target, seat)?;
        }
        Ok(everywhere)
    }

    fn is_release_on(&self, target: Target, seat: &Seat<'a>) -> Result<bool, Failure> {
        let name = &seat.server.name;
        match seat.release(self.name, target.release) {
            Some(ReleaseState::Ready) => Ok(true),
            Some(ReleaseState::Failed { message }) if self.is_asked_for(target, seat) => Err(Failure {
                server: Some(name.to_string()),
                ..words::plain(format!("{} could not be brought to {name}: {message}", target.release))
            }),
            _ => Ok(false),
        }
    }

    /// The report answers an assignment that names the release; a failure before that is an older try's.
    fn is_asked_for(&self, target: Target, seat: &Seat<'a>) -> bool {
        let mut releases = seat.told.into_iter().flat_map(|told| &told.releases);
        seat.has_obeyed() && releases.any(|r| r.app == *self.name && r.release == target.release)
    }

    /// The places where a target's processes may run, by name, each once.
    pub(crate) fn places_of(&self, view: &View<'a>, target: Target) -> Vec<usize> {
        let Some(spec) = self.spec(target) else { return Vec::new() };
        let mut marked = vec![false; view.seats.len()];
        for process in spec.processes.values() {
            for place in Ground::of(view, process, process.count).open {
                marked.get_mut(place).into_iter().for_each(|here| *here = true);
            }
        }
        view::marked(&marked)
    }

    fn assign_command(&mut self, context: &mut Context<'a>, target: Target) -> Result<bool, Failure> {
        let view = &context.view;
        let places = self.places_of(view, target);
        let mut seats = places.iter().filter_map(|place| view.seat(*place));
        let alive = seats.find(|seat| seat.contact == Liveness::Alive);
        let Some(server) = alive.map(|seat| seat.server) else { return Ok(false) };
        let task = ReleaseTask { id: TaskId::new(context.now(), &mut context.entropy), server: server.id };
        self.note(format!("running the release command of {} on {}", target.release, server.name));
        self.change(|deployment| deployment.phase = DeploymentPhase::Releasing { task: Some(task) });
        Ok(false)
    }

    /// Looks for what makes a roll fail; the first thing found decides.
    fn watch_roll(&mut self, context: &mut Context<'a>) {
        let Some((_, target)) = self.current() else { return };
        if self.committed == Some(target) {
            return;
        }
        let stopped =
            self.desired.wish.stopped.then(|| words::plain("the app was stopped meanwhile".to_owned()));
        let found = stopped
            .or_else(|| self.unplaced(context, target))
            .or_else(|| refused_table(&context.view))
            .or_else(|| self.failed_replica(context, target))
            .or_else(|| unconfirmed(context));
        let Some(failure) = found else { return };
        self.fail(format!("{} failed: {}", target.release, failure.message));
        if self.desired.wish.stopped {
            self.end(context, DeploymentPhase::Failed { failure });
            return;
        }
        match self.committed {
            Some(old) => self.warn(format!("going back to {}", old.release)),
            None => self.warn("taking it off again: there is nothing to go back to"),
        }
        let since = context.now();
        self.change(|deployment| deployment.phase = DeploymentPhase::GoingBack { failure, since });
    }

    /// A process that no server can take, or that a server's trouble with the release keeps from starting. While so many servers
    /// are silent that nothing moves, the deployment waits for them.
    fn unplaced(&mut self, context: &mut Context<'a>, target: Target) -> Option<Failure> {
        let goal = self.goal().filter(|goal| goal.target == target && !context.view.halted)?;
        for (process, spec) in &goal.spec.processes {
            let step = self.step_of(context, goal, process, spec);
            if let Some(why) = Unplaced::of(&context.view, &step) {
                return Some(words::plain(why.failure(&step)));
            }
            let missing = step.unfilled();
            let seats = missing.iter().filter_map(|slot| context.view.seat(slot.place));
            for seat in seats {
                if let Err(failure) = self.is_release_on(target, seat) {
                    return Some(failure);
                }
            }
        }
        None
    }

    fn failed_replica(&mut self, context: &mut Context<'a>, target: Target) -> Option<Failure> {
        let mut new: Vec<&Member<'_>> =
            self.members.iter().filter(|member| member.target == target && member.is_live()).collect();
        new.sort_by_key(|member| &member.replica);
        let mut found = None;
        for member in new {
            if let Some(why) = why_given_up(context, member) {
                found = Some(words::of_instance(&context.view, member, &why));
                break;
            }
        }
        found
    }

    /// The one under way has ended.
    fn end(&mut self, context: &Context<'a>, phase: DeploymentPhase) {
        let Some(mut deployment) = self.deployments.pop_front() else { return };
        deployment.phase = phase;
        deployment.ended_at = Some(context.now());
        self.ended.push(deployment);
    }

    fn change(&mut self, change: impl FnOnce(&mut Deployment)) {
        if let Some(deployment) = self.deployments.front_mut() {
            change(deployment);
        }
    }
}

fn wait_for_release(context: &mut Context<'_>, started: Option<Timestamp>) -> Result<bool, Failure> {
    let deadline = started.unwrap_or(context.now()) + RELEASE_WITHIN;
    context.wake(deadline);
    if context.now() >= deadline {
        return Err(words::plain(format!("the release did not reach every server within {RELEASE_WITHIN}")));
    }
    Ok(false)
}

/// Why a new instance makes its deployment fail. A server that is silent may yet be heard, or be lost: then its replicas are
/// wanted elsewhere.
fn why_given_up(context: &mut Context<'_>, member: &Member<'_>) -> Option<String> {
    if let Some(status) = member.seen.status.filter(|_| !member.is_lost()) {
        match &status.state {
            InstanceState::Failed { reason: FailureReason::PortTaken, .. } => {}
            InstanceState::Failed { message, .. } => {
                return Some(format!("could not be started: {message}"));
            }
            _ if status.restarts >= RESTARTS_THAT_FAIL => {
                return Some(format!("ended {} times", status.restarts));
            }
            _ => {}
        }
    }
    let patience = member.kind.spec?.health.start_timeout;
    let start_period = member.seen.status.and_then(|status| status.start_period).unwrap_or_default();
    let (deadline, what) = match (member.phase, member.unready_since) {
        (Phase::Starting, _) if member.seen.ready_since.is_some() => return None,
        (Phase::Starting, _) => {
            let patience = patience + start_period;
            (member.created_at + patience + member.kind.min_ready, format!("was not ready within {patience}"))
        }
        (_, Some(since)) => {
            let errors = words::balancer_errors(&context.view);
            (since + patience, format!("served, but could not be reached for {patience}{errors}"))
        }
        _ => return None,
    };
    context.wake(deadline);
    let judged = context.now() >= deadline && member.seen.contact == Liveness::Alive;
    judged.then_some(what)
}

/// A live balancer that is heard and does not use a table in time is one that nobody can plan with. One that is silent, or has
/// never had a table, is waited for until it is lost; one that comes back from a silence has its time from then on.
fn unconfirmed(context: &mut Context<'_>) -> Option<Failure> {
    let (view, now) = (&context.view, context.now());
    let behind = || view.balancers.live.iter().filter_map(|one| Some((one, one.deadline(view)?)));
    let late: Vec<&Balancer<'_>> =
        behind().filter(|(_, deadline)| now >= *deadline).map(|(late, _)| late).collect();
    let failure = (!late.is_empty()).then(|| words::plain(words::unconfirmed(view, &late)));
    let next = behind().map(|(_, deadline)| deadline).filter(|deadline| now < *deadline).min();
    next.into_iter().for_each(|next| context.wake(next));
    failure
}

fn refused_table(view: &View<'_>) -> Option<Failure> {
    let published = version_of(view.input.desired.table.as_ref()?.version);
    let refusal = |balancer: &Balancer<'_>| {
        let refused = balancer.status?.refused.as_ref().filter(|refused| refused.version == published)?;
        let (name, reasons) = (&balancer.server.name, refused.reasons.join("; "));
        Some(words::plain(format!("the load balancer on {name} refused its table: {reasons}")))
    };
    view.balancers.live.iter().find_map(refusal)
}

/// `Ok(true)`: it ended well. It is never started a second time, so whatever else can be known of it is final.
fn command_outcome(view: &View<'_>, target: Target, task: ReleaseTask) -> Result<bool, Failure> {
    let seat = view.seat_of(task.server);
    let name = seat.map_or("a removed server", |seat| seat.server.name.as_str());
    let about = |what: String| Failure {
        server: Some(name.to_owned()),
        ..words::plain(format!("the release command of {} on {name} {what}", target.release))
    };
    let unknown = || about("was started, and nobody saw its end; it is not run again by itself".to_owned());
    let waits = || if seat.is_none_or(Seat::is_lost) { Err(unknown()) } else { Ok(false) };
    let state = seat.and_then(Seat::report).and_then(|report| report.tasks.get(&task.id));
    match state {
        Some(TaskState::Ended(exit)) if exit.code == Some(0) => Ok(true),
        Some(TaskState::Ended(exit)) => {
            Err(Failure { exit: Some(exit.clone()), ..about(format!("failed: {}", words::exit(exit))) })
        }
        Some(TaskState::Failed { message }) => Err(about(format!("could not be run: {message}"))),
        Some(TaskState::Unknown) => Err(unknown()),
        Some(TaskState::Waiting | TaskState::Running) => waits(),
        // It may never have been told.
        None if seat.is_none_or(Seat::is_beyond_reach) => Err(unknown()),
        None => Ok(false),
    }
}
