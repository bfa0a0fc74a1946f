//! Every endpoint and pool that lives, by id.
//!
//! Only a new table changes it. An endpoint that left the table is remembered until
//! its last request ends, a pool that left keeps its counters.

use std::collections::HashMap;
use std::sync::Arc;

use pando_routing::{EndpointId, PoolId, Table};

use super::PoolLive;
use super::endpoint::Endpoint;

/// Pools that have left the table and are remembered for their last counters; a bound, not a wish.
const REMEMBERED_POOLS: usize = 512;

/// Live state by id.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Threads that serve.
    workers: usize,
    endpoints: HashMap<EndpointId, Arc<Endpoint>>,
    leaving: Vec<Arc<Endpoint>>,
    pools: HashMap<PoolId, Arc<PoolLive>>,
    /// Pools that no table names any more, longest gone first.
    departed: Vec<PoolId>,
}

/// What a new table makes of the registry.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// Made for this table; nobody probes them yet.
    pub(crate) new: Vec<Arc<Endpoint>>,
    /// No longer in the table.
    pub(crate) gone: Vec<Arc<Endpoint>>,
}

impl Registry {
    pub(crate) fn new(workers: usize) -> Self {
        let (endpoints, pools) = (HashMap::new(), HashMap::new());
        Self { workers, endpoints, leaving: Vec::new(), pools, departed: Vec::new() }
    }

    /// Finds or makes the live state of everything in `table`. `make` is called for an id that is new or has moved to
    /// another address.
    pub(crate) fn renew(
        &mut self,
        table: &Table,
        make: impl Fn(&pando_routing::Endpoint) -> Arc<Endpoint>,
    ) -> Renewal {
        let mut before = std::mem::take(&mut self.endpoints);
        let mut new = Vec::new();
        for (_, wanted) in table.endpoints() {
            let kept = before.remove(&wanted.id).filter(|live| {
                let same = live.address == wanted.address;
                if !same {
                    self.leaving.push(Arc::clone(live));
                }
                same
            });
            let live = kept.unwrap_or_else(|| {
                let made = make(wanted);
                new.push(Arc::clone(&made));
                made
            });
            self.endpoints.insert(wanted.id, live);
        }
        self.leaving.extend(before.into_values());
        self.renew_pools(table);
        Renewal { new, gone: self.leaving.clone() }
    }

    fn renew_pools(&mut self, table: &Table) {
        for id in table.pools.keys() {
            let make = || Arc::new(PoolLive::new(id.clone(), self.workers));
            self.pools.entry(id.clone()).or_insert_with(make);
        }
        self.departed.retain(|id| !table.pools.contains_key(id));
        let left: Vec<PoolId> = self
            .pools
            .keys()
            .filter(|id| !table.pools.contains_key(id) && !self.departed.contains(id))
            .cloned()
            .collect();
        self.departed.extend(left);
        let surplus = self.departed.len().saturating_sub(REMEMBERED_POOLS);
        for id in self.departed.drain(..surplus) {
            self.pools.remove(&id);
        }
    }

    pub(crate) fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id)
    }

    pub(crate) fn pool(&self, id: &PoolId) -> Option<&Arc<PoolLive>> {
        self.pools.get(id)
    }

    /// All pools, those that have left the table too.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Arc<PoolLive>> {
        self.pools.values()
    }

    /// All endpoints, those that have left the table and still have requests too.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values().chain(&self.leaving)
    }

    /// Those of the table.
    pub(crate) fn current(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    /// Forgets endpoints that have left the table and have nothing under way.
    pub(crate) fn forget_idle(&mut self) {
        self.leaving.retain(|endpoint| endpoint.in_flight() > 0);
    }
}
