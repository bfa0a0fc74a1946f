//! A server: its power, its clock, its disk, and what runs on it.

pub(crate) mod checks;
pub(crate) mod daemon;
pub(crate) mod detour;
pub(crate) mod disk;
pub(crate) mod entry;
pub(crate) mod link;
pub(crate) mod releases;
pub(crate) mod runs;
pub(crate) mod talk;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pando_model::id::ServerId;
use pando_model::name::{RoleName, ServerName};
use pando_model::resources::Capacity;
use pando_model::server::{Server, Standing};
use pando_model::time::Timestamp;
use pando_runtime::memory::MemoryRuntime;
use pando_runtime::{RunEvent, RunKey};
use tokio::sync::mpsc;

use crate::dice::Dice;
use crate::proxy::Proxy;
use crate::trace::say;
use crate::world::{Event, World};
use daemon::Daemon;
use disk::Disk;
use runs::Process;

/// When every world begins, in Unix milliseconds.
const BEGINNING: i64 = 1_767_225_600_000;

/// A proxy that was killed is started again within this.
const PROXY_BACK: u64 = 200;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) id: ServerId,
    pub(crate) address: IpAddr,
    /// It has power.
    pub(crate) on: bool,
    /// It was destroyed; it never comes back.
    pub(crate) gone: bool,
    /// Everything takes so many times as long.
    pub(crate) slowness: u64,
    /// How far its wall clock is ahead, in milliseconds.
    pub(crate) clock: i64,
    pub(crate) disk: Disk,
    /// Its disk went back in time: what it remembers may be older than what it promised.
    pub(crate) went_back: bool,
    pub(crate) runtime: MemoryRuntime,
    pub(crate) ends: Option<mpsc::Receiver<RunEvent>>,
    pub(crate) processes: BTreeMap<RunKey, Process>,
    /// Who listens where.
    pub(crate) ports: BTreeMap<u16, RunKey>,
    /// Ports that programs beside Pando listen on.
    pub(crate) foreign: BTreeSet<u16>,
    pub(crate) daemon: Option<Box<Daemon>>,
    pub(crate) daemon_boots: u64,
    pub(crate) proxy: Option<Box<Proxy>>,
    pub(crate) proxy_boots: u64,
    /// Somebody starts its load balancer again when it ends.
    pub(crate) keeps_proxy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineEvent {
    StartDaemon,
    StartProxy,
}

impl Machine {
    pub(crate) fn new(index: usize, dice: &mut Dice) -> Self {
        let number = u32::try_from(index).unwrap_or(0);
        let id = ServerId::new(Timestamp::from_millis(BEGINNING), dice.entropy());
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number));
        Self {
            index,
            name: format!("s{}", index + 1),
            id,
            address,
            on: false,
            gone: false,
            slowness: 1,
            clock: 0,
            disk: Disk::new(id),
            went_back: false,
            runtime: MemoryRuntime::new(),
            ends: None,
            processes: BTreeMap::new(),
            ports: BTreeMap::new(),
            foreign: BTreeSet::new(),
            daemon: None,
            daemon_boots: 0,
            proxy: None,
            proxy_boots: 0,
            keeps_proxy: false,
        }
    }

    /// As it joins the cluster.
    pub(crate) fn spec(&self, roles: &[&str], joined_at: Timestamp) -> Option<Server> {
        Some(Server {
            id: self.id,
            name: ServerName::new(self.name.clone()).ok()?,
            roles: roles.iter().filter_map(|role| RoleName::new(*role).ok()).collect(),
            private_address: self.address,
            public_address: None,
            agent_address: SocketAddr::new(self.address, 7421),
            capacity: Capacity { cpu_millis: 8000, memory_bytes: 32_000_000_000 },
            labels: BTreeMap::new(),
            standing: Standing::Active,
            joined_at,
        })
    }
}

/// What a clock says that is ahead of the world's by so many milliseconds.
pub(crate) fn clock(now: u64, ahead: i64) -> Timestamp {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    Timestamp::from_millis(BEGINNING.saturating_add(now).saturating_add(ahead))
}

impl World {
    pub(crate) fn machine_event(&mut self, at: usize, event: MachineEvent) {
        match event {
            MachineEvent::StartDaemon if self.machines[at].on => {
                self.start_daemon(at);
                if at == self.control.machine && self.control.running.is_none() {
                    self.start_control();
                }
            }
            MachineEvent::StartProxy if self.machines[at].on => self.start_proxy(at),
            MachineEvent::StartDaemon | MachineEvent::StartProxy => {}
        }
    }

    pub(crate) fn power_on(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.on || machine.gone {
            return;
        }
        machine.on = true;
        say!(self, self.machines[at].name, "has power");
        let after = self.dice.between(50, 1500);
        self.queue.put(self.now + after, Event::Machine(at, MachineEvent::StartDaemon));
    }

    /// Everything that runs there is gone at once.
    pub(crate) fn power_off(&mut self, at: usize) {
        if !self.machines[at].on {
            return;
        }
        say!(self, self.machines[at].name, "loses power");
        self.end_daemon(at, false);
        self.machines[at].keeps_proxy = false;
        self.end_proxy(at);
        let keys: Vec<RunKey> = self.machines[at].processes.keys().copied().collect();
        for key in keys {
            self.cut_requests_of(at, key);
        }
        let machine = &mut self.machines[at];
        machine.on = false;
        machine.processes.clear();
        machine.ports.clear();
        machine.runtime.restart_machine();
    }

    /// `pando daemon` is killed: the agent, and the control plane where it runs. Replicas and proxy go on.
    pub(crate) fn kill_daemon(&mut self, at: usize, back_after: u64) {
        self.end_daemon(at, true);
        self.queue.put(self.now + back_after, Event::Machine(at, MachineEvent::StartDaemon));
    }

    fn end_daemon(&mut self, at: usize, reachable: bool) {
        if at == self.control.machine {
            self.end_control(reachable);
        }
        if self.machines[at].daemon.take().is_some() {
            say!(self, self.machines[at].name, "the daemon ends");
        }
    }

    pub(crate) fn kill_proxy(&mut self, at: usize) {
        if self.machines[at].proxy.is_some() {
            say!(self, self.machines[at].name, "the load balancer is killed");
            self.end_proxy(at);
            let back = self.dice.between(20, PROXY_BACK);
            self.queue.put(self.now + back, Event::Machine(at, MachineEvent::StartProxy));
        }
    }
}
