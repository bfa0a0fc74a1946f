//! HTTP over TLS is HTTP: nothing is lost, reordered or kept back.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Response;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{accept_async, client_async};

use crate::support::{App, Caller, Issued, NOBODY, Origin, Secure, TableBuilder, TlsProxy, within};

const HOST: &str = "a.example";

async fn ready(table: TableBuilder) -> (TlsProxy, Issued) {
    let issued = Issued::for_hosts(&[HOST]);
    let proxy = TlsProxy::start().await;
    proxy.proxy.put_ready(&table.certificate(&issued, &[HOST])).await;
    (proxy, issued)
}

#[allow(clippy::cast_possible_truncation, reason = "noise")]
fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_replicas_are_told_that_they_are_secure() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, issued) = ready(TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = Caller::trusting(&[&issued]).call(secure, HOST).await;
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.get(path).await.text(), "app");
        let seen = app.last();
        assert_eq!(
            (seen.target.as_str(), &seen.headers["x-forwarded-proto"]),
            (path, &"https".parse().unwrap())
        );
        assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    }
    // Two at once are answered in turn.
    client.send("GET /4 HTTP/1.1\r\nhost: a.example\r\n\r\nGET /5 HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!((client.response().await.status, client.response().await.status), (200, 200));
    assert_eq!(proxy.stats().await.hosts_without_certificate, Vec::<String>::new());
}

#[tokio::test]
async fn large_bodies_pass_both_ways_in_both_versions() {
    let echo = App::answering(|seen| Response::new(seen.body.clone())).await;
    let (TlsProxy { secure, .. }, issued) = ready(TableBuilder::serving(1, [&echo.endpoint])).await;
    for version in [&TLS12, &TLS13] {
        let mut client = Caller::speaking(&[&issued], version).call(secure, HOST).await;
        for len in [0, 1, 16_383, 16_384, 16_385, 3_000_000] {
            let body = noise(len);
            let head = format!("POST /{len} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {len}\r\n\r\n");
            client.send([head.as_bytes(), &body].concat()).await;
            let response = client.response().await;
            assert!(response.status == 200 && response.body == body, "{len}: {}", response.status);
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything_and_a_goodbye() {
    let body = Bytes::from(noise(5_000_000));
    let app = App::answering({
        let body = body.clone();
        move |_| Response::new(body.clone())
    })
    .await;
    let (TlsProxy { secure, .. }, issued) = ready(TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = Caller::trusting(&[&issued]).call(secure, HOST).await;
    client.send(format!("GET / HTTP/1.0\r\nhost: {HOST}\r\n\r\n")).await;
    let head = client.head().await;
    assert_eq!(head.header("connection"), Some("close"));
    let mut received = Vec::new();
    let mut piece = vec![0; 30_011];
    loop {
        // Without the proxy's goodbye this is an error: whoever cuts a connection could cut an answer.
        let count = within("a piece", client.stream.read(&mut piece)).await.unwrap();
        if count == 0 {
            break;
        }
        received.extend_from_slice(&piece[..count]);
        tokio::task::yield_now().await;
    }
    assert!(received == body, "{} of {} bytes", received.len(), body.len());
}

#[tokio::test]
async fn what_was_sent_is_not_kept_back_while_more_is_to_come() {
    // Two chunks, the second only when told.
    let (told, telling) = tokio::sync::oneshot::channel::<()>();
    let telling = std::sync::Mutex::new(Some(telling));
    let origin = Origin::start(move |mut stream, number| {
        let telling = if number == 0 { None } else { telling.lock().unwrap().take() };
        async move {
            use tokio::io::AsyncWriteExt;
            let Some(telling) = telling else { return };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            stream.write_all(head).await.unwrap();
            telling.await.unwrap();
            stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let (TlsProxy { secure, .. }, issued) = ready(TableBuilder::serving(1, [&origin.endpoint()])).await;
    let mut client = Caller::trusting(&[&issued]).call(secure, HOST).await;
    client.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    assert_eq!(client.head().await.status, 200);
    let first = within("the first chunk", client.chunk()).await.unwrap().unwrap();
    assert_eq!(first, b"first");
    told.send(()).unwrap();
    assert_eq!(within("the second", client.chunk()).await.unwrap().unwrap(), b"second");
}

#[tokio::test]
async fn an_answer_that_broke_off_does_not_look_whole() {
    let origin = Origin::start(|mut stream, _| async move {
        use tokio::io::AsyncWriteExt;
        let mut request = [0; 1024];
        if stream.read(&mut request).await.is_ok_and(|count| count > 0) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
        }
    })
    .await;
    let (TlsProxy { secure, .. }, issued) = ready(TableBuilder::serving(1, [&origin.endpoint()])).await;
    let mut client = Caller::trusting(&[&issued]).call(secure, HOST).await;
    client.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    // A reset may overtake what was sent before it.
    let mut rest = Vec::new();
    let ended = within("the end", client.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_err(), "a goodbye after {} bytes", rest.len());
}

#[tokio::test]
async fn websockets_pass_both_ways_and_are_told_when_it_is_time_to_go() {
    let origin = Origin::start(|stream, _| async move {
        let Ok(mut socket) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let endpoint = origin.endpoint();
    let (TlsProxy { proxy, secure }, issued) = ready(TableBuilder::serving(1, [&endpoint])).await;
    let wire = Caller::trusting(&[&issued]).call(secure, HOST).await.stream.into_inner();
    let (mut socket, response) =
        within("a handshake", client_async(format!("wss://{HOST}/chat"), wire)).await.unwrap();
    assert_eq!(response.status(), 101);
    for len in [0, 1, 20_000, 1_000_000] {
        let message = Message::binary(noise(len));
        socket.send(message.clone()).await.unwrap();
        let answer = within("an echo", socket.next()).await.unwrap().unwrap();
        assert!(answer == message, "{len}: {} bytes", answer.len());
    }
    proxy.put(&TableBuilder::serving(2, NOBODY).certificate(&issued, &[HOST])).await;
    let last = within("a close frame", socket.next()).await.unwrap().unwrap();
    let Message::Close(Some(frame)) = last else { panic!("{last:?}") };
    assert_eq!(frame.code, CloseCode::Away);
}

#[tokio::test]
async fn the_shutdown_ends_idle_connections_with_a_goodbye() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, issued) = ready(TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client: Secure = Caller::trusting(&[&issued]).call(secure, HOST).await;
    assert_eq!(client.get("/").await.status, 200);
    let (_, rest) = tokio::join!(proxy.stop(), async {
        let mut rest = Vec::new();
        within("the end", client.stream.read_to_end(&mut rest)).await.map(|_| rest)
    });
    assert_eq!(rest.unwrap(), b"");
}
