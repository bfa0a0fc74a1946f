//! Releases on a machine's disk: fetched from the control server or another, unpacked, sealed, removed.
//!
//! As in the real agent, what is asked of one release is done one after another,
//! and a removal ends what is under way.

use std::collections::VecDeque;

use pando_agent::reconcile::{Event as AgentInput, ReleaseKey};
use pando_model::assignment::AssignedRelease;

use super::daemon::AgentEvent;
use crate::message::Question;
use crate::world::World;

const FETCH_AGAIN: u64 = 500;
const FETCH_WITHIN: u64 = 10_000;

#[derive(Debug, Clone)]
pub(crate) enum Order {
    Ensure(AssignedRelease),
    Seal(AssignedRelease),
    Remove(ReleaseKey),
}

/// What is asked of one release, the order under way first.
#[derive(Debug, Default)]
pub(crate) struct Job {
    orders: VecDeque<Order>,
    stage: Stage,
    call: Option<u64>,
    turn: u64,
    /// A removal waits: what is under way is given up.
    stopped: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Begin,
    Fetch,
    Unpack,
}

impl Order {
    fn key(&self) -> ReleaseKey {
        match self {
            Self::Ensure(release) | Self::Seal(release) => (release.app.clone(), release.release),
            Self::Remove(key) => key.clone(),
        }
    }
}

impl World {
    pub(crate) fn order(&mut self, at: usize, order: Order) {
        let key = order.key();
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let job = daemon.jobs.entry(key.clone()).or_default();
        let idle = job.orders.is_empty();
        let removes = matches!(order, Order::Remove(_));
        job.orders.push_back(order);
        if idle || removes {
            job.stopped = !idle;
            self.next_step(at, &key, 1, 20);
        }
    }

    fn next_step(&mut self, at: usize, key: &ReleaseKey, least: u64, most: u64) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        daemon.turns += 1;
        let turn = daemon.turns;
        if let Some(job) = daemon.jobs.get_mut(key) {
            job.turn = turn;
            self.put_agent_soon(at, least, most, AgentEvent::JobStep(key.clone(), turn));
        }
    }

    fn job(&mut self, at: usize, key: &ReleaseKey) -> Option<&mut Job> {
        self.machines[at].daemon.as_deref_mut()?.jobs.get_mut(key)
    }

    pub(crate) fn job_step(&mut self, at: usize, key: &ReleaseKey, turn: u64) {
        let Some(job) = self.job(at, key).filter(|job| job.turn == turn) else { return };
        let (stage, stopped) = (job.stage, job.stopped);
        let Some(order) = job.orders.front().cloned() else { return };
        match order {
            Order::Ensure(_) if stopped => {
                self.job_failed(at, key, "stopped before it was done");
            }
            Order::Ensure(release) => self.ensure_step(at, key, &release, stage),
            Order::Seal(release) => {
                if self.machines[at].disk.full {
                    return self.job_failed(at, key, "no space left on the disk");
                }
                self.machines[at].disk.releases.insert(key.clone(), release.artifact);
                self.job_done(at, key, AgentInput::ReleaseReady(key.clone()));
            }
            Order::Remove(_) => {
                self.machines[at].disk.releases.remove(key);
                self.job_done(at, key, AgentInput::ReleaseRemoved(key.clone()));
            }
        }
    }

    fn ensure_step(&mut self, at: usize, key: &ReleaseKey, release: &AssignedRelease, stage: Stage) {
        match stage {
            Stage::Begin if self.is_sealed(at, key, release) => {
                self.job_done(at, key, AgentInput::ReleaseReady(key.clone()));
            }
            Stage::Begin => {
                self.machines[at].disk.releases.insert(key.clone(), None);
                self.set_stage(at, key, Stage::Fetch);
                self.fetch(at, key, release);
            }
            Stage::Fetch => self.fetch(at, key, release),
            Stage::Unpack if self.apps.is_too_large(key) || self.machines[at].disk.full => {
                self.job_failed(at, key, "no space left on the disk");
            }
            Stage::Unpack => self.job_done(at, key, AgentInput::ReleaseUnpacked(key.clone())),
        }
    }

    fn is_sealed(&self, at: usize, key: &ReleaseKey, release: &AssignedRelease) -> bool {
        let held = self.machines[at].disk.releases.get(key);
        held.is_some_and(|sealed| sealed.as_ref() == release.artifact.as_ref())
    }

    fn set_stage(&mut self, at: usize, key: &ReleaseKey, stage: Stage) {
        if let Some(job) = self.job(at, key) {
            job.stage = stage;
        }
    }

    /// Of the control server, or of another server: whoever has it.
    fn fetch(&mut self, at: usize, key: &ReleaseKey, release: &AssignedRelease) {
        let question = Question::Fetch(Box::new(release.clone()));
        let peers = self.some_peers(at);
        let call = match peers.first() {
            Some(peer) if self.dice.chance(50) => self.call(at, *peer, question, FETCH_WITHIN),
            _ => self.call_control(at, question, FETCH_WITHIN),
        };
        if let Some(job) = self.job(at, key) {
            job.call = Some(call);
        }
    }

    fn fetching(&self, at: usize, call: u64) -> Option<ReleaseKey> {
        let jobs = &self.machines[at].daemon.as_deref()?.jobs;
        jobs.iter().find(|(_, job)| job.call == Some(call)).map(|(key, _)| key.clone())
    }

    pub(crate) fn release_fetched(&mut self, at: usize, call: u64) {
        let Some(key) = self.fetching(at, call) else { return };
        if let Some(job) = self.job(at, &key) {
            (job.call, job.stage) = (None, Stage::Unpack);
        }
        self.feed(at, AgentInput::ReleaseFetched(key.clone()));
        self.next_step(at, &key, 20, 800);
    }

    pub(crate) fn fetch_failed(&mut self, at: usize, call: u64) {
        let Some(key) = self.fetching(at, call) else { return };
        if let Some(job) = self.job(at, &key) {
            job.call = None;
        }
        self.next_step(at, &key, FETCH_AGAIN, FETCH_AGAIN);
    }

    fn job_failed(&mut self, at: usize, key: &ReleaseKey, why: &str) {
        let event = AgentInput::ReleaseFailed { release: key.clone(), message: why.to_owned() };
        self.job_done(at, key, event);
    }

    fn job_done(&mut self, at: usize, key: &ReleaseKey, event: AgentInput) {
        if let Some(job) = self.job(at, key) {
            job.orders.pop_front();
            (job.stage, job.call) = (Stage::Begin, None);
            job.stopped = job.orders.iter().any(|order| matches!(order, Order::Remove(_)));
            if !job.orders.is_empty() {
                self.next_step(at, key, 1, 10);
            }
        }
        self.feed(at, event);
    }
}
