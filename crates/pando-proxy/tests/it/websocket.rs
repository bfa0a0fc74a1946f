//! Upgraded connections: both ways, across tables, and told when it is time to go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pando_routing::{Endpoint, EndpointState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::websocket::{AWAY, close_code, connect, echo, say};
use crate::support::{App, NOBODY, Origin, Proxy, TableBuilder, far, within};

fn draining(endpoint: &Endpoint, millis: i64) -> Endpoint {
    let state = EndpointState::Draining { deadline_millis: far(millis) };
    Endpoint { state, ..endpoint.clone() }
}

#[tokio::test]
async fn messages_pass_both_ways_and_a_close_is_the_ends_own() {
    let (ends, mut ended) = mpsc::channel(8);
    let origin = echo(ends).await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut socket = connect(&proxy).await;
    let large = "x".repeat(300_000);
    for text in ["hello", "", large.as_str()] {
        say(&mut socket, text).await;
    }
    assert_eq!(proxy.stats().await.in_flight.get(&endpoint.id), Some(&1));
    let pool = proxy.pool("web").await;
    assert_eq!((pool.by_class[0], pool.requests), (1, 1));
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: CloseCode::Library(4321),
        reason: "done".into(),
    };
    socket.close(Some(frame)).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 4321);
    assert_eq!(within("the app's end", ended.recv()).await.unwrap(), Some(4321));
    drop(socket);
    proxy.wait_idle(endpoint.id).await;
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed, pool.cancelled), (1, 0, 0));
}

#[tokio::test]
async fn other_tables_leave_open_sockets_alone() {
    let (ends, mut ended) = mpsc::channel(8);
    let origin = echo(ends).await;
    let (endpoint, other) = (origin.endpoint(), App::named("other").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut socket = connect(&proxy).await;
    for revision in 2..200 {
        let table = TableBuilder::serving(revision, [&endpoint])
            .rule(&format!("n{revision}.example"), "/", "other")
            .pool("other", [&other.endpoint], |pool| pool.timeouts.idle_millis = revision);
        proxy.put(&table).await;
        if revision % 20 == 0 {
            say(&mut socket, "still here").await;
        }
    }
    assert!(ended.try_recv().is_err());
}

#[tokio::test]
async fn at_the_deadline_both_sides_are_told_to_go() {
    let (ends, mut ended) = mpsc::channel(8);
    let origin = echo(ends).await;
    let (endpoint, new) = (origin.endpoint(), App::named("new").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut socket = connect(&proxy).await;
    let both = [draining(&endpoint, 400), new.endpoint.clone()];
    let drained = Instant::now();
    proxy.put(&TableBuilder::serving(2, &both)).await;
    // Until then it goes on as before.
    say(&mut socket, "before the deadline").await;
    assert_eq!(close_code(&mut socket).await, AWAY);
    assert!(drained.elapsed() >= Duration::from_millis(350), "{:?}", drained.elapsed());
    assert_eq!(within("the app's end", ended.recv()).await.unwrap(), Some(AWAY));
    // Both have answered, so nobody waits out the five seconds.
    proxy.wait_idle(endpoint.id).await;
    assert!(drained.elapsed() < Duration::from_secs(4), "{:?}", drained.elapsed());
    assert_eq!(proxy.pool("web").await.failed, 0);
}

#[tokio::test]
async fn a_deadline_that_moves_is_followed() {
    let (ends, mut ended) = mpsc::channel(8);
    let origin = echo(ends).await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut socket = connect(&proxy).await;
    proxy.put(&TableBuilder::serving(2, [draining(&endpoint, 300)])).await;
    // Taken back in time: nothing happens.
    proxy.put(&TableBuilder::serving(3, [&endpoint])).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    say(&mut socket, "still here").await;
    proxy.put(&TableBuilder::serving(4, [draining(&endpoint, 60_000)])).await;
    proxy.put(&TableBuilder::serving(5, [draining(&endpoint, 100)])).await;
    assert_eq!(close_code(&mut socket).await, AWAY);
    assert_eq!(within("the app's end", ended.recv()).await.unwrap(), Some(AWAY));
}

#[tokio::test]
async fn an_endpoint_that_vanishes_closes_its_sockets() {
    let (ends, mut ended) = mpsc::channel(8);
    let origin = echo(ends).await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut socket = connect(&proxy).await;
    say(&mut socket, "hello").await;
    proxy.put(&TableBuilder::serving(2, NOBODY)).await;
    assert_eq!(close_code(&mut socket).await, AWAY);
    assert_eq!(within("the app's end", ended.recv()).await.unwrap(), Some(AWAY));
    proxy.wait_idle(endpoint.id).await;
}

const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

/// An upgraded connection without a WebSocket library in between.
async fn raw_upgrade(proxy: &Proxy, protocol: &str) -> crate::support::Client {
    let mut client = proxy.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"))
        .await;
    assert_eq!(client.head().await.status, 101);
    client
}

#[tokio::test]
async fn a_close_frame_waits_for_the_end_of_the_frame_under_way() {
    let (go, gate) = mpsc::channel::<()>(1);
    let gate = Arc::new(tokio::sync::Mutex::new(gate));
    let origin = Origin::start(move |mut stream, _| {
        let gate = gate.clone();
        async move {
            if read_head(&mut stream).await {
                // Half of a frame of ten bytes; the rest, and another frame, when told.
                stream.write_all(&[SWITCHING, b"\x82\x0a12345"].concat()).await.unwrap();
                gate.lock().await.recv().await;
                stream.write_all(b"67890\x82\x03new").await.unwrap();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert!(rest.starts_with(b"\x88\x82"), "the app is told by a masked close frame: {rest:?}");
            }
        }
    })
    .await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut client = raw_upgrade(&proxy, "websocket").await;
    let mut half = [0; 7];
    within("half a frame", client.stream.read_exact(&mut half)).await.unwrap();
    proxy.put(&TableBuilder::serving(2, [draining(&endpoint, 0)])).await;
    // Nothing of ours may stand in the middle.
    let early = tokio::time::timeout(Duration::from_millis(200), client.stream.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    go.send(()).await.unwrap();
    let mut rest = [0; 9];
    within("the rest and our close", client.stream.read_exact(&mut rest)).await.unwrap();
    assert_eq!(&rest, b"67890\x88\x02\x03\xe9");
    drop(client);
    proxy.wait_idle(endpoint.id).await;
}

#[tokio::test]
async fn sides_that_never_answer_are_closed_after_five_seconds() {
    let origin = Origin::start(|mut stream, _| async move {
        if read_head(&mut stream).await {
            stream.write_all(SWITCHING).await.unwrap();
            let mut got = Vec::new();
            let _ = stream.read_to_end(&mut got).await;
        }
    })
    .await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut client = raw_upgrade(&proxy, "websocket").await;
    let started = Instant::now();
    proxy.put(&TableBuilder::serving(2, [draining(&endpoint, 0)])).await;
    assert_eq!(client.rest().await, [0x88, 2, 3, 0xe9]);
    assert!(started.elapsed() > Duration::from_secs(4), "{:?}", started.elapsed());
    proxy.wait_idle(endpoint.id).await;
}

#[tokio::test]
async fn other_protocols_pass_too_with_half_closes() {
    // Answers what it was sent, in reverse, once the client has said everything.
    let origin = Origin::start(|mut stream, _| async move {
        if read_head(&mut stream).await {
            stream.write_all(&[SWITCHING, b"first"].concat()).await.unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            got.reverse();
            stream.write_all(&got).await.unwrap();
        }
    })
    .await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut client = raw_upgrade(&proxy, "reverse").await;
    let mut first = [0; 5];
    within("what the app says first", client.stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"first");
    client.send("abc").await;
    client.send("def").await;
    client.stream.get_mut().shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"fedcba");
    proxy.wait_idle(endpoint.id).await;

    // At a deadline there is no polite word in an unknown protocol.
    let mut client = raw_upgrade(&proxy, "reverse").await;
    within("what the app says first", client.stream.read_exact(&mut first)).await.unwrap();
    proxy.put(&TableBuilder::serving(2, [draining(&endpoint, 0)])).await;
    assert_eq!(client.rest().await, b"");
    proxy.wait_idle(endpoint.id).await;
}

#[tokio::test]
async fn bytes_sent_along_with_the_upgrade_are_not_lost() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut got = Vec::new();
        while !got.ends_with(b"early") {
            if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                return;
            }
            if got.ends_with(b"\r\n\r\n") {
                stream.write_all(SWITCHING).await.unwrap();
            }
        }
        stream.write_all(b"got it").await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nearly").await;
    assert_eq!(client.head().await.status, 101);
    assert_eq!(client.rest().await, b"got it");
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    let app = App::named("no").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let response = client
            .request("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            .await;
        assert_eq!((response.status, response.text()), (200, "no"));
        assert_eq!(app.last().headers["upgrade"], "websocket");
    }
    // One with a body is refused: what follows the head would be ambiguous.
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(client.request(request).await.status, 400);
    assert_eq!(app.count(), 2);
}

#[tokio::test]
async fn silence_ends_an_upgraded_connection() {
    let (ends, mut ended) = mpsc::channel(8);
    let origin = echo(ends).await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.timeouts.idle_millis = 300)).await;
    let mut socket = connect(&proxy).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        say(&mut socket, "alive").await;
    }
    assert_eq!(within("the app's end", ended.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn a_shutdown_tells_open_sockets_to_go() {
    let (ends, mut ended) = mpsc::channel(8);
    let origin = echo(ends).await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut socket = connect(&proxy).await;
    say(&mut socket, "hello").await;
    let started = Instant::now();
    proxy.shutdown.begin();
    assert_eq!(close_code(&mut socket).await, AWAY);
    assert_eq!(within("the app's end", ended.recv()).await.unwrap(), Some(AWAY));
    proxy.stop().await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}
