//! The API by TLS: people by token, servers by certificate, and what an expired or a foreign one is good for.

use pando_api::auth::Scope;
use pando_api::client::Client;
use pando_api::v1::agents::{CertificateRequest, RelayedReport, ReportBody, TargetQuery};
use pando_api::v1::logs::AppLogQuery;
use pando_api::{ClientError, ErrorCode};
use pando_control::store::{Key, Txn};
use pando_control::trust::Trust;
use pando_model::id::ServerId;
use pando_rt::clock::Clock;
use pando_trust::PendingIdentity;

use crate::cluster::{Cluster, PATIENCE, id, report};

const DAY: i64 = 86_400_000;

fn body(server: ServerId) -> ReportBody {
    ReportBody { report: report(server, 1), traffic: None, relayed: Vec::new() }
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
    let agent = cluster.member(cluster.identity(server));
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
    cluster.member(renewed).report(server, &body(server)).await.unwrap();

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
    let agent = cluster.member(cluster.identity(server));
    let expired = RelayedReport::sign(body(cut_off), &cluster.identity(cut_off)).unwrap();
    clock.advance(10 * DAY);
    let sign = |of, by| RelayedReport::sign(body(of), &cluster.identity(by)).unwrap();
    let good = sign(cut_off, cut_off);
    let mut damaged = good.clone();
    damaged.body = damaged.body.replace("\"sequence\":1", "\"sequence\":9");
    let relayed = vec![damaged, sign(cut_off, server), sign(stranger, stranger), expired, good];
    // The carrier's certificate has expired as well by now: it is renewed first.
    drop(agent);
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
    let again = Trust::open(&*cluster.shared.store, "main", &clock).await.unwrap();
    assert_eq!(again.fingerprint(), cluster.shared.trust.fingerprint());
    let admin = cluster.client_with(Scope::Admin).await;
    admin.status().await.unwrap();
}

mod agents {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use pando_trust::tls::{Callers, accept, server_config};
    use pando_trust::{LiveIdentity, Subject};

    use super::*;
    use crate::cluster::{app, spec};

    /// An agent's API as another crate serves it: mutual TLS, the control plane alone.
    async fn serve(identity: pando_trust::Identity) -> std::net::SocketAddr {
        let control = Callers::Known(Arc::new(|peer| peer.subject == Subject::Control));
        let config = server_config(&LiveIdentity::new(identity), control, &Clock::system()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = serde_json::json!({
            "time": "2026-01-01T00:00:00Z", "source": "web-1", "stream": "stdout", "text": "by certificate"
        });
        let app = Router::new().route("/v1/logs", get(move || async move { format!("{line}\n") }));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = accept(stream, &config, Duration::from_secs(10)).await else { continue };
                let service = TowerToHyperService::new(app.clone());
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }

    async fn lines(cluster: &Cluster) -> Vec<String> {
        use futures_util::TryStreamExt;
        let lines = cluster.client.logs(&app("hits"), &AppLogQuery::default()).await.unwrap();
        lines.map_ok(|line| line.text).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn agents_are_reached_as_the_control_plane_and_by_their_ids() {
        let (cluster, _) = Cluster::secured().await;
        cluster.deploy(spec("hits")).await;
        let address = serve(cluster.identity(cluster.server)).await;
        cluster.add_server("main", cluster.server, address).await;
        assert_eq!(lines(&cluster).await, ["by certificate"]);
        // Another server answers at the address.
        let address = serve(cluster.identity(ServerId::from_uuid(id(2)))).await;
        cluster.add_server("main", cluster.server, address).await;
        let said = lines(&cluster).await;
        assert!(said.len() == 1 && said[0].starts_with("the logs of main can't be read"), "{said:?}");
    }
}
