//! WebSockets over a stream (RFC 8441).

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use pando_routing::{Endpoint, EndpointState};
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
