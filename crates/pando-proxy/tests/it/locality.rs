//! What is near gets the requests while it can serve, and what is far when it can't.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pando_routing::{Algorithm, EndpointState};
use tokio::net::TcpListener;

use crate::support::{App, Proxy, TableBuilder, at, endpoint, far, free_address, until};

/// Who answered, by name. Every request is answered with 200.
async fn shares(proxy: &Proxy, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = proxy.client().await;
    for _ in 0..count {
        let response = client.get("/").await;
        assert_eq!(response.status, 200);
        *shares.entry(response.text().to_owned()).or_default() += 1;
    }
    shares
}

fn alone(name: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(name.to_owned(), count)])
}

#[tokio::test]
async fn near_endpoints_share_the_requests_and_far_ones_get_none() {
    let (a, b, c) = (App::named("a").await, App::named("b").await, App::named("c").await);
    let all = [at("other", &c.endpoint), at("main", &a.endpoint), at("main", &b.endpoint)];
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
        let proxy = Proxy::start().await;
        let table = TableBuilder::serving(1, &all).adjust("web", |pool| pool.algorithm = algorithm.clone());
        proxy.put_ready(&table.near(Some("main"))).await;
        let shares = shares(&proxy, 30).await;
        assert_eq!(shares, BTreeMap::from([("a".to_owned(), 15), ("b".to_owned(), 15)]), "{algorithm:?}");
        proxy.wait_for_pool("web", |pool| pool.requests == 30).await;
    }
}

#[tokio::test]
async fn without_a_locality_or_with_nobody_there_all_share_alike() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let all = [at("main", &a.endpoint), b.endpoint.clone()];
    let proxy = Proxy::start().await;
    let both = BTreeMap::from([("a".to_owned(), 10), ("b".to_owned(), 10)]);
    proxy.put_ready(&TableBuilder::serving(1, &all)).await;
    assert_eq!(shares(&proxy, 20).await, both);
    proxy.put_ready(&TableBuilder::serving(2, &all).near(Some("elsewhere"))).await;
    assert_eq!(shares(&proxy, 20).await, both);
}

#[tokio::test]
async fn the_same_table_may_come_again_with_another_locality() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let all = [at("main", &a.endpoint), at("other", &b.endpoint)];
    let table = TableBuilder::serving(1, &all);
    let proxy = Proxy::start().await;
    for (near, expected) in [(Some("main"), "a"), (Some("other"), "b")] {
        proxy.put_ready(&table.clone().near(near)).await;
        assert_eq!(shares(&proxy, 10).await, alone(expected, 10));
    }
    proxy.put_ready(&table.near(None)).await;
    assert_eq!(shares(&proxy, 10).await.len(), 2);
}

#[tokio::test]
async fn a_proxy_that_starts_alone_still_knows_what_is_near() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let all = [at("main", &a.endpoint), at("other", &b.endpoint)];
    let keep = |settings: &mut pando_proxy::Settings, directory: &std::path::Path| {
        settings.state_file = Some(directory.join("table.json"));
    };
    let proxy = Proxy::start_with(keep).await;
    proxy.put_ready(&TableBuilder::serving(1, &all).near(Some("main"))).await;
    // The same version with another preference is kept as well.
    proxy.put_ready(&TableBuilder::serving(1, &all).near(Some("other"))).await;
    let proxy = Proxy::start_in(proxy.stop().await, keep).await;
    proxy
        .wait_for_stats("all are in rotation", |stats| {
            stats.version.is_some() && stats.not_in_rotation.is_empty()
        })
        .await;
    assert_eq!(shares(&proxy, 10).await, alone("b", 10));
}

#[tokio::test]
async fn a_near_one_that_drains_or_is_not_up_leaves_the_requests_to_far_ones() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let (mut near, away) = (at("main", &a.endpoint), at("other", &b.endpoint));
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&near, &away]).near(Some("main"))).await;
    assert_eq!(shares(&proxy, 5).await, alone("a", 5));
    near.state = EndpointState::Draining { deadline_millis: far(60_000) };
    proxy.put_ready(&TableBuilder::serving(2, [&near, &away]).near(Some("main"))).await;
    assert_eq!(shares(&proxy, 5).await, alone("b", 5));
    // A new one here that has not come up yet changes nothing.
    let new = at("main", &endpoint(free_address()));
    proxy.put(&TableBuilder::serving(3, [&new, &away]).near(Some("main"))).await;
    assert_eq!(shares(&proxy, 5).await, alone("b", 5));
    assert_eq!(proxy.pool("web").await.retries, 0);
}

/// The near one dies with its server's port closed: whoever comes is served by a far one, at once by a second try and soon
/// without any; when it is back it gets everything again.
#[tokio::test]
async fn requests_flip_to_far_ones_and_back_without_a_failure() {
    let (near, away) = (App::named("near").await, App::named("far").await);
    let all = [at("main", &near.endpoint), at("other", &away.endpoint)];
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, &all).near(Some("main"))).await;
    assert_eq!(shares(&proxy, 10).await, alone("near", 10));
    let address = near.address;
    near.stop().await;
    assert_eq!(shares(&proxy, 10).await, alone("far", 10));
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed), (20, 0));
    assert!(pool.retries <= 1, "the first refusal takes it out: {} retries", pool.retries);
    let listener = TcpListener::bind(address).await.unwrap();
    let _back = App::on(listener, |_| {
        Box::pin(async {
            use http_body_util::BodyExt;
            http::Response::new(http_body_util::Full::new(bytes::Bytes::from("near")).boxed_unsync())
        })
    });
    until("the near one is back", async || proxy.get("/").await.text() == "near").await;
    assert_eq!(shares(&proxy, 10).await, alone("near", 10));
}

/// Without any traffic: the proxy's own checks, as often as they are by default, put a dead one out in under two seconds.
#[tokio::test]
async fn a_dead_near_one_is_out_within_two_seconds_by_checks_alone() {
    let (near, away) = (App::named("near").await, App::named("far").await);
    let all = [at("main", &near.endpoint), at("other", &away.endpoint)];
    let id = near.endpoint.id;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, &all).adjust("web", |pool| pool.probe = Default::default());
    proxy.put_ready(&table.near(Some("main"))).await;
    near.stop().await;
    let began = Instant::now();
    proxy.wait_for_stats("it is out", |stats| stats.not_in_rotation.contains(&id)).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(shares(&proxy, 10).await, alone("far", 10));
    assert_eq!(proxy.pool("web").await.retries, 0);
}
