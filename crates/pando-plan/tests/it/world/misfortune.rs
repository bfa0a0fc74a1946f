//! What goes wrong.

use super::*;

impl World {
    /// Misfortunes, for random histories.
    pub(crate) fn crash_some_replica(&mut self) {
        self.misfortune = true;
        let (Some(id), now) = (self.any_server(), self.now) else { return };
        let draw = self.entropy.next_u64();
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let count = machine.replicas.len() as u64;
        if count == 0 {
            return;
        }
        let nth = usize::try_from(draw % count).unwrap();
        if let Some(replica) = machine.replicas.values_mut().nth(nth)
            && replica.down_until.is_none()
            && replica.stopping_since.is_none()
        {
            replica.end(now, 137);
        }
    }

    pub(crate) fn agent_away(&mut self, millis: u64) {
        self.misfortune = true;
        let (Some(id), until) = (self.any_server(), self.now + millis) else { return };
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.agent_away(until);
        }
    }

    pub(crate) fn proxy_away(&mut self, millis: u64) {
        self.misfortune = true;
        let (Some(id), until) = (self.any_server(), self.now + millis) else { return };
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.proxy_down_until = until;
            machine.trouble = machine.trouble.max(until);
        }
    }

    /// The control plane dies and comes back: what was observed is gone, what was recorded is not.
    pub(crate) fn control_restarts(&mut self) {
        self.observed = Observed { since: self.time(), servers: BTreeMap::new() };
    }

    pub(crate) fn lose(&mut self, id: ServerId) {
        self.misfortune = true;
        let now = self.now;
        self.machines.get_mut(&id).unwrap().lose_power(now);
    }

    pub(crate) fn come_back(&mut self, id: ServerId) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if machine.off {
            machine.start_again(now);
        }
        (machine.cut, machine.deaf, machine.trouble) = (false, false, now);
    }

    /// Its agent hears nothing more and isn't heard, for now.
    pub(crate) fn cut(&mut self, id: ServerId) {
        self.misfortune = true;
        let now = self.now;
        let machine = self.machines.get_mut(&id).unwrap();
        (machine.cut, machine.trouble) = (true, now);
    }

    /// As [`World::cut`], but other servers bring it tables, and hand on what it reports.
    pub(crate) fn deafen(&mut self, id: ServerId) {
        self.misfortune = true;
        let now = self.now;
        let machine = self.machines.get_mut(&id).unwrap();
        (machine.deaf, machine.trouble) = (true, now);
    }

    pub(crate) fn any_server(&mut self) -> Option<ServerId> {
        let count = self.machines.len() as u64;
        let nth = usize::try_from(self.roll(count)).unwrap();
        self.machines.keys().nth(nth).copied()
    }
}
