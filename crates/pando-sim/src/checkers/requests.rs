//! In planned moves no request fails.
//!
//! Once everything about an app is as it should be, each of its requests must be
//! answered, whatever is planned with it and around it. It is excused when
//! something harms traffic, when its own replicas end by themselves, and when
//! people ask for an interruption; until everything is as it should be again.

use pando_model::app::{AppSpec, ReplicaCount, Strategy};
use pando_model::name::AppName;
use pando_runtime::RunKey;

use crate::proxy::requests::Ending;
use crate::trace::say;
use crate::workload::apps::LEAST_STOP_TIMEOUT;
use crate::world::World;

use super::Checkers;

impl Checkers {
    /// Its replicas fail by themselves.
    pub(crate) fn blame_app(&mut self, app: &AppName) {
        self.judged.remove(app);
    }

    /// People ask for an interruption.
    pub(crate) fn excuse(&mut self, app: &AppName) {
        self.judged.remove(app);
    }
}

impl World {
    pub(crate) fn request_ended(&mut self, at: usize, app: &AppName, ending: &Ending) {
        let judged = self.checkers.judged.contains(app);
        self.counts.judged += u64::from(judged);
        if *ending == Ending::Answered {
            self.counts.answered += 1;
            return;
        }
        self.counts.failed += 1;
        let entry = self.machines[at].name.clone();
        let excused = match ending {
            Ending::EntryLost | Ending::Answered => true,
            Ending::CutOff { length, .. } => *length >= LEAST_STOP_TIMEOUT,
            Ending::NobodyReady | Ending::Unreachable => false,
        };
        say!(self, format!("{entry} proxy"), "a request to {app} fails: {ending:?}");
        if !excused && judged {
            self.broke(format!("a request to {app} through {entry} fails in a planned move: {ending:?}"));
        }
    }

    /// A replica takes a request: it must be one of the right app.
    pub(crate) fn check_served(&mut self, at: usize, app: &AppName, machine: usize, key: RunKey) {
        let served_by = self.machines[machine].processes.get(&key).map(|process| process.app.clone());
        if let Some(other) = served_by.filter(|other| other != app) {
            let (entry, server) = (&self.machines[at].name, &self.machines[machine].name);
            self.broke(format!("{entry} sends a request for {app} to {other} on {server}"));
        }
    }

    /// From now on the requests of apps that are as they should be are judged.
    pub(crate) fn judge_apps(&mut self) {
        if self.is_traffic_harmed() || self.checkers.disturbed_at == u64::MAX {
            self.checkers.disturbed_at = self.now;
            return;
        }
        if self.now < self.checkers.disturbed_at + 2000 {
            return;
        }
        for app in self.workload.served() {
            if !self.checkers.judged.contains(&app) && self.serves_fully(&app) {
                say!(self, "world", "every request to {app} must be answered from now on");
                self.checkers.judged.insert(app);
            }
        }
    }

    /// Nothing of it is under way, and every entry point sends requests to every replica.
    fn serves_fully(&self, app: &AppName) -> bool {
        let Some((state, loaded)) = self.control.state() else { return false };
        // What people asked for last may not be known to the control plane yet.
        let Some(known) = loaded.app(app).filter(|_| loaded.revision >= self.workload.asked_until()) else {
            return false;
        };
        let settled = state.report.apps.get(app).is_some_and(|report| report.settled);
        let release = known.assigned.committed.and_then(|target| known.releases.get(&target.release));
        let Some(release) = release.filter(|_| settled && !known.wish.stopped) else { return false };
        let kind = self.apps.behaviour(app, release.number).kind;
        if kind != crate::behaviour::Kind::Good || !keeps_serving(&release.spec) {
            return false;
        }
        let entries = self.workload.open_entries();
        !entries.is_empty() && entries.iter().all(|at| self.rotates(*at, app, loaded))
    }

    fn rotates(&self, at: usize, app: &AppName, loaded: &pando_control::state::State) -> bool {
        let Some(proxy) = self.machines[at].proxy.as_deref() else { return false };
        let current = proxy.version() == loaded.world.table.as_ref().map(|table| table.version);
        current && proxy.serves(app)
    }
}

/// It has replicas that take requests, and replacing them leaves some.
fn keeps_serving(spec: &AppSpec) -> bool {
    let web =
        spec.processes.iter().find(|(name, _)| name.as_str() == "web").map(|(_, process)| process.count);
    let some = !matches!(web, None | Some(ReplicaCount::Total(0) | ReplicaCount::PerServer(0)));
    let rolling = match spec.strategy {
        Strategy::Rolling { max_unavailable, .. } => max_unavailable.floor_of(1) == 0,
        Strategy::Replace => false,
    };
    some && rolling
}
