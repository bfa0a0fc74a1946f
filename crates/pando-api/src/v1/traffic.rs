//! What the load balancers counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pando_model::id::ServerId;
use pando_model::name::{AppName, ServerName};
use pando_model::time::Timestamp;
use pando_routing::{Ejected, EndpointStats, PoolStats};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// `GET /v1/traffic?…`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TrafficQuery {
    /// Only pools of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
}

/// Totals of each run of each load balancer. The difference of two answers, run by run and pool by pool, is what was served in between.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Traffic {
    pub proxies: Vec<ProxyTraffic>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProxyTraffic {
    pub server: ServerId,
    pub server_name: ServerName,
    /// One run of the load balancer; the last 8 runs of a server are told.
    #[schema(value_type = String)]
    pub boot: Uuid,
    /// When the counters came, by the control plane's clock.
    pub heard_at: Timestamp,
    /// By pool, such as `hits/web`.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub pools: BTreeMap<String, PoolStats>,
}

/// `GET /v1/traffic/endpoints?…`: every endpoint of the published table, as each load balancer sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointTraffic {
    pub now: Timestamp,
    /// By pool, then by name.
    pub endpoints: Vec<EndpointView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointView {
    /// Such as `hits/web`.
    pub pool: String,
    /// The replica's, such as `web-2`.
    pub name: String,
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// It gets no new requests.
    pub draining: bool,
    /// By server.
    pub seen: Vec<EndpointSeen>,
}

/// What one load balancer says of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointSeen {
    pub server: ServerName,
    /// The run of the load balancer that counted.
    #[schema(value_type = String)]
    pub boot: Uuid,
    pub heard_at: Timestamp,
    /// Its probe passes there.
    pub in_rotation: bool,
    /// Why it gets no requests there though its probe may pass.
    #[schema(value_type = Option<Object>)]
    pub ejected: Option<Ejected>,
    /// What its last look found, where it is not in rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_out: Option<String>,
    /// Requests and open WebSockets.
    pub in_flight: u64,
    #[serde(flatten)]
    pub stats: EndpointStats,
}

impl Traffic {
    /// What was counted since `earlier`, added up over load balancers and pools.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> PoolStats {
        let mut sum = PoolStats::default();
        for proxy in &self.proxies {
            let before =
                earlier.proxies.iter().find(|old| old.server == proxy.server && old.boot == proxy.boot);
            for (pool, stats) in &proxy.pools {
                let old = before.and_then(|before| before.pools.get(pool)).cloned().unwrap_or_default();
                add_difference(&mut sum, stats, &old);
            }
        }
        sum
    }
}

fn add_difference(sum: &mut PoolStats, now: &PoolStats, old: &PoolStats) {
    sum.requests += now.requests.saturating_sub(old.requests);
    sum.failed += now.failed.saturating_sub(old.failed);
    sum.unready += now.unready.saturating_sub(old.unready);
    sum.busy += now.busy.saturating_sub(old.busy);
    sum.retries += now.retries.saturating_sub(old.retries);
    sum.retries_denied += now.retries_denied.saturating_sub(old.retries_denied);
    sum.hedges += now.hedges.saturating_sub(old.hedges);
    sum.hedges_won += now.hedges_won.saturating_sub(old.hedges_won);
    sum.ejections += now.ejections.saturating_sub(old.ejections);
    sum.failed_open += now.failed_open.saturating_sub(old.failed_open);
    sum.cancelled += now.cancelled.saturating_sub(old.cancelled);
    for (total, (now, old)) in sum.by_class.iter_mut().zip(now.by_class.iter().zip(old.by_class)) {
        *total += now.saturating_sub(old);
    }
    let latency = now.latency.since(&old.latency).buckets;
    if sum.latency.buckets.len() < latency.len() {
        sum.latency.buckets.resize(latency.len(), 0);
    }
    for (total, count) in sum.latency.buckets.iter_mut().zip(latency) {
        *total += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(boot: u128, requests: u64, failed: u64, buckets: &[u64]) -> ProxyTraffic {
        let latency = pando_routing::Latency { buckets: buckets.to_vec() };
        let stats = PoolStats { requests, failed, latency, ..PoolStats::default() };
        ProxyTraffic {
            server: ServerId::from_uuid(Uuid::from_u128(1)),
            server_name: ServerName::new("main").unwrap(),
            boot: Uuid::from_u128(boot),
            heard_at: Timestamp::default(),
            pools: BTreeMap::from([("hits/web".to_owned(), stats)]),
        }
    }

    #[test]
    fn a_restart_of_a_proxy_loses_no_count() {
        let before = Traffic { proxies: vec![proxy(1, 100, 2, &[100])] };
        let after = Traffic { proxies: vec![proxy(1, 130, 3, &[110, 20]), proxy(2, 7, 0, &[0, 0, 7])] };
        let sum = after.since(&before);
        assert_eq!((sum.requests, sum.failed), (37, 1));
        assert_eq!(sum.latency.buckets, [10, 20, 7]);
    }
}
