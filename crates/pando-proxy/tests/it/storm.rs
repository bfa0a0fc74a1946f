//! Constant load while everything behind the proxy is exchanged, again and again. Nobody may notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use pando_routing::{Algorithm, Endpoint, EndpointState};
use tokio::task::JoinSet;

use crate::support::{App, Client, Proxy, TableBuilder, far, until, within};

/// What the clients have in common.
#[derive(Debug, Clone)]
struct Load {
    address: std::net::SocketAddr,
    done: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

/// How a client behaves.
#[derive(Debug, Clone, Copy)]
enum Kind {
    KeepAlive,
    NewConnections,
    Posts,
    Chunks,
}

impl Load {
    async fn run(self, kind: Kind) {
        let mut client = Client::connect(self.address).await;
        let mut number = 0;
        while !self.done.load(SeqCst) {
            number += 1;
            let text = format!("{kind:?}-{number}");
            let length = text.len();
            let request = match kind {
                Kind::KeepAlive => format!("GET /{text} HTTP/1.1\r\nhost: a\r\n\r\n"),
                Kind::NewConnections => {
                    format!("GET /{text} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                }
                Kind::Posts => {
                    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{text}")
                }
                Kind::Chunks => format!(
                    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{text}\r\n0\r\n\r\n"
                ),
            };
            let response = client.request(&request).await;
            assert_eq!((response.status, response.text()), (200, text.as_str()));
            self.served.fetch_add(1, SeqCst);
            if matches!(kind, Kind::NewConnections) {
                client = Client::connect(self.address).await;
            }
        }
    }
}

/// Echoes the path or the body, after a moment now and then.
async fn replica() -> App {
    App::answering(|seen| {
        if seen.body.is_empty() {
            Response::new(Bytes::from(seen.target[1..].to_owned()))
        } else {
            Response::new(seen.body.clone())
        }
    })
    .await
}

fn drained(endpoint: &Endpoint) -> Endpoint {
    let state = EndpointState::Draining { deadline_millis: far(30_000) };
    Endpoint { state, ..endpoint.clone() }
}

fn start(proxy: &Proxy, clients: &mut JoinSet<()>) -> Load {
    let load = Load { address: proxy.address, done: Arc::default(), served: Arc::default() };
    for kind in [Kind::KeepAlive, Kind::NewConnections, Kind::Posts, Kind::Chunks] {
        for _ in 0..2 {
            clients.spawn(load.clone().run(kind));
        }
    }
    load
}

async fn finish(proxy: &Proxy, load: Load, mut clients: JoinSet<()>) {
    load.done.store(true, SeqCst);
    while let Some(ended) = within("a client ends", clients.join_next()).await {
        ended.unwrap();
    }
    let pool = proxy.pool("web").await;
    let served = load.served.load(SeqCst) as u64;
    assert_eq!((pool.failed, pool.cancelled, pool.requests, pool.by_class[1]), (0, 0, served, served));
}

async fn rolling(algorithm: Algorithm) {
    let proxy = Proxy::start().await;
    let mut revision = 0;
    let mut table = |endpoints: &[Endpoint]| {
        revision += 1;
        TableBuilder::serving(revision, endpoints).adjust("web", |pool| pool.algorithm = algorithm.clone())
    };
    let mut replicas = [replica().await, replica().await, replica().await];
    let endpoints = |replicas: &[App; 3]| replicas.each_ref().map(|replica| replica.endpoint.clone());
    proxy.put_ready(&table(&endpoints(&replicas))).await;
    let mut clients = JoinSet::new();
    let load = start(&proxy, &mut clients);
    for round in 0..30 {
        let before = load.served.load(SeqCst);
        until("there is traffic", async || load.served.load(SeqCst) >= before + 30).await;
        let next = replica().await;
        let mut all = endpoints(&replicas).to_vec();
        all.push(next.endpoint.clone());
        proxy.put_ready(&table(&all)).await;
        let old = std::mem::replace(&mut replicas[round % 3], next);
        let mut swapped = endpoints(&replicas).to_vec();
        swapped.push(drained(&old.endpoint));
        proxy.put(&table(&swapped)).await;
        proxy.wait_idle(old.endpoint.id).await;
        old.stop().await;
        proxy.put(&table(&endpoints(&replicas))).await;
    }
    finish(&proxy, load, clients).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_rolling_exchanges_fail_nothing() {
    rolling(Algorithm::RoundRobin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_rolling_exchanges_fail_nothing_with_least_connections() {
    rolling(Algorithm::LeastConnections).await;
}

/// All at once: the table moves from one set of endpoints to another, in one step and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flipping_between_two_sets_fails_nothing() {
    let (blue, green) = ([replica().await, replica().await], [replica().await, replica().await]);
    let proxy = Proxy::start().await;
    let active = |apps: &[App; 2]| apps.each_ref().map(|app| app.endpoint.clone());
    let resting = |apps: &[App; 2]| apps.each_ref().map(|app| drained(&app.endpoint));
    proxy.put_ready(&TableBuilder::serving(1, [active(&blue), active(&green)].concat())).await;
    let mut clients = JoinSet::new();
    let load = start(&proxy, &mut clients);
    for revision in 2..300 {
        let endpoints = if revision % 2 == 0 {
            [active(&blue), resting(&green)].concat()
        } else {
            [resting(&blue), active(&green)].concat()
        };
        proxy.put(&TableBuilder::serving(revision, &endpoints)).await;
    }
    finish(&proxy, load, clients).await;
}

/// A pool that is replaced by another of a different name, under the same rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn renaming_the_pool_under_a_rule_fails_nothing() {
    let app = replica().await;
    let proxy = Proxy::start().await;
    let table = |revision: u64| {
        let name = if revision.is_multiple_of(2) { "even" } else { "odd" };
        TableBuilder::new(revision).rule("*", "/", name).pool(name, [&app.endpoint], |_| {})
    };
    proxy.put_ready(&table(1)).await;
    let mut clients = JoinSet::new();
    let load = start(&proxy, &mut clients);
    for revision in 2..200 {
        proxy.put(&table(revision)).await;
    }
    load.done.store(true, SeqCst);
    while let Some(ended) = within("a client ends", clients.join_next()).await {
        ended.unwrap();
    }
    proxy.wait_idle(app.endpoint.id).await;
    let (odd, even) = (proxy.pool("odd").await, proxy.pool("even").await);
    assert_eq!((odd.failed, even.failed), (0, 0));
    assert_eq!(odd.requests + even.requests, load.served.load(SeqCst) as u64);
}

/// Servers that close idle connections all the time, as many do; pauses make the close and the next request meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_with_short_idle_times_fail_nothing() {
    use crate::support::Origin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let origin = Origin::start(|mut stream, _| async move {
        let mut got = Vec::new();
        loop {
            got.clear();
            while !got.windows(4).any(|end| end == b"\r\n\r\n") {
                // Idle for 1.2 s is too long for this one.
                let read = tokio::time::timeout(Duration::from_millis(1_200), stream.read_buf(&mut got));
                if !matches!(read.await, Ok(Ok(1..))) {
                    return;
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut clients = JoinSet::new();
    for n in 0..20u64 {
        let address = proxy.address;
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            for round in 0..4u64 {
                let method = if n % 2 == 0 { "GET" } else { "POST" };
                let request = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
                assert_eq!(client.request(&request).await.text(), "ok");
                // Around the server's limit, a little before and a little after.
                tokio::time::sleep(Duration::from_millis(1_190 + (n + round) % 20)).await;
            }
        });
    }
    while let Some(ended) = within("a client ends", clients.join_next()).await {
        ended.unwrap();
    }
    let pool = proxy.pool("web").await;
    assert_eq!((pool.failed, pool.requests), (0, 80));
}
