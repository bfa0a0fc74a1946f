//! Sessions that are taken up again, here and at another balancer.

use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;

use crate::support::{App, Caller, Issued, TableBuilder, TlsProxy, within};

const HOST: &str = "a.example";

/// Two proxies with the same certificate, and the keys that each seals tickets with.
async fn two(issued: &Issued, app: &App, keys: [&[[u8; 32]]; 2]) -> [TlsProxy; 2] {
    let mut proxies = Vec::new();
    for keys in keys {
        let table = TableBuilder::serving(1, [&app.endpoint]).certificate(issued, &[HOST]).ticket_keys(keys);
        let proxy = TlsProxy::start().await;
        proxy.proxy.put_ready(&table).await;
        proxies.push(proxy);
    }
    proxies.try_into().unwrap()
}

/// One request; whether its session was another one's before. The ticket comes with the answer.
async fn resumes(caller: &Caller, proxy: &TlsProxy) -> bool {
    let mut client = caller.call(proxy.secure, HOST).await;
    assert_eq!(client.get("/").await.text(), "app");
    client.resumed()
}

#[tokio::test]
async fn balancers_that_share_keys_resume_each_others_sessions() {
    let (app, issued) = (App::named("app").await, Issued::for_hosts(&[HOST]));
    let [old, new] = [[1; 32], [2; 32]];
    for version in [&TLS12, &TLS13] {
        // The second is one rotation ahead.
        let [one, other] = two(&issued, &app, [&[old], &[new, old]]).await;
        let caller = Caller::speaking(&[&issued], version);
        assert!(!resumes(&caller, &one).await);
        assert!(resumes(&caller, &one).await);
        assert!(resumes(&caller, &other).await);
        // Sealed with the new key by the other, and not to be opened by the one: it just takes longer.
        assert!(!resumes(&caller, &one).await, "{version:?}");
        let metrics = other.proxy.metrics().await;
        assert!(metrics.contains("pando_proxy_tls_handshakes_resumed_total 1"), "{metrics}");
    }
}

#[tokio::test]
async fn without_shared_keys_a_session_is_one_proxys_own() {
    let (app, issued) = (App::named("app").await, Issued::for_hosts(&[HOST]));
    let [one, other] = two(&issued, &app, [&[], &[]]).await;
    let caller = Caller::trusting(&[&issued]);
    assert!(!resumes(&caller, &one).await);
    assert!(resumes(&caller, &one).await);
    assert!(!resumes(&caller, &other).await);
}

#[tokio::test]
async fn tables_without_news_of_keys_leave_tickets_good() {
    let (app, issued) = (App::named("app").await, Issued::for_hosts(&[HOST]));
    let [proxy, _] = two(&issued, &app, [&[], &[]]).await;
    let caller = Caller::trusting(&[&issued]);
    assert!(!resumes(&caller, &proxy).await);
    proxy.proxy.put(&TableBuilder::serving(2, [&app.endpoint]).certificate(&issued, &[HOST])).await;
    assert!(resumes(&caller, &proxy).await);
}

#[tokio::test]
async fn who_asks_for_nothing_yet_has_a_ticket_all_the_same() {
    let (app, issued) = (App::named("app").await, Issued::for_hosts(&[HOST]));
    let [proxy, _] = two(&issued, &app, [&[], &[]]).await;
    let mut client = Caller::speaking(&[&issued], &TLS13).call(proxy.secure, HOST).await;
    within("a ticket", async {
        while client.session().tls13_tickets_received() == 0 {
            // There is nothing to read but the ticket, which is none of the client's business.
            let look = client.stream.read_u8();
            assert!(tokio::time::timeout(Duration::from_millis(5), look).await.is_err());
        }
    })
    .await;
    assert_eq!(client.get("/").await.text(), "app");
}
