//! What goes wrong, when, and for how long: thrown from the seed.

mod inflict;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::dice::Dice;
use crate::machine::runs::Process;
use crate::network::Weather;
use crate::trace::say;
use crate::world::{Event, World};

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Delay, loss, repetition and broken connections everywhere.
    Weather,
    /// A machine or a group is cut off from others, one way or both.
    Partition,
    /// `pando daemon` is killed; the control plane with it where it runs.
    Daemon,
    /// A load balancer is killed.
    Proxy,
    /// A replica or a task is killed.
    Process,
    /// A machine loses power for seconds to minutes.
    Power,
    /// As `Power`; it comes back with its disk as it was some time before.
    OldDisk,
    /// More than half of all machines lose power or are cut off at once.
    Many,
    /// A machine is destroyed, and removed from the cluster by hand.
    Destroyed,
    /// Everything on a machine takes many times as long.
    Slow,
    /// Writes fail.
    FullDisk,
    /// A machine's wall clock is set.
    Clock,
    /// The store fails and is slow.
    Store,
    /// A program beside Pando listens on ports of replicas to be.
    Ports,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::Weather,
        Self::Partition,
        Self::Daemon,
        Self::Proxy,
        Self::Process,
        Self::Power,
        Self::OldDisk,
        Self::Many,
        Self::Destroyed,
        Self::Slow,
        Self::FullDisk,
        Self::Clock,
        Self::Store,
        Self::Ports,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Weather => "weather",
            Self::Partition => "partition",
            Self::Daemon => "daemon",
            Self::Proxy => "proxy",
            Self::Process => "process",
            Self::Power => "power",
            Self::OldDisk => "old-disk",
            Self::Many => "many",
            Self::Destroyed => "destroyed",
            Self::Slow => "slow",
            Self::FullDisk => "full-disk",
            Self::Clock => "clock",
            Self::Store => "store",
            Self::Ports => "ports",
        }
    }

    /// Requests may fail by it. The others must leave traffic alone; a daemon that stays away for long counts as harm all the same.
    fn harms_traffic(self) -> bool {
        !matches!(self, Self::Daemon | Self::Store | Self::FullDisk | Self::Clock | Self::Ports)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("`{text}` is no kind of fault; they are: {}", names()))
    }
}

#[derive(Debug)]
pub(crate) struct Faults {
    dice: Dice,
    next: u64,
    /// Those that go on.
    active: BTreeMap<u64, Active>,
}

#[derive(Debug)]
struct Active {
    harms_traffic: bool,
    remedy: Remedy,
}

/// What ends a fault.
#[derive(Debug, Clone)]
pub(crate) enum Remedy {
    Mend,
    PowerOn(Vec<usize>),
    Speed(usize),
    Space(usize),
    Store,
    Ports(usize),
    /// It ends by itself.
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultEvent {
    /// The next fault is due.
    Next,
    Ends(u64),
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed, "faults"), next: 0, active: BTreeMap::new() }
    }

    fn harm_traffic(&self) -> bool {
        self.active.values().any(|active| active.harms_traffic)
    }
}

impl World {
    pub(crate) fn fault_event(&mut self, event: FaultEvent) {
        match event {
            FaultEvent::Next if self.is_chaos() => {
                let kinds: Vec<Kind> = self.scenario.faults.iter().copied().collect();
                if let Some(kind) = self.faults.dice.pick(&kinds).copied() {
                    self.inflict(kind);
                }
                self.await_fault();
            }
            FaultEvent::Next => {}
            FaultEvent::Ends(id) => self.end_fault(id),
        }
    }

    pub(crate) fn await_fault(&mut self) {
        if self.scenario.faults.is_empty() {
            return;
        }
        let pace = self.scenario.fault_pace;
        let after = self.faults.dice.between(pace / 4, pace * 2);
        self.queue.put(self.now + after, Event::Fault(FaultEvent::Next));
    }

    /// Something goes on that may make requests fail.
    pub(crate) fn is_traffic_harmed(&self) -> bool {
        self.is_stormy() || self.faults.harm_traffic()
    }

    /// The network loses and breaks what is sent.
    pub(crate) fn is_stormy(&self) -> bool {
        self.is_chaos() && self.scenario.faults.contains(&Kind::Weather)
    }

    /// Notes a fault that goes on for a while.
    fn begin_fault(&mut self, kind: Kind, remedy: Remedy, length: u64) -> u64 {
        self.note_fault(kind);
        self.put_fault(Active { harms_traffic: kind.harms_traffic(), remedy }, length)
    }

    fn put_fault(&mut self, active: Active, length: u64) -> u64 {
        self.faults.next += 1;
        let id = self.faults.next;
        if active.harms_traffic {
            self.checkers.disturb();
        }
        self.faults.active.insert(id, active);
        self.queue.put(self.now + length, Event::Fault(FaultEvent::Ends(id)));
        id
    }

    /// Notes a fault that is over as soon as it has begun.
    fn note_fault(&mut self, kind: Kind) {
        self.counts.faults += 1;
        if kind.harms_traffic() {
            self.checkers.disturb();
        }
    }

    fn end_fault(&mut self, id: u64) {
        let Some(Active { harms_traffic, remedy }) = self.faults.active.remove(&id) else { return };
        match remedy {
            Remedy::Mend => {
                say!(self, "network", "is whole again (cut {id})");
                self.network.mend(id);
            }
            Remedy::PowerOn(machines) => machines.into_iter().for_each(|at| self.power_on(at)),
            Remedy::Speed(at) => self.machines[at].slowness = 1,
            Remedy::Space(at) => self.machines[at].disk.full = false,
            Remedy::Store => self.control.trouble = 0,
            Remedy::Ports(at) => self.free_ports(at),
            Remedy::Time => {}
        }
        if harms_traffic {
            self.checkers.disturb();
        }
    }

    /// Ends every fault: from here on the cluster must come to rest.
    pub(crate) fn heal(&mut self) {
        let ids: Vec<u64> = self.faults.active.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end_fault(id));
        self.network.weather = Weather::CALM;
        self.network.mend_all();
        self.apps.heal();
        let processes = self.machines.iter_mut().flat_map(|machine| machine.processes.values_mut());
        processes.for_each(Process::calm_down);
        for at in 0..self.machines.len() {
            if self.control.knows(self.machines[at].id) {
                self.power_on(at);
            }
        }
        self.checkers.disturb();
        say!(self, "world", "every fault has ended");
    }
}
