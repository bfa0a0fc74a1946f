//! The metrics page, by what has happened before.

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::support::{
    App, Caller, Issued, Origin, Proxy, TableBuilder, TlsProxy, endpoint, free_address, until,
};

/// The value of one sample.
async fn metric(proxy: &Proxy, sample: &str) -> Option<f64> {
    let page = proxy.metrics().await;
    let line = page.lines().find(|line| line.rsplit_once(' ').is_some_and(|(key, _)| key == sample))?;
    line.rsplit_once(' ').unwrap().1.parse().ok()
}

async fn wait_for(proxy: &Proxy, sample: &str, value: f64) {
    until(sample, async || metric(proxy, sample).await == Some(value)).await;
}

#[tokio::test]
async fn a_named_rule_has_figures_of_its_own() {
    let app = App::answering(|seen| {
        let mut response = Response::new(Bytes::from("hello"));
        if seen.target == "/shop/none" {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response
    })
    .await;
    let broken = Origin::start(|stream, _| async move { drop(stream) }).await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::new(1)
        .pool("web", [&app.endpoint], |_| {})
        .pool("broken", [broken.endpoint()], |_| {})
        .json_rule(r#"{"name": "shop", "host": "*", "path": "/shop", "pool": "web"}"#)
        .json_rule(r#"{"name": "bad", "host": "*", "path": "/bad", "pool": "broken"}"#)
        .json_rule(r#"{"host": "*", "pool": "web"}"#);
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    for path in ["/shop", "/shop/a", "/shop/none", "/", "/bad"] {
        client.get(path).await;
    }
    client.send("POST /shop HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody").await;
    assert_eq!(client.response().await.status, 200);
    wait_for(&proxy, r#"pando_proxy_route_requests_total{route="shop",class="2xx"}"#, 3.0).await;
    wait_for(&proxy, r#"pando_proxy_route_requests_total{route="bad",class="5xx"}"#, 1.0).await;
    wait_for(&proxy, r#"pando_proxy_requests_total{pool="web",class="2xx"}"#, 4.0).await;
    let id = app.endpoint.id;
    let of_endpoint = format!(r#"{{pool="web",endpoint="{id}",name="",address="{}"}}"#, app.address);
    for (sample, value) in [
        (r#"pando_proxy_route_requests_total{route="shop",class="4xx"}"#, 1.0),
        (r#"pando_proxy_route_request_duration_seconds_count{route="shop"}"#, 4.0),
        (r#"pando_proxy_route_request_duration_seconds_bucket{route="shop",le="134.217728"}"#, 4.0),
        (r#"pando_proxy_route_response_bytes_total{route="shop"}"#, 20.0),
        (r#"pando_proxy_route_request_bytes_total{route="shop"}"#, 4.0),
        (r#"pando_proxy_route_in_flight{route="shop"}"#, 0.0),
        (r#"pando_proxy_route_failed_total{route="shop"}"#, 0.0),
        (r#"pando_proxy_route_failed_total{route="bad"}"#, 1.0),
        (r#"pando_proxy_response_bytes_total{pool="web"}"#, 25.0),
        (r#"pando_proxy_request_bytes_total{pool="web"}"#, 4.0),
        (r#"pando_proxy_in_flight{pool="web"}"#, 0.0),
        (r#"pando_proxy_upstream_connections_opened_total{pool="web"}"#, 1.0),
        (r#"pando_proxy_upstream_connections_failed_total{pool="web"}"#, 0.0),
        (&format!("pando_proxy_endpoint_response_bytes_total{of_endpoint}"), 25.0),
        (&format!("pando_proxy_endpoint_request_bytes_total{of_endpoint}"), 4.0),
        (&format!("pando_proxy_endpoint_request_duration_seconds_count{of_endpoint}"), 5.0),
    ] {
        assert_eq!(metric(&proxy, sample).await, Some(value), "{sample}");
    }
    assert!(!proxy.metrics().await.contains(r#"route="*/""#), "a rule without a name has none");

    // Figures stay with the name, whatever the rule does.
    let table = TableBuilder::new(2)
        .pool("web", [&app.endpoint], |_| {})
        .json_rule(r#"{"name": "shop", "host": "*", "pool": "web", "filters": {"response_headers": {"set": {"x": "y"}}}}"#);
    proxy.put_ready(&table).await;
    client.get("/").await;
    wait_for(&proxy, r#"pando_proxy_route_requests_total{route="shop",class="2xx"}"#, 4.0).await;
}

#[tokio::test]
async fn what_is_under_way_is_told_by_route_and_pool() {
    let (held, release) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let both = std::sync::Arc::new((held, release));
    let shared = std::sync::Arc::clone(&both);
    let app = App::serving(move |_| {
        let both = std::sync::Arc::clone(&shared);
        Box::pin(async move {
            both.0.notify_one();
            both.1.notified().await;
            Response::new(http_body_util::BodyExt::boxed_unsync(http_body_util::Empty::new()))
        })
    })
    .await;
    let proxy = Proxy::start().await;
    let table = TableBuilder::new(1)
        .pool("web", [&app.endpoint], |_| {})
        .json_rule(r#"{"name": "all", "host": "*", "pool": "web"}"#);
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    let asking = tokio::spawn(async move { client.get("/").await });
    crate::support::within("the request arrives", both.0.notified()).await;
    for sample in [r#"pando_proxy_route_in_flight{route="all"}"#, r#"pando_proxy_in_flight{pool="web"}"#] {
        assert_eq!(metric(&proxy, sample).await, Some(1.0), "{sample}");
    }
    both.1.notify_one();
    assert_eq!(asking.await.unwrap().status, 200);
    wait_for(&proxy, r#"pando_proxy_route_in_flight{route="all"}"#, 0.0).await;
}

#[tokio::test]
async fn only_so_many_routes_are_told_apart() {
    let app = App::named("hello").await;
    let proxy = Proxy::start().await;
    let table = (0..1_003).fold(TableBuilder::new(1).pool("web", [&app.endpoint], |_| {}), |table, n| {
        table.json_rule(&format!(r#"{{"name": "r{n}", "host": "*", "path": "/{n}", "pool": "web"}}"#))
    });
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    for n in [0, 999, 1_000, 1_001, 1_002] {
        client.get(&format!("/{n}")).await;
    }
    wait_for(&proxy, r#"pando_proxy_route_requests_total{route="(other)",class="2xx"}"#, 3.0).await;
    for (route, expected) in [("r0", Some(1.0)), ("r999", Some(1.0)), ("r1000", None), ("r1", Some(0.0))] {
        let sample = format!(r#"pando_proxy_route_requests_total{{route="{route}",class="2xx"}}"#);
        assert_eq!(metric(&proxy, &sample).await, expected, "{route}");
    }
}

#[tokio::test]
async fn connections_that_cannot_be_opened_are_counted() {
    let proxy = Proxy::start().await;
    let table = TableBuilder::new(1).rule("*", "/", "web").pool("web", [endpoint(free_address())], |pool| {
        pool.probe.kind = pando_routing::ProbeKind::None;
    });
    proxy.put_ready(&table).await;
    assert_eq!(proxy.get("/").await.status, 502);
    let failed = metric(&proxy, r#"pando_proxy_upstream_connections_failed_total{pool="web"}"#).await;
    assert!(failed >= Some(1.0), "{failed:?}");
}

#[tokio::test]
async fn handshakes_are_told_by_version_and_by_what_went_wrong() {
    let app = App::named("hello").await;
    let issued = Issued::for_hosts(&["a.example"]);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint]).certificate(&issued, &["a.example"])).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13, &rustls::version::TLS13] {
        let mut client = Caller::speaking(&[&issued], version).call(secure, "a.example").await;
        assert_eq!(client.get("/").await.status, 200);
    }
    let mut plain = crate::support::Client::connect(secure).await;
    plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    plain.rest().await;
    for (sample, value) in [
        (r#"pando_proxy_tls_handshakes_total{version="1.2"}"#, 1.0),
        (r#"pando_proxy_tls_handshakes_total{version="1.3"}"#, 2.0),
        ("pando_proxy_tls_handshakes_resumed_total", 0.0),
        (r#"pando_proxy_tls_handshakes_failed_total{reason="http"}"#, 1.0),
        (r#"pando_proxy_tls_handshakes_failed_total{reason="timeout"}"#, 0.0),
    ] {
        wait_for(&proxy, sample, value).await;
    }
    let ends = metric(&proxy, r#"pando_proxy_certificate_not_after_seconds{certificate="a.example"}"#).await;
    assert!(ends > Some(1.7e9), "{ends:?}");
}

#[tokio::test]
async fn the_reference_lists_whatever_is_on_the_page() {
    let app = App::named("hello").await;
    let issued = Issued::for_hosts(&["a.example"]);
    let TlsProxy { proxy, .. } = TlsProxy::start().await;
    let table = TableBuilder::serving(1, [&app.endpoint])
        .certificate(&issued, &["a.example"])
        .json_rule(r#"{"host": "*", "path": "/x", "respond": {"status": 204}}"#);
    proxy.put_ready(&table).await;
    let reference = pando_proxy::metrics_markdown();
    let page = proxy.metrics().await;
    let names: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(reference.contains(&format!("| `{name}` |")), "{name}");
    }
}
