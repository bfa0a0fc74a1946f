//! Servers that join, leave and change their roles; who takes requests from outside.

use pando_control::state::State as Loaded;
use pando_control::store::{Key, StoreError, Txn};
use pando_model::desired::Settings;
use pando_model::name::RoleName;
use pando_model::server::{Server, Standing};
use pando_plan::{Input, Refusal, admit_drain, admit_remove, admit_roles};

use super::{Errand, is_entry};
use crate::scenario::Layout;
use crate::trace::say;
use crate::world::{Event, World};

impl World {
    /// The servers that the cluster begins with, and its settings.
    pub(crate) fn found_cluster(&mut self) -> Result<(), StoreError> {
        let settings = Settings { lockdown: self.scenario.layout == Layout::Lockdown, ..Settings::default() };
        let count = self.scenario.servers;
        let roles: Vec<Vec<&str>> = (0..count).map(|at| self.draw_roles(at, count)).collect();
        let of = |(at, roles): (usize, &Vec<&str>)| self.machines[at].spec(roles, self.control_now());
        let servers: Vec<Server> = roles.iter().enumerate().filter_map(of).collect();
        let servers: Vec<&Server> = servers.iter().collect();
        self.control.found(&settings, &servers)
    }

    /// The first server can do everything; of the others, some balance, some serve, some work.
    fn draw_roles(&mut self, at: usize, count: usize) -> Vec<&'static str> {
        let dice = &mut self.workload.dice;
        let balancers = match self.scenario.layout {
            Layout::Direct => 0,
            _ => 1 + count / 40,
        };
        if at == 0 {
            let balances = balancers > 0 && (count == 1 || dice.chance(30));
            let all = ["control", "web", "worker", "lb"];
            return all.into_iter().take(if balances { 4 } else { 3 }).collect();
        }
        if at <= balancers {
            return if dice.chance(70) { vec!["lb"] } else { vec!["lb", "web"] };
        }
        match dice.below(4) {
            0 => vec!["web"],
            1 => vec!["worker"],
            _ => vec!["web", "worker"],
        }
    }

    fn index_of(&self, server: &Server) -> Option<usize> {
        self.by_address.get(&server.private_address).copied()
    }

    /// What the planner says to a change of a server.
    fn ask_planner(
        &self,
        loaded: &Loaded,
        question: impl Fn(&Input<'_>) -> Result<(), Refusal>,
    ) -> Result<(), String> {
        let Some((state, _)) = self.control.state() else { return Err("no control plane".to_owned()) };
        let now = self.control_now();
        question(&Input { desired: &loaded.world, observed: &state.observed, now, seed: 0 })
            .map_err(|refusal| refusal.to_string())
    }

    pub(super) fn join(&mut self) {
        let Ok(loaded) = self.control.load() else { return };
        let known = &loaded.world.servers;
        let spare = self.machines.iter().find(|m| !m.gone && !m.on && !known.contains_key(&m.id));
        let Some(at) = spare.map(|machine| machine.index) else { return };
        let roles = match self.workload.dice.below(4) {
            0 => vec!["web"],
            1 => vec!["worker"],
            2 => vec!["lb"],
            _ => vec!["web", "worker"],
        };
        let Some(server) = self.machines[at].spec(&roles, self.control_now()) else { return };
        say!(self, "operator", "{} joins as {roles:?}", server.name);
        self.put_server(&server);
        self.power_on(at);
    }

    fn put_server(&mut self, server: &Server) {
        if let Ok(txn) = Txn::new().put(Key::ServerSpec(server.id), server) {
            self.write(txn);
        }
    }

    fn pick_server(&mut self, loaded: &Loaded) -> Option<Server> {
        // Nobody calls back a machine that is no more.
        let there = |server: &&Server| self.index_of(server).is_some_and(|at| !self.machines[at].gone);
        let servers: Vec<&Server> = loaded.world.servers.values().filter(there).collect();
        self.workload.dice.pick(&servers).map(|server| (*server).clone())
    }

    /// Gives a role to a server or takes one from it.
    pub(super) fn change_roles(&mut self) {
        let Ok(loaded) = self.control.load() else { return };
        let Some(mut server) = self.pick_server(&loaded) else { return };
        let role = *self.workload.dice.pick(&["web", "worker", "lb"]).unwrap_or(&"web");
        let Ok(role) = RoleName::new(role) else { return };
        if !server.roles.remove(&role) {
            server.roles.insert(role);
        }
        let roles: Vec<&str> = server.roles.iter().map(AsRef::as_ref).collect();
        say!(self, "operator", "{} is to have the roles {}", server.name, roles.join(", "));
        self.announce(&loaded, server);
    }

    pub(super) fn change_standing(&mut self, standing: Standing) {
        let Ok(loaded) = self.control.load() else { return };
        let Some(server) = self.pick_server(&loaded) else { return };
        let standing = if server.standing == Standing::Active { standing } else { Standing::Active };
        say!(self, "operator", "{} is to be {standing:?}", server.name);
        self.announce(&loaded, Server { standing, ..server });
    }

    /// Writes it at once, or after clients have left it where it ceases to be an entry point.
    fn announce(&mut self, loaded: &Loaded, server: Server) {
        if let Err(why) = self.judge_change(loaded, &server) {
            say!(self, "operator", "refused: {why}");
            return;
        }
        let stays = server.is_entry_point(&loaded.world.settings) && server.standing != Standing::Leaving;
        let closes = is_entry(loaded, server.id) && !stays;
        let at = self.index_of(&server);
        let errand = Errand::Change(Box::new(server));
        match at.filter(|_| closes) {
            Some(at) => self.close_then([at], errand),
            None => self.errand(errand),
        }
    }

    fn judge_change(&self, loaded: &Loaded, server: &Server) -> Result<(), String> {
        let known = loaded.world.servers.get(&server.id).ok_or("it is no server any more")?;
        if known.roles != server.roles {
            self.ask_planner(loaded, |input| admit_roles(input, server.id, &server.roles))?;
        }
        match server.standing {
            standing if standing == known.standing => Ok(()),
            Standing::Active => Ok(()),
            Standing::Draining => self.ask_planner(loaded, |input| admit_drain(input, server.id)),
            Standing::Leaving => self.ask_planner(loaded, |input| admit_remove(input, server.id)),
        }
    }

    /// What was asked a moment ago, if it still may be.
    pub(super) fn change_server(&mut self, server: &Server) {
        let at = self.index_of(server);
        let judged = self.control.load().map_err(|error| error.to_string());
        let judged = judged.and_then(|loaded| self.judge_change(&loaded, server));
        let stays = server.standing != Standing::Leaving;
        match judged {
            Ok(()) => self.put_server(server),
            Err(why) => say!(self, "operator", "{}: refused: {why}", server.name),
        }
        if let Some(at) = at.filter(|_| stays) {
            // It is no entry point any more, or it goes on being one.
            self.workload.closing.remove(&at);
        }
    }

    pub(super) fn change_lockdown(&mut self) {
        let Ok(loaded) = self.control.load() else { return };
        let on = !loaded.world.settings.lockdown;
        if on && !balances(&loaded) {
            return;
        }
        say!(self, "operator", "lockdown: {on}");
        let settings = Settings { lockdown: on, ..loaded.world.settings.clone() };
        let closing = loaded.world.servers.values().filter(|server| !server.is_entry_point(&settings));
        let closing: Vec<usize> = closing.filter_map(|server| self.index_of(server)).collect();
        self.close_then(closing, Errand::Lockdown(on));
    }

    pub(super) fn set_lockdown(&mut self, lockdown: bool) {
        let Ok(loaded) = self.control.load() else { return };
        let refused = lockdown && !balances(&loaded);
        let settings = Settings { lockdown, ..loaded.world.settings };
        if let Ok(txn) = Txn::new().put(Key::cluster_settings(), &settings)
            && !refused
        {
            self.write(txn);
        }
        self.workload.closing.clear();
    }

    /// Whether the cluster can do without this machine for good.
    pub(crate) fn may_lose(&self, at: usize) -> bool {
        let Ok(loaded) = self.control.load() else { return false };
        let id = self.machines[at].id;
        loaded.world.servers.contains_key(&id)
            && self.ask_planner(&loaded, |input| admit_remove(input, id)).is_ok()
    }

    pub(crate) fn await_removal(&mut self, at: usize, after: u64) {
        self.queue.put(self.now + after, Event::Errand(Errand::Remove(at)));
    }

    /// `server rm` of a machine that is no more; said again, until somebody has heard it.
    pub(super) fn remove_server(&mut self, at: usize) {
        let id = self.machines[at].id;
        let known = self.control.load().ok().and_then(|loaded| loaded.world.servers.get(&id).cloned());
        if let Some(server) = known.filter(|server| server.standing != Standing::Leaving) {
            say!(self, "operator", "{} is removed from the cluster", self.machines[at].name);
            self.put_server(&Server { standing: Standing::Leaving, ..server });
        }
    }

    /// Machines that have left the cluster are switched off, and never come back: whoever joins again is another server.
    pub(crate) fn switch_off_forgotten(&mut self) {
        let Some((_, loaded)) = self.control.state() else { return };
        let servers = &loaded.world.servers;
        let left = |machine: &&crate::machine::Machine| {
            machine.daemon_boots > 0 && !machine.gone && !servers.contains_key(&machine.id)
        };
        let left: Vec<usize> = self.machines.iter().filter(left).map(|machine| machine.index).collect();
        // One that is about to join is known to the store already.
        for at in left.into_iter().filter(|at| !self.control.knows(self.machines[*at].id)).collect::<Vec<_>>()
        {
            say!(self, "operator", "{} has left the cluster", self.machines[at].name);
            self.power_off(at);
            self.machines[at].gone = true;
        }
    }
}

/// A load balancer is there to take over.
fn balances(loaded: &Loaded) -> bool {
    let servers = &mut loaded.world.servers.values();
    servers.any(|server| server.roles.contains(&RoleName::lb()) && server.standing != Standing::Leaving)
}
