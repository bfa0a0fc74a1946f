//! What is too large, too slow or cut off ends with a clear answer, and never holds up the end.

use std::time::{Duration, Instant};

use pando_api::auth::Scope;
use pando_api::v1::events::EventQuery;
use pando_api::{Client, ErrorBody, ErrorCode};
use pando_control::http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, PATIENCE, app};

/// Sends bytes as they are and reads until the other side closes.
async fn raw(cluster: &Cluster, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer was written is an end like any other.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn refusal(answer: &str) -> ErrorBody {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

async fn post(cluster: &Cluster, path: &str, body: &str) -> ErrorBody {
    let token = cluster.token(Scope::Admin, None).await;
    let (token, length) = (token.reveal(), body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    refusal(&raw(cluster, &[head.as_bytes(), body.as_bytes()].concat()).await)
}

#[tokio::test]
async fn bodies_that_are_wrong_or_too_large_are_refused_in_words() {
    let cluster = Cluster::in_memory().await;
    for (path, body, code, words) in [
        ("/v1/tokens", "{", ErrorCode::Invalid, "EOF"),
        ("/v1/tokens", "", ErrorCode::Invalid, "EOF"),
        ("/v1/tokens", r#"{"name":"x"}"#, ErrorCode::Invalid, "scope"),
        ("/v1/apps/hits/deployments", r#"{"kind":"explode"}"#, ErrorCode::Invalid, "explode"),
        (
            "/v1/apps/hits/deployments",
            r#"{"kind":"deploy","spec":{"name":"Hits"}}"#,
            ErrorCode::Invalid,
            "Hits",
        ),
        ("/v1/apps/Hits/scale", "{}", ErrorCode::Invalid, "Hits"),
        ("/v1/tokens", &"x".repeat(70_000), ErrorCode::TooLarge, "65536"),
        ("/v1/apps/hits/start", "no body is wanted", ErrorCode::NotFound, "hits"),
    ] {
        let error = post(&cluster, path, body).await;
        assert_eq!(error.code, code, "{path}: {error}");
        assert!(error.message.contains(words), "{path}: {error}");
    }
}

#[tokio::test]
async fn heads_that_are_no_http_or_too_large_end_the_connection() {
    let cluster = Cluster::in_memory().await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
    for bytes in ["\0\0\0\0\r\n\r\n", "HELO example.com\r\n\r\n", &long, &many] {
        let answer = raw(&cluster, bytes.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    cluster.client.health().await.unwrap();
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let head_within = Duration::from_millis(100);
    let cluster = Cluster::within(Limits { head_within, ..Limits::default() }).await;
    for bytes in ["", "GET /healthz HTTP/1.1\r\nhost:"] {
        assert_eq!(raw(&cluster, bytes.as_bytes()).await, "", "{bytes:?}");
    }
    // A connection that was used and then stands idle ends too.
    let answer = raw(&cluster, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn beyond_the_bound_callers_wait_until_another_leaves() {
    let cluster = Cluster::within(Limits { connections: 2, ..Limits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(cluster.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        held.push(stream);
    }
    let waiting = cluster.client.health();
    tokio::pin!(waiting);
    // Not a promise of how long, only that it is not let in while both are there.
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await.is_err());
    held.pop();
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_end_waits_for_no_long_poll() {
    let mut cluster = Cluster::in_memory().await;
    let client = cluster.client.clone();
    let first = client.events(&EventQuery::default()).await.unwrap();
    let query = EventQuery { after: Some(first.next), wait_millis: Some(30_000), ..EventQuery::default() };
    let polling = tokio::spawn(async move { client.events(&query).await });
    // The poll is under way once its connection is one more than the idle ones; asking for health shows that all is served.
    cluster.client.health().await.unwrap();
    let start = Instant::now();
    assert!(cluster.stop().await);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // Answered with nothing, or never begun; both within the time.
    drop(tokio::time::timeout(PATIENCE, polling).await.unwrap());
    let gone = cluster.client.health().await.unwrap_err();
    assert!(gone.is_absence() && gone.exit_code() == 3, "{gone}");
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&format!("http://{address}"), None).unwrap();
    let error = client.app(&app("hits")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("can't reach the control plane at http://{address}"));
    assert_eq!(error.exit_code(), 3);
}

#[tokio::test]
async fn an_answer_that_is_not_pandos_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        for body in ["<html>", ""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await.unwrap();
            let status = if body.is_empty() { "502 Bad Gateway" } else { "200 OK" };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = Client::new(&url, None).unwrap();
    let error = client.version().await.unwrap_err();
    assert!(matches!(error, pando_api::ClientError::Protocol { .. }), "{error}");
    let error = client.version().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unknown));
    assert!(error.to_string().contains("502"), "{error}");
    served.await.unwrap();
}
