//! The client over TLS against real sockets: whom it believes, and what it says otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use pando_model::id::Entropy;
use pando_model::time::{Millis, Timestamp};
use pando_rt::clock::Clock;
use pando_trust::tls::{Callers, accept, client_config, server_config};
use pando_trust::{Authority, Identity, LiveIdentity, PendingIdentity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const DAY: u64 = 86_400;

fn now() -> Timestamp {
    Timestamp::from_millis(Clock::system().now_millis())
}

fn server(seed: u64) -> ServerId {
    ServerId::new(Timestamp::from_millis(1), &mut Entropy::from_seed(seed))
}

fn identity(authority: &Authority, subject: Subject) -> Identity {
    let pending = PendingIdentity::make().unwrap();
    let pem = authority.issue(&pending.request().unwrap(), subject, now()).unwrap();
    pending.certified(&pem, authority.anchor().clone(), now()).unwrap()
}

/// Answers `ok` to everything over TLS until the test ends.
async fn answering(identity: Identity, callers: Callers) -> SocketAddr {
    let config = server_config(&LiveIdentity::new(identity), callers, &Clock::system()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = accept(stream, &config, Duration::from_secs(10)).await else { continue };
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from("ok"))))
            });
            let io = TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    address
}

fn pinned(address: SocketAddr, authority: &Authority) -> Client {
    Client::new(&format!("https://{address}#sha256:{}", authority.fingerprint()), None).unwrap()
}

fn authority() -> Authority {
    Authority::make("main", now()).unwrap()
}

#[tokio::test]
async fn a_pinned_cluster_is_reached_and_no_other() {
    let (ours, other) = (authority(), authority());
    let address = answering(ours.control_identity(now()).unwrap(), Callers::Anyone).await;
    let client = pinned(address, &ours);
    client.health().await.unwrap();
    assert_eq!(client.url(), format!("https://{address}"));
    let error = pinned(address, &other).health().await.unwrap_err();
    assert!(matches!(error, ClientError::OtherCluster { .. }), "{error:?}");
    assert!(error.to_string().contains("is not the cluster that you know"), "{error}");
    assert!(!error.is_absence() && error.exit_code() == 3);
    // An agent of the right cluster is not its control plane.
    let agent = answering(identity(&ours, Subject::Server(server(1))), Callers::Anyone).await;
    let error = pinned(agent, &ours).health().await.unwrap_err();
    assert!(matches!(error, ClientError::OtherCluster { .. }), "{error:?}");
}

#[tokio::test]
async fn a_member_shows_its_certificate_and_learns_when_it_is_not_taken() {
    let (ours, other) = (authority(), authority());
    let known = Callers::Known(Arc::new(|peer| peer.subject == Subject::Server(server(1))));
    let address = answering(ours.control_identity(now()).unwrap(), known).await;
    let client = |authority: &Authority, seed| {
        let live = LiveIdentity::new(identity(authority, Subject::Server(server(seed))));
        let config = client_config(&live, Subject::Control, &Clock::system()).unwrap();
        Client::with_tls(&address.to_string(), None, config)
    };
    client(&ours, 1).health().await.unwrap();
    let error = client(&ours, 2).health().await.unwrap_err();
    assert!(matches!(error, ClientError::NotMember { .. }), "{error:?}");
    let error = client(&other, 1).health().await.unwrap_err();
    assert!(matches!(error, ClientError::OtherCluster { .. }), "{error:?}");
    // Without any.
    let error = pinned(address, &ours).health().await.unwrap_err();
    assert!(matches!(error, ClientError::NotMember { .. }), "{error:?}");
}

#[tokio::test]
async fn an_agent_is_who_it_was_meant_to_be() {
    let ours = authority();
    let address = answering(identity(&ours, Subject::Server(server(1))), Callers::Anyone).await;
    let control = LiveIdentity::new(ours.control_identity(now()).unwrap());
    let client = |seed| {
        let config = client_config(&control, Subject::Server(server(seed)), &Clock::system()).unwrap();
        AgentClient::with_tls(address, server(seed), config)
    };
    assert!(client(1).logs(&Default::default()).await.is_ok());
    let error = client(2).logs(&Default::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::OtherCluster { .. }), "{error:?}");
}

#[tokio::test]
async fn certificates_far_out_of_their_time_are_told() {
    let ours = authority();
    for (age, reached) in [(17, true), (96, true), (98, false)] {
        let then = now() - Millis::from_secs(age * DAY);
        let address = answering(ours.control_identity(then).unwrap(), Callers::Anyone).await;
        let health = pinned(address, &ours).health().await;
        assert_eq!(health.is_ok(), reached, "{age}: {health:?}");
        assert!(reached || matches!(health, Err(ClientError::OutOfTime { .. })));
    }
}

#[tokio::test]
async fn plain_and_tls_are_told_apart() {
    let ours = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let error = pinned(plain, &ours).health().await.unwrap_err();
    assert!(matches!(error, ClientError::NotTls { .. }), "{error:?}");
    let tls = answering(ours.control_identity(now()).unwrap(), Callers::Anyone).await;
    let error = Client::new(&format!("http://{tls}"), None).unwrap().health().await.unwrap_err();
    assert!(matches!(error, ClientError::NotHttp { .. }), "{error:?}");
    assert!(error.to_string().contains("begins with https://"));
}

#[tokio::test]
async fn nobody_there_is_absence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = pinned(address, &authority()).health().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }) && error.is_absence(), "{error:?}");
}
