//! The PROXY protocol towards endpoints: each client's connection has its own, and says whose it is.

use std::sync::{Arc, Mutex};

use pando_routing::{Probe, ProbeKind, Protocol, ProxyProtocol, UpstreamTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::http2::{Http2, request};
use crate::support::{Authority, Client, Origin, Proxy, SecureApp, Setup, TableBuilder, until};

/// One header, and nothing beyond it.
async fn header(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = vec![0; 16];
    stream.read_exact(&mut header[..1]).await.ok()?;
    if header[0] == b'P' {
        header.truncate(1);
        while !header.ends_with(b"\r\n") {
            header.push(stream.read_u8().await.ok()?);
        }
        return Some(header);
    }
    stream.read_exact(&mut header[1..]).await.ok()?;
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    header.resize(16 + length, 0);
    stream.read_exact(&mut header[16..]).await.ok()?;
    Some(header)
}

/// Answers `number header` to each request, in hexadecimal; probes are remembered.
async fn origin(probed: Arc<Mutex<Vec<Vec<u8>>>>) -> Origin {
    Origin::start(move |mut stream, number| {
        let probed = Arc::clone(&probed);
        async move {
            let Some(said) = header(&mut stream).await else { return };
            let answer = format!("{number} {}", hex(&said));
            let mut seen = Vec::new();
            while let Ok(1..) = stream.read_buf(&mut seen).await {
                if seen.starts_with(b"GET /up ") {
                    probed.lock().unwrap().push(said.clone());
                }
                if seen.ends_with(b"\r\n\r\n") {
                    seen.clear();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                    stream.write_all(head.as_bytes()).await.unwrap();
                }
            }
        }
    })
    .await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a client that comes from there is announced with.
fn expected(version: ProxyProtocol, client: u16, proxy: u16) -> String {
    match version {
        ProxyProtocol::V1 => hex(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {client} {proxy}\r\n").as_bytes()),
        ProxyProtocol::V2 => {
            format!("0d0a0d0a000d0a515549540a2111000c7f0000017f000001{client:04x}{proxy:04x}")
        }
    }
}

async fn one_worker() -> Proxy {
    Proxy::start_with(|settings, _| settings.workers = Some(1)).await
}

#[tokio::test]
async fn a_connection_carries_the_requests_of_the_client_that_it_was_opened_for_alone() {
    for (version, local) in [
        (ProxyProtocol::V1, &b"PROXY UNKNOWN\r\n"[..]),
        (ProxyProtocol::V2, &b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..]),
    ] {
        let probed = Arc::default();
        let (origin, proxy) = (origin(Arc::clone(&probed)).await, one_worker().await);
        let kind = ProbeKind::Http { path: "/up".to_owned(), host: None };
        let table = TableBuilder::serving(1, [origin.endpoint()]).adjust("web", |pool| {
            pool.proxy_protocol = Some(version);
            pool.probe = Probe { kind, ..pool.probe.clone() };
        });
        proxy.put_ready(&table).await;
        let mut clients: Vec<Client> = vec![proxy.client().await, proxy.client().await, proxy.client().await];
        let mut connections = vec![String::new(); clients.len()];
        for round in 0..4 {
            for (n, client) in clients.iter_mut().enumerate() {
                let port = client.stream.get_ref().local_addr().unwrap().port();
                let answer = client.get("/").await;
                let (number, said) = answer.text().split_once(' ').unwrap();
                assert_eq!(said, expected(version, port, proxy.address.port()));
                if round > 0 {
                    assert_eq!(connections[n], number, "its own connection is used again");
                }
                connections[n] = number.to_owned();
                // What can't be sent twice as well.
                let post = "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n";
                assert_eq!(client.request(post).await.text(), answer.text());
            }
        }
        connections.sort();
        connections.dedup();
        assert_eq!(connections.len(), 3);
        assert!(probed.lock().unwrap().iter().all(|said| said == local), "{:?}", probed.lock().unwrap());
        assert!(!probed.lock().unwrap().is_empty());
        // Without the setting connections are shared again, and those of before are not used.
        let plain = crate::support::App::named("plain").await;
        proxy.put_ready(&TableBuilder::serving(2, [&plain.endpoint])).await;
        for client in &mut clients {
            assert_eq!(client.get("/").await.text(), "plain");
        }
        assert!(plain.connections() >= 1);
    }
}

#[tokio::test]
async fn clients_that_are_gone_leave_room_for_those_that_come() {
    let origin = origin(Arc::default()).await;
    let proxy = Proxy::start_with(|settings, _| {
        settings.workers = Some(1);
        settings.limits.upstream_idle_connections = 2;
    })
    .await;
    let table = TableBuilder::serving(1, [origin.endpoint()]);
    proxy.put_ready(&table.adjust("web", |pool| pool.proxy_protocol = Some(ProxyProtocol::V1))).await;
    for _ in 0..5 {
        proxy.get("/").await;
    }
    let mut last = proxy.client().await;
    let first = last.get("/").await;
    assert_eq!(last.get("/").await.text(), first.text());
}

#[tokio::test]
async fn exchanges_over_http2_are_kept_apart_too() {
    let saids: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let memory = Arc::clone(&saids);
    let origin = Origin::start(move |mut stream, _| {
        let saids = Arc::clone(&memory);
        async move {
            let Some(said) = header(&mut stream).await else { return };
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                saids.lock().unwrap().push(said.clone());
                respond.send_response(http::Response::new(()), true).unwrap();
            }
        }
    })
    .await;
    let proxy = one_worker().await;
    let table = TableBuilder::serving(1, [origin.endpoint()]).adjust("web", |pool| {
        pool.protocol = Protocol::H2c;
        pool.proxy_protocol = Some(ProxyProtocol::V2);
    });
    proxy.put_ready(&table).await;
    let (one, two) = (Http2::connect(proxy.address).await, Http2::connect(proxy.address).await);
    for client in [&one, &two, &one, &two] {
        assert_eq!(client.ask(request("GET", "/")).await.unwrap().status, 200);
    }
    let saids = saids.lock().unwrap();
    assert_eq!((&saids[0], &saids[1]), (&saids[2], &saids[3]));
    assert_ne!(saids[0], saids[1]);
}

#[tokio::test]
async fn it_is_said_before_the_handshake() {
    let authority = Authority::new("ours");
    let setup = Setup { announced: true, ..Setup::new(authority.issue(&["web.internal"])) };
    let app = SecureApp::start("secure", setup).await;
    let proxy = one_worker().await;
    let table = TableBuilder::serving(1, [app.endpoint()]).ca("own", &authority.pem).adjust("web", |pool| {
        let (ca, server_name) = (Some("own".into()), Some("web.internal".into()));
        pool.tls = Some(UpstreamTls { ca, server_name, ..UpstreamTls::default() });
        pool.proxy_protocol = Some(ProxyProtocol::V1);
    });
    proxy.put_ready(&table).await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.text(), "secure");
    let port = client.stream.get_ref().local_addr().unwrap().port();
    until("it was said", async || app.seen.announced.lock().unwrap().contains(&port.to_string())).await;
}
