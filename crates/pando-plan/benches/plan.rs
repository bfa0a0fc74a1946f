//! How long planning takes for 1,000 servers with 10,000 replicas of 20 apps.
//!
//! `script/bench cluster` prints the figures. The aims: a full plan within 20 ms,
//! and 2 ms for a tick in which nothing has changed, which is what every server
//! reports every two seconds. What is measured is the time of the processor, so
//! that whatever else a machine does counts little.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

#[allow(dead_code, reason = "stories use more of it")]
#[path = "../tests/it/spec.rs"]
mod spec;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use pando_model::app::{AppSpec, DomainSpec, EnvValue, Strategy};
use pando_model::assignment::{Assignment, Sharing};
use pando_model::desired::{Deployment, DeploymentKind, DeploymentPhase};
use pando_model::id::{DeploymentId, Entropy, ServerId, Version};
use pando_model::name::{AppName, RoleName};
use pando_model::observed::{
    AgentReport, InstanceState, InstanceStatus, Observed, ProxyStatus, ReleaseState, ReleaseStatus,
};
use pando_model::release::{Digest, Release, ReleaseNumber};
use pando_model::resources::{Capacity, Resources};
use pando_model::server::Server;
use pando_model::time::{Millis, Timestamp};
use pando_plan::input::heard;
use pando_plan::{Action, Input, Plan, World, check, has_news, plan};

/// What this thread has had of the processor.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    #[allow(clippy::cast_precision_loss, reason = "years of nanoseconds fit")]
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        static WALL: WallTime = WallTime;
        WALL.formatter()
    }
}

const SERVERS: u32 = 1000;
const APPS: u32 = 20;
const WEB: u32 = 300;
const WORKERS: u32 = 200;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

fn server(number: u32) -> Server {
    // Scattered, as a cloud gives them out.
    let [_, _, high, low] = (number * 40_503 % 65_536).to_be_bytes();
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, high, low));
    let roles = match number % 50 {
        0 => vec!["lb"],
        rest if rest % 2 == 0 => vec!["web"],
        _ => vec!["web", "worker"],
    };
    Server {
        id: ServerId::new(at(0), &mut Entropy::from_seed(u64::from(number))),
        roles: roles.into_iter().map(|role| RoleName::new(role).unwrap()).collect(),
        private_address: address,
        agent_address: SocketAddr::new(address, 7421),
        capacity: Capacity { cpu_millis: 16_000, memory_bytes: 64_000_000_000 },
        joined_at: at(0),
        ..spec::server(&format!("server-{number:04}"), 0)
    }
}

fn app(name: &AppName) -> AppSpec {
    let env = (0..8).map(|n| (format!("SETTING_{n}"), EnvValue::Value(format!("value number {n}"))));
    let mut app = AppSpec {
        name: name.clone(),
        strategy: Strategy::default(),
        domains: vec![DomainSpec {
            domain: format!("{name}.example.com"),
            aliases: Vec::new(),
            https: Default::default(),
        }],
        env: env.collect(),
        ..spec::app(WEB, WORKERS)
    };
    for process in app.processes.values_mut() {
        process.resources = Resources { cpu_millis: Some(500), memory_bytes: Some(512_000_000), pids: None };
    }
    app
}

fn empty_world() -> World {
    let mut world = World { epoch: 1, ..World::default() };
    world.settings.lockdown = true;
    world.servers = (0..SERVERS).map(server).map(|server| (server.id, server)).collect();
    for number in 0..APPS {
        let name = AppName::new(format!("app-{number:02}")).unwrap();
        deploy(&mut world, &name, 1);
    }
    world
}

fn deploy(world: &mut World, name: &AppName, number: u64) {
    let release = Release {
        number: ReleaseNumber(number),
        spec: app(name),
        artifact: Some(Digest::new("a".repeat(64)).unwrap()),
        created_at: at(0),
        created_by: "bench".to_owned(),
    };
    let deployment = Deployment {
        id: DeploymentId::new(at(number.try_into().unwrap()), &mut Entropy::from_seed(number)),
        app: name.clone(),
        kind: DeploymentKind::Deploy,
        release: release.number,
        created_at: at(0),
        created_by: "bench".to_owned(),
        phase: DeploymentPhase::Queued,
        started_at: None,
        ended_at: None,
    };
    let app = world.apps.entry(name.clone()).or_default();
    app.releases.insert(release.number, release);
    app.deployments.push_back(deployment);
}

/// Reports of agents and load balancers that have done everything they were told.
fn all_is_well(world: &World, now: Timestamp) -> Observed {
    let seen = |server: &Server| {
        let assignment =
            world.assignments.get(&server.id).cloned().unwrap_or_else(|| Assignment::empty(server.id));
        let ready = InstanceStatus {
            state: InstanceState::Ready,
            ready_for: Some(Millis::from_secs(3600)),
            restarts: 0,
            check: None,
            last_exit: None,
            pid: Some(1),
            start_period: None,
            unmounted: Vec::new(),
        };
        let version = world.table.as_ref().map(|table| table.version);
        let proxy = assignment.entry.map(|_| ProxyStatus {
            alive: true,
            acknowledged: version.map(|version| Version::new(version.epoch, version.revision)),
            ..ProxyStatus::default()
        });
        let releases = assignment.releases.iter().map(|held| ReleaseStatus {
            app: held.app.clone(),
            release: held.release,
            state: ReleaseState::Ready,
        });
        let report = AgentReport {
            server: server.id,
            boot: uuid::Uuid::nil(),
            sequence: 1,
            assignment: assignment.version,
            instances: assignment.instances.keys().map(|id| (*id, ready.clone())).collect(),
            tasks: BTreeMap::new(),
            releases: releases.collect(),
            proxy,
            capacity: server.capacity,
            firewall: None,
            warnings: Vec::new(),
        };
        (server.id, Arc::new(heard(None, report, now)))
    };
    Observed { since: at(-3600), servers: world.servers.values().map(seen).collect() }
}

fn carry_out(world: &mut World, plan: Plan, now: Timestamp) {
    for action in plan.actions {
        match action {
            Action::RecordAssigned { app, assigned } => {
                world.apps.get_mut(&app).unwrap().assigned = assigned;
            }
            Action::RecordDeployment(deployment) => {
                let held = &mut world.apps.get_mut(&deployment.app).unwrap().deployments;
                held.retain(|held| held.id != deployment.id);
                if !deployment.phase.has_ended() {
                    held.push_front(deployment);
                }
            }
            Action::RecordPort { key, lease } => drop(world.ports.insert(key, lease.unwrap())),
            Action::Publish(table) => world.take_table(table, now),
            Action::Assign(assignment) => drop(world.assignments.insert(assignment.server, assignment)),
            Action::ForgetRelease { .. } | Action::ForgetServer(_) => {}
        }
    }
}

fn input<'a>(world: &'a World, observed: &'a Observed, now: Timestamp) -> Input<'a> {
    Input { desired: world, observed, now, seed: 1 }
}

/// One round: agents report, planning answers, until it has nothing more to say to these reports.
fn round(world: &mut World, observed: &Observed, now: Timestamp) {
    for seed in 0.. {
        let made = plan(&Input { seed, ..input(world, observed, now) });
        if made.actions.is_empty() {
            return;
        }
        carry_out(world, made, now);
    }
}

fn settled() -> World {
    let mut world = empty_world();
    for second in 0..10 {
        let now = at(second * 60);
        let observed = all_is_well(&world, now);
        round(&mut world, &observed, now);
    }
    let replicas: usize = world.apps.values().map(|app| app.assigned.instances.len()).sum();
    assert_eq!(replicas, (APPS * (WEB + WORKERS)) as usize);
    assert!(world.apps.values().all(|app| app.assigned.committed.is_some() && app.deployments.is_empty()));
    as_read(world)
}

/// As a control plane has it that has just read its store.
fn as_read(mut world: World) -> World {
    let mut sharing = Sharing::default();
    for assignment in world.assignments.values_mut() {
        let written = serde_json::to_vec(assignment).unwrap();
        *assignment = sharing.share(serde_json::from_slice(&written).unwrap());
    }
    world
}

/// Every app has its release on every server, and starts.
fn about_to_start() -> (World, Observed) {
    let (mut world, now) = (empty_world(), at(0));
    let observed = all_is_well(&world, now);
    let made = plan(&input(&world, &observed, now));
    carry_out(&mut world, made, now);
    let observed = all_is_well(&world, now);
    (world, observed)
}

fn bench(criterion: &mut Criterion<ProcessorTime>) {
    let mut group = criterion.benchmark_group("1000 servers, 10000 replicas");
    group.sample_size(20);
    let world = settled();
    let now = at(601);
    let observed = all_is_well(&world, now);
    assert_eq!(plan(&input(&world, &observed, now)).actions, []);
    let server = *world.assignments.iter().max_by_key(|(_, told)| told.instances.len()).unwrap().0;
    let (before, later) = (&observed.servers[&server], at(603));
    let after = heard(Some(before), AgentReport { sequence: 2, ..before.report.clone() }, later);
    assert!(!has_news(&world, Some(before), &after));
    group.bench_function("a report without news", |b| {
        b.iter(|| has_news(black_box(&world), Some(before), &after));
    });

    group.bench_function("nothing has changed", |b| {
        b.iter(|| plan(black_box(&input(&world, &observed, now))))
    });

    let made = plan(&input(&world, &observed, now));
    group.bench_function("check of an idle plan", |b| {
        b.iter(|| check(black_box(&input(&world, &observed, now)), &made))
    });

    let (starting, heard) = about_to_start();
    assert!(plan(&input(&starting, &heard, at(0))).actions.len() > 2000);
    group.bench_function("the first 2000 replicas are placed", |b| {
        b.iter(|| plan(black_box(&input(&starting, &heard, at(0)))));
    });

    let mut rolling = world.clone();
    for name in world.apps.keys() {
        deploy(&mut rolling, name, 2);
    }
    round(&mut rolling, &observed, now);
    let unpacked = all_is_well(&rolling, now);
    assert!(plan(&input(&rolling, &unpacked, now)).actions.len() > 20);
    group.bench_function("a deployment of every app begins to roll", |b| {
        b.iter(|| plan(black_box(&input(&rolling, &unpacked, now))));
    });

    let mut mourned = observed.clone();
    for id in world.servers.keys().skip(1).step_by(10) {
        let silent = Arc::make_mut(mourned.servers.get_mut(id).unwrap());
        (silent.heard_at, silent.reported_at) = (at(500), at(500));
    }
    assert!(plan(&input(&world, &mourned, now)).actions.len() > 1000);
    group.bench_function("100 servers are lost", |b| {
        b.iter(|| plan(black_box(&input(&world, &mourned, now))))
    });

    group.bench_function("all is published anew", |b| {
        let mut fresh = world.clone();
        fresh.epoch = 2;
        b.iter(|| plan(black_box(&input(&fresh, &observed, now))));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = bench
}
criterion_main!(benches);
