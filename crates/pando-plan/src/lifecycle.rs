//! What observations alone do to instances: readiness noted, drains ended, the gone forgotten.

use pando_model::desired::Phase;
use pando_routing::EndpointState;

use crate::app::AppPlan;
use crate::context::Context;
use crate::input::Liveness;
use crate::members::Member;
use crate::view::View;

impl<'a> AppPlan<'a> {
    /// Forgets instances that were stopped and of which nothing is left.
    pub(crate) fn reap(&mut self, context: &mut Context<'a>) {
        let view = &context.view;
        let ports = &mut context.ports;
        self.members.remove(|member| {
            let gone = matches!(member.phase, Phase::Stopping { .. }) && is_gone(view, member);
            let gone = gone && ports.may_change();
            gone.then(|| ports.free(member.server, member.port));
            gone
        });
    }

    /// Notes since when a serving instance can't be reached; silence changes nothing until the server is lost.
    pub(crate) fn track_readiness(&mut self, context: &Context<'a>) {
        let now = context.now();
        for member in self.members.iter_mut() {
            match is_reachable(&context.view, member) {
                Some(true) if member.unready_since.is_some() => member.change().unready_since = None,
                Some(false) => {
                    member.out = true;
                    if member.unready_since.is_none() {
                        member.change().unready_since = Some(now);
                    }
                }
                Some(true) | None => {}
            }
        }
    }

    /// A drain ends when every live balancer has confirmed it and waits for nothing more, or at its deadline.
    pub(crate) fn advance_drains(&mut self, context: &mut Context<'a>) {
        let now = context.now();
        for member in self.members.iter_mut() {
            let Phase::Draining { deadline, .. } = member.phase else { continue };
            context.wake(deadline);
            let over = now >= deadline && context.view.is_drained(member.id);
            if over || context.view.is_idle_everywhere(member.id) {
                member.change().phase = Phase::Stopping { since: now };
            }
        }
    }
}

/// The agent acts on an assignment without the instance, and nothing of it is left.
fn is_gone(view: &View<'_>, member: &Member<'_>) -> bool {
    let Some(seat) = view.seat(member.seen.place) else { return true };
    member.seen.told.is_none() && member.seen.status.is_none() && seat.has_obeyed()
}

/// Whether a serving instance does serve. `None`: nobody can tell just now. True for those that need not.
fn is_reachable(view: &View<'_>, member: &Member<'_>) -> Option<bool> {
    if !matches!(member.phase, Phase::Serving { .. }) {
        return Some(true);
    }
    match member.seen.liveness {
        Liveness::Lost => return Some(false),
        Liveness::Unknown => return None,
        Liveness::Alive | Liveness::Suspect => {}
    }
    if member.seen.ready_since.is_none() {
        return Some(false);
    }
    if !member.kind.routed || member.seen.in_rotation {
        return Some(true);
    }
    let published = member.seen.endpoint.is_some_and(|endpoint| endpoint.state == EndpointState::Active);
    let known = view.balancers.settled && published;
    if known || view.balancers.lacks_every_one { Some(false) } else { None }
}

/// Takes an instance off: out of the balancers first where requests may be under way, else at once. What they send to a server
/// that is lost ends with it, so nothing is given time there.
pub(crate) fn retire(view: &View<'_>, member: &mut Member<'_>) {
    let now = view.input.now;
    let may_have_requests = member.kind.routed || member.seen.endpoint.is_some();
    let phase = match member.phase {
        Phase::Serving { .. } if may_have_requests => {
            let deadline = if member.is_lost() { now } else { now + member.stop_timeout() };
            Phase::Draining { since: now, deadline }
        }
        Phase::Starting | Phase::Serving { .. } => Phase::Stopping { since: now },
        Phase::Draining { .. } | Phase::Stopping { .. } => return,
    };
    let instance = member.change();
    instance.phase = phase;
    instance.unready_since = None;
}
