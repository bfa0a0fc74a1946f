//! An agent's side: targets as they are published, reports as they come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pando_api::ErrorCode;
use pando_api::auth::Scope;
use pando_api::v1::agents::{ReportBody, TargetQuery};
use pando_api::v1::traffic::TrafficQuery;
use pando_control::shared::Published;
use pando_control::store::{Key, Txn};
use pando_model::assignment::{Assignment, Entry};
use pando_model::id::{ServerId, Version};
use pando_routing::{PoolId, PoolStats, ProxyStats, SecretMark, Secrets, Table, TableVersion, TicketKey};
use pando_trust::{Kind, Signed};

use crate::cluster::{Cluster, PATIENCE, app, id, report};

fn assignment(cluster: &Cluster, server: ServerId, revision: u64) -> Arc<Signed<Assignment>> {
    let assignment = Assignment { version: Version::new(1, revision), ..Assignment::empty(server) };
    Arc::new(cluster.shared.trust.sign(Kind::Assignment, assignment).unwrap())
}

fn table(cluster: &Cluster, revision: u64) -> Arc<Signed<Table>> {
    let table = Table { version: TableVersion { epoch: 1, revision }, ..Table::default() };
    Arc::new(cluster.shared.trust.sign(Kind::Table, table).unwrap())
}

#[tokio::test]
async fn a_target_comes_as_soon_as_it_is_newer() {
    let cluster = Cluster::in_memory().await;
    let agent = cluster.client_with(Scope::Agent { server: cluster.server }).await;
    let mut have = TargetQuery { wait_millis: 0, ..TargetQuery::default() };
    let nothing = agent.target(cluster.server, &have).await.unwrap();
    assert_eq!((nothing.assignment, nothing.table), (None, None));

    have.wait_millis = 30_000;
    let server = cluster.server;
    let asked = tokio::spawn({
        let agent = agent.clone();
        async move { agent.target(server, &have).await.unwrap() }
    });
    // Somebody else's assignment is none of its business.
    let other = ServerId::from_uuid(id(2));
    let assignments = [(other, assignment(&cluster, other, 3))].into();
    cluster.shared.published.send_replace(Arc::new(Published { assignments, ..Published::default() }));
    let assignments =
        [(other, assignment(&cluster, other, 3)), (server, assignment(&cluster, server, 4))].into();
    let table = Some(table(&cluster, 7));
    cluster.shared.published.send_replace(Arc::new(Published { assignments, table, secrets: None }));
    let target = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
    // The poll may have begun before or after the second publication; it has the assignment in both cases.
    let key = cluster.shared.trust.anchor().signing_key();
    let assignment: Assignment = target.assignment.unwrap().verify(key, Kind::Assignment).unwrap();
    let table: Table = target.table.unwrap().verify(key, Kind::Table).unwrap();
    assert_eq!((assignment.version, table.version.revision), (Version::new(1, 4), 7));

    let have = TargetQuery {
        assignment_epoch: 1,
        assignment_revision: 4,
        table_epoch: 1,
        table_revision: 6,
        wait_millis: 0,
        ..TargetQuery::default()
    };
    let target = agent.target(server, &have).await.unwrap();
    assert!(target.assignment.is_none() && target.table.is_some());
}

/// A worker and an entry point, the table 1.7 and the secret part that it goes with.
fn publish_secrets(cluster: &Cluster, worker: ServerId, entry: ServerId) {
    let mark = SecretMark("m".to_owned());
    let secrets = Secrets { mark: mark.clone(), ticket_keys: vec![KEY], ..Secrets::default() };
    let of = |server, entry| {
        let assignment = Assignment { version: Version::new(1, 4), entry, ..Assignment::empty(server) };
        (server, Arc::new(cluster.shared.trust.sign(Kind::Assignment, assignment).unwrap()))
    };
    let table = Table { version: TableVersion { epoch: 1, revision: 7 }, ..Table::default() }.marked(mark);
    cluster.shared.published.send_replace(Arc::new(Published {
        assignments: [of(worker, None), of(entry, Some(Entry { prefer_local: false }))].into(),
        table: Some(Arc::new(cluster.shared.trust.sign(Kind::Table, table).unwrap())),
        secrets: Some(Arc::new(cluster.shared.trust.sign(Kind::Secrets, secrets).unwrap())),
    }));
}

const KEY: TicketKey = TicketKey([0xab; 32]);

#[tokio::test]
async fn keys_go_to_entry_points_alone_and_only_when_they_lack_them() {
    let cluster = Cluster::in_memory().await;
    let (entry, worker) = (cluster.server, ServerId::from_uuid(id(2)));
    cluster.add_server("worker", worker, "10.0.0.2:7421".parse().unwrap()).await;
    publish_secrets(&cluster, worker, entry);
    let target = async |server: ServerId, have: TargetQuery| {
        let agent = cluster.client_with(Scope::Agent { server }).await;
        agent.target(server, &have).await.unwrap()
    };
    let key = cluster.shared.trust.anchor().signing_key();
    let given = target(entry, TargetQuery::default()).await;
    let secrets: Secrets = given.secrets.unwrap().verify(key, Kind::Secrets).unwrap();
    let table: Table = given.table.unwrap().verify(key, Kind::Table).unwrap();
    assert_eq!((&secrets.ticket_keys, &secrets.mark), (&vec![KEY], &table.secret.mark));
    // The identity of who asks decides. What it says that it has opens nothing.
    for mark in ["", "m", "of before"] {
        let have = TargetQuery { secrets: SecretMark(mark.to_owned()), ..TargetQuery::default() };
        let told = target(worker, have).await;
        assert!(told.table.is_some() && told.assignment.is_some() && told.secrets.is_none());
        assert!(!serde_json::to_string(&told).unwrap().contains(&"ab".repeat(32)));
    }
    let agent = cluster.client_with(Scope::Agent { server: worker }).await;
    let error = agent.target(entry, &TargetQuery::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden));
    // Nothing is given twice, nor to who has a newer table than there is here.
    let at = |revision: u64, mark: &str| TargetQuery {
        assignment_epoch: u64::MAX,
        table_epoch: 1,
        table_revision: revision,
        secrets: SecretMark(mark.to_owned()),
        ..TargetQuery::default()
    };
    for (have, given) in [(at(7, "m"), false), (at(7, "l"), true), (at(7, ""), true), (at(8, "n"), false)] {
        let told = target(entry, have).await;
        assert_eq!((told.secrets.is_some(), told.table.is_some()), (given, false));
    }
}

#[tokio::test]
async fn the_poll_of_a_server_that_is_removed_ends_with_the_next_publication() {
    let cluster = Cluster::in_memory().await;
    let server = cluster.server;
    let agent = cluster.client_with(Scope::Agent { server }).await;
    let have = TargetQuery { wait_millis: 30_000, ..TargetQuery::default() };
    let asked = tokio::spawn(async move { agent.target(server, &have).await });
    cluster.write(Txn::new().delete(Key::ServerSpec(server))).await;
    let published = async {
        while !asked.is_finished() {
            // The poll may not have begun yet.
            cluster.shared.published.send_replace(Arc::default());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, published).await.unwrap();
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized), "{error}");
}

#[tokio::test]
async fn a_poll_without_news_ends_when_its_wait_is_over() {
    let cluster = Cluster::in_memory().await;
    let agent = cluster.client_with(Scope::Agent { server: cluster.server }).await;
    let start = Instant::now();
    let have = TargetQuery { wait_millis: 200, ..TargetQuery::default() };
    assert!(agent.target(cluster.server, &have).await.unwrap().table.is_none());
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn reports_reach_the_loop_and_counters_the_memory() {
    let mut cluster = Cluster::in_memory().await;
    let server = cluster.server;
    let agent = cluster.client_with(Scope::Agent { server }).await;
    let stats = PoolStats { requests: 42, ..PoolStats::default() };
    let traffic = ProxyStats {
        boot: id(6),
        sequence: 1,
        version: None,
        secrets: Default::default(),
        not_in_rotation: Default::default(),
        in_flight: Default::default(),
        pools: [(PoolId("hits/web".to_owned()), stats)].into(),
        unmatched: 0,
        hosts_without_certificate: Vec::new(),
        endpoints: Default::default(),
        ejected: Vec::new(),
        why_out: Default::default(),
    };
    agent
        .report(
            server,
            &ReportBody {
                report: report(server, 1),
                traffic: Some(traffic),
                relayed: Vec::new(),
                news: Vec::new(),
            },
        )
        .await
        .unwrap();
    let incoming = tokio::time::timeout(PATIENCE, cluster.reports.recv()).await.unwrap().unwrap();
    assert_eq!(incoming.report, report(server, 1));
    assert!(cluster.now().since(incoming.received_at).0 < 20_000);

    let query = TrafficQuery { app: Some(app("hits")) };
    let seen = cluster.client.traffic(&query).await.unwrap();
    assert_eq!(seen.proxies[0].server_name.as_str(), "main");
    assert_eq!(seen.proxies[0].pools["hits/web"].requests, 42);
    let others = cluster.client.traffic(&TrafficQuery { app: Some(app("shop")) }).await.unwrap();
    assert!(others.proxies[0].pools.is_empty());
}

#[tokio::test]
async fn a_report_in_somebody_elses_name_is_refused() {
    let cluster = Cluster::in_memory().await;
    let server = cluster.server;
    let agent = cluster.client_with(Scope::Agent { server }).await;
    let other = ServerId::from_uuid(id(2));
    let body = ReportBody { report: report(other, 1), traffic: None, relayed: Vec::new(), news: Vec::new() };
    let error = agent.report(server, &body).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid));
    let error = agent.report(other, &body).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden));
}

#[tokio::test]
async fn a_loop_that_does_not_keep_up_makes_reports_wait_then_says_so() {
    let mut cluster = Cluster::in_memory().await;
    let server = cluster.server;
    let agent = cluster.client_with(Scope::Agent { server }).await;
    // As when the loop has ended: nobody will ever take a report again.
    cluster.reports.close();
    let error = agent
        .report(
            server,
            &ReportBody { report: report(server, 1), traffic: None, relayed: Vec::new(), news: Vec::new() },
        )
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Unavailable), 3));
}
