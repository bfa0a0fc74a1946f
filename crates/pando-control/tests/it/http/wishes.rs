//! Scale, stop, start, forget.

use pando_api::ErrorCode;
use pando_api::v1::apps::{AppState, MaintenanceRequest, PauseRequest, ScaleRequest, StopRequest};
use pando_api::v1::events::EventQuery;
use pando_control::store::{Key, Txn};
use pando_model::desired::Assigned;
use pando_model::name::ProcessName;
use pando_model::time::Millis;

use crate::cluster::{Cluster, app, spec};

fn scale(process: &str, count: Option<u32>) -> ScaleRequest {
    ScaleRequest { processes: [(ProcessName::new(process).unwrap(), count)].into() }
}

#[tokio::test]
async fn counts_are_set_and_given_back() {
    let cluster = Cluster::on_disk().await;
    let hits = app("hits");
    let error = cluster.client.scale(&hits, &scale("web", Some(3))).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
    cluster.deploy(spec("hits")).await;
    let wish = cluster.client.scale(&hits, &scale("web", Some(5))).await.unwrap();
    assert_eq!(wish.scale.get(&ProcessName::web()), Some(&5));
    let status = cluster.client.app(&hits).await.unwrap();
    assert_eq!((status.processes[0].wanted, status.processes[0].scaled), (5, true));
    let wish = cluster.client.scale(&hits, &scale("web", None)).await.unwrap();
    assert!(wish.scale.is_empty());
    assert_eq!(cluster.client.app(&hits).await.unwrap().processes[0].wanted, 2);
    let query = EventQuery { app: Some(hits), ..EventQuery::default() };
    let texts: Vec<String> =
        cluster.client.events(&query).await.unwrap().events.into_iter().map(|event| event.text).collect();
    assert_eq!(
        texts,
        [
            "v1 is to be deployed, says tester",
            "web=5 is wanted, says tester",
            "web as in the file is wanted, says tester"
        ]
    );
}

#[tokio::test]
async fn counts_that_make_no_sense_or_do_not_fit_are_refused() {
    let cluster = Cluster::in_memory().await;
    let mut hungry = spec("hits");
    for process in hungry.processes.values_mut() {
        process.resources.memory_bytes = Some(1_000_000_000);
    }
    cluster.deploy(hungry).await;
    for (request, code, exit) in [
        (ScaleRequest::default(), ErrorCode::Invalid, 2),
        (scale("worker", Some(1)), ErrorCode::Invalid, 2),
        (scale("web", Some(1001)), ErrorCode::Invalid, 2),
        (scale("web", Some(9)), ErrorCode::DoesNotFit, 4),
    ] {
        let error = cluster.client.scale(&app("hits"), &request).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (Some(code), exit), "{error}");
    }
    assert!(cluster.state().await.app(&app("hits")).unwrap().wish.scale.is_empty());
}

#[tokio::test]
async fn an_app_is_stopped_started_and_forgotten() {
    let cluster = Cluster::in_memory().await;
    let hits = app("hits");
    cluster.deploy(spec("hits")).await;
    let error = cluster.client.delete_app(&hits).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Harmful), 4), "{error}");

    let wish = cluster.client.stop(&hits, &StopRequest { remove: true }).await.unwrap();
    assert!(wish.stopped && wish.remove);
    assert_eq!(cluster.client.app(&hits).await.unwrap().state, AppState::Stopping);
    let error = cluster.client.delete_app(&hits).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Harmful), "replicas are left: {error}");

    // The planner saw them end.
    let committed = cluster.state().await.app(&hits).unwrap().assigned.committed;
    let ended = Assigned { committed, ..Assigned::default() };
    cluster.write(Txn::new().put(Key::AppAssigned(hits.clone()), &ended).unwrap()).await;
    assert_eq!(cluster.client.app(&hits).await.unwrap().state, AppState::Stopped);

    let wish = cluster.client.start(&hits).await.unwrap();
    assert!(!wish.stopped && !wish.remove);
    assert_eq!(cluster.client.app(&hits).await.unwrap().state, AppState::Degraded);
    cluster.client.stop(&hits, &StopRequest::default()).await.unwrap();
    cluster.client.delete_app(&hits).await.unwrap();
    assert_eq!(cluster.client.app(&hits).await.unwrap_err().code(), Some(ErrorCode::NotFound));
    assert!(cluster.client.apps().await.unwrap().apps.is_empty());
}

#[tokio::test]
async fn maintenance_and_pause_are_kept_with_the_app_and_bounded() {
    let cluster = Cluster::in_memory().await;
    let hits = app("hits");
    cluster.deploy(spec("hits")).await;
    let request = MaintenanceRequest {
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        message: Some("Back at noon.".into()),
        ..MaintenanceRequest::default()
    };
    let wish = cluster.client.begin_maintenance(&hits, &request).await.unwrap();
    let begun = wish.maintenance.unwrap();
    assert_eq!((begun.retry_after, begun.message.as_deref()), (Millis::from_secs(60), Some("Back at noon.")));
    let apps = cluster.client.apps().await.unwrap().apps;
    assert_eq!(apps[0].maintenance_since, Some(begun.since));
    cluster.deploy(spec("hits")).await;
    assert!(cluster.state().await.app(&hits).unwrap().wish.maintenance.is_some(), "a deploy leaves it");

    let wish = cluster.client.pause(&hits, &PauseRequest::default()).await.unwrap();
    let pause = wish.pause.unwrap();
    assert_eq!((pause.hold(), pause.most), (Millis::from_secs(30), 1_000));
    assert!(wish.maintenance.is_some());
    assert_eq!(cluster.client.resume(&hits).await.unwrap().pause, None);
    assert_eq!(cluster.client.end_maintenance(&hits).await.unwrap().maintenance, None);

    let long = PauseRequest { length: Some(Millis::from_secs(301)), most: None };
    let most = PauseRequest { length: None, most: Some(0) };
    for request in [long, most] {
        assert_eq!(cluster.client.pause(&hits, &request).await.unwrap_err().code(), Some(ErrorCode::Invalid));
    }
    let none = MaintenanceRequest::default;
    for request in [
        MaintenanceRequest { message: Some("x".repeat(1_001)), ..none() },
        MaintenanceRequest { page: Some("x".repeat((64 << 10) + 1)), ..none() },
        MaintenanceRequest { retry_after: Some(Millis(999)), ..none() },
        MaintenanceRequest { allow: vec!["10.0.0.1".parse().unwrap(); 1_001], ..none() },
    ] {
        let error = cluster.client.begin_maintenance(&hits, &request).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Invalid), "{error}");
    }
    let events = cluster.client.events(&EventQuery::default()).await.unwrap();
    let texts: Vec<&str> = events.events.iter().map(|event| event.text.as_str()).collect();
    for said in [
        "maintenance begins (192.0.2.0/24 passes)",
        "requests wait for 30 s",
        "waited go on",
        "maintenance ends",
    ] {
        assert!(texts.iter().any(|text| text.contains(said)), "{said}: {texts:?}");
    }
}
