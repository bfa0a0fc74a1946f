//! What nothing needs, by the API: servers that can't be asked are named, and what an agent did by itself is an event.

use std::fs::File;
use std::time::{Duration, SystemTime};

use pando_api::ErrorCode;
use pando_api::auth::Scope;
use pando_api::v1::agents::ReportBody;
use pando_api::v1::events::EventQuery;
use pando_api::v1::prune::PruneQuery;

use crate::cluster::{Cluster, report};

async fn events(cluster: &Cluster) -> Vec<String> {
    let page = cluster.client.events(&EventQuery::default()).await.unwrap();
    page.events.into_iter().map(|event| event.text).collect()
}

#[tokio::test]
async fn a_server_that_can_t_be_asked_is_named_and_the_store_is_pruned() {
    let cluster = Cluster::on_disk().await;
    let directory = &cluster.shared.settings.artifact_dir;
    std::fs::create_dir_all(directory).unwrap();
    let path = directory.join(format!("{}.tar.gz", "a".repeat(64)));
    std::fs::write(&path, vec![1; 20_000]).unwrap();
    let old = SystemTime::now() - Duration::from_secs(7200);
    File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();

    let shown = cluster.client.prunable(&PruneQuery::default()).await.unwrap();
    let store = shown.control.as_ref().unwrap();
    assert_eq!((shown.removed, store.count, shown.bytes), (false, 1, store.bytes));
    assert!(path.exists() && shown.bytes >= 20_000);
    assert_eq!(shown.servers.len(), 1);
    assert!(shown.servers[0].pruning.is_none() && shown.servers[0].unreachable.is_some(), "{shown:?}");

    let gone = cluster.client.prune(&PruneQuery::default()).await.unwrap();
    assert_eq!((gone.removed, gone.bytes, path.exists()), (true, shown.bytes, false));
    let told = events(&cluster).await;
    let words = "what nothing needed was removed, says tester: ";
    assert!(
        told.iter().any(|text| text.starts_with(words) && text.ends_with("the control plane's store")),
        "{told:?}"
    );
}

#[tokio::test]
async fn one_server_is_asked_alone() {
    let cluster = Cluster::on_disk().await;
    let nowhere = PruneQuery { server: Some("nowhere".parse().unwrap()) };
    let error = cluster.client.prune(&nowhere).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
    let all = cluster.client.prunable(&PruneQuery::default()).await.unwrap();
    let one = PruneQuery { server: Some(all.servers[0].name.clone()) };
    let answer = cluster.client.prunable(&one).await.unwrap();
    assert_eq!((answer.servers.len(), answer.control), (1, None));
}

#[tokio::test]
async fn what_an_agent_did_by_itself_is_an_event_and_no_flood() {
    let cluster = Cluster::on_disk().await;
    let news = (0..100).map(|number| format!("{number} MB freed")).collect();
    let body = ReportBody { report: report(cluster.server, 1), traffic: None, relayed: Vec::new(), news };
    let agent = cluster.client_with(Scope::Agent { server: cluster.server }).await;
    agent.report(cluster.server, &body).await.unwrap();
    let told = events(&cluster).await;
    assert_eq!(told.iter().filter(|text| text.ends_with("MB freed")).count(), 16, "{told:?}");
    assert!(told.iter().any(|text| text.ends_with(": 15 MB freed")), "{told:?}");
}
