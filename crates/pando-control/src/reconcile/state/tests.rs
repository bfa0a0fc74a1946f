//! The loop, driven by hand over a store in memory.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pando_model::app::{
    Algorithm, AppSpec, HealthCheck, HealthKind, ProcessSpec, ReplicaCount, RunSource, Strategy,
};
use pando_model::assignment::Assignment;
use pando_model::desired::{Deployment, DeploymentKind, DeploymentPhase, PortKey, PortLease, Wish};
use pando_model::id::{DeploymentId, ServerId};
use pando_model::name::{AppName, ProcessName, RoleName, ServerName};
use pando_model::observed::{InstanceState, InstanceStatus, ProxyStatus, ReleaseState, ReleaseStatus};
use pando_model::release::{Digest, Release, ReleaseNumber};
use pando_model::resources::{Capacity, Resources};
use pando_model::server::Server;
use pando_model::{InstanceId, Version};
use uuid::Uuid;

use super::*;
use crate::store::{Key, Store, memory};

const START: i64 = 1_000_000;

struct Bench {
    store: Box<dyn Store>,
    state: State,
    now: i64,
    seed: u64,
    sequence: u64,
    shown: usize,
    /// The next transactions fail so: `None` is done, `Some(conflict)` isn't.
    trouble: Vec<Trouble>,
}

#[derive(Clone, Copy)]
enum Trouble {
    Conflict,
    Failure,
}

fn server_id() -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(1))
}

fn app_name() -> AppName {
    AppName::new("hits").unwrap()
}

impl Bench {
    async fn new() -> Self {
        let store: Box<dyn Store> = Box::new(memory::open().unwrap());
        let txn =
            Txn::new().put(Key::Epoch, &1_u64).unwrap().put(Key::ServerSpec(server_id()), &server()).unwrap();
        store.txn(txn).await.unwrap();
        let state = State::new(Timestamp::from_millis(START));
        Self { store, state, now: START, seed: 1, sequence: 0, shown: 0, trouble: Vec::new() }
    }

    /// One event and all that follows.
    async fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.seed += 1;
            for effect in step(&mut self.state, event.clone(), Timestamp::from_millis(self.now), self.seed) {
                match effect {
                    Effect::Load => {
                        let loaded = Loaded::load(self.store.as_ref()).await.unwrap();
                        events.push(Event::Loaded(Box::new(loaded)));
                    }
                    Effect::Commit(txn) => events.push(match self.trouble.pop() {
                        Some(Trouble::Conflict) => Event::Committed(Outcome::Conflict),
                        Some(Trouble::Failure) => Event::StoreFailed,
                        None => Event::Committed(self.store.txn(txn).await.unwrap()),
                    }),
                    Effect::Show => self.shown += 1,
                    Effect::Advance(length) => self.now += i64::try_from(length.0).unwrap(),
                    Effect::Publish | Effect::WakeAt(_) => {}
                }
            }
        }
    }

    async fn deploy(&mut self) {
        let created_at = Timestamp::from_millis(self.now);
        let release = Release {
            number: ReleaseNumber(1),
            spec: spec(),
            artifact: Some(Digest::new("a".repeat(64)).unwrap()),
            created_at,
            created_by: "test".to_owned(),
        };
        let deployment = Deployment {
            id: DeploymentId::from_uuid(Uuid::from_u128(9)),
            app: app_name(),
            kind: DeploymentKind::Deploy,
            release: release.number,
            created_at,
            created_by: "test".to_owned(),
            phase: DeploymentPhase::Queued,
            started_at: None,
            ended_at: None,
        };
        let txn = Txn::new().put(Key::AppRelease(app_name(), release.number), &release).unwrap();
        let txn = txn.put(Key::AppDeployment(app_name(), deployment.id), &deployment).unwrap();
        self.store.txn(txn).await.unwrap();
        self.event(Event::StoreChanged).await;
    }

    /// A report of an agent that did everything it was told, with the table that it was told.
    fn report(&mut self) -> AgentReport {
        self.sequence += 1;
        let world = &self.state.loaded.as_ref().unwrap().world;
        let assignment = world.assignments.get(&server_id());
        let ready = InstanceStatus {
            state: InstanceState::Ready,
            ready_for: Some(Millis(10_000)),
            restarts: 0,
            check: None,
            last_exit: None,
            pid: Some(7),
            start_period: None,
            unmounted: Vec::new(),
        };
        let ids: Vec<InstanceId> =
            assignment.map(|a| a.instances.keys().copied().collect()).unwrap_or_default();
        let releases = assignment.map(|a| a.releases.clone()).unwrap_or_default();
        AgentReport {
            server: server_id(),
            boot: Uuid::from_u128(5),
            sequence: self.sequence,
            assignment: assignment.map(|a| a.version).unwrap_or_default(),
            instances: ids.into_iter().map(|id| (id, ready.clone())).collect(),
            tasks: BTreeMap::new(),
            releases: releases
                .into_iter()
                .map(|r| ReleaseStatus { app: r.app.clone(), release: r.release, state: ReleaseState::Ready })
                .collect(),
            proxy: Some(ProxyStatus {
                alive: true,
                acknowledged: world.table.as_ref().map(|t| Version::new(t.version.epoch, t.version.revision)),
                ..ProxyStatus::default()
            }),
            capacity: Capacity::default(),
            firewall: None,
            warnings: Vec::new(),
        }
    }

    async fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.now += 100;
            let report = Box::new(self.report());
            self.event(Event::Reported { report, at: Timestamp::from_millis(self.now) }).await;
        }
    }

    fn committed(&self) -> Option<ReleaseNumber> {
        let world = &self.state.loaded.as_ref().unwrap().world;
        world.apps.get(&app_name())?.assigned.committed.map(|target| target.release)
    }
}

fn server() -> Server {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Server {
        id: server_id(),
        name: ServerName::new("main").unwrap(),
        roles: [RoleName::web()].into(),
        private_address: address,
        agent_address: SocketAddr::new(address, 7421),
        capacity: Capacity { cpu_millis: 2000, memory_bytes: 1 << 30 },
        public_address: None,
        standing: pando_model::Standing::Active,
        labels: BTreeMap::new(),
        joined_at: Timestamp::from_millis(0),
    }
}

fn spec() -> AppSpec {
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
        count: ReplicaCount::Total(2),
        container_port: None,
        health,
        stop_timeout: Millis(1000),
        resources: Resources::default(),
        servers: std::collections::BTreeSet::new(),
        labels: BTreeMap::new(),
        singleton: false,
        depends_on: Default::default(),
        user: None,
        min_ready: None,
        env: BTreeMap::new(),
    };
    AppSpec {
        name: app_name(),
        run: RunSource::Directory { path: ".".to_owned() },
        prepare: None,
        release_command: None,
        keep_releases: 5,
        strategy: Strategy::default(),
        min_ready: Millis::ZERO,
        processes: BTreeMap::from([(ProcessName::web(), web)]),
        domains: Vec::new(),
        routes: Vec::new(),
        balancing: Algorithm::RoundRobin,
        pools: BTreeMap::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_deployment_runs_to_its_end_and_what_it_did_is_in_the_store() {
    let mut bench = Bench::new().await;
    bench.event(Event::Tick).await;
    bench.deploy().await;
    bench.rounds(6).await;
    assert_eq!(bench.committed(), Some(ReleaseNumber(1)));
    let kept = Loaded::load(bench.store.as_ref()).await.unwrap();
    let held = bench.state.loaded.clone().unwrap();
    assert_eq!((kept.world, kept.ended, kept.revision), (held.world, held.ended, held.revision));
    let page = crate::events::read(
        bench.store.as_ref(),
        &crate::events::Wanted { app: Some(app_name()), after: Some(0), limit: 100, ..Default::default() },
    )
    .await
    .unwrap();
    let texts: Vec<&str> = page.events.iter().map(|event| event.text.as_str()).collect();
    assert!(texts.contains(&"deploying v1") && texts.contains(&"v1 is live: 2 replicas"), "{texts:#?}");
}

#[tokio::test]
async fn conflicts_and_failures_of_the_store_delay_and_break_nothing() {
    for trouble in [Trouble::Conflict, Trouble::Failure] {
        let mut bench = Bench::new().await;
        bench.event(Event::Tick).await;
        bench.deploy().await;
        for _ in 0..12 {
            bench.trouble = vec![trouble];
            bench.rounds(1).await;
            bench.trouble.clear();
            bench.event(Event::Tick).await;
        }
        assert_eq!(bench.committed(), Some(ReleaseNumber(1)));
    }
}

#[tokio::test]
async fn what_others_write_while_a_commit_is_under_way_is_read_at_once() {
    let mut bench = Bench::new().await;
    bench.event(Event::Tick).await;
    bench.deploy().await;
    bench.rounds(1).await;
    let report = Box::new(bench.report());
    let event = Event::Reported { report, at: Timestamp::from_millis(bench.now) };
    let effects = step(&mut bench.state, event, Timestamp::from_millis(bench.now), 7);
    let commit = effects.into_iter().find_map(|effect| match effect {
        Effect::Commit(txn) => Some(txn),
        _ => None,
    });
    let wish = Wish { stopped: true, ..Wish::default() };
    let by_people = Txn::new().put(Key::AppSpec(app_name()), &wish).unwrap();
    bench.store.txn(by_people).await.unwrap();
    let outcome = bench.store.txn(commit.unwrap()).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)));
    bench.event(Event::Committed(outcome)).await;
    let loaded = bench.state.loaded.as_ref().unwrap();
    assert_eq!(loaded.world.apps[&app_name()].wish, wish);
}

#[tokio::test]
async fn a_clock_that_went_back_between_two_starts_is_moved_on_to_what_is_recorded() {
    let mut bench = Bench::new().await;
    bench.event(Event::Tick).await;
    bench.deploy().await;
    bench.rounds(3).await;
    let recorded = bench.state.loaded.as_ref().unwrap().world.published_at;
    assert!(recorded.as_millis() >= START);
    bench.now = START - 3_600_000;
    bench.state = State::new(Timestamp::from_millis(bench.now));
    bench.event(Event::Tick).await;
    assert!(bench.now >= recorded.as_millis(), "{} is before {recorded}", bench.now);
    let since = bench.state.observed.since.as_millis();
    assert_eq!(since, bench.now, "nobody is lost because the clock was moved on");
    let before = bench.now;
    bench.event(Event::StoreChanged).await;
    assert_eq!(bench.now, before, "once is enough");
}

#[tokio::test]
async fn old_and_repeated_reports_change_nothing() {
    let mut bench = Bench::new().await;
    bench.event(Event::Tick).await;
    bench.deploy().await;
    bench.rounds(2).await;
    let (seen, shown) = (bench.state.observed.clone(), bench.shown);
    for sequence in [0, 1, 2] {
        let report = Box::new(AgentReport { sequence, ..bench.report() });
        bench.event(Event::Reported { report, at: Timestamp::from_millis(bench.now) }).await;
    }
    assert_eq!((&seen, shown), (&bench.state.observed, bench.shown));
    let boot = Uuid::from_u128(6);
    let report = Box::new(AgentReport { sequence: 1, boot, ..bench.report() });
    bench.event(Event::Reported { report, at: Timestamp::from_millis(bench.now) }).await;
    assert_eq!(
        bench.state.observed.servers[&server_id()].report.boot,
        boot,
        "a new run of the agent counts anew"
    );
}

#[tokio::test]
async fn what_others_bring_of_a_server_is_no_word_of_its_own() {
    let mut bench = Bench::new().await;
    bench.event(Event::Tick).await;
    let relayed = |bench: &mut Bench| {
        bench.sequence += 1;
        Event::Relayed { report: Box::new(bench.report()), at: Timestamp::from_millis(bench.now) }
    };
    let began = bench.state.observed.since;
    bench.now += 100;
    let event = relayed(&mut bench);
    bench.event(event).await;
    let seen = |bench: &Bench| bench.state.observed.servers[&server_id()].clone();
    assert_eq!(seen(&bench).heard_at, began, "it has never spoken itself");
    bench.rounds(1).await;
    let spoke_at = Timestamp::from_millis(bench.now);
    bench.now += 700;
    let event = relayed(&mut bench);
    bench.event(event).await;
    let now = Timestamp::from_millis(bench.now);
    let seen = seen(&bench);
    assert_eq!((seen.heard_at, seen.reported_at, seen.proxy_heard_at), (spoke_at, now, Some(now)));
}

#[tokio::test]
async fn a_report_without_news_is_shown_and_not_planned_for() {
    let mut bench = Bench::new().await;
    bench.event(Event::Tick).await;
    bench.deploy().await;
    bench.rounds(6).await;
    bench.now += 2000;
    let mut heard = |change: fn(&mut InstanceStatus)| {
        let mut report = bench.report();
        report.instances.values_mut().for_each(change);
        let (now, report) = (Timestamp::from_millis(bench.now), Box::new(report));
        step(&mut bench.state, Event::Reported { report, at: now }, now, 1)
    };
    assert_eq!(heard(|status| status.ready_for = Some(Millis(12_000))), [Effect::Show]);
    let planned = heard(|status| status.state = InstanceState::Unhealthy);
    assert!(planned.iter().any(|effect| matches!(effect, Effect::WakeAt(_))), "{planned:?}");
}

#[tokio::test]
async fn a_server_that_was_removed_and_is_lost_is_forgotten_with_all_that_is_kept_of_it() {
    let mut bench = Bench::new().await;
    let id = ServerId::from_uuid(Uuid::from_u128(2));
    let name = ServerName::new("gone").unwrap();
    let gone = Server { id, name, standing: pando_model::Standing::Leaving, ..server() };
    let lease = PortLease { app: app_name(), instance: None, changed_at: Timestamp::from_millis(0) };
    let other = PortKey { server: server_id(), port: 20_000 };
    let txn = Txn::new().put(Key::ServerSpec(id), &gone).unwrap();
    let txn = txn.put(Key::ServerAssignment(id), &Assignment::empty(id)).unwrap();
    let txn = txn.put(Key::Port(PortKey { server: id, port: 20_000 }), &lease).unwrap();
    bench.store.txn(txn.put(Key::Port(other), &lease).unwrap()).await.unwrap();
    bench.event(Event::Tick).await;
    let known = |bench: &Bench| bench.state.loaded.as_ref().unwrap().world.servers.contains_key(&id);
    assert!(known(&bench), "nothing is lost so soon after the control plane began");
    bench.now += 31_000;
    bench.event(Event::Tick).await;
    assert!(!known(&bench));
    let kept = Loaded::load(bench.store.as_ref()).await.unwrap();
    assert_eq!(kept.world, bench.state.loaded.clone().unwrap().world);
    assert_eq!(kept.world.ports.keys().collect::<Vec<_>>(), [&other]);
    assert!(!kept.world.assignments.contains_key(&id) && kept.modified(&Key::ServerSpec(id)).is_none());
}

#[test]
fn lines_differ_by_what_they_say_not_by_the_clock() {
    let lines = [
        "web: 1 of 2 ready on main; waiting on web-2: exit code 1, starts again in 400 ms",
        "web: 1 of 2 ready on main; waiting on web-2: exit code 1, starts again in 210 ms",
    ];
    assert_eq!(gist(lines[0]), gist(lines[1]));
    assert_ne!(gist(lines[0]), gist("web: 2 of 2 ready on main"));
}
