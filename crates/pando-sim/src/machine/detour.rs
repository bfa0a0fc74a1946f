//! The way round, for an agent that is cut off from the control plane: through two other agents each second.
//!
//! They are asked for a newer table, and the first of those who answer gets a
//! report to hand on. And the other side of it: what an agent does for others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_agent::reconcile::Event as AgentInput;
use pando_model::assignment::AssignedRelease;
use pando_model::id::{InstanceId, ServerId, Version};
use pando_model::observed::AgentReport;
use pando_routing::Table;

use super::daemon::AgentEvent;
use crate::control::serve::version;
use crate::message::{Answer, Caller, Question};
use crate::trace::say;
use crate::world::World;

/// Servers that are asked at a time.
const FEW: usize = 2;
/// For one word of theirs.
const WORD: u64 = 450;
/// An older report tells nothing that helps.
const KEPT: u64 = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Detour {
    round: u64,
    /// The calls under way, and the machine that each went to.
    asked: BTreeMap<u64, usize>,
    answered: Vec<usize>,
    before: BTreeSet<InstanceId>,
    /// Reports of others, with when they came.
    relays: BTreeMap<ServerId, (u64, Arc<AgentReport>)>,
}

impl Detour {
    /// What is still to be handed on.
    pub(super) fn waiting(&mut self, now: u64) -> Vec<Arc<AgentReport>> {
        self.relays.retain(|_, (came, _)| now.saturating_sub(*came) < KEPT);
        self.relays.values().map(|(_, report)| Arc::clone(report)).collect()
    }

    /// Those that came before `posted` have arrived.
    pub(super) fn handed_on(&mut self, posted: u64) {
        self.relays.retain(|_, (came, _)| *came >= posted);
    }
}

impl World {
    /// At most two others of the newest assignment, by chance.
    pub(crate) fn some_peers(&mut self, at: usize) -> Vec<usize> {
        let Some(daemon) = self.machines[at].daemon.as_deref() else { return Vec::new() };
        let peers = &daemon.state.ledger().assignment.peers;
        let mut left: Vec<usize> =
            peers.iter().filter_map(|peer| self.by_address.get(&peer.agent_address.ip()).copied()).collect();
        let mut some = Vec::new();
        while some.len() < FEW && !left.is_empty() {
            some.push(left.swap_remove(self.dice.index(left.len())));
        }
        some
    }

    pub(super) fn ask_others(&mut self, at: usize) {
        let peers = self.some_peers(at);
        let before = self.known_endpoints(at);
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let have = daemon.link.newest().map(|table| version(table)).unwrap_or_default();
        let detour = &mut daemon.detour;
        detour.round += 1;
        (detour.before, detour.answered) = (before, Vec::new());
        detour.asked.clear();
        let round = detour.round;
        for peer in peers {
            let call = self.call(at, peer, Question::Table(have), WORD);
            if let Some(daemon) = self.machines[at].daemon.as_deref_mut() {
                daemon.detour.asked.insert(call, peer);
            }
        }
        self.put_agent(at, WORD, AgentEvent::RoundOver(round));
    }

    fn known_endpoints(&self, at: usize) -> BTreeSet<InstanceId> {
        let table = self.machines[at].daemon.as_deref().and_then(|daemon| daemon.link.newest());
        let endpoints = table.into_iter().flat_map(|table| table.endpoints());
        endpoints.map(|(_, endpoint)| InstanceId::from_uuid(endpoint.id.0)).collect()
    }

    pub(super) fn peer_answered(&mut self, at: usize, call: u64, table: Option<Arc<Table>>) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let Some(peer) = daemon.detour.asked.remove(&call) else { return };
        daemon.detour.answered.push(peer);
        let all = daemon.detour.asked.is_empty();
        let round = daemon.detour.round;
        if let Some(table) = table {
            let (version, name) = (table.version, self.machines[peer].name.clone());
            if self.table_came(at, Some(table), None) {
                say!(self, self.machines[at].name, "cut off; {name} has the table {version}");
            }
        }
        if all {
            self.round_over(at, round);
        }
    }

    pub(super) fn round_over(&mut self, at: usize, round: u64) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let detour = &mut daemon.detour;
        if detour.round != round || detour.answered.is_empty() {
            return;
        }
        detour.asked.clear();
        let (answered, before) = (std::mem::take(&mut detour.answered), std::mem::take(&mut detour.before));
        let gone = &before - &self.known_endpoints(at);
        self.feed(at, AgentInput::PeersHeard { gone });
        if let (Some(report), Some(first)) = (self.make_report(at), answered.first()) {
            self.call(at, *first, Question::Relay(report), WORD);
        }
    }

    /// Another agent asks for a newer table.
    pub(crate) fn asked_for_table(&mut self, at: usize, caller: Caller, have: Version) {
        let daemon = self.machines[at].daemon.as_deref();
        let answer = daemon.map_or(Answer::Away, |daemon| {
            let newest = daemon.link.newest().filter(|table| version(table) > have);
            Answer::Table(newest.cloned())
        });
        self.answer(at, caller, answer);
    }

    pub(crate) fn asked_to_relay(&mut self, at: usize, caller: Caller, report: Arc<AgentReport>) {
        let now = self.now;
        let answer = match self.machines[at].daemon.as_deref_mut() {
            None => Answer::Away,
            Some(daemon) if daemon.line.is_cut() => Answer::Refused,
            Some(daemon) => {
                daemon.detour.relays.insert(report.server, (now, report));
                Answer::Taken
            }
        };
        let taken = matches!(answer, Answer::Taken);
        self.answer(at, caller, answer);
        if taken {
            self.report_soon(at);
        }
    }

    /// The control server has every packed release; other servers those that they have themselves.
    pub(crate) fn asked_for_release(&mut self, at: usize, caller: Caller, release: &AssignedRelease) {
        let machine = &self.machines[at];
        let own = machine.disk.releases.get(&(release.app.clone(), release.release));
        let held =
            machine.daemon.is_some() && own.is_some_and(|made| made.as_ref() == release.artifact.as_ref());
        let has = held || (at == self.control.machine && self.control.running.is_some());
        self.answer(at, caller, if has { Answer::Fetched } else { Answer::Away });
    }
}
