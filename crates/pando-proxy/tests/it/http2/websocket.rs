//! WebSockets over a stream (RFC 8441).

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use pando_routing::{Endpoint, EndpointState, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::serving;
use crate::support::http2::{Http2, answer, request, upload};
use crate::support::{App, NOBODY, Origin, Proxy, TableBuilder, far, within};

/// Echoes messages until the client closes. The handshake is `tungstenite`'s, which is strict.
async fn echo() -> Origin {
    Origin::start(|stream, _| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await
}

fn connect() -> Request<()> {
    let mut asked = request("CONNECT", "/chat");
    asked.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    asked
}

async fn open(client: &Http2) -> WebSocketStream<DuplexStream> {
    let settled = crate::support::until("extended CONNECT is allowed", async || {
        client.send.is_extended_connect_protocol_enabled()
    });
    settled.await;
    let (response, send) = client.begin(connect(), false).await;
    let response: Response<RecvStream> = within("a handshake", response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("connection"));
    let stream = join(response.into_body(), send);
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// A stream as bytes both ways.
fn join(mut receive: RecvStream, mut send: SendStream<Bytes>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut reader, mut writer) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Some(Ok(piece)) = receive.data().await {
            receive.flow_control().release_capacity(piece.len()).unwrap();
            if writer.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The end of the stream.
        let _ = writer.shutdown().await;
    });
    tokio::spawn(async move {
        let mut piece = vec![0; 1 << 16];
        while let Ok(count @ 1..) = reader.read(&mut piece).await {
            let mut rest = Bytes::copy_from_slice(&piece[..count]);
            while !rest.is_empty() {
                send.reserve_capacity(rest.len());
                let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { return };
                if send.send_data(rest.split_to(room.min(rest.len())), false).is_err() {
                    return;
                }
            }
        }
        // It may be over already.
        let _ = send.send_data(Bytes::new(), true);
    });
    near
}

async fn say(socket: &mut WebSocketStream<DuplexStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let answer = within("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(answer.to_text().unwrap(), text);
}

#[tokio::test]
async fn messages_pass_both_ways_beside_other_requests() {
    let origin = echo().await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let client = Http2::connect(proxy.address).await;
    let (mut one, mut other) = (open(&client).await, open(&client).await);
    let large = "x".repeat(1_000_000);
    for text in ["hello", "", large.as_str()] {
        say(&mut one, text).await;
        say(&mut other, text).await;
    }
    let id = origin.endpoint();
    assert_eq!(proxy.stats().await.in_flight.values().sum::<u64>(), 2, "{id:?}");
    one.close(None).await.unwrap();
    while within("the end", one.next()).await.is_some_and(|message| message.is_ok()) {}
    drop(one);
    proxy.wait_for_stats("one is left", |stats| stats.in_flight.values().sum::<u64>() == 1).await;
    say(&mut other, "still here").await;
    assert_eq!(proxy.pool("web").await.by_class, [2, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_close_frame_says_when_the_endpoint_goes() {
    let origin = echo().await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let client = Http2::connect(proxy.address).await;
    let mut socket = open(&client).await;
    say(&mut socket, "hello").await;
    let started = Instant::now();
    let draining = Endpoint { state: EndpointState::Draining { deadline_millis: far(200) }, ..endpoint };
    proxy.put(&TableBuilder::serving(2, [draining])).await;
    let mut code = None;
    while let Some(Ok(message)) = within("a goodbye", socket.next()).await {
        if let Message::Close(frame) = message {
            code = frame.map(|frame| u16::from(frame.code));
        }
    }
    assert_eq!(code, Some(1001));
    assert!(started.elapsed() >= Duration::from_millis(150));
    proxy.put(&TableBuilder::serving(3, NOBODY)).await;
}

#[tokio::test]
async fn what_is_no_handshake_opens_no_tunnel() {
    for wrong in [
        "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: wrong\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let origin = Origin::start(move |mut stream, _| async move {
            let mut head = [0; 4096];
            if stream.read(&mut head).await.unwrap_or(0) > 0 {
                stream.write_all(wrong.as_bytes()).await.unwrap();
            }
        })
        .await;
        let proxy = Proxy::start().await;
        proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
        let client = Http2::connect(proxy.address).await;
        // The answer to the first tells that the settings are here.
        assert!(client.get("/").await.status > 0);
        let (response, _send) = client.begin(connect(), false).await;
        assert_eq!(within("an answer", answer(response)).await.unwrap().status, 502, "{wrong}");
    }
    // An app that knows no WebSockets says so itself.
    let app = App::answering(|_| Response::builder().status(426).body(Bytes::from("no")).unwrap()).await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    assert_eq!(client.get("/").await.status, 426);
    let (response, send) = client.begin(connect(), false).await;
    let answer = within("an answer", answer(response)).await.unwrap();
    assert_eq!((answer.status, answer.text()), (426, "no"));
    assert_eq!(app.last().method, "GET");
    // Whatever else is said is for nobody.
    let _ = upload(send, Bytes::from("hello")).await;
}

/// A replica that speaks HTTP/2 alone. `takes`: WebSockets too, which it echoes; what it was asked for is remembered.
async fn h2c_echo(takes: bool, seen: std::sync::Arc<std::sync::Mutex<Vec<Request<()>>>>) -> Origin {
    Origin::start(move |stream, _| {
        let seen = seen.clone();
        async move {
            let mut builder = h2::server::Builder::new();
            if takes {
                builder.enable_connect_protocol();
            }
            // Probes say nothing.
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
            let mut serving = tokio::task::JoinSet::new();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let (head, body) = request.into_parts();
                let refuses = head.uri.path() == "/refused";
                seen.lock().unwrap().push(Request::from_parts(head, ()));
                if refuses {
                    let response = Response::builder().status(403).body(()).unwrap();
                    respond.send_response(response, true).unwrap();
                    continue;
                }
                let response = Response::builder().header("x-replica", "h2c").body(()).unwrap();
                let send = respond.send_response(response, false).unwrap();
                serving.spawn(async move {
                    let stream = join(body, send);
                    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                    while let Some(Ok(message)) = socket.next().await {
                        if matches!(message, Message::Text(_) | Message::Binary(_)) {
                            let _ = socket.send(message).await;
                        }
                    }
                });
            }
        }
    })
    .await
}

async fn before_h2c(origin: &Origin) -> Proxy {
    let proxy = Proxy::start_with(|settings, _| settings.workers = Some(1)).await;
    let table = TableBuilder::serving(1, [origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.protocol = Protocol::H2c)).await;
    proxy
}

#[tokio::test]
async fn a_replica_of_http_2_gets_websockets_from_clients_of_either_version() {
    let seen = std::sync::Arc::default();
    let origin = h2c_echo(true, std::sync::Arc::clone(&seen)).await;
    let proxy = before_h2c(&origin).await;
    let large = "x".repeat(1_000_000);
    // The strict client checks the answer to its key.
    let mut old = crate::support::websocket::connect(&proxy).await;
    for text in ["hello", "", &large] {
        crate::support::websocket::say(&mut old, text).await;
    }
    let client = Http2::connect(proxy.address).await;
    let mut new = open(&client).await;
    for text in ["hello", "", &large] {
        say(&mut new, text).await;
    }
    crate::support::websocket::say(&mut old, "still here").await;
    for asked in seen.lock().unwrap().iter() {
        assert_eq!((asked.method().as_str(), asked.uri().path()), ("CONNECT", "/chat"));
        let protocol = asked.extensions().get::<h2::ext::Protocol>().unwrap();
        assert_eq!(protocol.as_str(), "websocket");
        assert_eq!(asked.headers()["sec-websocket-version"], "13");
        for gone in ["sec-websocket-key", "upgrade", "connection"] {
            assert!(!asked.headers().contains_key(gone), "{gone}");
        }
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    old.close(None).await.unwrap();
    while within("the end", old.next()).await.is_some_and(|message| message.is_ok()) {}
    drop((old, new, client));
    proxy.wait_for_stats("both are over", |stats| stats.in_flight.is_empty()).await;
    let pool = proxy.pool("web").await;
    assert_eq!((pool.by_class, pool.failed), ([2, 0, 0, 0, 0], 0));
}

#[tokio::test]
async fn a_replica_without_extended_connect_is_not_asked_and_not_blamed() {
    let seen = std::sync::Arc::default();
    let origin = h2c_echo(false, std::sync::Arc::clone(&seen)).await;
    let proxy = before_h2c(&origin).await;
    let handshake = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for _ in 0..20 {
        let answer = proxy.client().await.request(handshake).await;
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains("RFC 8441"), "{}", answer.text());
    }
    assert!(seen.lock().unwrap().is_empty());
    let stats = proxy.stats().await;
    assert!(stats.ejected.is_empty() && stats.not_in_rotation.is_empty(), "{stats:?}");
    // Whatever else is asked for is answered.
    let plain = "GET /refused HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n";
    assert_eq!(proxy.client().await.request(plain).await.status, 403);
    assert_eq!(seen.lock().unwrap()[0].method(), "GET");
}

#[tokio::test]
async fn a_replica_of_http_2_may_refuse_a_websocket() {
    let origin = h2c_echo(true, std::sync::Arc::default()).await;
    let proxy = before_h2c(&origin).await;
    let handshake = "GET /refused HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(proxy.client().await.request(handshake).await.status, 403);
}

#[tokio::test]
async fn a_websocket_over_http_2_to_its_replica_ends_with_a_close_frame() {
    let origin = h2c_echo(true, std::sync::Arc::default()).await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    let adjust =
        |endpoint| TableBuilder::serving(2, [endpoint]).adjust("web", |pool| pool.protocol = Protocol::H2c);
    proxy.put_ready(&adjust(endpoint.clone())).await;
    let mut socket = crate::support::websocket::connect(&proxy).await;
    crate::support::websocket::say(&mut socket, "hello").await;
    let draining = Endpoint { state: EndpointState::Draining { deadline_millis: far(200) }, ..endpoint };
    let mut last = adjust(draining).build();
    last.version.revision = 3;
    proxy.put(&TableBuilder::of(last)).await;
    assert_eq!(crate::support::websocket::close_code(&mut socket).await, crate::support::websocket::AWAY);
}
