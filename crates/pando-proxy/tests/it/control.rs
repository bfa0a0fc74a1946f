//! The control socket and the metrics.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Client, Proxy, TableBuilder, within};

#[tokio::test]
async fn only_owner_and_group_may_speak_to_the_proxy() {
    let proxy = Proxy::start().await;
    let mode = std::fs::metadata(proxy.directory.path().join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let directory = proxy.stop().await;
    assert!(!directory.path().join("control.sock").exists());
}

#[tokio::test]
async fn other_methods_and_paths_are_named() {
    let proxy = Proxy::start().await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("POST", "/v1/table", 405),
        ("DELETE", "/v1/table", 405),
        ("PUT", "/v1/stats", 405),
        ("POST", "/metrics", 405),
        ("GET", "/v1/stats?after=x", 400),
        ("GET", "/v1/stats?after=1&wait_millis=-1", 400),
    ] {
        let (got, body) = proxy.control(method, path, "").await;
        assert_eq!(got, status, "{method} {path}");
        assert!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["error"].is_string());
    }
}

#[tokio::test]
async fn a_poll_waits_for_change_and_not_for_traffic() {
    let app = App::named("ok").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let first = proxy.stats().await;
    assert_eq!(proxy.poll_stats("?after=0&wait_millis=60000").await.sequence, first.sequence);

    // Traffic alone wakes nobody; the wait ends with what there is.
    let started = Instant::now();
    let poll = proxy.poll_stats_owned(first.sequence, 300);
    assert_eq!(proxy.get("/").await.status, 200);
    let after = within("the poll", poll).await;
    assert!(started.elapsed() >= Duration::from_millis(290));
    assert_eq!((after.sequence, after.boot), (first.sequence, first.boot));
    assert_eq!(after.pools.values().next().unwrap().requests, 1);

    // A table does.
    let poll = proxy.poll_stats_owned(first.sequence, 60_000);
    proxy.put(&TableBuilder::serving(2, [&app.endpoint])).await;
    let woken = within("the poll", poll).await;
    assert!(woken.sequence > first.sequence);
    assert_eq!(woken.version.unwrap().revision, 2);
}

/// Whoever has the acknowledgement may rely on it, a restart at once included. (How long it takes is `benches/table.rs`'s.)
#[tokio::test]
async fn what_is_acknowledged_is_kept() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, directory| {
        settings.state_file = Some(directory.join("state.json"));
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    for revision in 2..22 {
        proxy.put(&TableBuilder::serving(revision, [&app.endpoint])).await;
        let kept = std::fs::read(proxy.directory.path().join("state.json")).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept["version"]["revision"], revision, "{kept}");
    }
}

#[tokio::test]
async fn a_table_has_a_largest_size() {
    let proxy = Proxy::start().await;
    let mut stream =
        tokio::net::UnixStream::connect(proxy.directory.path().join("control.sock")).await.unwrap();
    let length = 17 << 20;
    let head = format!("PUT /v1/table HTTP/1.1\r\nhost: proxy\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let spaces = vec![b' '; length];
    let mut answer = vec![0; 12];
    let (mut reader, mut writer) = stream.split();
    let (_, read) = within("an answer", async {
        tokio::join!(writer.write_all(&spaces), reader.read_exact(&mut answer))
    })
    .await;
    read.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn metrics_tell_what_happened_also_over_tcp_and_nothing_else_does() {
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = metrics.local_addr().unwrap();
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| settings.metrics_listener = Some(metrics)).await;
    proxy.put_ready(&TableBuilder::serving(4, [&app.endpoint])).await;
    for _ in 0..3 {
        proxy.get("/").await;
    }
    proxy.wait_for_pool("web", |pool| pool.requests == 3).await;
    let response = Client::connect(address).await.get("/metrics").await;
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = response.text();
    let id = app.endpoint.id;
    for line in [
        "pando_proxy_table_revision 4",
        "pando_proxy_requests_total{pool=\"web\",class=\"2xx\"} 3",
        "pando_proxy_failed_total{pool=\"web\"} 0",
        "pando_proxy_unready_total{pool=\"web\"} 0",
        "pando_proxy_request_duration_seconds_count{pool=\"web\"} 3",
        "pando_proxy_request_duration_seconds_bucket{pool=\"web\",le=\"+Inf\"} 3",
        &format!(
            "pando_proxy_endpoint_requests_total{{pool=\"web\",endpoint=\"{id}\",name=\"\",address=\"{}\",class=\"2xx\"}} 3",
            app.address
        ),
        &format!(
            "pando_proxy_endpoint_in_rotation{{pool=\"web\",endpoint=\"{id}\",name=\"\",address=\"{}\"}} 1",
            app.address
        ),
    ] {
        assert!(page.lines().any(|had| had == line), "{line} is not in\n{page}");
    }
    for path in ["/v1/table", "/v1/stats"] {
        assert_eq!(Client::connect(address).await.get(path).await.status, 404);
    }
    let put = "PUT /v1/table HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(Client::connect(address).await.request(put).await.status, 404);
    drop(TcpStream::connect(address).await.unwrap());
}
