//! SIGTERM: nobody is cut off, and the exit status tells.

use std::time::Duration;

use crate::app::{App, read};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test]
async fn open_requests_are_finished_and_new_ones_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = App::with_sqlite(directory.path()).await;
    // The head of a stream proves that the server has taken the request on.
    let stream = app.send("GET", "/stream?n=4").await;
    app.process.signal(Signal::TERM);
    app.process.says("SIGTERM: finishing open requests").await;
    crate::app::until("the port is closed", || async {
        tokio::net::TcpStream::connect(("127.0.0.1", app.port)).await.is_err()
    })
    .await;
    let whole = read(stream).await;
    assert_eq!(whole.text().matches("event: tick").count(), 4, "{}", whole.text());
    assert_eq!(app.process.ended().await.code(), Some(0), "{}", app.process.said());
    assert!(app.process.said().contains("hits: stopped"));
}

#[tokio::test]
async fn an_endless_stream_is_ended_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = App::with_sqlite(directory.path()).await;
    let mut stream = app.send("GET", "/stream").await.into_body();
    stream.frame().await.unwrap().unwrap();
    app.process.signal(Signal::TERM);
    stream.collect().await.expect("the last chunk arrives");
    assert_eq!(app.process.ended().await.code(), Some(0), "{}", app.process.said());
}

#[tokio::test]
async fn websockets_are_closed_with_going_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = App::with_sqlite(directory.path()).await;
    let url = format!("ws://127.0.0.1:{}/ws", app.port);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.next().await.unwrap().unwrap();
    app.process.signal(Signal::TERM);
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else {
        panic!("expected a close frame");
    };
    assert_eq!(frame.code, CloseCode::Away);
    while let Some(Ok(_)) = socket.next().await {}
    assert_eq!(app.process.ended().await.code(), Some(0), "{}", app.process.said());
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = App::with_sqlite(directory.path()).await;
    app.count().await; // leaves a kept-alive connection
    let silent = tokio::net::TcpStream::connect(("127.0.0.1", app.port)).await.unwrap();
    let start = std::time::Instant::now();
    app.process.signal(Signal::TERM);
    assert_eq!(app.process.ended().await.code(), Some(0), "{}", app.process.said());
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    drop(silent);
}

#[tokio::test]
async fn what_is_open_for_too_long_is_cut_and_the_status_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("HITS_DB", directory.path().to_str().unwrap()), ("HITS_DRAIN_SECONDS", "0")];
    let mut app = App::start(&environment, directory.path()).await;
    let stream = app.send("GET", "/stream?n=1000").await;
    app.process.signal(Signal::TERM);
    assert_eq!(app.process.ended().await.code(), Some(1));
    assert!(app.process.said().contains("requests were still open after 0 s"), "{}", app.process.said());
    stream.into_body().collect().await.expect_err("the stream is not whole and does not look so");
}
