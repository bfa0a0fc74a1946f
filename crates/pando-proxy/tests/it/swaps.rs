//! Tables swapped every ten milliseconds while a thousand WebSockets are open: none of them is any table's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::stream::{StreamExt, iter};
use pando_routing::{Algorithm, Endpoint};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::websocket::{connect, echo, say};
use crate::support::{App, Client, Proxy, TableBuilder, endpoint, within};

const SOCKETS: usize = 1000;

/// How long, in seconds; `PANDO_SWAP_SECONDS` has it go on for longer.
fn seconds() -> u64 {
    std::env::var("PANDO_SWAP_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Each differs from the one before in rules, pools, endpoints and settings; the endpoint of the WebSockets is in all of them.
fn table(revision: u64, chat: &Endpoint, apps: &[App; 3]) -> TableBuilder {
    let turn = usize::try_from(revision).unwrap();
    let algorithms = [Algorithm::RoundRobin, Algorithm::PeakEwma, Algorithm::LeastConnections];
    let some = apps.iter().enumerate().filter(|(n, _)| turn % 3 != *n).map(|(_, app)| &app.endpoint);
    let with_chat = turn.is_multiple_of(2).then(|| endpoint(apps[0].address));
    let name = format!("other-{}", turn % 7);
    let weighted = Endpoint { weight: u32::try_from(1 + turn % 5).unwrap(), ..chat.clone() };
    TableBuilder::new(revision)
        .rule("*", "/chat", "chat")
        .rule("*", "/", "web")
        .rule(&format!("{name}.example"), "/", &name)
        .pool("web", some, |pool| pool.algorithm = algorithms[turn % 3].clone())
        .pool("chat", [weighted].into_iter().chain(with_chat), |pool| {
            pool.algorithm = algorithms[(turn + 1) % 3].clone();
            pool.timeouts.connect_millis = 1000 + revision;
        })
        .pool(&name, [endpoint(apps[1].address)], |_| {})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_websockets_live_through_a_swap_every_ten_milliseconds() {
    let (ends, mut ended) = mpsc::channel(SOCKETS + 8);
    let chat = echo(ends).await;
    let chat_endpoint = chat.endpoint();
    let apps = [App::named("ok").await, App::named("ok").await, App::named("ok").await];
    let proxy = Arc::new(Proxy::start().await);
    let only_chat = TableBuilder::new(1).rule("*", "/", "chat").pool("chat", [&chat_endpoint], |_| {});
    proxy.put_ready(&only_chat).await;
    let opening = iter(0..SOCKETS).map(|_| connect(&proxy)).buffer_unordered(50);
    let sockets: Vec<_> = opening.collect().await;

    let (done, echoes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for (n, mut socket) in sockets.into_iter().enumerate() {
        let (done, echoes) = (done.clone(), echoes.clone());
        clients.spawn(async move {
            // At moments of their own.
            tokio::time::sleep(Duration::from_millis(n as u64)).await;
            while !done.load(SeqCst) {
                say(&mut socket, "still here").await;
                echoes.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(1000)).await;
            }
            say(&mut socket, "to the end").await;
            socket
        });
    }
    proxy.put_ready(&table(2, &chat_endpoint, &apps)).await;
    let (requests, asking, address) = (Arc::new(AtomicUsize::new(0)), done.clone(), proxy.address);
    let asked = requests.clone();
    let asker = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        while !asking.load(SeqCst) {
            assert_eq!(client.get("/").await.status, 200);
            asked.fetch_add(1, SeqCst);
        }
    });

    let (begun, mut revision) = (Instant::now(), 2);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while begun.elapsed() < Duration::from_secs(seconds()) {
        ticks.tick().await;
        revision += 1;
        proxy.put(&table(revision, &chat_endpoint, &apps)).await;
        assert!(clients.try_join_next().is_none(), "a WebSocket has ended");
    }
    done.store(true, SeqCst);
    within("the client of requests", asker).await.unwrap();
    let mut open = Vec::new();
    while let Some(socket) = within("a last word", clients.join_next()).await {
        open.push(socket.unwrap());
    }
    assert_eq!(open.len(), SOCKETS);
    assert!(ended.try_recv().is_err(), "the app has seen a WebSocket end");
    let (swaps, took) = (revision - 2, begun.elapsed());
    println!(
        "{swaps} tables in {took:?}, {} WebSockets open, 0 closed, {} echoes, {} requests, 0 failed",
        open.len(),
        echoes.load(SeqCst),
        requests.load(SeqCst)
    );
    assert!(swaps > seconds() * 10, "{swaps} swaps are no storm");
    assert_eq!(proxy.pool("web").await.failed + proxy.pool("chat").await.failed, 0);
}
