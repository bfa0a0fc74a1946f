//! Bodies that are held, and copies of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;

use super::{Scene, table};
use crate::support::{App, Client, until};

#[tokio::test]
async fn a_request_goes_up_once_it_is_whole() {
    let rule = r#"{"host": "*", "pool": "web", "filters": {"buffer_request": {"max_bytes": 1000}}}"#;
    let scene = Scene::with(&[rule]).await;
    for start in ["content-length: 6\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let before = (scene.web.count(), scene.web.connections());
        let mut client = scene.proxy.client().await;
        client.send(format!("POST / HTTP/1.1\r\nhost: a.example\r\n{start}")).await;
        // Somebody else is answered meanwhile, so that the first half was certainly seen.
        assert_eq!(scene.ask1("GET", "/", &[]).await.text(), "web");
        assert_eq!(scene.web.count(), before.0 + 1);
        client.send(if start.starts_with('c') { "def" } else { "3\r\ndef\r\n0\r\n\r\n" }).await;
        assert_eq!(client.response().await.text(), "web");
        assert_eq!(scene.web.last().body, "abcdef");
    }
    let expecting = "POST / HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let mut client = scene.proxy.client().await;
    assert_eq!(client.request(expecting).await.status, 100);
    client.send("abc").await;
    assert_eq!(client.response().await.text(), "web");
}

#[tokio::test]
async fn a_request_that_is_too_large_to_hold_gets_413() {
    let rule = r#"{"host": "*", "pool": "web", "filters": {"buffer_request": {"max_bytes": 1000}}}"#;
    let scene = Scene::with(&[rule]).await;
    let long = "x".repeat(1001);
    for text in [
        format!("content-length: 1001\r\n\r\n{long}"),
        format!("transfer-encoding: chunked\r\n\r\n3e9\r\n{long}\r\n0\r\n\r\n"),
    ] {
        let answer = scene
            .proxy
            .client()
            .await
            .request(&format!("POST / HTTP/1.1\r\nhost: a.example\r\n{text}"))
            .await;
        assert_eq!(answer.status, 413);
    }
    assert_eq!(scene.web.count(), 0);
    let client = crate::support::http2::Http2::connect(scene.proxy.address).await;
    assert_eq!(client.post("/", "y".repeat(1000)).await.text(), "web");
    assert_eq!(scene.web.last().body.len(), 1000);
    assert_eq!(client.post("/", long).await.status, 413);
}

#[tokio::test]
async fn a_slow_client_does_not_hold_the_replica() {
    const SIZE: usize = 16 << 20;
    let rule = r#"{"host": "*", "pool": "web", "filters": {"buffer_response": {"max_bytes": 33554432}}}"#;
    let app = App::answering(|_| http::Response::new(Bytes::from(vec![b'a'; SIZE]))).await;
    let scene = Scene::of(app, App::named("other").await, &[rule], |table| table).await;
    let mut client = scene.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    // The client reads no more; the replica is free all the same.
    until("nothing is under way", async || {
        let (_, page) = scene.proxy.control("GET", "/metrics", "").await;
        let mut lines = page.lines().filter(|line| line.starts_with("pando_proxy_endpoint_in_flight"));
        lines.all(|line| line.ends_with(" 0"))
    })
    .await;
    let mut rest = vec![0; SIZE];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut rest).await.unwrap();
    assert!(rest.iter().all(|byte| *byte == b'a'));
    // The connection goes on.
    client.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!(client.response().await.body.len(), SIZE);
    let answer = scene.ask2("GET", "/", &[]).await;
    assert_eq!(answer.body.len(), SIZE);
}

#[tokio::test]
async fn what_is_beyond_the_bound_follows_the_client() {
    let rule = r#"{"host": "*", "pool": "web", "filters": {"buffer_response": {"max_bytes": 65536}}}"#;
    let app = App::answering(|_| http::Response::new(Bytes::from(vec![b'a'; 8 << 20]))).await;
    let scene = Scene::of(app, App::named("other").await, &[rule], |table| table).await;
    for answer in scene.ask("GET", "/", &[]).await {
        assert_eq!(answer.body.len(), 8 << 20);
    }
}

const MIRROR: &str = r#"{"name": "shop", "host": "*", "pool": "web", "strip_prefix": false, "filters": {"mirror": {"pool": "other", "max_body_bytes": 1000, "max_in_flight": 2}, "request_headers": {"set": {"x-a": "1"}}}}"#;

#[tokio::test]
async fn copies_are_what_the_replica_got() {
    let scene = Scene::with(&[MIRROR]).await;
    let mut client = scene.proxy.client().await;
    for (n, text) in [
        "GET /x?y=1 HTTP/1.1\r\nhost: a.example\r\nx-forwarded-for: 10.0.0.1\r\n\r\n",
        "POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhello",
        "POST /x HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(client.request(text).await.text(), "web");
        until("the copy arrives", async || scene.other.count() == n + 1).await;
        let (original, copy) = (scene.web.last(), scene.other.last());
        assert_eq!(
            (&original.method, &original.target, &original.body),
            (&copy.method, &copy.target, &copy.body)
        );
        assert_eq!(original.headers, copy.headers);
    }
    assert_eq!(scene.metric("pando_proxy_route_mirrored_total{route=\"shop\"}").await, 3);
}

#[tokio::test]
async fn a_large_request_is_not_copied_and_passes() {
    let scene = Scene::with(&[MIRROR]).await;
    let body = "x".repeat(100_000);
    let client = crate::support::http2::Http2::connect(scene.proxy.address).await;
    assert_eq!(client.post("/", body.clone()).await.text(), "web");
    assert_eq!(scene.web.last().body.len(), body.len());
    let mut client: Client = scene.proxy.client().await;
    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n186a0\r\n{body}\r\n0\r\n\r\n"
    );
    assert_eq!(client.request(&chunked).await.text(), "web");
    assert_eq!((scene.web.last().body.len(), scene.other.count()), (body.len(), 0));
    assert_eq!(scene.metric("pando_proxy_route_unmirrored_total{route=\"shop\"}").await, 2);
}

#[tokio::test]
async fn a_mirror_that_hangs_or_is_gone_is_not_felt() {
    let copies = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&copies);
    let hanging = App::serving(move |_| {
        seen.fetch_add(1, SeqCst);
        Box::pin(std::future::pending())
    });
    let scene = Scene::of(App::named("web").await, hanging.await, &[MIRROR], |table| table).await;
    for _ in 0..10 {
        for answer in scene.ask("GET", "/", &[]).await {
            assert_eq!(answer.text(), "web");
        }
    }
    assert_eq!(scene.metric("pando_proxy_route_mirrored_total{route=\"shop\"}").await, 2);
    assert_eq!(scene.metric("pando_proxy_route_unmirrored_total{route=\"shop\"}").await, 18);
    // Probes connect, and ask for nothing.
    assert!(copies.load(SeqCst) <= 2);
    let gone = table(2, &[MIRROR], &scene.web, &scene.other).pool("other", crate::support::NOBODY, |_| {});
    scene.proxy.put_ready(&gone).await;
    assert_eq!(scene.ask1("GET", "/", &[]).await.text(), "web");
    // The proxy ends though copies are under way.
    let Scene { proxy, web, other } = scene;
    proxy.stop().await;
    drop((web, other));
}
