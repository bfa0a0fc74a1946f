//! The world's own judgement: what a client would see, and what must never happen on a machine.

use super::*;

/// So long after trouble a load balancer may still use a table that nobody waited for it to give up.
const AFTER_TROUBLE: u64 = 10_000;

impl World {
    /// A replica that some load balancer still sends requests to is never stopped.
    pub(super) fn check_stop(&mut self, at: &Machine, id: InstanceId) {
        let now = self.now;
        let uses = |machine: &Machine| {
            let calm =
                machine.is_heard(now) && (machine.trouble == 0 || machine.trouble + AFTER_TROUBLE < now);
            let mut endpoints = machine.table.endpoints();
            calm && machine.balances(now)
                && endpoints.any(|(_, e)| e.id.0 == id.as_uuid() && e.state == EndpointState::Active)
        };
        let users: Vec<String> =
            self.machines.values().chain([at]).filter(|m| uses(m)).map(|m| self.name(m.id)).collect();
        if !users.is_empty() {
            let users = users.join(", ");
            self.broken.push(format!("{} ms: {id} is stopped while {users} uses it", now - 1_000_000));
        }
    }

    /// A server goes when nothing runs there, unless nobody hears from it.
    pub(super) fn check_forgotten(&mut self, server: ServerId) {
        let now = self.now;
        let Some(machine) = self.machines.get(&server) else { return };
        let calm = machine.is_heard(now) && !machine.deaf && machine.trouble + LOST < now;
        if calm && (!machine.replicas.is_empty() || machine.balances(now)) {
            let name = self.name(server);
            self.broken.push(format!("{} ms: {name} is forgotten while in use", now - 1_000_000));
        }
    }

    /// Service as a client sees it: an entry point that has served always finds something that answers.
    pub(super) fn judge(&mut self) {
        self.judge_singletons();
        let Some(app) = self.desired.apps.get(&hits()) else { return };
        let replace = app.releases.values().any(|r| r.spec.strategy == pando_model::app::Strategy::Replace);
        if self.misfortune || app.wish.stopped || app.assigned.committed.is_none() || replace {
            self.served.clear();
            return;
        }
        let settled = self.last.report.apps.get(&hits()).is_some_and(|report| report.settled);
        for (id, machine) in &self.machines {
            let serves = machine.table.endpoints().any(|(_, endpoint)| {
                let id = InstanceId::from_uuid(endpoint.id.0);
                endpoint.state == EndpointState::Active && self.is_up(id)
            });
            match (machine.balances(self.now), serves) {
                (false, _) => {
                    self.served.remove(id);
                }
                (true, true) if settled => {
                    self.served.insert(*id);
                }
                (true, false) if self.served.contains(id) => {
                    let broken = format!("{} ms: nothing serves on {}", self.now - 1_000_000, self.name(*id));
                    self.broken.push(broken);
                }
                (true, _) => {}
            }
        }
    }

    /// Of a singleton, two never run at once, wherever they are. A server that somebody removed while nobody heard from it is theirs
    /// to answer for.
    fn judge_singletons(&mut self) {
        let Some(app) = self.desired.apps.get(&hits()) else { return };
        let is_singleton = |assigned: &pando_model::AssignedInstance| {
            let release = app.releases.get(&assigned.release);
            let process = release.and_then(|release| release.spec.processes.get(&assigned.process));
            process.is_some_and(|process| process.singleton)
        };
        let mut running: BTreeMap<String, usize> = BTreeMap::new();
        for machine in self.machines.values() {
            for (id, assigned) in machine.assignment.instances.iter().filter(|(_, a)| is_singleton(a)) {
                if machine.replicas.contains_key(id) {
                    *running.entry(assigned.replica.to_string()).or_default() += 1;
                }
            }
        }
        for (name, count) in running.into_iter().filter(|(_, count)| *count > 1) {
            self.broken.push(format!("{} ms: {count} of {name} run at once", self.now - 1_000_000));
        }
    }

    pub(super) fn is_up(&self, id: InstanceId) -> bool {
        let held = self.machines.values().find_map(|machine| machine.replicas.get(&id));
        held.is_some_and(|replica| {
            replica.stopping_since.is_none() && replica.is_ready(self.now, &self.behaviours)
        })
    }

    /// What load balancers can reach just now.
    pub(super) fn look_around(&mut self) {
        let replicas = self.machines.values().flat_map(|machine| &machine.replicas);
        let ready = replicas.filter(|(_, replica)| replica.is_ready(self.now, &self.behaviours));
        self.ready = ready.map(|(id, _)| *id).collect();
    }

    pub(crate) fn name(&self, server: ServerId) -> String {
        self.desired.servers.get(&server).map_or_else(|| server.to_string(), |server| server.name.to_string())
    }
}
