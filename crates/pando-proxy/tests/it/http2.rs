//! HTTP/2 from clients: many requests at once, each as good as one over HTTP/1.

mod broken;
mod flood;
mod malformed;
mod replica;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};

use crate::support::http2::{Http2, answer, request, upload};
use crate::support::{App, Origin, Proxy, Respond, TableBuilder, within};

pub(crate) async fn serving(app: &App) -> Proxy {
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    proxy
}

#[tokio::test]
async fn a_request_reaches_the_endpoint_as_over_http1() {
    let app = App::named("hello").await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    let mut asked = request("GET", "/path?query=1");
    for (name, value) in [
        ("x-mine", "1"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-forwarded-for", "1.2.3.4"),
        ("te", "trailers"),
    ] {
        asked.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let answer = client.ask(asked).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(answer.header("content-length"), Some("5"));
    assert!(answer.headers.contains_key("x-request-id") && answer.headers.contains_key("date"));
    let seen = app.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/path?query=1"));
    let header = |name: &str| {
        let values: Vec<_> = seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        values.join("|")
    };
    assert_eq!((header("host"), header("x-mine")), ("a.example".to_owned(), "1".to_owned()));
    assert_eq!(header("cookie"), "a=1; b=2");
    assert_eq!((header("x-forwarded-for"), header("te")), ("127.0.0.1".to_owned(), "trailers".to_owned()));
    assert_eq!((header("transfer-encoding"), header("content-length")), (String::new(), String::new()));
}

#[tokio::test]
async fn a_hundred_requests_are_under_way_at_once() {
    let (gate, here) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (open, count) = (gate.clone(), here.clone());
    let app = App::serving(move |request| -> Respond {
        let (gate, here) = (gate.clone(), here.clone());
        Box::pin(async move {
            // All must be here before the first is answered.
            if here.fetch_add(1, SeqCst) == 99 {
                gate.add_permits(100);
            }
            gate.acquire().await.unwrap().forget();
            let path = Bytes::from(request.uri().path().to_owned());
            Response::new(http_body_util::Full::new(path).boxed_unsync())
        })
    })
    .await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    let mut responses = Vec::new();
    for n in 0..100 {
        responses.push(client.begin(request("GET", &format!("/{n}")), true).await.0);
    }
    for (n, response) in responses.into_iter().enumerate() {
        assert_eq!(within("an answer", answer(response)).await.unwrap().text(), format!("/{n}"));
    }
    assert_eq!(count.load(SeqCst), 100);
    drop(open);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed, pool.cancelled), (100, 0, 0));
}

#[tokio::test]
async fn bodies_of_any_size_pass_both_ways_at_once() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = serving(&app).await;
    let client = Arc::new(Http2::connect(proxy.address).await);
    let sizes = [0, 1, 1000, 16_384, 65_535, 65_536, 300_000, 5_000_000];
    let mut asking = Vec::new();
    for size in sizes {
        let client = client.clone();
        asking.push(tokio::spawn(async move {
            let body: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
            let answer = client.post("/", body.clone()).await;
            assert!(answer.status == 200 && answer.body == body, "{size}: {}", answer.body.len());
        }));
    }
    for asked in asking {
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn a_body_of_known_length_keeps_its_length() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("content-length", HeaderValue::from_static("5"));
    let (response, send) = client.begin(asked, false).await;
    upload(send, Bytes::from("hello")).await.unwrap();
    assert_eq!(within("an answer", answer(response)).await.unwrap().text(), "hello");
    assert_eq!(app.last().headers.get("content-length").unwrap(), "5");
    assert!(!app.last().headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let app = App::serving(|request| -> Respond {
        Box::pin(async move {
            let asked = request.into_body().collect().await.unwrap();
            let mut trailers = HeaderMap::new();
            let checksum = asked.trailers().and_then(|trailers| trailers.get("x-checksum")).cloned();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("x-echo", checksum.unwrap_or_else(|| HeaderValue::from_static("none")));
            let frames = vec![Ok(Frame::data(asked.to_bytes())), Ok(Frame::trailers(trailers))];
            let mut response =
                Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync());
            response.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status, x-echo"));
            response
        })
    })
    .await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    asked.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
    let (response, mut send) = client.begin(asked, false).await;
    send.send_data(Bytes::from("ping"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("abc"));
    send.send_trailers(trailers).unwrap();
    let answer = within("an answer", answer(response)).await.unwrap();
    assert_eq!(answer.text(), "ping");
    assert_eq!(answer.trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(answer.trailers.get("x-echo").unwrap(), "abc");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let app = App::answering(|seen| {
        let status = if seen.target == "/204" { 204 } else { 304 };
        match seen.method.as_str() {
            "HEAD" => Response::new(Bytes::from("hello")),
            _ => Response::builder().status(status).body(Bytes::new()).unwrap(),
        }
    })
    .await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    let head = client.ask(request("HEAD", "/")).await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("5"), 0));
    for status in [204, 304] {
        let answer = client.get(&format!("/{status}")).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    // A page of our own has none either, when only its head was asked for.
    let nobody = Proxy::start().await;
    let client = Http2::connect(nobody.address).await;
    let page = client.ask(request("HEAD", "/")).await.unwrap();
    assert_eq!((page.status, page.body.len()), (503, 0));
    assert!(client.get("/").await.text().starts_with("503 "));
}

#[tokio::test]
async fn early_hints_and_continue_come_before_the_answer() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n").await.unwrap();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await.unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let client = Http2::connect(proxy.address).await;
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    asked.headers_mut().insert("content-length", HeaderValue::from_static("4"));
    let (mut response, mut send) = client.begin(asked, false).await;
    let mut interim = async || {
        let next = std::future::poll_fn(|cx| response.poll_informational(cx));
        within("an interim answer", next).await.unwrap().unwrap()
    };
    let hints = interim().await;
    assert_eq!(hints.status().as_u16(), 103);
    assert_eq!(hints.headers().get("link").unwrap(), "</a.css>");
    assert_eq!(interim().await.status().as_u16(), 100);
    send.send_data(Bytes::from("body"), true).unwrap();
    assert_eq!(within("an answer", answer(response)).await.unwrap().text(), "body");
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let (ticks, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = std::sync::Mutex::new(Some(receiver));
    let app = App::serving(move |_| -> Respond {
        let receiver = receiver.lock().unwrap().take().unwrap();
        Box::pin(async move {
            let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
                receiver.recv().await.map(|bytes| (Ok(Frame::data(bytes)), receiver))
            });
            Response::new(StreamBody::new(frames).boxed_unsync())
        })
    })
    .await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    let (response, _) = client.begin(request("GET", "/events"), true).await;
    let mut body = within("a head", response).await.unwrap().into_body();
    for n in 0..10 {
        let tick = format!("data: {n}\n\n");
        ticks.send(Bytes::from(tick.clone())).await.unwrap();
        // Nothing but this tick can make the piece arrive: the next is sent only after it.
        assert_eq!(within("a tick", body.data()).await.unwrap().unwrap(), tick.as_bytes());
    }
    drop(ticks);
    // The end may come in an empty frame.
    while let Some(piece) = within("the end", body.data()).await {
        assert!(piece.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_was_read_of_another_protocol_is_not_lost_and_http1_goes_on() {
    let app = App::named("ok").await;
    let proxy = serving(&app).await;
    // The preface in pieces, as slow networks bring it.
    let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut settings = [0; 9];
    within("settings", stream.read_exact(&mut settings)).await.unwrap();
    assert_eq!(settings[3], 4);
    // It opens a connection; it is no request.
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.response().await.status, 505);
}
