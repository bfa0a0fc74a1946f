//! Endpoints whose requests fail get none for a while, and what happens when nobody is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{Response, StatusCode};
use pando_routing::balance::outlier::{Failure, Reason};
use pando_routing::{AllDown, Outlier, Pool, ProbeKind, ProxyStats};

use crate::support::{App, Proxy, TableBuilder, endpoint, far, free_address, until};

/// Answers as the switch says, and `/up` with 200 or, once that is switched off too, 503.
struct Moody {
    app: App,
    status: Arc<AtomicU16>,
    up: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

async fn moody() -> Moody {
    let status = Arc::new(AtomicU16::new(200));
    let (up, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (says, is_up, count) = (status.clone(), up.clone(), asked.clone());
    let app = App::answering(move |seen| {
        let mut response = Response::new(Bytes::from("moody"));
        if seen.target == "/up" {
            if !is_up.load(SeqCst) {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
        } else {
            count.fetch_add(1, SeqCst);
            *response.status_mut() = StatusCode::from_u16(says.load(SeqCst)).unwrap();
        }
        response
    })
    .await;
    Moody { app, status, up, asked }
}

fn quick(pool: &mut Pool) {
    pool.outlier = Some(Outlier { eject_millis: 300, ..Outlier::default() });
}

fn is_ejected(stats: &ProxyStats) -> bool {
    !stats.ejected.is_empty()
}

#[tokio::test]
async fn five_failures_in_a_row_eject_and_it_is_said_why_and_one_request_brings_back() {
    let (moody, good) = (moody().await, App::named("good").await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&moody.app.endpoint, &good.endpoint]);
    proxy.put_ready(&table.adjust("web", quick)).await;
    moody.status.store(503, SeqCst);
    let began = far(0);
    let mut client = proxy.client().await;
    let before = proxy.stats().await.sequence;
    for _ in 0..10 {
        client.get("/").await;
    }
    assert_eq!(moody.asked.load(SeqCst), 5);
    let stats = proxy.wait_for_stats("it is ejected", is_ejected).await;
    assert!(stats.sequence > before, "whoever waits for news has been woken");
    let ejected = &stats.ejected[0];
    assert_eq!((ejected.endpoint, ejected.times), (moody.app.endpoint.id, 1));
    assert_eq!(ejected.reason, Reason::Consecutive { failures: 5, last: Failure::Status(503) });
    assert_eq!(ejected.text, "5 failures in a row, the last: status 503");
    assert!((began..=far(0)).contains(&ejected.since_millis), "{ejected:?}");
    let span = ejected.until_millis - ejected.since_millis;
    assert!((269..=331).contains(&span), "a tenth more or less: {span}");
    assert!(stats.not_in_rotation.is_empty(), "its probe passes");

    // One more, which fails: once the time is over, and only once.
    until("its trial", async || {
        client.get("/").await;
        moody.asked.load(SeqCst) > 5
    })
    .await;
    assert!(far(0) >= ejected.until_millis, "before its time was over");
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "good");
    }
    let stats = proxy.stats().await;
    assert_eq!((moody.asked.load(SeqCst), stats.ejected[0].times), (6, 2));
    assert_eq!(stats.ejected[0].reason, Reason::Trial { last: Failure::Status(503) });

    moody.status.store(200, SeqCst);
    until("it is back", async || {
        client.get("/").await;
        proxy.stats().await.ejected.is_empty()
    })
    .await;
    let served = moody.asked.load(SeqCst);
    for _ in 0..10 {
        client.get("/").await;
    }
    assert_eq!(moody.asked.load(SeqCst), served + 5, "it has its part again");
    assert_eq!(proxy.pool("web").await.ejections, 2);
    let page = proxy.metrics().await;
    assert!(page.contains("pando_proxy_ejections_total{pool=\"web\"} 2"), "{page}");
}

#[tokio::test]
async fn a_bad_share_ejects_though_no_failures_stand_in_a_row() {
    let count = AtomicUsize::new(0);
    // Every second is a 500: never two in a row, and an app's own affair each.
    let flaky = App::answering(move |_| {
        let mut response = Response::new(Bytes::new());
        if count.fetch_add(1, SeqCst) % 2 == 1 {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    })
    .await;
    let good = App::named("good").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&flaky.endpoint, &good.endpoint])).await;
    let mut client = proxy.client().await;
    for _ in 0..60 {
        client.get("/").await;
    }
    let stats = proxy.wait_for_stats("it is ejected", is_ejected).await;
    let Reason::SuccessRatio { good, all } = stats.ejected[0].reason else {
        panic!("{:?}", stats.ejected);
    };
    assert_eq!((all, flaky.count()), (20, 20), "as soon as there are enough");
    assert_eq!(good, 10);
}

#[tokio::test]
async fn the_last_one_is_never_ejected_and_ejection_can_be_turned_off() {
    let (one, other) = (moody().await, moody().await);
    one.status.store(502, SeqCst);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&one.app.endpoint])).await;
    let mut client = proxy.client().await;
    for n in 1..=20 {
        assert_eq!(client.get("/").await.status, 502);
        assert_eq!(one.asked.load(SeqCst), n, "each went there");
    }
    other.status.store(502, SeqCst);
    let off = TableBuilder::serving(2, [&one.app.endpoint, &other.app.endpoint]);
    proxy.put_ready(&off.adjust("web", |pool| pool.outlier = None)).await;
    for _ in 0..40 {
        client.get("/").await;
    }
    assert_eq!((one.asked.load(SeqCst), other.asked.load(SeqCst)), (40, 20));
    assert!(!is_ejected(&proxy.stats().await));
}

#[tokio::test]
async fn one_that_is_ejected_stays_so_from_table_to_table() {
    let (moody, good) = (moody().await, App::named("good").await);
    let proxy = Proxy::start().await;
    let table = |revision| TableBuilder::serving(revision, [&moody.app.endpoint, &good.endpoint]);
    proxy.put_ready(&table(1)).await;
    moody.status.store(504, SeqCst);
    let mut client = proxy.client().await;
    for _ in 0..10 {
        client.get("/").await;
    }
    let before = proxy.wait_for_stats("it is ejected", is_ejected).await;
    for revision in 2..6 {
        proxy.put_ready(&table(revision)).await;
        assert_eq!(client.get("/").await.text(), "good");
    }
    assert_eq!(proxy.stats().await.ejected[0].times, before.ejected[0].times);
    // A table without ejection has it serve, whatever was thought of it.
    proxy.put_ready(&table(9).adjust("web", |pool| pool.outlier = None)).await;
    moody.status.store(200, SeqCst);
    let asked = moody.asked.load(SeqCst);
    for _ in 0..4 {
        client.get("/").await;
    }
    assert_eq!(moody.asked.load(SeqCst), asked + 2);
}

fn probed(pool: &mut Pool) {
    pool.probe.kind = ProbeKind::Http { path: "/up".to_owned(), host: None };
}

#[tokio::test]
async fn when_all_fail_their_probes_who_served_before_is_asked_all_the_same() {
    let moody = moody().await;
    let never = App::answering(|_| {
        let mut response = Response::new(Bytes::from("never"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    })
    .await;
    let proxy = Proxy::start().await;
    let table = |revision| {
        TableBuilder::serving(revision, [&moody.app.endpoint, &never.endpoint]).adjust("web", probed)
    };
    let id = moody.app.endpoint.id;
    proxy.put(&table(1)).await;
    proxy.wait_for_stats("it is up", |stats| !stats.not_in_rotation.contains(&id)).await;
    moody.up.store(false, SeqCst);
    proxy.wait_for_stats("it is out", |stats| stats.not_in_rotation.contains(&id)).await;
    let mut client = proxy.client().await;
    for _ in 0..6 {
        let response = client.get("/").await;
        assert_eq!((response.status, response.text()), (200, "moody"));
    }
    assert_eq!(proxy.pool("web").await.failed_open, 6);
    assert!(proxy.metrics().await.contains("pando_proxy_failed_open_total{pool=\"web\"} 6"));
    // Or not, if the table says so.
    proxy.put(&table(2).adjust("web", |pool| pool.when_all_down = AllDown::Refuse)).await;
    let response = client.get("/").await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    moody.up.store(true, SeqCst);
    proxy.wait_for_stats("it is back", |stats| !stats.not_in_rotation.contains(&id)).await;
    assert_eq!(client.get("/").await.status, 200);
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 8).await;
    assert_eq!((pool.failed_open, pool.unready), (6, 1));
}

#[tokio::test]
async fn whoever_refuses_connections_is_not_asked_even_when_all_are_down() {
    let moody = moody().await;
    let endpoint_of = moody.app.endpoint.clone();
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&endpoint_of, &endpoint(free_address())]).adjust("web", probed);
    proxy.put(&table).await;
    proxy.wait_for_stats("it is up", |stats| stats.not_in_rotation.len() == 1).await;
    moody.app.stop().await;
    proxy.wait_for_stats("it is out", |stats| stats.not_in_rotation.len() == 2).await;
    let mut client = proxy.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 503);
    }
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 5).await;
    assert_eq!((pool.failed_open, pool.unready, pool.retries), (0, 5, 0));
}

#[tokio::test]
async fn an_ejected_one_is_better_than_none() {
    let (moody, good) = (moody().await, App::named("good").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&moody.app.endpoint, &good.endpoint])).await;
    moody.status.store(503, SeqCst);
    let mut client = proxy.client().await;
    for _ in 0..10 {
        client.get("/").await;
    }
    proxy.wait_for_stats("it is ejected", is_ejected).await;
    moody.status.store(200, SeqCst);
    good.stop().await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.text(), "moody");
    }
    assert!(proxy.pool("web").await.failed_open >= 4);
}
