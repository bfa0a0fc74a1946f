//! Answers made smaller.

use std::io::Read;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::{Scene, all};
use crate::support::App;

const RULE: &str = r#"{"host": "*", "pool": "web", "filters": {"compression": {"min_bytes": 100}}}"#;

fn text() -> String {
    (0..2_000).map(|n| format!("line {n} of a text that can be made smaller\n")).collect()
}

/// Undoes what `content-encoding` says.
fn plain(encoding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match encoding {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap(),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut out).unwrap(),
        Some("zstd") => zstd::stream::read::Decoder::new(body).unwrap().read_to_end(&mut out).unwrap(),
        other => panic!("{other:?}"),
    };
    out
}

/// Answers by the path: `/type/subtype`, with headers from the query (`name=value&…`).
async fn app() -> App {
    App::answering(|seen| {
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let mut builder =
            http::Response::builder().header("content-type", &path[1..]).header("etag", "\"v1\"");
        let mut body = text();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap();
            match name {
                "status" => builder = builder.status(value.parse::<u16>().unwrap()),
                "size" => body.truncate(value.parse().unwrap()),
                name => builder = builder.header(name, value),
            }
        }
        builder.body(body.into()).unwrap()
    })
    .await
}

async fn scene(rule: &str) -> Scene {
    Scene::of(app().await, App::named("other").await, &[rule], |table| table).await
}

#[tokio::test]
async fn clients_get_what_they_can_read() {
    let scene = scene(RULE).await;
    for (accept, encoding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("br;q=0.9, gzip", "gzip"),
    ] {
        for answer in scene.ask("GET", "/text/html", &[("accept-encoding", accept)]).await {
            assert_eq!(all(&answer, "content-encoding"), [encoding], "{accept}");
            assert_eq!(plain(Some(encoding), &answer.body), text().as_bytes());
            assert!(answer.body.len() < text().len() / 4, "{}", answer.body.len());
            assert_eq!(
                (all(&answer, "vary"), all(&answer, "etag")),
                (vec!["Accept-Encoding"], vec!["W/\"v1\""])
            );
            assert!(answer.header("content-length").is_none());
        }
    }
    for answer in scene.ask("GET", "/text/html", &[]).await {
        assert_eq!((answer.text(), answer.header("content-encoding")), (text().as_str(), None));
        assert_eq!((answer.header("vary"), answer.header("etag")), (Some("Accept-Encoding"), Some("\"v1\"")));
    }
}

#[tokio::test]
async fn what_must_stay_as_it_is_does() {
    let scene = scene(RULE).await;
    let accept = [("accept-encoding", "gzip, br, zstd")];
    for path in [
        "/image/png",
        "/text/event-stream",
        "/text/html?size=99",
        "/text/html?content-encoding=identity",
        "/text/html?cache-control=private,no-transform",
        "/application/grpc",
    ] {
        for answer in scene.ask("GET", path, &accept).await {
            assert_ne!(answer.header("content-encoding"), Some("gzip"), "{path}");
            assert!(answer.header("vary").is_none() && text().as_bytes().starts_with(&answer.body), "{path}");
            assert_eq!(answer.header("etag"), Some("\"v1\""));
        }
    }
    // What caches keep of these is told apart all the same.
    for (method, path, status) in [
        ("HEAD", "/text/html", 200),
        ("GET", "/text/html?status=304", 304),
        ("GET", "/text/html?status=206&size=50&content-range=bytes%200-49/2000", 206),
    ] {
        for answer in scene.ask(method, path, &accept).await {
            assert_eq!((answer.status, answer.header("content-encoding")), (status, None));
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{method} {path}");
        }
    }
    for path in ["/image/png", "/text/html?size=99"] {
        for answer in scene.ask("HEAD", path, &accept).await {
            assert_eq!(answer.header("vary"), None, "{path}");
        }
    }
    let old = "GET /text/html HTTP/1.0\r\nhost: a.example\r\naccept-encoding: gzip\r\n\r\n";
    assert_eq!(scene.proxy.client().await.request(old).await.text(), text());
}

#[tokio::test]
async fn types_are_the_rules_to_choose() {
    let scene = scene(&RULE.replace(
        "\"min_bytes\": 100",
        "\"types\": [\"image/*\", \"Application/X\"], \"encodings\": [\"gzip\"]",
    ))
    .await;
    for (path, compressed) in [("/image/bmp", true), ("/application/x", true), ("/text/html", false)] {
        let answer = scene.ask1("GET", path, &[("accept-encoding", "gzip, zstd")]).await;
        assert_eq!(answer.header("content-encoding").is_some(), compressed, "{path}");
    }
}

/// An answer whose pieces are sent when the test says so.
async fn dripping(kind: &'static str) -> (App, mpsc::Sender<&'static str>) {
    let (send, receive) = mpsc::channel::<&'static str>(1);
    let receive = std::sync::Arc::new(tokio::sync::Mutex::new(Some(receive)));
    let app = App::serving(move |_| {
        let receive = std::sync::Arc::clone(&receive);
        Box::pin(async move {
            let mut pieces = receive.lock().await.take().unwrap();
            let stream = futures_util::stream::poll_fn(move |cx| {
                pieces
                    .poll_recv(cx)
                    .map(|piece| piece.map(|piece| Ok(hyper::body::Frame::data(Bytes::from(piece)))))
            });
            let body = http_body_util::StreamBody::new(stream).boxed_unsync();
            http::Response::builder().header("content-type", kind).body(body).unwrap()
        })
    })
    .await;
    (app, send)
}

#[tokio::test]
async fn a_stream_is_not_held_back() {
    let rule = r#"{"host": "*", "pool": "web", "filters": {"compression": {"event_streams": true, "encodings": ["gzip"]}}}"#;
    let (app, pieces) = dripping("text/event-stream").await;
    let scene = Scene::of(app, App::named("other").await, &[rule], |table| table).await;
    let mut client = scene.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a.example\r\naccept-encoding: gzip\r\n\r\n").await;
    assert_eq!(client.head().await.header("content-encoding"), Some("gzip"));
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for (piece, so_far) in [("data: 1\n\n", "data: 1\n\n"), ("data: 2\n\n", "data: 1\n\ndata: 2\n\n")] {
        pieces.send(piece).await.unwrap();
        while decoder.get_ref() != so_far.as_bytes() {
            let chunk = crate::support::within("a chunk", client.chunk()).await.unwrap().unwrap();
            std::io::Write::write_all(&mut decoder, &chunk).unwrap();
            std::io::Write::flush(&mut decoder).unwrap();
        }
    }
    drop(pieces);
    while crate::support::within("the end", client.chunk()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_huge_answer_passes_in_little_memory() {
    const SIZE: usize = 64 << 20;
    let app = App::serving(|_| {
        Box::pin(async {
            let zeros = Bytes::from(vec![b'0'; 1 << 16]);
            let pieces = (0..SIZE >> 16).map(move |_| Ok(hyper::body::Frame::data(zeros.clone())));
            let body = http_body_util::StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync();
            http::Response::builder().header("content-type", "text/plain").body(body).unwrap()
        })
    })
    .await;
    let scene = Scene::of(app, App::named("other").await, &[RULE], |table| table).await;
    for encoding in ["gzip", "br", "zstd"] {
        let answer = scene.ask1("GET", "/", &[("accept-encoding", encoding)]).await;
        assert_eq!(plain(Some(encoding), &answer.body).len(), SIZE, "{encoding}");
    }
}
