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
use pando_model::observed::{AgentReport, Observed};
use pando_model::release::{Digest, Release, ReleaseNumber};
use pando_model::time::Timestamp;
use pando_plan::{Action, Input, Plan, World as Desired, check, plan};
use pando_routing::{EndpointState, Table};

mod carry;
mod judge;
mod life;
mod misfortune;
mod people;

pub(crate) use crate::machine::Behaviour;
use crate::machine::{Machine, Replica};
use crate::spec;

/// Silence for so long is loss.
const LOST: u64 = 20_000;
/// One step of virtual time.
pub(crate) const STEP: u64 = 50;

#[derive(Debug, Clone)]
enum Message {
    Target(ServerId, Option<Assignment>, Option<Table>),
    Report(AgentReport),
    /// Brought by another server.
    Relayed(AgentReport),
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
    /// The servers whose load balancers have had something to send requests to.
    served: BTreeSet<ServerId>,
    /// What load balancers can reach just now.
    ready: BTreeSet<InstanceId>,
    joined: usize,
    /// Something changed since the last plan.
    dirty: bool,
    /// There was a report without news.
    idle: bool,
}

pub(crate) fn hits() -> AppName {
    AppName::new("hits").unwrap()
}

impl World {
    /// Servers with every role.
    pub(crate) fn new(servers: u8, seed: u64) -> Self {
        let mut world = Self::empty(seed);
        for number in 1..=servers {
            world.join(&format!("s{number}"), &["web", "worker", "lb"]);
        }
        world.desired.servers.values_mut().for_each(|server| server.joined_at = Timestamp::from_millis(0));
        world
    }

    pub(crate) fn empty(seed: u64) -> Self {
        let desired = Desired { epoch: 1, ..Desired::default() };
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
            machines: BTreeMap::new(),
            messages: Vec::new(),
            port_refusals: BTreeMap::new(),
            drain_began: BTreeMap::new(),
            served: BTreeSet::new(),
            ready: BTreeSet::new(),
            joined: 0,
            dirty: true,
            idle: false,
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

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.now).unwrap())
    }

    /// One step of time for everybody.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        self.look_around();
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
        } else if self.idle {
            self.check_idle();
        }
        self.idle = false;
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

    /// After reports without news there is nothing to do.
    fn check_idle(&mut self) {
        let input = Input { seed: self.now, ..self.input() };
        let actions = plan(&input).actions;
        if !actions.is_empty() {
            self.broken.push(format!("{} ms: no news, and yet {actions:?}", self.now - 1_000_000));
        }
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
        self.run_until(millis, |world| {
            let left = world.desired.servers.values().all(|s| s.standing != pando_model::Standing::Leaving);
            let report = world.last.report.apps.get(&hits());
            left && !world.is_busy() && report.is_none_or(|report| report.settled)
        })
    }

    /// Until every server is heard; false when that takes longer than a minute.
    pub(crate) fn hear_all(&mut self) -> bool {
        self.run_until(60_000, |world| {
            let alive = |id: &ServerId| world.input().contact(*id) == pando_plan::Liveness::Alive;
            let heard = world.machines.values().all(|machine| machine.is_heard(world.now));
            heard && world.desired.servers.keys().all(alive)
        })
    }

    /// As [`World::settle`], but for what waits for a server that is lost or cut off.
    pub(crate) fn settle_but_lost(&mut self, millis: u64) -> bool {
        self.run_until(millis, |world| !world.is_busy())
    }

    /// A deployment is under way, or something leaves a server that is heard.
    fn is_busy(&self) -> bool {
        let lost = |server| self.input().contact(server) == pando_plan::Liveness::Lost;
        self.desired.apps.get(&hits()).is_some_and(|app| {
            let leaving = app.assigned.instances.values().any(|i| !pando_live(i) && !lost(i.server));
            !app.deployments.is_empty() || leaving
        })
    }

    fn run_until(&mut self, millis: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + millis;
        self.dirty = true;
        while self.now < end {
            self.step();
            if done(self) {
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
}

fn pando_live(instance: &pando_model::Instance) -> bool {
    matches!(instance.phase, pando_model::Phase::Starting | pando_model::Phase::Serving { .. })
}
