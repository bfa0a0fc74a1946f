//! What planning starts from, and the questions that it asks of it.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::desired::{Desired, PortKey, PortLease};
use pando_model::id::{Entropy, InstanceId, ServerId, Version};
use pando_model::name::RoleName;
use pando_model::observed::{AgentReport, InstanceState, InstanceStatus, Observed, ProxyStatus};
use pando_model::server::Server;
use pando_model::time::{Millis, Timestamp};
use pando_routing::{EndpointId, EndpointState, Table, TableVersion};

/// A server that was silent for so long is suspect.
pub const SUSPECT_AFTER: Millis = Millis::from_secs(6);
/// A server, or a load balancer, that was silent for so long is lost: it is waited for no more.
pub const LOST_AFTER: Millis = Millis::from_secs(20);
/// Nothing is lost so soon after a control plane starts.
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
    /// Not heard yet since this control plane started.
    Unknown,
    Lost,
}

impl<'a> Input<'a> {
    #[must_use]
    pub fn liveness(&self, server: ServerId) -> Liveness {
        let in_grace = self.now.since(self.observed.since) < GRACE;
        let Some(seen) = self.observed.servers.get(&server) else {
            return if in_grace { Liveness::Unknown } else { Liveness::Lost };
        };
        match self.now.since(seen.heard_at) {
            silence if silence >= LOST_AFTER && !in_grace => Liveness::Lost,
            silence if silence >= SUSPECT_AFTER => Liveness::Suspect,
            _ => Liveness::Alive,
        }
    }

    #[must_use]
    pub fn report(&self, server: ServerId) -> Option<&AgentReport> {
        self.observed.servers.get(&server).map(|seen| &seen.report)
    }

    #[must_use]
    pub fn status(&self, server: ServerId, instance: InstanceId) -> Option<&InstanceStatus> {
        self.report(server)?.instances.get(&instance)
    }

    /// Since when an instance has been ready without a break, by this clock. `None`: it isn't, as far as is known.
    #[must_use]
    pub fn ready_since(&self, server: ServerId, instance: InstanceId) -> Option<Timestamp> {
        if self.liveness(server) == Liveness::Lost {
            return None;
        }
        let seen = self.observed.servers.get(&server)?;
        let status = seen.report.instances.get(&instance)?;
        match (&status.state, status.ready_for) {
            (InstanceState::Ready, Some(length)) => Some(seen.reported_at - length),
            _ => None,
        }
    }

    /// The servers that take requests from outside.
    fn entry_points(&self) -> impl Iterator<Item = &Server> {
        self.desired.servers.values().filter(|server| server.is_entry_point(&self.desired.settings))
    }

    /// The load balancers that publishing waits for, with what each last said.
    pub fn live_proxies(&self) -> impl Iterator<Item = (&Server, Option<&ProxyStatus>)> {
        let servers = self.entry_points();
        servers.filter(|server| self.is_proxy_live(server.id)).map(|server| {
            let status = self.report(server.id).and_then(|report| report.proxy.as_ref());
            (server, status)
        })
    }

    fn is_proxy_live(&self, server: ServerId) -> bool {
        if self.liveness(server) == Liveness::Lost {
            return false;
        }
        let in_grace = self.now.since(self.observed.since) < GRACE;
        let heard = self.observed.servers.get(&server).and_then(|seen| seen.proxy_heard_at);
        in_grace || heard.is_some_and(|at| self.now.since(at) < LOST_AFTER)
    }

    /// Some server is to balance, but no balancer is alive.
    #[must_use]
    pub fn lacks_every_proxy(&self) -> bool {
        self.entry_points().next().is_some() && self.live_proxies().next().is_none()
    }

    /// Every live load balancer uses the published table.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let Some(table) = &self.desired.table else { return false };
        let wanted = version_of(table.version);
        self.live_proxies().all(|(_, status)| {
            status.is_some_and(|status| status.alive && status.acknowledged.is_some_and(|has| has >= wanted))
        })
    }

    /// Every live load balancer sends requests to the instance.
    #[must_use]
    pub fn is_in_rotation(&self, instance: InstanceId) -> bool {
        let active = self.published_state(instance) == Some(EndpointState::Active);
        active
            && !self.lacks_every_proxy()
            && self.is_settled()
            && self
                .live_proxies()
                .all(|(_, status)| status.is_some_and(|status| !status.not_in_rotation.contains(&instance)))
    }

    /// No live load balancer sends anything to the instance, nor waits for an answer from it.
    #[must_use]
    pub fn is_idle_everywhere(&self, instance: InstanceId) -> bool {
        self.is_drained(instance)
            && self
                .live_proxies()
                .all(|(_, status)| status.is_some_and(|status| !status.in_flight.contains_key(&instance)))
    }

    /// Every live load balancer has confirmed that the instance gets nothing new.
    #[must_use]
    pub fn is_drained(&self, instance: InstanceId) -> bool {
        !matches!(self.published_state(instance), Some(EndpointState::Active)) && self.is_settled()
    }

    /// As the published table has it.
    #[must_use]
    pub fn published_state(&self, instance: InstanceId) -> Option<EndpointState> {
        let id = EndpointId(instance.as_uuid());
        let table = self.desired.table.as_ref()?;
        table.endpoints().find(|(_, endpoint)| endpoint.id == id).map(|(_, endpoint)| endpoint.state)
    }

    /// The agent acts on an assignment without the instance, and nothing of it is left.
    #[must_use]
    pub fn is_gone(&self, server: ServerId, instance: InstanceId) -> bool {
        if !self.desired.servers.contains_key(&server) {
            return true;
        }
        let (Some(report), Some(published)) = (self.report(server), self.desired.assignments.get(&server))
        else {
            return false;
        };
        !published.instances.contains_key(&instance)
            && report.assignment >= published.version
            && !report.instances.contains_key(&instance)
    }

    /// The servers with a role, but for lost ones, by name.
    #[must_use]
    pub fn servers_with(&self, role: &RoleName) -> Vec<&'a Server> {
        let desired: &'a World = self.desired;
        let mut servers: Vec<&Server> = desired
            .servers
            .values()
            .filter(|server| server.roles.contains(role) && self.liveness(server.id) != Liveness::Lost)
            .collect();
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        servers
    }
}

/// The store's and the table's versions are the same pair.
#[must_use]
pub fn version_of(version: TableVersion) -> Version {
    Version::new(version.epoch, version.revision)
}

/// The input with what planning uses up on its way.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) input: &'a Input<'a>,
    pub(crate) entropy: Entropy,
    pub(crate) ports: BTreeMap<PortKey, PortLease>,
    pub(crate) wakes: BTreeSet<Timestamp>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(input: &'a Input<'a>) -> Self {
        let mut context = Self {
            input,
            entropy: Entropy::from_seed(input.seed),
            ports: input.desired.ports.clone(),
            wakes: BTreeSet::new(),
        };
        context.wake_for_silence();
        context
    }

    /// Silence is no event: somebody must look when it has lasted long enough.
    fn wake_for_silence(&mut self) {
        let input = self.input;
        self.wakes.insert(input.observed.since + GRACE);
        for seen in input.observed.servers.values() {
            self.wakes.insert(seen.heard_at + SUSPECT_AFTER);
            self.wakes.insert(seen.heard_at + LOST_AFTER);
            self.wakes.extend(seen.proxy_heard_at.map(|at| at + LOST_AFTER));
        }
    }
}
