//! Which replicas are wanted, and where.
//!
//! A replica stays where it is while its server has the role. New ones go to the
//! server with the fewest of the process, then the one with the most free
//! memory, then by name.

use std::collections::BTreeMap;

use pando_model::app::{ProcessSpec, ReplicaCount};
use pando_model::desired::{Instance, Phase};
use pando_model::id::ServerId;
use pando_model::name::{ProcessName, ReplicaName, RoleName};
use pando_model::server::Server;

use crate::input::Input;

/// A wanted replica and its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) replica: ReplicaName,
    pub(crate) server: ServerId,
}

/// What `pando scale` set wins over the release's. A singleton is never more than one, in all.
pub(crate) fn wanted_count(spec: &ProcessSpec, scale: Option<u32>) -> ReplicaCount {
    let wanted = scale.map_or(spec.count, ReplicaCount::Total);
    match wanted {
        ReplicaCount::Total(count) | ReplicaCount::PerServer(count) if spec.singleton => {
            ReplicaCount::Total(count.min(1))
        }
        wanted => wanted,
    }
}

/// The servers with a role: where replicas may stay, and where new ones may go.
#[derive(Debug, Clone)]
pub(crate) struct Homes<'a> {
    /// Lost ones too: nothing moves off a server for its silence alone.
    pub(crate) stay: Vec<&'a Server>,
    pub(crate) go: Vec<&'a Server>,
}

impl<'a> Homes<'a> {
    pub(crate) fn of(input: &Input<'a>, role: &RoleName) -> Self {
        let stay = input.desired.servers.values().filter(|server| server.roles.contains(role)).collect();
        Self { stay, go: input.servers_with(role) }
    }
}

/// The wanted replicas by ordinal. Empty when no server has the role.
pub(crate) fn slots(
    process: &ProcessName,
    count: ReplicaCount,
    places: &Homes<'_>,
    existing: &[&Instance],
) -> Vec<Slot> {
    let homes = homes(&places.stay, existing);
    let servers = places.go.as_slice();
    let placed = match count {
        ReplicaCount::Total(total) => spread(total, servers, &homes),
        ReplicaCount::PerServer(each) => on_each(each, servers, &homes),
    };
    let slot = |(ordinal, server)| Slot { replica: ReplicaName::new(process.clone(), ordinal), server };
    placed.into_iter().map(slot).collect()
}

/// Where each ordinal lives now: the newest instance that isn't on its way out, on a server that still counts.
fn homes(servers: &[&Server], existing: &[&Instance]) -> BTreeMap<u32, ServerId> {
    let mut newest: BTreeMap<u32, &Instance> = BTreeMap::new();
    let staying = existing.iter().filter(|i| matches!(i.phase, Phase::Starting | Phase::Serving { .. }));
    for instance in staying.filter(|i| servers.iter().any(|server| server.id == i.server)) {
        let held = newest.entry(instance.replica.ordinal).or_insert(instance);
        if instance.created_at > held.created_at {
            *held = instance;
        }
    }
    newest.into_iter().map(|(ordinal, instance)| (ordinal, instance.server)).collect()
}

fn spread(total: u32, servers: &[&Server], homes: &BTreeMap<u32, ServerId>) -> BTreeMap<u32, ServerId> {
    let mut placed: BTreeMap<u32, ServerId> =
        homes.iter().filter(|(ordinal, _)| **ordinal <= total).map(|(n, server)| (*n, *server)).collect();
    for ordinal in 1..=total {
        if placed.contains_key(&ordinal) {
            continue;
        }
        let load = |server: &&&Server| placed.values().filter(|at| **at == server.id).count();
        let best = servers.iter().min_by_key(|server| {
            (load(server), std::cmp::Reverse(server.capacity.memory_bytes), server.name.clone())
        });
        let Some(best) = best else { break };
        placed.insert(ordinal, best.id);
    }
    placed
}

fn on_each(each: u32, servers: &[&Server], homes: &BTreeMap<u32, ServerId>) -> BTreeMap<u32, ServerId> {
    let mut placed: BTreeMap<u32, ServerId> = BTreeMap::new();
    let count = |placed: &BTreeMap<u32, ServerId>, server: ServerId| {
        u32::try_from(placed.values().filter(|at| **at == server).count()).unwrap_or(u32::MAX)
    };
    for (ordinal, server) in homes {
        if count(&placed, *server) < each {
            placed.insert(*ordinal, *server);
        }
    }
    for server in servers {
        while count(&placed, server.id) < each {
            let free = (1..).find(|ordinal| !placed.contains_key(ordinal)).unwrap_or(u32::MAX);
            placed.insert(free, server.id);
        }
    }
    placed
}
