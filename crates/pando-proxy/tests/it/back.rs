//! Endpoints that all stop listening at once, and come back a moment later: a container engine that starts anew, or the one replica.

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use pando_routing::AllDown;
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{App, Proxy, TableBuilder, endpoint, until, within};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";

/// Where nobody listens any more.
fn listen(app: std::net::SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(app).unwrap();
    socket.listen(64).unwrap()
}

fn again(address: std::net::SocketAddr) -> App {
    App::on(listen(address), |request| {
        Box::pin(async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let text = if body.is_empty() { Bytes::from("back") } else { body };
            Response::new(Full::new(text).boxed_unsync())
        })
    })
}

#[tokio::test]
async fn requests_wait_for_replicas_that_have_all_just_gone() {
    let apps = [App::named("a").await, App::named("b").await, App::named("c").await];
    let endpoints = apps.each_ref().map(|app| app.endpoint.clone());
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, &endpoints)).await;
    assert_eq!(proxy.get("/").await.status, 200);
    for app in apps {
        app.stop().await;
    }
    let mut waiting = Vec::new();
    for n in 0..8 {
        let mut client = proxy.client().await;
        // Nothing of them reached anybody, so that even what can't be done twice waits.
        client.send(if n % 2 == 0 { POST } else { "GET / HTTP/1.1\r\nhost: a\r\n\r\n" }).await;
        waiting.push(client);
    }
    let all = endpoints.len();
    until("all are out", async || proxy.stats().await.not_in_rotation.len() == all).await;
    let back = again(endpoints[1].address);
    for (n, client) in waiting.iter_mut().enumerate() {
        let answer = within("an answer", client.response()).await;
        assert_eq!((answer.status, answer.text()), (200, if n % 2 == 0 { "hello" } else { "back" }), "{n}");
    }
    assert!(back.connections() > 0);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.requests, pool.failed), (9, 0));
}

#[tokio::test]
async fn nobody_waits_for_who_stays_away_or_was_never_there() {
    let app = App::named("ok").await;
    let proxy = Proxy::start().await;
    let never = endpoint(crate::support::free_address());
    let table = TableBuilder::new(1)
        .rule("gone.example", "/", "gone")
        .rule("never.example", "/", "never")
        .rule("refuse.example", "/", "refuse")
        .pool("gone", std::slice::from_ref(&app.endpoint), |_| {})
        .pool("never", &[never], |_| {})
        .pool("refuse", &[endpoint(app.address)], |pool| pool.when_all_down = AllDown::Refuse);
    proxy.put(&table).await;
    let ask = async |host: &str| {
        let mut client = proxy.client().await;
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        within("an answer", client.request(&request)).await.status
    };
    until("they are up", async || ask("gone.example").await == 200 && ask("refuse.example").await == 200)
        .await;
    app.stop().await;
    assert_eq!(ask("refuse.example").await, 502);
    assert_eq!(ask("refuse.example").await, 503);
    assert_eq!(ask("never.example").await, 503);
    // The first ones wait for as long as it is worth it, whoever comes after that does not.
    assert_eq!(ask("gone.example").await, 502);
    assert_eq!(ask("gone.example").await, 503);
    let mut leaving = proxy.client().await;
    leaving.send("GET / HTTP/1.1\r\nhost: gone.example\r\n\r\n").await;
    drop(leaving);
    until("nobody is left", async || proxy.metrics().await.contains("pando_proxy_connections 0\n")).await;
}

#[tokio::test]
async fn whoever_another_table_brings_is_as_good() {
    let app = App::named("old").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let gone = app.endpoint.clone();
    app.stop().await;
    let mut client = proxy.client().await;
    client.send(POST).await;
    until("it is out", async || proxy.stats().await.not_in_rotation.contains(&gone.id)).await;
    let new = App::named("new").await;
    proxy.put(&TableBuilder::serving(2, [&new.endpoint])).await;
    assert_eq!(within("an answer", client.response()).await.text(), "new");
}
