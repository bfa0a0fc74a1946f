//! Nothing that is called for each request takes memory.
//!
//! `allocation-counter` puts a counting allocator in place of the system's for this
//! binary and counts by thread, so that tests beside this one don't disturb.

use std::fmt::Write;

use allocation_counter::measure;
use pando_routing::balance::SECOND;
use pando_routing::balance::budget::Budget;
use pando_routing::balance::ewma::PeakEwma;
use pando_routing::balance::hash::{Places, SecretKey};
use pando_routing::balance::limit::Limit;
use pando_routing::balance::outlier::{Conduct, Ejections, Failure, Members, Outcome};
use pando_routing::balance::pick::{Candidates, Method, Picker};
use pando_routing::balance::rate::{Limiter, Quota, subject};
use pando_routing::balance::sticky::{SetCookie, Stay, Token, Tokens, cookie};
use pando_routing::balance::tier::Tiers;
use pando_routing::balance::warm;
use pando_routing::{AdaptiveLimit, EndpointId, Outlier, Retry, Sticky};
use uuid::Uuid;

const COUNT: usize = 100;
const KEY: SecretKey = SecretKey([3; 16]);

/// A pool in which weights, loads, warmth and rotation differ.
struct Pool {
    ewma: Vec<PeakEwma>,
    conducts: Vec<Conduct>,
}

impl Pool {
    fn new() -> Self {
        let pool = Self {
            ewma: (0..COUNT).map(|_| PeakEwma::new()).collect(),
            conducts: (0..COUNT).map(|_| Conduct::default()).collect(),
        };
        (0_u64..).zip(&pool.ewma).for_each(|(n, ewma)| ewma.record(1_000 * n, SECOND));
        pool
    }
}

impl Candidates for Pool {
    fn count(&self) -> usize {
        COUNT
    }

    fn may(&self, n: usize) -> bool {
        !n.is_multiple_of(7) && self.conducts[n].is_in()
    }

    fn weight(&self, n: usize) -> u32 {
        1 + u32::try_from(n % 5).unwrap()
    }

    fn heaviest(&self) -> u32 {
        5
    }

    fn warmth(&self, n: usize) -> u32 {
        if n.is_multiple_of(9) { warm::FLOOR } else { warm::FULL }
    }

    fn in_flight(&self, n: usize) -> u64 {
        (n as u64 * 31) % 11
    }

    fn cost(&self, n: usize) -> f64 {
        self.ewma[n].cost(2 * SECOND, 50_000.0)
    }
}

impl Members for Pool {
    fn count(&self) -> usize {
        COUNT
    }

    fn conduct(&self, n: usize) -> &Conduct {
        &self.conducts[n]
    }

    fn able(&self, _: usize) -> bool {
        true
    }
}

fn names() -> Vec<String> {
    (0..COUNT).map(|n| format!("web-{n}")).collect()
}

fn assert_none(what: &str, run: impl FnMut(u64)) {
    let taken = measure(|| (0..1_000).for_each(run));
    assert_eq!((taken.count_total, taken.bytes_total), (0, 0), "{what}");
}

#[test]
fn what_takes_memory_is_seen() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(7)))).count_total, 1);
}

#[test]
fn no_pick_takes_memory() {
    let pool = Pool::new();
    let names = names();
    let places = Places::new(&KEY, names.iter().map(String::as_str), 125);
    let keys: Vec<(u8, bool)> = (0..COUNT).map(|n| (u8::from(n > 60), n % 2 == 0)).collect();
    for tiers in [Tiers::one(COUNT), Tiers::new(&keys)] {
        for method in [
            Method::RoundRobin,
            Method::WeightedRoundRobin,
            Method::LeastConnections,
            Method::PowerOfTwo,
            Method::PeakEwma,
            Method::Hash { places: &places, key: Some(7) },
            Method::Hash { places: &places, key: None },
        ] {
            let mut picker = Picker::default();
            picker.renew((0..COUNT as u128).map(|n| EndpointId(Uuid::from_u128(n))));
            assert_none(&format!("{method:?}"), |random| {
                assert!(picker.pick(method, &tiers, &pool, random).is_some());
            });
        }
    }
}

#[test]
fn nothing_counted_for_a_request_takes_memory() {
    let pool = Pool::new();
    let (budget, ejections, policy) = (Budget::default(), Ejections::default(), Outlier::default());
    let mut limit = Limit::new(&AdaptiveLimit::default(), 0);
    assert_none("counters", |n| {
        let now = SECOND + n * 10_000;
        pool.ewma[3].record(n, now);
        pool.ewma[3].record_failure(n, Some(n), now);
        pool.ewma[3].record_cancelled(n, now);
        budget.request(now);
        let _ = budget.retry(&Retry::default(), now);
        limit.record(n, 30, now);
        limit.record_overload(30, now);
        let outcome = if n % 2 == 0 { Outcome::Success } else { Outcome::Failed(Failure::Timeout) };
        if pool.conducts[5].record(&policy, outcome, now) {
            let _ = ejections.judge(&policy, &pool, 5, outcome, now, n);
        }
        if ejections.is_due(now)
            && let Some(member) = ejections.claim(&pool, now)
        {
            let _ = ejections.end_trial(&policy, &pool.conducts[member], Some(outcome), now, n);
        }
    });
    assert!(pool.conducts[5].ejection().is_some(), "it was ejected on the way");
}

#[test]
fn neither_stickiness_nor_rate_limits_take_memory() {
    let names = names();
    let tokens = Tokens::new(&KEY, names.iter().map(String::as_str));
    let token = Token::new(&KEY, "web-77");
    let field = format!("a=1; lb={}; b=2; lb=x", token.as_str());
    let policy = Sticky { cookie: "lb".into(), ..Sticky::default() };
    let mut written = String::with_capacity(256);
    let mut limiter = Limiter::new(Quota { requests: 10, window_seconds: 1, burst: 5 }, 1000);
    assert_none("stickiness", |_| {
        let values = cookie::values(field.as_bytes(), b"lb");
        assert_eq!(tokens.stay(values, |_| Stay::Ready), Some(77));
        assert_eq!(cookie::without(field.as_bytes(), b"lb").map(|range| range.len()).sum::<usize>(), 8);
        written.clear();
        write!(written, "{}", SetCookie { policy: &policy, token, tls: true }).unwrap();
    });
    assert_none("rate limits", |n| {
        let address = Some(std::net::IpAddr::from([192, 0, 2, 1]));
        let _ = limiter.check(subject(&KEY, address, Some(&n.to_le_bytes())), n * 1000);
    });
}

/// A request without headers.
struct Bare;

impl pando_routing::Asks for Bare {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn header<'a>(&'a self, _: &'a str) -> impl Iterator<Item = &'a [u8]> {
        [b"a=b; side=canary".as_slice()].into_iter()
    }

    fn query(&self) -> &[u8] {
        b"a=b&c=%64"
    }

    fn address(&self) -> std::net::IpAddr {
        std::net::Ipv4Addr::LOCALHOST.into()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[test]
fn a_request_finds_its_rule_without_memory() {
    let rules = r#"[{"host": "*", "pool": "p"}, {"host": "a.example", "path": "/x", "pool": "p"},
        {"host": "a.example", "path": {"exact": "/y"}, "pool": "p", "when": {"methods": ["PUT"]}},
        {"host": "a.example", "path": {"pattern": "/{a}/b/{rest...}"}, "pool": "p", "when": {"cookies": {"side": {"is": "canary"}},
            "query": {"c": {"is": "d"}}, "headers": {"x": "present"}, "from": ["127.0.0.0/8"], "tls": true}}]"#;
    let table = pando_routing::Table { rules: serde_json::from_str(rules).unwrap(), ..Default::default() };
    let matcher = pando_routing::Matcher::new(&table);
    let found = measure(|| {
        for (path, rule) in [("/", 0), ("/x/1", 1), ("/y", 0), ("/1/b/c/d", 3)] {
            let found = matcher.find(b"A.example:80", path.as_bytes(), &Bare).unwrap();
            assert_eq!(found.rule, rule);
        }
    });
    assert_eq!(found.count_total, 0);
}
