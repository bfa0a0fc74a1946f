//! What must always hold, looked at from outside: on the real processes, the real tables, and every request.
//!
//! The planner's own promises are checked by `plan::check` in every step of the
//! control plane's loop. Here is what only the world as a whole can tell. The
//! first broken promise ends the run.

mod assigned;
mod requests;
pub(crate) mod rest;
mod stops;

use std::collections::{BTreeMap, BTreeSet};

use pando_model::id::{InstanceId, Version};
use pando_model::name::AppName;
use pando_model::time::Timestamp;
use pando_routing::{Table, TableVersion};
use pando_runtime::RunKey;

use crate::machine::runs::Process;
use crate::trace::say;
use crate::workload::apps::SINGLETON;
use crate::world::World;
use stops::Decision;

#[derive(Debug, Default)]
pub(crate) struct Checkers {
    /// The first promise that was broken.
    pub(crate) broken: Option<String>,
    /// Apps whose every request must be answered.
    judged: BTreeSet<AppName>,
    /// When something that harms traffic last began or ended.
    disturbed_at: u64,
    /// The load balancers that were live when something was last decided, by machine.
    live: Vec<usize>,
    /// Instances that were recorded as stopping, and what was true then.
    decisions: BTreeMap<InstanceId, Decision>,
    /// Until when instances that drain may take to end their requests.
    drains: BTreeMap<InstanceId, Timestamp>,
    /// Starts of each task.
    tasks: BTreeMap<RunKey, u32>,
    assignments: BTreeMap<usize, Version>,
    tables: BTreeMap<usize, TableVersion>,
}

impl Checkers {
    pub(crate) fn found(&mut self, what: impl Into<String>) {
        self.broken.get_or_insert(what.into());
    }

    /// Something harms traffic, or has just ceased to.
    pub(crate) fn disturb(&mut self) {
        self.judged.clear();
        // Set when the world looks next; see `World::judge_apps`.
        self.disturbed_at = u64::MAX;
    }
}

impl World {
    pub(crate) fn broke(&mut self, what: String) {
        say!(self, "BROKEN", "{what}");
        self.checkers.found(what);
    }

    /// A process has just been started.
    pub(crate) fn check_start(&mut self, at: usize, key: RunKey, process: &Process) {
        let Some(replica) = &process.replica else {
            let starts = self.checkers.tasks.entry(key).or_default();
            *starts += 1;
            if *starts > 1 && !self.machines[at].went_back {
                self.broke(format!(
                    "a command of {} {} is started a second time",
                    process.app, process.release
                ));
            }
            return;
        };
        let alone = |other: &Process| {
            replica.process.as_str() == SINGLETON
                && other.app == process.app
                && other.replica.as_ref() == Some(replica)
        };
        let honest = self.machines.iter().filter(|machine| !machine.went_back || machine.index == at);
        let mut rivals = honest.flat_map(|machine| {
            let running = machine.processes.iter();
            running.filter(|(other, held)| other.id == key.id || alone(held)).map(|_| machine.name.clone())
        });
        let rival = rivals.next();
        drop(rivals);
        if let Some(other) = rival.filter(|_| !self.machines[at].went_back) {
            let (app, here) = (&process.app, &self.machines[at].name);
            self.broke(format!("{app}/{replica} is started on {here} while it runs on {other}"));
        }
    }

    /// An agent acts on this assignment from now on, or remembers it at its start.
    pub(crate) fn check_in_force(&mut self, at: usize, version: Version) {
        let before = self.checkers.assignments.insert(at, version);
        if before.is_some_and(|before| version < before) && !self.machines[at].went_back {
            self.broke(format!("{} goes back to the assignment {version}", self.machines[at].name));
        }
    }

    pub(crate) fn check_table_used(&mut self, at: usize, table: &Table) {
        let version = table.version;
        if self.scenario.keys && !table.secret.has_keys() {
            self.broke(format!("the load balancer of {} has no keys", self.machines[at].name));
        }
        let before = self.checkers.tables.insert(at, version);
        if before.is_some_and(|before| version < before) && !self.machines[at].went_back {
            self.broke(format!(
                "the load balancer of {} goes back to the table {version}",
                self.machines[at].name
            ));
        }
    }
}
