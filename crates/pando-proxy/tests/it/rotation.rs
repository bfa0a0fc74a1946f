//! Who gets requests: algorithms, probes, and what traffic tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use http::{Response, StatusCode};
use pando_routing::{Algorithm, AllDown, EndpointState, ProbeKind};
use tokio::net::TcpListener;

use crate::support::{App, Proxy, TableBuilder, endpoint, far, free_address};

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

#[tokio::test]
async fn round_robin_shares_alike_also_over_one_connection() {
    let (a, b, c) = (App::named("a").await, App::named("b").await, App::named("c").await);
    let proxy = Proxy::start().await;
    let all = [a.endpoint.clone(), b.endpoint.clone(), c.endpoint.clone()];
    proxy.put_ready(&TableBuilder::serving(1, &all)).await;
    assert_eq!(shares(&proxy, 30).await.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test]
async fn least_connections_avoids_the_busy() {
    let busy = App::serving(|_| Box::pin(std::future::pending())).await;
    let free = App::named("free").await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, &[busy.endpoint.clone(), free.endpoint.clone()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.algorithm = Algorithm::LeastConnections)).await;
    // One of the first two gets stuck.
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        stuck.push(client);
    }
    let id = busy.endpoint.id;
    proxy.wait_for_pool("web", |pool| pool.requests == 1).await;
    proxy.wait_for_stats("one is stuck", |stats| stats.in_flight == BTreeMap::from([(id, 1)])).await;
    assert_eq!(shares(&proxy, 20).await, BTreeMap::from([("free".to_owned(), 20)]));
}

#[tokio::test]
async fn a_new_endpoint_gets_nothing_before_its_first_pass() {
    let old = App::named("old").await;
    let address = free_address();
    let new = endpoint(address);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&old.endpoint])).await;
    let acknowledgement = proxy.put(&TableBuilder::serving(2, &[old.endpoint.clone(), new.clone()])).await;
    assert_eq!(acknowledgement.not_in_rotation.into_iter().collect::<Vec<_>>(), [new.id]);
    assert_eq!(shares(&proxy, 10).await, BTreeMap::from([("old".to_owned(), 10)]));
    assert_eq!(proxy.pool("web").await.retries, 0);

    let listener = TcpListener::bind(address).await.unwrap();
    let _app = App::on(listener, |_| {
        Box::pin(async {
            use http_body_util::BodyExt;
            Response::new(http_body_util::Full::new(Bytes::from("new")).boxed_unsync())
        })
    });
    proxy.wait_for_stats("it is in rotation", |stats| stats.not_in_rotation.is_empty()).await;
    assert_eq!(shares(&proxy, 10).await["new"], 5);
}

/// As on a server that was cut off while everything moved: the table that it missed has none of its old endpoints.
#[tokio::test]
async fn requests_wait_for_the_first_look_when_all_are_new() {
    let (old, looked) = (App::named("old").await, Arc::new(AtomicBool::new(false)));
    let seen = looked.clone();
    let new = App::serving(move |request| {
        let seen = seen.clone();
        Box::pin(async move {
            use http_body_util::BodyExt;
            if request.uri().path() == "/up" {
                tokio::time::sleep(std::time::Duration::from_millis(400)).await;
                seen.store(true, SeqCst);
            }
            assert!(seen.load(SeqCst), "asked before its first passed check");
            Response::new(http_body_util::Full::new(Bytes::from("new")).boxed_unsync())
        })
    })
    .await;
    let proxy = Proxy::start().await;
    let probed = |revision, endpoint| {
        TableBuilder::serving(revision, [endpoint]).adjust("web", |pool| {
            pool.probe.kind = ProbeKind::Http { path: "/up".to_owned(), host: None };
            pool.probe.timeout_millis = 2000;
        })
    };
    proxy.put_ready(&probed(1, &old.endpoint)).await;
    proxy.put(&probed(2, &new.endpoint)).await;
    assert!(!looked.load(SeqCst), "the look is over before a request was made");
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text()), (200, "new"));

    // Who was looked at and is not ready is not waited for.
    let gone = endpoint(free_address());
    let acknowledgement = proxy.put(&probed(3, &gone)).await;
    assert_eq!(acknowledgement.not_in_rotation.len(), 1);
    assert_eq!(proxy.get("/").await.status, 503);
}

#[tokio::test]
async fn an_acknowledgement_has_live_endpoints_in_rotation() {
    let apps = [App::named("a").await, App::named("b").await];
    let all: Vec<_> = apps.iter().map(|app| app.endpoint.clone()).collect();
    let proxy = Proxy::start().await;
    assert!(proxy.put(&TableBuilder::serving(1, &all)).await.not_in_rotation.is_empty());
    // And draining ones are not counted among those that ought to be.
    let mut draining = all.clone();
    draining[0].state = EndpointState::Draining { deadline_millis: far(60_000) };
    assert!(proxy.put(&TableBuilder::serving(2, &draining)).await.not_in_rotation.is_empty());
}

#[tokio::test]
async fn http_probes_read_the_status_and_count_falls_and_rises() {
    let healthy = Arc::new(AtomicBool::new(true));
    let looks = Arc::new(AtomicU64::new(0));
    let (switch, count) = (healthy.clone(), looks.clone());
    let app = App::answering(move |seen| {
        let mut response = Response::new(Bytes::from("app"));
        if seen.target == "/up?x=1" {
            assert_eq!(seen.headers["host"], "probe.example");
            count.fetch_add(1, SeqCst);
            if !switch.load(SeqCst) {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        response
    })
    .await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&app.endpoint]).adjust("web", |pool| {
        let host = Some("probe.example".to_owned());
        pool.probe.kind = ProbeKind::Http { path: "/up?x=1".to_owned(), host };
        pool.probe.fall = 3;
        pool.probe.rise = 2;
        // Else it would be asked all the same, since it did serve before.
        pool.when_all_down = AllDown::Refuse;
    });
    proxy.put_ready(&table).await;
    assert_eq!(proxy.get("/").await.status, 200);
    healthy.store(false, SeqCst);
    let before = looks.load(SeqCst);
    let id = app.endpoint.id;
    proxy.wait_for_stats("it is out", |stats| stats.not_in_rotation.contains(&id)).await;
    assert!(looks.load(SeqCst) - before >= 2, "out after fewer failures than `fall`");
    assert_eq!(proxy.get("/").await.status, 503);
    healthy.store(true, SeqCst);
    proxy.wait_for_stats("it is back", |stats| stats.not_in_rotation.is_empty()).await;
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn refused_connections_take_an_endpoint_out_until_a_probe_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |_| -> crate::support::Respond {
        Box::pin(async {
            use http_body_util::BodyExt;
            Response::new(http_body_util::Full::new(Bytes::from("app")).boxed_unsync())
        })
    };
    let app = App::on(listener, answer);
    let endpoint = app.endpoint.clone();
    let proxy = Proxy::start().await;
    // Probes come so seldom that only traffic can tell; after the first pass, none for a while.
    let table = TableBuilder::serving(1, [&endpoint]);
    proxy.put_ready(&table.adjust("web", |pool| pool.probe.interval_millis = 200)).await;
    assert_eq!(proxy.get("/").await.text(), "app");
    app.stop().await;
    let status = proxy.get("/").await.status;
    assert!(matches!(status, 502 | 503), "{status}");
    assert_eq!(proxy.get("/").await.status, 503);
    assert!(proxy.stats().await.not_in_rotation.contains(&endpoint.id));
    let _again = App::on(TcpListener::bind(address).await.unwrap(), answer);
    proxy.wait_for_stats("it is back", |stats| stats.not_in_rotation.is_empty()).await;
    assert_eq!(proxy.get("/").await.text(), "app");
}
