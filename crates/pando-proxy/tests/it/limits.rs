//! How many requests an endpoint may have, who waits for it, and how often something is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use pando_routing::{AdaptiveLimit, Pool, ProbeKind, Queue, Retry};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use crate::support::{App, Client, Origin, Proxy, Respond, TableBuilder, within};

/// An app that answers as many requests as the gate has permits, and how many it had at a time at most.
struct Gated {
    app: App,
    gate: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
}

async fn gated() -> Gated {
    let gate = Arc::new(Semaphore::new(0));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (permits, highest) = (gate.clone(), most.clone());
    let app = App::serving(move |request| -> Respond {
        let (permits, now, highest) = (permits.clone(), now.clone(), highest.clone());
        Box::pin(async move {
            highest.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            permits.acquire().await.unwrap().forget();
            now.fetch_sub(1, SeqCst);
            Response::new(Full::new(Bytes::from(request.uri().path().to_owned())).boxed_unsync())
        })
    })
    .await;
    Gated { app, gate, most }
}

async fn ask(proxy: &Proxy, path: &str) -> Client {
    let mut client = proxy.client().await;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    client
}

async fn wait_for_line(proxy: &Proxy, length: usize) {
    let line = format!("pando_proxy_waiting{{pool=\"web\"}} {length}\n");
    crate::support::until("so many wait", async || proxy.metrics().await.contains(&line)).await;
}

fn limited(most: u32, queue: Option<Queue>) -> impl Fn(&mut Pool) {
    move |pool| {
        pool.max_in_flight = Some(most);
        pool.queue.clone_from(&queue);
    }
}

#[tokio::test]
async fn no_endpoint_has_more_than_it_may_and_the_rest_is_told_to_come_again() {
    let (one, two) = (gated().await, gated().await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&one.app.endpoint, &two.app.endpoint]);
    proxy.put_ready(&table.adjust("web", limited(2, None))).await;
    let mut clients = Vec::new();
    for n in 1..=4u64 {
        clients.push(ask(&proxy, "/").await);
        proxy.wait_for_stats("it is there", |stats| stats.in_flight.values().sum::<u64>() == n).await;
    }
    for _ in 0..3 {
        let refused = proxy.get("/").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    }
    one.gate.add_permits(9);
    two.gate.add_permits(9);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!((one.most.load(SeqCst), two.most.load(SeqCst)), (2, 2));
    assert_eq!(proxy.get("/").await.status, 200);
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 8).await;
    assert_eq!((pool.busy, pool.failed, pool.unready), (3, 3, 0));
    assert!(proxy.metrics().await.contains("pando_proxy_busy_total{pool=\"web\"} 3"));
}

#[tokio::test]
async fn who_waits_is_served_in_the_order_of_coming() {
    let gated = gated().await;
    let proxy = Proxy::start().await;
    let queue = Queue { length: 4, wait_millis: 8_000 };
    let table = TableBuilder::serving(1, [&gated.app.endpoint]);
    proxy.put_ready(&table.adjust("web", limited(1, Some(queue)))).await;
    let mut first = ask(&proxy, "/first").await;
    proxy.wait_for_stats("it is there", |stats| stats.in_flight.len() == 1).await;
    let mut waiting = Vec::new();
    for n in 0..4 {
        waiting.push(ask(&proxy, &format!("/{n}")).await);
        wait_for_line(&proxy, n + 1).await;
    }
    assert_eq!(proxy.get("/too-many").await.status, 503);
    // One in the middle gives up.
    drop(waiting.remove(1));
    wait_for_line(&proxy, 3).await;
    gated.gate.add_permits(1);
    assert_eq!(first.response().await.text(), "/first");
    for (n, mut client) in [0, 2, 3].into_iter().zip(waiting) {
        let still = tokio::time::timeout(Duration::from_millis(20), client.try_head()).await;
        assert!(still.is_err(), "before its turn");
        gated.gate.add_permits(1);
        assert_eq!(client.response().await.text(), format!("/{n}"));
    }
    assert_eq!(gated.most.load(SeqCst), 1);
    wait_for_line(&proxy, 0).await;
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 5).await;
    assert_eq!((pool.busy, pool.cancelled), (1, 1));
}

#[tokio::test]
async fn the_wait_has_an_end_and_a_new_replica_shortens_it() {
    let gated = gated().await;
    let proxy = Proxy::start().await;
    let table = |revision, wait_millis| {
        let queue = Queue { length: 10, wait_millis };
        TableBuilder::serving(revision, [&gated.app.endpoint]).adjust("web", limited(1, Some(queue)))
    };
    proxy.put_ready(&table(1, 200)).await;
    let _first = ask(&proxy, "/first").await;
    proxy.wait_for_stats("it is there", |stats| stats.in_flight.len() == 1).await;
    let began = Instant::now();
    let late = proxy.get("/late").await;
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    assert!((200..2_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());

    proxy.put_ready(&table(2, 60_000)).await;
    let mut patient = ask(&proxy, "/patient").await;
    wait_for_line(&proxy, 1).await;
    let new = App::named("new").await;
    let queue = Queue { length: 10, wait_millis: 60_000 };
    let both = TableBuilder::serving(3, [&gated.app.endpoint, &new.endpoint]);
    proxy.put_ready(&both.adjust("web", limited(1, Some(queue)))).await;
    assert_eq!(patient.response().await.text(), "new");
}

/// Under a load that never lets up, more come than may: nobody is lost, nobody served twice at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_in_the_line_is_served() {
    let gated = gated().await;
    gated.gate.add_permits(10_000);
    let proxy = Arc::new(Proxy::start().await);
    let queue = Queue { length: 100, wait_millis: 8_000 };
    let table = TableBuilder::serving(1, [&gated.app.endpoint]);
    proxy.put_ready(&table.adjust("web", limited(2, Some(queue)))).await;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let proxy = proxy.clone();
            tokio::spawn(async move {
                let mut client = proxy.client().await;
                for _ in 0..50 {
                    assert_eq!(client.get("/").await.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        within("a client ends", client).await.unwrap();
    }
    assert!(gated.most.load(SeqCst) <= 2);
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 800).await;
    assert_eq!((pool.failed, pool.busy), (0, 0));
}

#[tokio::test]
async fn an_adaptive_limit_begins_where_it_is_told_and_shrinks_when_overloaded() {
    let gated = gated().await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&gated.app.endpoint]).adjust("web", |pool| {
        pool.adaptive_limit = Some(AdaptiveLimit { initial: 3, least: 1, most: 10 });
    });
    proxy.put_ready(&table).await;
    let mut clients = Vec::new();
    for n in 1..=3 {
        clients.push(ask(&proxy, "/").await);
        proxy.wait_for_stats("it is there", |stats| stats.in_flight.values().sum::<u64>() == n).await;
    }
    assert_eq!(proxy.get("/").await.status, 503);
    gated.gate.add_permits(1_000);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(gated.most.load(SeqCst), 3);
}

/// Reads a request and closes without a word.
async fn drops_each(heads: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |mut stream, _| {
        let heads = heads.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            heads.fetch_add(1, SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn retries_are_as_many_as_the_table_says() {
    let heads = Arc::new(AtomicUsize::new(0));
    let origins =
        [drops_each(heads.clone()).await, drops_each(heads.clone()).await, drops_each(heads.clone()).await];
    let all: Vec<_> = origins.iter().map(Origin::endpoint).collect();
    let proxy = Proxy::start().await;
    for (revision, attempts) in [(1, 0), (2, 1), (3, 2)] {
        let table = TableBuilder::serving(revision, &all).adjust("web", |pool| {
            pool.probe.kind = ProbeKind::None;
            pool.outlier = None;
            pool.retry = Retry { attempts, ..Retry::default() };
        });
        proxy.put_ready(&table).await;
        heads.store(0, SeqCst);
        assert_eq!(proxy.get("/").await.status, 502);
        assert_eq!(heads.load(SeqCst), attempts as usize + 1);
    }
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    let heads = Arc::new(AtomicUsize::new(0));
    let origins = [drops_each(heads.clone()).await, drops_each(heads.clone()).await];
    let all: Vec<_> = origins.iter().map(Origin::endpoint).collect();
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, &all).adjust("web", |pool| {
        pool.probe.kind = ProbeKind::None;
        pool.outlier = None;
        pool.retry = Retry { budget_percent: 10, budget_per_second: 1, ..Retry::default() };
    });
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 502);
    }
    // A tenth of a hundred, and one for each of ten seconds.
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 100).await;
    assert_eq!((pool.retries, pool.retries_denied), (20, 80));
    assert_eq!(heads.load(SeqCst), 120);
}
