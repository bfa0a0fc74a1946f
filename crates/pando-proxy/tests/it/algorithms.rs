//! Each algorithm over real connections: who gets how much, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use pando_routing::{Algorithm, Endpoint, HashKey};

use crate::support::{App, Proxy, Respond, TableBuilder, at, until};

/// The request for a key.
type Writes = fn(usize) -> String;

type Shares = BTreeMap<String, usize>;

/// Who answered so many requests over one connection.
async fn shares(proxy: &Proxy, count: usize) -> Shares {
    let mut shares = BTreeMap::new();
    let mut client = proxy.client().await;
    for _ in 0..count {
        let response = client.get("/").await;
        *shares.entry(response.text().to_owned()).or_default() += 1;
    }
    shares
}

fn weighing(endpoint: &Endpoint, weight: u32) -> Endpoint {
    Endpoint { weight, ..endpoint.clone() }
}

fn in_case(endpoint: &Endpoint) -> Endpoint {
    Endpoint { priority: 1, ..endpoint.clone() }
}

fn by(algorithm: Algorithm, endpoints: &[Endpoint]) -> TableBuilder {
    TableBuilder::serving(1, endpoints).adjust("web", |pool| pool.algorithm = algorithm)
}

#[tokio::test]
async fn weights_are_kept_exactly_by_turns() {
    let apps = [App::named("a").await, App::named("b").await, App::named("c").await];
    let all =
        [weighing(&apps[0].endpoint, 5), weighing(&apps[1].endpoint, 1), weighing(&apps[2].endpoint, 1)];
    let proxy = Proxy::start().await;
    proxy.put_ready(&by(Algorithm::WeightedRoundRobin, &all)).await;
    let expected = [("a", 50), ("b", 10), ("c", 10)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(shares(&proxy, 70).await, Shares::from(expected));
}

#[tokio::test]
async fn weights_count_for_idle_endpoints_whatever_the_algorithm() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let all = [weighing(&a.endpoint, 3), weighing(&b.endpoint, 1)];
    for algorithm in [Algorithm::LeastConnections, Algorithm::PowerOfTwo] {
        let proxy = Proxy::start().await;
        proxy.put_ready(&by(algorithm.clone(), &all)).await;
        let share = shares(&proxy, 400).await["a"];
        // 300; by chance 5 standard deviations more or less.
        assert!((255..=345).contains(&share), "{algorithm:?}: {share}");
    }
}

#[tokio::test]
async fn a_lower_priority_serves_alone_and_a_near_one_first() {
    let (a, b, c) = (App::named("a").await, App::named("b").await, App::named("c").await);
    let all = [in_case(&c.endpoint), at("other", &a.endpoint), at("main", &b.endpoint)];
    let every = [
        Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin,
        Algorithm::LeastConnections,
        Algorithm::PowerOfTwo,
        Algorithm::PeakEwma,
        Algorithm::Hash { key: HashKey::Path, bound_percent: 125 },
    ];
    for algorithm in every.clone() {
        let proxy = Proxy::start().await;
        proxy.put_ready(&by(algorithm.clone(), &all).near(Some("main"))).await;
        assert_eq!(shares(&proxy, 10).await, Shares::from([("b".to_owned(), 10)]), "{algorithm:?}");
    }
    b.stop().await;
    for algorithm in every.clone() {
        let proxy = Proxy::start().await;
        proxy.put(&by(algorithm.clone(), &all).near(Some("main"))).await;
        assert_eq!(shares(&proxy, 10).await, Shares::from([("a".to_owned(), 10)]), "{algorithm:?}");
    }
    a.stop().await;
    for algorithm in every {
        let proxy = Proxy::start().await;
        proxy.put(&by(algorithm.clone(), &all).near(Some("main"))).await;
        assert_eq!(shares(&proxy, 10).await, Shares::from([("c".to_owned(), 10)]), "{algorithm:?}");
    }
}

async fn slow(name: &'static str, millis: u64) -> App {
    App::serving(move |_| -> Respond {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Response::new(Full::new(Bytes::from(name)).boxed_unsync())
        })
    })
    .await
}

#[tokio::test]
async fn peak_ewma_leaves_the_slow_alone_and_turns_do_not() {
    let (a, b, c) = (App::named("a").await, App::named("b").await, slow("slow", 60).await);
    let all = [a.endpoint.clone(), b.endpoint.clone(), c.endpoint.clone()];
    for (algorithm, least, most) in [(Algorithm::PeakEwma, 0, 3), (Algorithm::RoundRobin, 20, 20)] {
        let proxy = Proxy::start().await;
        proxy.put_ready(&by(algorithm.clone(), &all)).await;
        let share = shares(&proxy, 60).await.get("slow").copied().unwrap_or(0);
        assert!((least..=most).contains(&share), "{algorithm:?}: {share}");
    }
}

#[tokio::test]
async fn peak_ewma_is_not_attracted_by_quick_failures() {
    let good = slow("good", 5).await;
    let bad = App::answering(|_| {
        let mut response = Response::new(Bytes::from("bad"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    })
    .await;
    let proxy = Proxy::start().await;
    let table = by(Algorithm::PeakEwma, &[good.endpoint.clone(), bad.endpoint.clone()]);
    // Whoever passes its probe first would be warm, and the other one spared.
    let table = table.adjust("web", |pool| (pool.outlier, pool.slow_start_millis) = (None, 0));
    proxy.put_ready(&table).await;
    let (mut share, mut longest, began) = (0, Duration::from_millis(1), Instant::now());
    let mut client = proxy.client().await;
    for _ in 0..50 {
        let asked = Instant::now();
        share += u32::from(client.get("/").await.text() == "bad");
        longest = longest.max(asked.elapsed());
    }
    // A failure counts as five seconds, and less by the time constant of ten; the good one as two of its longest at most.
    let forgiven = 10.0 * (5.0 / (2.0 * longest.as_secs_f64())).ln();
    let allowed = if forgiven > 0.0 { 1.0 + began.elapsed().as_secs_f64() / forgiven } else { 50.0 };
    assert!(f64::from(share) <= allowed, "{share} went where nothing is done, {longest:?}");
    let page = proxy.metrics().await;
    let id = bad.endpoint.id.to_string();
    let is_its =
        |line: &&str| line.starts_with("pando_proxy_endpoint_latency_seconds{") && line.contains(&id);
    if let Some(line) = page.lines().find(is_its) {
        let seconds: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(seconds >= 4.9, "a failure counts as five seconds: {line}");
    }
}

/// Who answers each of so many keys.
async fn homes(proxy: &Proxy, request: impl Fn(usize) -> String) -> Vec<String> {
    let mut client = proxy.client().await;
    let mut homes = Vec::new();
    for key in 0..60 {
        let response = client.request(&request(key)).await;
        assert_eq!(response.status, 200);
        homes.push(response.text().to_owned());
    }
    homes
}

#[tokio::test]
async fn keys_stay_where_they_are_and_only_those_of_the_lost_move() {
    let apps = [App::named("a").await, App::named("b").await, App::named("c").await];
    let all: Vec<_> = apps.iter().map(|app| app.endpoint.clone()).collect();
    let proxy = Proxy::start().await;
    let kinds: [(HashKey, Writes); 3] = [
        (HashKey::Header("X-User".into()), |n| format!("GET / HTTP/1.1\r\nhost: a\r\nx-user: {n}\r\n\r\n")),
        (HashKey::Cookie("sid".into()), |n| {
            format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: x=1; sid={n}\r\n\r\n")
        }),
        (HashKey::Path, |n| format!("GET /{n}?x={{}} HTTP/1.1\r\nhost: a\r\n\r\n").replace("{}", "y")),
    ];
    for (turn, (key, request)) in kinds.into_iter().enumerate() {
        let hash = Algorithm::Hash { key, bound_percent: 0 };
        let table = |revision: usize, endpoints: &[Endpoint]| {
            TableBuilder::serving(revision as u64, endpoints)
                .adjust("web", |pool| pool.algorithm = hash.clone())
        };
        proxy.put_ready(&table(2 * turn + 1, &all)).await;
        let before = homes(&proxy, request).await;
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "all have some: {hash:?}");
        assert_eq!(homes(&proxy, request).await, before, "{hash:?}");
        proxy.put_ready(&table(2 * turn + 2, &all[..2])).await;
        let after = homes(&proxy, request).await;
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || before == "c", "{hash:?}: {before} to {after}");
        }
    }
}

#[tokio::test]
async fn an_address_is_a_key_and_what_has_none_is_shared() {
    let apps = [App::named("a").await, App::named("b").await, App::named("c").await];
    let all: Vec<_> = apps.iter().map(|app| app.endpoint.clone()).collect();
    let proxy = Proxy::start().await;
    let hash = |key| Algorithm::Hash { key, bound_percent: 0 };
    proxy.put_ready(&by(hash(HashKey::Address), &all)).await;
    assert_eq!(shares(&proxy, 20).await.len(), 1);
    let table = TableBuilder::serving(2, &all);
    let table = table.adjust("web", |pool| pool.algorithm = hash(HashKey::Header("x-user".into())));
    proxy.put_ready(&table).await;
    assert_eq!(shares(&proxy, 100).await.len(), 3);
}

#[tokio::test]
async fn a_new_one_beside_warm_ones_is_spared_at_first() {
    let (old, new) = (App::named("old").await, App::named("new").await);
    let proxy = Proxy::start().await;
    let table = |revision, endpoints: &[Endpoint]| {
        TableBuilder::serving(revision, endpoints).adjust("web", |pool| pool.slow_start_millis = 1_500)
    };
    proxy.put_ready(&table(1, std::slice::from_ref(&old.endpoint))).await;
    // Its own slow start is over when it has passed: that is what is waited for.
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    proxy.put_ready(&table(2, &[old.endpoint.clone(), new.endpoint.clone()])).await;
    until("the new one warms up", async || {
        let page = proxy.metrics().await;
        let id = new.endpoint.id.to_string();
        let is_cold = |line: &str| {
            line.starts_with("pando_proxy_endpoint_warmth{") && line.contains(&id) && !line.ends_with(" 1")
        };
        page.lines().any(is_cold)
    })
    .await;
    let cold = shares(&proxy, 40).await.get("new").copied().unwrap_or(0);
    assert!((1..=12).contains(&cold), "{cold} of 40 at once");
    until("it has its part", async || shares(&proxy, 20).await.get("new") == Some(&10)).await;
}
