//! One proxy takes another's place under load, and nobody notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use pando_proxy::{Predecessor, Settings, Successor};
use pando_routing::{Algorithm, EndpointState};
use pando_rt::shutdown::Shutdown;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::http2::Http2;
use crate::support::websocket::{AWAY, close_code, connect, echo, say};
use crate::support::{App, Client, Origin, Proxy, TableBuilder, endpoint, far, until, within};

/// What clients did.
#[derive(Debug, Clone, Default)]
struct Load {
    done: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    /// Connections that were made, the first ones included.
    connected: Arc<AtomicUsize>,
}

impl Load {
    fn count(&self) {
        self.served.fetch_add(1, SeqCst);
    }

    fn goes_on(&self) -> bool {
        !self.done.load(SeqCst)
    }

    /// One connection for as long as the proxy wants it; a request that fails ends the test.
    async fn keep_alive(self, address: std::net::SocketAddr, pause: Duration) {
        while self.goes_on() {
            let mut client = Client::connect(address).await;
            self.connected.fetch_add(1, SeqCst);
            loop {
                let response = client.get("/").await;
                assert_eq!((response.status, response.text()), (200, "ok"));
                self.count();
                if response.header("connection") == Some("close") || !self.goes_on() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn new_connections(self, address: std::net::SocketAddr) {
        while self.goes_on() {
            let text = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            let response = Client::connect(address).await.request(text).await;
            assert_eq!((response.status, response.text()), (200, "ok"));
            self.count();
        }
    }

    /// As clients do it: a connection that takes no more streams is replaced, and streams that were refused unseen are begun again.
    async fn http2(self, address: std::net::SocketAddr) {
        while self.goes_on() {
            let client = Http2::connect(address).await;
            self.connected.fetch_add(1, SeqCst);
            while self.goes_on() {
                let request = crate::support::http2::request("GET", "/");
                let Ok(mut send) = client.send.clone().ready().await else { break };
                let Ok((response, _)) = send.send_request(request, true) else { break };
                match within("an answer", crate::support::http2::answer(response)).await {
                    Ok(answer) => {
                        assert_eq!((answer.status, answer.text()), (200, "ok"));
                        self.count();
                    }
                    // Said by GOAWAY: it was not looked at.
                    Err(error) if error.is_go_away() && error.is_remote() => break,
                    Err(error) => panic!("a request over HTTP/2 failed: {error}"),
                }
            }
        }
    }
}

fn start(load: &Load, address: std::net::SocketAddr) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for n in 0..3 {
        clients.spawn(load.clone().keep_alive(address, Duration::from_millis(n * 10)));
        clients.spawn(load.clone().new_connections(address));
        clients.spawn(load.clone().http2(address));
    }
    clients
}

async fn finish(load: Load, mut clients: JoinSet<()>) {
    load.done.store(true, SeqCst);
    while let Some(ended) = within("a client ends", clients.join_next()).await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_successions_fail_nothing_and_close_no_websocket() {
    let (app, (ends, _ended)) = (App::named("ok").await, mpsc::channel(64));
    let chat = echo(ends).await;
    let mut proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&app.endpoint]).rule("*", "/chat", "chat");
    let chat_endpoint = chat.endpoint();
    let chat_id = chat_endpoint.id;
    proxy.put_ready(&table.pool("chat", [chat_endpoint], |_| {})).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(connect(&proxy).await);
    }
    let load = Load::default();
    let clients = start(&load, proxy.address);
    let mut elders = Vec::new();
    for _ in 0..5 {
        let before = load.served.load(SeqCst);
        until("there is traffic", async || load.served.load(SeqCst) > before + 100).await;
        let next = proxy.succeed(|_| {}).await;
        elders.push(std::mem::replace(&mut proxy, next));
        sockets.push(connect(&proxy).await);
    }
    let before = load.served.load(SeqCst);
    until("there is traffic", async || load.served.load(SeqCst) > before + 100).await;
    finish(load.clone(), clients).await;
    // Three of HTTP/1 and three of HTTP/2, each moved five times.
    assert!(load.connected.load(SeqCst) >= 6 * 5, "{load:?}");
    for (n, socket) in sockets.iter_mut().enumerate() {
        say(socket, &format!("still here {n}")).await;
    }
    assert!(elders.iter().all(|elder| !elder.has_ended()), "they have WebSockets yet");
    let all = BTreeMap::from([(chat_id, 25)]);
    proxy.wait_for_stats("all WebSockets are known, and nothing else", |stats| stats.in_flight == all).await;
    drop(sockets);
    for elder in elders {
        elder.ended().await;
    }
    proxy.wait_for_stats("nothing is under way", |stats| stats.in_flight.is_empty()).await;
    proxy.stop().await;
}

/// Answers 503 when told to.
async fn moody(bad: Arc<AtomicBool>) -> App {
    App::answering(move |_| {
        let mut response = Response::new(Bytes::from("moody"));
        if bad.load(SeqCst) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    })
    .await
}

async fn shares(proxy: &Proxy, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let response = proxy.get("/").await;
        *shares.entry(format!("{} {}", response.status, response.text())).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn the_ejected_stay_ejected_and_who_is_down_gets_nothing() {
    let bad = Arc::new(AtomicBool::new(true));
    let (good, other, moody) = (App::named("good").await, App::named("good").await, moody(bad.clone()).await);
    let nowhere = endpoint(crate::support::free_address());
    let proxy = Proxy::start().await;
    let all = [&good.endpoint, &other.endpoint, &moody.endpoint, &nowhere].map(Clone::clone);
    proxy.put(&TableBuilder::serving(1, &all)).await;
    proxy.wait_for_stats("three are up", |stats| stats.not_in_rotation.len() == 1).await;
    while proxy.stats().await.ejected.is_empty() {
        proxy.get("/").await;
    }
    let before = proxy.stats().await.ejected;
    // It would be well again, and nobody may know before its time.
    bad.store(false, SeqCst);
    let asked = moody.seen.lock().unwrap().len();
    let successor = proxy.succeed(|_| {}).await;
    let stats = successor.stats().await;
    assert_eq!(stats.not_in_rotation, [nowhere.id].into());
    assert_eq!((stats.ejected.len(), &stats.ejected[0].text), (1, &before[0].text));
    assert_eq!((stats.ejected[0].times, stats.ejected[0].endpoint), (before[0].times, moody.endpoint.id));
    assert!((stats.ejected[0].until_millis - before[0].until_millis).abs() < 50, "{stats:?} {before:?}");
    assert_eq!(shares(&successor, 30).await, BTreeMap::from([("200 good".to_owned(), 30)]));
    assert_eq!(moody.seen.lock().unwrap().len(), asked);
    assert_eq!(successor.pool("web").await.retries, 0, "nobody was tried in vain");
    proxy.ended().await;
}

/// What was learned of latencies is not learned again at visitors' expense.
#[tokio::test]
async fn a_slow_endpoint_is_known_to_be_slow() {
    let slow = App::serving(|_| {
        Box::pin(async {
            use http_body_util::{BodyExt, Full};
            tokio::time::sleep(Duration::from_millis(150)).await;
            Response::new(Full::new(Bytes::from("slow")).boxed_unsync())
        })
    })
    .await;
    let quick = App::named("quick").await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::serving(1, [&slow.endpoint, &quick.endpoint]);
    proxy.put_ready(&table.adjust("web", |pool| pool.algorithm = Algorithm::PeakEwma)).await;
    let both = async || {
        let seen = shares(&proxy, 4).await;
        seen.contains_key("200 slow")
    };
    until("the slow one was met", both).await;
    assert!(shares(&proxy, 4).await.contains_key("200 quick"));
    let successor = proxy.succeed(|_| {}).await;
    assert_eq!(shares(&successor, 30).await, BTreeMap::from([("200 quick".to_owned(), 30)]));
}

#[tokio::test]
async fn at_the_deadline_sockets_are_told_one_after_the_other_and_the_elder_ends() {
    let (ends, mut ended) = mpsc::channel(64);
    let chat = echo(ends).await;
    let proxy = Proxy::start_with(|settings, _| settings.limits.handover = Duration::from_secs(2)).await;
    proxy.put_ready(&TableBuilder::serving(1, [chat.endpoint()])).await;
    let mut sockets = JoinSet::new();
    let connected = futures_util::future::join_all((0..40).map(|_| connect(&proxy))).await;
    let successor = proxy.succeed(|_| {}).await;
    let begun = Instant::now();
    for mut socket in connected {
        sockets.spawn(async move { (close_code(&mut socket).await, begun.elapsed()) });
    }
    let mut moments = Vec::new();
    while let Some(closed) = sockets.join_next().await {
        let (code, at) = closed.unwrap();
        assert_eq!(code, AWAY);
        moments.push(at);
    }
    moments.sort();
    // Spread over the last tenth of two seconds.
    let (first, last) = (moments[0], moments[39]);
    assert!(first >= Duration::from_millis(1_700) && last <= Duration::from_millis(2_800), "{moments:?}");
    assert!(last - first >= Duration::from_millis(80), "{moments:?}");
    for _ in 0..40 {
        assert_eq!(within("the app's end", ended.recv()).await.unwrap(), Some(AWAY));
    }
    proxy.ended().await;
    successor.wait_for_stats("nothing is under way", |stats| stats.in_flight.is_empty()).await;
}

/// Whoever stops a replica goes by what the successor says: it must know of the elder's requests, and its tables hold there too.
#[tokio::test]
async fn the_elder_follows_tables_and_its_requests_count_as_the_successors() {
    let (ends, mut ended) = mpsc::channel(8);
    let (chat, app) = (echo(ends).await, App::named("ok").await);
    let (old, id) = (chat.endpoint(), chat.endpoint().id);
    let old = pando_routing::Endpoint { id, ..old };
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&old])).await;
    let mut socket = connect(&proxy).await;
    let mut kept = proxy.client().await;
    let successor = proxy.succeed(|_| {}).await;
    assert_eq!(successor.stats().await.in_flight.get(&id), Some(&1));

    // A connection of the elder's asks by the new table.
    let draining = EndpointState::Draining { deadline_millis: far(60_000) };
    let draining = pando_routing::Endpoint { state: draining, ..old.clone() };
    successor.put_ready(&TableBuilder::serving(2, [&draining, &app.endpoint])).await;
    let response = kept.get("/").await;
    assert_eq!((response.text(), response.header("connection")), ("ok", Some("close")));
    say(&mut socket, "still here").await;
    assert_eq!(successor.stats().await.in_flight.get(&id), Some(&1));

    successor.put(&TableBuilder::serving(3, [&app.endpoint])).await;
    assert_eq!(close_code(&mut socket).await, AWAY);
    assert_eq!(within("the app's end", ended.recv()).await.unwrap(), Some(AWAY));
    successor.wait_idle(id).await;
    proxy.ended().await;
}

#[tokio::test]
async fn a_table_that_came_last_is_not_lost() {
    let (first, second) = (App::named("first").await, App::named("second").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&first.endpoint])).await;
    let socket = proxy.directory.path().join("control.sock");
    let mut predecessor = Predecessor::meet(&socket).await.unwrap().unwrap();
    // Taken after the successor was told, and before it serves.
    proxy.put_ready(&TableBuilder::serving(2, [&second.endpoint])).await;
    let listeners = predecessor.take(pando_proxy::Door::Plain, None);
    let settings = Settings {
        listeners,
        control_socket: Some(socket),
        predecessor: Some(predecessor),
        ..Settings::default()
    };
    let shutdown = Shutdown::new();
    let running = tokio::spawn(pando_proxy::run(settings, shutdown.clone()));
    let address = proxy.address;
    proxy.ended().await;
    assert_eq!(Client::connect(address).await.get("/").await.text(), "second");
    shutdown.begin();
    within("the successor ends", running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_successor_that_comes_to_nothing_changes_nothing() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.successor = Some(Successor { program: "/bin/false".into(), args: Vec::new() });
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let mut kept = proxy.client().await;
    assert_eq!(kept.get("/").await.text(), "ok");
    let socket = proxy.directory.path().join("control.sock");

    // It is told everything, and dies.
    drop(Predecessor::meet(&socket).await.unwrap().unwrap());
    // It finds that its own settings are no good.
    let again = async || Predecessor::meet(&socket).await.is_ok();
    until("the proxy has noticed", again).await;
    let bad = proxy.directory.path().join("bad.json");
    std::fs::write(&bad, "{").unwrap();
    until("the proxy has noticed", async || {
        let Ok(Some(mut predecessor)) = Predecessor::meet(&socket).await else { return false };
        let listeners = predecessor.take(pando_proxy::Door::Plain, None);
        let settings = Settings {
            listeners,
            table_file: Some(bad.clone()),
            predecessor: Some(predecessor),
            ..Settings::default()
        };
        pando_proxy::run(settings, Shutdown::new()).await.unwrap_err().to_string().contains("bad.json")
    })
    .await;
    // The proxy starts it itself, and it ends at once.
    let mut answer = (0, String::new());
    until("the proxy has noticed", async || {
        answer = proxy.control("POST", "/v1/upgrade", "").await;
        answer.0 != 409
    })
    .await;
    assert_eq!(answer.0, 500, "{answer:?}");
    assert!(answer.1.contains("/bin/false") && answer.1.contains("serves on"), "{answer:?}");

    let response = kept.get("/").await;
    assert_eq!((response.text(), response.header("connection")), ("ok", None));
    assert_eq!(proxy.get("/").await.text(), "ok");
    proxy.put(&TableBuilder::serving(2, [&app.endpoint])).await;
    proxy.stop().await;
}

#[tokio::test]
async fn only_one_takes_over_at_a_time_and_nobody_twice() {
    let proxy = Proxy::start().await;
    let socket = proxy.directory.path().join("control.sock");
    let first = Predecessor::meet(&socket).await.unwrap().unwrap();
    assert_eq!(first.pid(), std::process::id());
    let second = pando_rt::error_chain::error_chain(&Predecessor::meet(&socket).await.unwrap_err());
    assert!(second.contains("another proxy is taking over already"), "{second}");
    drop(first);
    let nowhere = proxy.directory.path().join("nobody.sock");
    assert!(Predecessor::meet(&nowhere).await.unwrap().is_none());
    assert_eq!(proxy.control("POST", "/v1/upgrade", "").await.0, 409, "it was not told how");
    assert_eq!(proxy.control("POST", "/v1/takeover", "").await.0, 426);
    assert_eq!(proxy.control("GET", "/v1/takeover", "").await.0, 405);
}

/// Streams of events end where events may end; other answers of unknown length go on.
#[tokio::test]
async fn streams_of_events_have_a_deadline_of_their_own() {
    let origin = Origin::start(|mut stream, _| async move {
        use tokio::io::AsyncWriteExt;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let kind =
            if head.starts_with(b"GET /events") { "text/event-stream;charset=utf-8" } else { "text/plain" };
        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: {kind}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        while stream.write_all(b"9\r\ndata: x\n\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let endpoint = origin.endpoint();
    let proxy = Proxy::start().await;
    let short = |pool: &mut pando_routing::Pool| pool.drain.event_stream_millis = 400;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint]).adjust("web", short)).await;
    let (mut events, mut plain) = (proxy.client().await, proxy.client().await);
    events.send("GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await;
    plain.send("GET /plain HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((events.head().await.status, plain.head().await.status), (200, 200));
    let state = EndpointState::Draining { deadline_millis: far(60_000) };
    let draining = pando_routing::Endpoint { state, ..endpoint };
    let begun = Instant::now();
    proxy.put(&TableBuilder::serving(2, [&draining]).adjust("web", short)).await;
    while let Some(chunk) = within("a chunk", events.chunk()).await.expect("it does not break off") {
        assert!(chunk.ends_with(b"\n\n"));
    }
    assert!((340..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    for _ in 0..5 {
        assert!(within("a chunk", plain.chunk()).await.unwrap().is_some());
    }
    assert_eq!(proxy.pool("web").await.failed, 0);
}
