//! What one pick costs, by algorithm and size of the pool.
//!
//! `cargo bench -p pando-routing` prints the figures. A request has about 15 µs of a
//! core in all; choosing may be no visible part of that for a pool of ordinary size.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pando_routing::balance::SECOND;
use pando_routing::balance::ewma::PeakEwma;
use pando_routing::balance::hash::{BOUND_PERCENT, Places, SecretKey};
use pando_routing::balance::outlier::Conduct;
use pando_routing::balance::pick::{Candidates, Method, Picker};
use pando_routing::balance::random::Draws;
use pando_routing::balance::sticky::{Stay, Token, Tokens, cookie};
use pando_routing::balance::tier::Tiers;
use pando_routing::balance::warm;
use pando_routing::{EndpointId, Outlier};
use uuid::Uuid;

const KEY: SecretKey = SecretKey([7; 16]);

/// As a proxy holds it: what is asked for stands in atomics of one structure an endpoint.
#[derive(Default)]
struct Endpoint {
    in_flight: AtomicU64,
    ewma: PeakEwma,
    conduct: Conduct,
}

struct Pool(Vec<Endpoint>);

impl Candidates for Pool {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn may(&self, n: usize) -> bool {
        self.0[n].conduct.is_in()
    }

    fn weight(&self, _: usize) -> u32 {
        1
    }

    fn heaviest(&self) -> u32 {
        1
    }

    fn warmth(&self, _: usize) -> u32 {
        warm::FULL
    }

    fn in_flight(&self, n: usize) -> u64 {
        self.0[n].in_flight.load(Relaxed)
    }

    fn cost(&self, n: usize) -> f64 {
        self.0[n].ewma.cost(2 * SECOND, 10_000.0)
    }
}

fn pool(count: usize) -> Pool {
    let pool = Pool((0..count).map(|_| Endpoint::default()).collect());
    let mut draws = Draws::new(1);
    for endpoint in &pool.0 {
        endpoint.in_flight.store(draws.below(10), Relaxed);
        endpoint.ewma.record(5_000 + draws.below(10_000), SECOND);
    }
    pool
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("web-{n}")).collect()
}

fn picks(criterion: &mut Criterion) {
    for count in [3, 10, 100, 1000] {
        let (pool, tiers, names) = (pool(count), Tiers::one(count), names(count));
        let places = Places::new(&KEY, names.iter().map(String::as_str), BOUND_PERCENT);
        let mut picker = Picker::default();
        picker.renew((0..count as u128).map(|n| EndpointId(Uuid::from_u128(n))));
        for (name, method) in [
            ("round_robin", Method::RoundRobin),
            ("weighted_round_robin", Method::WeightedRoundRobin),
            ("least_connections", Method::LeastConnections),
            ("power_of_two", Method::PowerOfTwo),
            ("peak_ewma", Method::PeakEwma),
            ("hash", Method::Hash { places: &places, key: Some(77) }),
        ] {
            let mut draws = Draws::new(2);
            criterion.bench_with_input(BenchmarkId::new(name, count), &pool, |bench, pool| {
                bench.iter(|| picker.pick(black_box(method), &tiers, pool, draws.bits()));
            });
        }
    }
}

fn per_request(criterion: &mut Criterion) {
    let (policy, endpoint) = (Outlier::default(), Endpoint::default());
    let mut now = SECOND;
    criterion.bench_function("record an answer", |bench| {
        bench.iter(|| {
            now += 10;
            endpoint.ewma.record(black_box(1_000), now);
            endpoint.conduct.record(&policy, pando_routing::balance::outlier::Outcome::Success, now)
        });
    });
    let names = names(10);
    let tokens = Tokens::new(&KEY, names.iter().map(String::as_str));
    let token = Token::new(&KEY, "web-7");
    let field = format!("session=0123456789abcdef; pando_server={}; theme=dark", token.as_str());
    criterion.bench_function("stay by cookie", |bench| {
        bench.iter(|| {
            let field = black_box(field.as_bytes());
            let stays = tokens.stay(cookie::values(field, b"pando_server"), |_| Stay::Ready);
            (stays.unwrap(), cookie::without(field, b"pando_server").count())
        });
    });
}

criterion_group! {
    name = pick;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(500));
    targets = picks, per_request
}
criterion_main!(pick);
