//! Clients and endpoints that mean harm, or behave as if.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Client, Origin, Proxy, Respond, TableBuilder, until, within};

async fn serving(app: &App) -> Proxy {
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    proxy
}

#[tokio::test]
async fn a_head_that_trickles_in_runs_out_of_time() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| settings.limits.head_time = Duration::from_millis(400)).await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    // On a fresh connection, and on one that has been served.
    for served in [false, true] {
        let mut client = proxy.client().await;
        if served {
            assert_eq!(client.get("/").await.status, 200);
        }
        let started = Instant::now();
        let (mut reader, mut writer) = client.stream.get_mut().split();
        let trickle = async {
            for byte in b"GET / HTTP/1.1\r\nx-slow: ".iter().cycle() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if writer.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        };
        let mut answer = Vec::new();
        let read = async {
            // Writing to a closed connection may reset it after the answer.
            let _ = reader.read_to_end(&mut answer).await;
        };
        within("the end", async {
            tokio::select! { () = trickle => {}, () = read => {} }
        })
        .await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 ") && page.starts_with("408 "), "{answer}");
        assert!(head.contains(&format!("content-length: {}\r\n", page.len())), "{answer}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn heads_have_a_largest_size() {
    let app = App::named("ok").await;
    let proxy = serving(&app).await;
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n", "x".repeat(60_000));
    assert_eq!(proxy.client().await.request(&large).await.status, 200);
    let too_large = format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n", "x".repeat(70_000));
    let endless = format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {}", "x".repeat(500_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for request in [too_large, endless, many] {
        let mut client = proxy.client().await;
        // The answer may come, and the connection end, before all is sent.
        let _ = client.stream.get_mut().write_all(request.as_bytes()).await;
        assert_eq!(client.response().await.status, 431);
        assert_eq!(client.rest().await, b"");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(66_000));
    let status = proxy.client().await.request(&long).await.status;
    assert!(matches!(status, 414 | 431), "{status}");
    assert_eq!(app.count(), 1);
}

/// Whatever a front and a back could read in two ways is refused, or passed on in one.
#[tokio::test]
async fn ambiguous_framing_never_reaches_an_endpoint_as_such() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = serving(&app).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for head in [
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 4, 5",
        "content-length: +4",
        "content-length: -4",
        "content-length: 0x4",
        "content-length: 18446744073709551618",
        "content-length : 4",
        "content-length: 4\r\n folded: 1",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "x: a\rb",
        "x: a\0b",
        "x",
        ": y",
    ] {
        let mut client = proxy.client().await;
        client.send(format!("POST /first HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}")).await;
        let answer = within("an end", client.try_response()).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{head}: {answer:?}");
        client.rest().await;
        assert_eq!(app.count(), 0, "{head}");
    }
    // An old client cannot chunk.
    let mut old = proxy.client().await;
    old.send("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(within("an end", old.try_response()).await.is_none_or(|answer| answer.status == 400));
    assert_eq!(app.count(), 0);
}

/// Only `chunked` can be taken off here; what else there is would reach the endpoint without its name.
#[tokio::test]
async fn a_coding_beside_chunked_is_refused() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = serving(&app).await;
    for coding in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
    ] {
        let mut client = proxy.client().await;
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{coding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (501, Some("close")), "{coding}");
    }
    assert_eq!(app.count(), 0);
    let plain = "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding:  Chunked \r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(proxy.client().await.request(plain).await.text(), "hi");
}

/// RFC 9112, 6.3 lets the coding win; whoever sends both means to be read in two ways.
#[tokio::test]
async fn a_length_beside_a_coding_is_refused() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = serving(&app).await;
    for head in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 400",
    ] {
        let before = app.count();
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST /first HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
                 GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
            ))
            .await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (400, Some("close")));
        assert_eq!(client.rest().await, b"");
        assert_eq!(app.count(), before);
    }
    assert!(proxy.metrics().await.contains("pando_proxy_heads_refused_total 2\n"));
}

#[tokio::test]
async fn a_malformed_body_is_the_clients_fault() {
    let app = App::named("ok").await;
    let proxy = serving(&app).await;
    for chunks in ["zz\r\n", "3\r\nabcd\r\n0\r\n\r\n", "fffffffffffffffff\r\n"] {
        let mut client = proxy.client().await;
        client
            .send(format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"))
            .await;
        let answer = within("an end", client.try_response()).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status == 400), "{chunks}: {answer:?}");
    }
    assert_eq!(app.count(), 0);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.failed, pool.by_class[1]), (0, 0));
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut head = [0; 4096];
        if stream.read(&mut head).await.unwrap_or(0) > 0 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
            let piece = vec![0; 100_000];
            while stream.write_all(&piece).await.is_ok() {}
        }
    })
    .await;
    let proxy =
        Proxy::start_with(|settings, _| settings.limits.client_stall = Duration::from_millis(400)).await;
    let endpoint = origin.endpoint();
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let id = endpoint.id;
    proxy.wait_for_stats("it is under way", |stats| stats.in_flight.contains_key(&id)).await;
    proxy.wait_idle(id).await;
    let pool = proxy.pool("web").await;
    assert_eq!((pool.cancelled, pool.failed, pool.requests), (1, 0, 0));
    drop(client);
}

#[tokio::test]
async fn a_client_that_closes_its_side_gives_up() {
    let app = App::serving(|_| Box::pin(std::future::pending())).await;
    let proxy = serving(&app).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let id = app.endpoint.id;
    proxy.wait_for_stats("it is under way", |stats| stats.in_flight.contains_key(&id)).await;
    client.stream.get_mut().shutdown().await.unwrap();
    proxy.wait_idle(id).await;
    assert_eq!(client.rest().await, b"");
    // In the middle of a body as well.
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    proxy.wait_for_stats("it is under way", |stats| stats.in_flight.contains_key(&id)).await;
    drop(client);
    proxy.wait_idle(id).await;
    assert_eq!(proxy.pool("web").await.failed, 0);
}

/// The answer has begun when the client's body breaks off: that is no failure of the endpoint's.
#[tokio::test]
async fn a_body_that_breaks_off_under_an_answer_is_the_clients_doing() {
    let origin = Origin::start(|mut stream, _| async move {
        let mut got = [0; 4096];
        if stream.read(&mut got).await.unwrap_or(0) > 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await.unwrap();
            while stream.read(&mut got).await.unwrap_or(0) > 0 {}
        }
    })
    .await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint])).await;
    for breaking in ["", "zz\r\n"] {
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
        assert_eq!(client.head().await.status, 200);
        client.send(breaking).await;
        client.stream.get_mut().shutdown().await.unwrap();
        client.rest().await;
        proxy.wait_idle(endpoint.id).await;
    }
    let pool = proxy.pool("web").await;
    assert_eq!((pool.cancelled, pool.failed, pool.requests), (2, 0, 0));
}

/// An early answer to a large upload must not be lost in a reset, because the rest of the upload meets a closed socket.
#[tokio::test]
async fn an_early_answer_to_a_large_upload_can_be_read() {
    let proxy = Proxy::start().await;
    proxy.put(&TableBuilder::new(1)).await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let body = vec![b'x'; 5_000_000];
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        within("the upload", stream.write_all(&body)).await.unwrap();
        let mut client = Client { stream: tokio::io::BufReader::new(stream) };
        assert_eq!(client.response().await.status, 404);
    }
}

/// What an endpoint sends beyond its answer must not become the next client's.
#[tokio::test]
async fn an_answer_too_many_is_nobodys() {
    let (sent, mut told) = tokio::sync::mpsc::channel(64);
    let origin = Origin::start(move |mut stream, n| {
        let sent = sent.clone();
        async move {
            let mut head = [0; 4096];
            let good = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood".to_vec();
            let evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
            while stream.read(&mut head).await.unwrap_or(0) > 0 {
                if n % 2 == 0 {
                    stream.write_all(&[good.as_slice(), evil].concat()).await.unwrap();
                } else {
                    stream.write_all(&good).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    stream.write_all(evil).await.unwrap();
                }
                sent.send(()).await.unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
    let mut client = proxy.client().await;
    for n in 0..20 {
        assert_eq!(client.get("/").await.text(), "good", "{n}");
        // What comes late is seen before the connection is used again; a request that is faster than it can't be helped.
        within("the answer too many", told.recv()).await;
    }
}

#[tokio::test]
async fn strange_answers_reach_the_client_as_502_or_clean() {
    let answers: &[(&[u8], u16, &str)] = &[
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi", 502, ""),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi", 502, ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nhi", 502, ""),
        (b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", 502, ""),
        (b"HTTP/1.1 2000 OK\r\n\r\n", 502, ""),
        (b"\r\n\r\n\r\n\r\n", 502, ""),
        (b"HTTP/1.1 599 Odd\r\ncontent-length: 0\r\n\r\n", 599, ""),
    ];
    for (n, (answer, status, text)) in answers.iter().enumerate() {
        let origin = Origin::start(move |mut stream, _| async move {
            let mut head = [0; 4096];
            if stream.read(&mut head).await.unwrap_or(0) > 0 {
                stream.write_all(answer).await.unwrap();
            }
        })
        .await;
        let proxy = Proxy::start().await;
        proxy.put_ready(&TableBuilder::serving(1, [origin.endpoint()])).await;
        let response = proxy.get("/").await;
        assert_eq!(response.status, *status, "{n}");
        if *status != 502 {
            assert_eq!(response.text(), *text, "{n}");
        }
    }
    // A head without an end.
    let endless = Origin::start(|mut stream, _| async move {
        let mut head = [0; 4096];
        if stream.read(&mut head).await.unwrap_or(0) > 0 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            let line = format!("x: {}\r\n", "y".repeat(50_000));
            while stream.write_all(line.as_bytes()).await.is_ok() {}
        }
    })
    .await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [endless.endpoint()])).await;
    assert_eq!(proxy.get("/").await.status, 502);
}

/// Three places, and whoever works keeps theirs.
#[tokio::test]
async fn more_connections_than_allowed_wait_for_one_that_works() {
    let (let_go, held) = tokio::sync::watch::channel(false);
    let app = App::serving(move |_| -> Respond {
        let mut held = held.clone();
        Box::pin(async move {
            let _ = held.wait_for(|over| *over).await;
            Response::new(Full::new(Bytes::from("ok")).boxed_unsync())
        })
    })
    .await;
    let proxy = Proxy::start_with(|settings, _| settings.limits.connections = 3).await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
    }
    until("three are served", async || proxy.metrics().await.contains("pando_proxy_connections 3\n")).await;
    let early = tokio::time::timeout(Duration::from_millis(200), clients[3].try_response()).await;
    assert!(early.is_err(), "{early:?}");
    assert!(let_go.send(true).is_ok());
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert!(proxy.metrics().await.contains("pando_proxy_connections_displaced_total "));
}

/// Whoever only holds a place loses it to those who ask: half a head first, then the longest silence.
#[tokio::test]
async fn who_asks_for_nothing_makes_room() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.connections = 3;
        settings.workers = Some(1);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let (mut silent, mut active) = (proxy.client().await, proxy.client().await);
    assert_eq!(silent.get("/").await.status, 200);
    let mut holders = Vec::new();
    for n in 0..20 {
        let mut holder = proxy.client().await;
        holder.send("GET / HTTP/1.1\r\nhost:").await;
        let known = format!("pando_proxy_connections_accepted_total {}\n", n + 3);
        until("it is known", async || proxy.metrics().await.contains(&known)).await;
        assert_eq!(active.get("/").await.status, 200, "{n}");
        holders.push(holder);
    }
    for holder in &mut holders[..19] {
        let told = within("an end", holder.stream.read_u8()).await;
        assert!(told.is_err(), "nothing is said to them");
    }
    assert_eq!(
        silent.get("/").await.status,
        200,
        "those with half a head have gone, this one is silent only"
    );
    drop(holders);
    until("they have gone", async || proxy.metrics().await.contains("pando_proxy_connections 2\n")).await;
    assert_eq!(active.get("/").await.status, 200);
    let mut others = [proxy.client().await, proxy.client().await];
    for other in &mut others {
        assert_eq!(other.get("/").await.status, 200);
    }
    assert!(within("an end", silent.stream.read_u8()).await.is_err(), "it was silent for longest");
}

/// Bytes that may be anything: the proxy answers or closes, and goes on.
#[tokio::test]
async fn garbage_harms_nobody_else() {
    let app = App::answering(|_| Response::new(Bytes::from("ok"))).await;
    let proxy = serving(&app).await;
    let pieces: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"host: a\r\n",
        b"content-length: 3\r\n",
        b"\r\n",
        b"abc",
        b"transfer-encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"\0\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"upgrade: x\r\n",
        b"connection: upgrade, close\r\n",
        b"expect: 100-continue\r\n",
        b"GET ",
        b"\r",
        b"\n",
        b"\x16\x03\x01\x02\x00",
    ];
    // A fixed walk through the pieces, so that a failure repeats.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..next(12) + 1).flat_map(|_| pieces[next(pieces.len())].to_vec()).collect();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
        // Where a piece has opened HTTP/2, settings come first.
        let is_answer = rest.starts_with(b"HTTP/1.1 ") || rest.get(3) == Some(&4);
        assert!(rest.is_empty() || is_answer, "{:?}", String::from_utf8_lossy(&rest));
    }
    until("everything has ended", async || proxy.stats().await.in_flight.is_empty()).await;
    assert_eq!(proxy.get("/").await.text(), "ok");
    assert_eq!(proxy.pool("web").await.failed, 0);
}

#[tokio::test]
async fn bodies_have_a_largest_size_where_one_is_set() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = Proxy::start_with(|settings, _| settings.limits.body_bytes = Some(10)).await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let ask = async |framed: &str| {
        let mut client = proxy.client().await;
        client.request(&format!("POST / HTTP/1.1\r\nhost: a\r\n{framed}")).await
    };
    assert_eq!(ask("content-length: 10\r\n\r\n0123456789").await.text(), "0123456789");
    assert_eq!(
        ask("transfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n").await.text(),
        "0123456789"
    );
    let served = app.count();
    let told = ask("content-length: 11\r\n\r\n").await;
    assert_eq!((told.status, told.header("connection"), app.count()), (413, Some("close"), served));
    assert_eq!(ask("transfer-encoding: chunked\r\n\r\nb\r\n0123456789x\r\n0\r\n\r\n").await.status, 413);
}

/// A body that drips in holds one of the endpoint's workers for ever, at no cost to the sender.
#[tokio::test]
async fn a_body_that_drips_in_is_given_up() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.body_rate = 1_000;
        settings.limits.body_grace = Duration::from_millis(300);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let drip = async |client: &mut Client, piece: &str| {
        let (mut reader, mut writer) = client.stream.get_mut().split();
        let drops = async {
            loop {
                tokio::time::sleep(Duration::from_millis(40)).await;
                if writer.write_all(piece.as_bytes()).await.is_err() {
                    return std::future::pending::<()>().await;
                }
            }
        };
        let mut status = [0; 12];
        tokio::select! {
            () = drops => {}
            read = reader.read_exact(&mut status) => drop(read.unwrap()),
        }
        String::from_utf8(status.to_vec()).unwrap()
    };
    let mut sized = proxy.client().await;
    sized.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await;
    assert_eq!(within("an end", drip(&mut sized, "x")).await, "HTTP/1.1 408");
    // Who sends fast enough after a pause, and who never said how much there is, may go on.
    let mut stream = proxy.client().await;
    stream.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let streamed = drip(&mut stream, "1\r\nx\r\n");
    assert!(
        tokio::time::timeout(Duration::from_millis(800), streamed).await.is_err(),
        "a stream was given up"
    );
    stream.send("0\r\n\r\n").await;
    assert_eq!(within("an answer", stream.response()).await.status, 200);
    let mut late = proxy.client().await;
    late.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000\r\n\r\n").await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        late.send("x".repeat(1000)).await;
    }
    assert_eq!(within("an answer", late.response()).await.status, 200);
}

#[tokio::test]
async fn an_address_has_so_many_connections_where_that_is_set() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.connections_per_address = std::num::NonZeroUsize::new(2);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let (mut first, mut second) = (proxy.client().await, proxy.client().await);
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
    assert_eq!(proxy.client().await.rest().await, b"");
    drop(first);
    until("there is room again", async || {
        let mut third = proxy.client().await;
        third.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        within("an end", third.try_response()).await.is_some_and(|response| response.status == 200)
    })
    .await;
    assert!(proxy.metrics().await.contains("pando_proxy_connections_refused_total "));
}

#[tokio::test]
async fn nobody_goes_for_an_address_that_has_too_many() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.limits.connections = 2;
        settings.limits.connections_per_address = std::num::NonZeroUsize::new(2);
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let (mut first, mut second) = (proxy.client().await, proxy.client().await);
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
    // All places are taken by idle ones, any of whom would go for a newcomer who may come.
    for _ in 0..4 {
        assert_eq!(proxy.client().await.rest().await, b"");
    }
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
}
