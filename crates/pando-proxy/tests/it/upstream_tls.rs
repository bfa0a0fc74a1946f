//! TLS with endpoints: who is believed, what is shown to them, and that connections last.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use pando_routing::balance::outlier::{Failure, Reason, TlsFault};
use pando_routing::{ClientCertificate, Outlier, Pool, Probe, ProbeKind, Protocol, SecretText, UpstreamTls};

use crate::support::http2::Http2;
use crate::support::{Authority, Issued, Origin, Proxy, SecureApp, Setup, TableBuilder, until};

const NAME: &str = "web.internal";

fn tls(ca: Option<&str>) -> UpstreamTls {
    UpstreamTls { ca: ca.map(Into::into), server_name: Some(NAME.into()), ..UpstreamTls::default() }
}

fn http_probe() -> Probe {
    let kind = ProbeKind::Http { path: "/up".to_owned(), host: None };
    Probe { kind, interval_millis: 50, timeout_millis: 2_000, rise: 1, fall: 1, expect: None }
}

/// Serves from `app` by `tls`, believing `authority` where that says `own`.
fn table(revision: u64, app: &SecureApp, authority: &Authority, tls: UpstreamTls) -> TableBuilder {
    TableBuilder::serving(revision, [app.endpoint()])
        .ca("own", &authority.pem)
        .adjust("web", |pool| pool.tls = Some(tls))
}

async fn one_worker() -> Proxy {
    Proxy::start_with(|settings, _| settings.workers = Some(1)).await
}

#[tokio::test]
async fn a_replica_is_verified_by_authority_and_name_and_its_connection_lasts() {
    for only_tls12 in [false, true] {
        let authority = Authority::new("ours");
        let setup = Setup { only_tls12, ..Setup::new(authority.issue(&[NAME])) };
        let app = SecureApp::start("secure", setup).await;
        let proxy = one_worker().await;
        proxy.put_ready(&table(1, &app, &authority, tls(Some("own")))).await;
        let mut client = proxy.client().await;
        for _ in 0..20 {
            assert_eq!(client.get("/").await.text(), "secure");
        }
        // What can't be sent twice takes none but connections that are surely open.
        let post = "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 2\r\n\r\nhi";
        for _ in 0..5 {
            assert_eq!(client.request(post).await.text(), "secure");
        }
        // Probes by TCP end before the handshake does.
        assert_eq!((app.seen.handshakes(), app.seen.requests.load(SeqCst)), (1, 25), "{only_tls12}");
        assert_eq!(app.seen.name.lock().unwrap().as_deref(), Some(NAME));
        assert_eq!(app.seen.protocol.lock().unwrap().as_deref(), Some(&b"http/1.1"[..]));
        assert!(!*app.seen.shown.lock().unwrap());
    }
}

#[tokio::test]
async fn sessions_are_resumed_by_later_connections() {
    for only_tls12 in [false, true] {
        let authority = Authority::new("ours");
        let setup = Setup { only_tls12, ..Setup::new(authority.issue(&[NAME])) };
        let app = SecureApp::start("secure", setup).await;
        let proxy = one_worker().await;
        proxy.put_ready(&table(1, &app, &authority, tls(Some("own")))).await;
        let close = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
        assert_eq!(proxy.client().await.request(close).await.status, 200);
        proxy
            .put_ready(
                &table(2, &app, &authority, tls(Some("own"))).adjust("web", |pool| pool.probe = http_probe()),
            )
            .await;
        until("a probe resumes the session", async || app.seen.resumed() > 0).await;
    }
}

#[tokio::test]
async fn a_wrong_certificate_is_never_sent_a_request_and_everybody_is_told_why() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let expired = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    for (issued, settings, fault, words) in [
        (theirs.issue(&[NAME]), tls(Some("own")), TlsFault::UnknownAuthority, "authority"),
        // The system's authorities don't know of ours.
        (ours.issue(&[NAME]), tls(None), TlsFault::UnknownAuthority, "authority"),
        (ours.issue(&["other.internal"]), tls(Some("own")), TlsFault::OtherName, "another name"),
        (ours.issue_with(&[NAME], expired), tls(Some("own")), TlsFault::Expired, "expired"),
        (Issued::for_hosts(&[NAME]), tls(Some("own")), TlsFault::UnknownAuthority, "authority"),
    ] {
        let app = SecureApp::start("secure", Setup::new(issued)).await;
        let proxy = one_worker().await;
        let outlier = Outlier { consecutive: 2, ..Outlier::default() };
        let with = |revision, probe: Option<Probe>| {
            table(revision, &app, &ours, settings.clone()).adjust("web", |pool: &mut Pool| {
                pool.outlier = Some(outlier.clone());
                pool.probe = probe.unwrap_or_else(|| pool.probe.clone());
            })
        };
        // One that listens passes a probe by TCP. The only endpoint is never ejected, and says why all the same with another beside it.
        let other = SecureApp::start("other", Setup::new(ours.issue(&["other.internal"]))).await;
        let table = with(1, None).adjust("web", |pool| pool.endpoints.push(other.endpoint()));
        proxy.put_ready(&table).await;
        for _ in 0..8 {
            assert_eq!(proxy.get("/").await.status, 502);
        }
        let stats = proxy.wait_for_stats("one is ejected", |stats| !stats.ejected.is_empty()).await;
        let ejected = &stats.ejected[0];
        assert!(matches!(&ejected.reason, Reason::Consecutive { last: Failure::Tls(_), .. }), "{ejected:?}");
        if ejected.endpoint == app.endpoint().id {
            assert!(
                matches!(&ejected.reason, Reason::Consecutive { last: Failure::Tls(last), .. } if *last == fault)
            );
            assert!(ejected.text.contains(words), "{}", ejected.text);
        }
        proxy.put(&with(2, Some(http_probe()))).await;
        let id = app.endpoint().id;
        let stats = proxy.wait_for_stats("its probe fails", |stats| stats.why_out.contains_key(&id)).await;
        assert!(
            stats.not_in_rotation.contains(&id) && stats.why_out[&id].contains(words),
            "{:?}",
            stats.why_out
        );
        assert_eq!(app.seen.requests.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn without_a_name_it_is_the_address_that_is_verified() {
    let authority = Authority::new("ours");
    let proxy = one_worker().await;
    let unnamed = UpstreamTls { server_name: None, ..tls(Some("own")) };
    let app = SecureApp::start("secure", Setup::new(authority.issue(&["127.0.0.1"]))).await;
    proxy.put_ready(&table(1, &app, &authority, unnamed.clone())).await;
    assert_eq!(proxy.get("/").await.text(), "secure");
    assert_eq!(*app.seen.name.lock().unwrap(), None);
    let other = SecureApp::start("other", Setup::new(authority.issue(&["127.0.0.2"]))).await;
    proxy.put_ready(&table(2, &other, &authority, unnamed)).await;
    assert_eq!(proxy.get("/").await.status, 502);
}

#[tokio::test]
async fn only_by_name_is_anybody_believed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let app = SecureApp::start("anybody", Setup::new(theirs.issue(&["elsewhere.internal"]))).await;
    let proxy = one_worker().await;
    let careless = UpstreamTls { insecure_skip_verify: true, ..tls(None) };
    proxy.put_ready(&table(1, &app, &ours, careless)).await;
    assert_eq!(proxy.get("/").await.text(), "anybody");
    // What was opened without a look is not used by who looks, nor is its session.
    proxy.put_ready(&table(2, &app, &ours, tls(Some("own")))).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status, 502);
    }
    assert_eq!(app.seen.resumed(), 0);
}

#[tokio::test]
async fn replicas_that_ask_are_shown_a_certificate() {
    for only_tls12 in [false, true] {
        let authority = Authority::new("ours");
        let setup = Setup {
            clients: Some(authority.pem.clone()),
            only_tls12,
            ..Setup::new(authority.issue(&[NAME]))
        };
        let app = SecureApp::start("secure", setup).await;
        let proxy = one_worker().await;
        let me = authority.issue(&["lb.internal"]);
        let own = ClientCertificate { chain_pem: me.chain_pem, key_pem: SecretText(me.key_pem) };
        let named = UpstreamTls { client_certificate: Some("lb".into()), ..tls(Some("own")) };
        let with = table(1, &app, &authority, named.clone()).client_certificate("lb", own);
        proxy.put_ready(&with.adjust("web", |pool| pool.probe = http_probe())).await;
        assert_eq!(proxy.get("/").await.text(), "secure");
        assert!(*app.seen.shown.lock().unwrap());
        // Without one, the replica says so.
        let before = app.seen.requests.load(SeqCst);
        let without = table(2, &app, &authority, tls(Some("own")));
        proxy.put(&without.adjust("web", |pool| pool.probe = http_probe())).await;
        let id = app.endpoint().id;
        let stats =
            proxy.wait_for_stats("the probe fails", |stats| stats.not_in_rotation.contains(&id)).await;
        assert!(stats.why_out[&id].contains("ertificate"), "{:?}", stats.why_out);
        assert_eq!(proxy.get("/").await.status, 502);
        let after = app.seen.requests.load(SeqCst);
        proxy.put(&table(3, &app, &authority, tls(Some("own")))).await;
        assert_eq!(proxy.get("/").await.status, 502);
        assert_eq!(app.seen.requests.load(SeqCst), after, "{before}");
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused_with_the_table() {
    let authority = Authority::new("ours");
    let app = SecureApp::start("secure", Setup::new(authority.issue(&[NAME]))).await;
    let proxy = one_worker().await;
    let (one, two) = (authority.issue(&["a.internal"]), authority.issue(&["b.internal"]));
    let mixed = ClientCertificate { chain_pem: one.chain_pem, key_pem: SecretText(two.key_pem) };
    let named = UpstreamTls { client_certificate: Some("lb".into()), ..tls(Some("own")) };
    let table = table(1, &app, &authority, named).client_certificate("lb", mixed);
    let (status, body) = proxy.control("PUT", "/v1/table", &table.json()).await;
    assert!(status == 400 && body.contains("belongs to another certificate"), "{status} {body}");
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn_and_carries_probes_too() {
    let authority = Authority::new("ours");
    let setup = Setup { alpn: vec!["h2", "http/1.1"], ..Setup::new(authority.issue(&[NAME])) };
    let app = SecureApp::start("secure", setup).await;
    let proxy = one_worker().await;
    let h2 = |table: TableBuilder| {
        table.adjust("web", |pool| {
            pool.protocol = Protocol::H2;
            pool.probe = http_probe();
        })
    };
    proxy.put_ready(&h2(table(1, &app, &authority, tls(Some("own"))))).await;
    assert_eq!(app.seen.protocol.lock().unwrap().as_deref(), Some(&b"h2"[..]));
    let client = Http2::connect(proxy.address).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "secure");
    }
    assert_eq!(proxy.get("/").await.text(), "secure");
    // One that doesn't know it is not spoken to.
    let old = SecureApp::start("old", Setup { alpn: vec![], ..Setup::new(authority.issue(&[NAME])) }).await;
    proxy.put(&h2(table(2, &old, &authority, tls(Some("own"))))).await;
    let id = old.endpoint().id;
    let stats = proxy.wait_for_stats("its probe fails", |stats| stats.why_out.contains_key(&id)).await;
    assert!(stats.why_out[&id].contains("HTTP/2"), "{:?}", stats.why_out);
    assert_eq!(old.seen.requests.load(SeqCst), 0);
}

#[tokio::test]
async fn idle_connections_are_dropped_when_the_settings_change_and_only_then() {
    let authority = Authority::new("ours");
    let app = SecureApp::start("secure", Setup::new(authority.issue(&[NAME, "second.internal"]))).await;
    let proxy = one_worker().await;
    let mut client = proxy.client().await;
    proxy.put_ready(&table(1, &app, &authority, tls(Some("own")))).await;
    assert_eq!(client.get("/").await.status, 200);
    // Something else changes.
    let other =
        table(2, &app, &authority, tls(Some("own"))).adjust("web", |pool| pool.max_in_flight = Some(9));
    proxy.put_ready(&other).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(app.seen.handshakes(), 1);
    let renamed = UpstreamTls { server_name: Some("second.internal".into()), ..tls(Some("own")) };
    proxy.put_ready(&table(3, &app, &authority, renamed)).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!((app.seen.handshakes(), app.seen.resumed()), (2, 0));
    assert_eq!(app.seen.name.lock().unwrap().as_deref(), Some("second.internal"));
}

#[tokio::test]
async fn an_answer_that_is_cut_without_a_goodbye_is_not_whole() {
    let authority = Authority::new("ours");
    let app = SecureApp::start("cut", Setup { cut: true, ..Setup::new(authority.issue(&[NAME])) }).await;
    let proxy = one_worker().await;
    proxy.put_ready(&table(1, &app, &authority, tls(Some("own")))).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    // The connection is cut, which may take along what was sent already.
    let rest = String::from_utf8(client.rest().await).unwrap();
    assert!(!rest.contains("\r\n0\r\n") && (rest.is_empty() || rest.starts_with("HTTP/1.1 200")), "{rest}");
    proxy.wait_for_pool("web", |pool| pool.failed == 1).await;
}

/// A probe by TCP finds that it listens; what a request finds is that it speaks no TLS, in time.
#[tokio::test]
async fn one_that_speaks_no_tls_is_found_out_within_the_time_to_connect() {
    let authority = Authority::new("ours");
    let silent = Origin::start(async |stream, _| {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let proxy = one_worker().await;
    let table = TableBuilder::serving(1, [silent.endpoint()]).ca("own", &authority.pem);
    let table = table.adjust("web", |pool| {
        pool.tls = Some(tls(Some("own")));
        pool.timeouts.connect_millis = 100;
    });
    proxy.put_ready(&table).await;
    let began = std::time::Instant::now();
    assert_eq!(proxy.get("/").await.status, 502);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
