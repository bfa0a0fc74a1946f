//! Replicas that speak HTTP/2, as gRPC servers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use pando_routing::Protocol;
use tokio::sync::mpsc;

use crate::support::http2::{Http2, answer, read, request, upload};
use crate::support::{Origin, Proxy, TableBuilder, until, within};

/// Runs `serve` for each stream.
async fn origin<F>(
    connections: Arc<AtomicUsize>,
    serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>, usize) -> F + Clone + Send + Sync + 'static,
) -> Origin
where
    F: Future<Output = ()> + Send + 'static,
{
    Origin::start(move |stream, _| {
        let (serve, connections) = (serve.clone(), connections.clone());
        async move {
            // Probes say nothing.
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            connections.fetch_add(1, SeqCst);
            let mut serving = tokio::task::JoinSet::new();
            for number in 0.. {
                let Some(Ok((request, respond))) = connection.accept().await else { return };
                serving.spawn(serve(request, respond, number));
            }
        }
    })
    .await
}

async fn proxy(origin: &Origin) -> Proxy {
    let proxy = Proxy::start_with(|settings, _| settings.workers = Some(1)).await;
    let table = TableBuilder::serving(1, [origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.protocol = Protocol::H2c)).await;
    proxy
}

fn status(code: &'static str) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert("grpc-status", HeaderValue::from_static(code));
    map
}

fn grpc() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

/// Echoes what comes as it comes, and ends with a status.
async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, _: usize) {
    assert_eq!(request.headers().get("te").map(HeaderValue::as_bytes), Some(&b"trailers"[..]));
    let mut body = request.into_body();
    let mut send = respond.send_response(grpc(), false).unwrap();
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control().release_capacity(piece.len()).unwrap();
        let mut rest = piece;
        while !rest.is_empty() {
            send.reserve_capacity(rest.len());
            let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { return };
            send.send_data(rest.split_to(room.min(rest.len())), false).unwrap();
        }
    }
    let asked = body.trailers().await.unwrap();
    let mut trailers = status("0");
    if let Some(sum) = asked.as_ref().and_then(|asked| asked.get("x-sum")) {
        trailers.insert("x-sum", sum.clone());
    }
    send.send_trailers(trailers).unwrap();
}

fn call(path: &str) -> Request<()> {
    let mut asked = request("POST", path);
    asked.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    asked.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    asked
}

#[tokio::test]
async fn a_call_passes_both_ways_message_by_message() {
    let origin = origin(Arc::default(), echo).await;
    let proxy = proxy(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let (response, mut send) = client.begin(call("/echo.Echo/Both"), false).await;
    let mut body = within("a head", response).await.unwrap().into_body();
    for n in 0..10 {
        let message = Bytes::from(format!("message {n}"));
        send.send_data(message.clone(), false).unwrap();
        assert_eq!(within("an echo", body.data()).await.unwrap().unwrap(), message);
        body.flow_control().release_capacity(message.len()).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    send.send_trailers(trailers).unwrap();
    assert!(within("the end", body.data()).await.is_none());
    let trailers = within("trailers", body.trailers()).await.unwrap().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-sum"]),
        (&HeaderValue::from_static("0"), &HeaderValue::from_static("42"))
    );
    proxy.wait_for_stats("it is over", |stats| stats.in_flight.is_empty()).await;
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed, pool.cancelled), (1, 0, 0));
}

#[tokio::test]
async fn many_calls_share_a_connection_and_large_ones_pass_whole() {
    let connections = Arc::new(AtomicUsize::new(0));
    let origin = origin(connections.clone(), echo).await;
    let proxy = proxy(&origin).await;
    let client = Arc::new(Http2::connect(proxy.address).await);
    let warm = async |body: Bytes| {
        let (response, send) = client.begin(call("/"), false).await;
        let (sent, answer) = tokio::join!(upload(send, body), within("an answer", answer(response)));
        sent.unwrap();
        answer.unwrap()
    };
    assert_eq!(warm(Bytes::from("one")).await.text(), "one");
    let bodies: Vec<Bytes> =
        (0..50).map(|n: usize| Bytes::from(vec![n.to_le_bytes()[0]; n * 20_000])).collect();
    let all = bodies.iter().map(|body| warm(body.clone()));
    for (answer, body) in futures_util::future::join_all(all).await.iter().zip(&bodies) {
        assert!(answer.body == *body && answer.trailers["grpc-status"] == "0", "{}", answer.body.len());
    }
    // The probe's connections say nothing, and are none of these.
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn statuses_without_a_body_and_clients_of_http1_are_served() {
    let origin = origin(
        Arc::default(),
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>, _| async move {
            assert_eq!(request.uri().authority().unwrap(), "a.example");
            let mut head = grpc();
            match request.uri().path() {
                "/trailers-only" => {
                    head.headers_mut().extend(status("5"));
                    respond.send_response(head, true).unwrap();
                }
                "/204" => {
                    *head.status_mut() = http::StatusCode::NO_CONTENT;
                    respond.send_response(head, true).unwrap();
                }
                "/sized" => {
                    head.headers_mut().insert("content-length", HeaderValue::from_static("5"));
                    let end = request.method() == "HEAD";
                    let mut send = respond.send_response(head, end).unwrap();
                    if !end {
                        send.send_data(Bytes::from("hello"), true).unwrap();
                    }
                }
                _ => {
                    let mut send = respond.send_response(head, false).unwrap();
                    send.send_data(Bytes::from("open"), true).unwrap();
                }
            }
        },
    )
    .await;
    let proxy = proxy(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let none = client.ask(call("/trailers-only")).await.unwrap();
    assert_eq!((none.status, none.header("grpc-status"), none.body.len()), (200, Some("5"), 0));
    let mut old = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(old.get("/204").await.status, 204);
        let sized = old.get("/sized").await;
        assert_eq!((sized.text(), sized.header("content-length")), ("hello", Some("5")));
        assert_eq!(old.get("/open").await.text(), "open");
        let head = old.request("HEAD /sized HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    }
}

#[tokio::test]
async fn what_was_refused_unread_is_asked_again_and_what_broke_off_is_not() {
    let connections = Arc::new(AtomicUsize::new(0));
    // Each connection turns its second stream away.
    let origin = origin(connections.clone(), |_, mut respond: SendResponse<Bytes>, number| async move {
        if number == 1 {
            respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            respond.send_response(grpc(), true).unwrap();
        }
    })
    .await;
    let proxy_of = proxy;
    let proxy = proxy_of(&origin).await;
    let client = Http2::connect(proxy.address).await;
    for _ in 0..10 {
        // It has no body, and may not be repeated all the same: nobody has read it.
        let answer = client.ask(call("/")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert!(connections.load(SeqCst) > 1 && proxy.pool("web").await.retries > 0);

    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let broken = self::origin(Arc::default(), move |_, mut respond: SendResponse<Bytes>, _| {
        count.fetch_add(1, SeqCst);
        async move { respond.send_reset(Reason::INTERNAL_ERROR) }
    })
    .await;
    let proxy = proxy_of(&broken).await;
    let client = Http2::connect(proxy.address).await;
    assert_eq!(client.ask(call("/")).await.unwrap().status, 502);
    assert_eq!(seen.load(SeqCst), 1);
}

#[tokio::test]
async fn connections_that_end_politely_fail_nothing() {
    // Each connection serves three streams and says goodbye.
    let origin = Origin::start(|stream, _| async move {
        let Ok(mut connection) = h2::server::Builder::new().handshake::<_, Bytes>(stream).await else {
            return;
        };
        let mut served = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(grpc(), true).unwrap();
            served += 1;
            if served == 3 {
                connection.graceful_shutdown();
            }
        }
    })
    .await;
    let proxy = proxy(&origin).await;
    let client = Http2::connect(proxy.address).await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(proxy.pool("web").await.failed, 0);
}

#[tokio::test]
async fn a_call_that_is_given_up_is_given_up_at_the_replica_and_one_that_breaks_is_cut() {
    let (ends, mut ended) = mpsc::channel(4);
    let origin =
        origin(Arc::default(), move |request: Request<RecvStream>, mut respond: SendResponse<Bytes>, _| {
            let ends = ends.clone();
            async move {
                let mut send = respond.send_response(grpc(), false).unwrap();
                send.send_data(Bytes::from("begun"), false).unwrap();
                if request.uri().path() == "/break" {
                    // What was said is heard first.
                    let mut body = request.into_body();
                    let _ = body.data().await;
                    return send.send_reset(Reason::INTERNAL_ERROR);
                }
                let reason = std::future::poll_fn(|cx| send.poll_reset(cx)).await.unwrap();
                ends.send(reason).await.unwrap();
            }
        })
        .await;
    let proxy = proxy(&origin).await;
    let client = Http2::connect(proxy.address).await;
    let (response, mut send) = client.begin(call("/wait"), true).await;
    let mut body = within("a head", response).await.unwrap().into_body();
    assert_eq!(within("the start", body.data()).await.unwrap().unwrap(), "begun");
    send.send_reset(Reason::CANCEL);
    assert_eq!(within("the end", ended.recv()).await, Some(Reason::CANCEL));
    until("it is counted", async || proxy.pool("web").await.cancelled == 1).await;

    let (response, mut send) = client.begin(call("/break"), false).await;
    let response = within("a head", response).await.unwrap();
    send.send_data(Bytes::from("go on"), false).unwrap();
    let error = within("the end", read(response)).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    until("it is counted", async || proxy.pool("web").await.failed == 1).await;
}

/// As those of HTTP/1 are: nobody keeps what nobody needs.
#[tokio::test]
async fn connections_without_a_call_are_closed_after_a_while() {
    let connections = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(AtomicUsize::new(0));
    let counted = open.clone();
    let origin = Origin::start(move |stream, _| {
        let (connections, open) = (connections.clone(), counted.clone());
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            connections.fetch_add(1, SeqCst);
            open.fetch_add(1, SeqCst);
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
            }
            open.fetch_sub(1, SeqCst);
        }
    })
    .await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.upstream_idle = std::time::Duration::from_millis(1500);
    })
    .await;
    let table = TableBuilder::serving(1, [origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.protocol = Protocol::H2c)).await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(open.load(SeqCst), 1, "it is kept for the next call");
    until("it is closed", async || open.load(SeqCst) == 0).await;
    assert_eq!(proxy.get("/").await.status, 200, "the next call opens another");
    assert_eq!(proxy.pool("web").await.failed, 0);
}

/// A gRPC server that says how it is, by `grpc.health.v1`: nothing while it has no word.
#[tokio::test]
async fn a_grpc_probe_believes_the_health_service() {
    let word = Arc::new(std::sync::Mutex::new((b"\0\0\0\0\x02\x08\x01".to_vec(), "0")));
    let says = word.clone();
    let origin = origin(Arc::default(), move |request, mut respond, _| {
        let (body, status) = says.lock().unwrap().clone();
        async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.headers()["te"], "trailers");
            let mut asked = Vec::new();
            let mut body_asked = request.into_body();
            while let Some(Ok(piece)) = body_asked.data().await {
                asked.extend_from_slice(&piece);
            }
            assert_eq!(asked, b"\0\0\0\0\x06\x0a\x04hits");
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static(status),
            )]);
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            send.send_data(Bytes::from(body), false).unwrap();
            send.send_trailers(trailers).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start().await;
    let probe = pando_routing::Probe {
        kind: pando_routing::ProbeKind::Grpc { service: "hits".to_owned() },
        interval_millis: 50,
        rise: 1,
        fall: 1,
        ..pando_routing::Probe::default()
    };
    let endpoint = origin.endpoint();
    let table = |revision, protocol| {
        TableBuilder::serving(revision, [endpoint.clone()]).adjust("web", |pool| {
            (pool.protocol, pool.probe) = (protocol, probe.clone());
        })
    };
    proxy.put_ready(&table(1, Protocol::H2c)).await;
    let cases = [(&b"\0\0\0\0\x02\x08\x02"[..], "0", "NOT_SERVING"), (b"", "5", "no service of that name")];
    for (body, status, why) in cases {
        *word.lock().unwrap() = (body.to_vec(), status);
        let told = |stats: &pando_routing::ProxyStats| {
            stats.why_out.get(&endpoint.id).is_some_and(|text| text.contains(why))
        };
        proxy.wait_for_stats(why, told).await;
        *word.lock().unwrap() = (b"\0\0\0\0\x02\x08\x01".to_vec(), "0");
        proxy.wait_for_stats("it serves", |stats| stats.not_in_rotation.is_empty()).await;
    }
    let (status, why) = proxy.control("PUT", "/v1/table", &table(2, Protocol::Http1).json()).await;
    assert!(status == 400 && why.contains("pools.web.probe.kind"), "HTTP/1 carries no gRPC: {status} {why}");
}
