//! Rules across tables, protocols and upgrades.

use futures_util::{SinkExt, StreamExt};
use pando_proxy::{AccessLog, LogFormat, LogTarget};
use pando_routing::Protocol;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use super::{Scene, table};
use crate::support::http2::Http2;
use crate::support::{App, Origin, Proxy, TableBuilder, until, within};

const ADORNED: &str = r#"{"name": "chat", "host": "*", "path": "/chat", "pool": "web", "filters": {"rewrite": {"prefix": "/ws"},
    "request_headers": {"set": {"x-a": "1"}}, "response_headers": {"set": {"x-b": "2"}}, "compression": {"min_bytes": 1},
    "buffer_request": {}, "buffer_response": {}, "mirror": {"pool": "other"}}}"#;

#[tokio::test]
async fn websockets_pass_through_rules_and_outlive_them() {
    let echo = Origin::start(|stream, _| async move {
        let Ok(mut socket) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let other = App::named("other").await;
    let endpoint = echo.endpoint();
    let tables = |revision, rule: &str| {
        let table = TableBuilder::new(revision).pool("web", [&endpoint], |_| {});
        table.pool("other", [&other.endpoint], |_| {}).json_rule(rule)
    };
    let proxy = Proxy::start().await;
    proxy.put_ready(&tables(1, ADORNED)).await;
    let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let (mut socket, response) =
        within("a handshake", client_async("ws://a.example/chat/room", stream)).await.unwrap();
    assert_eq!(response.headers()["x-b"], "2");
    for revision in 2..6 {
        let closed = r#"{"host": "*", "respond": {"status": 404}}"#;
        proxy.put_ready(&tables(revision, closed)).await;
        socket.send(Message::text("still here")).await.unwrap();
        let answer = within("an echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(answer.to_text().unwrap(), "still here");
    }
    assert_eq!(other.count(), 0, "upgrades are not copied");
}

#[tokio::test]
async fn a_request_under_way_keeps_the_rules_that_it_began_with() {
    let (send, mut wait) = tokio::sync::mpsc::channel::<()>(1);
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let gate = std::sync::Arc::clone(&go);
    let app = App::serving(move |_| {
        let (send, gate) = (send.clone(), std::sync::Arc::clone(&gate));
        Box::pin(async move {
            send.send(()).await.unwrap();
            gate.notified().await;
            http::Response::new(http_body_util::BodyExt::boxed_unsync(http_body_util::Full::default()))
        })
    })
    .await;
    let rule = |value: &str| {
        format!(
            r#"{{"host": "*", "pool": "web", "filters": {{"response_headers": {{"set": {{"x-table": "{value}"}}}}}}}}"#
        )
    };
    let scene = Scene::of(app, App::named("other").await, &[&rule("one")], |table| table).await;
    let mut client = scene.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    within("the request arrives", wait.recv()).await.unwrap();
    scene.proxy.put_ready(&table(2, &[&rule("two")], &scene.web, &scene.other)).await;
    go.notify_one();
    assert_eq!(client.response().await.header("x-table"), Some("one"));
    go.notify_one();
    assert_eq!(client.get("/").await.header("x-table"), Some("two"));
}

#[tokio::test]
async fn the_log_names_the_rule() {
    let (web, other) = (App::named("web").await, App::named("other").await);
    let proxy = Proxy::start_with(|settings, directory| {
        let target = LogTarget::File(directory.join("access.log"));
        settings.access_log = Some(AccessLog { format: LogFormat::Json, target });
    })
    .await;
    let rules = [
        r#"{"name": "gone", "host": "*", "path": "/gone", "respond": {"status": 410}}"#,
        r#"{"host": "*", "path": "/plain", "pool": "web"}"#,
    ];
    proxy.put_ready(&table(1, &rules, &web, &other)).await;
    assert_eq!(proxy.get("/gone").await.status, 410);
    assert_eq!(proxy.get("/plain").await.status, 200);
    let read = || std::fs::read_to_string(proxy.directory.path().join("access.log")).unwrap_or_default();
    until("both lines are there", async || read().lines().count() == 2).await;
    let lines: Vec<serde_json::Value> =
        read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let gone = lines.iter().find(|line| line["target"] == "/gone").unwrap();
    assert_eq!((&gone["route"], &gone["status"]), (&"gone".into(), &410.into()));
    assert!(lines.iter().find(|line| line["target"] == "/plain").unwrap().get("route").is_none());
}

#[tokio::test]
async fn rules_hold_for_replicas_that_speak_http2() {
    let rule = r#"{"host": "*", "path": "/a", "pool": "grpc", "filters": {"rewrite": {"prefix": "/b"},
        "request_headers": {"set": {"x-a": "1", "host": "inner.example"}}, "response_headers": {"set": {"x-b": "2"}}}}"#;
    let replica = Origin::start(|stream, _| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let host = request.uri().authority().unwrap().as_str();
            let text =
                format!("{} {host} {}", request.uri().path(), request.headers()["x-a"].to_str().unwrap());
            let mut send = respond.send_response(http::Response::new(()), false).unwrap();
            send.send_data(text.into(), true).unwrap();
        }
    })
    .await;
    let (web, other) = (App::named("web").await, App::named("other").await);
    let proxy = Proxy::start().await;
    let table = table(1, &[rule], &web, &other)
        .pool("grpc", [&replica.endpoint()], |pool| pool.protocol = Protocol::H2c);
    proxy.put_ready(&table).await;
    let answer = Http2::connect(proxy.address).await.get("/a/x").await;
    assert_eq!((answer.status, answer.header("x-b")), (200, Some("2")));
    assert_eq!(answer.text(), "/b/x inner.example 1");
}
