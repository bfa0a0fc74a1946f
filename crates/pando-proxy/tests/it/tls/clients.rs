//! Hosts whose clients have to show a certificate.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::{App, Authority, Caller, Issued, Secure, TableBuilder, TlsProxy, until};

const STRICT: &str = r#"{"https": {"client_auth": {"ca": "ours"}, "redirect": false}}"#;
const LENIENT: &str = r#"{"https": {"client_auth": {"ca": "ours", "optional": true}}}"#;
const CLAIMS: &str =
    "client-cert: :AAAA:\r\nx-client-cert-subject: CN=boss\r\nX_Client_Cert_Fingerprint: 00\r\n";

fn get(host: &str, more: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\n{more}\r\n")
}

fn alice(authority: &Authority) -> Issued {
    authority.issue_with(&["alice.example"], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    })
}

/// `None`: there is no answer, since there is no connection. With TLS 1.3 a client hears of it only then.
async fn status(caller: &Caller, secure: std::net::SocketAddr, host: &str) -> Option<(u16, bool)> {
    let mut client: Secure = caller.try_call(secure, host).await.ok()?;
    tokio::io::AsyncWriteExt::write_all(client.stream.get_mut(), get(host, "").as_bytes()).await.ok()?;
    let response = client.try_response().await?;
    Some((response.status, client.resumed()))
}

struct Setting {
    app: App,
    issued: Issued,
    ours: Authority,
    tls: TlsProxy,
}

impl Setting {
    async fn new() -> Self {
        let app = App::named("app").await;
        let issued = Issued::for_hosts(&["a.example", "b.example"]);
        let tls = TlsProxy::start_with(|settings, _| settings.workers = Some(1)).await;
        Self { app, issued, ours: Authority::new("ours"), tls }
    }

    fn table(&self, revision: u64) -> TableBuilder {
        TableBuilder::serving(revision, [&self.app.endpoint])
            .certificate(&self.issued, &["a.example", "b.example"])
            .ca("ours", &self.ours.pem)
            .ticket_keys(&[[7; 32]])
    }

    fn caller(&self, version: &'static SupportedProtocolVersion) -> Caller {
        Caller::speaking(&[&self.issued], version)
    }

    fn told(&self, name: &str) -> Vec<String> {
        let seen = self.app.last();
        seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    async fn refused(&self) -> u64 {
        let metrics = self.tls.proxy.metrics().await;
        let name = "pando_proxy_tls_handshakes_failed_total{reason=\"certificate\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn who_shows_none_or_a_strangers_is_refused_and_who_shows_a_good_one_is_announced() {
    for version in [&TLS13, &TLS12] {
        let setting = Setting::new().await;
        let secure = setting.tls.secure;
        setting.tls.proxy.put_ready(&setting.table(1).host("b.example", STRICT)).await;
        assert_eq!(status(&setting.caller(version), secure, "b.example").await, None);
        let stranger = alice(&Authority::new("theirs"));
        assert_eq!(status(&setting.caller(version).showing(&stranger), secure, "b.example").await, None);
        until("both are counted", async || setting.refused().await == 2).await;
        assert_eq!(setting.app.count(), 0);

        let alice = alice(&setting.ours);
        let mut client = setting.caller(version).showing(&alice).call(secure, "b.example").await;
        assert_eq!(client.request(&get("b.example", CLAIMS)).await.status, 200);
        assert_eq!(setting.told("x-client-cert-subject"), ["CN=alice"]);
        assert_eq!(setting.told("x-client-cert-fingerprint")[0].len(), 64);
        assert_eq!(setting.told("client-cert").len(), 1);
        assert!(setting.told("client-cert")[0].starts_with(":MII"), "{:?}", setting.told("client-cert"));
        assert!(setting.app.last().headers.get("x_client_cert_fingerprint").is_none());
        // Other hosts of the connection are told of nobody, whatever the client says.
        assert_eq!(client.request(&get("a.example", CLAIMS)).await.status, 200);
        for name in ["client-cert", "x-client-cert-subject", "x_client_cert_fingerprint"] {
            assert_eq!(setting.told(name), [""; 0], "{name}");
        }
        assert_eq!(setting.refused().await, 2);
    }
}

#[tokio::test]
async fn where_it_is_optional_who_shows_none_comes_in_and_is_nobody() {
    for version in [&TLS13, &TLS12] {
        let setting = Setting::new().await;
        let secure = setting.tls.secure;
        setting.tls.proxy.put_ready(&setting.table(1).host("b.example", LENIENT)).await;
        let mut client = setting.caller(version).call(secure, "b.example").await;
        assert_eq!(client.request(&get("b.example", CLAIMS)).await.status, 200);
        assert_eq!(setting.told("x-client-cert-subject"), [""; 0]);
        let alice = setting.caller(version).showing(&alice(&setting.ours));
        assert_eq!(alice.call(secure, "b.example").await.request(&get("b.example", "")).await.status, 200);
        assert_eq!(setting.told("x-client-cert-subject"), ["CN=alice"]);
        let stranger = self::alice(&Authority::new("theirs"));
        assert_eq!(status(&setting.caller(version).showing(&stranger), secure, "b.example").await, None);
    }
}

#[tokio::test]
async fn no_other_connection_leads_there() {
    let setting = Setting::new().await;
    let secure = setting.tls.secure;
    setting.tls.proxy.put_ready(&setting.table(1).host("b.example", STRICT)).await;
    // Our certificate proves both, which is when browsers use one connection.
    let alice = alice(&setting.ours);
    for caller in [setting.caller(&TLS13), setting.caller(&TLS13).showing(&alice)] {
        let mut client = caller.call(secure, "a.example").await;
        assert_eq!(client.request(&get("a.example", "")).await.status, 200);
        for host in ["b.example", "B.example.", "b.example:443"] {
            assert_eq!(client.request(&get(host, "")).await.status, 421, "{host}");
        }
        let absolute = "GET http://b.example/ HTTP/1.1\r\nhost: b.example\r\n\r\n";
        assert_eq!(client.request(absolute).await.status, 421);
    }
    let mut unnamed = Caller::careless().naming_nobody().showing(&alice).call(secure, "b.example").await;
    assert_eq!(unnamed.request(&get("b.example", "")).await.status, 421);
    let mut plain = setting.tls.proxy.client().await;
    assert_eq!(plain.request(&get("b.example", "")).await.status, 421);
    assert_eq!(setting.app.count(), 2);
}

#[tokio::test]
async fn a_ticket_lets_in_by_the_same_policy_alone() {
    for version in [&TLS13, &TLS12] {
        let setting = Setting::new().await;
        let (secure, proxy) = (setting.tls.secure, &setting.tls.proxy);
        let alice = setting.caller(version).showing(&alice(&setting.ours));
        // From before anybody asked.
        proxy.put_ready(&setting.table(1)).await;
        assert_eq!(status(&alice, secure, "b.example").await, Some((200, false)));
        assert_eq!(status(&alice, secure, "b.example").await, Some((200, true)));
        let nobody = setting.caller(version);
        assert_eq!(status(&nobody, secure, "b.example").await, Some((200, false)));
        let mut old = alice.call(secure, "b.example").await;
        assert_eq!(old.request(&get("b.example", "")).await.status, 200);
        proxy.put_ready(&setting.table(2).host("b.example", STRICT)).await;
        assert_eq!(old.request(&get("b.example", "")).await.status, 421, "made under no policy");
        assert_eq!(status(&nobody, secure, "b.example").await, None);
        assert_eq!(status(&alice, secure, "b.example").await, Some((200, false)));
        assert_eq!(status(&alice, secure, "b.example").await, Some((200, true)));
        assert_eq!(setting.told("x-client-cert-subject"), ["CN=alice"], "a resumed session is hers too");
        // Something else changes.
        proxy
            .put_ready(
                &setting
                    .table(3)
                    .host("b.example", STRICT)
                    .adjust("web", |pool| pool.max_in_flight = Some(9)),
            )
            .await;
        assert_eq!(status(&alice, secure, "b.example").await, Some((200, true)));
        // Others are believed from here on.
        let mut kept = alice.call(secure, "b.example").await;
        assert_eq!(kept.request(&get("b.example", "")).await.status, 200);
        let theirs = Authority::new("theirs");
        proxy.put_ready(&setting.table(4).ca("ours", &theirs.pem).host("b.example", STRICT)).await;
        assert_eq!(kept.request(&get("b.example", "")).await.status, 421);
        assert_eq!(status(&alice, secure, "b.example").await, None);
    }
}

#[tokio::test]
async fn a_session_is_worth_no_more_than_the_certificate_that_it_began_with() {
    let setting = Setting::new().await;
    let secure = setting.tls.secure;
    setting.tls.proxy.put_ready(&setting.table(1).host("b.example", STRICT)).await;
    let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(3);
    let short = setting.ours.issue_with(&["alice.example"], |params| params.not_after = ends.into());
    let caller = setting.caller(&TLS13).showing(&short);
    assert_eq!(status(&caller, secure, "b.example").await, Some((200, false)));
    assert_eq!(status(&caller, secure, "b.example").await, Some((200, true)));
    until("the certificate has ended", async || status(&caller, secure, "b.example").await.is_none()).await;
    assert!(std::time::SystemTime::now() >= ends);
    until("it is counted", async || setting.refused().await >= 1).await;
}

#[tokio::test]
async fn authorities_that_the_table_does_not_have_are_refused_with_it() {
    let setting = Setting::new().await;
    let table = setting.table(1).host("b.example", &STRICT.replace("ours", "gone"));
    let (status, body) = setting.tls.proxy.control("PUT", "/v1/table", &table.json()).await;
    assert!(status == 400 && body.contains("`b.example`") && body.contains("`gone`"), "{body}");
}
