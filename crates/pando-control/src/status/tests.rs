//! One app on one server, in every state that a person may find it in.

use std::collections::BTreeMap;

use pando_api::v1::status::ServerState;
use pando_model::app::*;
use pando_model::assignment::Assignment;
use pando_model::desired::*;
use pando_model::id::{DeploymentId, ServerId};
use pando_model::name::*;
use pando_model::observed::*;
use pando_model::release::ReleaseNumber;
use pando_model::resources::{Capacity, Resources};
use pando_model::server::Server;
use pando_model::time::Millis;
use pando_plan::input::heard;
use uuid::Uuid;

use super::*;
use crate::certificates::StoredCertificate;
use crate::certificates::testing::stored;

const NOW: i64 = 1_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn hits() -> AppName {
    AppName::new("hits").unwrap()
}

fn server() -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(1))
}

fn instance_id(number: u128) -> InstanceId {
    InstanceId::from_uuid(Uuid::from_u128(number))
}

fn target() -> Target {
    Target { release: ReleaseNumber(3), deployment: DeploymentId::from_uuid(Uuid::from_u128(9)) }
}

fn spec(count: ReplicaCount) -> AppSpec {
    let health = HealthCheck {
        kind: HealthKind::Tcp,
        interval: Millis(2000),
        timeout: Millis(2000),
        healthy: 2,
        unhealthy: 3,
        start_timeout: Millis(60_000),
    };
    let web = ProcessSpec {
        command: Some("bin/web".to_owned()),
        role: RoleName::web(),
        count,
        container_port: None,
        health,
        stop_timeout: Millis(1000),
        resources: Resources { cpu_millis: Some(500), memory_bytes: Some(100), pids: None },
        servers: std::collections::BTreeSet::new(),
        labels: BTreeMap::new(),
        singleton: false,
        depends_on: Default::default(),
        user: None,
        min_ready: None,
        env: BTreeMap::new(),
    };
    AppSpec {
        name: hits(),
        run: RunSource::Directory { path: ".".to_owned() },
        prepare: None,
        release_command: None,
        keep_releases: 5,
        strategy: Strategy::default(),
        min_ready: Millis::ZERO,
        processes: [(ProcessName::web(), web)].into(),
        domains: vec![],
        routes: vec![],
        balancing: Default::default(),
        pools: BTreeMap::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::new(),
    }
}

/// An app of two serving replicas, and an agent that says so.
struct World {
    state: State,
    observed: Observed,
    report: Report,
    entry: EntryPoint,
    now: Timestamp,
}

fn world() -> World {
    let mut state = State::default();
    let main = Server {
        id: server(),
        name: ServerName::new("main").unwrap(),
        roles: [RoleName::web()].into(),
        private_address: [127, 0, 0, 1].into(),
        agent_address: ([127, 0, 0, 1], 7421).into(),
        capacity: Capacity { cpu_millis: 2000, memory_bytes: 1000 },
        public_address: None,
        standing: pando_model::Standing::Active,
        labels: BTreeMap::new(),
        joined_at: at(0),
    };
    state.world.servers.insert(server(), main);
    let release = Release {
        number: ReleaseNumber(3),
        spec: spec(ReplicaCount::Total(2)),
        artifact: None,
        created_at: at(0),
        created_by: "tester".to_owned(),
    };
    let instance = |ordinal| Instance {
        replica: ReplicaName::new(ProcessName::web(), ordinal),
        target: target(),
        server: server(),
        port: 20_000,
        created_at: at(10),
        phase: Phase::Serving { since: at(20) },
        unready_since: None,
    };
    let instances = [(instance_id(1), instance(1)), (instance_id(2), instance(2))].into();
    let app = AppDesired {
        releases: [(ReleaseNumber(3), release)].into(),
        assigned: Assigned { committed: Some(target()), instances, ..Assigned::default() },
        ..AppDesired::default()
    };
    state.world.apps.insert(hits(), app);
    state.world.settings.open_host = true;
    let entry = EntryPoint { host: "localhost".into(), port: 8080, https_port: Some(8443) };
    let mut world =
        World { state, observed: Observed::default(), report: Report::default(), entry, now: at(NOW) };
    world.see(|_| {});
    world
}

fn status_of(state: InstanceState) -> InstanceStatus {
    let ready_for = (state == InstanceState::Ready).then_some(Millis(500));
    InstanceStatus {
        state,
        ready_for,
        restarts: 1,
        check: None,
        last_exit: None,
        pid: Some(42),
        start_period: None,
        unmounted: Vec::new(),
    }
}

impl World {
    /// The agent reports that all is ready, but for what `change` says.
    fn see(&mut self, change: impl FnOnce(&mut AgentReport)) {
        let ready = |number| (instance_id(number), status_of(InstanceState::Ready));
        let mut report = AgentReport {
            server: server(),
            boot: Uuid::from_u128(5),
            sequence: 1,
            assignment: Assignment::empty(server()).version,
            instances: [ready(1), ready(2)].into(),
            tasks: BTreeMap::new(),
            releases: vec![],
            proxy: Some(ProxyStatus { alive: true, ..ProxyStatus::default() }),
            capacity: Capacity::default(),
            firewall: None,
            warnings: vec![],
        };
        change(&mut report);
        let seen = ServerObserved { proxy_heard_at: Some(at(NOW)), ..heard(None, report, at(NOW)) };
        self.observed.servers.insert(server(), seen.into());
    }

    fn app(&mut self) -> &mut AppDesired {
        self.state.world.apps.get_mut(&hits()).unwrap()
    }

    fn instance(&mut self, number: u128) -> &mut Instance {
        self.app().assigned.instances.get_mut(&instance_id(number)).unwrap()
    }

    fn deployment(&mut self, phase: DeploymentPhase) {
        let deployment = Deployment {
            id: target().deployment,
            app: hits(),
            kind: DeploymentKind::Deploy,
            release: ReleaseNumber(3),
            created_at: at(0),
            created_by: "tester".to_owned(),
            phase,
            started_at: None,
            ended_at: None,
        };
        self.app().deployments = [deployment].into();
    }

    fn view(&self) -> View<'_> {
        let World { state, observed, report, entry, now } = self;
        View { state, observed, report, entry: Some(entry), now: *now }
    }

    fn status(&self) -> AppStatus {
        self.view().app(&hits()).unwrap()
    }
}

#[test]
fn an_app_that_runs_says_so() {
    let status = world().status();
    assert_eq!(status.state, AppState::Running);
    assert_eq!(status.urls, ["http://localhost:8080"]);
    let process = &status.processes[0];
    assert_eq!((process.wanted, process.ready, process.existing, process.scaled), (2, 2, 2, false));
    let replica = &status.replicas[1];
    assert_eq!((replica.replica.to_string().as_str(), replica.state), ("web-2", ReplicaState::Serving));
    assert_eq!((replica.pid, replica.restarts, replica.since), (Some(42), 1, at(20)));
    assert_eq!(replica.server_name.as_str(), "main");
    assert!(world().view().app(&AppName::new("shop").unwrap()).is_none());
}

#[test]
fn an_app_has_one_word_for_each_state() {
    let failure = Failure { message: "x".into(), replica: None, server: None, check: None, exit: None };
    type Change = Box<dyn Fn(&mut World)>;
    let scale = |w: &mut World, count| w.app().wish.scale = [(ProcessName::web(), count)].into();
    let cases: Vec<(AppState, Change)> = vec![
        (AppState::Degraded, Box::new(|w| w.see(|r| drop(r.instances.remove(&instance_id(2)))))),
        (AppState::Degraded, Box::new(move |w| scale(w, 3))),
        (AppState::Running, Box::new(move |w| scale(w, 1))),
        (AppState::Deploying, Box::new(|w| w.deployment(DeploymentPhase::Queued))),
        (AppState::Deploying, Box::new(|w| w.deployment(DeploymentPhase::Rolling))),
        (
            AppState::GoingBack,
            Box::new(move |w| {
                w.deployment(DeploymentPhase::GoingBack { failure: failure.clone(), since: at(1) });
            }),
        ),
        (AppState::Stopping, Box::new(|w| w.app().wish.stopped = true)),
        (
            AppState::Stopped,
            Box::new(|w| {
                w.app().wish.stopped = true;
                w.app().assigned.instances.clear();
            }),
        ),
        (AppState::New, Box::new(|w| w.app().assigned = Assigned::default())),
    ];
    for (number, (state, change)) in cases.into_iter().enumerate() {
        let mut world = world();
        change(&mut world);
        assert_eq!(world.status().state, state, "case {number}");
        assert_eq!(world.view().apps()[0].state, state, "case {number}");
    }
}

#[test]
fn a_replica_has_one_word_for_decision_and_observation() {
    let (since, deadline) = (at(20), at(99));
    let serving = Phase::Serving { since };
    let failed = InstanceState::Failed { reason: FailureReason::PortTaken, message: "taken".into() };
    let backing_off = InstanceState::BackingOff { next_start_in: Millis(4000) };
    for (phase, seen, state, problem) in [
        (Phase::Starting, None, ReplicaState::Pending, None),
        (Phase::Starting, Some(InstanceState::Waiting), ReplicaState::Pending, None),
        (Phase::Starting, Some(InstanceState::Starting), ReplicaState::Starting, None),
        (Phase::Starting, Some(InstanceState::Ready), ReplicaState::Ready, None),
        (serving, Some(InstanceState::Ready), ReplicaState::Serving, None),
        (serving, Some(InstanceState::Unhealthy), ReplicaState::Unhealthy, None),
        (serving, Some(backing_off), ReplicaState::BackingOff, Some("starts again in 4 s")),
        (serving, Some(failed), ReplicaState::Failed, Some("taken")),
        (serving, Some(InstanceState::Stopping), ReplicaState::Stopping, None),
        (Phase::Draining { since, deadline }, Some(InstanceState::Ready), ReplicaState::Draining, None),
        (Phase::Stopping { since }, Some(InstanceState::Ready), ReplicaState::Stopping, None),
        (Phase::Stopping { since }, None, ReplicaState::Stopping, None),
    ] {
        let mut world = world();
        world.instance(1).phase = phase;
        world.see(|report| match seen.clone() {
            Some(seen) => drop(report.instances.insert(instance_id(1), status_of(seen))),
            None => drop(report.instances.remove(&instance_id(1))),
        });
        let replica = world.status().replicas.remove(0);
        assert_eq!(replica.state, state, "{phase:?} {seen:?}");
        assert_eq!(replica.problem.as_deref(), problem, "{phase:?} {seen:?}");
    }
}

#[test]
fn silence_is_said_of_servers_and_replicas() {
    for (silence, server, replica) in [
        (0, ServerState::Alive, ReplicaState::Serving),
        (6_000, ServerState::Suspect, ReplicaState::Serving),
        (20_000, ServerState::Lost, ReplicaState::Lost),
    ] {
        let mut world = world();
        world.now = at(NOW + silence);
        assert_eq!(world.view().cluster("1").servers[0].state, server, "{silence}");
        assert_eq!(world.status().replicas[0].state, replica, "{silence}");
    }
    let mut world = world();
    world.observed.servers.clear();
    world.observed.since = at(NOW);
    assert_eq!(world.view().cluster("1").servers[0].state, ServerState::Unknown);
}

#[test]
fn counts_per_server_follow_the_role() {
    let mut world = world();
    let release = world.app().releases.get_mut(&ReleaseNumber(3)).unwrap();
    release.spec = spec(ReplicaCount::PerServer(2));
    let mut other = world.state.world.servers[&server()].clone();
    other.id = ServerId::from_uuid(Uuid::from_u128(2));
    world.state.world.servers.insert(other.id, other.clone());
    assert_eq!(world.status().processes[0].wanted, 4);
    other.roles = [RoleName::lb()].into();
    world.state.world.servers.insert(other.id, other);
    assert_eq!(world.status().processes[0].wanted, 2);
    let release = world.app().releases.get_mut(&ReleaseNumber(3)).unwrap();
    release.spec.processes.get_mut(&ProcessName::web()).unwrap().singleton = true;
    assert_eq!(world.status().processes[0].wanted, 1);
}

#[test]
fn the_cluster_adds_up() {
    let mut world = world();
    world.see(|report| {
        report.warnings = vec!["no cgroups".to_owned()];
        let refused =
            TableRefusal { version: pando_model::Version::new(1, 9), reasons: vec!["bad".to_owned()] };
        let in_flight = [(instance_id(2), 7)].into();
        report.proxy =
            Some(ProxyStatus { alive: true, refused: Some(refused), in_flight, ..ProxyStatus::default() });
    });
    world.report.servers.insert(server(), "main is silent".to_owned());
    let cluster = world.view().cluster("1.2.3");
    let main = &cluster.servers[0];
    assert_eq!((main.reserved.cpu_millis, main.reserved.memory_bytes, main.instances), (1000, 200, 2));
    assert_eq!(main.proxy.as_ref().unwrap().refused, ["bad"]);
    assert_eq!(cluster.warnings, ["main is silent", "main: no cgroups"]);
    assert_eq!((cluster.apps[0].wanted, cluster.apps[0].ready), (2, 2));
    assert_eq!(world.status().replicas[1].in_flight, 7);
    assert_eq!(world.status().warnings, ["main: no cgroups"]);
    world.app().assigned.instances.clear();
    assert_eq!(world.status().warnings, [""; 0], "nothing of it runs there");
}

#[test]
fn what_replicas_lose_is_said_once() {
    let mut world = world();
    world.see(|report| {
        report.warnings = vec!["no cgroups".to_owned()];
        for status in report.instances.values_mut() {
            status.unmounted = vec!["/cache".to_owned(), "/data".to_owned()];
        }
    });
    let said = ["/cache", "/data"].map(pando_model::app::VolumeSpec::missing);
    assert_eq!(world.status().warnings, [said[0].as_str(), said[1].as_str(), "main: no cgroups"]);
    assert_eq!(world.status().replicas[1].unmounted, ["/cache", "/data"]);
    assert_eq!(world.view().cluster("1").warnings, ["main: no cgroups"], "it is the app's matter");
    // What leaves has lost it already.
    world.instance(1).phase = Phase::Draining { since: at(30), deadline: at(40) };
    world.instance(2).phase = Phase::Stopping { since: at(30) };
    assert_eq!(world.status().warnings, ["main: no cgroups"]);
}

#[test]
fn an_app_answers_at_its_domains_alone_once_it_has_some() {
    let mut world = world();
    world.entry.port = 80;
    assert_eq!(world.status().urls, ["http://localhost"]);
    let release = world.app().releases.get_mut(&ReleaseNumber(3)).unwrap();
    release.spec.domains = vec![DomainSpec {
        domain: "a.example".into(),
        aliases: vec!["b.example".into()],
        https: Default::default(),
    }];
    let status = world.status();
    assert_eq!(status.domains, ["a.example", "b.example"]);
    assert_eq!(status.urls, ["http://a.example", "http://b.example"]);
    let release = world.app().releases.get_mut(&ReleaseNumber(3)).unwrap();
    release.spec.domains.clear();
    world.state.world.settings.open_host = false;
    assert!(world.status().urls.is_empty());
}

#[test]
fn what_lacks_a_certificate_or_will_soon_is_told() {
    let mut world = world();
    let day = Millis::from_secs(24 * 3600);
    let until = |not_after| StoredCertificate { not_after, ..stored(&["a.example"]) };
    let mut hold = |name: &str, not_after| {
        world.state.certificates.insert(name.parse().unwrap(), until(not_after));
    };
    hold("a.example", at(NOW) + day + day);
    hold("b.example", at(NOW) - Millis(1));
    hold("c.example", at(NOW) + Millis::from_secs(14 * 24 * 3600));
    hold("d.example", at(NOW) + Millis(1));
    world.see(|report| {
        let bare = vec!["y.example".to_owned(), "x.example".to_owned()];
        report.proxy = Some(ProxyStatus { alive: true, without_certificate: bare, ..ProxyStatus::default() });
    });
    let told = world.view().cluster("1").warnings;
    assert_eq!(told, world.view().balancers(|_| Default::default()).warnings);
    assert!(
        told[0].starts_with("x.example has no certificate") && told[1].starts_with("y.example"),
        "{told:?}"
    );
    assert!(told[2].starts_with("the certificate a.example expires in 2 days, on "), "{told:?}");
    assert!(told[3].starts_with("the certificate b.example expired on "), "{told:?}");
    assert_eq!(told[4..], ["the certificate d.example expires within a day"]);
    // What a load balancer said that is not there any more is of no use.
    world.see(|report| report.proxy = None);
    assert_eq!(world.view().cluster("1").warnings.len(), 3);
}

#[test]
fn a_load_balancer_that_uses_older_certificates_is_named() {
    let mut world = world();
    let version = pando_routing::TableVersion { epoch: 1, revision: 4 };
    world.state.world.table = Some(pando_routing::Table { version, ..Default::default() });
    world.state.world.table_secrets = SecretMark("b".to_owned());
    let told = |world: &mut World, revision, mark: &str| {
        let acknowledged = Some(pando_model::id::Version::new(1, revision));
        let secrets = SecretMark(mark.to_owned());
        let proxy = ProxyStatus { alive: true, acknowledged, secrets, ..ProxyStatus::default() };
        world.see(|report| report.proxy = Some(proxy));
        let list = world.view().balancers(|_| Default::default());
        let named = list.warnings.iter().any(|line| line.starts_with("main uses older certificates"));
        assert_eq!(named, list.entry_points[0].proxy.older_secrets);
        (named, list.entry_points[0].is_working())
    };
    assert_eq!(told(&mut world, 4, "a"), (true, false));
    assert_eq!(told(&mut world, 4, "b"), (false, true));
    // Of an older table nothing else is expected.
    assert_eq!(told(&mut world, 3, "a"), (false, false));
}

#[test]
fn an_app_with_a_certificate_answers_over_https() {
    let mut world = world();
    let release = world.app().releases.get_mut(&ReleaseNumber(3)).unwrap();
    let domain = |name: &str| DomainSpec { domain: name.into(), aliases: vec![], https: Default::default() };
    release.spec.domains = vec![domain("a.example"), domain("b.example")];
    world.state.certificates.insert("a.example".parse().unwrap(), stored(&["a.example"]));
    assert_eq!(world.status().urls, ["https://a.example:8443", "http://b.example:8080"]);
    world.entry.https_port = Some(443);
    assert_eq!(world.status().urls[0], "https://a.example");
    world.entry.https_port = None;
    assert_eq!(world.status().urls[0], "http://a.example:8080");
    let list = world.view().certificates();
    assert_eq!(list.certificates[0].apps, [hits()]);
    assert_eq!(list.missing.iter().map(|it| it.domain.as_str()).collect::<Vec<_>>(), ["b.example"]);
}

#[test]
fn what_is_settled_waits_for_nothing() {
    let mut world = world();
    let process = pando_plan::ProcessReport { wanted: 2, ready: 1, line: "web: 1 of 2 ready".to_owned() };
    let mut report = pando_plan::AppReport { settled: false, ..Default::default() };
    report.processes.insert(ProcessName::web(), process);
    world.report.apps.insert(hits(), report.clone());
    assert_eq!(world.status().waiting_on, ["web: 1 of 2 ready"]);
    report.settled = true;
    world.report.apps.insert(hits(), report);
    assert!(world.status().waiting_on.is_empty());
}
