//! What people ask for: through the same functions as the real API, written to the same store.

pub(crate) mod apps;
mod keys;
mod servers;

use std::collections::BTreeSet;

use pando_control::state::State as Loaded;
use pando_control::store::Revision;
use pando_model::name::AppName;
use pando_model::server::{Server, Standing};

use crate::control::serve::version;
use crate::dice::Dice;
use crate::trace::say;
use crate::world::{Event, World};

/// Kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Deploy,
    Rollback,
    Restart,
    Scale,
    StopOrStart,
    /// Roles are given to servers, and taken away.
    Roles,
    Lockdown,
    Join,
    Drain,
    Leave,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Deploy,
        Self::Rollback,
        Self::Restart,
        Self::Scale,
        Self::StopOrStart,
        Self::Roles,
        Self::Lockdown,
        Self::Join,
        Self::Drain,
        Self::Leave,
    ];
}

/// How many things people try until one is not refused.
const TRIES: usize = 4;

#[derive(Debug)]
pub(crate) struct Workload {
    dice: Dice,
    apps: Vec<AppName>,
    /// The revision of the store that the last of them made.
    asked: Revision,
    /// Where clients send requests to.
    open: BTreeSet<usize>,
    /// Clients are told to go elsewhere: these cease to be entry points.
    closing: BTreeSet<usize>,
    /// So many changes wait for clients to go elsewhere.
    pending: u32,
}

#[derive(Debug)]
pub(crate) enum Errand {
    /// The next operation is due.
    Next,
    /// A change of servers, once clients have had the time to go elsewhere.
    Change(Box<Server>),
    Lockdown(bool),
    /// Clients have left.
    Closed(Box<Errand>),
    /// An app was stopped for long enough.
    Start(AppName),
    /// A destroyed server is removed from the cluster.
    Remove(usize),
}

impl Workload {
    pub(crate) fn new(seed: u64, apps: usize) -> Self {
        let names = ["hits", "blog", "shop"].into_iter().filter_map(|name| AppName::new(name).ok());
        Self {
            dice: Dice::new(seed, "workload"),
            apps: names.take(apps).collect(),
            asked: 0,
            open: BTreeSet::new(),
            closing: BTreeSet::new(),
            pending: 0,
        }
    }

    pub(crate) fn served(&self) -> Vec<AppName> {
        self.apps.clone()
    }

    pub(crate) fn asked_until(&self) -> Revision {
        self.asked
    }

    pub(crate) fn open_entries(&self) -> &BTreeSet<usize> {
        &self.open
    }
}

impl World {
    pub(crate) fn await_operation(&mut self) {
        let pace = self.scenario.operation_pace;
        let after = self.workload.dice.between(pace / 4, pace * 2);
        self.queue.put(self.now + after, Event::Errand(Errand::Next));
    }

    pub(crate) fn errand(&mut self, errand: Errand) {
        match errand {
            Errand::Next if self.is_chaos() => {
                self.operate();
                self.await_operation();
            }
            Errand::Next => {}
            Errand::Closed(errand) => {
                self.workload.pending = self.workload.pending.saturating_sub(1);
                self.errand(*errand);
            }
            Errand::Change(server) => self.change_server(&server),
            Errand::Lockdown(on) => self.set_lockdown(on),
            Errand::Start(app) => self.start_again(&app),
            Errand::Remove(at) => self.remove_server(at),
        }
    }

    /// Deploys every app for the first time.
    pub(crate) fn begin_apps(&mut self) {
        for app in self.workload.apps.clone() {
            self.deploy(&app, true);
        }
    }

    /// Does something that people do, if there is a control plane to ask; another thing, when that is refused.
    pub(crate) fn operate(&mut self) {
        let before = self.workload.asked;
        for _ in 0..TRIES {
            if self.control.running.is_some() && self.workload.asked == before && self.workload.pending == 0 {
                self.operate_once();
            }
        }
    }

    fn operate_once(&mut self) {
        let kinds: Vec<Kind> = self.scenario.operations.iter().copied().collect();
        let Some(kind) = self.workload.dice.pick(&kinds).copied() else { return };
        let apps = self.workload.apps.clone();
        let Some(app) = self.workload.dice.pick(&apps).cloned() else { return };
        self.counts.operations += 1;
        match kind {
            Kind::Deploy => self.deploy(&app, false),
            Kind::Rollback => self.roll_back(&app),
            Kind::Restart => self.restart(&app),
            Kind::Scale => self.scale(&app),
            Kind::StopOrStart => self.stop_or_start(&app),
            Kind::Roles => self.change_roles(),
            Kind::Lockdown => self.change_lockdown(),
            Kind::Join => self.join(),
            Kind::Drain => self.change_standing(Standing::Draining),
            Kind::Leave => self.change_standing(Standing::Leaving),
        }
    }

    /// Clients speak to this load balancer.
    pub(crate) fn takes_requests(&self, at: usize) -> bool {
        self.workload.open.contains(&at) && self.machines[at].on
    }

    /// Clients find a new entry point once it has the newest table; they leave one that is none any more.
    pub(crate) fn follow_entries(&mut self) {
        self.switch_off_forgotten();
        let Some((_, loaded)) = self.control.state() else { return };
        let Some(table) = &loaded.world.table else { return };
        let newest = version(table);
        let mut opened = Vec::new();
        for machine in &self.machines {
            let entry = is_entry(loaded, machine.id);
            let used = machine.proxy.as_deref().and_then(|proxy| proxy.table.as_deref()).map(version);
            if !entry {
                self.workload.open.remove(&machine.index);
                self.workload.closing.remove(&machine.index);
            } else if used == Some(newest)
                && !self.workload.closing.contains(&machine.index)
                && self.workload.open.insert(machine.index)
            {
                opened.push(machine.index);
            }
        }
        for at in opened {
            say!(self, "operator", "clients find {}", self.machines[at].name);
        }
    }

    /// Clients leave these entry points; what was asked follows a little later.
    fn close_then(&mut self, entries: impl IntoIterator<Item = usize>, errand: Errand) {
        for at in entries {
            self.workload.open.remove(&at);
            self.workload.closing.insert(at);
        }
        self.workload.pending += 1;
        self.queue.put(self.now + 3000, Event::Errand(Errand::Closed(Box::new(errand))));
    }
}

fn is_entry(loaded: &Loaded, server: pando_model::ServerId) -> bool {
    let spec = loaded.world.servers.get(&server);
    spec.is_some_and(|server| server.is_entry_point(&loaded.world.settings))
}
