//! HTTP/1.1 by the book, and what the proxy adds to it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use crate::support::{App, NOBODY, Origin, Proxy, TableBuilder, endpoint, free_address, within};

async fn serving(app: &App) -> Proxy {
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    proxy
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let app = App::named("hello").await;
    let proxy = serving(&app).await;
    let probes = app.connections();
    let mut client = proxy.client().await;
    for _ in 0..20 {
        let response = client.get("/x?y=1").await;
        assert_eq!((response.status, response.text()), (200, "hello"));
        assert_eq!(response.header("connection"), None);
    }
    let last = app.last();
    assert_eq!((last.method.as_str(), last.target.as_str()), ("GET", "/x?y=1"));
    // The prober connects too; what the 20 requests needed is one.
    let (after, looks) = (app.connections(), 10);
    assert!(after - probes <= 1 + looks, "{probes} then {after}");
    assert_eq!(proxy.pool("web").await.requests, 20);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_served_in_its_way() {
    let app = App::serving(|_| {
        Box::pin(async {
            let chunks = ["stream", "ed"].map(|text| Ok(Frame::data(Bytes::from(text))));
            Response::new(StreamBody::new(futures_util::stream::iter(chunks)).boxed_unsync())
        })
    })
    .await;
    let proxy = serving(&app).await;
    let response = proxy.client().await.request("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((response.status, response.version.as_str(), response.text()), (200, "HTTP/1.1", "streamed"));
    assert_eq!(response.header("transfer-encoding"), None);

    let sized = App::named("sized").await;
    proxy.put_ready(&TableBuilder::serving(2, [&sized.endpoint])).await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        let response = client.request("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
        assert_eq!((response.header("connection"), response.text()), (Some("keep-alive"), "sized"));
    }
    let response = client.request("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(response.status, 200);
    assert_eq!(sized.last().headers["host"], sized.address.to_string());
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn bodies_pass_whatever_their_framing() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = serving(&app).await;
    let mut client = proxy.client().await;
    let sized = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(client.request(sized).await.text(), "hello");
    assert_eq!(app.last().headers["content-length"], "5");

    let chunked = "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\n\r\n";
    for method in ["POST", "GET", "DELETE"] {
        let request =
            format!("{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunked}");
        assert_eq!(client.request(&request).await.text(), "abcdefgh", "{method}");
        let seen = app.last();
        assert_eq!(seen.headers["transfer-encoding"], "chunked");
        assert!(!seen.headers.contains_key("content-length"));
    }

    assert_eq!(client.request("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.text(), "");
    assert_eq!(app.last().headers["content-length"], "0");
    let large = vec![7; 3_000_000];
    client.send(format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", large.len())).await;
    client.send(&large).await;
    assert_eq!(client.response().await.body, large);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let app = App::serving(|request| {
        Box::pin(async move {
            let body = request.into_body().collect().await.unwrap();
            let sum = body.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-echo", sum.unwrap_or(HeaderValue::from_static("none")));
            let frames = [Ok(Frame::data(Bytes::from("body"))), Ok(Frame::trailers(trailers))];
            let mut response =
                Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync());
            response.headers_mut().insert("trailer", HeaderValue::from_static("x-echo"));
            response
        })
    })
    .await;
    let proxy = serving(&app).await;
    let mut client = proxy.client().await;
    let response = client
        .request(
            "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
             1\r\na\r\n0\r\nx-sum: 42\r\n\r\n",
        )
        .await;
    assert_eq!(response.text(), "body");
    assert_eq!(response.trailers, [("x-echo".to_owned(), "42".to_owned())]);
    // The connection is good for more.
    assert_eq!(client.get("/").await.text(), "body");
}

#[tokio::test]
async fn expect_100_continue_is_the_endpoints_to_answer() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = serving(&app).await;
    let mut client = proxy.client().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    let interim = client.request(head).await;
    assert_eq!(interim.status, 100);
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "hello");
    assert_eq!(app.last().headers["expect"], "100-continue");
    assert_eq!(client.get("/").await.status, 200);

    // One that refuses from the head alone never gets the body.
    let refusing = Origin::start(|mut stream, _| async move {
        let mut got = vec![0; 1000];
        let count = stream.read(&mut got).await.unwrap();
        if count > 0 {
            assert!(got[..count].ends_with(b"\r\n\r\n"), "{:?}", String::from_utf8_lossy(&got[..count]));
            let refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig";
            stream.write_all(refusal).await.unwrap();
            assert_eq!(stream.read(&mut got).await.unwrap_or(0), 0);
        }
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(2, [refusing.endpoint()])).await;
    let response = proxy.client().await.request(head).await;
    assert_eq!((response.status, response.text()), (413, "big"));
}

#[tokio::test]
async fn an_endpoint_that_ignores_expect_gets_the_body_all_the_same() {
    let ignoring = Origin::start(|mut stream, _| async move {
        let mut got = Vec::new();
        while !got.ends_with(b"hello") {
            if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                return;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [ignoring.endpoint()])).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(client.response().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length_and_the_connection() {
    let app = App::answering(|seen| {
        let mut response = Response::new(Bytes::new());
        match seen.target.as_str() {
            "/204" => *response.status_mut() = http::StatusCode::NO_CONTENT,
            "/304" => {
                *response.status_mut() = http::StatusCode::NOT_MODIFIED;
                response.headers_mut().insert("etag", HeaderValue::from_static("\"1\""));
            }
            _ => *response.body_mut() = Bytes::from("twelve bytes"),
        }
        response
    })
    .await;
    let proxy = serving(&app).await;
    let mut client = proxy.client().await;
    let head = client.request("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("12")));
    assert_eq!(client.get("/204").await.status, 204);
    assert_eq!(client.get("/304").await.header("etag"), Some("\"1\""));
    assert_eq!(client.get("/").await.text(), "twelve bytes");
    let stats = proxy.pool("web").await;
    assert_eq!((stats.requests, stats.cancelled, stats.by_class), (4, 0, [0, 3, 1, 0, 0]));
}

#[tokio::test]
async fn early_hints_pass_to_those_who_understand_them() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut got = [0; 1000];
        while stream.read(&mut got).await.unwrap_or(0) > 0 {
            let answer = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let hints = client.get("/").await;
        assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>")));
        assert_eq!(client.response().await.status, 102);
        let response = client.response().await;
        assert_eq!((response.status, response.text()), (200, "ok"));
    }
    let old = proxy.client().await.request("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((old.status, old.text()), (200, "ok"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = App::answering(|seen| Response::new(Bytes::from(seen.target.clone()))).await;
    let proxy = serving(&app).await;
    let mut client = proxy.client().await;
    let requests: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.send(requests).await;
    for n in 0..20 {
        assert_eq!(client.response().await.text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn the_endpoint_learns_who_asks_and_believes_nobody_else() {
    let app = App::named("ok").await;
    let proxy = serving(&app).await;
    let response = proxy
        .client()
        .await
        .request(
            "GET / HTTP/1.1\r\nHost: A.example:8080\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
             X-Request-Id: mine-1\r\nConnection: x-secret, close\r\nX-Secret: 1\r\nForwarded: for=6.6.6.6\r\n\r\n",
        )
        .await;
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    assert_eq!(response.header("connection"), Some("close"));
    let seen = app.last().headers;
    assert_eq!(seen["host"], "A.example:8080");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "A.example:8080");
    assert_eq!(seen["x-request-id"], "mine-1");
    for gone in ["x-secret", "forwarded", "connection"] {
        assert!(!seen.contains_key(gone), "{gone}");
    }

    let made = proxy.get("/").await;
    let id = made.header("x-request-id").unwrap();
    assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert_eq!(app.last().headers["x-request-id"], id);
}

#[tokio::test]
async fn hosts_and_paths_choose_the_pool() {
    let (a, api, any) = (App::named("a").await, App::named("api").await, App::named("any").await);
    let proxy = Proxy::start().await;
    let table = TableBuilder::new(1)
        .rule("a.example", "/", "a")
        .rule_with("a.example", "/api", "api", true)
        .rule("*", "/", "any")
        .pool("a", [&a.endpoint], |_| {})
        .pool("api", [&api.endpoint], |_| {})
        .pool("any", [&any.endpoint], |_| {});
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    for (target, host, expected) in [
        ("/", "a.example", "a"),
        ("/apiary", "A.Example:80", "a"),
        ("/api/v1?x=1", "a.example", "api"),
        ("http://a.example/api", "a.example", "api"),
        ("/api", "b.example", "any"),
    ] {
        let response = client.request(&format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(response.text(), expected, "{host} {target}");
    }
    let targets: Vec<_> = api.seen.lock().unwrap().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets, ["/v1?x=1", "/"]);
    let options = client.request("OPTIONS * HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!((options.text(), a.last().target.as_str()), ("a", "*"));
}

#[tokio::test]
async fn what_cannot_be_served_gets_a_page_with_the_requests_id() {
    let proxy = Proxy::start().await;
    let none = proxy.get("/").await;
    assert_eq!((none.status, none.header("retry-after")), (503, Some("1")));

    let dead = endpoint(free_address());
    let table = TableBuilder::new(1)
        .rule("empty.example", "/", "empty")
        .rule("dead.example", "/", "dead")
        .pool("empty", NOBODY, |_| {})
        .pool("dead", &[dead], |pool| pool.probe.kind = pando_routing::ProbeKind::None);
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    for (host, status, retry) in
        [("other.example", 404, None), ("empty.example", 503, Some("1")), ("dead.example", 502, None)]
    {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\n\r\n");
        let response = client.request(&request).await;
        assert_eq!((response.status, response.header("retry-after")), (status, retry), "{host}");
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["request_id"], response.header("x-request-id").unwrap());
        assert_eq!(body["status"], status);
    }
    let html = client.request("GET / HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n\r\n").await;
    assert!(html.text().contains("<h1>404 Not Found</h1>"));
    let head = client.request("HEAD / HTTP/1.1\r\nhost: empty.example\r\n\r\n").await;
    assert_eq!(head.status, 503);
    assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 0);
    assert_eq!(client.request("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 404);

    let stats = proxy.stats().await;
    assert_eq!(stats.unmatched, 3);
    let (empty, dead) = (proxy.pool("empty").await, proxy.pool("dead").await);
    assert_eq!((empty.requests, empty.failed, empty.unready, empty.by_class[4]), (2, 2, 2, 2));
    assert_eq!((dead.requests, dead.failed, dead.unready, dead.cancelled), (1, 1, 0, 0));
}

#[tokio::test]
async fn malformed_targets_are_refused() {
    let app = App::named("ok").await;
    let proxy = serving(&app).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 405),
    ] {
        let mut client = proxy.client().await;
        let response = client.request(request).await;
        assert_eq!(response.status, status, "{request}");
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn a_silent_endpoint_is_a_504() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut got = Vec::new();
        while stream.read_buf(&mut got).await.unwrap_or(0) > 0 {}
    })
    .await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.timeouts.response_millis = 150)).await;
    let response = within("an answer", proxy.get("/")).await;
    assert_eq!(response.status, 504);
    // A body that has gone out is waited on from its end.
    let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(proxy.client().await.request(request).await.status, 504);
    let stats = proxy.pool("web").await;
    assert_eq!((stats.failed, stats.retries, stats.by_class[4]), (2, 0, 2));
}
