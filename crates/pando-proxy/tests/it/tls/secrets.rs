//! Keys: taken only where they fit, and shown to nobody.

use std::os::unix::fs::PermissionsExt;

use crate::support::{App, Caller, Issued, TableBuilder, TlsProxy};

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_by_name_and_the_one_before_stays() {
    let app = App::named("app").await;
    let good = Issued::for_hosts(&["a.example"]);
    let foreign = Issued { key_pem: Issued::for_hosts(&["a.example"]).key_pem, ..good.clone() };
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint]).certificate(&good, &["a.example"])).await;
    for (issued, host, said) in [
        (&foreign, "a.example", "the certificate for `a.example`: the key belongs to another certificate"),
        (
            &good,
            "b.example",
            "the certificate for `b.example`: the certificate is not for `b.example` but for `a.example`",
        ),
    ] {
        let table = TableBuilder::serving(2, [&app.endpoint]).certificate(issued, &[host]);
        let (status, body) = proxy.control("PUT", "/v1/table", &table.json()).await;
        assert!(status == 400 && body.contains(said), "{body}");
        assert!(!body.contains("PRIVATE KEY"), "{body}");
    }
    let mut client = Caller::trusting(&[&good]).call(secure, "a.example").await;
    assert_eq!(client.get("/").await.text(), "app");
}

#[tokio::test]
async fn nobody_is_shown_a_key_and_a_restart_has_them_again() {
    let app = App::named("app").await;
    let issued = Issued::for_hosts(&["a.example"]);
    let table = |revision| TableBuilder::serving(revision, [&app.endpoint]);
    let with = table(2).certificate(&issued, &["a.example"]).ticket_keys(&[[0xab; 32]]);
    let state = |settings: &mut pando_proxy::Settings, directory: &std::path::Path| {
        settings.state_file = Some(directory.join("state.json"));
    };
    let TlsProxy { proxy, .. } = TlsProxy::start_with(state).await;
    let path = proxy.directory.path().join("state.json");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    proxy.put_ready(&table(1)).await;
    assert_eq!(mode(), 0o640);
    proxy.put_ready(&with).await;
    assert_eq!(mode(), 0o600);
    let (_, shown) = proxy.control("GET", "/v1/table", "").await;
    assert!(
        shown.contains("\"web\"") && !shown.contains("PRIVATE KEY") && !shown.contains("abab"),
        "{shown}"
    );
    let secret = issued.key_pem.lines().nth(1).unwrap();
    for place in ["/v1/stats", "/metrics"] {
        assert!(!proxy.control("GET", place, "").await.1.contains(secret));
    }

    let TlsProxy { secure, .. } = TlsProxy::start_in(proxy.stop().await, state).await;
    let mut client = Caller::trusting(&[&issued]).call(secure, "a.example").await;
    crate::support::until("the endpoint is in rotation", async || client.get("/").await.status == 200).await;
}
