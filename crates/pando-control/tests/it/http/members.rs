//! The API by TLS: people by token, servers by certificate, and what an expired or a foreign one is good for.

use std::time::Duration;

use pando_api::auth::Scope;
use pando_api::client::Client;
use pando_api::v1::agents::{CertificateRequest, RelayedReport, ReportBody, TargetQuery};
use pando_api::{ClientError, ErrorCode};
use pando_control::http::Limits;
use pando_control::store::{Key, Txn};
use pando_control::trust::Trust;
use pando_model::id::ServerId;
use pando_rt::clock::Clock;
use pando_trust::tls::{client_config, pinned_config};
use pando_trust::{LiveIdentity, PendingIdentity, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cluster::{Cluster, PATIENCE, id, report};

const DAY: i64 = 86_400_000;

fn body(server: ServerId) -> ReportBody {
    ReportBody { report: report(server, 1), traffic: None, relayed: Vec::new(), news: Vec::new() }
}

async fn remove(cluster: &Cluster, server: ServerId) {
    cluster.write(Txn::new().delete(Key::ServerSpec(server))).await;
}

#[tokio::test]
async fn people_come_with_a_token_and_servers_with_a_certificate() {
    let (cluster, _) = Cluster::secured().await;
    cluster.client.status().await.unwrap();
    let nobody = Client::new(&cluster.url(), None).unwrap();
    nobody.version().await.unwrap();
    assert_eq!(nobody.status().await.unwrap_err().code(), Some(ErrorCode::Unauthorized));

    let agent = cluster.member(cluster.identity(cluster.server));
    agent.target(cluster.server, &TargetQuery::default()).await.unwrap();
    // It speaks for itself alone, and is no person.
    let other = ServerId::from_uuid(id(2));
    for refused in
        [agent.target(other, &TargetQuery::default()).await.unwrap_err(), agent.status().await.unwrap_err()]
    {
        assert_eq!(refused.code(), Some(ErrorCode::Forbidden), "{refused}");
    }
}

#[tokio::test]
async fn who_is_no_server_of_the_cluster_has_no_voice() {
    let (mut cluster, _) = Cluster::secured().await;
    let other = ServerId::from_uuid(id(2));
    let stranger = cluster.member(cluster.identity(other));
    let error = stranger.report(other, &body(other)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized), "{error}");
    assert!(error.to_string().contains("no longer, a server of this cluster"), "{error}");

    // Removed while its connection lives.
    let agent = cluster.member(cluster.identity(cluster.server));
    agent.report(cluster.server, &body(cluster.server)).await.unwrap();
    assert!(cluster.reports.recv().await.is_some());
    remove(&cluster, cluster.server).await;
    let error = agent.report(cluster.server, &body(cluster.server)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized), "{error}");
    assert!(cluster.reports.try_recv().is_err());
}

#[tokio::test]
async fn the_control_planes_own_certificate_opens_nothing() {
    let (cluster, _) = Cluster::secured().await;
    let own = cluster.member((*cluster.shared.trust.identity().current()).clone());
    let error = own.target(cluster.server, &TargetQuery::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_good_for_its_renewal_alone() {
    let (cluster, clock) = Cluster::secured().await;
    let server = cluster.server;
    let live = LiveIdentity::new(cluster.identity(server));
    let config = client_config(&live, Subject::Control, &Clock::system()).unwrap();
    let agent = Client::with_tls(&cluster.address.to_string(), None, config);
    agent.report(server, &body(server)).await.unwrap();
    clock.advance(17 * DAY);
    // On the living connection already.
    let error = agent.report(server, &body(server)).await.unwrap_err();
    assert!(error.to_string().contains("its renewal alone"), "{error}");
    let pending = PendingIdentity::make().unwrap();
    let request = CertificateRequest { request: pending.request().unwrap() };
    let error = agent.renew_certificate(ServerId::from_uuid(id(2)), &request).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden));
    let issued = agent.renew_certificate(server, &request).await.unwrap();
    assert_eq!(issued.authority, *cluster.shared.trust.anchor());
    let renewed = pending.certified(&issued.certificate, issued.authority, cluster.now()).unwrap();
    assert!(live.swap(renewed));
    agent.report(server, &body(server)).await.unwrap();

    // A removed server gets none, expired or not.
    remove(&cluster, server).await;
    let again = CertificateRequest { request: PendingIdentity::make().unwrap().request().unwrap() };
    let error = agent.renew_certificate(server, &again).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized));
}

#[tokio::test]
async fn a_certificate_that_is_too_old_ends_the_handshake() {
    let (cluster, clock) = Cluster::secured().await;
    let identity = cluster.identity(cluster.server);
    clock.advance(98 * DAY);
    let error = cluster.member(identity).target(cluster.server, &TargetQuery::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotMember { .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_that_is_none_is_refused() {
    let (cluster, _) = Cluster::secured().await;
    let agent = cluster.member(cluster.identity(cluster.server));
    let odd = CertificateRequest { request: "please".to_owned() };
    let error = agent.renew_certificate(cluster.server, &odd).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid), "{error}");
}

#[tokio::test]
async fn relayed_reports_are_taken_as_their_authors_own() {
    let (mut cluster, clock) = Cluster::secured().await;
    let (server, cut_off) = (cluster.server, ServerId::from_uuid(id(2)));
    cluster.add_server("two", cut_off, ([127, 0, 0, 1], 10).into()).await;
    let stranger = ServerId::from_uuid(id(3));
    let expired = RelayedReport::sign(body(cut_off), &cluster.identity(cut_off)).unwrap();
    clock.advance(10 * DAY);
    let sign = |of, by| RelayedReport::sign(body(of), &cluster.identity(by)).unwrap();
    let good = sign(cut_off, cut_off);
    let mut damaged = good.clone();
    damaged.body = damaged.body.replace("\"sequence\":1", "\"sequence\":9");
    let relayed = vec![damaged, sign(cut_off, server), sign(stranger, stranger), expired, good];
    let agent = cluster.member(cluster.identity(server));
    agent.report(server, &ReportBody { relayed, ..body(server) }).await.unwrap();
    for author in [cut_off, server] {
        let incoming = tokio::time::timeout(PATIENCE, cluster.reports.recv()).await.unwrap().unwrap();
        assert_eq!(incoming.report, report(author, 1));
    }
    assert!(cluster.reports.try_recv().is_err());

    let many = vec![RelayedReport::sign(body(cut_off), &cluster.identity(cut_off)).unwrap(); 257];
    let error = agent.report(server, &ReportBody { relayed: many, ..body(server) }).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid));
}

/// The store's authority is what a later start serves with.
#[tokio::test]
async fn a_restart_is_the_same_cluster() {
    let (cluster, clock) = Cluster::secured().await;
    let again = Trust::open(&*cluster.shared.store, cluster.vault(), "main", &clock).await.unwrap();
    assert_eq!(again.fingerprint(), cluster.shared.trust.fingerprint());
    let admin = cluster.client_with(Scope::Admin).await;
    admin.status().await.unwrap();
}

/// A certificate that was renewed is seen soon, since connections don't last.
#[tokio::test]
async fn a_connection_ends_with_an_answer_after_its_life() {
    let connection_life = Duration::from_millis(50);
    let cluster = Cluster::within(Limits { connection_life, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    let until_closed = async {
        loop {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"ok\n") {
                answer.push(stream.read_u8().await.unwrap());
            }
            if String::from_utf8(answer).unwrap().contains("connection: close") {
                return stream.read_u8().await.unwrap_err();
            }
        }
    };
    let end = tokio::time::timeout(PATIENCE, until_closed).await.unwrap();
    assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof);
    // Callers do not notice.
    let until = std::time::Instant::now() + 6 * connection_life;
    while std::time::Instant::now() < until {
        cluster.client.health().await.unwrap();
    }
}

/// A server that was removed, above all, would be connected for ever, and a firewall that spares connections held up.
#[tokio::test]
async fn who_is_not_let_in_is_not_kept() {
    let cluster = Cluster::within(Limits::default()).await;
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_kept_while_it_is_young() {
    let (cluster, _) = Cluster::secured().await;
    let config = pinned_config(cluster.shared.trust.fingerprint(), &Clock::system()).unwrap();
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let mut stream =
        TlsConnector::from(config).connect(Subject::Control.server_name(), stream).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(!String::from_utf8(answer).unwrap().contains("close"));
    }
}

#[tokio::test]
async fn who_does_not_shake_hands_is_left() {
    let head_within = Duration::from_millis(50);
    let cluster = Cluster::secured_within(Limits { head_within, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    let mut said = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap().unwrap();
    assert!(said.is_empty(), "{said:?}");
}
