//! How requests are spread over a process's replicas: the app's keys and its own, as a pool of the routing table.

use std::collections::BTreeMap;

use pando_model::{PoolSpec, ProcessName};
use pando_routing::policy::{
    AdaptiveLimit, AllDown, Drain, Expect, HashKey, Hedge, Outlier, ProxyProtocol, Queue, Retry, SameSite,
    Sticky,
};
use pando_routing::{Pool, Probe, ProbeKind, Protocol, Timeouts};

mod tls;

use super::{Draft, Surroundings, authorities};
use crate::decode::{Field, OrRecord, Switch};
use crate::diagnostic::Sink;
use crate::raw::Settings;
use crate::raw::balancing::{self as raw, Algorithm, LoadBalancing, ProbeType, WhenAllDown};
use crate::value::{Count, Percent};

const HASH_BOUND: u32 = 125;

/// Those of processes that get requests and ask for something other than what all have.
pub(super) fn pools(
    settings: &Settings,
    drafts: &[Draft],
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> BTreeMap<ProcessName, PoolSpec> {
    let mut pools = BTreeMap::new();
    for draft in drafts {
        let own = &draft.process.load_balancing;
        if let (Some(key), false) = (own.key(), draft.routed) {
            let hint = "requests go to the process `web`, and to those that `routes` name";
            sink.error_hint(key, format!("`{}` gets no requests to spread", draft.name), hint);
        }
        let both = own.clone().over(settings.load_balancing.clone());
        let Some(given) = both.value().filter(|_| draft.routed) else { continue };
        let pool = pool(given, around, sink);
        if pool != PoolSpec::default() {
            pools.insert(draft.name.clone(), pool);
        }
    }
    pools
}

fn pool(given: &LoadBalancing, around: &Surroundings<'_>, sink: &mut Sink) -> PoolSpec {
    misfits(given, sink);
    let tls = tls::given(given);
    let default = Pool::default();
    let protocol = tls::protocol(given, sink);
    let pool = Pool {
        algorithm: algorithm(given),
        protocol,
        tls: tls.map(|tls| tls::rules(given, tls, sink)),
        probe: probe(given, protocol, sink),
        timeouts: timeouts(given),
        slow_start_millis: given.slow_start.value().map_or(default.slow_start_millis, |time| time.0.0),
        sticky: given.sticky.value().and_then(Switch::on).map(sticky),
        outlier: ejection(given, sink),
        retry: retry(given),
        hedge: hedge(given, sink),
        max_in_flight: count(&given.max_in_flight),
        adaptive_limit: adaptive(given, sink),
        proxy_protocol: given.proxy_protocol.value().map(|version| match version {
            raw::ProxyProtocol::V1 => ProxyProtocol::V1,
            raw::ProxyProtocol::V2 => ProxyProtocol::V2,
        }),
        drain: drain(given),
        queue: given.queue.value().map(|queue| self::queue(&queue.0)),
        when_all_down: match given.when_all_down.value() {
            Some(WhenAllDown::Refuse) => AllDown::Refuse,
            Some(WhenAllDown::Serve) | None => AllDown::Serve,
        },
        ..default
    };
    let weights = given.weights.value().map(|weights| weights.entries.as_slice()).unwrap_or_default();
    let weights = weights.iter().map(|(server, weight)| (server.value.clone(), weight.value.0)).collect();
    let standby = given.standby.value().map(|servers| servers.0.clone()).unwrap_or_default();
    let ca_certificates = tls.and_then(|tls| authorities::read(&tls.ca, around, sink));
    PoolSpec { pool, weights, standby, ca_certificates }
}

fn misfits(given: &LoadBalancing, sink: &mut Sink) {
    let algorithm = given.algorithm.value().copied().unwrap_or(Algorithm::PeakEwma);
    for (key, name) in [(given.hash_on.key(), "hash_on"), (given.hash_bound.key(), "hash_bound")] {
        if let Some(key) = key.filter(|_| algorithm != Algorithm::ConsistentHash) {
            let reason = format!("`{name}` means nothing with `algorithm: {}`", algorithm.word());
            sink.error_hint(key, reason, "it goes with `algorithm: consistent_hash`");
        }
    }
    if let Some(key) = given.weights.key().filter(|_| algorithm != Algorithm::Weighted) {
        let reason = format!("`weights` mean nothing with `algorithm: {}`", algorithm.word());
        sink.error_hint(key, reason, "they go with `algorithm: weighted`");
    }
}

fn algorithm(given: &LoadBalancing) -> pando_routing::Algorithm {
    use pando_routing::Algorithm as Table;
    match given.algorithm.value() {
        Some(Algorithm::RoundRobin) => Table::RoundRobin,
        Some(Algorithm::Weighted) => Table::WeightedRoundRobin,
        Some(Algorithm::LeastConnections) => Table::LeastConnections,
        Some(Algorithm::PowerOfTwo) => Table::PowerOfTwo,
        None | Some(Algorithm::PeakEwma) => Table::PeakEwma,
        Some(Algorithm::ConsistentHash) => Table::Hash {
            key: given.hash_on.value().map_or(HashKey::Address, |key| key.0.clone()),
            bound_percent: given.hash_bound.value().map_or(HASH_BOUND, |bound| bound.0),
        },
    }
}

pub(super) fn same_site(given: &Field<raw::SameSite>) -> SameSite {
    match given.value() {
        Some(raw::SameSite::Strict) => SameSite::Strict,
        Some(raw::SameSite::None) => SameSite::None,
        Some(raw::SameSite::Lax) | None => SameSite::Lax,
    }
}

fn sticky(given: &raw::Sticky) -> Sticky {
    let default = Sticky::default();
    Sticky {
        cookie: given.cookie.value().map_or(default.cookie, |name| name.0.as_str().into()),
        max_age_seconds: given.ttl.value().map_or(default.max_age_seconds, |ttl| ttl.0.0.div_ceil(1000)),
        same_site: same_site(&given.same_site),
        secure: given.secure.value().map(|flag| flag.0),
    }
}

fn ejection(given: &LoadBalancing, sink: &mut Sink) -> Option<Outlier> {
    let default = Outlier::default();
    let rule = match given.ejection.value() {
        None => return Some(default),
        Some(Switch::Off) => return None,
        Some(Switch::On(rule)) => rule,
    };
    if let Some(at) = rule.max_ejected.get().filter(|at| at.value.0 == 0) {
        sink.error_hint(at.span, "0% would never eject", "`ejection: false` says so");
    }
    let rule = Outlier {
        consecutive: count(&rule.failures).unwrap_or(default.consecutive),
        success_percent: percent(&rule.success).unwrap_or(default.success_percent),
        min_requests: count(&rule.min_requests).unwrap_or(default.min_requests),
        eject_millis: rule.time.value().map_or(default.eject_millis, |time| time.0.0),
        most_millis: rule.max_time.value().map_or(default.most_millis, |time| time.0.0),
        most_percent: percent(&rule.max_ejected).unwrap_or(default.most_percent),
    };
    if let Some(key) = given.ejection.key().filter(|_| rule.eject_millis > rule.most_millis) {
        sink.error(key, "`time` is longer than `max_time`, which it never is to be");
    }
    Some(rule)
}

fn retry(given: &LoadBalancing) -> Retry {
    let default = Retry::default();
    let Some(OrRecord(rule)) = given.retries.value() else { return default };
    Retry {
        attempts: count(&rule.attempts).unwrap_or(default.attempts),
        connect_attempts: count(&rule.connect).unwrap_or(default.connect_attempts),
        budget_percent: percent(&rule.budget).unwrap_or(default.budget_percent),
        budget_per_second: count(&rule.budget_per_second).unwrap_or(default.budget_per_second),
    }
}

fn hedge(given: &LoadBalancing, sink: &mut Sink) -> Option<Hedge> {
    let default = Hedge::default();
    let rule = given.hedge.value().and_then(Switch::on)?;
    if let (Some(key), Some(_)) = (given.hedge.key(), given.sticky.value().and_then(Switch::on)) {
        let hint = "leave one of them out";
        sink.error_hint(key, "`hedge` asks another replica, and `sticky` keeps visitors with one", hint);
    }
    let share = rule.percentile.key().or(rule.at_least.key());
    if let (Some(key), Some(_)) = (share, rule.after.key()) {
        sink.error_hint(
            key,
            "it means nothing with `after`, which is the time itself",
            "leave one of them out",
        );
    }
    Some(Hedge {
        percentile: count(&rule.percentile).unwrap_or(default.percentile),
        least_millis: rule.at_least.value().map_or(default.least_millis, |time| time.0.0),
        after_millis: rule.after.value().map(|time| time.0.0),
    })
}

fn queue(given: &raw::Queue) -> Queue {
    let default = Queue::default();
    Queue {
        length: count(&given.length).unwrap_or(default.length),
        wait_millis: given.wait.value().map_or(default.wait_millis, |time| time.0.0),
    }
}

fn adaptive(given: &LoadBalancing, sink: &mut Sink) -> Option<AdaptiveLimit> {
    let default = AdaptiveLimit::default();
    let bounds = given.adaptive_limit.value().and_then(Switch::on)?;
    let limit = AdaptiveLimit {
        initial: count(&bounds.initial).unwrap_or(default.initial),
        least: count(&bounds.min).unwrap_or(default.least),
        most: count(&bounds.max).unwrap_or(default.most),
    };
    if let Some(key) = given.adaptive_limit.key()
        && !(limit.least <= limit.initial && limit.initial <= limit.most)
    {
        let AdaptiveLimit { initial, least, most } = limit;
        let reason = format!("`initial` ({initial}) is not from `min` ({least}) to `max` ({most})");
        sink.error(key, reason);
    }
    Some(limit)
}

fn drain(given: &LoadBalancing) -> Drain {
    let default = Drain::default();
    let Some(times) = given.drain.value() else { return default };
    Drain {
        websocket_millis: times.websockets.value().map_or(default.websocket_millis, |time| time.0.0),
        event_stream_millis: times.event_streams.value().map_or(default.event_stream_millis, |time| time.0.0),
    }
}

fn timeouts(given: &LoadBalancing) -> Timeouts {
    let default = Timeouts::default();
    let Some(times) = given.timeouts.value() else { return default };
    Timeouts {
        connect_millis: times.connect.value().map_or(default.connect_millis, |time| time.0.0),
        response_millis: times.response.value().map_or(default.response_millis, |time| time.0.0),
        idle_millis: times.idle.value().map_or(default.idle_millis, |time| time.0.0),
    }
}

fn probe(given: &LoadBalancing, protocol: Protocol, sink: &mut Sink) -> Probe {
    let default = Probe::default();
    let Some(probe) = given.probe.value() else { return default };
    let asked = asked(probe, sink);
    let key = probe.r#type.key().or(probe.service.key());
    if let Some(key) = key.filter(|_| asked == ProbeType::Grpc && !protocol.is_http2()) {
        sink.error_hint(
            key,
            "a `grpc` probe goes over HTTP/2, and the replicas speak HTTP/1.1",
            "add `protocol: grpc`",
        );
    }
    Probe {
        kind: match asked {
            ProbeType::Tcp => ProbeKind::Tcp,
            ProbeType::None => ProbeKind::None,
            ProbeType::Grpc => ProbeKind::Grpc {
                service: probe.service.value().map(|service| service.0.clone()).unwrap_or_default(),
            },
            ProbeType::Http => ProbeKind::Http {
                path: probe.path.value().map_or_else(|| "/".to_owned(), |path| path.0.clone()),
                host: probe.host.value().map(|host| host.0.clone()),
            },
        },
        interval_millis: probe.interval.value().map_or(default.interval_millis, |time| time.0.0),
        timeout_millis: probe.timeout.value().map_or(default.timeout_millis, |time| time.0.0),
        rise: count(&probe.healthy).unwrap_or(default.rise),
        fall: count(&probe.unhealthy).unwrap_or(default.fall),
        expect: expect(probe),
    }
}

/// What kind of probe is meant; keys that belong to another are mistakes.
fn asked(probe: &raw::Probe, sink: &mut Sink) -> ProbeType {
    let keys = [
        (probe.path.key(), "path", ProbeType::Http),
        (probe.host.key(), "host", ProbeType::Http),
        (probe.status.key(), "status", ProbeType::Http),
        (probe.body.key(), "body", ProbeType::Http),
        (probe.service.key(), "service", ProbeType::Grpc),
    ];
    let implied = keys.iter().find(|(key, ..)| key.is_some()).map_or(ProbeType::Tcp, |(.., kind)| *kind);
    let asked = probe.r#type.value().copied().unwrap_or(implied);
    for (key, name, kind) in keys {
        if let Some(key) = key.filter(|_| kind != asked) {
            let reason = format!("`{name}` means nothing with `type: {}`", asked.word());
            sink.error_hint(key, reason, format!("it goes with `type: {}`", kind.word()));
        }
    }
    asked
}

fn expect(probe: &raw::Probe) -> Option<Expect> {
    let ranges = probe.status.value().map(|ranges| ranges.0.as_slice()).unwrap_or_default();
    let statuses = ranges.iter().map(|range| (*range.value.0.start(), *range.value.0.end())).collect();
    let body = probe.body.value().map(|text| text.0.clone());
    let expect = Expect { statuses, body };
    (expect != Expect::default()).then_some(expect)
}

fn count<const MIN: u32, const MAX: u32>(given: &Field<Count<MIN, MAX>>) -> Option<u32> {
    given.value().map(|count| count.0)
}

fn percent(given: &Field<Percent>) -> Option<u32> {
    given.value().map(|percent| percent.0)
}
