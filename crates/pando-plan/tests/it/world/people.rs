//! What people ask of servers, as the API takes it.

use pando_model::desired::SecretMark;
use pando_model::name::{RoleName, ServerName};
use pando_model::server::{Server, Standing};
use pando_plan::{Refusal, admit_drain, admit_remove, admit_roles};

use super::*;

impl World {
    pub(crate) fn join(&mut self, name: &str, roles: &[&str]) -> ServerId {
        let number = u8::try_from(self.joined + 1).unwrap();
        self.joined += 1;
        let mut server = Server { joined_at: self.time(), ..spec::server(name, number) };
        server.roles = roles.iter().map(|role| RoleName::new(*role).unwrap()).collect();
        let id = server.id;
        self.machines.insert(id, Machine::new(id));
        self.desired.servers.insert(id, server);
        self.dirty = true;
        id
    }

    /// Somebody brought a certificate, or the keys were turned.
    pub(crate) fn change_secrets(&mut self, mark: &str) {
        self.desired.secrets = SecretMark(mark.to_owned());
        self.dirty = true;
    }

    pub(crate) fn server(&self, name: &str) -> ServerId {
        let name = ServerName::new(name).unwrap();
        self.desired.servers.values().find(|server| server.name == name).unwrap().id
    }

    /// Adds `+role` and takes `-role`.
    pub(crate) fn change_roles(&mut self, id: ServerId, changes: &[&str]) -> Result<(), Refusal> {
        let roles = self.changed_roles(id, changes);
        admit_roles(&self.input(), id, &roles)?;
        self.desired.servers.get_mut(&id).unwrap().roles = roles;
        self.dirty = true;
        Ok(())
    }

    pub(crate) fn insist_on_roles(&mut self, id: ServerId, changes: &[&str]) {
        self.misfortune = true;
        let roles = self.changed_roles(id, changes);
        self.desired.servers.get_mut(&id).unwrap().roles = roles;
        self.dirty = true;
    }

    fn changed_roles(&self, id: ServerId, changes: &[&str]) -> BTreeSet<RoleName> {
        let mut roles = self.desired.servers[&id].roles.clone();
        for change in changes {
            let role = RoleName::new(&change[1..]).unwrap();
            match change.starts_with('+') {
                true => roles.insert(role),
                false => roles.remove(&role),
            };
        }
        roles
    }

    pub(crate) fn stand(&mut self, id: ServerId, standing: Standing) -> Result<(), Refusal> {
        match standing {
            Standing::Active => {}
            Standing::Draining => admit_drain(&self.input(), id)?,
            Standing::Leaving => admit_remove(&self.input(), id)?,
        }
        self.set_standing(id, standing);
        Ok(())
    }

    /// As `--force` does: whatever comes of it is their will.
    pub(crate) fn insist(&mut self, id: ServerId, standing: Standing) {
        self.misfortune = true;
        self.set_standing(id, standing);
    }

    fn set_standing(&mut self, id: ServerId, standing: Standing) {
        self.desired.servers.get_mut(&id).unwrap().standing = standing;
        self.dirty = true;
    }

    pub(crate) fn input(&self) -> Input<'_> {
        Input { desired: &self.desired, observed: &self.observed, now: self.time(), seed: 1 }
    }

    /// Where everything is, for people: `s1: web-1 of v1, worker-1 of v1 (entry)`.
    pub(crate) fn places(&self) -> Vec<String> {
        let mut servers: Vec<&Server> = self.desired.servers.values().collect();
        servers.sort_by_key(|server| &server.name);
        let mut lines: Vec<String> = servers.into_iter().map(|server| self.place(server)).collect();
        let report = &self.last.report;
        let unsettled = report.apps.values().filter(|app| !app.settled);
        lines.extend(unsettled.flat_map(|app| app.lines()).map(|line| format!("! {line}")));
        lines.extend(
            report.servers.values().cloned().chain(report.halted.clone()).map(|line| format!("! {line}")),
        );
        lines
    }

    fn place(&self, server: &Server) -> String {
        let machine = &self.machines[&server.id];
        let mut runs: Vec<String> = Vec::new();
        for (id, replica) in &machine.replicas {
            let assigned = machine.assignment.instances.get(id);
            let name =
                assigned.map_or_else(|| "stopping".to_owned(), |assigned| assigned.replica.to_string());
            runs.push(format!("{name} of {}", replica.release));
        }
        runs.sort();
        let entry = match machine.assignment.entry {
            _ if machine.off => " (off)",
            Some(entry) if entry.prefer_local => " (entry, local first)",
            Some(_) => " (entry)",
            None => "",
        };
        format!("{}: {}{entry}", server.name, if runs.is_empty() { "-".to_owned() } else { runs.join(", ") })
    }
}
