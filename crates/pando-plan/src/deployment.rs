//! A deployment's way: bring the release, run its command once, roll, commit; or go back.

use pando_model::desired::{
    Deployment, DeploymentKind, DeploymentPhase, Failure, Instance, Phase, ReleaseTask, Target,
};
use pando_model::id::{InstanceId, TaskId};
use pando_model::observed::{FailureReason, InstanceState, ReleaseState, TaskState};
use pando_model::server::Server;
use pando_model::time::Millis;

use crate::app::AppPlan;
use crate::input::{ACKNOWLEDGE_WITHIN, Context, Input, Liveness, version_of};
use crate::words;

/// Starts after the first that fail a deployment: at once, after 1 s, after 2 s.
const RESTARTS_THAT_FAIL: u32 = 3;
/// Fetching, unpacking and preparing a release may take so long: agents give up on `prepare` after 30 min.
const RELEASE_WITHIN: Millis = Millis::from_secs(45 * 60);
/// A release command is stopped after this.
pub(crate) const COMMAND_WITHIN: Millis = Millis::from_secs(30 * 60);
/// How long a deployment waits for the old release to be whole again before it reports its failure.
const BACK_WITHIN: Millis = Millis::from_secs(5 * 60);

impl AppPlan<'_> {
    pub(crate) fn step_deployment(&mut self, context: &mut Context<'_>) {
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
    pub(crate) fn finish_deployment(&mut self, context: &Context<'_>) {
        let input = context.input;
        let Some((deployment, target)) = self.current() else { return };
        match deployment.phase.clone() {
            DeploymentPhase::Rolling if self.assigned.committed == Some(target) => {
                let in_use = input.is_settled() || input.lacks_every_proxy();
                if in_use {
                    self.complete(context, target);
                }
            }
            DeploymentPhase::Rolling if !self.desired.wish.stopped && self.is_complete(input) => {
                self.assigned.committed = Some(target);
                self.note(format!("{} is committed: every replica of it serves", target.release));
            }
            DeploymentPhase::GoingBack { failure, since } => {
                self.wakes.push(since + BACK_WITHIN);
                if self.is_complete(input) || input.now.since(since) >= BACK_WITHIN {
                    self.end(context, DeploymentPhase::Failed { failure });
                }
            }
            _ => {}
        }
    }

    fn complete(&mut self, context: &Context<'_>, target: Target) {
        let replaced = self.assigned.instances.values().filter(|instance| instance.target == target).count();
        let replaced = u32::try_from(replaced).unwrap_or(u32::MAX);
        self.note(format!("{} is live: {}", target.release, words::count(replaced, "replica")));
        self.end(context, DeploymentPhase::Done { replaced });
    }

    fn begin(&mut self, context: &Context<'_>) {
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
        let now = context.input.now;
        self.change(|deployment| {
            deployment.started_at = Some(now);
            deployment.phase = DeploymentPhase::Releasing { task: None };
        });
    }

    fn bring_release(&mut self, context: &mut Context<'_>, task: Option<ReleaseTask>) {
        let Some((deployment, target)) = self.current() else { return };
        let (deployment, started) = (deployment.clone(), deployment.started_at);
        let brought = self.is_release_everywhere(context.input, target);
        let outcome = match (brought, self.release_command(&deployment, target), task) {
            (Err(failure), _, _) => Err(failure),
            (Ok(false), _, None) => self.wait_for_release(context, started),
            (Ok(true), None, _) => Ok(true),
            (Ok(true), Some(_), None) => self.assign_command(context, target),
            (Ok(_), _, Some(task)) => command_outcome(context.input, target, task),
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

    fn wait_for_release(
        &mut self,
        context: &Context<'_>,
        started: Option<pando_model::Timestamp>,
    ) -> Result<bool, Failure> {
        let deadline = started.unwrap_or(context.input.now) + RELEASE_WITHIN;
        self.wakes.push(deadline);
        if context.input.now >= deadline {
            return Err(words::plain(format!(
                "the release did not reach every server within {RELEASE_WITHIN}"
            )));
        }
        Ok(false)
    }

    /// A rollback or a restart has run its command before.
    fn release_command(&self, deployment: &Deployment, target: Target) -> Option<&str> {
        let spec = self.spec(target).filter(|_| deployment.kind == DeploymentKind::Deploy)?;
        spec.release_command.as_deref()
    }

    /// Every server that will run it has it unpacked and prepared.
    fn is_release_everywhere(&self, input: &Input<'_>, target: Target) -> Result<bool, Failure> {
        if self.desired.wish.stopped {
            return Err(words::plain("the app was stopped meanwhile".to_owned()));
        }
        let Some(release) = self.release(target.release) else {
            return Err(words::plain(format!("{} is not kept any more", target.release)));
        };
        if release.artifact.is_none() {
            return Err(words::plain("running images is not part of this version".to_owned()));
        }
        let servers = self.servers_of(input, target);
        let mut everywhere = !servers.is_empty();
        for server in servers {
            everywhere &= self.is_release_on(input, target, server)?;
        }
        Ok(everywhere)
    }

    fn is_release_on(&self, input: &Input<'_>, target: Target, server: &Server) -> Result<bool, Failure> {
        let Some(report) = input.report(server.id) else { return Ok(false) };
        let mut held = report.releases.iter();
        let held = held.find(|held| held.app == self.name && held.release == target.release);
        match held.map(|held| &held.state) {
            Some(ReleaseState::Ready) => Ok(true),
            Some(ReleaseState::Failed { message }) if self.is_asked_for(input, target, server) => {
                Err(Failure {
                    message: format!("{} could not be brought to {}: {message}", target.release, server.name),
                    server: Some(server.name.to_string()),
                    ..words::plain(String::new())
                })
            }
            _ => Ok(false),
        }
    }

    /// The report answers an assignment that names the release; a failure before that is an older try's.
    fn is_asked_for(&self, input: &Input<'_>, target: Target, server: &Server) -> bool {
        let (Some(report), Some(published)) =
            (input.report(server.id), input.desired.assignments.get(&server.id))
        else {
            return false;
        };
        let named = published.releases.iter().any(|r| r.app == self.name && r.release == target.release);
        named && report.assignment >= published.version
    }

    /// The servers that a target's processes run on, each once.
    pub(crate) fn servers_of<'i>(&self, input: &'i Input<'_>, target: Target) -> Vec<&'i Server> {
        let Some(spec) = self.spec(target) else { return Vec::new() };
        let mut servers: Vec<&Server> = Vec::new();
        for process in spec.processes.values() {
            for server in input.servers_with(&process.role) {
                if servers.iter().all(|known| known.id != server.id) {
                    servers.push(server);
                }
            }
        }
        servers
    }

    fn assign_command(&mut self, context: &mut Context<'_>, target: Target) -> Result<bool, Failure> {
        let input = context.input;
        let servers = self.servers_of(input, target);
        let alive = servers.iter().find(|server| input.liveness(server.id) == Liveness::Alive);
        let Some(server) = alive.map(|server| (server.id, server.name.clone())) else { return Ok(false) };
        let task = ReleaseTask { id: TaskId::new(input.now, &mut context.entropy), server: server.0 };
        self.note(format!("running the release command of {} on {}", target.release, server.1));
        self.change(|deployment| deployment.phase = DeploymentPhase::Releasing { task: Some(task) });
        Ok(false)
    }

    /// Looks for what makes a roll fail; the first thing found decides.
    fn watch_roll(&mut self, context: &Context<'_>) {
        let input = context.input;
        let Some((_, target)) = self.current() else { return };
        if self.assigned.committed == Some(target) {
            return;
        }
        let stopped =
            self.desired.wish.stopped.then(|| words::plain("the app was stopped meanwhile".to_owned()));
        let found = stopped
            .or_else(|| self.missing_role(input, target))
            .or_else(|| refused_table(input))
            .or_else(|| self.failed_replica(input, target))
            .or_else(|| self.unconfirmed(input));
        let Some(failure) = found else { return };
        self.fail(format!("{} failed: {}", target.release, failure.message));
        if self.desired.wish.stopped {
            self.end(context, DeploymentPhase::Failed { failure });
            return;
        }
        match self.assigned.committed {
            Some(old) => self.warn(format!("going back to {}", old.release)),
            None => self.warn("taking it off again: there is nothing to go back to"),
        }
        let since = input.now;
        self.change(|deployment| deployment.phase = DeploymentPhase::GoingBack { failure, since });
    }

    fn missing_role(&self, input: &Input<'_>, target: Target) -> Option<Failure> {
        let goal = self.goal().filter(|goal| goal.target == target)?;
        let lacks = |(name, spec): (&pando_model::ProcessName, &pando_model::ProcessSpec)| {
            let nowhere = input.desired.servers.values().all(|server| !server.roles.contains(&spec.role));
            (nowhere && self.wanted(goal, name) > 0)
                .then(|| words::plain(format!("no server has the role `{}` that `{name}` needs", spec.role)))
        };
        goal.spec.processes.iter().find_map(lacks)
    }

    fn failed_replica(&mut self, input: &Input<'_>, target: Target) -> Option<Failure> {
        let mut wakes = Vec::new();
        let new =
            self.assigned.instances.iter().filter(|(_, i)| i.target == target && crate::rollout::is_live(i));
        let found = new.into_iter().find_map(|(id, instance)| {
            self.why_given_up(input, *id, instance, &mut wakes).map(|why| (*id, instance.clone(), why))
        });
        self.wakes.extend(wakes);
        let (id, instance, why) = found?;
        Some(words::of_instance(input, id, &instance, self.process_of(&instance), &why))
    }

    fn why_given_up(
        &self,
        input: &Input<'_>,
        id: InstanceId,
        instance: &Instance,
        wakes: &mut Vec<pando_model::Timestamp>,
    ) -> Option<String> {
        let status = input.status(instance.server, id);
        if let Some(status) = status {
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
        let spec = self.process_of(instance)?;
        let patience = spec.health.start_timeout;
        let min_ready = self.spec(instance.target).map(|spec| spec.min_ready).unwrap_or_default();
        let (deadline, what) = match (instance.phase, instance.unready_since) {
            (Phase::Starting, _) => (instance.created_at + patience + min_ready, "was not ready within"),
            (_, Some(since)) => (since + patience, "served, but could not be reached for"),
            _ => return None,
        };
        wakes.push(deadline);
        (input.now >= deadline).then(|| format!("{what} {patience}"))
    }

    /// A live balancer that does not use a table in time is one that nobody can plan with.
    fn unconfirmed(&mut self, input: &Input<'_>) -> Option<Failure> {
        if input.desired.table.is_none() || input.is_settled() {
            return None;
        }
        let deadline = input.desired.published_at + ACKNOWLEDGE_WITHIN;
        self.wakes.push(deadline);
        (input.now >= deadline).then(|| words::plain(words::unconfirmed(input)))
    }

    /// The one under way has ended.
    fn end(&mut self, context: &Context<'_>, phase: DeploymentPhase) {
        let Some(mut deployment) = self.deployments.pop_front() else { return };
        deployment.phase = phase;
        deployment.ended_at = Some(context.input.now);
        self.ended.push(deployment);
    }

    fn change(&mut self, change: impl FnOnce(&mut Deployment)) {
        if let Some(deployment) = self.deployments.front_mut() {
            change(deployment);
        }
    }
}

fn refused_table(input: &Input<'_>) -> Option<Failure> {
    let published = version_of(input.desired.table.as_ref()?.version);
    let refusal = |(server, status): (&Server, Option<&pando_model::observed::ProxyStatus>)| {
        let refused = status?.refused.as_ref().filter(|refused| refused.version == published)?;
        let reasons = refused.reasons.join("; ");
        Some(words::plain(format!("the load balancer on {} refused its table: {reasons}", server.name)))
    };
    input.live_proxies().find_map(refusal)
}

/// `Ok(true)`: it ended well. It is never started a second time, so whatever else can be known of it is final.
fn command_outcome(input: &Input<'_>, target: Target, task: ReleaseTask) -> Result<bool, Failure> {
    let name =
        input.desired.servers.get(&task.server).map_or("a removed server", |server| server.name.as_str());
    let about = |what: String| Failure {
        server: Some(name.to_owned()),
        ..words::plain(format!("the release command of {} on {name} {what}", target.release))
    };
    let unknown = || about("was started, and nobody saw its end; it is not run again by itself".to_owned());
    let Some(report) = input.report(task.server) else {
        return if input.liveness(task.server) == Liveness::Lost { Err(unknown()) } else { Ok(false) };
    };
    match report.tasks.get(&task.id) {
        Some(TaskState::Ended(exit)) if exit.code == Some(0) => Ok(true),
        Some(TaskState::Ended(exit)) => {
            Err(Failure { exit: Some(exit.clone()), ..about(format!("failed: {}", words::exit(exit))) })
        }
        Some(TaskState::Failed { message }) => Err(about(format!("could not be run: {message}"))),
        Some(TaskState::Unknown) => Err(unknown()),
        Some(TaskState::Waiting | TaskState::Running) | None => {
            if input.liveness(task.server) == Liveness::Lost { Err(unknown()) } else { Ok(false) }
        }
    }
}
