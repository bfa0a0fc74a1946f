//! Nothing is stopped unacknowledged.
//!
//! When an instance is recorded as stopping, the load balancers that count as
//! live are noted. When its agent sends SIGTERM, none of those may still have it
//! active, nor wait for an answer of it before its drain is over.

use pando_model::desired::Phase;
use pando_model::id::InstanceId;
use pando_model::server::Server;
use pando_plan::input::{GRACE, LOST_AFTER};
use pando_plan::{Input, Liveness};
use pando_routing::{EndpointId, EndpointState, Table};
use pando_runtime::RunKey;

use crate::world::World;

#[derive(Debug)]
pub(super) struct Decision {
    /// The load balancers that were live, by machine.
    live: Vec<usize>,
    /// Its requests had had their time.
    over: bool,
}

impl World {
    /// A transaction is on its way to the store: whatever it records was decided with these load balancers in view.
    pub(crate) fn note_live_proxies(&mut self) {
        let now = self.control_now();
        let Some((state, loaded)) = self.control.state() else { return };
        let input = Input { desired: &loaded.world, observed: &state.observed, now, seed: 0 };
        let grace = now.since(state.observed.since) < GRACE;
        let is_live = |server: &&Server| {
            let heard = state.observed.servers.get(&server.id).and_then(|seen| seen.proxy_heard_at);
            let lately = heard.is_some_and(|at| now.since(at) < LOST_AFTER);
            let entry = server.is_entry_point(&loaded.world.settings);
            entry && (lately || grace) && input.liveness(server.id) != Liveness::Lost
        };
        let live = loaded.world.servers.values().filter(is_live);
        let live = live.filter_map(|server| self.by_address.get(&server.private_address).copied());
        self.checkers.live = live.collect();
    }

    /// The control plane knows what is recorded: after a transaction, or when it has read the store.
    pub(crate) fn note_decisions(&mut self) {
        let Some((_, loaded)) = self.control.state() else { return };
        let instances = loaded.world.apps.values().flat_map(|app| &app.assigned.instances);
        let checkers = &mut self.checkers;
        for (id, instance) in instances {
            match instance.phase {
                Phase::Draining { deadline, .. } => {
                    checkers.drains.insert(*id, deadline);
                }
                Phase::Stopping { since } if !checkers.decisions.contains_key(id) => {
                    let over = checkers.drains.get(id).is_none_or(|deadline| since >= *deadline);
                    checkers.decisions.insert(*id, Decision { live: checkers.live.clone(), over });
                }
                _ => {}
            }
        }
    }

    /// SIGTERM goes to a run.
    pub(crate) fn check_stop(&mut self, at: usize, key: RunKey) {
        let id = InstanceId::from_uuid(key.id);
        let replica = self.machines[at].processes.get(&key).and_then(|process| process.replica.clone());
        let Some(replica) = replica.filter(|_| !self.machines[at].went_back) else { return };
        let complaint = match self.checkers.decisions.get(&id) {
            Some(decision) => self.unacknowledged(id, decision),
            None => self.is_assigned(id).then(|| "although it is assigned".to_owned()),
        };
        if let Some(why) = complaint {
            let name = &self.machines[at].name;
            self.broke(format!("{replica} ({id}) is stopped on {name} {why}"));
        }
    }

    fn is_assigned(&self, id: InstanceId) -> bool {
        let Some((_, loaded)) = self.control.state() else { return false };
        let mut apps = loaded.world.apps.values();
        apps.any(|app| app.assigned.instances.contains_key(&id))
    }

    fn unacknowledged(&self, id: InstanceId, decision: &Decision) -> Option<String> {
        let endpoint = EndpointId(id.as_uuid());
        decision.live.iter().find_map(|at| {
            let machine = &self.machines[*at];
            let proxy = machine.proxy.as_deref();
            // It ended because it was told to; its table stays on the disk, and nobody sends anything by it.
            let ended = machine.gone || (machine.on && proxy.is_none() && !machine.keeps_proxy);
            if machine.went_back || ended {
                return None;
            }
            let table = proxy.map_or(machine.disk.proxy_table.as_ref(), |proxy| proxy.table.as_ref());
            if table.is_some_and(|table| is_active(table, endpoint)) {
                return Some(format!("while the load balancer of {} sends it requests", machine.name));
            }
            let busy = proxy.map_or(0, |proxy| proxy.in_flight(endpoint));
            let early = busy > 0 && !decision.over;
            early.then(|| format!("while {busy} requests of {} wait for its answer", machine.name))
        })
    }
}

fn is_active(table: &Table, id: EndpointId) -> bool {
    table.endpoints().any(|(_, endpoint)| endpoint.id == id && endpoint.state == EndpointState::Active)
}
