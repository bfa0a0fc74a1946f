//! How each kind of fault is done.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use pando_model::observed::ExitReport;
use pando_plan::input::SUSPECT_AFTER;
use pando_runtime::RunKey;

use super::{Active, Kind, Remedy};
use crate::machine::disk::Disk;
use crate::network::Cut;
use crate::trace::say;
use crate::world::World;

/// From the start of a daemon until its load balancer uses the newest table.
const BACK_WITHIN: u64 = 2000;

impl World {
    pub(super) fn inflict(&mut self, kind: Kind) {
        match kind {
            Kind::Weather => self.change_weather(),
            Kind::Partition => self.partition(),
            Kind::Daemon => self.hit_daemon(),
            Kind::Proxy => self.hit_proxy(),
            Kind::Process => self.hit_process(),
            Kind::Power => self.hit_power(),
            Kind::OldDisk => self.take_disk_back(),
            Kind::Many => self.hit_many(),
            Kind::Destroyed => self.hit_for_good(),
            Kind::Slow => self.slow_down(),
            Kind::FullDisk => self.fill_disk(),
            Kind::Clock => self.set_clock(),
            Kind::Store => self.trouble_store(),
            Kind::Ports => self.take_ports(),
        }
    }

    /// Any machine that is on; the one with the control plane as often as others.
    fn victim(&mut self) -> Option<usize> {
        let on: Vec<usize> = self.machines.iter().filter(|machine| machine.on).map(|m| m.index).collect();
        self.faults.dice.pick(&on).copied()
    }

    /// The weather is always there; now it gets worse or better for a while.
    fn change_weather(&mut self) {
        let dice = &mut self.faults.dice;
        let weather = &mut self.network.weather;
        weather.delay.1 = dice.magnitude(1, 1500);
        weather.loss = dice.below(25);
        weather.repeats = dice.below(20);
        weather.breaks = dice.below(10);
        say!(self, "network", "{:?}", self.network.weather);
        self.note_fault(Kind::Weather);
    }

    fn partition(&mut self) {
        let length = self.faults.dice.magnitude(500, 120_000);
        let all: BTreeSet<usize> = self.machines.iter().filter(|m| m.on).map(|m| m.index).collect();
        let dice = &mut self.faults.dice;
        let one = self.machines[dice.index(self.machines.len())].index;
        let other = self.machines[dice.index(self.machines.len())].index;
        let left: BTreeSet<usize> = match dice.below(4) {
            0 => all.iter().copied().filter(|_| dice.chance(50)).collect(),
            1 => [self.control.machine].into(),
            _ => [one].into(),
        };
        let right: BTreeSet<usize> = match dice.below(3) {
            0 => [other].into(),
            _ => all.difference(&left).copied().collect(),
        };
        let one_way = dice.chance(25);
        if left.is_empty() || right.is_empty() || left == right {
            return;
        }
        let arrow = if one_way { "to" } else { "from" };
        say!(self, "network", "cuts {left:?} off {arrow} {right:?} for {length} ms");
        let id = self.begin_fault(Kind::Partition, Remedy::Mend, length);
        self.network.cut(Cut { id, left, right, one_way });
    }

    fn hit_daemon(&mut self) {
        let Some(at) = self.victim() else { return };
        let back = self.faults.dice.magnitude(200, 60_000);
        self.note_fault(Kind::Daemon);
        if at != self.control.machine && back >= SUSPECT_AFTER.0 {
            // Nobody waits for long for a load balancer whose agent is silent: then it serves by a table that may be old.
            self.put_fault(Active { harms_traffic: true, remedy: Remedy::Time }, back + BACK_WITHIN);
        }
        self.kill_daemon(at, back);
    }

    fn hit_proxy(&mut self) {
        let Some(at) = self.victim() else { return };
        self.note_fault(Kind::Proxy);
        self.kill_proxy(at);
    }

    fn hit_process(&mut self) {
        let Some(at) = self.victim() else { return };
        let keys: Vec<RunKey> = self.machines[at].processes.keys().copied().collect();
        let Some(key) = self.faults.dice.pick(&keys).copied() else { return };
        self.note_fault(Kind::Process);
        let exit = ExitReport { code: None, signal: Some(9), out_of_memory: true, last_lines: Vec::new() };
        self.end_run(at, key, exit);
    }

    fn hit_power(&mut self) {
        let Some(at) = self.victim() else { return };
        let length = self.faults.dice.magnitude(2000, 180_000);
        self.begin_fault(Kind::Power, Remedy::PowerOn(vec![at]), length);
        self.power_off(at);
    }

    /// A snapshot of the machine is restored, from some time before.
    fn take_disk_back(&mut self) {
        let Some(at) = self.victim() else { return };
        let Some(old) = self.snapshots.get(&at).cloned() else { return };
        let length = self.faults.dice.magnitude(2000, 60_000);
        self.begin_fault(Kind::OldDisk, Remedy::PowerOn(vec![at]), length);
        self.power_off(at);
        say!(self, self.machines[at].name, "gets an old disk: assignment {}", old.ledger.assignment.version);
        let machine = &mut self.machines[at];
        machine.runtime = pando_runtime::memory::MemoryRuntime::new();
        machine.disk = Disk { full: false, ..old };
        machine.went_back = true;
    }

    fn hit_many(&mut self) {
        let on: Vec<usize> = self.machines.iter().filter(|machine| machine.on).map(|m| m.index).collect();
        let spared = self.faults.dice.index(on.len().div_ceil(2));
        let victims: Vec<usize> = on.iter().copied().skip(1 + spared).collect();
        let length = self.faults.dice.magnitude(5000, 120_000);
        if self.faults.dice.chance(50) {
            say!(self, "world", "{} of {} machines lose power", victims.len(), on.len());
            self.begin_fault(Kind::Many, Remedy::PowerOn(victims.clone()), length);
            victims.into_iter().for_each(|at| self.power_off(at));
        } else {
            say!(self, "network", "cuts {} of {} machines off", victims.len(), on.len());
            let id = self.begin_fault(Kind::Many, Remedy::Mend, length);
            let left: BTreeSet<usize> = victims.into_iter().collect();
            let right = on.into_iter().filter(|at| !left.contains(at)).collect();
            self.network.cut(Cut { id, left, right, one_way: false });
        }
    }

    /// Never the control plane's own, whose disk is the cluster's.
    fn hit_for_good(&mut self) {
        let Some(at) = self.victim().filter(|at| *at != self.control.machine) else { return };
        if !self.may_lose(at) {
            return;
        }
        self.note_fault(Kind::Destroyed);
        self.power_off(at);
        self.machines[at].gone = true;
        let after = self.faults.dice.magnitude(1000, 120_000);
        self.await_removal(at, after);
    }

    fn slow_down(&mut self) {
        let Some(at) = self.victim() else { return };
        let length = self.faults.dice.magnitude(2000, 60_000);
        self.machines[at].slowness = self.faults.dice.magnitude(2, 60);
        say!(self, self.machines[at].name, "is {} times as slow", self.machines[at].slowness);
        self.begin_fault(Kind::Slow, Remedy::Speed(at), length);
    }

    fn fill_disk(&mut self) {
        let Some(at) = self.victim() else { return };
        let length = self.faults.dice.magnitude(1000, 60_000);
        say!(self, self.machines[at].name, "has no space left on its disk for {length} ms");
        self.machines[at].disk.full = true;
        self.begin_fault(Kind::FullDisk, Remedy::Space(at), length);
    }

    /// Agents and the control plane read the wall clock at their start.
    fn set_clock(&mut self) {
        let Some(at) = self.victim() else { return };
        let far = i64::try_from(self.faults.dice.magnitude(100, 864_000_000)).unwrap_or(0);
        self.machines[at].clock = if self.faults.dice.chance(50) { far } else { -far };
        say!(self, self.machines[at].name, "its clock is set to be {} ms ahead", self.machines[at].clock);
        self.note_fault(Kind::Clock);
    }

    fn trouble_store(&mut self) {
        let length = self.faults.dice.magnitude(500, 30_000);
        self.control.trouble = self.faults.dice.between(10, 100);
        say!(self, "control", "{}% of what the store does fails for {length} ms", self.control.trouble);
        self.begin_fault(Kind::Store, Remedy::Store, length);
    }

    fn take_ports(&mut self) {
        let Some(at) = self.victim() else { return };
        let length = self.faults.dice.magnitude(1000, 60_000);
        let machine = &mut self.machines[at];
        for port in 20_000..20_040 {
            let free = !machine.processes.values().any(|process| process.port == Some(port));
            if free && self.faults.dice.chance(50) {
                machine.foreign.insert(port);
                machine.runtime.set_taken(SocketAddr::new(machine.address, port), true);
            }
        }
        say!(self, self.machines[at].name, "other programs take {} ports", machine_ports(self, at));
        self.begin_fault(Kind::Ports, Remedy::Ports(at), length);
    }

    pub(super) fn free_ports(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        for port in std::mem::take(&mut machine.foreign) {
            machine.runtime.set_taken(SocketAddr::new(machine.address, port), false);
        }
    }
}

fn machine_ports(world: &World, at: usize) -> usize {
    world.machines[at].foreign.len()
}
