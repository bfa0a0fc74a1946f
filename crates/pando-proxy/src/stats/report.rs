//! The answer to `GET /v1/stats`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pando_routing::{Ejected, EndpointId, EndpointStats, ProxyStats};

use crate::balance::moment;
use crate::live::Endpoint;
use crate::plane::Plane;
use crate::snapshot::Snapshot;

/// The longest that one poll waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The state once the sequence is beyond `after`, or when `wait` is over.
pub(crate) async fn poll(plane: &Plane, after: u64, wait: Duration) -> ProxyStats {
    plane.sequence.wait_beyond(after, wait.min(LONGEST_WAIT)).await;
    stats(plane)
}

/// The state now. The sequence is read first: what changes while the rest is read wakes the next poll. The snapshot is read
/// before the registry is locked: a swap holds that lock until whoever drains in the new snapshot takes nothing new, so a
/// version that is reported here is reported with counts that only fall.
pub(crate) fn stats(plane: &Plane) -> ProxyStats {
    let sequence = plane.sequence.now();
    let snapshot = plane.current();
    let without_certificate =
        |snapshot: &Arc<Snapshot>| snapshot.https.without_certificate(&snapshot.table).1;
    let hosts_without_certificate =
        snapshot.as_ref().filter(|_| plane.tls.is_some()).map(without_certificate).unwrap_or_default();
    let secrets = snapshot.as_ref().map(|snapshot| snapshot.table.secret.mark.clone()).unwrap_or_default();
    let (in_flight, current) = (in_flight(plane), snapshot.clone());
    let mut registry = plane.registry();
    registry.forget_idle();
    ProxyStats {
        boot: plane.boot,
        sequence,
        version: snapshot.as_ref().map(|snapshot| snapshot.table.version),
        secrets,
        why_out: snapshot.as_deref().map(why_out).unwrap_or_default(),
        ejected: snapshot.as_deref().map(|snapshot| ejected(plane, snapshot)).unwrap_or_default(),
        not_in_rotation: snapshot.map(|snapshot| snapshot.not_in_rotation()).unwrap_or_default(),
        in_flight,
        pools: registry.pools().map(|pool| (pool.counters.id.clone(), pool.counters.read())).collect(),
        unmatched: plane.unmatched.load(Relaxed),
        hosts_without_certificate,
        endpoints: current.as_deref().map(endpoints).unwrap_or_default(),
    }
}

fn why_out(snapshot: &Snapshot) -> BTreeMap<EndpointId, String> {
    let out = snapshot.active().filter(|endpoint| !endpoint.in_rotation());
    out.filter_map(|endpoint| Some((endpoint.id, String::clone(&*endpoint.why_out()?)))).collect()
}

fn endpoints(snapshot: &Snapshot) -> BTreeMap<EndpointId, EndpointStats> {
    // An average is below an hour of microseconds, and has no part below one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let whole = |micros: f64| micros.max(0.0) as u64;
    let one = |endpoint: &Arc<Endpoint>| {
        let by_class = endpoint.counters.by_class();
        let (failed, rtt_micros) = (endpoint.counters.failures(), endpoint.ewma.measured().map(whole));
        (endpoint.id, EndpointStats { by_class, failed, rtt_micros })
    };
    snapshot.active().map(one).collect()
}

fn ejected(plane: &Plane, snapshot: &Snapshot) -> Vec<Ejected> {
    let (micros, millis) = (moment::now(), plane.clock.now_millis());
    let wall = |moment: u64| {
        let span = |micros: u64| i64::try_from(micros / 1000).unwrap_or(i64::MAX);
        millis - span(micros.saturating_sub(moment)) + span(moment.saturating_sub(micros))
    };
    let judged = snapshot.pools().filter(|pool| pool.settings.outlier.is_some());
    let all = judged.flat_map(|pool| pool.active.iter()).filter_map(|endpoint| {
        let ejection = endpoint.conduct.ejection()?;
        Some(Ejected {
            endpoint: endpoint.id,
            text: ejection.reason.to_string(),
            reason: ejection.reason,
            times: ejection.times,
            since_millis: wall(ejection.at),
            until_millis: wall(ejection.until),
        })
    });
    all.collect()
}

/// Requests under way by endpoint, in this proxy and in those that it has taken over from.
pub(crate) fn in_flight(plane: &Plane) -> BTreeMap<EndpointId, u64> {
    // Who leaves begins nothing new, so that what it counted before is never too low.
    let mut all = plane.elsewhere().clone();
    for endpoint in plane.registry().endpoints() {
        // Asked first: one that keeps visitors is not idle, whatever it has under way.
        let idle = endpoint.is_idle();
        let count = endpoint.in_flight();
        if !idle || count > 0 {
            *all.entry(endpoint.id).or_default() += count;
        }
    }
    all
}
