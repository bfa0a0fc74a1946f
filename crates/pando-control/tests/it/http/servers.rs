//! Servers: looked at, given roles and labels, emptied and removed.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use pando_api::auth::Scope;
use pando_api::v1::balancers::EntryRole;
use pando_api::v1::events::EventQuery;
use pando_api::v1::servers::{DrainRequest, LabelsRequest, Removal, RemoveQuery, RolesRequest};
use pando_api::v1::status::ServerState;
use pando_api::{ClientError, ErrorCode};
use pando_control::store::{Key, Txn};
use pando_model::app::ReplicaCount;
use pando_model::assignment::Assignment;
use pando_model::id::ServerId;
use pando_model::name::{RoleName, ServerName};
use pando_model::server::Standing;

use crate::cluster::{Cluster, app, id, spec};

fn name(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

fn names(texts: &[&str]) -> BTreeSet<RoleName> {
    texts.iter().map(|text| RoleName::new(*text).unwrap()).collect()
}

fn roles(add: &[&str], remove: &[&str]) -> RolesRequest {
    RolesRequest { add: names(add), remove: names(remove), force: false }
}

fn app_2() -> ServerId {
    ServerId::from_uuid(id(2))
}

/// `hits` runs on `main`; `app-2` is there too, with the same roles.
async fn two_servers() -> Cluster {
    let cluster = Cluster::on_disk().await;
    cluster.add_server("app-2", app_2(), SocketAddr::from(([127, 0, 0, 1], 9))).await;
    cluster.deploy(spec("hits")).await;
    cluster.hear(&[cluster.server, app_2()], |_| {});
    cluster
}

async fn texts(cluster: &Cluster) -> Vec<String> {
    let page = cluster.client.events(&EventQuery::default()).await.unwrap();
    page.events.into_iter().filter(|event| event.app.is_none()).map(|event| event.text).collect()
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(answer: Result<T, ClientError>, code: ErrorCode, exit: u8, words: &str) {
    let error = answer.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(code), exit), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn servers_are_shown_with_what_runs_there() {
    let cluster = two_servers().await;
    let listed = cluster.client.servers().await.unwrap().servers;
    let seen: Vec<_> = listed.iter().map(|it| (it.name.as_str(), it.state, it.instances)).collect();
    assert_eq!(seen, [("app-2", ServerState::Alive, 0), ("main", ServerState::Alive, 1)]);

    let main = cluster.client.server(&name("main")).await.unwrap();
    assert_eq!(main.entry, Some(EntryRole::Balancer));
    let replicas: Vec<String> = main.replicas.iter().map(|it| format!("{}/{}", it.app, it.replica)).collect();
    assert_eq!(replicas, ["hits/web-1"]);
    assert!(!main.is_empty() && cluster.client.server(&name("app-2")).await.unwrap().is_empty());
    check_refused(cluster.client.server(&name("nobody")).await, ErrorCode::NotFound, 2, "no server `nobody`");
}

#[tokio::test]
async fn roles_are_given_and_taken_with_a_word_in_the_log() {
    let cluster = two_servers().await;
    let after = cluster.client.set_roles(&name("main"), &roles(&["worker"], &["lb"])).await.unwrap();
    assert_eq!(after.status.roles, names(&["web", "worker"]));
    assert_eq!(after.entry, Some(EntryRole::Direct));
    // The same again is no change and no event.
    cluster.client.set_roles(&name("main"), &roles(&["worker"], &["lb"])).await.unwrap();
    assert_eq!(texts(&cluster).await, ["main: the roles +worker -lb are wanted, says tester"]);
    for (request, code, exit, words) in [
        (roles(&[], &[]), ErrorCode::Invalid, 2, "no role was named"),
        (roles(&["db"], &["db"]), ErrorCode::Invalid, 2, "both"),
        (roles(&["control"], &[]), ErrorCode::Invalid, 2, "can't be given"),
    ] {
        check_refused(cluster.client.set_roles(&name("main"), &request).await, code, exit, words);
    }
}

#[tokio::test]
async fn the_last_server_of_a_role_keeps_it_unless_somebody_insists() {
    let cluster = two_servers().await;
    cluster.client.set_roles(&name("app-2"), &roles(&[], &["web"])).await.unwrap();
    let taken = roles(&[], &["web"]);
    let refused = cluster.client.set_roles(&name("main"), &taken).await.unwrap_err();
    let ClientError::Refused(body) = &refused else { panic!("{refused}") };
    assert_eq!((body.code, refused.exit_code()), (ErrorCode::Harmful, 4));
    assert!(body.message.contains("the last server with the role `web` for `web` of hits"), "{body:?}");
    check_refused(
        cluster.client.drain(&name("main"), &DrainRequest::default()).await,
        ErrorCode::Harmful,
        4,
        "main",
    );
    check_refused(
        cluster.client.remove_server(&name("main"), &RemoveQuery::default()).await,
        ErrorCode::Harmful,
        4,
        "main",
    );
    let forced = RolesRequest { force: true, ..taken };
    let after = cluster.client.set_roles(&name("main"), &forced).await.unwrap();
    assert_eq!(after.status.roles, names(&["lb"]));
}

#[tokio::test]
async fn a_lost_server_is_no_other_server() {
    let cluster = two_servers().await;
    cluster.lose(app_2());
    let answer = cluster.client.drain(&name("main"), &DrainRequest::default()).await;
    check_refused(answer, ErrorCode::Harmful, 4, "main");
}

#[tokio::test]
async fn what_is_to_move_is_counted_from_what_is_wanted() {
    let cluster = two_servers().await;
    let counts = async |server: &str| {
        let it = cluster.client.server(&name(server)).await.unwrap();
        (it.unwanted, it.missing)
    };
    assert_eq!(counts("main").await, (0, 0));
    cluster.client.drain(&name("main"), &DrainRequest::default()).await.unwrap();
    assert_eq!(counts("main").await, (1, 0));
    cluster.client.undrain(&name("main")).await.unwrap();
    cluster.client.set_roles(&name("main"), &roles(&[], &["web"])).await.unwrap();
    assert_eq!(counts("main").await, (1, 0));
    let mut per_server = spec("hits");
    for process in per_server.processes.values_mut() {
        process.count = ReplicaCount::PerServer(2);
    }
    cluster.deploy(per_server).await;
    assert_eq!((counts("main").await, counts("app-2").await), ((1, 0), (0, 2)));
}

#[tokio::test]
async fn labels_are_set_and_removed() {
    let cluster = two_servers().await;
    let request = |set: &[(&str, &str)], remove: &[&str]| LabelsRequest {
        set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        remove: remove.iter().map(|key| (*key).to_owned()).collect(),
        force: false,
    };
    let main = name("main");
    cluster.client.set_labels(&main, &request(&[("zone", "a"), ("disk", "ssd")], &[])).await.unwrap();
    let after = cluster.client.set_labels(&main, &request(&[("zone", "b")], &["disk"])).await.unwrap();
    assert_eq!(after.status.labels, [("zone".to_owned(), "b".to_owned())].into());
    assert_eq!(texts(&cluster).await[1], "main: the labels zone=b disk- are wanted, says tester");
    for bad in [
        request(&[], &[]),
        request(&[("", "x")], &[]),
        request(&[("a b", "x")], &[]),
        request(&[("a", "x\ny")], &[]),
        request(&[("a", &"x".repeat(64))], &[]),
        request(&[("a", "x")], &["a"]),
    ] {
        let error = cluster.client.set_labels(&main, &bad).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Invalid), "{bad:?}");
    }
    let mut tied = spec("hits");
    for process in tied.processes.values_mut() {
        process.labels = [("zone".to_owned(), "b".to_owned())].into();
    }
    cluster.deploy(tied).await;
    check_refused(
        cluster.client.set_labels(&main, &request(&[("zone", "c")], &[])).await,
        ErrorCode::Harmful,
        4,
        "main",
    );
    let forced = LabelsRequest { force: true, ..request(&[("zone", "c")], &[]) };
    cluster.client.set_labels(&main, &forced).await.unwrap();
    let many: Vec<String> = (0..65).map(|n| format!("k{n}")).collect();
    let many = LabelsRequest {
        set: many.into_iter().map(|key| (key, String::new())).collect(),
        ..request(&[], &[])
    };
    check_refused(cluster.client.set_labels(&main, &many).await, ErrorCode::Invalid, 2, "64 labels");
}

#[tokio::test]
async fn a_server_is_emptied_and_takes_work_again() {
    let cluster = two_servers().await;
    let (main, request) = (name("main"), DrainRequest::default());
    let after = cluster.client.drain(&main, &request).await.unwrap();
    assert_eq!(after.status.standing, Standing::Draining);
    // Asked again, nothing is judged anew: it is what is wanted already.
    cluster.lose(app_2());
    cluster.client.drain(&main, &request).await.unwrap();
    let back = cluster.client.undrain(&main).await.unwrap();
    assert_eq!(back.status.standing, Standing::Active);
    let expected = ["main: it is to be emptied, says tester", "main: it takes work again, says tester"];
    assert_eq!(texts(&cluster).await, expected);
}

#[tokio::test]
async fn a_living_server_leaves_once_it_is_empty() {
    let cluster = two_servers().await;
    let main = name("main");
    let removal = cluster.client.remove_server(&main, &RemoveQuery::default()).await.unwrap();
    assert_eq!(removal, Removal { forgotten: false });
    assert_eq!(cluster.client.server(&main).await.unwrap().status.standing, Standing::Leaving);
    check_refused(
        cluster.client.drain(&main, &DrainRequest::default()).await,
        ErrorCode::Conflict,
        1,
        "leaving",
    );
    // Insisting does not skip the emptying of a server that is alive.
    let removal = cluster.client.remove_server(&main, &RemoveQuery { force: true }).await.unwrap();
    assert_eq!(removal, Removal { forgotten: false });
}

#[tokio::test]
async fn a_lost_server_is_forgotten_at_once_with_its_voice() {
    let cluster = two_servers().await;
    let agent = cluster.client_with(Scope::Agent { server: app_2() }).await;
    let assignment = Assignment::empty(app_2());
    cluster.write(Txn::new().put(Key::ServerAssignment(app_2()), &assignment).unwrap()).await;
    cluster.lose(app_2());
    let gone = name("app-2");
    let removal = cluster.client.remove_server(&gone, &RemoveQuery::default()).await.unwrap();
    assert!(!removal.forgotten, "without force it may come back and be emptied");
    let removal = cluster.client.remove_server(&gone, &RemoveQuery { force: true }).await.unwrap();
    assert!(removal.forgotten);
    check_refused(cluster.client.server(&gone).await, ErrorCode::NotFound, 2, "app-2");
    assert!(!cluster.state().await.world.assignments.contains_key(&app_2()));
    let error = agent.target(app_2(), &Default::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthorized));
}

#[tokio::test]
async fn the_server_with_the_control_plane_stays() {
    let cluster = two_servers().await;
    let mut main = cluster.state().await.world.servers[&cluster.server].clone();
    main.roles.insert(RoleName::new("control").unwrap());
    cluster.write(Txn::new().put(Key::ServerSpec(main.id), &main).unwrap()).await;
    cluster.lose(cluster.server);
    for force in [false, true] {
        let answer = cluster.client.remove_server(&name("main"), &RemoveQuery { force }).await;
        check_refused(answer, ErrorCode::Harmful, 4, "runs the control plane");
    }
    let answer = cluster.client.set_roles(&name("main"), &roles(&[], &["control"])).await;
    check_refused(answer, ErrorCode::Harmful, 4, "runs the control plane");
}

#[tokio::test]
async fn a_drained_server_says_what_it_waits_for() {
    let cluster = two_servers().await;
    let mut report = pando_plan::Report::default();
    let line = Some("web: 1 of 2 ready on app-2".to_owned());
    let hits = pando_plan::AppReport { deployment: line, ..Default::default() };
    report.apps.insert(app("hits"), hits);
    report.servers.insert(cluster.server, "main is being emptied".to_owned());
    cluster.shared.report.send_replace(std::sync::Arc::new(report));
    let main = cluster.client.server(&name("main")).await.unwrap();
    assert_eq!(main.waiting_on, ["main is being emptied", "hits: web: 1 of 2 ready on app-2"]);
}
