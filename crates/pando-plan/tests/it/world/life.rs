//! What agents, load balancers and replicas do by themselves.

use super::*;

impl World {
    /// What the agent and the replicas of a machine do in one step.
    pub(super) fn live(&mut self, id: ServerId) {
        let now = self.now;
        // Agents ask again and again: what was lost arrives in the end.
        if now.is_multiple_of(1000) {
            let (assignment, table) =
                (self.desired.assignments.get(&id).cloned(), self.desired.table.clone());
            self.send(Message::Target(id, assignment, table));
        }
        let Some(mut machine) = self.machines.remove(&id) else { return };
        if machine.off {
            self.machines.insert(id, machine);
            return;
        }
        let before = machine.visible();
        self.live_replicas(&mut machine);
        if machine.agent_down_until <= now {
            self.obey(&mut machine);
        }
        self.play_traffic(&mut machine);
        let changed = machine.visible() != before;
        self.machines.insert(id, machine);
        if changed {
            self.report(id);
        }
    }

    pub(super) fn live_replicas(&mut self, machine: &mut Machine) {
        let now = self.now;
        for replica in machine.replicas.values_mut() {
            let up = replica.down_until.is_none() && !replica.port_taken;
            let ends = match self.behaviours.get(&replica.release) {
                Some(Behaviour::Crash) => true,
                Some(Behaviour::CrashAfter(after)) => now >= replica.started_at + after,
                Some(Behaviour::WorkersEnd(after)) => {
                    replica.process.as_str() == "worker" && now >= replica.started_at + after
                }
                _ => false,
            };
            if up && ends && replica.stopping_since.is_none() {
                replica.end(now, 1);
            }
            if machine.agent_down_until <= now && replica.down_until.is_some_and(|until| until <= now) {
                replica.down_until = None;
                replica.started_at = now;
                replica.restarts += 1;
            }
        }
        machine.replicas.retain(|_, replica| replica.stopping_since.is_none_or(|since| now < since + 100));
    }

    pub(super) fn obey(&mut self, machine: &mut Machine) {
        let now = self.now;
        let mut stopped = Vec::new();
        for (id, replica) in &mut machine.replicas {
            if !machine.assignment.instances.contains_key(id) && replica.stopping_since.is_none() {
                replica.stopping_since = Some(now);
                stopped.push(*id);
            }
        }
        stopped.into_iter().for_each(|id| self.check_stop(machine, id));
        if machine.asks_until > now {
            return;
        }
        for (id, assigned) in &machine.assignment.instances {
            let no_space = self.behaviours.get(&assigned.release) == Some(&Behaviour::NoSpace);
            if machine.replicas.contains_key(id) || no_space {
                continue;
            }
            let refused = self.port_refusals.entry(assigned.release).or_default();
            let most = match self.behaviours.get(&assigned.release) {
                Some(Behaviour::PortTaken(times)) => *times,
                _ => 0,
            };
            let port_taken = *refused < most;
            *refused += u32::from(port_taken);
            machine.replicas.insert(*id, Replica::new(machine.id, assigned, now, port_taken));
        }
        for task in machine.assignment.tasks.keys() {
            if !machine.tasks.contains_key(task) {
                machine.tasks.insert(*task, now);
                let app = self.desired.apps.get(&hits());
                let deployment = app.and_then(|app| app.deployments.front()).map(|front| front.id);
                if let Some(deployment) = deployment {
                    *self.commands_started.entry(deployment).or_default() += 1;
                }
            }
        }
    }

    pub(super) fn play_traffic(&mut self, machine: &mut Machine) {
        if !machine.balances(self.now) {
            machine.in_flight.clear();
            return;
        }
        let mut in_flight = BTreeMap::new();
        for (_, endpoint) in machine.table.endpoints() {
            let id = InstanceId::from_uuid(endpoint.id.0);
            match endpoint.state {
                EndpointState::Active => {
                    self.drain_began.remove(&id);
                    in_flight.insert(id, 1);
                }
                EndpointState::Draining { .. } => {
                    let began = *self.drain_began.entry(id).or_insert(self.now);
                    if self.now < began + self.holds && machine.in_flight.contains_key(&id) {
                        in_flight.insert(id, 1);
                    }
                }
            }
        }
        machine.in_flight = in_flight;
    }
}
