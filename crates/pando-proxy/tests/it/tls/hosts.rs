//! Hosts: kept to their connection, redirected, told to stay with TLS.

use bytes::Bytes;
use http::Response;

use crate::support::{App, Caller, Issued, TableBuilder, TlsProxy};

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

#[tokio::test]
async fn a_connection_is_for_the_host_that_it_was_made_for_and_those_that_its_certificate_proves() {
    let app = App::named("app").await;
    let (shared, other) =
        (Issued::for_hosts(&["a.example", "*.a.example"]), Issued::for_hosts(&["b.example"]));
    let table = TableBuilder::serving(1, [&app.endpoint])
        .certificate(&shared, &["a.example"])
        .certificate(&other, &["b.example"]);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&table).await;
    let mut client = Caller::trusting(&[&shared]).call(secure, "a.example").await;
    for (host, status) in [
        ("a.example", 200),
        ("A.Example:443", 200),
        ("x.a.example", 200),
        ("b.example", 421),
        ("x.y.a.example", 421),
        ("unknown.example", 421),
        // The connection itself is as good as before.
        ("a.example", 200),
    ] {
        assert_eq!(client.request(&get(host, "/")).await.status, status, "{host}");
    }
    assert_eq!(client.request("GET http://b.example/ HTTP/1.1\r\nhost: b.example\r\n\r\n").await.status, 421);
    assert_eq!(app.count(), 4);

    let mut stranger = Caller::careless().call(secure, "c.example").await;
    assert_eq!(stranger.request(&get("c.example", "/")).await.status, 200);
    assert_eq!(stranger.request(&get("a.example", "/")).await.status, 421);
    let mut anonymous = Caller::careless().naming_nobody().call(secure, "a.example").await;
    assert_eq!(anonymous.request(&get("a.example", "/")).await.status, 200);
}

#[tokio::test]
async fn hosts_with_a_certificate_are_redirected_unless_told_otherwise() {
    let app = App::named("app").await;
    let hosts = ["a.example", "open.example", "www.a.example"];
    let issued = Issued::for_hosts(&hosts);
    let table = TableBuilder::serving(1, [&app.endpoint])
        .certificate(&issued, &hosts)
        .host("open.example", r#"{"https": {"redirect": false}}"#)
        .host("www.a.example", r#"{"https": {"canonical": "a.example"}}"#);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&table).await;
    let port = secure.port();
    let mut plain = proxy.client().await;
    for (host, path, location) in [
        ("a.example", "/x?y=1", Some(format!("https://a.example:{port}/x?y=1"))),
        ("www.a.example", "/x", Some(format!("https://a.example:{port}/x"))),
        ("a.example", "/.well-known/acme-challenge/t", None),
        ("open.example", "/", None),
        ("without.example", "/", None),
    ] {
        let response = plain.request(&get(host, path)).await;
        let status = if location.is_some() { 308 } else { 200 };
        assert_eq!(
            (response.status, response.header("location")),
            (status, location.as_deref()),
            "{host}{path}"
        );
        assert_eq!(response.header("strict-transport-security"), None);
    }
    assert_eq!(app.last().headers["x-forwarded-proto"], "http");
    // What a method and a body were is for the place that it is redirected to.
    let post = "POST /form HTTP/1.1\r\nhost: a.example\r\ncontent-length: 4\r\n\r\nbody";
    assert_eq!(plain.request(post).await.status, 308);
    assert_eq!(plain.request(&get("without.example", "/")).await.status, 200);
    let mut alias = Caller::trusting(&[&issued]).call(secure, "www.a.example").await;
    let response = alias.request(&get(&format!("www.a.example:{port}"), "/x")).await;
    let location = format!("https://a.example:{port}/x");
    assert_eq!((response.status, response.header("location")), (308, Some(location.as_str())));
}

#[tokio::test]
async fn where_clients_find_tls_elsewhere_they_are_sent_there() {
    let app = App::named("app").await;
    let issued = Issued::for_hosts(&["a.example"]);
    let table = TableBuilder::serving(1, [&app.endpoint]).certificate(&issued, &["a.example"]);
    let TlsProxy { proxy, .. } = TlsProxy::start_with(|settings, _| settings.https_port = Some(443)).await;
    proxy.put_ready(&table).await;
    assert_eq!(proxy.get("/").await.header("location"), Some("https://a.example/"));
    // Nobody who only has the certificates sends clients where nobody answers.
    let alone = crate::support::Proxy::start().await;
    alone.put_ready(&table).await;
    assert_eq!(alone.get("/").await.status, 200);
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_tls_over_tls_alone_and_by_one_voice() {
    let app = App::answering(|_| {
        let mut response = Response::new(Bytes::from("app"));
        response.headers_mut().insert("strict-transport-security", "max-age=1".parse().unwrap());
        response
    })
    .await;
    let hosts = ["a.example", "silent.example"];
    let issued = Issued::for_hosts(&hosts);
    let options =
        r#"{"https": {"redirect": false, "hsts": {"max_age_seconds": 600, "include_subdomains": true}}}"#;
    let table = TableBuilder::new(1)
        .rule("*", "/app", "web")
        .pool("web", [&app.endpoint], |_| {})
        .certificate(&issued, &hosts)
        .host("a.example", options);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&table).await;
    let voices = |response: &crate::support::Response| -> Vec<String> {
        let hsts = response.headers.iter().filter(|(name, _)| name == "strict-transport-security");
        hsts.map(|(_, value)| value.clone()).collect()
    };
    let caller = Caller::trusting(&[&issued]);
    let mut client = caller.call(secure, "a.example").await;
    assert_eq!(voices(&client.get("/app").await), ["max-age=600; includeSubDomains"]);
    let missing = client.get("/missing").await;
    assert_eq!((missing.status, voices(&missing)), (404, vec!["max-age=600; includeSubDomains".to_owned()]));
    let mut silent = caller.call(secure, "silent.example").await;
    assert_eq!(voices(&silent.request(&get("silent.example", "/app")).await), ["max-age=1"]);
    let mut plain = proxy.client().await;
    assert_eq!(voices(&plain.get("/app").await), ["max-age=1"]);
    assert_eq!(voices(&plain.get("/missing").await), Vec::<String>::new());
}

#[tokio::test]
async fn hosts_without_a_certificate_are_named() {
    let app = App::named("app").await;
    let issued = Issued::for_hosts(&["a.example"]);
    let table = TableBuilder::new(1)
        .rule("a.example", "/", "web")
        .rule("c.example", "/", "web")
        .rule("b.example", "/", "web")
        .rule("b.example", "/x", "web")
        .rule("*", "/", "web")
        .pool("web", [&app.endpoint], |_| {})
        .certificate(&issued, &["a.example"]);
    let TlsProxy { proxy, .. } = TlsProxy::start().await;
    proxy.put_ready(&table).await;
    assert_eq!(proxy.stats().await.hosts_without_certificate, ["b.example", "c.example"]);
    let metrics = proxy.metrics().await;
    assert!(metrics.contains("pando_proxy_hosts_without_certificate 2"), "{metrics}");
    assert!(
        metrics.contains("pando_proxy_certificate_not_after_seconds{certificate=\"a.example\"} "),
        "{metrics}"
    );
}
