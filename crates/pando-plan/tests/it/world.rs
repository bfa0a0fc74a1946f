//! A world in virtual time: servers with an agent and a load balancer each,
//! messages that may be late, lost or repeated, replicas that behave as told.
//!
//! Planning is real; everything that it talks to is played here. After every
//! plan the invariants are checked, on the plan and on the world itself.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::AppSpec;
use pando_model::assignment::Assignment;
use pando_model::desired::{AppDesired, Deployment, DeploymentKind, DeploymentPhase};
use pando_model::id::{DeploymentId, Entropy, InstanceId, ServerId};
use pando_model::name::AppName;
use pando_model::observed::{AgentReport, Observed, ServerObserved};
use pando_model::release::{Digest, Release, ReleaseNumber};
use pando_model::time::Timestamp;
use pando_plan::{Action, Input, Plan, World as Desired, check, plan};
use pando_routing::{EndpointState, Table};

pub(crate) use crate::machine::Behaviour;
use crate::machine::{Machine, Replica};
use crate::spec;

/// One step of virtual time.
pub(crate) const STEP: u64 = 50;

#[derive(Debug, Clone)]
enum Message {
    Target(ServerId, Option<Assignment>, Option<Table>),
    Report(AgentReport),
}

/// How unkind the world is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weather {
    pub(crate) most_delay: u64,
    /// Percent.
    pub(crate) loss: u64,
    pub(crate) repeats: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    pub(crate) weather: Weather,
    pub(crate) behaviours: BTreeMap<ReleaseNumber, Behaviour>,
    /// How a release command ends; `None`: nobody sees it.
    pub(crate) command_exit: Option<i32>,
    pub(crate) log: Vec<String>,
    pub(crate) ended: Vec<Deployment>,
    pub(crate) commands_started: BTreeMap<DeploymentId, u32>,
    /// Requests stay open for so long on a draining replica.
    pub(crate) holds: u64,
    pub(crate) broken: Vec<String>,
    /// Something unplanned happened: gaps in service are not the planner's fault.
    pub(crate) misfortune: bool,
    pub(crate) last: Plan,
    pub(crate) entropy: Entropy,
    machines: BTreeMap<ServerId, Machine>,
    messages: Vec<(u64, u64, Message)>,
    port_refusals: BTreeMap<ReleaseNumber, u32>,
    drain_began: BTreeMap<InstanceId, u64>,
    served: bool,
    /// Something changed since the last plan.
    dirty: bool,
}

pub(crate) fn hits() -> AppName {
    AppName::new("hits").unwrap()
}

impl World {
    pub(crate) fn new(servers: u8, seed: u64) -> Self {
        let mut desired = Desired { epoch: 1, ..Desired::default() };
        let mut machines = BTreeMap::new();
        for number in 1..=servers {
            let server = spec::server(&format!("s{number}"), number);
            machines.insert(server.id, Machine::new(server.id));
            desired.servers.insert(server.id, server);
        }
        Self {
            now: 1_000_000,
            desired,
            observed: Observed { since: Timestamp::from_millis(1_000_000), servers: BTreeMap::new() },
            weather: Weather { most_delay: 50, loss: 0, repeats: 0 },
            behaviours: BTreeMap::new(),
            command_exit: Some(0),
            log: Vec::new(),
            ended: Vec::new(),
            commands_started: BTreeMap::new(),
            holds: 0,
            broken: Vec::new(),
            misfortune: false,
            last: Plan::default(),
            entropy: Entropy::from_seed(seed),
            machines,
            messages: Vec::new(),
            port_refusals: BTreeMap::new(),
            drain_began: BTreeMap::new(),
            served: false,
            dirty: true,
        }
    }

    pub(crate) fn app(&mut self) -> &mut AppDesired {
        self.desired.apps.entry(hits()).or_default()
    }

    pub(crate) fn roll(&mut self, bound: u64) -> u64 {
        self.entropy.next_u64() % bound.max(1)
    }

    /// Stores a release, as the API does.
    pub(crate) fn release(&mut self, spec: AppSpec, behaviour: Behaviour) -> ReleaseNumber {
        let created_at = self.time();
        let app = self.app();
        let number = ReleaseNumber(app.releases.keys().last().map_or(1, |last| last.0 + 1));
        let artifact = Some(Digest::new("a".repeat(64)).unwrap());
        let release = Release { number, spec, artifact, created_at, created_by: "test".to_owned() };
        app.releases.insert(number, release);
        self.behaviours.insert(number, behaviour);
        number
    }

    /// Asks for a deployment, as the API does.
    pub(crate) fn deploy(&mut self, kind: DeploymentKind, release: ReleaseNumber) -> DeploymentId {
        let created_at = self.time();
        let id = DeploymentId::new(created_at, &mut self.entropy);
        let app = self.app();
        app.wish.stopped = false;
        app.deployments.push_back(Deployment {
            id,
            app: hits(),
            kind,
            release,
            created_at,
            created_by: "test".to_owned(),
            phase: DeploymentPhase::Queued,
            started_at: None,
            ended_at: None,
        });
        id
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.now).unwrap())
    }

    /// One step of time for everybody.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        self.deliver();
        let ids: Vec<ServerId> = self.machines.keys().copied().collect();
        for id in ids {
            self.live(id);
            if self.now.is_multiple_of(2000) {
                self.report(id);
            }
        }
        let due = self.last.wake_at.is_none_or(|at| at <= self.time());
        if self.dirty || due {
            self.plan();
        }
        self.judge();
    }

    /// Plans until there is nothing more to do, as the control plane does: each record wakes it again.
    pub(crate) fn plan(&mut self) {
        for _ in 0..50 {
            let seed = self.entropy.next_u64();
            let input = Input { desired: &self.desired, observed: &self.observed, now: self.time(), seed };
            let plan = plan(&input);
            for violation in check(&input, &plan) {
                self.broken.push(format!("{} ms: {violation}", self.now - 1_000_000));
            }
            let done = plan.actions.is_empty();
            self.carry_out(&plan);
            self.last = plan;
            if done {
                self.dirty = false;
                return;
            }
        }
        self.broken.push("planning does not come to rest".to_owned());
    }

    fn carry_out(&mut self, plan: &Plan) {
        for note in &plan.notes {
            let millis = self.now - 1_000_000;
            self.log.push(format!("{:>4}.{:03} {}", millis / 1000, millis % 1000, note.text));
        }
        for action in &plan.actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: &Action) {
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
                self.desired.table = Some(table.clone());
                self.desired.published_at = self.time();
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
                self.desired.servers.remove(server);
                self.desired.assignments.remove(server);
                self.desired.ports.retain(|key, _| key.server != *server);
            }
        }
    }

    fn record(&mut self, deployment: &Deployment) {
        let app = self.desired.apps.entry(deployment.app.clone()).or_default();
        if deployment.phase.has_ended() {
            app.deployments.retain(|held| held.id != deployment.id);
            self.ended.push(deployment.clone());
        } else if let Some(held) = app.deployments.iter_mut().find(|held| held.id == deployment.id) {
            *held = deployment.clone();
        }
    }

    fn send(&mut self, message: Message) {
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

    fn deliver(&mut self) {
        let now = self.now;
        let (mut due, later): (Vec<_>, Vec<_>) = self.messages.drain(..).partition(|(at, _, _)| *at <= now);
        self.messages = later;
        due.sort_by_key(|(at, tie, _)| (*at, *tie));
        for (_, _, message) in due {
            match message {
                Message::Target(server, assignment, table) => self.receive(server, assignment, table),
                Message::Report(report) => self.observe(report),
            }
        }
    }

    fn receive(&mut self, server: ServerId, assignment: Option<Assignment>, table: Option<Table>) {
        let Some(machine) = self.machines.get_mut(&server) else { return };
        if machine.agent_down_until > self.now {
            return;
        }
        if let Some(new) = assignment.filter(|new| new.version > machine.assignment.version) {
            machine.assignment = new;
        }
        let proxy_up = machine.proxy_down_until <= self.now;
        if let Some(new) = table.filter(|new| new.version > machine.table.version && proxy_up) {
            machine.table = new;
        }
        self.report(server);
    }

    fn observe(&mut self, report: AgentReport) {
        let now = self.time();
        let old = self.observed.servers.get(&report.server);
        let stale =
            old.is_some_and(|old| (old.report.boot, old.report.sequence) >= (report.boot, report.sequence));
        if stale {
            return;
        }
        let alive = report.proxy.as_ref().is_some_and(|proxy| proxy.alive);
        let proxy_heard_at = if alive { Some(now) } else { old.and_then(|old| old.proxy_heard_at) };
        self.dirty = true;
        let server = report.server;
        let seen = ServerObserved { heard_at: now, reported_at: now, proxy_heard_at, report };
        self.observed.servers.insert(server, seen);
    }

    /// What the agent and the replicas of a machine do in one step.
    fn live(&mut self, id: ServerId) {
        let now = self.now;
        // Agents ask again and again: what was lost arrives in the end.
        if now.is_multiple_of(1000) {
            let (assignment, table) =
                (self.desired.assignments.get(&id).cloned(), self.desired.table.clone());
            self.send(Message::Target(id, assignment, table));
        }
        let Some(mut machine) = self.machines.remove(&id) else { return };
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

    fn live_replicas(&mut self, machine: &mut Machine) {
        let now = self.now;
        for replica in machine.replicas.values_mut() {
            let up = replica.down_until.is_none() && !replica.port_taken;
            let ends = match self.behaviours.get(&replica.release) {
                Some(Behaviour::Crash) => true,
                Some(Behaviour::CrashAfter(after)) => now >= replica.started_at + after,
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

    fn obey(&mut self, machine: &mut Machine) {
        let now = self.now;
        for (id, replica) in &mut machine.replicas {
            if !machine.assignment.instances.contains_key(id) && replica.stopping_since.is_none() {
                replica.stopping_since = Some(now);
                Self::check_stop(
                    &mut self.broken,
                    self.misfortune,
                    &self.observed,
                    machine.id,
                    &machine.table,
                    *id,
                    now,
                );
            }
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
            machine.replicas.insert(*id, Replica::new(assigned.port, assigned.release, now, port_taken));
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

    /// The world's own judgement: a replica that its own machine's balancer still sends requests to is never stopped.
    fn check_stop(
        broken: &mut Vec<String>,
        misfortune: bool,
        observed: &Observed,
        server: ServerId,
        table: &Table,
        id: InstanceId,
        now: u64,
    ) {
        let active =
            table.endpoints().any(|(_, e)| e.id.0 == id.as_uuid() && e.state == EndpointState::Active);
        let known = observed.servers.contains_key(&server);
        if active && known && !misfortune {
            broken.push(format!("{} ms: {id} is stopped while its balancer uses it", now - 1_000_000));
        }
    }

    fn play_traffic(&mut self, machine: &mut Machine) {
        if machine.proxy_down_until > self.now {
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

    fn report(&mut self, id: ServerId) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if machine.agent_down_until > now {
            return;
        }
        machine.sequence += 1;
        let report = machine.report(now, &self.behaviours, self.command_exit);
        self.send(Message::Report(report));
    }

    /// Service as a client sees it: once committed, some balancer endpoint must really answer.
    fn judge(&mut self) {
        let Some(app) = self.desired.apps.get(&hits()) else { return };
        let replace = app.releases.values().any(|r| r.spec.strategy == pando_model::app::Strategy::Replace);
        if self.misfortune || app.wish.stopped || app.assigned.committed.is_none() || replace {
            self.served = false;
            return;
        }
        let serves = self.machines.values().all(|machine| {
            machine.table.endpoints().any(|(_, endpoint)| {
                let id = InstanceId::from_uuid(endpoint.id.0);
                endpoint.state == EndpointState::Active && self.is_up(id)
            })
        });
        if self.served && !serves {
            self.broken.push(format!("{} ms: nothing serves", self.now - 1_000_000));
        }
        self.served |= serves;
    }

    fn is_up(&self, id: InstanceId) -> bool {
        let held = self.machines.values().find_map(|machine| machine.replicas.get(&id));
        held.is_some_and(|replica| {
            replica.stopping_since.is_none() && replica.is_ready(self.now, &self.behaviours)
        })
    }

    pub(crate) fn run_for(&mut self, millis: u64) {
        let end = self.now + millis;
        self.dirty = true;
        while self.now < end {
            self.step();
        }
    }

    /// Until nothing is under way; false when that takes longer than `millis`.
    pub(crate) fn settle(&mut self, millis: u64) -> bool {
        let end = self.now + millis;
        self.dirty = true;
        while self.now < end {
            self.step();
            let app = self.desired.apps.get(&hits());
            let busy = app.is_some_and(|app| {
                let leaving = app.assigned.instances.values().any(|i| !pando_live(i));
                !app.deployments.is_empty() || leaving
            });
            let settled = self.last.report.apps.get(&hits()).is_none_or(|report| report.settled);
            if !busy && settled {
                return true;
            }
        }
        false
    }

    /// What runs, by release.
    pub(crate) fn running(&self) -> BTreeMap<ReleaseNumber, usize> {
        let mut running = BTreeMap::new();
        for machine in self.machines.values() {
            for replica in machine.replicas.values() {
                *running.entry(replica.release).or_default() += 1;
            }
        }
        running
    }

    pub(crate) fn ports(&self) -> BTreeSet<(ServerId, u16)> {
        let ports = |machine: &Machine| {
            machine.replicas.values().map(|replica| (machine.id, replica.port)).collect::<Vec<_>>()
        };
        self.machines.values().flat_map(ports).collect()
    }

    fn pick_machine(&mut self) -> ServerId {
        let count = self.machines.len() as u64;
        let nth = usize::try_from(self.roll(count)).unwrap();
        *self.machines.keys().nth(nth).unwrap()
    }

    /// Misfortunes, for random histories.
    pub(crate) fn crash_some_replica(&mut self) {
        self.misfortune = true;
        let (id, now) = (self.pick_machine(), self.now);
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
        let (id, until) = (self.pick_machine(), self.now + millis);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.agent_down_until = until;
            machine.boot += 1;
        }
    }

    pub(crate) fn proxy_away(&mut self, millis: u64) {
        self.misfortune = true;
        let (id, until) = (self.pick_machine(), self.now + millis);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.proxy_down_until = until;
        }
    }

    /// The control plane dies and comes back: what was observed is gone, what was recorded is not.
    pub(crate) fn control_restarts(&mut self) {
        self.observed = Observed { since: self.time(), servers: BTreeMap::new() };
    }
}

fn pando_live(instance: &pando_model::Instance) -> bool {
    matches!(instance.phase, pando_model::Phase::Starting | pando_model::Phase::Serving { .. })
}
