//! Clients that send what costs them little and a server much.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use pando_routing::{Pool, Queue};

use super::serving;
use crate::support::http2::{END_HEADERS, END_STREAM, Frame, Frames, GET, Http2, block};
use crate::support::{App, Proxy, TableBuilder, within};

const CALM: u32 = 11;

/// Sends the same until the server has had enough; the code that it ends with. `most` is more than it may take.
async fn flood(
    proxy: &Proxy,
    first: Vec<Frame>,
    most: u32,
    next: impl Fn(u32) -> Vec<Frame> + Send + 'static,
) -> u32 {
    let mut client = Frames::connect(proxy.address).await;
    for frame in first {
        client.send(&frame).await;
    }
    let (mut reader, mut writer) = client.stream.into_split();
    let writing = tokio::spawn(async move {
        for n in 0..most {
            let bytes: Vec<u8> = next(n).iter().flat_map(Frame::bytes).collect();
            // The server may be gone already.
            if tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes).await.is_err() {
                return None;
            }
        }
        Some(writer)
    });
    let mut answered = Vec::new();
    // A reset after the server's last words is as good as an end.
    let _ = within("the end", tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answered)).await;
    writing.abort();
    last_code(&answered)
}

/// Of the GOAWAY among these frames.
fn last_code(mut bytes: &[u8]) -> u32 {
    let mut code = u32::MAX;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(payload) = rest.get(..length) else { break };
        if *kind == 7 {
            code = u32::from_be_bytes(payload[4..8].try_into().unwrap());
        }
        bytes = &rest[length..];
    }
    code
}

/// Asks all the time, over a connection of its own.
async fn bystander(proxy: &Proxy, stop: tokio_util::sync::CancellationToken) -> usize {
    let client = Http2::connect(proxy.address).await;
    let mut answered = 0;
    while !stop.is_cancelled() {
        assert_eq!(client.get("/").await.text(), "ok");
        answered += 1;
    }
    answered
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Runs the flood while another client is served; neither memory nor the other's answers suffer.
async fn endures(
    first: Vec<Frame>,
    most: u32,
    next: impl Fn(u32) -> Vec<Frame> + Send + Clone + 'static,
) -> (u32, App) {
    let app = App::named("ok").await;
    let proxy = serving(&app).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let before = resident();
    let attack = async {
        let mut code = 0;
        for _ in 0..3 {
            code = flood(&proxy, first.clone(), most, next.clone()).await;
        }
        stop.cancel();
        code
    };
    let (code, answered) = tokio::join!(attack, bystander(&proxy, stop.clone()));
    assert!(answered > 0);
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
    proxy.wait_for_stats("nothing is left of it", |stats| stats.in_flight.is_empty()).await;
    assert_eq!(proxy.pool("web").await.failed, 0);
    (code, app)
}

#[tokio::test]
async fn rapid_resets() {
    let (code, app) = endures(Vec::new(), 20_000, |n| {
        vec![Frame::headers(2 * n + 1, END_STREAM, &GET), Frame::new(3, 0, 2 * n + 1, [0, 0, 0, 8])]
    })
    .await;
    assert_eq!(code, CALM);
    // Three connections with their burst each, and what the bystander asked.
    assert!(app.connections() < 1000, "{}", app.connections());
}

#[tokio::test]
async fn resets_that_the_server_is_made_to_do() {
    // CVE-2025-8671: a window that is too large is an error of its stream.
    let (code, _) = endures(Vec::new(), 20_000, |n| {
        vec![
            Frame::headers(2 * n + 1, END_STREAM, &GET),
            Frame::new(8, 0, 2 * n + 1, [0x7f, 0xff, 0xff, 0xff]),
        ]
    })
    .await;
    assert_eq!(code, CALM);
    // So are heads that are malformed.
    let (code, app) = endures(Vec::new(), 20_000, |n| {
        vec![Frame::headers(2 * n + 1, END_STREAM, &[&GET[..], &[("x", " a")]].concat())]
    })
    .await;
    assert_eq!(code, CALM);
    assert!(app.seen.lock().unwrap().iter().all(|seen| !seen.headers.contains_key("x")));
}

#[tokio::test]
async fn continuations() {
    let first = vec![Frame::new(1, END_STREAM, 1, block(&GET))];
    let field = block(&[("x", "y")]);
    let (code, _) = endures(first.clone(), 20_000, move |_| vec![Frame::new(9, 0, 1, field.clone())]).await;
    assert_eq!(code, CALM);
    let (code, _) = endures(first, 20_000, |_| vec![Frame::new(9, 0, 1, [])]).await;
    assert_eq!(code, CALM);
}

#[tokio::test]
async fn pings_settings_priorities_and_empty_frames() {
    for flood in [
        Frame::new(6, 0, 0, [7; 8]),
        Frame::new(4, 0, 0, []),
        Frame::new(4, 0, 0, [0, 4, 0, 0, 255, 255]),
        Frame::new(2, 0, 1, [0, 0, 0, 3, 9]),
        Frame::new(0x77, 0, 0, b"hello".to_vec()),
        Frame::new(8, 0, 0, [0, 0, 0, 1]),
    ] {
        let (code, _) = endures(Vec::new(), 20_000, move |_| vec![flood.clone()]).await;
        assert_eq!(code, CALM);
    }
    let post = [&[(":method", "POST")][..], &GET[1..]].concat();
    let first = vec![Frame::headers(1, 0, &post)];
    let (code, _) = endures(first, 20_000, |_| vec![Frame::new(0, 0, 1, [])]).await;
    assert_eq!(code, CALM);
}

#[tokio::test]
async fn header_bombs() {
    // A field of 4000 bytes is remembered once and referred to ever after, at one byte each.
    let app = App::named("ok").await;
    let proxy = serving(&app).await;
    let before = resident();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Frames::connect(proxy.address).await;
        let mut bomb = block(&GET);
        bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
        bomb.extend([b'y'; 4000]);
        bomb.extend([0xbe; 10_000]);
        client.send(&Frame::new(1, END_STREAM | END_HEADERS, 1, bomb)).await;
        assert_eq!(client.goaway().await, Some(CALM));
        clients.push(client);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
    // What is only too large is answered, and the connection goes on.
    let client = Http2::connect(proxy.address).await;
    let mut large = crate::support::http2::request("GET", "/");
    large.headers_mut().insert("x", http::HeaderValue::from_str(&"y".repeat(70_000)).unwrap());
    assert_eq!(client.ask(large).await.unwrap().status, 431);
    assert_eq!(client.get("/").await.text(), "ok");
}

#[tokio::test]
async fn no_more_streams_than_allowed_and_no_more_data_than_windows() {
    let app = App::serving(|_| Box::pin(std::future::pending())).await;
    let proxy = serving(&app).await;
    let mut client = Frames::connect(proxy.address).await;
    for n in 0..101 {
        client.send(&Frame::headers(2 * n + 1, END_STREAM, &GET)).await;
    }
    let refused = client.next_of(3).await.unwrap();
    assert_eq!((refused.id, refused.code()), (201, 7), "REFUSED_STREAM");
    let id = app.endpoint.id;
    proxy.wait_for_stats("a hundred are there", |stats| stats.in_flight.get(&id) == Some(&100)).await;
    drop(client);
    proxy.wait_for_stats("none is there", |stats| stats.in_flight.is_empty()).await;

    // Nobody takes the body of who waits for a place: at most the stream's window comes in.
    let queue = Some(Queue { length: 10, wait_millis: 60_000 });
    let one_at_a_time = move |pool: &mut Pool| (pool.max_in_flight, pool.queue) = (Some(1), queue.clone());
    proxy.put_ready(&TableBuilder::serving(2, [&app.endpoint]).adjust("web", one_at_a_time)).await;
    let mut first = proxy.client().await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    proxy.wait_for_stats("one is there", |stats| stats.in_flight.get(&id) == Some(&1)).await;
    let post = [&[(":method", "POST")][..], &GET[1..]].concat();
    let mut client = Frames::connect(proxy.address).await;
    client.send(&Frame::headers(1, 0, &post)).await;
    for _ in 0..17 {
        // It may have been ended already.
        let _ = client.write(&Frame::new(0, 0, 1, vec![1; 16_384]).bytes()).await;
    }
    let ended = loop {
        let frame = client.next().await.expect("a word about it");
        if matches!(frame.kind, 3 | 7) {
            break frame;
        }
    };
    assert_eq!(ended.code(), 3, "FLOW_CONTROL_ERROR");
}

#[tokio::test]
async fn bursts_that_browsers_and_others_make_are_no_floods() {
    let app = App::answering(|_| Response::new(Bytes::from("ok"))).await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    for _ in 0..2 {
        // Somebody leaves a page: all that is under way is reset at once.
        let mut streams = Vec::new();
        for _ in 0..90 {
            let asked = crate::support::http2::request("GET", "/");
            streams.push(client.begin(asked, true).await);
        }
        for (_, send) in &mut streams {
            send.send_reset(h2::Reason::CANCEL);
        }
        drop(streams);
        assert_eq!(client.get("/").await.text(), "ok");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..1000 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
}
