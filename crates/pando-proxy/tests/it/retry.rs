//! When a request is tried again, and when it must not be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use pando_routing::ProbeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Origin, Proxy, TableBuilder, endpoint, free_address};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Reads one head; false at the end of the connection.
async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn nobody_listening_sends_the_request_elsewhere_and_takes_the_endpoint_out() {
    let app = App::named("ok").await;
    let dead = endpoint(free_address());
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, &[dead.clone(), app.endpoint.clone()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.probe.kind = ProbeKind::None)).await;
    // Even a request that may not be repeated: none of it was sent.
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let mut client = proxy.client().await;
    for _ in 0..4 {
        assert_eq!(client.request(post).await.status, 200);
    }
    assert_eq!(app.last().body, "hello");
    let stats = proxy.stats().await;
    assert!(stats.not_in_rotation.contains(&dead.id));
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed, pool.retries), (4, 0, 1));
}

#[tokio::test]
async fn at_most_three_endpoints_are_tried() {
    let dead: Vec<_> = (0..5).map(|_| endpoint(free_address())).collect();
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, &dead);
    proxy
        .put_ready(&table.adjust("web", |pool| {
            pool.probe.kind = ProbeKind::None;
            pool.probe.interval_millis = 60_000;
        }))
        .await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.stats().await.not_in_rotation.len(), 3);
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.get("/").await.status, 503);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed, pool.retries), (3, 3, 3));
}

/// Closes each connection after its first answer, without saying so before: as servers do whose idle time is over.
async fn one_answer_each(served: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |mut stream, _| {
        let served = served.clone();
        async move {
            if read_head(&mut stream).await {
                served.fetch_add(1, SeqCst);
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_nobody_an_answer() {
    let served = Arc::new(AtomicUsize::new(0));
    let origin = one_answer_each(served.clone()).await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    for n in 0..200 {
        // Without a pause the request races the close; with one the close is known.
        if n % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(client.get("/").await.text(), "ok");
    }
    assert_eq!(served.load(SeqCst), 200);
}

/// Reads the second request of a connection and closes without a word: it may have done what was asked.
async fn drops_the_second(heads: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |mut stream, _| {
        let heads = heads.clone();
        async move {
            if read_head(&mut stream).await {
                heads.fetch_add(1, SeqCst);
                stream.write_all(OK).await.unwrap();
                if read_head(&mut stream).await {
                    heads.fetch_add(1, SeqCst);
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_can_be_done_twice_is_sent_again_and_what_cannot_is_not() {
    let heads = Arc::new(AtomicUsize::new(0));
    let origin = drops_the_second(heads.clone()).await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    // Read and dropped, then sent again over a new connection.
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(heads.load(SeqCst), 3);
    assert_eq!(proxy.pool("web").await.retries, 1);
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.request(post).await.status, 502);
    assert_eq!(heads.load(SeqCst), 4);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.retries, pool.failed), (1, 1));
}

#[tokio::test]
async fn a_request_that_cannot_be_repeated_avoids_connections_that_idled() {
    let heads = Arc::new(AtomicUsize::new(0));
    let origin = drops_the_second(heads.clone()).await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.request(post).await.status, 200);
}

/// Reads a request and closes without a word, as a process does that is killed.
async fn drops_each(heads: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |mut stream, _| {
        let heads = heads.clone();
        async move {
            if read_head(&mut stream).await {
                heads.fetch_add(1, SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_first_connection_that_breaks_is_not_tried_again_there() {
    let heads = Arc::new(AtomicUsize::new(0));
    let breaking = drops_each(heads.clone()).await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [breaking.endpoint()])).await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(heads.load(SeqCst), 1);
}

#[tokio::test]
async fn what_a_dying_replica_leaves_unanswered_another_answers_once() {
    let heads = Arc::new(AtomicUsize::new(0));
    let breaking = drops_each(heads.clone()).await;
    let app = App::named("ok").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [breaking.endpoint(), app.endpoint.clone()])).await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "ok");
    }
    assert!(heads.load(SeqCst) > 0, "none began there");
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(proxy.client().await.request(post).await.status);
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 502], "it may have been done");
    // Whatever kills one replica after the other is stopped at the second.
    let (first, second) = (drops_each(heads.clone()).await, drops_each(heads.clone()).await);
    heads.store(0, SeqCst);
    let all = [first.endpoint(), second.endpoint(), app.endpoint.clone()];
    proxy
        .put_ready(&TableBuilder::serving(2, &all).adjust("web", |pool| pool.probe.kind = ProbeKind::None))
        .await;
    let mut worst = 0;
    for _ in 0..6 {
        worst = worst.max(u16::from(proxy.get("/").await.status == 502));
    }
    assert!(worst == 1 && heads.load(SeqCst) >= 2);
}

/// Accepts until it has read a request; from then on its kernel answers nobody, as that of a machine without power.
async fn falls_silent() -> (pando_routing::Endpoint, tokio::task::JoinHandle<()>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let life = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if read_head(&mut stream).await {
                held.push(stream);
                break;
            }
        }
        // What fills its queue; whoever comes after that is not even refused.
        for _ in 0..8 {
            let filling = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address));
            held.extend(filling.await.into_iter().flatten());
        }
        std::future::pending::<()>().await;
    });
    (endpoint(address), life)
}

#[tokio::test]
async fn a_request_that_a_dead_machine_holds_is_answered_by_another() {
    let (silent, life) = falls_silent().await;
    let app = App::named("ok").await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [silent, app.endpoint.clone()]);
    proxy
        .put_ready(&table.adjust("web", |pool| {
            (pool.probe.interval_millis, pool.probe.timeout_millis) = (100, 100);
        }))
        .await;
    let start = std::time::Instant::now();
    let (one, other) = tokio::join!(proxy.get("/"), proxy.get("/"));
    assert_eq!((one.text(), other.text()), ("ok", "ok"));
    assert!(start.elapsed() < Duration::from_secs(20), "not after the patience for an answer");
    life.abort();
}

#[tokio::test]
async fn what_is_not_http_is_a_502() {
    let babbling = Origin::start(|mut stream, _| async move {
        if read_head(&mut stream).await {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        }
    })
    .await;
    let switching = Origin::start(|mut stream, _| async move {
        if read_head(&mut stream).await {
            let unasked = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n";
            stream.write_all(unasked).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start().await;
    for (revision, origin) in [(1, &babbling), (2, &switching)] {
        proxy.put_ready(&TableBuilder::serving(revision, [origin.endpoint()])).await;
        assert_eq!(proxy.get("/").await.status, 502);
    }
}
