//! Clients that begin no handshake, or never end it: they harm nobody but themselves.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Caller, Issued, Proxy, TableBuilder, TlsProxy, until, within};

/// What a handshake may take in these tests.
const PATIENCE: Duration = Duration::from_millis(300);

async fn ready(app: &App) -> (TlsProxy, Caller) {
    let issued = Issued::for_hosts(&["a.example"]);
    let proxy = TlsProxy::start_with(|settings, _| settings.limits.handshake_time = PATIENCE).await;
    proxy
        .proxy
        .put_ready(&TableBuilder::serving(1, [&app.endpoint]).certificate(&issued, &["a.example"]))
        .await;
    (proxy, Caller::trusting(&[&issued]))
}

async fn failed(proxy: &Proxy) -> u64 {
    let metrics = proxy.metrics().await;
    let lines = metrics.lines().filter(|line| line.starts_with("pando_proxy_tls_handshakes_failed_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// The beginning of a handshake as a real client makes it.
async fn hello() -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calling = tokio::spawn(async move { Caller::trusting(&[]).try_call(address, "a.example").await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 4096];
    let count = within("a hello", stream.read(&mut hello)).await.unwrap();
    hello.truncate(count);
    drop(stream);
    assert!(calling.await.unwrap().is_err());
    hello
}

#[tokio::test]
async fn a_handshake_that_never_ends_does() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, caller) = ready(&app).await;
    let hello = hello().await;
    for sent in [&hello[..0], &hello[..1], &hello[..hello.len() - 1], &hello[..]] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(secure).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        // A whole hello is answered, and then waited for.
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
        assert!(begun.elapsed() >= PATIENCE, "{} bytes: {:?}", sent.len(), begun.elapsed());
        assert_eq!(rest.is_empty(), sent.len() < hello.len());
    }
    until("all have failed", async || failed(&proxy).await == 4).await;
    assert_eq!(caller.call(secure, "a.example").await.get("/").await.text(), "app");
}

#[tokio::test]
async fn a_hello_in_single_bytes_is_a_hello() {
    let app = App::named("app").await;
    let (TlsProxy { secure, .. }, _) = ready(&app).await;
    let mut stream = TcpStream::connect(secure).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in hello().await {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 3];
    within("an answer", stream.read_exact(&mut answer)).await.unwrap();
    // A handshake record.
    assert_eq!(answer, [22, 3, 3]);
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, caller) = ready(&app).await;
    let mut good = caller.call(secure, "a.example").await;
    let mut changed = hello().await;
    changed[20..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    let kinds: [&[u8]; 6] = [
        &[0; 100],
        &[0xff; 20_000],
        &[22, 3, 1, 0xff, 0xff],
        &[21, 3, 3, 0, 2, 2, 40],
        &changed,
        b"\x16\x03\x01\x00\x00",
    ];
    let mut sent = 0;
    for garbage in kinds.iter().cycle().take(60) {
        let mut stream = TcpStream::connect(secure).await.unwrap();
        // It may be closed before everything is taken.
        let _ = stream.write_all(garbage).await;
        if sent % 2 == 0 {
            drop(stream);
        } else {
            let mut rest = Vec::new();
            let _ = within("the end", stream.read_to_end(&mut rest)).await;
        }
        sent += 1;
        if sent % 10 == 0 {
            assert_eq!(good.get("/").await.text(), "app");
        }
    }
    until("all have failed", async || failed(&proxy).await == sent).await;
    assert_eq!(caller.call(secure, "a.example").await.get("/").await.text(), "app");
}

#[tokio::test]
async fn who_speaks_http_where_tls_is_spoken_is_told_so() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, _) = ready(&app).await;
    let mut client = crate::support::Client::connect(secure).await;
    let response = client.request("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!(response.status, 400);
    assert!(response.text().contains("HTTPS"), "{}", response.text());
    assert_eq!(client.rest().await, b"");
    until("it counts as failed", async || failed(&proxy).await == 1).await;
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn garbage_after_the_handshake_ends_that_connection_alone() {
    let app = App::named("app").await;
    let (TlsProxy { secure, .. }, caller) = ready(&app).await;
    let mut good = caller.call(secure, "a.example").await;
    let (mut tcp, _) = caller.call(secure, "a.example").await.stream.into_inner().into_inner();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = within("the end", tcp.read_to_end(&mut rest)).await;
    assert_eq!(good.get("/").await.text(), "app");
    assert_eq!(app.count(), 1);
}
