//! Start, end, and what is written down meanwhile.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use pando_proxy::{AccessLog, Listeners, LogFormat, LogTarget, Settings};
use pando_rt::shutdown::Shutdown;

use crate::support::{App, Proxy, Respond, TableBuilder, until, within};

async fn slow(millis: u64) -> App {
    App::serving(move |_| -> Respond {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Response::new(Full::new(Bytes::from("slow")).boxed_unsync())
        })
    })
    .await
}

#[tokio::test]
async fn a_shutdown_finishes_what_was_begun_and_begins_nothing() {
    let app = slow(700).await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let (mut busy, mut idle) = (proxy.client().await, proxy.client().await);
    let address = proxy.address;
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let id = app.endpoint.id;
    proxy.wait_for_stats("it is under way", |stats| stats.in_flight.contains_key(&id)).await;
    proxy.shutdown.begin();
    let response = busy.response().await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(busy.rest().await, b"");
    assert_eq!(idle.rest().await, b"");
    proxy.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_that_comes_just_after_the_shutdown_is_still_answered() {
    let app = App::named("ok").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    proxy.shutdown.begin();
    let response = client.get("/").await;
    assert_eq!((response.text(), response.header("connection")), ("ok", Some("close")));
    proxy.stop().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let app = App::serving(|_| Box::pin(std::future::pending())).await;
    let proxy = Proxy::start_with(|settings, _| settings.limits.drain = Duration::from_millis(300)).await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let id = app.endpoint.id;
    proxy.wait_for_stats("it is under way", |stats| stats.in_flight.contains_key(&id)).await;
    let started = Instant::now();
    proxy.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(client.rest().await, b"");
}

/// Two proxies on one listening socket, as when one takes over from the other: whoever connects is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_on_the_same_socket_serves_without_a_gap() {
    let app = App::named("ok").await;
    let listener = Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("table.json");
    std::fs::write(&table, TableBuilder::serving(1, [&app.endpoint]).json()).unwrap();
    let start = || {
        let fd = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let settings = Settings {
            listeners: Listeners::from_fds(vec![fd]).unwrap(),
            table_file: Some(table.clone()),
            ..Settings::default()
        };
        let shutdown = Shutdown::new();
        (shutdown.clone(), tokio::spawn(pando_proxy::run(settings, shutdown)))
    };
    let done = tokio_util::sync::CancellationToken::new();
    let stop = done.clone();
    let clients = tokio::spawn(async move {
        let mut served = 0;
        while !stop.is_cancelled() {
            let response = crate::support::Client::connect(address).await.get("/").await;
            assert_eq!((response.status, response.text()), (200, "ok"));
            served += 1;
        }
        served
    });
    let mut current = start();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let next = start();
        // The successor is ready once it has its table and its probe.
        tokio::time::sleep(Duration::from_millis(400)).await;
        current.0.begin();
        within("the old one ends", current.1).await.unwrap().unwrap();
        current = next;
    }
    done.cancel();
    assert!(within("the clients", clients).await.unwrap() > 50);
    current.0.begin();
    within("the last one ends", current.1).await.unwrap().unwrap();
}

async fn lines(path: &std::path::Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    until("the lines are written", async || read().lines().count() >= count).await;
    read().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_request_leaves_a_line_and_rotation_loses_none() {
    let app = App::named("hello").await;
    let proxy = Proxy::start_with(|settings, directory| {
        let target = LogTarget::File(directory.join("access.log"));
        settings.access_log = Some(AccessLog { format: LogFormat::Json, target });
    })
    .await;
    let log = proxy.directory.path().join("access.log");
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let request = "GET /x?y HTTP/1.1\r\nhost: a.example\r\nuser-agent: test\r\nx-request-id: r1\r\nconnection: close\r\n\r\n";
    proxy.client().await.request(request).await;
    let line: serde_json::Value = serde_json::from_str(&lines(&log, 1).await[0]).unwrap();
    for (key, expected) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("target", "/x?y"),
        ("host", "a.example"),
        ("user_agent", "test"),
        ("request_id", "r1"),
        ("pool", "web"),
        ("outcome", "whole"),
        ("version", "HTTP/1.1"),
    ] {
        assert_eq!(line[key], expected, "{key} in {line}");
    }
    assert_eq!((line["status"].as_u64(), line["bytes"].as_u64()), (Some(200), Some(5)));
    assert_eq!(line["endpoint"], app.address.to_string());

    let mut client = proxy.client().await;
    let rotated = proxy.directory.path().join("access.log.1");
    std::fs::rename(&log, &rotated).unwrap();
    for _ in 0..50 {
        client.get("/").await;
    }
    until("a new file is opened", async || {
        client.get("/").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        log.exists()
    })
    .await;
    let before = proxy.pool("web").await.requests;
    drop(client);
    let directory = proxy.stop().await;
    let all =
        |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap().lines().count() as u64;
    assert_eq!(all("access.log") + all("access.log.1"), before);
}

#[tokio::test]
async fn an_idle_proxy_forgets_idle_connections() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.upstream_idle = Duration::from_millis(100);
        settings.limits.client_idle = Duration::from_millis(200);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.rest().await, b"");
    until("upstream connections are closed", async || {
        let page = proxy.metrics().await;
        let line =
            page.lines().find(|line| line.starts_with("pando_proxy_endpoint_idle_connections{")).unwrap();
        line.ends_with(" 0")
    })
    .await;
}

/// A disk that takes nothing is no reason to serve nobody, and no line vanishes uncounted.
#[tokio::test]
async fn lines_that_a_full_disk_loses_are_counted() {
    let app = App::named("hello").await;
    let proxy = Proxy::start_with(|settings, _| {
        let target = LogTarget::File("/dev/full".into());
        settings.access_log = Some(AccessLog { format: LogFormat::Combined, target });
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    let counted = async || proxy.metrics().await.contains("pando_proxy_access_log_dropped_total 3\n");
    until("the lost lines are counted", counted).await;
}

#[tokio::test]
async fn lines_look_as_their_template_says() {
    let app = App::named("hello").await;
    let proxy = Proxy::start_with(|settings, directory| {
        let target = LogTarget::File(directory.join("access.log"));
        let format =
            r#"$remote_addr "$request" $status $body_bytes_sent "$http_user_agent" $pool $upstream_addr"#;
        settings.access_log = Some(AccessLog { format: format.parse().unwrap(), target });
    })
    .await;
    let log = proxy.directory.path().join("access.log");
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut client = proxy.client().await;
    client.request("GET /x?y HTTP/1.1\r\nhost: a\r\nuser-agent: a\" 500 \"b\r\n\r\n").await;
    client.request("GET /z HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let rest = format!("web {}", app.address);
    let expected = [
        format!(r#"127.0.0.1 "GET /x?y HTTP/1.1" 200 5 "a\" 500 \"b" {rest}"#),
        format!(r#"127.0.0.1 "GET /z HTTP/1.1" 200 5 "-" {rest}"#),
    ];
    assert_eq!(lines(&log, 2).await, expected);
}
