use std::time::{Duration, Instant};

use pando_http::RequestHead;
use pando_routing::{EndpointId, EndpointState, HashKey, Outlier, Pool, PoolId, Sticky, Table};
use uuid::Uuid;

use super::*;
use crate::balance::Answered;
use crate::client::Client;
use crate::live::Registry;
use crate::live::idle::IdleLinks;
use crate::snapshot::Snapshot;
use crate::stats::sequence::Sequence;
use crate::upstream::Outbounds;

const KEY: pando_routing::balance::hash::SecretKey = pando_routing::balance::hash::SecretKey([1; 16]);

/// A pool of three that are up.
fn view(algorithm: Algorithm, sticky: Option<Sticky>) -> Arc<PoolView> {
    let endpoint = |n: u128| pando_routing::Endpoint {
        id: EndpointId(Uuid::from_u128(n)),
        address: "127.0.0.1:9".parse().unwrap(),
        name: format!("web-{n}"),
        locality: None,
        state: EndpointState::Active,
        weight: 1,
        priority: 0,
    };
    let pool = Pool {
        algorithm,
        sticky,
        endpoints: (1..=3).map(endpoint).collect(),
        outlier: Some(Outlier::default()),
        ..Pool::default()
    };
    let table = Table { pools: [(PoolId("p".to_owned()), pool)].into(), ..Table::default() };
    let mut registry = Registry::new(1);
    registry.renew(&table, |endpoint| {
        let idle = IdleLinks::new(1, 1, Duration::from_secs(1));
        Arc::new(Endpoint::new(endpoint.id, endpoint.address, idle, Sequence::default()))
    });
    registry.endpoints().for_each(|endpoint| {
        endpoint.activate(&Arc::default());
        endpoint.set_up(true);
    });
    let https = crate::https::HttpsRules::of(&table, Arc::default(), None);
    let snapshot = Snapshot::new(Arc::new(table), (https, Outbounds::new()), KEY, &registry, None);
    Arc::clone(snapshot.pools().next().unwrap())
}

const REQUEST: &[u8] =
    b"GET /a HTTP/1.1\r\nhost: h\r\ncookie: theme=dark; pando_server=x\r\nx-user: 7\r\n\r\n";

/// A pick, an answer and the lease's end, as each request has them.
fn one(pool: &PoolView, asking: &Asking<'_>) {
    match pick(pool, asking, &Tried::default(), moment::now()) {
        Picked::Chosen(Chosen { mut lease, .. }) => {
            let now = moment::now();
            lease.answered(pool, Answered { now, status: 200, retry_after: None, whole: true });
            lease.ended(pool, now);
        }
        other => panic!("{other:?}"),
    }
}

fn every() -> Vec<(Algorithm, Option<Sticky>)> {
    let hash = Algorithm::Hash { key: HashKey::Header("x-user".into()), bound_percent: 125 };
    vec![
        (Algorithm::RoundRobin, None),
        (Algorithm::WeightedRoundRobin, None),
        (Algorithm::LeastConnections, None),
        (Algorithm::PowerOfTwo, None),
        (Algorithm::PeakEwma, None),
        (hash, None),
        (Algorithm::PeakEwma, Some(Sticky::default())),
    ]
}

#[test]
fn neither_picks_nor_what_is_learned_take_memory() {
    let mut head = RequestHead::default();
    head.read(REQUEST, &pando_http::Limits::default()).unwrap();
    let client = Client::new("10.0.0.1:1".parse().unwrap(), false);
    let asking = Asking { head: &head, path: b"/a", bytes: REQUEST, client: &client, may_repeat: true };
    for (algorithm, sticky) in every() {
        let pool = view(algorithm.clone(), sticky);
        // What is made once for each worker and table.
        one(&pool, &asking);
        const ROUNDS: u32 = 20_000;
        let began = Instant::now();
        let taken = allocation_counter::measure(|| (0..ROUNDS).for_each(|_| one(&pool, &asking)));
        let each = began.elapsed() / ROUNDS;
        println!("{algorithm:?}, sticky: {}: {each:?} a request", pool.sticky.is_some());
        assert_eq!(taken.count_total, 0, "{algorithm:?}");
    }
}

#[test]
fn one_that_is_taken_out_is_not_picked_and_nobody_is_said_to_be_nobody() {
    let mut head = RequestHead::default();
    head.read(REQUEST, &pando_http::Limits::default()).unwrap();
    let client = Client::new("10.0.0.1:1".parse().unwrap(), false);
    let asking = Asking { head: &head, path: b"/a", bytes: REQUEST, client: &client, may_repeat: true };
    for (algorithm, sticky) in every() {
        let pool = view(algorithm.clone(), sticky);
        pool.active[0].suspect();
        for _ in 0..50 {
            let Picked::Chosen(chosen) = pick(&pool, &asking, &Tried::default(), moment::now()) else {
                panic!("{algorithm:?}");
            };
            assert_ne!(chosen.lease.endpoint.id, pool.active[0].id, "{algorithm:?}");
        }
        pool.active[1].set_up(false);
        pool.active[2].drain(0, 0);
        assert!(matches!(pick(&pool, &asking, &Tried::default(), moment::now()), Picked::Nobody));
        // Of these only the one that listens and did serve is worth a hope.
        let Picked::Chosen(chosen) = pick_open(&pool, &asking, &Tried::default()) else {
            panic!("{algorithm:?}");
        };
        assert_eq!(chosen.lease.endpoint.id, pool.active[1].id);
    }
}
