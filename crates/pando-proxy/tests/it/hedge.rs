//! What takes long is asked of a second endpoint too, and the answer that is there first counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pando_routing::{Algorithm, Hedge, Pool, ProbeKind, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{App, Origin, Proxy, TableBuilder, until};

/// How an origin answers each request: after so long; `None`: never.
struct Slow {
    origin: Origin,
    asked: Arc<AtomicUsize>,
    /// Connections that the other side closed while it waited for an answer.
    given_up: Arc<AtomicUsize>,
}

async fn slow(after: Duration, answer: Option<&'static str>) -> Slow {
    let (asked, given_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (asked.clone(), given_up.clone());
    let origin = Origin::start(move |mut stream, _| {
        let (asked, given_up) = counts.clone();
        async move {
            let mut head = Vec::new();
            while stream.read_buf(&mut head).await.unwrap_or(0) > 0 {
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                head.clear();
                asked.fetch_add(1, SeqCst);
                let mut byte = [0];
                tokio::select! {
                    () = tokio::time::sleep(after) => {}
                    _ = stream.read(&mut byte) => {
                        given_up.fetch_add(1, SeqCst);
                        return;
                    }
                }
                let Some(answer) = answer else { return };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    Slow { origin, asked, given_up }
}

const FOREVER: Duration = Duration::from_secs(60);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow";

/// Asked in turn (of two, the one that was asked as the second is not the next first), and hedged after so many milliseconds.
fn hedged(after_millis: u64) -> impl Fn(&mut Pool) {
    move |pool| {
        pool.algorithm = Algorithm::RoundRobin;
        pool.probe.kind = ProbeKind::None;
        pool.outlier = None;
        pool.hedge = Some(Hedge { after_millis: Some(after_millis), ..Hedge::default() });
        pool.retry = Retry { attempts: 0, budget_per_second: 100, ..Retry::default() };
        pool.timeouts.response_millis = 20_000;
    }
}

#[tokio::test]
async fn one_that_hangs_is_not_waited_for_and_can_stop() {
    let (hung, app) = (slow(FOREVER, None).await, App::named("fast").await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&hung.origin.endpoint(), &app.endpoint]);
    proxy.put_ready(&table.adjust("web", hedged(30))).await;
    let mut client = proxy.client().await;
    for n in 0..10 {
        let head_only = n % 4 == 3;
        let answer = match head_only {
            true => client.request("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await,
            false => client.get("/").await,
        };
        assert_eq!(answer.status, 200, "request {n}");
    }
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 10).await;
    assert_eq!((pool.hedges, pool.hedges_won, pool.failed, pool.retries), (10, 10, 0, 0));
    assert_eq!(hung.asked.load(SeqCst), 10);
    until("its connections were closed", async || hung.given_up.load(SeqCst) == 10).await;
    let metrics = proxy.metrics().await;
    assert!(metrics.contains("pando_proxy_hedges_total{pool=\"web\"} 10"));
    assert!(metrics.contains("pando_proxy_hedges_won_total{pool=\"web\"} 10"));
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_asked_once() {
    let (hung, app) = (slow(FOREVER, None).await, App::named("fast").await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&hung.origin.endpoint(), &app.endpoint]);
    let adjust = |pool: &mut Pool| {
        hedged(10)(pool);
        pool.timeouts.response_millis = 300;
    };
    proxy.put_ready(&table.adjust("web", adjust)).await;
    let mut statuses = Vec::new();
    for request in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx",
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    ] {
        for _ in 0..2 {
            statuses.push(proxy.client().await.request(request).await.status);
        }
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 504, 504]);
    assert_eq!(proxy.pool("web").await.hedges, 0);
}

#[tokio::test]
async fn an_answer_of_failure_does_not_win_against_one_that_is_to_come() {
    let fails = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let (good, bad) =
        (slow(Duration::from_millis(300), Some(OK)).await, slow(Duration::ZERO, Some(fails)).await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&good.origin.endpoint(), &bad.origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", hedged(30))).await;
    let mut client = proxy.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.text(), "slow");
    }
    let pool = proxy.pool("web").await;
    assert_eq!((pool.hedges, pool.hedges_won), (4, 0));
    assert_eq!(bad.asked.load(SeqCst), 4);
}

#[tokio::test]
async fn when_the_first_breaks_off_the_second_is_all_there_is() {
    let (breaks, good) =
        (slow(Duration::from_millis(150), None).await, slow(Duration::from_millis(300), Some(OK)).await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&breaks.origin.endpoint(), &good.origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", hedged(30))).await;
    let mut client = proxy.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.text(), "slow");
    }
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 4).await;
    assert_eq!((pool.hedges, pool.hedges_won, pool.failed), (4, 4, 0));
}

#[tokio::test]
async fn it_costs_no_more_than_the_budget_for_retries() {
    let (late, other) =
        (slow(Duration::from_millis(60), Some(OK)).await, slow(Duration::from_millis(60), Some(OK)).await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&late.origin.endpoint(), &other.origin.endpoint()]);
    let adjust = |pool: &mut Pool| {
        hedged(10)(pool);
        pool.retry = Retry { budget_percent: 10, budget_per_second: 0, ..Retry::default() };
    };
    proxy.put_ready(&table.adjust("web", adjust)).await;
    let mut client = proxy.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.text(), "slow");
    }
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 40).await;
    assert_eq!((pool.hedges, pool.retries_denied), (4, 36));
}

#[tokio::test]
async fn what_is_slow_follows_from_what_answers_take() {
    let (usual, hung) = (App::named("usual").await, slow(FOREVER, None).await);
    let proxy = Proxy::start().await;
    let adjust = |pool: &mut Pool| {
        hedged(1)(pool);
        pool.hedge = Some(Hedge::default());
    };
    proxy.put_ready(&TableBuilder::serving(1, [&usual.endpoint]).adjust("web", adjust)).await;
    let mut client = proxy.client().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // Until enough is known; with one endpoint nothing is hedged.
    for _ in 0..100 {
        client.get("/").await;
    }
    let both = TableBuilder::serving(2, [&usual.endpoint, &hung.origin.endpoint()]).adjust("web", adjust);
    let known = async || proxy.metrics().await.contains("pando_proxy_hedge_after_seconds{pool=\"web\"}");
    until("it is known what is slow", known).await;
    proxy.put_ready(&both).await;
    while proxy.pool("web").await.hedges_won == 0 {
        assert_eq!(client.get("/").await.text(), "usual");
        assert!(Instant::now() < deadline, "nothing was hedged");
    }
    assert_eq!(proxy.pool("web").await.failed, 0);
}
