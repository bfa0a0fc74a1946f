//! What each path answers.

use crate::app::{App, read};
use axum::body::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio_tungstenite::tungstenite::Message;

async fn named_app(directory: &std::path::Path) -> App {
    let environment = [
        ("HITS_DB", directory.to_str().unwrap()),
        ("PANDO_REPLICA", "web-2"),
        ("PANDO_INSTANCE", "0193-abc"),
        ("PANDO_RELEASE", "v7"),
        ("PANDO_SERVER", "main<1>"),
    ];
    App::start(&environment, directory).await
}

#[tokio::test]
async fn counts_each_get_and_says_who_answered() {
    let directory = tempfile::tempdir().unwrap();
    let app = named_app(directory.path()).await;
    assert_eq!(app.count().await, 1);
    let page = app.get("/").await;
    for words in ["<p class=\"count\">2</p>", "APP INSTANCE", "web-2", "0193-abc", "v7", "main&lt;1&gt;"] {
        assert!(page.text().contains(words), "{words} in {}", page.text());
    }
    assert_eq!(page.headers["x-hits-replica"], "web-2");
    let json: serde_json::Value = serde_json::from_slice(&app.get("/hits.json").await.body).unwrap();
    let expected = serde_json::json!({
        "hits": 3, "replica": "web-2", "instance": "0193-abc", "release": "v7", "server": "main<1>"
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn head_looks_without_counting() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::with_sqlite(directory.path()).await;
    assert_eq!(app.count().await, 1);
    let head = read(app.send("HEAD", "/").await).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(app.count().await, 2);
}

#[tokio::test]
async fn an_empty_variable_is_as_good_as_none() {
    let directory = tempfile::tempdir().unwrap();
    let environment =
        [("HITS_DB", directory.path().to_str().unwrap()), ("DATABASE_URL", ""), ("HITS_MODE", "")];
    let app = App::start(&environment, directory.path()).await;
    assert_eq!(app.count().await, 1);
}

#[tokio::test]
async fn bytes_are_whole_in_order_and_announced() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::with_sqlite(directory.path()).await;
    for length in [0usize, 1, 16 * 1024, 100_001] {
        let answer = app.get(&format!("/bytes?n={length}")).await;
        assert_eq!(answer.headers["content-length"], length.to_string().as_str());
        let expected: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        assert!(answer.body == expected, "{length} bytes");
    }
}

#[tokio::test]
async fn a_number_that_is_none_or_too_large_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::with_sqlite(directory.path()).await;
    for path in ["/bytes?n=x", "/bytes?n=1073741825", "/slow?ms=60001", "/slow?ms=-1", "/stream?n=1.5"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains("must be a number from 0 to"), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn slow_waits_as_long_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::with_sqlite(directory.path()).await;
    let start = std::time::Instant::now();
    assert_eq!(app.get("/slow?ms=300").await.status, 200);
    assert!(start.elapsed().as_millis() >= 300, "{:?}", start.elapsed());
}

#[tokio::test]
async fn stream_sends_a_tick_at_a_time_and_ends_after_n() {
    let directory = tempfile::tempdir().unwrap();
    let app = named_app(directory.path()).await;
    let response = app.send("GET", "/stream?n=2").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "event: tick\nid: 1\ndata: 1 web-2\n\n");
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "event: tick\nid: 2\ndata: 2 web-2\n\n");
}

#[tokio::test]
async fn echo_returns_each_part_before_the_next_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::with_sqlite(directory.path()).await;
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(app.url("/echo")).header("content-type", "text/x-parts").body(body).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/x-parts");
    let mut answer = response.into_body();
    for part in ["one", "two", "three"] {
        sender.send_data(Bytes::from(part)).await.unwrap();
        let returned = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(returned, part);
    }
    drop(sender);
    assert!(answer.frame().await.is_none(), "ends when the request ends");
}

#[tokio::test]
async fn websocket_says_who_answers_and_echoes() {
    let directory = tempfile::tempdir().unwrap();
    let app = named_app(directory.path()).await;
    let url = format!("ws://127.0.0.1:{}/ws", app.port);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("web-2 v7 0193-abc"));
    for message in [Message::text("hello"), Message::binary(vec![0u8; 100_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    assert_eq!(app.get("/ws").await.status, 426, "a plain request is told to upgrade");
}
