//! Who reaches whom: every port of every server is tried from every other, and compared with what was computed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pando_model::AppSpec;
use pando_model::app::{
    Algorithm, HealthCheck, HealthKind, ProcessSpec, ReplicaCount, RunSource, ServiceSpec, Strategy,
};
use pando_model::desired::{AppDesired, Desired, Target};
use pando_model::firewall::FirewallRules;
use pando_model::id::{DeploymentId, ServerId};
use pando_model::name::{AppName, ProcessName, RoleName, ServerName, ServiceName};
use pando_model::observed::Observed;
use pando_model::release::{Release, ReleaseNumber};
use pando_model::resources::{Capacity, Resources};
use pando_model::server::{Server, Standing};
use pando_model::time::{Millis, Timestamp};
use pando_plan::{Input, World};
use uuid::Uuid;

use super::bed::{Bed, assign, bed, id, in_force, v4, v6};

/// Listened at on every server, beside the API's and the agents' own.
const PORTS: [u16; 9] = [22, 80, 443, 3306, 5432, 20_000, 25_000, 32_767, 32_768];
const ALL_PORTS: [u16; 11] = [22, 80, 443, 3306, 5432, 7420, 7421, 20_000, 25_000, 32_767, 32_768];
/// On the same network, but none of the cluster.
const STRANGER: u8 = 99;

fn process(role: &str) -> ProcessSpec {
    let millis = Millis(1000);
    ProcessSpec {
        command: Some("bin/run".to_owned()),
        role: RoleName::new(role).unwrap(),
        count: ReplicaCount::PerServer(1),
        container_port: None,
        health: HealthCheck {
            kind: HealthKind::Tcp,
            interval: millis,
            timeout: millis,
            healthy: 1,
            unhealthy: 1,
            start_timeout: millis,
        },
        stop_timeout: millis,
        resources: Resources::default(),
        singleton: false,
        depends_on: Default::default(),
        user: None,
        min_ready: None,
        env: BTreeMap::new(),
        servers: BTreeSet::new(),
        labels: BTreeMap::new(),
    }
}

/// An app with `web` and `worker`, and PostgreSQL on the servers with the role `db`.
fn app() -> AppDesired {
    let role = RoleName::new("db").unwrap();
    let postgres = ServiceSpec { kind: "postgres".to_owned(), role, port: 5432, url: None };
    let spec = AppSpec {
        name: AppName::new("hits").unwrap(),
        run: RunSource::Directory { path: ".".to_owned() },
        prepare: None,
        release_command: None,
        keep_releases: 5,
        strategy: Strategy::default(),
        min_ready: Millis::ZERO,
        processes: ["web", "worker"].map(|name| (ProcessName::new(name).unwrap(), process(name))).into(),
        domains: Vec::new(),
        routes: Vec::new(),
        balancing: Algorithm::default(),
        pools: BTreeMap::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::from([(ServiceName::new("main").unwrap(), postgres)]),
    };
    let number = ReleaseNumber(1);
    let created_at = Timestamp::from_millis(0);
    let release = Release { number, spec, artifact: None, created_at, created_by: String::new() };
    let mut app = AppDesired::default();
    app.releases.insert(number, release);
    app.assigned.committed =
        Some(Target { release: number, deployment: DeploymentId::from_uuid(Uuid::nil()) });
    app
}

fn world() -> World {
    let mut world = Desired { epoch: 1, ..Desired::default() };
    world.settings.firewall.enabled = true;
    world.apps.insert(AppName::new("hits").unwrap(), app());
    world
}

/// At its IPv4 address in the private network; its IPv6 address counts as public.
fn set_server(world: &mut World, n: u8, roles: &[&str]) {
    let server = Server {
        id: id(n),
        name: ServerName::new(format!("s{n}")).unwrap(),
        roles: roles.iter().map(|role| RoleName::new(*role).unwrap()).collect(),
        private_address: v4(n),
        public_address: Some(v6(n)),
        agent_address: SocketAddr::new(v4(n), 7421),
        capacity: Capacity::default(),
        labels: BTreeMap::new(),
        standing: Standing::Active,
        joined_at: Timestamp::from_millis(0),
    };
    world.servers.insert(id(n), server);
}

fn computed(world: &World) -> BTreeMap<ServerId, FirewallRules> {
    let now = Timestamp::from_millis(1);
    pando_plan::firewall::rules(&Input { desired: world, observed: &Observed::default(), now, seed: 0 })
}

/// What answers at all: the API is on the first server alone, on its IPv4 address, and agents are on theirs.
fn answers(to: u8, v6: bool, port: u16) -> bool {
    match port {
        7420 => to == 1 && !v6,
        7421 => !v6,
        _ => true,
    }
}

/// The number of connections that were let in, and of those that were kept out.
fn compare(bed: &Bed, world: &World) -> (usize, usize) {
    let rules = computed(world);
    let (mut open, mut closed) = (0, 0);
    let froms: Vec<u8> = (1..=4).chain([STRANGER]).collect();
    let knocks = |from: u8| {
        let mut places = Vec::new();
        let mut expected = BTreeSet::new();
        for (to, address, other) in
            (1..=4).filter(|to| *to != from).flat_map(|to| [(to, v4(to), v4(from)), (to, v6(to), v6(from))])
        {
            for port in ALL_PORTS.into_iter().filter(|port| answers(to, address.is_ipv6(), *port)) {
                let place = SocketAddr::new(address, port);
                places.push(place);
                if pando_plan::firewall::allowed(&rules[&id(to)], other, port).is_some() {
                    expected.insert(place);
                }
            }
        }
        (places, expected)
    };
    let found: Vec<(u8, BTreeSet<SocketAddr>)> = std::thread::scope(|scope| {
        let tries = froms.iter().map(|from| {
            let places = knocks(*from).0;
            (*from, scope.spawn(move || bed.knock(*from, &places)))
        });
        let tries: Vec<_> = tries.collect();
        tries.into_iter().map(|(from, thread)| (from, thread.join().unwrap())).collect()
    });
    for (from, reached) in found {
        let (places, expected) = knocks(from);
        assert_eq!(reached, expected, "from server {from}");
        open += expected.len();
        closed += places.len() - expected.len();
    }
    (open, closed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reached_is_what_was_computed_before_and_after_every_move() {
    let Some(mut bed) = bed(&[1, 2, 3, 4, STRANGER]) else { return };
    for server in 1..=4 {
        bed.listen(server, &PORTS);
    }
    let control = bed.control(1);
    let agents: Vec<_> = (1..=4).map(|server| bed.agent(server, &control)).collect();
    let mut world = world();
    let moves: [(&str, [&[&str]; 4], bool); 4] = [
        (
            "everything on the first",
            [&["control", "db", "web", "worker"], &["other"], &["other"], &["other"]],
            false,
        ),
        ("a worker server joins", [&["control", "db", "web"], &["worker"], &["other"], &["other"]], false),
        ("and a balancer", [&["control", "db", "web"], &["worker"], &["lb"], &["web"]], false),
        ("lockdown, and another database", [&["control", "web"], &["worker", "db"], &["lb"], &["web"]], true),
    ];
    for (revision, (what, roles, lockdown)) in (1u64..).zip(moves) {
        for (n, roles) in (1u8..).zip(roles) {
            set_server(&mut world, n, roles);
        }
        world.settings.lockdown = lockdown;
        for (n, rules) in (1u8..).zip(computed(&world).into_values()) {
            assign(&control, n, revision, rules);
        }
        for n in 1..=4 {
            let report = in_force(&control, n, revision).await;
            assert_eq!(report.firewall.unwrap().problems, Vec::<String>::new());
        }
        let (open, closed) = compare(&bed, &world);
        println!("{what}: {open} connections let in, {closed} kept out, all as computed");
    }
    // Turned off, everything is as if it had never been.
    world.settings.firewall.enabled = false;
    for (n, rules) in (1u8..).zip(computed(&world).into_values()) {
        assign(&control, n, 9, rules);
    }
    for n in 1..=4 {
        crate::bench::until("no table", || bed.table(n).is_empty()).await;
        assert!(bed.reaches(STRANGER, SocketAddr::new(v4(n), 3306)));
        assert_eq!(bed.run(n, "nft", &["list", "ruleset"]), "", "nothing else was touched");
    }
    drop(agents);
}
