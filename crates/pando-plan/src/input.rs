//! What planning starts from.

use pando_model::desired::Desired;
use pando_model::id::{InstanceId, ServerId, Version};
use pando_model::observed::{AgentReport, InstanceState, InstanceStatus, Observed, ServerObserved};
use pando_model::time::{Millis, Timestamp};
use pando_routing::{Table, TableVersion};

/// A server that was silent for so long is suspect.
pub const SUSPECT_AFTER: Millis = Millis::from_secs(6);
/// A server, or a load balancer, that was silent for so long is lost: it is waited for no more.
pub const LOST_AFTER: Millis = Millis::from_secs(20);
/// Nothing is lost so soon after a control plane starts, nor a server so soon after it joined.
pub const GRACE: Millis = Millis::from_secs(30);
/// A table must be in use on every live load balancer within this, or the deployment fails.
pub const ACKNOWLEDGE_WITHIN: Millis = Millis::from_secs(10);

/// Everything that is wanted, with the routing table of the data plane.
pub type World = Desired<Table>;

#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What people asked for, and what was decided so far.
    pub desired: &'a World,
    /// What agents and proxies last reported, each fact dated.
    pub observed: &'a Observed,
    pub now: Timestamp,
    /// Everything random is drawn from it.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    Alive,
    /// Silent for a while; balancers see for themselves what of it serves.
    Suspect,
    /// Not heard yet since this control plane started, or since it joined.
    Unknown,
    Lost,
}

impl<'a> Input<'a> {
    /// By whatever is heard of it, be it brought by another server.
    #[must_use]
    pub fn liveness(&self, server: ServerId) -> Liveness {
        self.judged(server, |seen| seen.reported_at)
    }

    /// By what it says to the control plane itself. Never better than [`Input::liveness`]. Lost, yet alive: nothing can be told
    /// to it, as nobody but the control plane brings it orders.
    #[must_use]
    pub fn contact(&self, server: ServerId) -> Liveness {
        self.judged(server, |seen| seen.heard_at)
    }

    fn judged(&self, server: ServerId, heard_at: impl Fn(&ServerObserved) -> Timestamp) -> Liveness {
        let Some(seen) = self.observed.servers.get(&server) else { return self.never_heard(server) };
        match self.now.since(heard_at(seen)) {
            silence if silence >= LOST_AFTER && !self.in_grace() => Liveness::Lost,
            silence if silence >= SUSPECT_AFTER => Liveness::Suspect,
            _ => Liveness::Alive,
        }
    }

    fn never_heard(&self, server: ServerId) -> Liveness {
        let joined = self.desired.servers.get(&server).map(|server| server.joined_at);
        let just_joined = joined.is_some_and(|at| self.now.since(at) < GRACE);
        if just_joined || self.in_grace() { Liveness::Unknown } else { Liveness::Lost }
    }

    /// The control plane listens for so short a time that silence says nothing yet.
    pub(crate) fn in_grace(&self) -> bool {
        self.now.since(self.observed.since) < GRACE
    }

    #[must_use]
    pub fn report(&self, server: ServerId) -> Option<&'a AgentReport> {
        self.observed.servers.get(&server).map(|seen| &seen.report)
    }

    #[must_use]
    pub fn status(&self, server: ServerId, instance: InstanceId) -> Option<&'a InstanceStatus> {
        self.report(server)?.instances.get(&instance)
    }

    /// Since when an instance has been ready without a break, by this clock. `None`: it isn't, as far as is known.
    #[must_use]
    pub fn ready_since(&self, server: ServerId, instance: InstanceId) -> Option<Timestamp> {
        if self.liveness(server) == Liveness::Lost {
            return None;
        }
        let seen = self.observed.servers.get(&server)?.as_ref();
        ready_since(seen, seen.report.instances.get(&instance)?)
    }
}

/// Since when the instance of a report has been ready without a break, by this clock.
pub(crate) fn ready_since(seen: &ServerObserved, status: &InstanceStatus) -> Option<Timestamp> {
    match (&status.state, status.ready_for) {
        (InstanceState::Ready, Some(length)) => Some(seen.reported_at - length),
        _ => None,
    }
}

/// What is known of a server once a report of it has come at `now`. `before`: what was known until then.
#[must_use]
pub fn heard(before: Option<&ServerObserved>, report: AgentReport, now: Timestamp) -> ServerObserved {
    let last = before.and_then(|before| before.proxy_heard_at);
    let alive = report.proxy.as_ref().is_some_and(|proxy| proxy.alive);
    let goes_on = last.is_some_and(|last| now.since(last) < SUSPECT_AFTER);
    let back_at = before.and_then(|before| before.proxy_back_at);
    let (proxy_heard_at, proxy_back_at) = match (alive, goes_on) {
        (false, _) => (last, back_at),
        (true, true) => (Some(now), back_at),
        (true, false) => (Some(now), Some(now)),
    };
    ServerObserved { heard_at: now, reported_at: now, proxy_heard_at, proxy_back_at, report }
}

/// The same when another server brought the report: its author did not speak itself.
#[must_use]
pub fn relayed(observed: &Observed, report: AgentReport, now: Timestamp) -> ServerObserved {
    let before = observed.servers.get(&report.server).map(AsRef::as_ref);
    let heard_at = before.map_or(observed.since, |before| before.heard_at);
    ServerObserved { heard_at, ..heard(before, report, now) }
}

/// The store's and the table's versions are the same pair.
#[must_use]
pub fn version_of(version: TableVersion) -> Version {
    Version::new(version.epoch, version.revision)
}
