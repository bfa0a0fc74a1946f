//! Endpoints leave without anybody noticing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use pando_routing::{Endpoint, EndpointState};
use tokio::sync::Semaphore;

use crate::support::{App, Proxy, Respond, TableBuilder, far, until, within};

fn draining(endpoint: &Endpoint, millis: i64) -> Endpoint {
    let state = EndpointState::Draining { deadline_millis: far(millis) };
    Endpoint { state, ..endpoint.clone() }
}

/// Answers each request when the gate has a permit.
async fn gated(gate: Arc<Semaphore>) -> App {
    App::serving(move |_| -> Respond {
        let gate = gate.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Response::new(Full::new(Bytes::from("old")).boxed_unsync())
        })
    })
    .await
}

#[tokio::test]
async fn a_draining_endpoint_finishes_its_requests_and_gets_no_new_ones() {
    let gate = Arc::new(Semaphore::new(0));
    let (old, new) = (gated(gate.clone()).await, App::named("new").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&old.endpoint])).await;
    let mut waiting = proxy.client().await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let id = old.endpoint.id;
    proxy.wait_for_stats("the request is there", |stats| stats.in_flight.get(&id) == Some(&1)).await;

    let both = [draining(&old.endpoint, 60_000), new.endpoint.clone()];
    proxy.put_ready(&TableBuilder::serving(2, &both)).await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.text(), "new");
    }
    let stats = proxy.stats().await;
    assert_eq!(stats.in_flight.get(&id), Some(&1));

    // A poll is woken by the last request's end, long before its own. What was read just before a change is told of may wake it
    // once more, so it is asked again. A request to the new one may still be in the books after its answer; its end wakes nobody.
    let started = Instant::now();
    let mut poll = proxy.poll_stats_owned(stats.sequence, 8_000);
    gate.add_permits(1);
    loop {
        let woken = within("the poll", poll).await;
        assert!(started.elapsed() < Duration::from_secs(4), "{woken:?}");
        if !woken.in_flight.contains_key(&id) {
            break;
        }
        poll = proxy.poll_stats_owned(woken.sequence, 8_000);
    }
    assert_eq!(waiting.response().await.text(), "old");
    // The same connection goes on to the new one.
    assert_eq!(waiting.get("/").await.text(), "new");
    within("the app stops", old.stop()).await;
    assert_eq!(proxy.pool("web").await.failed, 0);
}

#[tokio::test]
async fn a_draining_endpoint_holds_no_idle_connection() {
    let app = App::named("old").await;
    let new = App::named("new").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "old");
        clients.push(client);
    }
    assert!(metric(&proxy, "idle_connections", &app).await > 0);
    let both = [draining(&app.endpoint, 60_000), new.endpoint.clone()];
    proxy.put_ready(&TableBuilder::serving(2, &both)).await;
    assert_eq!(metric(&proxy, "idle_connections", &app).await, 0);
}

async fn metric(proxy: &Proxy, name: &str, app: &App) -> u64 {
    let id = app.endpoint.id.to_string();
    let page = proxy.metrics().await;
    let line = page.lines().find(|line| line.contains(name) && line.contains(&id) && !line.starts_with('#'));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_drain_can_be_taken_back() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, &[a.endpoint.clone(), b.endpoint.clone()])).await;
    let drained = [draining(&a.endpoint, 60_000), b.endpoint.clone()];
    proxy.put(&TableBuilder::serving(2, &drained)).await;
    let back =
        proxy.put(&TableBuilder::serving(3, &[a.endpoint.clone(), draining(&b.endpoint, 60_000)])).await;
    assert!(back.not_in_rotation.is_empty(), "what was in rotation before needs no new proof");
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.text(), "a");
    }
}

#[tokio::test]
async fn an_endpoint_that_vanishes_finishes_what_it_began() {
    let gate = Arc::new(Semaphore::new(0));
    let (old, new) = (gated(gate.clone()).await, App::named("new").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&old.endpoint])).await;
    let mut waiting = proxy.client().await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let id = old.endpoint.id;
    proxy.wait_for_stats("the request is there", |stats| stats.in_flight.contains_key(&id)).await;
    proxy.put_ready(&TableBuilder::serving(2, [&new.endpoint])).await;
    assert_eq!(proxy.stats().await.in_flight.get(&id), Some(&1));
    assert_eq!(proxy.get("/").await.text(), "new");
    gate.add_permits(1);
    assert_eq!(waiting.response().await.text(), "old");
    proxy.wait_idle(id).await;
    // The counters of a pool that is gone are still there.
    proxy.put(&TableBuilder::new(3)).await;
    assert_eq!(proxy.pool("web").await.requests, 2);
    assert_eq!(proxy.get("/").await.status, 404);
}

/// The planner stops a replica once the drain is acknowledged and the endpoint reports idle. Here that happens over and over,
/// as fast as it can, while clients ask as fast as they can; no request may reach a replica that was stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn idle_after_an_acknowledged_drain_means_idle_for_good() {
    let late = Arc::new(AtomicUsize::new(0));
    let replica = |stopped: Arc<AtomicBool>| {
        let late = late.clone();
        App::serving(move |_| -> Respond {
            if stopped.load(SeqCst) {
                late.fetch_add(1, SeqCst);
            }
            Box::pin(async { Response::new(Full::new(Bytes::from("ok")).boxed_unsync()) })
        })
    };
    let proxy = Arc::new(Proxy::start().await);
    let mut stopped = Arc::new(AtomicBool::new(false));
    let mut current = replica(stopped.clone()).await;
    proxy.put_ready(&TableBuilder::serving(1, [&current.endpoint])).await;
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (proxy, done, served) = (proxy.clone(), done.clone(), served.clone());
            tokio::spawn(async move {
                let mut client = proxy.client().await;
                while !done.load(SeqCst) {
                    let response = client.get("/").await;
                    assert_eq!((response.status, response.text()), (200, "ok"));
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 0..60u64 {
        let before = served.load(SeqCst);
        until("there is traffic", async || served.load(SeqCst) > before + 20).await;
        let next_stopped = Arc::new(AtomicBool::new(false));
        let next = replica(next_stopped.clone()).await;
        let both = [current.endpoint.clone(), next.endpoint.clone()];
        proxy.put_ready(&TableBuilder::serving(2 * round + 2, &both)).await;
        let swapped = [draining(&current.endpoint, 60_000), next.endpoint.clone()];
        proxy.put(&TableBuilder::serving(2 * round + 3, &swapped)).await;
        proxy.wait_idle(current.endpoint.id).await;
        stopped.store(true, SeqCst);
        within("the replica stops", current.stop()).await;
        (current, stopped) = (next, next_stopped);
    }
    done.store(true, SeqCst);
    for client in clients {
        within("a client ends", client).await.unwrap();
    }
    assert_eq!(late.load(SeqCst), 0);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.failed, pool.requests), (0, served.load(SeqCst) as u64));
}
