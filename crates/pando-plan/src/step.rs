//! One process on its way to a goal: how many are wanted where, which instances those are, how fast the rest may follow.

use pando_model::app::{AppSpec, ProcessSpec, ReplicaCount, Strategy};
use pando_model::desired::{DeploymentPhase, Phase, Target};
use pando_model::id::InstanceId;
use pando_model::name::ProcessName;
use pando_model::observed::ReleaseState;

use crate::app::AppPlan;
use crate::context::Context;
use crate::environment;
use crate::members::Member;
use crate::placement::{self, Ground, Home, Placement, Slot, Stand};
use crate::view::View;

/// What the app should run now, and how it may get there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal<'a> {
    pub(crate) target: Target,
    pub(crate) spec: &'a AppSpec,
    pub(crate) strategy: Strategy,
    /// A deployment brings it, or takes it back.
    pub(crate) deploying: bool,
}

#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) goal: Goal<'a>,
    pub(crate) process: &'a ProcessName,
    pub(crate) spec: &'a ProcessSpec,
    count: ReplicaCount,
    pub(crate) placement: Placement,
    /// Some server is meant for it, be it lost or not.
    pub(crate) exists: bool,
    /// The instance that holds each slot.
    chosen: Vec<Option<InstanceId>>,
    /// What variables say now of where services are.
    services: Vec<(&'a str, String)>,
    pub(crate) surge: usize,
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
            DeploymentPhase::GoingBack { .. } => Some((self.committed, target)),
            _ => None,
        });
        let (target, strategy_of) = match under_way {
            Some((target, deployed)) => (target?, deployed),
            None => (self.committed?, self.committed?),
        };
        let spec = self.spec(target)?;
        let deploying = under_way.is_some();
        let strategy = match self.spec(strategy_of).unwrap_or(spec).strategy {
            // Never two releases at once, it says; outside a deployment there is one, and a replica that moves does so by itself.
            Strategy::Replace if !deploying => Strategy::default(),
            strategy => strategy,
        };
        Some(Goal { target, spec, strategy, deploying })
    }

    pub(crate) fn step_of(
        &self,
        context: &mut Context<'a>,
        goal: Goal<'a>,
        process: &'a ProcessName,
        spec: &'a ProcessSpec,
    ) -> Step<'a> {
        let members = self.members.of_process(process);
        let count = placement::wanted_count(spec, self.desired.wish.scale.get(process).copied());
        let view = &context.view;
        let services = if view.halted { Vec::new() } else { environment::services(view, goal.spec, spec) };
        let ground = Ground::of(view, spec, count);
        let homes = homes(members, spec.singleton, goal.target);
        let calm = !view.halted && !goal.deploying && is_calm(members, goal.target);
        let placement = ground.place(&homes, calm, &mut context.rooms);
        let exists = ground.exists;
        let wanted = u32::try_from(placement.slots.len()).unwrap_or(u32::MAX);
        let (surge, unavailable) = pace(goal, spec.singleton, wanted);
        let mut step = Step {
            goal,
            process,
            spec,
            count,
            placement,
            exists,
            chosen: Vec::new(),
            services,
            surge: surge as usize,
            unavailable: unavailable as usize,
        };
        step.choose(members);
        step
    }
}

/// How far above and below the wanted count the process may go. Outside a deployment nothing needs to be missing for a moment.
fn pace(goal: Goal<'_>, singleton: bool, wanted: u32) -> (u32, u32) {
    match goal.strategy {
        _ if singleton => (0, 1),
        Strategy::Replace => (0, wanted),
        Strategy::Rolling { max_unavailable, max_surge } => {
            let (surge, unavailable) = (max_surge.ceil_of(wanted), max_unavailable.floor_of(wanted));
            match (goal.deploying, surge, unavailable) {
                (false, ..) => (surge.max(1), 0),
                // With both zero nothing could ever move: percents of few replicas round to nothing.
                (true, 0, 0) => (1, 0),
                (true, surge, unavailable) => (surge, unavailable),
            }
        }
    }
}

/// Where the replicas of a process live. A singleton lives on a lost server until that is back: it may run there.
fn homes(members: &[Member<'_>], singleton: bool, wanted: Target) -> Vec<Home> {
    let live = members.iter().filter(|member| member.is_live() || (singleton && member.is_lost()));
    let home = |member: &Member<'_>| Home::of(member.id, member, member.seen.place, Some(wanted));
    live.map(home).collect()
}

/// Everything that lives is as it should be, so that moving one for the sake of the spread disturbs nothing.
fn is_calm(members: &[Member<'_>], target: Target) -> bool {
    let mut live = members.iter().filter(|member| member.is_live());
    live.all(|member| member.target == target && member.is_available())
}

impl<'a> Step<'a> {
    /// Decides which instance holds each slot: one that can be reached before one that can't, then the newest.
    fn choose(&mut self, members: &[Member<'_>]) {
        let mut best: Vec<Option<(bool, bool, InstanceId)>> = vec![None; self.placement.slots.len()];
        for member in members.iter().filter(|member| self.fits(member)) {
            let serving = matches!(member.phase, Phase::Serving { .. });
            let rank = Some((member.is_available(), serving, member.id));
            let index = self.slot_index(member.replica.ordinal);
            if let Some(held) = index.and_then(|index| best.get_mut(index))
                && *held < rank
            {
                *held = rank;
            }
        }
        self.chosen = best.into_iter().map(|best| best.map(|(_, _, id)| id)).collect();
    }

    /// It runs what is wanted where it is wanted, and was told what holds.
    fn fits(&self, member: &Member<'_>) -> bool {
        let slot = self.slot_index(member.replica.ordinal).and_then(|index| self.placement.slots.get(index));
        member.is_live()
            && member.target == self.goal.target
            && !member.is_unstartable()
            && slot.is_some_and(|slot| slot.place == member.seen.place)
            && !self.is_outdated(member)
    }

    pub(crate) fn is_outdated(&self, member: &Member<'_>) -> bool {
        member.seen.told.is_some_and(|told| environment::is_outdated(told, &self.services))
    }

    fn slot_index(&self, ordinal: u32) -> Option<usize> {
        // Mostly they are 1, 2, 3 and so on.
        let usual = (ordinal as usize).wrapping_sub(1);
        if self.placement.slots.get(usual).is_some_and(|slot| slot.ordinal == ordinal) {
            return Some(usual);
        }
        self.placement.slots.binary_search_by_key(&ordinal, |slot| slot.ordinal).ok()
    }

    /// The goal has a place for a replica of this name.
    pub(crate) fn has_slot(&self, ordinal: u32) -> bool {
        self.slot_index(ordinal).is_some()
    }

    /// It holds a slot.
    pub(crate) fn wants(&self, member: &Member<'_>) -> bool {
        let index = self.slot_index(member.replica.ordinal);
        index.and_then(|index| self.chosen.get(index).copied().flatten()) == Some(member.id)
    }

    /// The slots that nobody holds.
    pub(crate) fn unfilled(&self) -> Vec<Slot> {
        let pairs = self.placement.slots.iter().zip(&self.chosen);
        pairs.filter(|(_, chosen)| chosen.is_none()).map(|(slot, _)| *slot).collect()
    }

    pub(crate) fn fill(&mut self, slot: Slot, id: InstanceId) {
        let index = self.slot_index(slot.ordinal);
        if let Some(chosen) = index.and_then(|index| self.chosen.get_mut(index)) {
            *chosen = Some(id);
        }
    }

    /// How many must stay reachable while others are taken off.
    pub(crate) fn needed(&self) -> usize {
        self.waited_for().count().saturating_sub(self.unavailable)
    }

    fn waited_for(&self) -> impl Iterator<Item = &Slot> {
        self.placement.slots.iter().filter(|slot| slot.stand != Stand::Awaited)
    }

    /// Every replica that can be had is there. What waits for its server to come back is no hindrance, unless nothing else is
    /// wanted of a process that is more than a singleton.
    pub(crate) fn has_all(&self, members: &[Member<'_>]) -> bool {
        let (held, waited_for) = (self.available(members), self.waited_for().count());
        let verified = waited_for > 0 || self.spec.singleton || self.placement.slots.is_empty();
        held >= waited_for && verified && !self.is_homeless()
    }

    /// As [`Step::has_all`], and nothing waits for its server.
    pub(crate) fn is_whole(&self, members: &[Member<'_>]) -> bool {
        self.has_all(members) && self.available(members) == self.placement.slots.len()
    }

    pub(crate) fn available(&self, members: &[Member<'_>]) -> usize {
        members.iter().filter(|member| self.wants(member) && member.is_available()).count()
    }

    /// Something is wanted that has no place.
    pub(crate) fn is_homeless(&self) -> bool {
        let nowhere = self.placement.slots.is_empty() && !self.exists && self.wanted() > 0;
        nowhere || !self.placement.homeless.is_empty()
    }

    /// How many there are to be; for each server, where the process counts so.
    pub(crate) fn wanted(&self) -> u32 {
        match self.count {
            ReplicaCount::Total(count) | ReplicaCount::PerServer(count) => count,
        }
    }

    /// A replica can be started in the slot now: its server takes new ones and has the release.
    pub(crate) fn can_start(&self, view: &View<'_>, slot: &Slot) -> bool {
        slot.stand == Stand::Open && self.has_release(view, slot.place)
    }

    pub(crate) fn has_release(&self, view: &View<'_>, place: usize) -> bool {
        self.release_there(view, place) == Some(&ReleaseState::Ready)
    }

    /// How far the release is on that server, as it said last; `None`: it says nothing of it.
    pub(crate) fn release_there<'v>(&self, view: &'v View<'_>, place: usize) -> Option<&'v ReleaseState> {
        view.seat(place)?.release(&self.goal.spec.name, self.goal.target.release)
    }
}
