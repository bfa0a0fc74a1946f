//! The metrics page, in Prometheus' text format.

mod families;
mod page;
mod reference;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pando_routing::PoolId;

use crate::live::{Endpoint, PoolLive};
use crate::plane::{Gauges, Plane};
use crate::rules::{Reason, RouteLive};
use crate::snapshot::Snapshot;
use crate::stats::counters::RouteFigures;
use crate::tls::{HandshakeError, VERSIONS};
use crate::trace::{Counts, Loss, Tracing};
use families as f;
use page::{Label, Page};
pub use reference::metrics_markdown;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// So many rules have figures of their own; those of the rest are told together.
const MOST_ROUTES: usize = 1_000;

/// So many endpoints have histograms: each is twenty lines, and a page of them is read every few seconds.
const MOST_ENDPOINTS: usize = 1_000;

/// What the rest is called.
const OTHER_ROUTES: &str = "(other)";

/// The whole page.
pub(crate) fn page(plane: &Plane) -> String {
    let snapshot = plane.current();
    let registry = plane.registry();
    let mut pools: Vec<Arc<PoolLive>> = registry.pools().cloned().collect();
    drop(registry);
    pools.sort_by(|a, b| a.counters.id.cmp(&b.counters.id));
    let mut page = Page::default();
    process(plane, snapshot.as_deref(), &mut page);
    for pool in &pools {
        of_pool(pool, &mut page);
    }
    if let Some(snapshot) = snapshot {
        endpoints(plane, &snapshot, &mut page);
        routes(&snapshot, &mut page);
    }
    page.render()
}

fn process(plane: &Plane, snapshot: Option<&Snapshot>, page: &mut Page) {
    let gauges = &plane.gauges;
    let version = snapshot.map(|snapshot| snapshot.table.version).unwrap_or_default();
    page.add(&f::EPOCH, &[], version.epoch);
    page.add(&f::REVISION, &[], version.revision);
    page.add(&f::CONNECTIONS, &[], gauges.open_connections.load(Relaxed));
    page.add(&f::UPGRADED, &[], gauges.open_tunnels.load(Relaxed));
    page.add(&f::ACCEPTED, &[], gauges.accepted_connections.load(Relaxed));
    page.add(&f::HEADS_REFUSED, &[], gauges.refused_heads.load(Relaxed));
    page.add(&f::CROWDED, &[], gauges.refused_connections.load(Relaxed));
    page.add(&f::DISPLACED, &[], gauges.displaced_connections.load(Relaxed));
    page.add(&f::UNMATCHED, &[], plane.unmatched.load(Relaxed));
    page.add(&f::TABLES_REFUSED, &[], gauges.refused_tables.load(Relaxed));
    if !plane.proxies.is_empty() {
        page.add(&f::PROXY_HEADERS_REFUSED, &[], gauges.refused_proxies.load(Relaxed));
    }
    if plane.tls.is_some() {
        tls(gauges, snapshot, page);
    }
    if let Some(counts) = plane.tracing.as_ref().and_then(Tracing::counts) {
        spans(counts, page);
    }
    if let Some(log) = &plane.log {
        page.add(&f::LOG_DROPPED, &[], log.dropped());
    }
}

fn spans(counts: &Counts, page: &mut Page) {
    page.add(&f::SPANS_EXPORTED, &[], counts.all_exported());
    page.add(&f::SPAN_EXPORTS_FAILED, &[], counts.all_failures());
    for loss in Loss::ALL {
        page.add(&f::SPANS_DROPPED, &[("reason", loss.name())], counts.all_lost(loss));
    }
}

fn tls(gauges: &Gauges, snapshot: Option<&Snapshot>, page: &mut Page) {
    for (version, count) in VERSIONS.into_iter().zip(&gauges.handshakes) {
        page.add(&f::HANDSHAKES, &[("version", version)], count.load(Relaxed));
    }
    page.add(&f::RESUMED, &[], gauges.resumed_handshakes.load(Relaxed));
    for (reason, count) in HandshakeError::REASONS.into_iter().zip(&gauges.failed_handshakes) {
        page.add(&f::HANDSHAKES_FAILED, &[("reason", reason)], count.load(Relaxed));
    }
    let Some(snapshot) = snapshot else { return };
    let (without, _) = snapshot.https.without_certificate(&snapshot.table);
    page.add(&f::WITHOUT_CERTIFICATE, &[], without);
    for certificate in &snapshot.https.certificates.all {
        let ends = u64::try_from(certificate.not_after).unwrap_or(0);
        page.add(&f::NOT_AFTER, &[("certificate", &certificate.label)], ends);
    }
}

fn of_pool(pool: &PoolLive, page: &mut Page) {
    let (stats, counters) = (pool.counters.read(), &pool.counters);
    let label: [Label<'_>; 1] = [("pool", &counters.id.0)];
    page.classes(&f::REQUESTS, &label, stats.by_class);
    page.latency(&f::DURATION, &label, &stats.latency, counters.latency_micros());
    page.add(&f::BYTES, &label, counters.bytes().down);
    page.add(&f::BYTES_UP, &label, counters.bytes().up);
    page.add(&f::FAILED, &label, stats.failed);
    page.add(&f::UNREADY, &label, stats.unready);
    page.add(&f::BUSY, &label, stats.busy);
    page.add(&f::CANCELLED, &label, stats.cancelled);
    page.add(&f::WAITING, &label, pool.line.waiting());
    page.add(&f::RETRIES, &label, stats.retries);
    page.add(&f::RETRIES_DENIED, &label, stats.retries_denied);
    page.add(&f::HEDGES, &label, stats.hedges);
    page.add(&f::HEDGES_WON, &label, stats.hedges_won);
    if let Some(slow) = pool.slow() {
        page.add(&f::HEDGE_AFTER, &label, slow.as_secs_f64());
    }
    page.add(&f::EJECTIONS, &label, stats.ejections);
    page.add(&f::FAILED_OPEN, &label, stats.failed_open);
    let (opened, not) = counters.connections();
    page.add(&f::UPSTREAM_OPENED, &label, opened);
    page.add(&f::UPSTREAM_FAILED, &label, not);
}

/// Rules that have a name, or do more than lead to a pool.
fn routes(snapshot: &Snapshot, page: &mut Page) {
    let mut counted = snapshot.counted();
    for route in counted.by_ref().take(MOST_ROUTES) {
        figures(&route.label, &route.figures.read(), page);
    }
    let rest = counted.map(|route| route.figures.read()).reduce(|all, one| all.and(&one));
    if let Some(rest) = rest {
        figures(OTHER_ROUTES, &rest, page);
    }
    snapshot.routes().take(MOST_ROUTES).for_each(|route| of_route(&route.live, page));
}

fn figures(label: &str, figures: &RouteFigures, page: &mut Page) {
    let label: [Label<'_>; 1] = [("route", label)];
    page.classes(&f::ROUTE_REQUESTS, &label, figures.by_class);
    page.octaves(&f::ROUTE_DURATION, &label, &figures.octaves, figures.latency_micros);
    page.add(&f::ROUTE_BYTES, &label, figures.bytes.down);
    page.add(&f::ROUTE_BYTES_UP, &label, figures.bytes.up);
    page.add(&f::ROUTE_IN_FLIGHT, &label, figures.in_flight);
    page.add(&f::ROUTE_FAILED, &label, figures.failed);
    page.add(&f::ROUTE_CANCELLED, &label, figures.cancelled);
    page.add(&f::ROUTE_RETRIES, &label, figures.retries);
}

/// What only rules have that do more than lead to a pool.
fn of_route(route: &RouteLive, page: &mut Page) {
    let label: [Label<'_>; 1] = [("route", &route.label)];
    for reason in Reason::ALL {
        page.add(&f::ROUTE_KEPT, &[label[0], ("by", reason.name())], route.count(reason));
    }
    let (copied, not) = route.copies();
    page.add(&f::ROUTE_MIRRORED, &label, copied);
    page.add(&f::ROUTE_UNMIRRORED, &label, not);
    page.add(&f::ROUTE_HELD, &label, route.held.waiting());
}

fn endpoints(plane: &Plane, snapshot: &Snapshot, page: &mut Page) {
    let registry = plane.registry();
    let mut n = 0;
    for (id, pool) in &snapshot.table.pools {
        let mut in_flight = 0;
        for endpoint in &pool.endpoints {
            if let Some(live) = registry.endpoint(endpoint.id) {
                in_flight += live.in_flight();
                of_endpoint(n, id, &endpoint.name, live, page);
                n += 1;
            }
        }
        page.add(&f::IN_FLIGHT, &[("pool", &id.0)], in_flight);
    }
}

/// `n`: so many came before.
fn of_endpoint(n: usize, pool: &PoolId, name: &str, live: &Endpoint, page: &mut Page) {
    let (id, address) = (live.id.to_string(), live.address.to_string());
    let label: [Label<'_>; 4] = [("pool", &pool.0), ("endpoint", &id), ("name", name), ("address", &address)];
    page.classes(&f::ENDPOINT_REQUESTS, &label, live.counters.by_class());
    page.add(&f::ENDPOINT_BYTES, &label, live.counters.bytes().down);
    page.add(&f::ENDPOINT_BYTES_UP, &label, live.counters.bytes().up);
    if n < MOST_ENDPOINTS {
        let (octaves, sum) = live.counters.latency();
        page.octaves(&f::ENDPOINT_DURATION, &label, &octaves, sum);
    }
    page.add(&f::ENDPOINT_FAILED, &label, live.counters.failures());
    page.add(&f::ENDPOINT_IN_FLIGHT, &label, live.in_flight());
    page.add(&f::ENDPOINT_IDLE, &label, live.idle.len() + live.streams.idle());
    page.add(&f::ENDPOINT_EJECTED, &label, u64::from(!live.conduct.is_in()));
    if let Some(micros) = live.ewma.measured() {
        page.add(&f::ENDPOINT_LATENCY, &label, micros / 1e6);
    }
    let warmth = f64::from(live.warmth()) / f64::from(pando_routing::balance::warm::FULL);
    page.add(&f::ENDPOINT_WARMTH, &label, warmth);
    page.add(&f::ENDPOINT_IN_ROTATION, &label, u64::from(live.in_rotation() && live.conduct.is_in()));
}
