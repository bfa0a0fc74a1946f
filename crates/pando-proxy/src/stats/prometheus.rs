//! The metrics page, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pando_routing::{Latency, PoolId};

use crate::live::{Endpoint, PoolLive};
use crate::plane::{Gauges, Plane};
use crate::rules::{Reason, RouteLive};
use crate::snapshot::Snapshot;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of the latency histogram: 2ⁿ µs for these n, from 0.25 ms to 134 s. Our own buckets end there exactly.
const OCTAVES: std::ops::RangeInclusive<u32> = 8..=27;

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
        snapshot.routes().for_each(|route| of_route(&route.live, &mut page));
    }
    page.render()
}

fn process(plane: &Plane, snapshot: Option<&Snapshot>, page: &mut Page) {
    let gauges = &plane.gauges;
    let version = snapshot.map(|snapshot| snapshot.table.version).unwrap_or_default();
    page.gauge("pando_proxy_table_epoch", "Epoch of the table in use.", "", version.epoch);
    page.gauge("pando_proxy_table_revision", "Revision of the table in use.", "", version.revision);
    let open = gauges.open_connections.load(Relaxed);
    page.gauge("pando_proxy_connections", "Client connections open.", "", open);
    let tunnels = gauges.open_tunnels.load(Relaxed);
    page.gauge("pando_proxy_upgraded_connections", "Upgraded connections open.", "", tunnels);
    let accepted = gauges.accepted_connections.load(Relaxed);
    page.counter("pando_proxy_connections_accepted_total", "Client connections accepted.", "", accepted);
    let heads = gauges.refused_heads.load(Relaxed);
    let help = "Heads over HTTP/1 that were malformed, too large or too late to be a request's.";
    page.counter("pando_proxy_heads_refused_total", help, "", heads);
    let crowded = gauges.refused_connections.load(Relaxed);
    let help = "Connections closed since their address had as many as it may.";
    page.counter("pando_proxy_connections_refused_total", help, "", crowded);
    let displaced = gauges.displaced_connections.load(Relaxed);
    let help = "Connections without a request that were closed since all places were taken.";
    page.counter("pando_proxy_connections_displaced_total", help, "", displaced);
    let unmatched = plane.unmatched.load(Relaxed);
    page.counter("pando_proxy_unmatched_total", "Requests that no rule matched.", "", unmatched);
    let refused = gauges.refused_tables.load(Relaxed);
    page.counter("pando_proxy_tables_refused_total", "Tables that were refused.", "", refused);
    if !plane.proxies.is_empty() {
        let help = "Connections of proxies without a PROXY header.";
        let refused = gauges.refused_proxies.load(Relaxed);
        page.counter("pando_proxy_proxy_headers_refused_total", help, "", refused);
    }
    if plane.tls.is_some() {
        tls(gauges, snapshot, page);
    }
    if let Some(log) = &plane.log {
        let help =
            "Access log lines lost since the log was slower than the traffic, or could not be written.";
        page.counter("pando_proxy_access_log_dropped_total", help, "", log.dropped());
    }
}

fn tls(gauges: &Gauges, snapshot: Option<&Snapshot>, page: &mut Page) {
    let (done, resumed) = (gauges.handshakes.load(Relaxed), gauges.resumed_handshakes.load(Relaxed));
    page.counter("pando_proxy_tls_handshakes_total", "TLS handshakes done.", "", done);
    let help = "TLS handshakes that resumed a session.";
    page.counter("pando_proxy_tls_handshakes_resumed_total", help, "", resumed);
    let failed = gauges.failed_handshakes.load(Relaxed);
    page.counter("pando_proxy_tls_handshakes_failed_total", "TLS handshakes that failed.", "", failed);
    let refused = gauges.refused_clients.load(Relaxed);
    let help = "TLS handshakes that failed for want of a good certificate of the client's.";
    page.counter("pando_proxy_tls_client_certificates_refused_total", help, "", refused);
    let Some(snapshot) = snapshot else { return };
    let (without, _) = snapshot.https.without_certificate(&snapshot.table);
    let help = "Hosts of the table without a certificate.";
    page.gauge("pando_proxy_hosts_without_certificate", help, "", without as u64);
    for certificate in &snapshot.https.certificates.all {
        let label = format!("certificate=\"{}\"", escaped(&certificate.label));
        let ends = u64::try_from(certificate.not_after).unwrap_or(0);
        let help = "When the certificate ends, in seconds since 1970.";
        page.gauge("pando_proxy_certificate_not_after_seconds", help, &label, ends);
    }
}

fn of_pool(pool: &PoolLive, page: &mut Page) {
    let stats = pool.counters.read();
    let label = format!("pool=\"{}\"", escaped(&pool.counters.id.0));
    for (class, count) in (1..).zip(stats.by_class) {
        let labels = format!("{label},class=\"{class}xx\"");
        page.counter("pando_proxy_requests_total", "Requests answered in whole.", &labels, count);
    }
    let help = "Requests that failed by no fault of the client.";
    page.counter("pando_proxy_failed_total", help, &label, stats.failed);
    let help = "Those that failed because no endpoint was in rotation.";
    page.counter("pando_proxy_unready_total", help, &label, stats.unready);
    let help = "Those that failed because every endpoint had as many requests as it may.";
    page.counter("pando_proxy_busy_total", help, &label, stats.busy);
    let help = "Requests that wait for an endpoint.";
    page.gauge("pando_proxy_waiting", help, &label, pool.line.waiting() as u64);
    let help = "Times that an endpoint was ejected for how its requests ended.";
    page.counter("pando_proxy_ejections_total", help, &label, stats.ejections);
    let help = "Requests sent to an endpoint out of rotation, since nobody was in it.";
    page.counter("pando_proxy_failed_open_total", help, &label, stats.failed_open);
    let help = "Tries not made since the budget for them was spent.";
    page.counter("pando_proxy_retries_denied_total", help, &label, stats.retries_denied);
    page.counter("pando_proxy_retries_total", "Tries beyond the first.", &label, stats.retries);
    page.counter("pando_proxy_cancelled_total", "Requests that the client gave up.", &label, stats.cancelled);
    page.histogram(&label, &stats.latency, pool.counters.latency_micros());
}

/// Rules that do more than lead to a pool.
fn of_route(route: &RouteLive, page: &mut Page) {
    let label = format!("route=\"{}\"", escaped(&route.label));
    for (class, count) in (1..).zip(route.by_class()) {
        let labels = format!("{label},class=\"{class}xx\"");
        page.counter(
            "pando_proxy_route_requests_total",
            "Requests of a rule answered in whole.",
            &labels,
            count,
        );
    }
    for reason in Reason::ALL {
        let labels = format!("{label},by=\"{}\"", reason.name());
        let help = "Requests that a rule answered instead of letting them pass.";
        page.counter("pando_proxy_route_kept_total", help, &labels, route.count(reason));
    }
    let (copied, not) = route.copies();
    page.counter("pando_proxy_route_mirrored_total", "Requests that were copied.", &label, copied);
    let help = "Requests that were too large to copy, or too many.";
    page.counter("pando_proxy_route_unmirrored_total", help, &label, not);
    let help = "Requests that a pause holds.";
    page.gauge("pando_proxy_route_held", help, &label, route.held.waiting() as u64);
}

fn endpoints(plane: &Plane, snapshot: &Snapshot, page: &mut Page) {
    let registry = plane.registry();
    for (pool, endpoint) in snapshot.table.endpoints() {
        if let Some(live) = registry.endpoint(endpoint.id) {
            of_endpoint(pool, &endpoint.name, live, page);
        }
    }
}

fn of_endpoint(pool: &PoolId, name: &str, live: &Endpoint, page: &mut Page) {
    let (pool, name) = (escaped(&pool.0), escaped(name));
    let label =
        format!("pool=\"{pool}\",endpoint=\"{}\",name=\"{name}\",address=\"{}\"", live.id, live.address);
    for (class, count) in (1..).zip(live.counters.by_class()) {
        let labels = format!("{label},class=\"{class}xx\"");
        page.counter(
            "pando_proxy_endpoint_requests_total",
            "Requests that the endpoint answered.",
            &labels,
            count,
        );
    }
    let help = "Requests that failed at the endpoint.";
    page.counter("pando_proxy_endpoint_failed_total", help, &label, live.counters.failures());
    page.gauge("pando_proxy_endpoint_in_flight", "Requests under way.", &label, live.in_flight());
    let idle = (live.idle.len() + live.streams.idle()) as u64;
    page.gauge("pando_proxy_endpoint_idle_connections", "Connections kept for later.", &label, idle);
    let ejected = u64::from(!live.conduct.is_in());
    page.gauge("pando_proxy_endpoint_ejected", "1: ejected for how its requests ended.", &label, ejected);
    let help = "Expected time to the head of an answer: a moving average that takes peaks at once.";
    if let Some(micros) = live.ewma.measured() {
        page.sample("pando_proxy_endpoint_latency_seconds", "gauge", help, "", &label, micros / 1e6);
    }
    let help = "The part of its weight that an endpoint has while it is spared at first: 0.1 to 1.";
    let warmth = f64::from(live.warmth()) / f64::from(pando_routing::balance::warm::FULL);
    page.sample("pando_proxy_endpoint_warmth", "gauge", help, "", &label, warmth);
    let rotation = u64::from(live.in_rotation() && live.conduct.is_in());
    page.gauge("pando_proxy_endpoint_in_rotation", "1: gets new requests.", &label, rotation);
}

/// Families by name, each with its samples together, as the format wants it.
#[derive(Debug, Default)]
struct Page(BTreeMap<&'static str, Family>);

#[derive(Debug)]
struct Family {
    kind: &'static str,
    help: &'static str,
    samples: String,
}

impl Page {
    fn counter(&mut self, name: &'static str, help: &'static str, labels: &str, value: u64) {
        self.sample(name, "counter", help, "", labels, value);
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, labels: &str, value: u64) {
        self.sample(name, "gauge", help, "", labels, value);
    }

    fn histogram(&mut self, label: &str, latency: &Latency, sum_micros: u64) {
        const NAME: &str = "pando_proxy_request_duration_seconds";
        const HELP: &str = "From a request's head to the last byte of its answer.";
        let total = latency.count();
        for octave in OCTAVES {
            let bound = 1u64 << octave;
            let below = (0..latency.buckets.len()).take_while(|n| Latency::upper_micros(*n) <= bound);
            let count: u64 = below.map(|n| latency.buckets[n]).sum();
            let labels = format!("{label},le=\"{}\"", seconds(bound));
            self.sample(NAME, "histogram", HELP, "_bucket", &labels, count);
        }
        self.sample(NAME, "histogram", HELP, "_bucket", &format!("{label},le=\"+Inf\""), total);
        self.sample(NAME, "histogram", HELP, "_sum", label, seconds(sum_micros));
        self.sample(NAME, "histogram", HELP, "_count", label, total);
    }

    fn sample(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        suffix: &str,
        labels: &str,
        value: impl Display,
    ) {
        let family = self.0.entry(name).or_insert_with(|| Family { kind, help, samples: String::new() });
        // Writing to a string doesn't fail.
        let _ = match labels {
            "" => writeln!(family.samples, "{name}{suffix} {value}"),
            labels => writeln!(family.samples, "{name}{suffix}{{{labels}}} {value}"),
        };
    }

    fn render(self) -> String {
        let mut text = String::new();
        for (name, Family { kind, help, samples }) in self.0 {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
        }
        text
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_family_stand_together_under_its_head() {
        let mut page = Page::default();
        page.counter("b", "B.", "x=\"1\"", 1);
        page.gauge("a", "A.", "", 2);
        page.counter("b", "B.", "x=\"2\"", 3);
        let expected =
            "# HELP a A.\n# TYPE a gauge\na 2\n# HELP b B.\n# TYPE b counter\nb{x=\"1\"} 1\nb{x=\"2\"} 3\n";
        assert_eq!(page.render(), expected);
    }

    #[test]
    fn histogram_counts_add_up() {
        let mut latency = Latency { buckets: vec![0; Latency::BUCKETS] };
        for micros in [100, 255, 256, 1_000_000, 1_000_000_000] {
            latency.buckets[Latency::bucket_of(micros)] += 1;
        }
        let mut page = Page::default();
        page.histogram("pool=\"p\"", &latency, 1_001_000_611);
        let text = page.render();
        assert!(text.contains("le=\"0.000256\"} 2\n"), "{text}");
        assert!(text.contains("le=\"1.048576\"} 4\n"), "{text}");
        assert!(text.contains("le=\"+Inf\"} 5\n") && text.contains("_count{pool=\"p\"} 5\n"), "{text}");
        assert!(text.contains("_sum{pool=\"p\"} 1001.000611\n"), "{text}");
    }

    #[test]
    fn labels_cannot_break_the_page() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
