//! Every family of the metrics page: what it is called, what it counts, by what.

/// One family.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Declares each once, and all of them together for the reference.
macro_rules! families {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) const $id: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// In the order of the reference.
        pub(crate) const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    EPOCH: Gauge "pando_proxy_table_epoch" [] "Epoch of the table in use.";
    REVISION: Gauge "pando_proxy_table_revision" [] "Revision of the table in use.";
    TABLES_REFUSED: Counter "pando_proxy_tables_refused_total" [] "Tables that were refused.";
    CONNECTIONS: Gauge "pando_proxy_connections" [] "Client connections open.";
    UPGRADED: Gauge "pando_proxy_upgraded_connections" [] "Upgraded connections open.";
    ACCEPTED: Counter "pando_proxy_connections_accepted_total" [] "Client connections accepted.";
    CROWDED: Counter "pando_proxy_connections_refused_total" [] "Connections closed since their address had as many as it may.";
    DISPLACED: Counter "pando_proxy_connections_displaced_total" [] "Connections without a request that were closed since all places were taken.";
    HEADS_REFUSED: Counter "pando_proxy_heads_refused_total" [] "Heads over HTTP/1 that were malformed, too large or too late to be a request's.";
    PROXY_HEADERS_REFUSED: Counter "pando_proxy_proxy_headers_refused_total" [] "Connections of proxies without a PROXY header.";
    UNMATCHED: Counter "pando_proxy_unmatched_total" [] "Requests that no rule matched.";
    LOG_DROPPED: Counter "pando_proxy_access_log_dropped_total" [] "Access log lines lost since the log was slower than the traffic, or could not be written.";
    SPANS_EXPORTED: Counter "pando_proxy_spans_exported_total" [] "Spans that their receiver has taken.";
    SPAN_EXPORTS_FAILED: Counter "pando_proxy_span_exports_failed_total" [] "Times that a batch of spans did not get through.";
    SPANS_DROPPED: Counter "pando_proxy_spans_dropped_total" ["reason"] "Spans that were lost: queue_full, refused, unreachable or shutdown.";
    HANDSHAKES: Counter "pando_proxy_tls_handshakes_total" ["version"] "TLS handshakes done.";
    RESUMED: Counter "pando_proxy_tls_handshakes_resumed_total" [] "TLS handshakes that resumed a session.";
    HANDSHAKES_FAILED: Counter "pando_proxy_tls_handshakes_failed_total" ["reason"] "TLS handshakes that failed: timeout, http (no TLS at all), hello (nothing in common) or broken.";
    WITHOUT_CERTIFICATE: Gauge "pando_proxy_hosts_without_certificate" [] "Hosts of the table without a certificate.";
    NOT_AFTER: Gauge "pando_proxy_certificate_not_after_seconds" ["certificate"] "When the certificate ends, in seconds since 1970.";
    REQUESTS: Counter "pando_proxy_requests_total" ["pool", "class"] "Requests answered in whole.";
    DURATION: Histogram "pando_proxy_request_duration_seconds" ["pool"] "From a request's head to the last byte of its answer.";
    BYTES: Counter "pando_proxy_response_bytes_total" ["pool"] "Bytes of answers' bodies that went to clients.";
    BYTES_UP: Counter "pando_proxy_request_bytes_total" ["pool"] "Bytes of requests' bodies that clients sent.";
    IN_FLIGHT: Gauge "pando_proxy_in_flight" ["pool"] "Requests under way at the pool's endpoints.";
    FAILED: Counter "pando_proxy_failed_total" ["pool"] "Requests that failed by no fault of the client.";
    UNREADY: Counter "pando_proxy_unready_total" ["pool"] "Those that failed because no endpoint was in rotation.";
    BUSY: Counter "pando_proxy_busy_total" ["pool"] "Those that failed because every endpoint had as many requests as it may.";
    CANCELLED: Counter "pando_proxy_cancelled_total" ["pool"] "Requests that the client gave up.";
    WAITING: Gauge "pando_proxy_waiting" ["pool"] "Requests that wait for an endpoint.";
    RETRIES: Counter "pando_proxy_retries_total" ["pool"] "Tries beyond the first.";
    HEDGES: Counter "pando_proxy_hedges_total" ["pool"] "Requests asked of a second endpoint too, since the first took long.";
    HEDGES_WON: Counter "pando_proxy_hedges_won_total" ["pool"] "Those of them that the second endpoint answered.";
    HEDGE_AFTER: Gauge "pando_proxy_hedge_after_seconds" ["pool"] "What counts as slow where that follows from what answers take; not there while it is not known.";
    RETRIES_DENIED: Counter "pando_proxy_retries_denied_total" ["pool"] "Tries not made since the budget for them was spent.";
    EJECTIONS: Counter "pando_proxy_ejections_total" ["pool"] "Times that an endpoint was ejected for how its requests ended.";
    FAILED_OPEN: Counter "pando_proxy_failed_open_total" ["pool"] "Requests sent to an endpoint out of rotation, since nobody was in it.";
    UPSTREAM_OPENED: Counter "pando_proxy_upstream_connections_opened_total" ["pool"] "Connections opened to endpoints for requests.";
    UPSTREAM_FAILED: Counter "pando_proxy_upstream_connections_failed_total" ["pool"] "Connections to endpoints that could not be opened.";
    ENDPOINT_REQUESTS: Counter "pando_proxy_endpoint_requests_total" ["pool", "endpoint", "name", "address", "class"] "Requests that the endpoint answered.";
    ENDPOINT_BYTES: Counter "pando_proxy_endpoint_response_bytes_total" ["pool", "endpoint", "name", "address"] "Bytes of the endpoint's answers' bodies.";
    ENDPOINT_BYTES_UP: Counter "pando_proxy_endpoint_request_bytes_total" ["pool", "endpoint", "name", "address"] "Bytes of requests' bodies that went to the endpoint.";
    ENDPOINT_DURATION: Histogram "pando_proxy_endpoint_request_duration_seconds" ["pool", "endpoint", "name", "address"] "From when the endpoint was asked to the last byte of its answer, or to an upgrade; of the table's first thousand endpoints.";
    ENDPOINT_FAILED: Counter "pando_proxy_endpoint_failed_total" ["pool", "endpoint", "name", "address"] "Requests that failed at the endpoint.";
    ENDPOINT_IN_FLIGHT: Gauge "pando_proxy_endpoint_in_flight" ["pool", "endpoint", "name", "address"] "Requests under way.";
    ENDPOINT_IDLE: Gauge "pando_proxy_endpoint_idle_connections" ["pool", "endpoint", "name", "address"] "Connections kept for later.";
    ENDPOINT_EJECTED: Gauge "pando_proxy_endpoint_ejected" ["pool", "endpoint", "name", "address"] "1: ejected for how its requests ended.";
    ENDPOINT_LATENCY: Gauge "pando_proxy_endpoint_latency_seconds" ["pool", "endpoint", "name", "address"] "Expected time to the head of an answer: a moving average that takes peaks at once.";
    ENDPOINT_WARMTH: Gauge "pando_proxy_endpoint_warmth" ["pool", "endpoint", "name", "address"] "The part of its weight that an endpoint has while it is spared at first: 0.1 to 1.";
    ENDPOINT_IN_ROTATION: Gauge "pando_proxy_endpoint_in_rotation" ["pool", "endpoint", "name", "address"] "1: gets new requests.";
    ROUTE_REQUESTS: Counter "pando_proxy_route_requests_total" ["route", "class"] "Requests of a rule answered in whole.";
    ROUTE_DURATION: Histogram "pando_proxy_route_request_duration_seconds" ["route"] "From the head of a rule's request to the last byte of its answer.";
    ROUTE_BYTES: Counter "pando_proxy_route_response_bytes_total" ["route"] "Bytes of answers' bodies to a rule's requests.";
    ROUTE_BYTES_UP: Counter "pando_proxy_route_request_bytes_total" ["route"] "Bytes of the bodies of a rule's requests.";
    ROUTE_IN_FLIGHT: Gauge "pando_proxy_route_in_flight" ["route"] "A rule's requests under way.";
    ROUTE_FAILED: Counter "pando_proxy_route_failed_total" ["route"] "Requests of a rule that failed by no fault of the client.";
    ROUTE_CANCELLED: Counter "pando_proxy_route_cancelled_total" ["route"] "Requests of a rule that the client gave up.";
    ROUTE_RETRIES: Counter "pando_proxy_route_retries_total" ["route"] "Tries beyond the first of a rule's requests.";
    ROUTE_KEPT: Counter "pando_proxy_route_kept_total" ["route", "by"] "Requests that a rule answered instead of letting them pass.";
    ROUTE_MIRRORED: Counter "pando_proxy_route_mirrored_total" ["route"] "Requests that were copied.";
    ROUTE_UNMIRRORED: Counter "pando_proxy_route_unmirrored_total" ["route"] "Requests that were too large to copy, or too many.";
    ROUTE_HELD: Gauge "pando_proxy_route_held" ["route"] "Requests that a pause holds.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_field() {
        for (n, family) in ALL.iter().enumerate() {
            assert!(family.name.starts_with("pando_proxy_"), "{}", family.name);
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
            assert!(ALL[..n].iter().all(|other| other.name != family.name), "{} is there twice", family.name);
        }
    }
}
