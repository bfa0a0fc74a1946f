//! The world: machines, a network, people, misfortune, and time that passes from event to event.
//!
//! A run has four acts. Every app is deployed for the first time. Then people ask
//! for things while faults come and go. Then every fault ends, and the cluster
//! must come to rest. In the last, people ask for a few more things in peace, and
//! each must come to rest without a single failed request.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pando_runtime::RunKey;

use crate::behaviour::Apps;
use crate::checkers::Checkers;
use crate::checkers::rest::ONE_WITHIN;
use crate::control::{Control, ControlEvent};
use crate::dice::Dice;
use crate::faults::{FaultEvent, Faults};
use crate::machine::daemon::AgentEvent;
use crate::machine::disk::Disk;
use crate::machine::runs::ProcessEvent;
use crate::machine::{Machine, MachineEvent};
use crate::message::Envelope;
use crate::network::{Network, Weather};
use crate::proxy::ProxyEvent;
use crate::queue::Queue;
use crate::scenario::{Sabotage, Scenario};
use crate::trace::{Keep, Trace, say};
use crate::workload::{Errand, Workload};

/// How often the world looks at itself.
const LOOK_EVERY: u64 = 1000;
/// How long the cluster may take to come to rest. Going back from a failed deployment may take 5 min, a restart after
/// many ends waits up to 1 min, and several deployments may be queued.
const REST_WITHIN: u64 = 30 * 60_000;
/// How long the first deployments may take until people and faults begin anyway.
const PROLOGUE: u64 = 120_000;

/// So many events in one millisecond are a loop that waits for nothing: hundreds of servers make some thousands.
const STANDSTILL: u64 = 100_000;

#[derive(Debug)]
pub(crate) enum Event {
    Deliver(Box<Envelope>),
    Control(u64, ControlEvent),
    Agent(usize, u64, AgentEvent),
    Machine(usize, MachineEvent),
    Process(usize, RunKey, ProcessEvent),
    Proxy(usize, u64, ProxyEvent),
    Request(usize),
    Fault(FaultEvent),
    Errand(Errand),
    Look,
}

/// The acts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Every app comes up for the first time.
    Prologue,
    /// People and faults go on until then.
    Chaos {
        until: u64,
    },
    /// Since then nothing is asked and nothing goes wrong.
    Healing {
        since: u64,
        encores: u32,
    },
    Over,
}

/// What a run came to, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub agent_steps: u64,
    pub control_steps: u64,
    pub requests: u64,
    pub answered: u64,
    pub failed: u64,
    /// Of the requests, those that had to be answered.
    pub judged: u64,
    pub faults: u64,
    pub operations: u64,
    /// Milliseconds of virtual time.
    pub time: u64,
    /// Seconds, summed over servers.
    pub server_seconds: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    /// Milliseconds since the beginning.
    pub(crate) now: u64,
    pub(crate) scenario: Scenario,
    pub(crate) queue: Queue<Event>,
    pub(crate) trace: Trace,
    pub(crate) network: Network,
    pub(crate) control: Control,
    pub(crate) machines: Vec<Machine>,
    pub(crate) by_address: BTreeMap<IpAddr, usize>,
    /// Each machine's disk, as it was some time ago.
    pub(crate) snapshots: BTreeMap<usize, Disk>,
    pub(crate) apps: Apps,
    pub(crate) workload: Workload,
    pub(crate) faults: Faults,
    pub(crate) checkers: Checkers,
    pub(crate) counts: Counts,
    /// For whatever has no dice of its own: how long things take.
    pub(crate) dice: Dice,
    act: Act,
    /// Events since time went on.
    instant: u64,
}

impl World {
    pub(crate) fn new(scenario: Scenario, keep: Keep) -> Self {
        let seed = scenario.seed;
        let mut dice = Dice::new(seed, "world");
        let count = scenario.servers + scenario.spare;
        let machines: Vec<Machine> = (0..count).map(|index| Machine::new(index, &mut dice)).collect();
        let by_address = machines.iter().map(|machine| (machine.address, machine.index)).collect();
        Self {
            now: 0,
            queue: Queue::new(Dice::new(seed, "queue")),
            trace: Trace::new(keep),
            network: Network::new(Weather::CALM, Dice::new(seed, "network")),
            control: Control::new(seed),
            machines,
            by_address,
            snapshots: BTreeMap::new(),
            apps: Apps::default(),
            workload: Workload::new(seed, scenario.apps),
            faults: Faults::new(seed),
            checkers: Checkers::default(),
            counts: Counts::default(),
            dice,
            act: Act::Prologue,
            instant: 0,
            scenario,
        }
    }

    /// Runs to the end, or to the first broken promise, which it answers.
    pub(crate) fn run(&mut self) -> Option<String> {
        say!(self, "world", "{}", self.scenario.describe());
        self.begin();
        while self.act != Act::Over && self.checkers.broken.is_none() {
            let Some((at, event)) = self.queue.take() else { break };
            self.advance(at);
            self.happen(event);
        }
        self.checkers.broken.clone()
    }

    fn advance(&mut self, at: u64) {
        self.counts.events += 1;
        self.instant = if at == self.now { self.instant + 1 } else { 0 };
        self.now = at;
        if self.instant >= STANDSTILL {
            self.broke(format!("time stands still: {STANDSTILL} events at once"));
        }
    }

    pub(crate) fn final_counts(&self) -> Counts {
        let server_seconds = self.now / 1000 * self.machines.len() as u64;
        Counts { time: self.now, control_steps: self.control.steps, server_seconds, ..self.counts }
    }

    fn begin(&mut self) {
        if let Err(error) = self.found_cluster() {
            return self.checkers.found(format!("the cluster can't be founded: {error}"));
        }
        self.turn_keys();
        self.begin_apps();
        for at in 0..self.scenario.servers {
            self.power_on(at);
        }
        for at in 0..self.machines.len() {
            let first = self.dice.below(self.scenario.request_pace);
            self.queue.put(first, Event::Request(at));
        }
        self.queue.put(LOOK_EVERY, Event::Look);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver(envelope) => self.deliver(*envelope),
            Event::Control(boot, event) => self.control_event(boot, event),
            Event::Agent(at, boot, event) => self.agent_event(at, boot, event),
            Event::Machine(at, event) => self.machine_event(at, event),
            Event::Process(at, key, event) => self.process_event(at, key, event),
            Event::Proxy(at, boot, event) => self.proxy_event(at, boot, event),
            Event::Request(at) => self.request_comes(at),
            Event::Fault(event) => self.fault_event(event),
            Event::Errand(errand) => self.errand(errand),
            Event::Look => self.look(),
        }
    }

    pub(crate) fn is_chaos(&self) -> bool {
        matches!(self.act, Act::Chaos { .. })
    }

    /// Once a second: what no single event can tell.
    fn look(&mut self) {
        self.queue.put(self.now + LOOK_EVERY, Event::Look);
        self.follow_entries();
        self.judge_apps();
        self.remember_disks();
        self.sabotage();
        match self.act {
            Act::Prologue if self.now >= PROLOGUE || (self.now > 5000 && self.unrest().is_none()) => {
                self.begin_chaos();
            }
            Act::Chaos { until } if self.now < until => self.turn_keys(),
            Act::Chaos { .. } => {
                self.heal();
                self.act = Act::Healing { since: self.now, encores: self.scenario.encores };
            }
            Act::Healing { since, encores } => self.look_for_rest(since, encores),
            Act::Prologue | Act::Over => {}
        }
    }

    fn begin_chaos(&mut self) {
        say!(self, "world", "people and faults begin");
        self.act = Act::Chaos { until: self.now + self.scenario.length };
        self.network.weather = self.scenario.weather;
        if self.is_stormy() {
            self.checkers.disturb();
        }
        self.await_fault();
        self.await_operation();
    }

    fn look_for_rest(&mut self, since: u64, encores: u32) {
        let passed = self.now - since;
        if passed >= ONE_WITHIN
            && let Some(doubled) = self.doubled_name()
        {
            return self.broke(format!("{} s after the last fault {doubled}", passed / 1000));
        }
        match self.unrest() {
            Some(why) if passed >= REST_WITHIN => {
                self.broke(format!("no rest {} s after the last fault: {why}", passed / 1000));
            }
            Some(_) => {}
            None if encores == 0 => self.act = Act::Over,
            // Some moments for requests at rest, so that they are judged in what comes next.
            None if passed < 5000 => {}
            None => {
                say!(self, "world", "is at rest");
                self.operate();
                self.act = Act::Healing { since: self.now, encores: encores - 1 };
            }
        }
    }

    fn remember_disks(&mut self) {
        let at = self.dice.index(self.machines.len());
        if self.dice.chance(10) {
            self.snapshots.insert(at, self.machines[at].disk.clone());
        }
    }

    /// An agent that stops what it should not, to see that it is noticed.
    fn sabotage(&mut self) {
        if self.scenario.sabotage != Some(Sabotage::EagerAgent) || !self.dice.chance(5) {
            return;
        }
        let at = self.dice.index(self.machines.len());
        let key = self.machines[at].processes.keys().next().copied();
        if let Some(key) = key {
            self.stop_run(at, key, pando_model::Millis(1000));
        }
    }
}
