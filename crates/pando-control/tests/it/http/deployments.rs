//! From a packed release to a recorded deployment, and following it.

use std::time::{Duration, Instant};

use pando_api::ErrorCode;
use pando_api::auth::Scope;
use pando_api::v1::apps::{AppState, StopRequest};
use pando_api::v1::deployments::{
    Accepted, DeployAction, DeployRequest, DeployResponse, DeploymentQuery, DryRun, IfBusy,
};
use pando_control::deploy::QUEUE;
use pando_control::events::{Draft, put_ops};
use pando_control::store::{Key, Txn};
use pando_model::app::{PullPolicy, RunSource, VolumeSpec};
use pando_model::desired::{DeploymentKind, DeploymentPhase};
use pando_model::id::Entropy;
use pando_model::release::{Digest, ReleaseNumber};

use crate::cluster::{Cluster, PATIENCE, app, request, spec};

fn accepted(response: DeployResponse) -> Accepted {
    match response {
        DeployResponse::Accepted(accepted) => accepted,
        DeployResponse::DryRun(dry_run) => panic!("{dry_run:?}"),
    }
}

/// Else whoever may deploy one app could read all that a server has.
#[tokio::test]
async fn a_directory_of_servers_is_an_administrators_to_give() {
    let cluster = Cluster::on_disk().await;
    let hits = app("hits");
    let deployer = cluster.client_with(Scope::Deploy { apps: vec![hits.clone()] }).await;
    let mount = |volumes: &[(&str, bool)]| {
        let volume = |(source, read_only): &(&str, bool)| VolumeSpec {
            source: (*source).to_owned(),
            target: "/data".to_owned(),
            read_only: *read_only,
        };
        let mut spec = spec("hits");
        spec.run = RunSource::Image { reference: "nginx:1".to_owned(), pull_policy: PullPolicy::Always };
        spec.volumes = volumes.iter().map(volume).collect();
        spec
    };
    let deploy = async |volumes: &[(&str, bool)]| {
        let action = DeployAction::Deploy { spec: Box::new(mount(volumes)), artifact: None };
        deployer.deploy(&hits, &request(action)).await
    };
    let refused = deploy(&[("data", false), ("/srv/keys", true)]).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Forbidden));
    assert!(refused.to_string().contains("`/srv/keys`"), "{refused}");
    deploy(&[("data", false)]).await.unwrap();
    cluster.finish(&hits).await;
    let action = DeployAction::Deploy { spec: Box::new(mount(&[("/srv/keys", true)])), artifact: None };
    cluster.client.deploy(&hits, &request(action)).await.unwrap();
    cluster.finish(&hits).await;
    deploy(&[("/srv/keys", true)]).await.unwrap();
    cluster.finish(&hits).await;
    for other in [("/srv/keys", false), ("/srv", true), ("/srv/keys/", true), ("/", true)] {
        let refused = deploy(&[other]).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::Forbidden), "{other:?}");
    }
}

#[tokio::test]
async fn a_deployment_is_recorded_and_shown() {
    let cluster = Cluster::on_disk().await;
    let hits = app("hits");
    let artifact = cluster.send(b"release").await;
    let action = DeployAction::Deploy { spec: Box::new(spec("hits")), artifact: Some(artifact.clone()) };
    let wanted = DeployRequest { note: Some("abc123".to_owned()), ..request(action) };
    let answer = accepted(cluster.client.deploy(&hits, &wanted).await.unwrap());
    assert_eq!((answer.release, answer.queued_behind.len()), (ReleaseNumber(1), 0));

    let status = cluster.client.app(&hits).await.unwrap();
    assert_eq!((status.state, status.release), (AppState::Deploying, None));
    assert_eq!(status.urls, ["http://hits.example.com:8080"]);
    assert_eq!(status.deployment.unwrap().id, answer.deployment);
    let view =
        cluster.client.deployment(&hits, answer.deployment, &DeploymentQuery::default()).await.unwrap();
    assert_eq!(view.deployment.kind, DeploymentKind::Deploy);
    assert_eq!(view.deployment.created_by, "tester");
    assert_eq!(view.progress[0].text, "v1 is to be deployed, says tester: abc123");

    cluster.finish(&hits).await;
    let status = cluster.client.app(&hits).await.unwrap();
    assert_eq!((status.state, status.release), (AppState::Degraded, Some(ReleaseNumber(1))));
    assert_eq!(status.last.unwrap().id, answer.deployment);
    assert_eq!(status.replicas[0].replica.to_string(), "web-1");
    let releases = cluster.client.releases(&hits).await.unwrap().releases;
    assert!(releases[0].current && releases[0].succeeded);
    assert_eq!(releases[0].release.artifact, Some(artifact));
    assert_eq!(releases[0].release.spec, spec("hits"));
    assert_eq!(cluster.client.apps().await.unwrap().apps[0].wanted, 2);
    assert_eq!(cluster.client.status().await.unwrap().servers[0].instances, 1);
}

#[tokio::test]
async fn a_watcher_sees_each_change_at_once() {
    let cluster = Cluster::on_disk().await;
    let hits = app("hits");
    let answer = accepted(cluster.try_deploy(spec("hits")).await.unwrap());
    let mut cursor = None;
    let look = async |cursor: &mut Option<u64>| {
        let query = DeploymentQuery { after: *cursor, wait_millis: Some(30_000) };
        let asked = cluster.client.deployment(&hits, answer.deployment, &query);
        let view = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
        *cursor = Some(view.cursor);
        view
    };
    assert_eq!(look(&mut cursor).await.deployment.phase, DeploymentPhase::Queued);
    let mut deployment = look_in_store(&cluster).await;
    deployment.phase = DeploymentPhase::Rolling;
    let draft = Draft::new("web-1 starts").app(&hits).deployment(deployment.id);
    let events = put_ops([draft], cluster.now(), &mut Entropy::from_seed(3)).unwrap();
    let key = Key::AppDeployment(hits.clone(), deployment.id);
    let txn = Txn::new().put(key, &deployment).unwrap().ops(events);
    let (view, ()) = tokio::join!(look(&mut cursor), cluster.write(txn));
    assert_eq!(view.deployment.phase, DeploymentPhase::Rolling);
    assert_eq!(view.progress.last().unwrap().text, "web-1 starts");
    let (view, _) = tokio::join!(look(&mut cursor), cluster.finish(&hits));
    assert_eq!(view.deployment.phase, DeploymentPhase::Done { replaced: 1 });
    assert_eq!(view.replicas.len(), 1);
    // Nothing more happens: the answer comes when the wait is over, and is the same.
    let query = DeploymentQuery { after: cursor, wait_millis: Some(100) };
    let start = Instant::now();
    let view = cluster.client.deployment(&hits, answer.deployment, &query).await.unwrap();
    assert_eq!(Some(view.cursor), cursor);
    assert!(start.elapsed() >= Duration::from_millis(100));
}

async fn look_in_store(cluster: &Cluster) -> pando_model::desired::Deployment {
    cluster.state().await.app(&app("hits")).unwrap().deployments[0].clone()
}

#[tokio::test]
async fn others_wait_their_turn_or_are_refused() {
    let cluster = Cluster::in_memory().await;
    let hits = app("hits");
    let first = accepted(cluster.try_deploy(spec("hits")).await.unwrap());
    let second = accepted(cluster.try_deploy(spec("hits")).await.unwrap());
    assert_eq!((second.release, second.queued_behind), (ReleaseNumber(2), vec![first.deployment]));
    let view =
        cluster.client.deployment(&hits, second.deployment, &DeploymentQuery::default()).await.unwrap();
    assert_eq!(view.queued_behind, [first.deployment]);

    let artifact = Some(cluster.send(b"release").await);
    let deploy = DeployAction::Deploy { spec: Box::new(spec("hits")), artifact };
    for (action, if_busy) in [
        (deploy, IfBusy::Refuse),
        (DeployAction::Restart, IfBusy::Wait),
        (DeployAction::Rollback { release: None }, IfBusy::Wait),
    ] {
        let error =
            cluster.client.deploy(&hits, &DeployRequest { if_busy, ..request(action) }).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Busy), 4), "{error}");
    }
    for _ in 2..QUEUE {
        cluster.try_deploy(spec("hits")).await.unwrap();
    }
    let error = cluster.try_deploy(spec("hits")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Busy), "{error}");
    cluster.finish(&hits).await;
    cluster.try_deploy(spec("hits")).await.unwrap();
}

#[tokio::test]
async fn many_at_once_get_a_number_each() {
    let cluster = Cluster::on_disk().await;
    let hits = app("hits");
    let artifact = Some(cluster.send(b"release").await);
    let wanted = request(DeployAction::Deploy { spec: Box::new(spec("hits")), artifact });
    let answers = futures_util::future::join_all((0..4).map(|_| cluster.client.deploy(&hits, &wanted))).await;
    let mut numbers: Vec<u64> =
        answers.into_iter().map(|answer| accepted(answer.unwrap()).release.0).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let state = cluster.state().await;
    assert_eq!((state.counters[&hits], state.app(&hits).unwrap().deployments.len()), (4, 4));
}

#[tokio::test]
async fn going_back_finds_what_ran_before() {
    let cluster = Cluster::in_memory().await;
    let hits = app("hits");
    let back = |release| request(DeployAction::Rollback { release });
    let error = cluster.client.deploy(&hits, &back(None)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
    cluster.deploy(spec("hits")).await;
    let error = cluster.client.deploy(&hits, &back(None)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Conflict), "{error}");
    cluster.deploy(spec("hits")).await;
    cluster.deploy(spec("hits")).await;
    for (wanted, found) in [(None, 2), (None, 3), (Some(1), 1), (None, 3)] {
        let wanted = back(wanted.map(ReleaseNumber));
        let answer = accepted(cluster.client.deploy(&hits, &wanted).await.unwrap());
        assert_eq!(answer.release, ReleaseNumber(found), "{wanted:?}");
        cluster.finish(&hits).await;
    }
    let error = cluster.client.deploy(&hits, &back(Some(ReleaseNumber(9)))).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound), "{error}");
    // A new release counts on from the newest, not from what runs.
    assert_eq!(accepted(cluster.try_deploy(spec("hits")).await.unwrap()).release, ReleaseNumber(4));
}

#[tokio::test]
async fn restarting_wants_a_running_release_and_deploying_ends_a_stop() {
    let cluster = Cluster::in_memory().await;
    let hits = app("hits");
    let restart = request(DeployAction::Restart);
    cluster.deploy(spec("hits")).await;
    let answer = accepted(cluster.client.deploy(&hits, &restart).await.unwrap());
    assert_eq!(answer.release, ReleaseNumber(1));
    cluster.finish(&hits).await;
    cluster.client.stop(&hits, &StopRequest::default()).await.unwrap();
    let error = cluster.client.deploy(&hits, &restart).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Conflict), "{error}");
    cluster.try_deploy(spec("hits")).await.unwrap();
    assert!(!cluster.state().await.app(&hits).unwrap().wish.stopped);
}

#[tokio::test]
async fn a_dry_run_tells_and_records_nothing() {
    let cluster = Cluster::in_memory().await;
    let hits = app("hits");
    let before = cluster.state().await;
    let action = DeployAction::Deploy { spec: Box::new(spec("hits")), artifact: None };
    let wanted = DeployRequest { dry_run: true, ..request(action) };
    let DeployResponse::DryRun(DryRun { release, plan }) =
        cluster.client.deploy(&hits, &wanted).await.unwrap()
    else {
        panic!("it was recorded");
    };
    assert_eq!(release, ReleaseNumber(1));
    assert!(plan.iter().any(|line| line.contains("web-1")), "{plan:?}");
    assert_eq!(cluster.state().await, before);
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_anything_changes() {
    let cluster = Cluster::in_memory().await;
    let before = cluster.state().await;
    let mut no_role = spec("hits");
    let mut too_large = spec("hits");
    for process in no_role.processes.values_mut() {
        process.role = pando_model::name::RoleName::new("gpu").unwrap();
    }
    for process in too_large.processes.values_mut() {
        process.resources.memory_bytes = Some(5_000_000_000);
    }
    for (spec, code, words) in
        [(no_role, ErrorCode::DoesNotFit, "gpu"), (too_large, ErrorCode::DoesNotFit, "5 GB")]
    {
        let error = cluster.try_deploy(spec).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (Some(code), 4), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let action = |artifact| DeployAction::Deploy { spec: Box::new(spec("hits")), artifact };
    let missing = Digest::new("a".repeat(64)).unwrap();
    for (name, artifact, code) in [
        ("hits", None, ErrorCode::Invalid),
        ("hits", Some(missing.clone()), ErrorCode::Conflict),
        ("shop", Some(missing), ErrorCode::Invalid),
    ] {
        let error = cluster.client.deploy(&app(name), &request(action(artifact))).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
    }
    assert_eq!(cluster.state().await, before);
}

/// A promise of the command line: `pando status` answers in under 30 ms, of which this is the larger part.
#[tokio::test]
async fn a_status_takes_milliseconds() {
    let cluster = Cluster::on_disk().await;
    for name in ["one", "two", "three"] {
        cluster.deploy(spec(name)).await;
    }
    let mut times = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        cluster.client.app(&app("one")).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("median {:?}, most {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(20), "{:?}", times[25]);
}
