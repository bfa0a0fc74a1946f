//! Streams that end before their time, and connections that have to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::serving;
use crate::support::http2::{Frame, Frames, GET, Http2, answer, request};
use crate::support::{App, Origin, Proxy, Respond, TableBuilder, within};

/// Says this to each request, and closes.
async fn saying(answer: &'static [u8]) -> (Origin, Proxy) {
    let origin = Origin::start(move |mut stream, _| async move {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    (origin, proxy)
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_reset_and_its_connection_goes_on() {
    for cut in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (_origin, proxy) = saying(cut).await;
        let client = Http2::connect(proxy.address).await;
        for _ in 0..2 {
            let (response, _) = client.begin(request("GET", "/"), true).await;
            // A reset overtakes what was not sent yet, the head included.
            let error = within("the end", answer(response)).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
        }
        let pool = proxy.pool("web").await;
        assert_eq!((pool.failed, pool.cancelled), (2, 0));
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_whole_ends_the_upload_politely() {
    let (_origin, proxy) =
        saying(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!").await;
    let client = Http2::connect(proxy.address).await;
    let (response, mut send) = client.begin(request("POST", "/"), false).await;
    send.send_data(Bytes::from("some of it"), false).unwrap();
    let answer = within("an answer", answer(response)).await.unwrap();
    assert_eq!((answer.status, answer.text()), (413, "no!"));
    let reset = within("a reset", std::future::poll_fn(|cx| send.poll_reset(cx))).await.unwrap();
    assert_eq!(reset, Reason::NO_ERROR);
    assert_eq!(proxy.pool("web").await.requests, 1);
}

/// Answers nothing until the gate opens.
async fn gated(gate: &Arc<Semaphore>) -> App {
    let gate = gate.clone();
    App::serving(move |_| -> Respond {
        let gate = gate.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Response::new(Full::new(Bytes::from("late")).boxed_unsync())
        })
    })
    .await
}

#[tokio::test]
async fn a_cancelled_stream_frees_its_endpoint_and_is_counted() {
    let gate = Arc::new(Semaphore::new(0));
    let app = gated(&gate).await;
    let proxy = serving(&app).await;
    let client = Http2::connect(proxy.address).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(client.begin(request("GET", "/"), true).await);
    }
    let id = app.endpoint.id;
    proxy.wait_for_stats("all are there", |stats| stats.in_flight.get(&id) == Some(&10)).await;
    for (response, mut send) in streams.drain(1..) {
        send.send_reset(Reason::CANCEL);
        drop(response);
    }
    proxy.wait_for_stats("one is left", |stats| stats.in_flight.get(&id) == Some(&1)).await;
    gate.add_permits(1);
    let (response, _) = streams.remove(0);
    assert_eq!(within("an answer", answer(response)).await.unwrap().text(), "late");
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.cancelled, pool.failed), (1, 9, 0));
    // So do all at once, when the connection goes.
    let (_response, _) = client.begin(request("GET", "/"), true).await;
    proxy.wait_for_stats("it is there", |stats| stats.in_flight.get(&id) == Some(&1)).await;
    client.running.abort();
    proxy.wait_for_stats("none is left", |stats| stats.in_flight.is_empty()).await;
}

#[tokio::test]
async fn requests_that_may_be_repeated_are() {
    let heads = Arc::new(AtomicUsize::new(0));
    let count = heads.clone();
    // Every second request of a connection is dropped without a word.
    let origin = Origin::start(move |mut stream, _| {
        let heads = count.clone();
        async move {
            for n in 0..2 {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                heads.fetch_add(1, SeqCst);
                if n == 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            }
        }
    })
    .await;
    let proxy = Proxy::start_with(|settings, _| settings.workers = Some(1)).await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let client = Http2::connect(proxy.address).await;
    for _ in 0..20 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed), (20, 0));
    assert!(pool.retries >= 10 && heads.load(SeqCst) >= 30, "{} {heads:?}", pool.retries);
}

#[tokio::test]
async fn the_end_of_the_proxy_fails_nothing_that_is_under_way() {
    let gate = Arc::new(Semaphore::new(0));
    let app = gated(&gate).await;
    let proxy = serving(&app).await;
    let busy = Http2::connect(proxy.address).await;
    let mut idle = Frames::connect(proxy.address).await;
    assert_eq!(idle.next().await.unwrap().kind, 4);
    let mut responses = Vec::new();
    for _ in 0..20 {
        responses.push(busy.begin(request("GET", "/"), true).await.0);
    }
    let id = app.endpoint.id;
    proxy.wait_for_stats("all are there", |stats| stats.in_flight.get(&id) == Some(&20)).await;
    proxy.shutdown.begin();
    // Twice: what was on its way at the first is still answered.
    let first = idle.next_of(7).await.unwrap();
    assert_eq!((first.payload[..4].to_vec(), first.code()), (vec![0x7f, 0xff, 0xff, 0xff], 0));
    let ping = idle.next_of(6).await.unwrap();
    idle.send(&Frame::new(6, 1, 0, ping.payload)).await;
    assert_eq!(idle.next_of(7).await.unwrap().payload[..4], [0; 4]);
    assert_eq!(idle.next().await, None);
    gate.add_permits(20);
    for response in responses {
        assert_eq!(within("an answer", answer(response)).await.unwrap().text(), "late");
    }
    busy.end().await.unwrap();
    proxy.stop().await;
}

#[tokio::test]
async fn a_connection_without_a_stream_ends_after_a_while_and_one_with_does_not() {
    let gate = Arc::new(Semaphore::new(0));
    let app = gated(&gate).await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.client_idle = std::time::Duration::from_millis(200);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let busy = Http2::connect(proxy.address).await;
    let (response, _) = busy.begin(request("GET", "/"), true).await;
    let mut idle = Frames::connect(proxy.address).await;
    assert_eq!(idle.goaway().await, Some(0));
    while idle.next().await.is_some() {}
    gate.add_permits(1);
    assert_eq!(within("an answer", answer(response)).await.unwrap().text(), "late");
    busy.end().await.unwrap();
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_the_connection() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.head_time = std::time::Duration::from_millis(300);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    // Without its last block; in the middle of its frame; in the middle of the frame's head.
    let whole = Frame::headers(1, 1, &GET);
    let open = Frame { flags: 1, ..whole.clone() };
    for bytes in [open.bytes(), whole.bytes()[..20].to_vec(), whole.bytes()[..5].to_vec()] {
        let mut client = Frames::connect(proxy.address).await;
        client.write(&bytes).await.unwrap();
        assert_eq!(client.goaway().await, Some(11), "ENHANCE_YOUR_CALM");
    }
    // Nor does a preface have longer.
    let mut slow = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    slow.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
    let mut rest = Vec::new();
    within("the end", slow.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_not_waited_for_for_ever() {
    let app = App::answering(|_| Response::new(Bytes::from(vec![7; 1_000_000]))).await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.client_stall = std::time::Duration::from_millis(300);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    // The window never opens.
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1000);
    let client = Http2::with(proxy.address, &builder).await;
    let (response, _) = client.begin(request("GET", "/"), true).await;
    let mut body = within("a head", response).await.unwrap().into_body();
    assert_eq!(within("the first bytes", body.data()).await.unwrap().unwrap().len(), 1000);
    let error = within("the end", body.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    proxy.wait_for_stats("it is given up", |stats| stats.in_flight.is_empty()).await;
    assert_eq!(proxy.pool("web").await.cancelled, 1);
    // Nobody reads the socket.
    let mut deaf = Frames::connect(proxy.address).await;
    deaf.send(&Frame::new(4, 0, 0, [0, 4, 0x7f, 0xff, 0xff, 0xff])).await;
    deaf.send(&Frame::new(8, 0, 0, [0x7f, 0, 0, 0])).await;
    for n in 0..50 {
        deaf.send(&Frame::headers(2 * n + 1, 1, &GET)).await;
    }
    proxy.wait_for_stats("they are here", |stats| !stats.in_flight.is_empty()).await;
    proxy.wait_for_stats("they are given up", |stats| stats.in_flight.is_empty()).await;
    let mut asked = request("GET", "/");
    asked.headers_mut().insert("x-still", HeaderValue::from_static("here"));
    let other = Http2::connect(proxy.address).await;
    assert_eq!(other.ask(asked).await.unwrap().body.len(), 1_000_000);
}
