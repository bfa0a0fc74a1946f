//! Bytes pass as they come, both ways.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::support::{App, Origin, Proxy, TableBuilder, until, within};

#[tokio::test]
async fn server_sent_events_arrive_tick_by_tick() {
    let (ticks, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = std::sync::Mutex::new(Some(receiver));
    let app = App::serving(move |_| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        Box::pin(async move {
            let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
                receiver.recv().await.map(|bytes| (Ok(Frame::data(bytes)), receiver))
            });
            let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            response
        })
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = proxy.client().await;
    client.send("GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.head().await.header("content-type"), Some("text/event-stream"));
    for n in 0..10 {
        let tick = format!("data: {n}\n\n");
        ticks.send(Bytes::from(tick.clone())).await.unwrap();
        // Nothing but this tick can make the chunk arrive: the next is sent only after it.
        let chunk = within("a tick", client.chunk()).await.unwrap().unwrap();
        assert_eq!(chunk, tick.as_bytes());
    }
    let id = app.endpoint.id;
    proxy.wait_for_stats("the stream is in flight", |stats| stats.in_flight.get(&id) == Some(&1)).await;
    drop(ticks);
    assert_eq!(within("the end", client.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn uploads_arrive_piece_by_piece_and_answers_may_overtake_them() {
    // Echoes each byte at once, while the request goes on.
    let origin = Origin::start(|mut stream, _| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await.unwrap();
        let mut byte = [0];
        for _ in 0..10 {
            stream.read_exact(&mut byte).await.unwrap();
            stream.write_all(&byte).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    for byte in 0..10u8 {
        client.send([byte]).await;
        assert_eq!(within("an echo", client.stream.read_u8()).await.unwrap(), byte);
    }
}

/// Neither side's bytes pile up in the proxy: a sender is slowed down to what the receiver takes.
#[tokio::test]
async fn a_slow_reader_slows_the_endpoint_down() {
    let (progress, sent) = tokio::sync::watch::channel(0usize);
    let progress = std::sync::Arc::new(progress);
    let origin = Origin::start(move |mut stream, _| {
        let progress = progress.clone();
        async move {
            let mut head = [0; 4096];
            if stream.read(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await.unwrap();
            let piece = vec![1; 100_000];
            for _ in 0..1000 {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                progress.send_modify(|sent| *sent += piece.len());
            }
        }
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    // Wait until the endpoint is stuck.
    let mut last = (0, Instant::now());
    until("the endpoint is slowed down", async || {
        let now = *sent.borrow();
        if now != last.0 {
            last = (now, Instant::now());
        }
        now > 0 && last.1.elapsed() > Duration::from_millis(500)
    })
    .await;
    assert!(last.0 < 40_000_000, "{} bytes went out though nobody read", last.0);
    let mut rest = vec![0; 100_000_000];
    within("the rest", client.stream.read_exact(&mut rest)).await.unwrap();
    assert!(rest.iter().all(|byte| *byte == 1));
}

#[tokio::test]
async fn an_answer_that_breaks_off_reaches_the_client_as_broken() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut head = [0; 4096];
        let count = stream.read(&mut head).await.unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..count]).into_owned();
        let answer: &[u8] = match head.split(' ').nth(1) {
            Some("/sized") => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            Some("/chunked") => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            _ => return,
        };
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    for path in ["/sized", "/chunked"] {
        let mut client = proxy.client().await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(within("the end", client.try_response()).await, None, "{path}");
    }
    // An old client can't see the end of a body but in the connection's: it must be a reset.
    let mut old = proxy.client().await;
    old.send("GET /chunked HTTP/1.0\r\n\r\n").await;
    let mut got = Vec::new();
    assert!(within("a reset", old.stream.read_to_end(&mut got)).await.is_err());
    let stats = proxy.wait_for_stats("they are counted", |stats| {
        stats.pools.values().map(|pool| pool.failed).sum::<u64>() == 3
    });
    let pools = stats.await.pools;
    let pool = pools.values().next().unwrap();
    assert_eq!((pool.requests, pool.cancelled), (0, 0));
}

#[tokio::test]
async fn a_client_that_gives_up_is_no_failure_and_frees_the_endpoint() {
    let (gone, mut told) = mpsc::channel(1);
    let origin = Origin::start(move |mut stream, _| {
        let gone = gone.clone();
        async move {
            let mut head = [0; 4096];
            if stream.read(&mut head).await.unwrap_or(0) > 0 {
                // Never answers; learns that nobody waits any more.
                assert_eq!(stream.read(&mut head).await.unwrap_or(0), 0);
                gone.send(()).await.unwrap();
            }
        }
    })
    .await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let id = endpoint.id;
    proxy.wait_for_stats("it is in flight", |stats| stats.in_flight.contains_key(&id)).await;
    drop(client);
    within("the endpoint learns of it", told.recv()).await.unwrap();
    proxy.wait_idle(id).await;
    let pool = proxy.pool("web").await;
    assert_eq!((pool.cancelled, pool.failed, pool.requests), (1, 0, 0));
}

#[tokio::test]
async fn a_body_without_progress_is_given_up() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut head = [0; 4096];
        if stream.read(&mut head).await.unwrap_or(0) > 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
            assert_eq!(stream.read(&mut head).await.unwrap_or(0), 0);
        }
    })
    .await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.timeouts.idle_millis = 150)).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(within("the end", client.try_response()).await, None);
    assert_eq!(proxy.pool("web").await.failed, 1);

    // A client that stops sending is told so, and it is its own fault.
    let app = App::named("never").await;
    let table = TableBuilder::serving(2, [&app.endpoint]);
    proxy.put_ready(&table.adjust("web", |pool| pool.timeouts.idle_millis = 150)).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert_eq!(client.response().await.status, 408);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.by_class[3], pool.failed), (1, 1));
}
