//! Entry points, what arrives there, and closing direct access.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pando_api::v1::balancers::{EntryRole, LockdownRequest};
use pando_api::v1::cluster::SettingsChange;
use pando_api::{ClientError, ErrorCode};
use pando_control::store::{Key, Txn};
use pando_model::id::ServerId;
use pando_model::name::RoleName;
use pando_model::observed::ProxyStatus;
use pando_model::time::Millis;
use pando_routing::{PoolId, PoolStats, ProxyStats};

use crate::cluster::{Cluster, id, spec};

fn balancer() -> ServerId {
    ServerId::from_uuid(id(2))
}

/// `main` serves directly, `lb-1` balances.
async fn cluster() -> Cluster {
    let cluster = Cluster::in_memory().await;
    cluster.add_server("lb-1", balancer(), SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let servers = cluster.state().await.world.servers;
    for (server, role) in [(cluster.server, RoleName::web()), (balancer(), RoleName::lb())] {
        let mut server = servers[&server].clone();
        server.roles = [role].into();
        cluster.write(Txn::new().put(Key::ServerSpec(server.id), &server).unwrap()).await;
    }
    cluster.deploy(spec("hits")).await;
    alive(&cluster, &[cluster.server, balancer()], &[]);
    cluster
}

fn alive(cluster: &Cluster, servers: &[ServerId], busy: &[ServerId]) {
    cluster.hear(servers, |report| {
        let in_flight =
            if busy.contains(&report.server) { [(instance(), 2)].into() } else { BTreeMap::new() };
        report.proxy = Some(ProxyStatus { alive: true, in_flight, ..ProxyStatus::default() });
    });
}

fn instance() -> pando_model::InstanceId {
    pando_model::InstanceId::from_uuid(id(77))
}

/// Counters as they were so many seconds ago.
fn counted(cluster: &Cluster, server: ServerId, requests: u64, unmatched: u64, seconds_ago: u64) {
    let pool = PoolStats { requests, ..PoolStats::default() };
    let stats = ProxyStats {
        boot: id(6),
        sequence: requests + unmatched,
        hosts_without_certificate: Vec::new(),
        endpoints: Default::default(),
        version: None,
        secrets: Default::default(),
        not_in_rotation: Default::default(),
        in_flight: Default::default(),
        pools: [(PoolId("hits/web".to_owned()), pool)].into(),
        unmatched,
        ejected: Vec::new(),
        why_out: BTreeMap::new(),
    };
    cluster.shared.traffic.record(server, &stats, cluster.now() - Millis::from_secs(seconds_ago));
}

async fn refusal(cluster: &Cluster) -> pando_api::ErrorBody {
    let error = cluster.client.lockdown(&LockdownRequest::default()).await.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    let ClientError::Refused(body) = error else { panic!("{error}") };
    body
}

#[tokio::test]
async fn each_entry_point_tells_what_arrives() {
    let cluster = cluster().await;
    counted(&cluster, cluster.server, 100, 3, 700);
    counted(&cluster, cluster.server, 130, 3, 300);
    counted(&cluster, cluster.server, 130, 3, 70);
    counted(&cluster, cluster.server, 137, 5, 20);
    let list = cluster.client.balancers().await.unwrap();
    let roles: Vec<_> = list.entry_points.iter().map(|entry| (entry.name.as_str(), entry.role)).collect();
    assert_eq!(roles, [("lb-1", EntryRole::Balancer), ("main", EntryRole::Direct)]);
    let counts = list.entry_points[1].requests;
    assert_eq!(
        (counts.last_minute, counts.last_ten_minutes, counts.total, counts.unmatched),
        (7, 37, 137, 5)
    );
    assert!(list.entry_points.iter().all(|entry| entry.is_working()), "{list:?}");
    let domains: Vec<&str> = list.domains.iter().map(|it| it.domain.as_str()).collect();
    assert_eq!(domains, ["hits.example.com"]);
}

#[tokio::test]
async fn direct_access_is_not_closed_while_it_is_used() {
    let cluster = cluster().await;
    counted(&cluster, cluster.server, 100, 0, 300);
    counted(&cluster, cluster.server, 107, 0, 20);
    let body = refusal(&cluster).await;
    assert_eq!(
        (body.code, body.details),
        (ErrorCode::Harmful, vec!["main: 7 in the last minute".to_owned()])
    );
    // The other door to the same setting asks the same.
    let change = SettingsChange { lockdown: Some(true), ..SettingsChange::default() };
    assert_eq!(cluster.client.change_settings(&change).await.unwrap_err().exit_code(), 4);
    assert!(!cluster.client.settings().await.unwrap().lockdown);

    let forced = cluster.client.lockdown(&LockdownRequest { force: true }).await.unwrap();
    assert!(forced.lockdown && forced.entry_points.len() == 1, "{forced:?}");
    let open = cluster.client.unlock().await.unwrap();
    assert!(!open.lockdown && open.entry_points.len() == 2, "{open:?}");
}

#[tokio::test]
async fn an_open_websocket_holds_up_a_lockdown_and_noise_does_not() {
    let cluster = cluster().await;
    counted(&cluster, cluster.server, 100, 0, 300);
    // Scanners of the whole internet ask for hosts that nobody has.
    counted(&cluster, cluster.server, 100, 50, 10);
    alive(&cluster, &[cluster.server, balancer()], &[cluster.server]);
    assert_eq!(refusal(&cluster).await.details, ["main: 2 under way"]);
    alive(&cluster, &[cluster.server, balancer()], &[]);
    assert!(cluster.client.lockdown(&LockdownRequest::default()).await.unwrap().lockdown);
}

#[tokio::test]
async fn a_short_look_is_no_proof_of_silence() {
    let cluster = cluster().await;
    counted(&cluster, cluster.server, 100, 0, 15);
    let body = refusal(&cluster).await;
    assert_eq!(body.code, ErrorCode::Busy);
    assert!(body.message.contains("ask again in 4"), "{body}");
}

#[tokio::test]
async fn without_a_working_balancer_nothing_is_closed() {
    let cluster = cluster().await;
    counted(&cluster, cluster.server, 100, 0, 300);
    alive(&cluster, &[cluster.server], &[]);
    assert_eq!(refusal(&cluster).await.details, ["lb-1: the server is not alive"]);
    cluster.hear(&[cluster.server, balancer()], |_| {});
    assert_eq!(refusal(&cluster).await.details, ["lb-1: its load balancer does not run"]);
}
