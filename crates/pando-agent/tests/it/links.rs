//! What goes between control, agent and proxy, and how fast.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use pando_model::id::Version;
use pando_model::observed::InstanceState;
use pando_routing::{Endpoint, EndpointId, EndpointState, Pool, PoolId, Table, TableVersion};
use uuid::Uuid;

use crate::bench::{Bench, DEADLINE, instance_id, is, listening, run, until};

/// A table with one endpoint, which is instance 1.
pub(crate) fn table(revision: u64) -> Table {
    let endpoint = Endpoint {
        id: EndpointId(Uuid::from_u128(1)),
        address: "127.0.0.1:18001".parse().unwrap(),
        name: "web-1".to_owned(),
        locality: None,
        state: EndpointState::Active,
        weight: 1,
        priority: 0,
    };
    let pool = Pool { endpoints: vec![endpoint], ..Pool::default() };
    Table {
        schema: 1,
        version: TableVersion { epoch: 1, revision },
        pools: BTreeMap::from([(PoolId("hits/web".to_owned()), pool)]),
        ..Table::default()
    }
}

pub(crate) fn acknowledged(revision: u64) -> impl Fn(&pando_model::AgentReport) -> bool {
    move |report| {
        let proxy = report.proxy.as_ref();
        proxy.is_some_and(|proxy| proxy.alive && proxy.acknowledged == Some(Version::new(1, revision)))
    }
}

#[tokio::test]
async fn a_table_is_pushed_acknowledged_and_reported_at_once() {
    let mut bench = Bench::new().await.with_proxy();
    bench.proxy.start();
    bench.start_agent().await;
    bench.control.until("a report", |report| report.proxy.as_ref().is_some_and(|proxy| proxy.alive)).await;
    bench.control.publish(table(1));
    let body = bench.control.until("acknowledged", acknowledged(1)).await;
    let proxy = body.report.proxy.unwrap();
    assert_eq!(proxy.not_in_rotation, BTreeSet::from([instance_id(1)]));
    bench.proxy.change(|stats| {
        stats.not_in_rotation.clear();
        stats.in_flight.insert(EndpointId(Uuid::from_u128(1)), 3);
        stats.unmatched = 9;
    });
    let in_rotation = |report: &pando_model::AgentReport| {
        report.proxy.as_ref().is_some_and(|proxy| proxy.not_in_rotation.is_empty())
    };
    let body = bench.control.until("in rotation", in_rotation).await;
    assert_eq!(body.report.proxy.unwrap().in_flight[&instance_id(1)], 3);
    assert_eq!(body.traffic.unwrap().unmatched, 9);
    // Each step of a deployment waits for it. With heartbeats alone, which are two seconds apart, these would take over a minute.
    let all = async {
        for revision in 2..40 {
            bench.control.publish(table(revision));
            bench.control.until("acknowledged", acknowledged(revision)).await;
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("no acknowledgement waits for a heartbeat");
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_proxy_that_was_restarted_gets_its_table_without_control() {
    let mut bench = Bench::new().await.with_proxy();
    bench.proxy.start();
    bench.start_agent().await;
    bench.control.publish(table(3));
    bench.control.until("acknowledged", acknowledged(3)).await;
    bench.proxy.stop().await;
    let dead = |report: &pando_model::AgentReport| report.proxy.as_ref().is_some_and(|proxy| !proxy.alive);
    bench.control.until("dead", dead).await;
    bench.control.go_away().await;
    bench.proxy.start();
    bench.proxy.until_pushed(2).await;
    // The agent too: it kept the table on disk.
    bench.stop_agent().await;
    bench.proxy.stop().await;
    bench.proxy.start();
    bench.start_agent().await;
    bench.proxy.until_pushed(3).await;
    assert_eq!(bench.proxy.pushed(), [3, 3, 3]);
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_refused_table_is_reported_with_its_reasons_and_not_pushed_again() {
    let mut bench = Bench::new().await.with_proxy();
    bench.proxy.refuse(1, StatusCode::BAD_REQUEST, r#"{"error": "no", "reasons": ["pool `p`: no"]}"#);
    bench.proxy.refuse(2, StatusCode::CONFLICT, r#"{"error": "table 1.9 is newer", "reasons": []}"#);
    bench.proxy.start();
    bench.start_agent().await;
    let refused = |reason: &'static str| {
        move |report: &pando_model::AgentReport| {
            let refusal = report.proxy.as_ref().and_then(|proxy| proxy.refused.as_ref());
            refusal.is_some_and(|refusal| refusal.reasons == [reason])
        }
    };
    bench.control.publish(table(1));
    bench.control.until("refused", refused("pool `p`: no")).await;
    bench.control.publish(table(2));
    bench.control.until("refused", refused("table 1.9 is newer")).await;
    bench.control.publish(table(3));
    let body = bench.control.until("acknowledged", acknowledged(3)).await;
    assert_eq!(body.report.proxy.unwrap().refused, None);
    assert_eq!(bench.proxy.pushed(), [1, 2, 3]);
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_reported_so() {
    let mut bench = Bench::new().await.with_proxy();
    bench.start_agent().await;
    let body = bench.control.until("a report", |_| true).await;
    assert!(!body.report.proxy.unwrap().alive);
    bench.control.publish(table(1));
    bench.proxy.start();
    bench.control.until("acknowledged", acknowledged(1)).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn without_a_proxy_nothing_is_said_of_one() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    bench.control.publish(table(1));
    let body = bench.control.until("a report", |_| true).await;
    assert_eq!(body.report.proxy, None);
    // The table is kept all the same: this server may get a proxy.
    let kept = bench.directory.path().join("ledger/table.json");
    until("the table on disk", || kept.exists()).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn an_agent_is_heard_every_two_seconds_with_rising_numbers() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    let began = Instant::now();
    bench.control.until("three reports", |report| report.sequence >= 3).await;
    assert!(began.elapsed() >= Duration::from_millis(3900), "nothing changed: {:?}", began.elapsed());
    let reports = bench.control.reports();
    assert!(reports.windows(2).all(|pair| pair[0].report.sequence + 1 == pair[1].report.sequence));
    assert!(reports.windows(2).all(|pair| pair[0].report.boot == pair[1].report.boot));
    bench.stop_agent().await;
}

#[tokio::test]
async fn readiness_grows_from_heartbeat_to_heartbeat_and_ends_with_the_run() {
    let mut bench = Bench::new().await;
    let (_replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, port)]));
    let ready_for = |report: &pando_model::AgentReport| {
        report.instances.get(&instance_id(1)).and_then(|status| status.ready_for)
    };
    bench.control.until("ready", |report| ready_for(report).is_some()).await;
    let long = |report: &pando_model::AgentReport| ready_for(report).is_some_and(|time| time.0 >= 1900);
    bench.control.until("ready for long", long).await;
    let exit = pando_model::observed::ExitReport {
        code: Some(1),
        signal: None,
        out_of_memory: false,
        last_lines: Vec::new(),
    };
    bench.runtime.end(run(1, 0), exit);
    let again = |report: &pando_model::AgentReport| {
        is(report, 1, &InstanceState::Ready) && report.instances[&instance_id(1)].restarts == 1
    };
    let body = bench.control.until("ready again", again).await;
    assert!(ready_for(&body.report).unwrap().0 < 1900);
    bench.stop_agent().await;
}
