//! Requests that mean two things, or nothing: none of them reaches an endpoint.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::http2::{END_STREAM, Frame, Frames, GET};
use crate::support::{Origin, Proxy, TableBuilder};

/// Remembers every byte that it gets, and answers each head.
async fn recording() -> (Origin, Arc<Mutex<Vec<u8>>>) {
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let memory = heard.clone();
    let origin = Origin::start(move |mut stream, _| {
        let memory = memory.clone();
        async move {
            let (mut piece, mut request) = ([0; 4096], Vec::new());
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                memory.lock().unwrap().extend_from_slice(&piece[..count]);
                request.extend_from_slice(&piece[..count]);
                if is_whole(&request) {
                    request.clear();
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            }
        }
    })
    .await;
    (origin, heard)
}

/// Its head is, and its body, which has five bytes or is chunked without trailers.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    match head {
        _ if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        _ if head.contains("content-length: 5") => body.len() >= 5,
        _ => true,
    }
}

fn with<'a>(replaced: &[(&'a str, &'a str)], added: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> = GET.to_vec();
    for (name, value) in replaced {
        let at = fields.iter().position(|(known, _)| known == name).unwrap();
        fields[at].1 = value;
    }
    fields.extend(added);
    fields
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().filter(|(known, _)| *known != name).collect()
}

#[tokio::test]
async fn what_is_malformed_is_reset_and_never_reaches_an_endpoint() {
    let (origin, heard) = recording().await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let cases = [
        with(&[], &[("x", " a")]),
        with(&[], &[("x", "a\t")]),
        with(&[], &[("x", "a\r\nx-smuggled: 1")]),
        with(&[], &[("x", "a\nb")]),
        with(&[], &[("x", "a\0b")]),
        with(&[], &[("X-Upper", "a")]),
        with(&[], &[("x y", "a")]),
        with(&[], &[("x:", "a")]),
        with(&[], &[("", "a")]),
        with(&[], &[("host", "other.example")]),
        with(&[], &[("host", "a.example"), ("host", "a.example")]),
        with(&[], &[("connection", "close")]),
        with(&[], &[("keep-alive", "1")]),
        with(&[], &[("proxy-connection", "1")]),
        with(&[], &[("upgrade", "websocket")]),
        with(&[], &[("transfer-encoding", "chunked")]),
        with(&[], &[("te", "gzip")]),
        with(&[], &[("content-length", "5")]),
        with(&[], &[("content-length", "0"), ("content-length", "1")]),
        with(&[], &[("content-length", "x")]),
        with(&[], &[("content-length", "+0")]),
        with(&[(":path", "")], &[]),
        with(&[(":path", "x")], &[]),
        with(&[(":path", "*")], &[]),
        with(&[(":path", "http://b.example/")], &[]),
        with(&[(":path", "/ HTTP/1.1\r\nx-smuggled: 1")], &[]),
        with(&[(":path", "/a b")], &[]),
        with(&[(":authority", "a.example/x")], &[]),
        with(&[(":authority", "u@a.example")], &[]),
        with(&[(":authority", "")], &[]),
        with(&[(":method", "G T")], &[]),
        with(&[(":method", "")], &[]),
        with(&[(":scheme", "ftp")], &[]),
        with(&[], &[(":path", "/again")]),
        with(&[], &[(":status", "200")]),
        with(&[], &[(":unknown", "1")]),
        with(&[(":method", "CONNECT")], &[]),
        vec![(":method", "CONNECT")],
        with(&[], &[(":protocol", "websocket")]),
        [&[("x", "before")][..], &GET].concat(),
        without(":method"),
        without(":scheme"),
        without(":path"),
        without(":authority"),
    ];
    for case in cases {
        let mut client = Frames::connect(proxy.address).await;
        client.send(&Frame::headers(1, END_STREAM, &case)).await;
        let ended = loop {
            let frame = client.next().await.expect("a word about it");
            assert_ne!(frame.kind, 1, "an answer to {case:?}");
            if matches!(frame.kind, 3 | 7) {
                break frame;
            }
        };
        assert_eq!(ended.code(), 1, "PROTOCOL_ERROR for {case:?}");
    }
    assert_eq!(String::from_utf8_lossy(&heard.lock().unwrap()), "");
    // What is well-formed does reach it, in one form.
    let mut client = Frames::connect(proxy.address).await;
    client.send(&Frame::headers(1, END_STREAM, &with(&[], &[("host", "a.example")]))).await;
    assert!(client.next_of(1).await.is_some());
    let heard = String::from_utf8(heard.lock().unwrap().clone()).unwrap();
    assert!(heard.starts_with("GET / HTTP/1.1\r\nhost: a.example\r\nx-forwarded-for: "), "{heard}");
    assert_eq!(heard.matches("host: ").count(), 2, "with x-forwarded-host: {heard}");
}

#[tokio::test]
async fn a_plain_connect_is_refused() {
    let (origin, heard) = recording().await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let client = crate::support::http2::Http2::connect(proxy.address).await;
    let asked = http::Request::builder().method("CONNECT").uri("a.example:443").body(()).unwrap();
    assert_eq!(client.ask(asked).await.unwrap().status, 405);
    assert!(heard.lock().unwrap().is_empty());
}

/// A body that is not what its head said never looks whole to an endpoint.
#[tokio::test]
async fn bodies_and_trailers_that_are_malformed_are_never_whole() {
    let (origin, heard) = recording().await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let post = with(&[(":method", "POST")], &[]);
    let long = [&post[..], &[("content-length", "5")]].concat();
    let cases = [
        vec![Frame::headers(1, 0, &long), Frame::new(0, END_STREAM, 1, b"four".to_vec())],
        vec![Frame::headers(1, 0, &long), Frame::new(0, END_STREAM, 1, b"six---".to_vec())],
        vec![Frame::headers(1, 0, &post), Frame::headers(1, END_STREAM, &[(":path", "/x")])],
        vec![Frame::headers(1, 0, &post), Frame::headers(1, END_STREAM, &[("x", " y")])],
        vec![Frame::headers(1, 0, &post), Frame::headers(1, END_STREAM, &[("content-length", "5")])],
        vec![Frame::headers(1, 0, &post), Frame::headers(1, END_STREAM, &[("host", "b")])],
        vec![Frame::headers(1, 0, &post), Frame::headers(1, 0, &[("x", "y")])],
    ];
    for case in cases {
        let mut client = Frames::connect(proxy.address).await;
        for frame in &case {
            client.send(frame).await;
        }
        loop {
            let frame = client.next().await.expect("a word about it");
            match frame.kind {
                3 | 7 => break,
                // 400: the head was fine, and the trailers were not.
                1 => {
                    // The status stands first, and 0x88 is 200 (RFC 7541, appendix A).
                    assert_ne!(frame.payload.first(), Some(&0x88), "200 for {case:?}");
                    break;
                }
                _ => {}
            }
        }
        proxy.wait_for_stats("it is over", |stats| stats.in_flight.is_empty()).await;
        let heard = String::from_utf8(std::mem::take(&mut *heard.lock().unwrap())).unwrap();
        assert!(!heard.contains("\r\n0\r\n\r\n") && !heard.ends_with("five"), "{case:?}: {heard}");
    }
    assert_eq!(proxy.pool("web").await.failed, 0);
}
