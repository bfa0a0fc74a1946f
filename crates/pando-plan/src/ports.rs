//! Which port an instance listens on.
//!
//! A server's ports from 20000 to 32767, below the ephemeral range. One that was
//! freed is not given to another app for 24 h, so that a balancer that missed a
//! table can't send one app's requests to another.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use pando_model::desired::{PortKey, PortLease};
use pando_model::firewall::APP_PORTS;
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::AppName;
use pando_model::time::{Millis, Timestamp};

use crate::action::{Action, Plan};
use crate::input::{Input, World};

const REST: Millis = Millis::from_secs(24 * 3600);
/// A plan is one transaction, and those are bounded: what more there is to take or free waits for the next plan, which follows at
/// once.
const MOST_CHANGES: usize = 2000;

type OfServer<'a> = BTreeMap<u16, Cow<'a, PortLease>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LastLeases {
    GoWithIt,
    Before(Vec<PortKey>),
}

/// Every lease, with the changes that planning made. A server's are looked up when the first of them is needed.
#[derive(Debug)]
pub(crate) struct Ports<'a> {
    desired: &'a World,
    now: Timestamp,
    by_server: BTreeMap<ServerId, OfServer<'a>>,
    changed: BTreeSet<PortKey>,
}

impl<'a> Ports<'a> {
    pub(crate) fn new(input: &Input<'a>) -> Self {
        let (by_server, changed) = (BTreeMap::new(), BTreeSet::new());
        Self { desired: input.desired, now: input.now, by_server, changed }
    }

    /// Takes the lowest port that nobody has had lately, or else the app's own that was freed longest ago. `None`: all are taken.
    pub(crate) fn take(&mut self, server: ServerId, app: &AppName, instance: InstanceId) -> Option<u16> {
        let elsewhere = self.used_elsewhere(server);
        let now = self.now;
        let leases = self.of_server(server);
        let port = unused(leases, &elsewhere, now).or_else(|| longest_free(leases, &elsewhere, app))?;
        let lease = PortLease { app: app.clone(), instance: Some(instance), changed_at: now };
        leases.insert(port, Cow::Owned(lease));
        self.changed.insert(PortKey { server, port });
        Some(port)
    }

    /// The instance is gone; its port rests.
    pub(crate) fn free(&mut self, server: ServerId, port: u16) {
        let now = self.now;
        if let Some(lease) = self.of_server(server).get_mut(&port) {
            let lease = lease.to_mut();
            (lease.instance, lease.changed_at) = (None, now);
            self.changed.insert(PortKey { server, port });
        }
    }

    /// This plan may take or free more.
    pub(crate) fn may_change(&self) -> bool {
        self.changed.len() < MOST_CHANGES
    }

    /// The leases of a server that is to be forgotten: so many that they can go with it, or the first to go before.
    pub(crate) fn last_of(&self, server: ServerId) -> LastLeases {
        let range = PortKey { server, port: 0 }..=PortKey { server, port: u16::MAX };
        let mut keys: Vec<PortKey> = self.desired.ports.range(range).map(|(key, _)| *key).collect();
        if keys.len() <= MOST_CHANGES / 2 {
            return LastLeases::GoWithIt;
        }
        keys.truncate(MOST_CHANGES / 2);
        LastLeases::Before(keys)
    }

    /// Of servers that `is_kept` names: the leases of the others go with them.
    pub(crate) fn record_changes(&self, is_kept: impl Fn(ServerId) -> bool, plan: &mut Plan) {
        for key in self.changed.iter().filter(|key| is_kept(key.server)) {
            let lease = self.by_server.get(&key.server).and_then(|leases| leases.get(&key.port));
            if let Some(lease) = lease.filter(|lease| self.desired.ports.get(key) != Some(&***lease)) {
                let lease = Some(PortLease::clone(lease));
                plan.actions.push(Action::RecordPort { key: *key, lease });
            }
        }
    }

    fn of_server(&mut self, server: ServerId) -> &mut OfServer<'a> {
        let desired = self.desired;
        self.by_server.entry(server).or_insert_with(|| {
            let range = PortKey { server, port: 0 }..=PortKey { server, port: u16::MAX };
            desired.ports.range(range).map(|(key, lease)| (key.port, Cow::Borrowed(lease))).collect()
        })
    }

    /// Where servers share a machine, most programs listen on all of its addresses: what one has, no other can.
    fn used_elsewhere(&self, server: ServerId) -> BTreeSet<u16> {
        if !self.desired.settings.one_machine {
            return BTreeSet::new();
        }
        let recorded = self.desired.ports.iter().filter(|(key, _)| !self.by_server.contains_key(&key.server));
        let recorded = recorded.map(|(key, lease)| (key.server, key.port, lease));
        let changed = self.by_server.iter().flat_map(|(server, leases)| {
            leases.iter().map(move |(port, lease)| (*server, *port, lease.as_ref()))
        });
        let held = recorded.chain(changed).filter(|(of, _, lease)| *of != server && lease.instance.is_some());
        held.map(|(_, port, _)| port).collect()
    }
}

fn unused(leases: &OfServer<'_>, elsewhere: &BTreeSet<u16>, now: Timestamp) -> Option<u16> {
    let mut known = leases.range(APP_PORTS.0..=APP_PORTS.1).peekable();
    (APP_PORTS.0..=APP_PORTS.1).find(|port| {
        let lease = known.next_if(|(held, _)| *held == port).map(|(_, lease)| lease);
        let rested = lease.is_none_or(|l| l.instance.is_none() && now.since(l.changed_at) >= REST);
        rested && !elsewhere.contains(port)
    })
}

fn longest_free(leases: &OfServer<'_>, elsewhere: &BTreeSet<u16>, app: &AppName) -> Option<u16> {
    let free = leases.iter().filter(|(port, lease)| lease.instance.is_none() && !elsewhere.contains(port));
    let own = free.filter(|(_, lease)| lease.app == *app);
    own.min_by_key(|(port, lease)| (lease.changed_at, **port)).map(|(port, _)| *port)
}
