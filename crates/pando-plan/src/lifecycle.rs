//! What observations alone do to instances: readiness noted, drains ended, the gone forgotten.

use pando_model::desired::{Instance, Phase};
use pando_model::id::InstanceId;
use pando_routing::EndpointState;

use crate::app::AppPlan;
use crate::input::{Context, Liveness};
use crate::ports;

impl AppPlan<'_> {
    /// Forgets instances that were stopped and of which nothing is left.
    pub(crate) fn reap(&mut self, context: &mut Context<'_>) {
        let input = context.input;
        let gone: Vec<InstanceId> = self
            .assigned
            .instances
            .iter()
            .filter(|(id, instance)| {
                matches!(instance.phase, Phase::Stopping { .. }) && input.is_gone(instance.server, **id)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(instance) = self.assigned.instances.remove(&id) {
                ports::free(context, instance.server, instance.port);
            }
        }
    }

    /// Notes since when a serving instance can't be reached; silence changes nothing until the server is lost.
    pub(crate) fn track_readiness(&mut self, context: &Context<'_>) {
        let input = context.input;
        let reachable: Vec<(InstanceId, Option<bool>)> = self
            .assigned
            .instances
            .iter()
            .map(|(id, instance)| (*id, self.is_reachable(context, *id, instance)))
            .collect();
        for (id, reachable) in reachable {
            let Some(instance) = self.assigned.instances.get_mut(&id) else { continue };
            match reachable {
                Some(true) => instance.unready_since = None,
                Some(false) => {
                    instance.unready_since = instance.unready_since.or(Some(input.now));
                    self.out.insert(id);
                }
                None => {}
            }
        }
    }

    /// Whether a serving instance does serve. `None`: nobody can tell just now. True for those that need not.
    fn is_reachable(&self, context: &Context<'_>, id: InstanceId, instance: &Instance) -> Option<bool> {
        let input = context.input;
        if !matches!(instance.phase, Phase::Serving { .. }) {
            return Some(true);
        }
        match input.liveness(instance.server) {
            Liveness::Lost => return Some(false),
            Liveness::Unknown => return None,
            Liveness::Alive | Liveness::Suspect => {}
        }
        if input.ready_since(instance.server, id).is_none() {
            return Some(false);
        }
        if !self.is_routed(instance) || input.is_in_rotation(id) {
            return Some(true);
        }
        let known = input.is_settled() && input.published_state(id) == Some(EndpointState::Active);
        if known || input.lacks_every_proxy() { Some(false) } else { None }
    }

    /// A drain ends when every live balancer has confirmed it and waits for nothing more, or at its deadline.
    pub(crate) fn advance_drains(&mut self, context: &Context<'_>) {
        let input = context.input;
        let mut wakes = Vec::new();
        for (id, instance) in &mut self.assigned.instances {
            let Phase::Draining { deadline, .. } = instance.phase else { continue };
            wakes.push(deadline);
            let over = input.now >= deadline && input.is_drained(*id);
            if over || input.is_idle_everywhere(*id) {
                instance.phase = Phase::Stopping { since: input.now };
            }
        }
        self.wakes.extend(wakes);
    }

    /// Takes an instance off: out of the balancers first where requests may be under way, else at once.
    pub(crate) fn retire(&mut self, context: &Context<'_>, id: InstanceId) {
        let now = context.input.now;
        let Some(instance) = self.assigned.instances.get(&id) else { return };
        let deadline = now + self.stop_timeout_of(instance);
        let phase = match instance.phase {
            Phase::Serving { .. } if self.may_have_requests(context, id, instance) => {
                Phase::Draining { since: now, deadline }
            }
            Phase::Starting | Phase::Serving { .. } => Phase::Stopping { since: now },
            Phase::Draining { .. } | Phase::Stopping { .. } => return,
        };
        if let Some(instance) = self.assigned.instances.get_mut(&id) {
            instance.phase = phase;
            instance.unready_since = None;
        }
    }

    fn may_have_requests(&self, context: &Context<'_>, id: InstanceId, instance: &Instance) -> bool {
        self.is_routed(instance) || context.input.published_state(id).is_some()
    }
}
