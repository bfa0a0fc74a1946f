//! What agents ask of the control plane.

use std::sync::Arc;

use pando_control::reconcile;
use pando_model::id::Version;
use pando_model::observed::AgentReport;
use pando_plan::input::version_of;

use super::{ControlEvent, Incoming, Published};
use crate::message::{Answer, Caller, Have};
use crate::scenario::Sabotage;
use crate::world::World;

/// As long as agents wait.
pub(crate) const POLL_WAIT: u64 = 25_000;

/// Reports that may wait for the loop; as the real queue.
const REPORTS: usize = 64;

/// A long poll.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) caller: Caller,
    have: Have,
}

impl World {
    pub(crate) fn control_polled(&mut self, caller: Caller, have: Have, wait: u64) {
        let Some(running) = self.control.running.as_deref_mut() else { return };
        // A newer poll of the same agent takes the place of one that it no longer waits for.
        running.waiters.insert(caller.machine, Waiter { caller, have });
        let over = ControlEvent::PollOver(caller.machine, caller.call);
        self.put_control(self.now + wait, over);
        self.serve_waiters();
    }

    pub(super) fn poll_over(&mut self, machine: usize, call: u64) {
        let Some(running) = self.control.running.as_deref_mut() else { return };
        let over = running.waiters.get(&machine).filter(|waiter| waiter.caller.call == call);
        if let Some(waiter) = over.cloned() {
            running.waiters.remove(&machine);
            self.answer(
                self.control.machine,
                waiter.caller,
                Answer::Target { assignment: None, table: None, secrets: None },
            );
        }
    }

    /// Answers every poll for which there is something newer.
    pub(super) fn serve_waiters(&mut self) {
        let open_handed = self.scenario.sabotage == Some(Sabotage::OpenHanded);
        let Some(running) = self.control.running.as_deref_mut() else { return };
        let mut answers = Vec::new();
        running.waiters.retain(|_, waiter| {
            let answer = newer(&running.published, &waiter.have, open_handed);
            let waits = answer.is_none();
            answers.extend(answer.map(|answer| (waiter.caller, answer)));
            waits
        });
        for (caller, answer) in answers {
            self.answer(self.control.machine, caller, answer);
        }
    }

    /// An agent's own report last, before it those of others that it hands on.
    pub(crate) fn control_reported(&mut self, caller: Caller, reports: &[Arc<AgentReport>]) {
        let at = self.control_now();
        let Some(running) = self.control.running.as_deref() else { return };
        let waiting = running.inbox.iter().filter(|incoming| is_report(incoming)).count();
        if waiting + reports.len() > REPORTS {
            return self.answer(self.control.machine, caller, Answer::Away);
        }
        self.answer(self.control.machine, caller, Answer::Taken);
        for report in reports {
            if self.control.knows(report.server) {
                let own = report.server == self.machines[caller.machine].id;
                let report = Box::new(AgentReport::clone(report));
                let event = match own {
                    true => reconcile::Event::Reported { report, at },
                    false => reconcile::Event::Relayed { report, at },
                };
                self.control_hears(Incoming::Event(event));
            }
        }
    }
}

fn is_report(incoming: &Incoming) -> bool {
    use reconcile::Event::{Relayed, Reported};
    matches!(incoming, Incoming::Event(Reported { .. } | Relayed { .. }))
}

fn newer(published: &Published, have: &Have, open_handed: bool) -> Option<Answer> {
    let told = published.assignments.get(&have.server);
    let entry = open_handed || told.is_some_and(|told| told.entry.is_some());
    let fits = published.table.as_ref().is_some_and(|it| version(it) >= have.table);
    let secrets = published.secrets.as_ref().filter(|it| entry && fits && it.mark != have.secrets).cloned();
    let assignment = told.filter(|it| it.version > have.assignment).cloned();
    let table = published.table.as_ref().filter(|it| version(it) > have.table).cloned();
    (assignment.is_some() || table.is_some() || secrets.is_some()).then_some(Answer::Target {
        assignment,
        table,
        secrets,
    })
}

pub(crate) fn version(table: &pando_routing::Table) -> Version {
    version_of(table.version)
}
