//! From the instances that there are to those that are wanted.
//!
//! Rolling, for each process with `n` wanted replicas: new ones start while at
//! most `n + max_surge` live; an old one is retired only while at least
//! `n - max_unavailable` others can be reached through every live balancer, or
//! where it serves nobody and stands in the way.
//! Replace: everything old is gone before anything new starts.
//!
//! A replica that moves (a role was taken, its server is drained, the spread is
//! uneven, a service is elsewhere) is replaced in the same way, one at a time: the
//! old one stays until the new one of its name can be reached. One whose server
//! is lost has nothing to wait for: it is given up and started elsewhere at once.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::app::{AppSpec, ProcessSpec, Strategy};
use pando_model::desired::{Instance, Phase, Target};
use pando_model::id::InstanceId;
use pando_model::name::ProcessName;

use crate::app::AppPlan;
use crate::context::Context;
use crate::lifecycle::retire;
use crate::members::Member;
use crate::placement::{self, Slot};
use crate::step::Step;
use crate::view::View;

impl<'a> AppPlan<'a> {
    /// One step towards the goal; later calls take the next ones.
    pub(crate) fn roll(&mut self, context: &mut Context<'a>) {
        let Some(goal) = self.goal() else {
            self.retire_all(&context.view, |_| true);
            return;
        };
        let mut complete = true;
        for (process, spec) in in_order(goal.spec) {
            let mut step = self.step_of(context, goal, process, spec);
            self.replace_unstartable(&context.view, process);
            self.promote(context, &step);
            self.retire_surplus(&context.view, &step);
            self.start_missing(context, &mut step);
            complete &= step.has_all(self.members.of_process(process));
            self.steps.push(step);
        }
        if complete || matches!(goal.strategy, Strategy::Replace) {
            // Whatever the goal has no process for goes last, so that a failure can still go back to it.
            self.retire_all(&context.view, |member| {
                !goal.spec.processes.contains_key(&member.replica.process)
            });
        }
    }

    /// An instance that can't be started where it is makes room for another one with another port.
    fn replace_unstartable(&mut self, view: &View<'a>, process: &ProcessName) {
        let mut names = Vec::new();
        for member in self.members.of_process_mut(process) {
            if member.is_live() && member.is_unstartable() {
                names.push((
                    member.replica.ordinal,
                    format!("{} of {}", member.replica, member.target.release),
                ));
                retire(view, member);
            }
        }
        names.sort_by_key(|(ordinal, _)| *ordinal);
        for (_, name) in names {
            self.note(format!("{name} found its port taken; starting another on a new port"));
        }
    }

    /// Wanted instances that were ready for long enough get requests.
    fn promote(&mut self, context: &mut Context<'a>, step: &Step<'a>) {
        let now = context.now();
        let mut ready = Vec::new();
        for member in self.members.of_process_mut(step.process) {
            let Some(since) = member.seen.ready_since else { continue };
            // Silence is no proof of anything.
            if member.phase != Phase::Starting || !step.wants(member) || !member.is_heard() {
                continue;
            }
            let due = since + step.goal.spec.min_ready_of(step.spec);
            if now < due {
                context.wake(due);
                continue;
            }
            member.change().phase = Phase::Serving { since: now };
            let text = format!("{} of {} is ready", member.replica, member.target.release);
            ready.push((member.replica.ordinal, text));
        }
        ready.sort_by_key(|(ordinal, _)| *ordinal);
        ready.into_iter().for_each(|(_, text)| self.note(text));
    }

    /// Retires what the goal doesn't want, as far as the strategy allows just now.
    fn retire_surplus(&mut self, view: &View<'a>, step: &Step<'a>) {
        let members = self.members.of_process_mut(step.process);
        let mut surplus: Vec<usize> = (0..members.len())
            .filter(|index| members.get(*index).is_some_and(|m| m.is_live() && !step.wants(m)))
            .collect();
        if surplus.is_empty() {
            return;
        }
        let mut tally = Tally::of(members, step);
        // What is exchanged one for one first: its replacement is not there to make up for another one.
        surplus.sort_by_key(|index| {
            members.get(*index).map(|member| {
                let replaced = tally.is_replaced(member.replica.ordinal);
                (!tally.is_exchanged(step, member), !replaced, member.replica.ordinal, member.id)
            })
        });
        for index in surplus {
            let Some(member) = members.get_mut(index) else { continue };
            if may_retire(view, step, &tally, member) {
                tally.leave(member);
                retire(view, member);
            }
        }
    }

    /// Starts what the goal misses, as far as the strategy allows just now.
    fn start_missing(&mut self, context: &mut Context<'a>, step: &mut Step<'a>) {
        let missing = step.unfilled();
        if missing.is_empty() || self.must_wait(step) || self.awaited_by(step).is_some() {
            return;
        }
        let members = self.members.of_process(step.process);
        let mut live = members.iter().filter(|member| member.is_live()).count();
        let moving = moving(members, step.goal.target);
        for slot in missing {
            if !step.can_start(&context.view, &slot) || moving.contains(&slot.ordinal) {
                continue;
            }
            let full = live >= step.placement.slots.len() + step.surge || !context.ports.may_change();
            if full || !self.start(context, step, slot) {
                return;
            }
            live += 1;
        }
    }

    /// Something must be gone first. What a server beyond reach should stop is not waited for; a singleton waits even for that.
    fn must_wait(&self, step: &Step<'a>) -> bool {
        let target = step.goal.target;
        // With `replace`, the whole app is one thing: no process starts before the old ones of all have ended.
        let replacing = matches!(step.goal.strategy, Strategy::Replace);
        let is_there = |member: &Member<'_>| member.is_live() || !member.is_beyond_reach();
        (replacing && self.members.any_of_other_target(target, is_there))
            || (step.spec.singleton && !self.members.of_process(step.process).is_empty())
    }

    /// The first process that must be there before this one's replicas start. While a release is rolled out, with all that is
    /// wanted of it; at other times something of it is enough, so that one broken replica does not keep another process down.
    pub(crate) fn awaited_by<'s>(&'s self, step: &Step<'a>) -> Option<&'s Step<'a>> {
        let rolling = self.is_rolling();
        let is_there = |other: &&Step<'a>| {
            let members = self.members.of_process(other.process);
            match rolling {
                true => other.has_all(members),
                false => other.placement.slots.is_empty() || other.available(members) > 0,
            }
        };
        let mut others = self.steps.iter().filter(|other| step.spec.depends_on.contains(other.process));
        others.find(|other| !is_there(other))
    }

    fn start(&mut self, context: &mut Context<'a>, step: &mut Step<'a>, slot: Slot) -> bool {
        let now = context.now();
        let id = InstanceId::new(now, &mut context.entropy);
        let Some(server) = context.view.seat(slot.place).map(|seat| seat.server.id) else { return false };
        let replica = placement::replica(step.process, slot.ordinal);
        let Some(port) = context.ports.take(server, self.name, id) else {
            self.warn(format!("{replica} waits: every port of its server is taken"));
            return false;
        };
        if !step.goal.deploying {
            self.note_move(&context.view, step, slot);
        }
        let (target, phase) = (step.goal.target, Phase::Starting);
        let instance =
            Instance { replica, target, server, port, created_at: now, phase, unready_since: None };
        if !self
            .members
            .of_process(step.process)
            .iter()
            .any(|m| is_twin(m, slot) && m.seen.place == slot.place)
        {
            context.rooms.set_aside(&context.view, slot.place, step.spec.resources);
        }
        self.members.add(&context.view, self.desired, step.process, id, instance);
        step.fill(slot, id);
        true
    }

    /// Says why a replica is started that lives already, or did until now.
    fn note_move(&mut self, view: &View<'a>, step: &Step<'a>, slot: Slot) {
        let now = view.input.now;
        let was_here = |member: &&Member<'_>| {
            is_twin(member, slot) && (member.is_live() || left_at(member) == Some(now))
        };
        let members = self.members.of_process(step.process);
        let Some(old) = members.iter().filter(was_here).max_by_key(|member| (member.created_at, member.id))
        else {
            return;
        };
        let (from, to) = (view.name_of(old.seen.place), view.name_of(slot.place));
        let name = format!("{} of {}", old.replica, old.target.release);
        if old.seen.place == slot.place {
            if step.is_outdated(old) {
                self.note(format!("{name} is replaced: a service that it uses is elsewhere now"));
            }
            return;
        }
        if old.is_lost() {
            self.warn(format!("{name} starts anew on {to}: {from} is lost"));
        } else {
            self.note(format!("{name} moves from {from} to {to}"));
        }
    }

    fn retire_all(&mut self, view: &View<'a>, which: impl Fn(&Member<'a>) -> bool) {
        for member in self.members.iter_mut().filter(|member| which(member)) {
            retire(view, member);
        }
    }

    /// Everything wanted can be reached and nothing else gets requests. What waits for a lost server is not waited for.
    pub(crate) fn is_complete(&self, view: &View<'a>) -> bool {
        self.is_reached(view, Step::has_all)
    }

    /// As [`AppPlan::is_complete`], and nothing waits for a lost server either.
    pub(crate) fn is_settled(&self, view: &View<'a>) -> bool {
        self.is_reached(view, Step::is_whole)
    }

    fn is_reached(&self, view: &View<'a>, enough: impl Fn(&Step<'a>, &[Member<'a>]) -> bool) -> bool {
        self.members.by_process().all(|(process, members)| {
            let step = self.steps.iter().find(|step| step.process == process);
            let wanted = |member: &Member<'a>| step.is_some_and(|step| step.wants(member));
            members.iter().all(|member| wanted(member) || member.is_out(view))
        }) && self.steps.iter().all(|step| enough(step, self.members.of_process(step.process)))
    }
}

/// The processes, each after those that it depends on. A ring was refused when the release was made; should there be one, names
/// decide.
fn in_order(spec: &AppSpec) -> Vec<(&ProcessName, &ProcessSpec)> {
    match spec.start_order() {
        Ok(order) => order.into_iter().filter_map(|name| spec.processes.get_key_value(name)).collect(),
        Err(_) => spec.processes.iter().collect(),
    }
}

/// The same replica, by name.
fn is_twin(member: &Member<'_>, slot: Slot) -> bool {
    member.replica.ordinal == slot.ordinal
}

/// The ordinals that are on their way from one place to another. Should that not be wanted any more either, one of the two goes
/// before a third comes.
fn moving(members: &[Member<'_>], target: Target) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    let living = members.iter().filter(|member| member.is_live() && member.target == target);
    living.map(|member| member.replica.ordinal).filter(|ordinal| !seen.insert(*ordinal)).collect()
}

/// When it was taken off.
fn left_at(member: &Member<'_>) -> Option<pando_model::Timestamp> {
    match member.phase {
        Phase::Draining { since, .. } | Phase::Stopping { since } => Some(since),
        Phase::Starting | Phase::Serving { .. } => None,
    }
}

/// How many instances of a process can be reached just now.
struct Tally {
    available: usize,
    /// The ordinals of those that are wanted.
    replaced: BTreeSet<u32>,
    /// Of each ordinal the newest that runs what is wanted, be it where it is wanted or not.
    newest: BTreeMap<u32, InstanceId>,
    /// As many live as may.
    full: bool,
}

impl Tally {
    fn of(members: &[Member<'_>], step: &Step<'_>) -> Self {
        let live = members.iter().filter(|member| member.is_live()).count();
        let full = live >= step.placement.slots.len() + step.surge;
        let (replaced, newest) = (BTreeSet::new(), BTreeMap::new());
        let mut tally = Self { available: 0, replaced, newest, full };
        for member in members.iter().filter(|member| member.is_available()) {
            tally.available += 1;
            if step.wants(member) {
                tally.replaced.insert(member.replica.ordinal);
            }
            if member.target == step.goal.target {
                let newest = tally.newest.entry(member.replica.ordinal).or_insert(member.id);
                *newest = member.id.max(*newest);
            }
        }
        tally
    }

    fn is_replaced(&self, ordinal: u32) -> bool {
        self.replaced.contains(&ordinal)
    }

    /// Another one of its name that runs the same is there in its stead.
    fn is_exchanged(&self, step: &Step<'_>, member: &Member<'_>) -> bool {
        let ordinal = member.replica.ordinal;
        let newer = self.newest.get(&ordinal).is_some_and(|newest| *newest > member.id);
        member.target == step.goal.target && (newer || self.is_replaced(ordinal))
    }

    /// How many could still be reached without this instance.
    fn without(&self, member: &Member<'_>) -> usize {
        self.available - usize::from(member.is_available())
    }

    fn leave(&mut self, member: &Member<'_>) {
        self.full = false;
        self.available -= usize::from(member.is_available());
    }
}

fn may_retire(view: &View<'_>, step: &Step<'_>, tally: &Tally, member: &Member<'_>) -> bool {
    let moves = member.target == step.goal.target;
    if step.spec.singleton && moves && !member.is_lost() {
        // Between two of it nobody works: the first ends when the second can begin.
        let mut slots = step.placement.slots.iter();
        return slots.all(|slot| step.can_start(view, slot));
    }
    // What moves is exchanged one for one, whatever else is amiss.
    tally.is_exchanged(step, member)
        || tally.without(member) >= step.needed()
        || is_useless(view, step, tally, member)
}

/// Serves nobody for sure, and either has its replacement or stands in the way of one. What nobody can tell just now counts as
/// serving.
fn is_useless(view: &View<'_>, step: &Step<'_>, tally: &Tally, member: &Member<'_>) -> bool {
    if member.phase == Phase::Starting || (member.is_lost() && !view.halted) {
        return true;
    }
    let ordinal = member.replica.ordinal;
    let in_the_way = step.surge == 0 || tally.full;
    member.out && (in_the_way || !step.has_slot(ordinal) || tally.is_replaced(ordinal))
}
