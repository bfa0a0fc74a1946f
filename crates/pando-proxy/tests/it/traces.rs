//! Traces: what replicas and the log are told of the one that a request belongs to.

use http::HeaderMap;
use pando_proxy::{AccessLog, LogFormat, LogTarget, Tracing};

use crate::support::{App, Proxy, TableBuilder, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn tracing(app: &App, tracing: Option<Tracing>) -> Proxy {
    let proxy = Proxy::start_with(|settings, directory| {
        settings.tracing = tracing;
        let target = LogTarget::File(directory.join("access.log"));
        settings.access_log = Some(AccessLog { format: LogFormat::Json, target });
    })
    .await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    proxy
}

async fn ask(proxy: &Proxy, app: &App, fields: &str) -> HeaderMap {
    let request = format!("GET / HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n");
    assert_eq!(proxy.client().await.request(&request).await.status, 200);
    app.last().headers
}

async fn log(proxy: &Proxy, count: usize) -> Vec<serde_json::Value> {
    let path = proxy.directory.path().join("access.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    until("the lines are written", async || read().lines().count() >= count).await;
    read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Trace, span and flags.
fn parts(headers: &HeaderMap) -> (String, String, String) {
    let all: Vec<&str> = headers.get_all("traceparent").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(all.len(), 1, "{headers:?}");
    let parts: Vec<&str> = all[0].split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{all:?}");
    assert_eq!((parts[1].len(), parts[2].len()), (32, 16));
    (parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned())
}

#[tokio::test]
async fn without_tracing_both_fields_pass_untouched() {
    let app = App::named("ok").await;
    let proxy = tracing(&app, None).await;
    let headers = ask(&proxy, &app, "traceparent: No trace at all\r\ntracestate: =,=\r\n").await;
    assert_eq!(
        (&headers["traceparent"], &headers["tracestate"]),
        (&"No trace at all".parse().unwrap(), &"=,=".parse().unwrap())
    );
    let headers = ask(&proxy, &app, "").await;
    assert!(!headers.contains_key("traceparent"));
    assert!(log(&proxy, 2).await.iter().all(|line| line.get("trace_id").is_none()));
}

#[tokio::test]
async fn a_trace_goes_on_through_the_proxy_and_into_its_log() {
    let app = App::named("ok").await;
    let proxy = tracing(&app, Some(Tracing::default())).await;
    let headers =
        ask(&proxy, &app, &format!("traceparent: {PARENT}\r\ntracestate: a=1\r\ntracestate: b=2, c@d=3\r\n"))
            .await;
    let (trace, span, flags) = parts(&headers);
    assert_eq!((&*trace, &*flags), (TRACE, "01"));
    assert_ne!(span, "00f067aa0ba902b7", "the replica's parent is the proxy");
    let states: Vec<_> = headers.get_all("tracestate").iter().collect();
    assert_eq!(states, ["a=1,b=2,c@d=3"]);
    let line = &log(&proxy, 1).await[0];
    assert_eq!((&line["trace_id"], &line["span_id"]), (&trace.into(), &span.into()));
}

#[tokio::test]
async fn a_trace_begins_where_none_came_and_malformed_ones_are_replaced() {
    let app = App::named("ok").await;
    let never = tracing(&app, Some(Tracing { ratio: 0.0, otlp: None })).await;
    let always = tracing(&app, Some(Tracing::default())).await;
    let upper = format!("traceparent: {}\r\ntracestate: a=1\r\n", PARENT.to_uppercase());
    for fields in ["", "traceparent: 00-x\r\ntracestate: a=1\r\n", &upper] {
        for (proxy, expected) in [(&never, "00"), (&always, "01")] {
            let headers = ask(proxy, &app, fields).await;
            let (trace, _, flags) = parts(&headers);
            assert_eq!(flags, expected);
            assert!(trace != TRACE && !headers.contains_key("tracestate"), "{headers:?}");
        }
    }
    let unsampled = PARENT.replace("-01", "-00");
    for (fields, expected) in [(PARENT, "01"), (&*unsampled, "00")] {
        for proxy in [&never, &always] {
            let headers = ask(proxy, &app, &format!("traceparent: {fields}\r\n")).await;
            assert_eq!(parts(&headers).2, expected, "as its parent has it");
        }
    }
}

#[tokio::test]
async fn rules_change_requests_and_have_the_last_word() {
    let app = App::named("ok").await;
    let proxy = tracing(&app, Some(Tracing::default())).await;
    let table = TableBuilder::new(2)
        .pool("web", [&app.endpoint], |_| {})
        .json_rule(r#"{"host": "*", "path": "/kept", "pool": "web", "filters": {"request_headers": {"set": {"x-a": "b"}}}}"#)
        .json_rule(r#"{"host": "*", "path": "/gone", "pool": "web", "filters": {"request_headers": {"remove": ["tracestate"]}}}"#);
    proxy.put_ready(&table).await;
    let request =
        |path| format!("GET {path} HTTP/1.1\r\nhost: a\r\ntraceparent: {PARENT}\r\ntracestate: a=1\r\n\r\n");
    let mut client = proxy.client().await;
    client.request(&request("/kept")).await;
    let headers = app.last().headers;
    assert_eq!((&*parts(&headers).0, &headers["tracestate"]), (TRACE, &"a=1".parse().unwrap()));
    client.request(&request("/gone")).await;
    let headers = app.last().headers;
    assert_eq!(parts(&headers).0, TRACE);
    assert!(!headers.contains_key("tracestate"), "{headers:?}");
}
