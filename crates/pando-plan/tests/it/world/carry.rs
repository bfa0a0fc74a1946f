//! Plans are carried out, and messages travel.

use pando_plan::has_news;
use pando_plan::input::{heard, relayed};

use super::*;

impl World {
    pub(super) fn carry_out(&mut self, plan: &Plan) {
        for note in &plan.notes {
            let millis = self.now - 1_000_000;
            self.log.push(format!("{:>4}.{:03} {}", millis / 1000, millis % 1000, note.text));
        }
        for action in &plan.actions {
            self.act(action);
        }
    }

    pub(super) fn act(&mut self, action: &Action) {
        match action {
            Action::RecordAssigned { app, assigned } => {
                self.desired.apps.entry(app.clone()).or_default().assigned = assigned.clone();
            }
            Action::RecordDeployment(deployment) => self.record(deployment),
            Action::RecordPort { key, lease } => {
                match lease {
                    Some(lease) => self.desired.ports.insert(*key, lease.clone()),
                    None => self.desired.ports.remove(key),
                };
            }
            Action::ForgetRelease { app, release } => {
                self.desired.apps.entry(app.clone()).or_default().releases.remove(release);
            }
            Action::Publish(table) => {
                self.desired.take_table(table.clone(), self.time());
                let servers: Vec<ServerId> = self.machines.keys().copied().collect();
                for server in servers {
                    self.send(Message::Target(server, None, Some(table.clone())));
                }
            }
            Action::Assign(assignment) => {
                self.desired.assignments.insert(assignment.server, assignment.clone());
                self.send(Message::Target(assignment.server, Some(assignment.clone()), None));
            }
            Action::ForgetServer(server) => {
                self.check_forgotten(*server);
                self.desired.servers.remove(server);
                self.desired.assignments.remove(server);
                self.desired.ports.retain(|key, _| key.server != *server);
                self.observed.servers.remove(server);
                self.machines.remove(server);
            }
        }
    }

    pub(super) fn record(&mut self, deployment: &Deployment) {
        let app = self.desired.apps.entry(deployment.app.clone()).or_default();
        if deployment.phase.has_ended() {
            app.deployments.retain(|held| held.id != deployment.id);
            self.ended.push(deployment.clone());
        } else if let Some(held) = app.deployments.iter_mut().find(|held| held.id == deployment.id) {
            *held = deployment.clone();
        }
    }

    pub(super) fn send(&mut self, message: Message) {
        let copies = if self.roll(100) < self.weather.repeats { 2 } else { 1 };
        for _ in 0..copies {
            if self.roll(100) < self.weather.loss {
                continue;
            }
            let at = self.now + self.roll(self.weather.most_delay);
            let tie = self.entropy.next_u64();
            self.messages.push((at, tie, message.clone()));
        }
    }

    pub(super) fn deliver(&mut self) {
        let now = self.now;
        let (mut due, later): (Vec<_>, Vec<_>) = self.messages.drain(..).partition(|(at, _, _)| *at <= now);
        self.messages = later;
        due.sort_by_key(|(at, tie, _)| (*at, *tie));
        for (_, _, message) in due {
            match message {
                Message::Target(server, assignment, table) => self.receive(server, assignment, table),
                Message::Report(report) => self.observe(report, false),
                Message::Relayed(report) => self.observe(report, true),
            }
        }
    }

    pub(super) fn receive(&mut self, server: ServerId, assignment: Option<Assignment>, table: Option<Table>) {
        let Some(machine) = self.machines.get_mut(&server) else { return };
        if !machine.is_heard(self.now) {
            return;
        }
        machine.asks_until = 0;
        if let Some(new) = assignment.filter(|new| !machine.deaf && new.version > machine.assignment.version)
        {
            machine.assignment = new;
        }
        let proxy_up = machine.proxy_down_until <= self.now;
        if let Some(new) = table.filter(|new| new.version > machine.table.version && proxy_up) {
            machine.table = new;
        }
        self.report(server);
    }

    pub(super) fn observe(&mut self, report: AgentReport, through_another: bool) {
        let now = self.time();
        let old = self.observed.servers.get(&report.server).map(AsRef::as_ref);
        let stale =
            old.is_some_and(|old| (old.report.boot, old.report.sequence) >= (report.boot, report.sequence));
        if stale {
            return;
        }
        let server = report.server;
        let seen =
            if through_another { relayed(&self.observed, report, now) } else { heard(old, report, now) };
        match has_news(&self.desired, old, &seen) {
            true => self.dirty = true,
            false => self.idle = true,
        }
        self.observed.servers.insert(server, seen.into());
    }

    pub(super) fn report(&mut self, id: ServerId) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if !machine.is_heard(now) {
            return;
        }
        machine.sequence += 1;
        let report = machine.report(now, &self.behaviours, self.command_exit, &self.ready);
        let message = if machine.deaf { Message::Relayed(report) } else { Message::Report(report) };
        self.send(message);
    }
}
