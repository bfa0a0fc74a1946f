//! One immutable view of a table with the live state behind it.
//!
//! Requests load the current one and match and pick from it. Swapping it is what a
//! new table does; see `tables`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pando_routing::balance::hash::{Places, SecretKey};
use pando_routing::balance::sticky::Tokens;
use pando_routing::balance::tier::Tiers;
use pando_routing::{
    Algorithm, Asks, Destination, EndpointId, EndpointState, Match, Matcher, Pool, PoolId, ProbeKind, Rule,
    Sticky, Table,
};

use crate::https::HttpsRules;
use crate::live::{Endpoint, PoolLive, Registry};
use crate::rules::route::{self, Shared};
use crate::rules::{Route, RouteLive};
use crate::upstream::Outbounds;

/// A table, ready to be asked.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<Table>,
    pub(crate) https: HttpsRules,
    /// How connections to endpoints are made secure.
    pub(crate) outbounds: Outbounds,
    matcher: Matcher,
    pools: HashMap<PoolId, Arc<PoolView>>,
    /// Of each rule.
    targets: Vec<Option<Lead>>,
    /// What its rules share.
    pub(crate) shared: Shared,
    /// What cookies and places are keyed by.
    pub(crate) key: SecretKey,
}

/// Where a rule leads.
#[derive(Debug)]
pub(crate) enum Lead {
    /// There, and that is all; if it has a name, it is counted.
    Plain(Arc<PoolView>, Option<Arc<RouteLive>>),
    Ruled(Arc<Route>),
}

/// One pool of one table.
#[derive(Debug)]
pub(crate) struct PoolView {
    /// Tells one view from every other.
    pub(crate) serial: u64,
    /// All that the table says of it, but for the endpoints.
    pub(crate) settings: Pool,
    /// Endpoints that the table calls active, in rotation or not, by tier.
    pub(crate) active: Box<[Arc<Endpoint>]>,
    /// Of each of them.
    pub(crate) weights: Box<[u32]>,
    pub(crate) heaviest: u32,
    pub(crate) tiers: Tiers,
    /// Where keys belong, if the algorithm goes by keys.
    pub(crate) places: Option<Places>,
    pub(crate) sticky: Option<StickyView>,
    pub(crate) key: SecretKey,
    pub(crate) live: Arc<PoolLive>,
}

/// Whom visitors stay with.
#[derive(Debug)]
pub(crate) struct StickyView {
    pub(crate) policy: Sticky,
    /// Of the active endpoints, then of those that leave.
    pub(crate) tokens: Tokens,
    /// Endpoints that the table has drain.
    pub(crate) leaving: Box<[Arc<Endpoint>]>,
}

impl PoolView {
    fn new(table: &Table, pool: &Pool, key: SecretKey, registry: &Registry, live: Arc<PoolLive>) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let (active, tiers) = by_tier(table, pool);
        let weights: Box<[u32]> = active.iter().map(|endpoint| endpoint.weight).collect();
        let places = match &pool.algorithm {
            Algorithm::Hash { bound_percent, .. } => {
                let names: Vec<_> = active.iter().map(|endpoint| name_of(endpoint)).collect();
                Some(Places::new(&key, names.iter().map(|name| &**name), *bound_percent))
            }
            _ => None,
        };
        Self {
            serial: SERIAL.fetch_add(1, Relaxed),
            settings: settings_of(pool),
            heaviest: weights.iter().copied().max().unwrap_or(1),
            weights,
            tiers,
            places,
            sticky: pool.sticky.as_ref().map(|policy| sticky(policy, pool, &active, &key, registry)),
            key,
            active: alive(&active, registry),
            live,
        }
    }

    /// Whether some endpoint was not looked at yet.
    pub(crate) fn has_unseen(&self) -> bool {
        self.active.iter().any(|endpoint| !endpoint.was_looked_at())
    }

    /// How long somebody who was in rotation a moment ago is worth waiting for. Without looks nobody would be seen to be back, and whoever
    /// is there was never seen to be.
    pub(crate) fn return_within(&self, now: u64) -> Duration {
        let looked_at = self.active.iter().filter(|_| self.settings.probe.kind != ProbeKind::None);
        Duration::from_micros(looked_at.map(|endpoint| endpoint.may_be_back_within(now)).max().unwrap_or(0))
    }

    /// Whether somebody but this one is in rotation.
    pub(crate) fn has_other(&self, one: &Arc<Endpoint>) -> bool {
        self.active.iter().any(|endpoint| !Arc::ptr_eq(endpoint, one) && self.is_ready(endpoint))
    }
}

/// The pool's active endpoints in the order of its tiers.
fn by_tier<'t>(table: &Table, pool: &'t Pool) -> (Vec<&'t pando_routing::Endpoint>, Tiers) {
    let active: Vec<_> =
        pool.endpoints.iter().filter(|endpoint| endpoint.state == EndpointState::Active).collect();
    let is_near =
        |endpoint: &pando_routing::Endpoint| table.locality.is_some() && endpoint.locality == table.locality;
    let keys: Vec<_> = active.iter().map(|endpoint| (endpoint.priority, is_near(endpoint))).collect();
    let tiers = Tiers::new(&keys);
    (tiers.order().iter().map(|n| active[*n]).collect(), tiers)
}

fn alive(endpoints: &[&pando_routing::Endpoint], registry: &Registry) -> Box<[Arc<Endpoint>]> {
    // A registry that was renewed with the table has them all; places in weights and tiers depend on it.
    endpoints.iter().filter_map(|endpoint| registry.endpoint(endpoint.id).cloned()).collect()
}

fn sticky(
    policy: &Sticky,
    pool: &Pool,
    active: &[&pando_routing::Endpoint],
    key: &SecretKey,
    registry: &Registry,
) -> StickyView {
    let leaving: Vec<_> =
        pool.endpoints.iter().filter(|endpoint| endpoint.state != EndpointState::Active).collect();
    let names: Vec<_> = active.iter().chain(&leaving).map(|endpoint| name_of(endpoint)).collect();
    StickyView {
        policy: policy.clone(),
        tokens: Tokens::new(key, names.iter().map(|name| &**name)),
        leaving: alive(&leaving, registry),
    }
}

/// The name that a replica has again when it is replaced; without one, what it is known by here.
fn name_of(endpoint: &pando_routing::Endpoint) -> Cow<'_, str> {
    match &*endpoint.name {
        "" => Cow::Owned(endpoint.id.to_string()),
        name => Cow::Borrowed(name),
    }
}

fn target(rule: &Rule, parts: &route::Parts<'_>, labels: &mut route::Labels) -> Option<Lead> {
    match (Route::of(rule, parts, labels), &rule.to) {
        (Some(route), _) => Some(Lead::Ruled(route)),
        (None, Destination::Pool(pool)) => {
            Some(Lead::Plain((parts.pool)(pool)?, route::counted(rule, parts, labels)))
        }
        (None, _) => None,
    }
}

fn settings_of(pool: &Pool) -> Pool {
    Pool {
        endpoints: Vec::new(),
        algorithm: pool.algorithm.clone(),
        protocol: pool.protocol,
        tls: pool.tls.clone(),
        proxy_protocol: pool.proxy_protocol,
        probe: pool.probe.clone(),
        timeouts: pool.timeouts,
        slow_start_millis: pool.slow_start_millis,
        sticky: pool.sticky.clone(),
        outlier: pool.outlier.clone(),
        retry: pool.retry.clone(),
        hedge: pool.hedge.clone(),
        max_in_flight: pool.max_in_flight,
        adaptive_limit: pool.adaptive_limit.clone(),
        queue: pool.queue.clone(),
        drain: pool.drain.clone(),
        when_all_down: pool.when_all_down,
    }
}

impl Snapshot {
    /// `registry` must have been renewed with `table`; `key` is used where the table has none. What is as it was `before` is taken from
    /// there: of thousands of pools a table changes few.
    /// What rules keep is taken from there too.
    pub(crate) fn new(
        table: Arc<Table>,
        (https, outbounds): (HttpsRules, Outbounds),
        key: SecretKey,
        registry: &Registry,
        before: Option<&Self>,
    ) -> Self {
        let matcher = Matcher::new(&table);
        let key = table.secret.balancing_key.unwrap_or(key);
        let view = |(id, pool): (&PoolId, &Pool)| {
            if let Some(kept) = before.and_then(|before| before.kept(&table, id, pool, key, registry)) {
                return Some((id.clone(), kept));
            }
            let live = Arc::clone(registry.pool(id)?);
            Some((id.clone(), Arc::new(PoolView::new(&table, pool, key, registry, live))))
        };
        let pools: HashMap<_, _> = table.pools.iter().filter_map(view).collect();
        let shared = Shared::of(&table, before.map(|before| &before.shared));
        let known = before.map(Self::routes_by_label).unwrap_or_default();
        let kept: HashMap<&str, &Arc<RouteLive>> = match before {
            Some(before) => before.counted().map(|live| (&*live.label, live)).collect(),
            None => HashMap::new(),
        };
        let parts = route::Parts {
            shared: &shared,
            pool: &|id| pools.get(id).cloned(),
            before: &|label| known.get(label).map(|route| Arc::clone(route)),
            live: &|label| kept.get(label).map(|live| Arc::clone(live)),
        };
        let mut labels = HashMap::new();
        let targets = table.rules.iter().map(|rule| target(rule, &parts, &mut labels)).collect();
        Self { https, outbounds, matcher, targets, shared, key, pools, table }
    }

    /// The pool as it is here, if the next table's is the same with the same live state.
    fn kept(
        &self,
        table: &Table,
        id: &PoolId,
        pool: &Pool,
        key: SecretKey,
        registry: &Registry,
    ) -> Option<Arc<PoolView>> {
        let view = self.pools.get(id)?;
        let same = self.table.pools.get(id) == Some(pool) && self.table.locality == table.locality;
        let is_live =
            |held: &Arc<Endpoint>| registry.endpoint(held.id).is_some_and(|live| Arc::ptr_eq(live, held));
        let leaving = view.sticky.iter().flat_map(|sticky| sticky.leaving.iter());
        let lives = registry.pool(id).is_some_and(|live| Arc::ptr_eq(live, &view.live))
            && view.active.iter().chain(leaving).all(is_live);
        (same && view.key == key && lives).then(|| Arc::clone(view))
    }

    /// Routes that share a label share what they keep.
    fn routes_by_label(&self) -> HashMap<&str, &Arc<Route>> {
        self.routes().map(|route| (&*route.live.label, route)).collect()
    }

    /// Rules that do more than lead to a pool.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.targets.iter().flatten().filter_map(|target| match target {
            Lead::Ruled(route) => Some(route),
            Lead::Plain(..) => None,
        })
    }

    /// What is counted of rules that have a name or do more than lead to a pool, in the table's order.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Arc<RouteLive>> {
        self.targets.iter().flatten().filter_map(|target| match target {
            Lead::Ruled(route) => Some(&route.live),
            Lead::Plain(_, live) => live.as_ref(),
        })
    }

    pub(crate) fn pool(&self, id: &PoolId) -> Option<&Arc<PoolView>> {
        self.pools.get(id)
    }

    /// The rule for a request.
    pub(crate) fn find(&self, host: &[u8], path: &[u8], asks: &impl Asks) -> Option<(Match, &Lead)> {
        let found = self.matcher.find(host, path, asks)?;
        Some((found, self.targets.get(found.rule)?.as_ref()?))
    }

    pub(crate) fn pools(&self) -> impl Iterator<Item = &Arc<PoolView>> {
        self.pools.values()
    }

    /// Every endpoint that the table calls active.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.pools.values().flat_map(|pool| pool.active.iter())
    }

    pub(crate) fn not_in_rotation(&self) -> BTreeSet<EndpointId> {
        self.active().filter(|endpoint| !endpoint.in_rotation()).map(|endpoint| endpoint.id).collect()
    }
}
