//! Spans, as a receiver of OTLP gets them over HTTP, and what becomes of them when it doesn't.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use pando_proxy::{Otlp, Tracing};

use crate::support::protobuf::Message;
use crate::support::{App, Issued, NOBODY, Origin, Proxy, TableBuilder, TlsProxy, free_address, until};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Quick, for tests.
fn otlp(endpoint: String) -> Otlp {
    Otlp {
        endpoint,
        delay: Duration::from_millis(20),
        backoff: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        service_name: "shop".to_owned(),
        ..Otlp::default()
    }
}

async fn proxy(app: &App, otlp: Otlp) -> Proxy {
    let proxy = Proxy::start_with(|settings, _| {
        settings.tracing = Some(Tracing { ratio: 1.0, otlp: Some(otlp) });
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    proxy
}

/// Takes spans, and says so with that status.
struct Receiver {
    app: App,
    status: Arc<AtomicU16>,
}

impl Receiver {
    async fn start() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let now = Arc::clone(&status);
        let app = App::answering(move |_| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = now.load(SeqCst).try_into().unwrap();
            response
        })
        .await;
        Self { app, status }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.app.address)
    }

    fn batches(&self) -> Vec<Message> {
        self.app.seen.lock().unwrap().iter().map(|seen| Message::decode(&seen.body)).collect()
    }

    fn spans(&self) -> Vec<Message> {
        spans_of(&self.batches())
    }

    async fn wait_for_spans(&self, count: usize) -> Vec<Message> {
        until("the spans arrive", async || self.spans().len() >= count).await;
        self.spans()
    }
}

fn spans_of(batches: &[Message]) -> Vec<Message> {
    let scopes = batches.iter().flat_map(|batch| batch.messages(1)).flat_map(|resource| resource.messages(2));
    scopes.flat_map(|scope| scope.messages(2)).collect()
}

/// The value of an attribute, as text.
fn attribute(message: &Message, list: u32, key: &str) -> Option<String> {
    let found = message.messages(list).into_iter().find(|pair| pair.text(1) == key)?;
    let value = found.messages(2).pop()?;
    Some(if value.has(3) { value.number(3).to_string() } else { value.text(1) })
}

async fn metric(proxy: &Proxy, name: &str) -> u64 {
    let page = proxy.metrics().await;
    let line = page.lines().find(|line| line.rsplit_once(' ').is_some_and(|(key, _)| key == name));
    line.unwrap_or_else(|| panic!("{name} in {page}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

async fn wait_for_metric(proxy: &Proxy, name: &str, value: u64) {
    until(name, async || metric(proxy, name).await == value).await;
}

const EXPORTED: &str = "pando_proxy_spans_exported_total";
const FAILED: &str = "pando_proxy_span_exports_failed_total";

fn dropped(reason: &str) -> String {
    format!("pando_proxy_spans_dropped_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_request_is_a_span_with_names_of_the_conventions() {
    let (app, receiver) = (App::named("hello").await, Receiver::start().await);
    let settings = Otlp { headers: "api-key=k1,x-tenant = t".parse().unwrap(), ..otlp(receiver.endpoint()) };
    let proxy = proxy(&app, settings).await;
    let before = nanos();
    let request = format!(
        "GET /a/b?x=1&sig=secret HTTP/1.1\r\nhost: shop.example:8080\r\nuser-agent: test/1\r\n\
         traceparent: {PARENT}\r\ntracestate: a=1\r\n\r\n"
    );
    proxy.client().await.request(&request).await;
    let span = receiver.wait_for_spans(1).await.remove(0);
    let after = nanos();

    let seen = receiver.app.last();
    assert_eq!((seen.method.as_str(), &*seen.target), ("POST", "/v1/traces"));
    for (name, value) in [("content-type", "application/x-protobuf"), ("api-key", "k1"), ("x-tenant", "t")] {
        assert_eq!(seen.headers[name], value);
    }
    let resource = receiver.batches()[0].messages(1)[0].messages(1).remove(0);
    assert_eq!(attribute(&resource, 1, "service.name").as_deref(), Some("shop"));
    assert!(attribute(&resource, 1, "service.instance.id").is_some());

    let told = app.last().headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(told, format!("00-{}-{}-01", span.hex(1), span.hex(2)), "the replica's parent is this span");
    assert_eq!((&*span.hex(1), &*span.hex(4)), (&PARENT[3..35], &PARENT[36..52]));
    assert_eq!((&*span.text(3), &*span.text(5), span.number(6)), ("a=1", "GET", 2));
    let (start, end) = (span.number(7), span.number(8));
    assert!(before <= start && start < end && end <= after, "{before} {start} {end} {after}");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.scheme", "http"),
        ("url.path", "/a/b"),
        ("url.query", "x=1&sig=REDACTED"),
        ("server.address", "shop.example"),
        ("server.port", "8080"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "test/1"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "5"),
        ("pando.pool", "web"),
        ("pando.retries", "0"),
        ("pando.outcome", "whole"),
    ] {
        assert_eq!(attribute(&span, 9, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&span, 9, "pando.endpoint"), Some(app.address.to_string()));
    assert!(!span.has(15) && attribute(&span, 9, "error.type").is_none());
    let events = span.messages(11);
    let names: Vec<String> = events.iter().map(|event| event.text(2)).collect();
    assert_eq!(names, ["pando.asked", "pando.answered"]);
    assert!(events.iter().all(|event| (start..=end).contains(&event.number(1))));
    wait_for_metric(&proxy, EXPORTED, 1).await;
}

fn nanos() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_nanos().try_into().unwrap()
}

#[tokio::test]
async fn routes_retries_and_failures_are_told() {
    let receiver = Receiver::start().await;
    let app = App::named("hello").await;
    let broken = Origin::start(|stream, _| async move { drop(stream) }).await;
    let proxy = proxy(&app, otlp(receiver.endpoint())).await;
    let table = TableBuilder::new(2)
        .pool("web", [&app.endpoint], |_| {})
        .pool("none", NOBODY, |_| {})
        .pool("broken", [broken.endpoint()], |_| {})
        .json_rule(r#"{"name": "users", "host": "*", "path": {"pattern": "/users/{id}"}, "pool": "web", "filters": {"request_headers": {"set": {"x": "y"}}}}"#)
        .json_rule(r#"{"host": "*", "path": "/none", "pool": "none"}"#)
        .json_rule(r#"{"host": "*", "path": "/broken", "pool": "broken"}"#);
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    client.get("/users/7").await;
    assert_eq!(client.get("/none").await.status, 503);
    assert_eq!(client.get("/broken").await.status, 502);
    client.request("BREW /users/1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let spans = receiver.wait_for_spans(4).await;
    let find = |path: &str| {
        spans.iter().find(|span| attribute(span, 9, "url.path").as_deref() == Some(path)).unwrap()
    };

    let user = find("/users/7");
    assert_eq!(user.text(5), "GET /users/{id}");
    assert_eq!(attribute(user, 9, "http.route").as_deref(), Some("/users/{id}"));
    assert_eq!(attribute(user, 9, "pando.route").as_deref(), Some("users"));

    for (path, status) in [("/none", "503"), ("/broken", "502")] {
        let failed = find(path);
        assert_eq!(attribute(failed, 9, "error.type").as_deref(), Some(status));
        assert_eq!(failed.messages(15)[0].number(3), 2, "an error");
        assert_eq!(attribute(failed, 9, "http.response.status_code").as_deref(), Some(status));
    }
    let other = find("/users/1");
    assert_eq!(other.text(5), "HTTP /users/{id}");
    assert_eq!(attribute(other, 9, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(other, 9, "http.request.method_original").as_deref(), Some("BREW"));
}

#[tokio::test]
async fn what_nobody_samples_is_not_recorded() {
    let (app, receiver) = (App::named("hello").await, Receiver::start().await);
    let proxy = proxy(&app, otlp(receiver.endpoint())).await;
    let ask = async |flags: &str| {
        let parent = PARENT.strip_suffix("01").unwrap();
        let request = format!("GET /{flags} HTTP/1.1\r\nhost: a\r\ntraceparent: {parent}{flags}\r\n\r\n");
        proxy.client().await.request(&request).await;
    };
    ask("00").await;
    ask("01").await;
    let spans = receiver.wait_for_spans(1).await;
    wait_for_metric(&proxy, EXPORTED, 1).await;
    assert_eq!(attribute(&spans[0], 9, "url.path").as_deref(), Some("/01"));
}

#[tokio::test]
async fn a_busy_receiver_is_asked_again_until_it_takes_all() {
    let (app, receiver) = (App::named("hello").await, Receiver::start().await);
    let proxy = proxy(&app, otlp(receiver.endpoint())).await;
    receiver.status.store(429, SeqCst);
    for _ in 0..3 {
        proxy.get("/").await;
    }
    until("it was refused twice", async || metric(&proxy, FAILED).await >= 2).await;
    assert_eq!(metric(&proxy, EXPORTED).await, 0);
    receiver.status.store(200, SeqCst);
    wait_for_metric(&proxy, EXPORTED, 3).await;
    for reason in ["queue_full", "refused", "unreachable", "shutdown"] {
        assert_eq!(metric(&proxy, &dropped(reason)).await, 0, "{reason}");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_dropped_and_counted() {
    let (app, receiver) = (App::named("hello").await, Receiver::start().await);
    let proxy = proxy(&app, otlp(receiver.endpoint())).await;
    receiver.status.store(400, SeqCst);
    proxy.get("/").await;
    wait_for_metric(&proxy, &dropped("refused"), 1).await;
    assert_eq!(receiver.spans().len(), 1, "it was asked once");
}

#[tokio::test]
async fn what_the_receiver_says_that_it_refused_counts_as_lost() {
    // partial_success { rejected_spans: 1, error_message: "no" }
    let app = App::named("hello").await;
    let partial = App::answering(|_| Response::new(Bytes::from_static(b"\x0a\x06\x08\x01\x12\x02no"))).await;
    let proxy = proxy(&app, otlp(format!("http://{}", partial.address))).await;
    proxy.get("/").await;
    wait_for_metric(&proxy, &dropped("refused"), 1).await;
    assert_eq!(metric(&proxy, EXPORTED).await, 0);
}

#[tokio::test]
async fn without_a_receiver_requests_go_on_and_losses_are_counted() {
    let app = App::named("hello").await;
    let settings = Otlp { queue: 4, batch: 2, ..otlp(format!("http://{}", free_address())) };
    let proxy = proxy(&app, settings).await;
    let mut client = proxy.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    until("all are accounted for", async || {
        let full = metric(&proxy, &dropped("queue_full")).await;
        full > 0 && full + metric(&proxy, &dropped("unreachable")).await == 40
    })
    .await;
    assert!(metric(&proxy, FAILED).await >= 6);
}

#[tokio::test]
async fn a_silent_receiver_holds_up_nobody() {
    let app = App::named("hello").await;
    let (asked, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counter, held) = (Arc::clone(&asked), Arc::clone(&count));
    let silent = Origin::start(move |stream, _| {
        counter.fetch_add(1, SeqCst);
        held.lock().unwrap().push(stream);
        std::future::ready(())
    })
    .await;
    let settings = Otlp { timeout: Duration::from_millis(50), ..otlp(format!("http://{}", silent.address)) };
    let proxy = proxy(&app, settings).await;
    assert_eq!(proxy.get("/").await.status, 200);
    wait_for_metric(&proxy, &dropped("unreachable"), 1).await;
    assert_eq!(asked.load(SeqCst), 6, "each try has a connection of its own");
}

#[tokio::test]
async fn what_is_left_goes_out_when_the_proxy_ends() {
    let (app, receiver) = (App::named("hello").await, Receiver::start().await);
    let settings = Otlp { delay: Duration::from_secs(3600), ..otlp(receiver.endpoint()) };
    let proxy = proxy(&app, settings).await;
    for _ in 0..3 {
        proxy.get("/").await;
    }
    proxy.stop().await;
    assert_eq!(receiver.spans().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_is_down_does_not_keep_the_proxy_from_ending() {
    let app = App::named("hello").await;
    let settings = Otlp { backoff: Duration::from_secs(3600), ..otlp(format!("http://{}", free_address())) };
    let proxy = proxy(&app, settings).await;
    proxy.get("/").await;
    until("it was tried", async || metric(&proxy, FAILED).await > 0).await;
    let begun = std::time::Instant::now();
    proxy.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn spans_go_over_tls_to_whom_the_named_authority_vouches_for() {
    let (app, receiver) = (App::named("hello").await, Receiver::start().await);
    let issued = Issued::for_hosts(&["localhost"]);
    let front = TlsProxy::start().await;
    let table = TableBuilder::serving(1, [&receiver.app.endpoint]).certificate(&issued, &["localhost"]);
    front.proxy.put_ready(&table).await;
    let endpoint = format!("https://localhost:{}", front.secure.port());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, &issued.chain_pem).unwrap();
    let trusting = proxy(&app, Otlp { authority: Some(file), ..otlp(endpoint.clone()) }).await;
    trusting.get("/").await;
    wait_for_metric(&trusting, EXPORTED, 1).await;
    assert_eq!(receiver.spans().len(), 1);
    let other = directory.path().join("other.pem");
    std::fs::write(&other, Issued::for_hosts(&["localhost"]).chain_pem).unwrap();
    let wary = proxy(&app, Otlp { authority: Some(other), ..otlp(endpoint) }).await;
    wary.get("/").await;
    wait_for_metric(&wary, &dropped("unreachable"), 1).await;
}

#[tokio::test]
async fn an_address_that_is_none_keeps_the_proxy_from_starting() {
    let settings = pando_proxy::Settings {
        listeners: pando_proxy::Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap(),
        tracing: Some(Tracing { ratio: 1.0, otlp: Some(otlp("localhost:4318".to_owned())) }),
        ..pando_proxy::Settings::default()
    };
    let error = pando_proxy::run(settings, pando_rt::shutdown::Shutdown::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot export spans to `localhost:4318`");
    assert!("a".parse::<pando_proxy::OtlpHeaders>().unwrap_err().to_string().contains("header 1"));
    let headers: pando_proxy::OtlpHeaders = "api-key=hush".parse().unwrap();
    assert!(!format!("{headers:?}").contains("hush"));
}
