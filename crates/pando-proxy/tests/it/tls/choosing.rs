//! Which certificate answers, and when another one does.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http::Response;
use rustls::ProtocolVersion;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::support::http2::{self, Http2};
use crate::support::{App, Caller, Issued, Origin, TableBuilder, TlsProxy, within};

#[tokio::test]
async fn the_most_exact_certificate_answers_and_strangers_get_one_that_nobody_vouches_for() {
    let app = App::named("app").await;
    let (exact, wild) = (Issued::for_hosts(&["a.b.example"]), Issued::for_hosts(&["*.b.example"]));
    let table = TableBuilder::serving(1, [&app.endpoint])
        .certificate(&exact, &["a.b.example"])
        .certificate(&wild, &["*.b.example"]);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&table).await;
    let caller = Caller::trusting(&[&exact, &wild]);
    assert_eq!(caller.call(secure, "a.b.example").await.shown(), exact.der);
    assert_eq!(caller.call(secure, "x.b.example").await.shown(), wild.der);
    assert_eq!(caller.call(secure, "X.B.Example").await.shown(), wild.der);

    let careless = Caller::careless();
    for stranger in ["b.example", "x.y.b.example", "other.example", "127.0.0.1"] {
        let error = caller.try_call(secure, stranger).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        let mut client = careless.call(secure, stranger).await;
        assert!(client.shown() != exact.der && client.shown() != wild.der);
        let response = client.request(&format!("GET / HTTP/1.1\r\nhost: {stranger}\r\n\r\n")).await;
        assert_eq!((response.status, response.text()), (200, "app"), "{stranger}");
    }
    let anonymous = careless.naming_nobody().call(secure, "a.b.example").await;
    assert!(anonymous.shown() != exact.der);
}

#[tokio::test]
async fn both_versions_are_spoken_and_the_exchange_is_safe_from_quantum_computers_where_the_client_knows_how()
{
    let app = App::named("app").await;
    let issued = Issued::for_hosts(&["a.example"]);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint]).certificate(&issued, &["a.example"])).await;
    for (version, spoken) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut client = Caller::speaking(&[&issued], version).call(secure, "a.example").await;
        assert_eq!(client.session().protocol_version(), Some(spoken));
        assert_eq!(client.get("/").await.text(), "app");
    }
    let group =
        |client: &crate::support::Secure| client.session().negotiated_key_exchange_group().unwrap().name();
    let client = Caller::trusting(&[&issued]).call(secure, "a.example").await;
    assert_eq!(group(&client), rustls::NamedGroup::X25519MLKEM768);
    let older = Caller::with(&[&issued], ring::default_provider(), &[&TLS13]).call(secure, "a.example").await;
    assert_eq!(group(&older), rustls::NamedGroup::X25519);
}

#[tokio::test]
async fn the_protocol_is_agreed_on() {
    let issued = Issued::for_hosts(&["a.example"]);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put(&TableBuilder::new(1).certificate(&issued, &["a.example"])).await;
    for (offered, agreed) in [
        (&["http/1.1"][..], Some(&b"http/1.1"[..])),
        (&["spdy/3", "http/1.1"], Some(b"http/1.1")),
        (&["http/1.0"], Some(b"http/1.0")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&[], None),
    ] {
        let client = Caller::trusting(&[&issued]).offering(offered).call(secure, "a.example").await;
        assert_eq!(client.session().alpn_protocol(), agreed, "{offered:?}");
    }
    let error =
        Caller::trusting(&[&issued]).offering(&["smtp"]).try_call(secure, "a.example").await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn http_2_is_spoken_over_tls() {
    let app = App::answering(|seen| Response::new(seen.body.clone())).await;
    let issued = Issued::for_hosts(&["a.example"]);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint]).certificate(&issued, &["a.example"])).await;
    let called = Caller::trusting(&[&issued]).offering(&["h2", "http/1.1"]).call(secure, "a.example").await;
    let client = Http2::over(called.stream.into_inner(), &h2::client::Builder::new()).await;
    let asked = |host: &str| http::Request::get(format!("https://{host}/")).body(()).unwrap();
    for _ in 0..3 {
        assert_eq!(client.ask(asked("a.example")).await.unwrap().status, 200);
    }
    assert_eq!(app.last().headers["x-forwarded-proto"], "https");
    assert_eq!(client.ask(asked("b.example")).await.unwrap().status, 421);
    let large = vec![b'x'; 1 << 20];
    let upload = http::Request::post("https://a.example/").body(()).unwrap();
    let (response, body) = client.begin(upload, false).await;
    let (sent, answer) = tokio::join!(http2::upload(body, large.clone().into()), http2::answer(response));
    sent.unwrap();
    assert_eq!(answer.unwrap().body, large);
}

/// Echoes what it is told over a WebSocket; answers anything else with 200.
async fn echo() -> Origin {
    Origin::start(|stream, _| async move {
        let Ok(mut socket) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_new_certificate_is_used_within_a_second_and_nobody_is_disconnected() {
    let (app, chat) = (App::named("app").await, echo().await);
    let endpoint = chat.endpoint();
    let [first, second] = [0; 2].map(|_| Issued::for_hosts(&["a.example", "chat.example"]));
    let table = |revision, issued| {
        TableBuilder::new(revision)
            .rule("a.example", "/", "web")
            .rule("chat.example", "/", "chat")
            .pool("web", [&app.endpoint], |_| {})
            .pool("chat", [&endpoint], |_| {})
            .certificate(issued, &["a.example", "chat.example"])
    };
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&table(1, &first)).await;
    let caller = Caller::trusting(&[&first, &second]);
    let mut open = caller.call(secure, "a.example").await;
    assert_eq!((open.get("/").await.text(), open.shown()), ("app", first.der.clone()));
    let wire = caller.call(secure, "chat.example").await.stream.into_inner();
    let (mut socket, _) = within("a handshake", client_async("wss://chat.example/", wire)).await.unwrap();

    let swapped = Instant::now();
    proxy.put(&table(2, &second)).await;
    // A caller that has no ticket: those of the old certificate are as good as ever.
    let new = Caller::trusting(&[&first, &second]).call(secure, "a.example").await;
    assert_eq!(new.shown(), second.der);
    assert!(swapped.elapsed() < Duration::from_secs(1), "{:?}", swapped.elapsed());
    assert_eq!(open.get("/").await.text(), "app");
    socket.send(Message::text("still here")).await.unwrap();
    let answer = within("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(answer.to_text().unwrap(), "still here");
}
