//! The PROXY protocol, before HTTP and before a handshake.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{App, Caller, Client, Issued, TableBuilder, TlsProxy, until};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn ready(app: &App, from: &str) -> (TlsProxy, Caller) {
    let issued = Issued::for_hosts(&["a.example"]);
    let proxy = TlsProxy::start_with(|settings, _| {
        settings.proxy_protocol_from = vec![from.parse().unwrap()];
        settings.limits.handshake_time = Duration::from_millis(300);
    })
    .await;
    let table = TableBuilder::serving(1, [&app.endpoint]).certificate(&issued, &["a.example"]);
    let table = table.host("a.example", r#"{"https": {"redirect": false}}"#);
    proxy.proxy.put_ready(&table).await;
    (proxy, Caller::trusting(&[&issued]))
}

async fn connect(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(header).await.unwrap();
    tcp
}

#[tokio::test]
async fn replicas_are_told_who_a_named_proxy_speaks_for() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, caller) = ready(&app, "127.0.0.0/8").await;
    for (header, source) in
        [(V1, "192.0.2.7"), (V2, "192.0.2.7"), (LOCAL, "127.0.0.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")]
    {
        let mut plain = Client { stream: tokio::io::BufReader::new(connect(proxy.address, header).await) };
        for _ in 0..2 {
            assert_eq!(plain.get("/").await.text(), "app");
            assert_eq!(app.last().headers["x-forwarded-for"], source);
        }
        let mut client = caller.call_over(connect(secure, header).await, "a.example").await.unwrap();
        assert_eq!(client.get("/").await.text(), "app");
        let seen = app.last().headers;
        assert_eq!(
            (&seen["x-forwarded-for"], &seen["x-forwarded-proto"]),
            (&source.parse().unwrap(), &"https".parse().unwrap())
        );
    }
    // In two pieces, with a request in the same packet.
    let mut tcp = connect(proxy.address, &V1[..20]).await;
    tcp.set_nodelay(true).unwrap();
    tokio::task::yield_now().await;
    tcp.write_all(&[&V1[20..], b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"].concat()).await.unwrap();
    let mut client = Client { stream: tokio::io::BufReader::new(tcp) };
    assert_eq!(client.response().await.text(), "app");
    assert_eq!(app.last().headers["x-forwarded-for"], "192.0.2.7");
}

#[tokio::test]
async fn a_named_proxy_that_does_not_say_it_is_not_served() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, _) = ready(&app, "127.0.0.1").await;
    let long = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
    let huge = [&V2[..14], &[0xff, 0xff]].concat();
    let kinds: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n",
        b"PROXY TCP4 x y 1 2\r\n",
        &long,
        &huge,
        &V1[..V1.len() - 1],
        b"",
    ];
    for header in kinds {
        for address in [proxy.address, secure] {
            let mut client = Client { stream: tokio::io::BufReader::new(connect(address, header).await) };
            assert_eq!(client.rest().await, b"");
        }
    }
    assert_eq!(app.count(), 0);
    until("all are counted", async || {
        proxy.metrics().await.contains("pando_proxy_proxy_headers_refused_total 12\n")
    })
    .await;
}

#[tokio::test]
async fn nobody_else_may_say_it() {
    let app = App::named("app").await;
    let (TlsProxy { proxy, secure }, caller) = ready(&app, "10.0.0.0/8").await;
    for header in [V1, V2] {
        let mut client = Client { stream: tokio::io::BufReader::new(connect(proxy.address, header).await) };
        client.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
        assert!(client.try_response().await.is_none_or(|response| response.status == 400));
        assert!(caller.call_over(connect(secure, header).await, "a.example").await.is_err());
    }
    assert_eq!(app.count(), 0);
    assert_eq!(proxy.get("/").await.text(), "app");
}
