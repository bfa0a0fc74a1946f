//! From the instances that there are to those that are wanted.
//!
//! Rolling, for each process with `n` wanted replicas: new ones start while at
//! most `n + max_surge` run; an old one is retired only while at least
//! `n - max_unavailable` others can be reached through every live balancer.
//! Replace: everything old is gone before anything new starts.

use std::collections::BTreeSet;

use pando_model::app::{AppSpec, ReplicaCount, Strategy};
use pando_model::desired::{DeploymentPhase, Instance, Phase, Target};
use pando_model::id::InstanceId;
use pando_model::name::ProcessName;
use pando_model::observed::{FailureReason, InstanceState};

use crate::app::AppPlan;
use crate::input::{Context, Input};
use crate::placement::{self, Homes, Slot};
use crate::ports;

/// What the app should run now, and how it may get there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal<'a> {
    pub(crate) target: Target,
    pub(crate) spec: &'a AppSpec,
    pub(crate) strategy: Strategy,
}

/// One process on its way to a goal.
struct Step<'a> {
    goal: Goal<'a>,
    process: &'a ProcessName,
    slots: Vec<Slot>,
    singleton: bool,
    surge: usize,
    unavailable: usize,
}

impl<'a> AppPlan<'a> {
    /// `None`: nothing at all.
    pub(crate) fn goal(&self) -> Option<Goal<'a>> {
        if self.desired.wish.stopped {
            return None;
        }
        let under_way = self.current().and_then(|(deployment, target)| match deployment.phase {
            DeploymentPhase::Rolling => Some((Some(target), target)),
            DeploymentPhase::GoingBack { .. } => Some((self.assigned.committed, target)),
            _ => None,
        });
        let (target, strategy_of) = match under_way {
            Some((target, deployed)) => (target?, deployed),
            None => (self.assigned.committed?, self.assigned.committed?),
        };
        let spec = self.spec(target)?;
        let strategy = match self.spec(strategy_of).unwrap_or(spec).strategy {
            // Outside a deployment there is nothing to replace at once: a moved replica moves by itself.
            Strategy::Replace if under_way.is_none() => Strategy::default(),
            strategy => strategy,
        };
        Some(Goal { target, spec, strategy })
    }

    /// One step towards the goal; later calls take the next ones.
    pub(crate) fn roll(&mut self, context: &mut Context<'_>) {
        let Some(goal) = self.goal() else {
            self.retire_all(context, |_| true);
            return;
        };
        let mut complete = true;
        for process in goal.spec.processes.keys() {
            let step = self.step_of(context.input, goal, process);
            self.replace_unstartable(context, &step);
            self.promote(context, &step);
            self.retire_surplus(context, &step);
            self.start_missing(context, &step);
            complete &= self.has_all(context.input, &step);
        }
        if complete || matches!(goal.strategy, Strategy::Replace) {
            // Whatever the goal has no process for goes last, so that a failure can still go back to it.
            self.retire_all(context, |instance| !goal.spec.processes.contains_key(&instance.replica.process));
        }
    }

    fn step_of(&self, input: &Input<'_>, goal: Goal<'a>, process: &'a ProcessName) -> Step<'a> {
        let slots = self.slots(input, goal, process);
        let wanted = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let singleton = goal.spec.processes.get(process).is_some_and(|spec| spec.singleton);
        let (surge, unavailable) = match goal.strategy {
            _ if singleton => (0, 1),
            Strategy::Rolling { max_unavailable, max_surge } => {
                at_least_one(max_surge.ceil_of(wanted), max_unavailable.floor_of(wanted))
            }
            Strategy::Replace => (0, wanted),
        };
        Step { goal, process, slots, singleton, surge: surge as usize, unavailable: unavailable as usize }
    }

    pub(crate) fn slots(&self, input: &Input<'_>, goal: Goal<'a>, process: &ProcessName) -> Vec<Slot> {
        let Some(spec) = goal.spec.processes.get(process) else { return Vec::new() };
        let existing: Vec<&Instance> = self
            .assigned
            .instances
            .values()
            .filter(|instance| instance.replica.process == *process)
            .collect();
        let count = placement::wanted_count(spec, self.desired.wish.scale.get(process).copied());
        placement::slots(process, count, &Homes::of(input, &spec.role), &existing)
    }

    /// An instance that can't be started where it is makes room for another one with another port.
    fn replace_unstartable(&mut self, context: &Context<'_>, step: &Step<'_>) {
        let unstartable = |id: InstanceId, instance: &Instance| {
            let status = context.input.status(instance.server, id);
            matches!(
                status.map(|status| &status.state),
                Some(InstanceState::Failed { reason: FailureReason::PortTaken, .. })
            )
        };
        let ids = self.ids(step.process, |id, instance| is_live(instance) && unstartable(id, instance));
        for id in ids {
            self.note_about(id, "found its port taken; starting another on a new port");
            self.retire(context, id);
        }
    }

    /// Wanted instances that were ready for long enough get requests.
    fn promote(&mut self, context: &Context<'_>, step: &Step<'_>) {
        let input = context.input;
        for id in self.ids(step.process, |_, instance| step.wants(instance)) {
            let Some(instance) = self.assigned.instances.get_mut(&id) else { continue };
            if instance.phase != Phase::Starting {
                continue;
            }
            let Some(since) = input.ready_since(instance.server, id) else { continue };
            let due = since + step.goal.spec.min_ready;
            if input.now < due {
                self.wakes.push(due);
                continue;
            }
            instance.phase = Phase::Serving { since: input.now };
            self.note_about(id, "is ready");
        }
    }

    /// Retires what the goal doesn't want, as far as the strategy allows just now.
    fn retire_surplus(&mut self, context: &Context<'_>, step: &Step<'_>) {
        let input = context.input;
        let mut available = self.ids(step.process, |id, _| self.is_available(input, id)).len();
        let needed = step.slots.len().saturating_sub(step.unavailable);
        let mut surplus = self.ids(step.process, |_, instance| is_live(instance) && !step.wants(instance));
        let replaced = self.replaced_slots(input, step);
        let order = |id: &InstanceId| {
            let replica = self.assigned.instances.get(id).map(|instance| instance.replica.clone());
            (!replica.as_ref().is_some_and(|name| replaced.contains(&name.ordinal)), replica)
        };
        surplus.sort_by_key(order);
        for id in surplus {
            let known = self.is_available(input, id);
            let others = available - usize::from(known);
            if others < needed && !self.is_useless(id, step, &replaced) {
                continue;
            }
            available = others;
            self.retire(context, id);
        }
    }

    /// Serves nobody for sure, and either has its replacement or stands in the way of it. What nobody can tell just now counts
    /// as serving.
    fn is_useless(&self, id: InstanceId, step: &Step<'_>, replaced: &BTreeSet<u32>) -> bool {
        let Some(instance) = self.assigned.instances.get(&id) else { return true };
        let serves = match instance.phase {
            Phase::Starting => return true,
            _ => !self.out.contains(&id),
        };
        let ordinal = instance.replica.ordinal;
        let unwanted = step.slots.iter().all(|slot| slot.replica.ordinal != ordinal);
        !serves && (step.surge == 0 || unwanted || replaced.contains(&ordinal))
    }

    fn replaced_slots(&self, input: &Input<'_>, step: &Step<'_>) -> BTreeSet<u32> {
        let available = self.ids(step.process, |id, i| step.wants(i) && self.is_available(input, id));
        available.iter().filter_map(|id| self.assigned.instances.get(id)).map(|i| i.replica.ordinal).collect()
    }

    /// Starts what the goal misses, as far as the strategy allows just now.
    fn start_missing(&mut self, context: &mut Context<'_>, step: &Step<'_>) {
        for slot in &step.slots {
            let held = self.ids(step.process, |_, i| step.wants(i) && i.replica == slot.replica);
            if !held.is_empty() {
                continue;
            }
            if !self.may_start(step) || !self.start(context, step, slot) {
                break;
            }
        }
    }

    fn may_start(&self, step: &Step<'_>) -> bool {
        let waits_for_all = step.singleton || matches!(step.goal.strategy, Strategy::Replace);
        if waits_for_all && !self.ids(step.process, |_, i| i.target != step.goal.target).is_empty() {
            return false;
        }
        if matches!(step.goal.strategy, Strategy::Replace) && self.has_leftovers(step) {
            return false;
        }
        if step.singleton && !self.ids(step.process, |_, _| true).is_empty() {
            return false;
        }
        self.ids(step.process, |_, i| is_live(i)).len() < step.slots.len() + step.surge
    }

    /// With `replace`, the whole app is one thing: no process starts before the old ones of all have ended.
    fn has_leftovers(&self, step: &Step<'_>) -> bool {
        self.assigned.instances.values().any(|instance| instance.target != step.goal.target)
    }

    fn start(&mut self, context: &mut Context<'_>, step: &Step<'_>, slot: &Slot) -> bool {
        let now = context.input.now;
        let id = InstanceId::new(now, &mut context.entropy);
        let Some(port) = ports::take(context, slot.server, &self.name, id) else {
            self.warn(format!("{} waits: every port of its server is taken", slot.replica));
            return false;
        };
        let instance = Instance {
            replica: slot.replica.clone(),
            target: step.goal.target,
            server: slot.server,
            port,
            created_at: now,
            phase: Phase::Starting,
            unready_since: None,
        };
        self.assigned.instances.insert(id, instance);
        true
    }

    fn retire_all(&mut self, context: &Context<'_>, which: impl Fn(&Instance) -> bool) {
        let ids: Vec<InstanceId> =
            self.assigned.instances.iter().filter(|(_, i)| which(i)).map(|(id, _)| *id).collect();
        for id in ids {
            self.retire(context, id);
        }
    }

    /// Can be reached through every live balancer; or, where no requests go, is ready.
    pub(crate) fn is_available(&self, input: &Input<'_>, id: InstanceId) -> bool {
        let Some(instance) = self.assigned.instances.get(&id) else { return false };
        let serving = matches!(instance.phase, Phase::Serving { .. });
        let ready = input.ready_since(instance.server, id).is_some();
        serving && ready && (!self.is_routed(instance) || input.is_in_rotation(id))
    }

    fn has_all(&self, input: &Input<'_>, step: &Step<'_>) -> bool {
        let available = self.ids(step.process, |id, i| step.wants(i) && self.is_available(input, id));
        let homeless = step.slots.is_empty() && self.wanted(step.goal, step.process) > 0;
        available.len() >= step.slots.len() && !homeless
    }

    /// How many the goal has of a process, for each server where it counts so.
    pub(crate) fn wanted(&self, goal: Goal<'_>, process: &ProcessName) -> u32 {
        let Some(spec) = goal.spec.processes.get(process) else { return 0 };
        match placement::wanted_count(spec, self.desired.wish.scale.get(process).copied()) {
            ReplicaCount::Total(count) | ReplicaCount::PerServer(count) => count,
        }
    }

    /// Everything wanted can be reached and nothing else gets requests.
    pub(crate) fn is_complete(&self, input: &Input<'_>) -> bool {
        let Some(goal) = self.goal() else {
            return self.assigned.instances.iter().all(|(id, i)| is_out(input, *id, i));
        };
        let steps = goal.spec.processes.keys().map(|process| self.step_of(input, goal, process));
        let steps: Vec<Step<'_>> = steps.collect();
        let has_all = steps.iter().all(|step| self.has_all(input, step));
        let wanted = |instance: &Instance| steps.iter().any(|step| step.wants(instance));
        has_all && self.assigned.instances.iter().all(|(id, i)| wanted(i) || is_out(input, *id, i))
    }

    fn ids(&self, process: &ProcessName, which: impl Fn(InstanceId, &Instance) -> bool) -> Vec<InstanceId> {
        let of_process = self.assigned.instances.iter().filter(|(_, i)| i.replica.process == *process);
        of_process.filter(|(id, instance)| which(**id, instance)).map(|(id, _)| *id).collect()
    }

    fn note_about(&mut self, id: InstanceId, what: &str) {
        let Some(instance) = self.assigned.instances.get(&id) else { return };
        let text = format!("{} of {} {what}", instance.replica, instance.target.release);
        self.note(text);
    }
}

impl Step<'_> {
    fn wants(&self, instance: &Instance) -> bool {
        let slot = |slot: &Slot| slot.replica == instance.replica && slot.server == instance.server;
        is_live(instance) && instance.target == self.goal.target && self.slots.iter().any(slot)
    }
}

/// Not on its way out.
pub(crate) fn is_live(instance: &Instance) -> bool {
    matches!(instance.phase, Phase::Starting | Phase::Serving { .. })
}

/// Gets nothing new from anybody.
fn is_out(input: &Input<'_>, id: InstanceId, instance: &Instance) -> bool {
    match instance.phase {
        Phase::Stopping { .. } => true,
        Phase::Draining { .. } => input.is_drained(id),
        Phase::Starting | Phase::Serving { .. } => false,
    }
}

/// With both zero nothing could ever move: percents of few replicas round to nothing.
fn at_least_one(surge: u32, unavailable: u32) -> (u32, u32) {
    if surge == 0 && unavailable == 0 { (1, 0) } else { (surge, unavailable) }
}
