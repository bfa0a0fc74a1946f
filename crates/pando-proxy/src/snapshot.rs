//! One immutable view of a table with the live state behind it.
//!
//! Requests load the current one and match and pick from it. Swapping it is what a
//! new table does; see `tables`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use pando_routing::{Algorithm, EndpointId, EndpointState, Match, Matcher, PoolId, Table, Timeouts};

use crate::https::HttpsRules;
use crate::live::{Endpoint, PoolLive, Registry};

/// A table, ready to be asked.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<Table>,
    pub(crate) https: HttpsRules,
    matcher: Matcher,
    pools: HashMap<PoolId, Arc<PoolView>>,
    /// Of each rule.
    targets: Vec<Option<Arc<PoolView>>>,
}

/// One pool of one table.
#[derive(Debug)]
pub(crate) struct PoolView {
    pub(crate) algorithm: Algorithm,
    pub(crate) timeouts: Timeouts,
    /// Endpoints that the table calls active, in rotation or not; those of the table's own locality first.
    pub(crate) active: Box<[Arc<Endpoint>]>,
    /// How many of them are of the table's own locality; without one, none.
    pub(crate) local: usize,
    pub(crate) live: Arc<PoolLive>,
}

impl PoolView {
    /// Whether some endpoint was not looked at yet.
    pub(crate) fn has_unseen(&self) -> bool {
        self.active.iter().any(|endpoint| !endpoint.was_looked_at())
    }
}

impl Snapshot {
    /// `registry` must have been renewed with `table`.
    pub(crate) fn new(table: Arc<Table>, https: HttpsRules, registry: &Registry) -> Self {
        let matcher = Matcher::new(&table);
        let view = |(id, pool): (&PoolId, &pando_routing::Pool)| {
            let live = Arc::clone(registry.pool(id)?);
            let (active, local) = near_first(&table, pool, registry);
            let (algorithm, timeouts) = (pool.algorithm.clone(), pool.timeouts);
            Some((id.clone(), Arc::new(PoolView { algorithm, timeouts, active, local, live })))
        };
        let pools: HashMap<_, _> = table.pools.iter().filter_map(view).collect();
        let targets = table.rules.iter().map(|rule| pools.get(&rule.pool).cloned()).collect();
        Self { table, https, matcher, pools, targets }
    }

    /// The rule and the pool for a request.
    pub(crate) fn find(&self, host: &[u8], path: &[u8]) -> Option<(Match, &Arc<PoolView>)> {
        let found = self.matcher.find(host, path)?;
        Some((found, self.targets.get(found.rule)?.as_ref()?))
    }

    /// Every endpoint that the table calls active.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.pools.values().flat_map(|pool| pool.active.iter())
    }

    pub(crate) fn not_in_rotation(&self) -> BTreeSet<EndpointId> {
        self.active().filter(|endpoint| !endpoint.in_rotation()).map(|endpoint| endpoint.id).collect()
    }
}

/// The pool's active endpoints, and how many of them (the first) are where the table prefers them.
fn near_first(
    table: &Table,
    pool: &pando_routing::Pool,
    registry: &Registry,
) -> (Box<[Arc<Endpoint>]>, usize) {
    let is_local =
        |endpoint: &pando_routing::Endpoint| table.locality.is_some() && endpoint.locality == table.locality;
    let active = pool.endpoints.iter().filter(|endpoint| endpoint.state == EndpointState::Active);
    let (near, far): (Vec<_>, Vec<_>) = active.partition(|endpoint| is_local(endpoint));
    let live = |endpoints: Vec<&pando_routing::Endpoint>| -> Vec<Arc<Endpoint>> {
        endpoints.into_iter().filter_map(|endpoint| registry.endpoint(endpoint.id).cloned()).collect()
    };
    let mut all = live(near);
    let local = all.len();
    all.extend(live(far));
    (all.into(), local)
}
