//! Which rules follow from which facts.

use std::net::SocketAddr;

use pando_model::app::{HealthCheck, HealthKind, ReplicaCount, RunSource, Strategy};
use pando_model::assignment::Assignment;
use pando_model::desired::{AppDesired, Desired, Instance, Phase, Target};
use pando_model::firewall::Ports;
use pando_model::id::{DeploymentId, Entropy, InstanceId, Version};
use pando_model::name::{ProcessName, ReplicaName, RoleName, ServerName};
use pando_model::observed::{AgentReport, Observed, ProxyStatus};
use pando_model::resources::{Capacity, Resources};
use pando_model::time::{Millis, Timestamp};
use uuid::Uuid;

use super::*;
use crate::input::World;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// Server `n` at 10.0.0.n.
fn server(n: u8, roles: &[&str]) -> Server {
    let address = IpAddr::from([10, 0, 0, n]);
    Server {
        id: id(n),
        name: ServerName::new(format!("s{n}")).unwrap(),
        roles: roles.iter().map(|role| RoleName::new(*role).unwrap()).collect(),
        private_address: address,
        public_address: None,
        agent_address: SocketAddr::new(address, 7421),
        capacity: Capacity::default(),
        labels: BTreeMap::new(),
        standing: pando_model::Standing::Active,
        joined_at: Timestamp::from_millis(0),
    }
}

fn id(n: u8) -> ServerId {
    ServerId::new(Timestamp::from_millis(0), &mut Entropy::from_seed(u64::from(n)))
}

fn process(role: &str) -> ProcessSpec {
    ProcessSpec {
        command: None,
        role: RoleName::new(role).unwrap(),
        count: ReplicaCount::PerServer(1),
        container_port: None,
        health: HealthCheck {
            kind: HealthKind::Tcp,
            interval: Millis(1),
            timeout: Millis(1),
            healthy: 1,
            unhealthy: 1,
            start_timeout: Millis(1),
        },
        stop_timeout: Millis(1),
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

/// `web` and `worker` with a PostgreSQL on servers with the role `db`, committed as v1.
fn app(name: &str) -> AppDesired {
    let named = |name: &str| ProcessName::new(name).unwrap();
    let postgres = ServiceSpec {
        kind: "postgres".to_owned(),
        role: RoleName::new("db").unwrap(),
        port: 5432,
        url: None,
    };
    let spec = AppSpec {
        name: AppName::new(name).unwrap(),
        run: RunSource::Directory { path: ".".to_owned() },
        prepare: None,
        release_command: None,
        keep_releases: 5,
        strategy: Strategy::default(),
        min_ready: Millis::ZERO,
        processes: BTreeMap::from([(named("web"), process("web")), (named("worker"), process("worker"))]),
        domains: Vec::new(),
        routes: Vec::new(),
        balancing: pando_model::app::Algorithm::default(),
        pools: BTreeMap::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::from([(ServiceName::new("main").unwrap(), postgres)]),
    };
    let number = ReleaseNumber(1);
    let release = Release { number, spec, artifact: None, created_at: NOW, created_by: String::new() };
    let mut app = AppDesired::default();
    app.releases.insert(number, release);
    app.assigned.committed = Some(target(1));
    app
}

fn target(release: u64) -> Target {
    Target { release: ReleaseNumber(release), deployment: DeploymentId::from_uuid(Uuid::nil()) }
}

fn spec(app: &mut AppDesired) -> &mut AppSpec {
    &mut app.releases.get_mut(&ReleaseNumber(1)).unwrap().spec
}

fn world(servers: &[Server]) -> World {
    let mut world = Desired { epoch: 1, ..Desired::default() };
    world.settings.firewall.enabled = true;
    world.servers = servers.iter().map(|server| (server.id, server.clone())).collect();
    world.apps.insert(AppName::new("hits").unwrap(), app("hits"));
    world
}

fn of(world: &World, n: u8) -> FirewallRules {
    seen(world, &Observed::default(), n)
}

fn seen(world: &World, observed: &Observed, n: u8) -> FirewallRules {
    let input = Input { desired: world, observed, now: NOW, seed: 0 };
    rules(&input).remove(&id(n)).unwrap()
}

/// The rules as people see them, a line each.
fn told(rules: &FirewallRules) -> Vec<String> {
    let nothing = FirewallRules::default();
    changes(&nothing, rules).iter().map(ToString::to_string).collect()
}

fn may(rules: &FirewallRules, from: u8, port: u16) -> bool {
    allowed(rules, IpAddr::from([10, 0, 0, from]), port).is_some()
}

#[test]
fn each_server_accepts_what_its_roles_need_and_says_why() {
    let world = world(&[
        server(1, &["control", "db"]),
        server(2, &["web"]),
        server(3, &["worker"]),
        server(4, &["lb"]),
    ]);
    let all = "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4";
    let ssh = "22/tcp: opened to anywhere (SSH, from anywhere: the settings name no addresses)";
    let agent = format!("7421/tcp: opened to {all} (the agent, from the cluster's servers)");
    assert_eq!(
        told(&of(&world, 1)),
        [
            ssh.to_owned(),
            "5432/tcp: opened to 10.0.0.2, 10.0.0.3 (postgres (main), from servers that run hits)".to_owned(),
            format!("7420/tcp: opened to {all} (the API, from the cluster's servers)"),
            agent.clone(),
        ]
    );
    let outside = "requests from outside: it has the role web, and direct access is open";
    assert_eq!(
        told(&of(&world, 2)),
        [
            ssh.to_owned(),
            format!("80/tcp: opened to anywhere ({outside})"),
            format!("443/tcp: opened to anywhere ({outside})"),
            agent.clone(),
            "20000-32767/tcp: opened to 10.0.0.2, 10.0.0.4 (replicas, from entry points)".to_owned(),
        ]
    );
    assert_eq!(told(&of(&world, 3)), [ssh.to_owned(), agent.clone()]);
    let outside = "requests from outside: it has the role lb";
    assert_eq!(
        told(&of(&world, 4)),
        [
            ssh.to_owned(),
            format!("80/tcp: opened to anywhere ({outside})"),
            format!("443/tcp: opened to anywhere ({outside})"),
            agent,
        ]
    );
}

#[test]
fn lockdown_leaves_the_door_to_load_balancers() {
    let mut world = world(&[server(1, &["web"]), server(2, &["lb"]), server(3, &["web"])]);
    assert!(may(&of(&world, 1), 99, 80) && may(&of(&world, 1), 3, 20_000));
    world.settings.lockdown = true;
    let rules = of(&world, 1);
    assert!(!may(&rules, 99, 80) && !may(&rules, 99, 443) && !may(&rules, 3, 20_000));
    assert!(may(&rules, 2, 20_000) && may(&rules, 2, 32_767) && !may(&rules, 2, 32_768));
    assert!(may(&of(&world, 2), 99, 80));
}

#[test]
fn a_balancer_that_is_still_ending_reaches_replicas_until_it_is_gone() {
    let mut world = world(&[server(1, &["web"]), server(2, &["worker"])]);
    world.settings.lockdown = true;
    let mut observed = Observed { since: NOW, servers: BTreeMap::new() };
    assert!(!may(&seen(&world, &observed, 1), 2, 20_000));
    let proxy = ProxyStatus { alive: true, ..ProxyStatus::default() };
    let report = AgentReport {
        server: id(2),
        boot: Uuid::nil(),
        sequence: 1,
        assignment: Version::default(),
        instances: BTreeMap::new(),
        tasks: BTreeMap::new(),
        releases: Vec::new(),
        proxy: Some(proxy),
        capacity: Capacity::default(),
        firewall: None,
        warnings: Vec::new(),
    };
    let mut heard = crate::input::heard(None, report, NOW);
    observed.servers.insert(id(2), heard.clone().into());
    assert!(may(&seen(&world, &observed, 1), 2, 20_000));
    heard.report.proxy = None;
    observed.servers.insert(id(2), heard.into());
    assert!(!may(&seen(&world, &observed, 1), 2, 20_000));
}

#[test]
fn databases_accept_the_servers_that_may_run_their_apps() {
    let mut world =
        world(&[server(1, &["db"]), server(2, &["worker"]), server(3, &["worker"]), server(4, &["other"])]);
    let reached = |world: &World| (2..=4).filter(|n| may(&of(world, 1), *n, 5432)).collect::<Vec<u8>>();
    assert_eq!(reached(&world), [2, 3]);
    let hits = world.apps.get_mut(&AppName::new("hits").unwrap()).unwrap();
    let worker = ProcessName::new("worker").unwrap();
    let pinned = spec(hits).processes.get_mut(&worker).unwrap();
    pinned.servers.insert(ServerName::new("s3").unwrap());
    assert_eq!(reached(&world), [3]);
    // One that still runs where it no longer may: it is not cut off before it has ended.
    leave(&mut world, "worker", 4);
    assert_eq!(reached(&world), [3, 4]);
}

/// One replica of the process still runs on server `n`.
fn leave(world: &mut World, process: &str, n: u8) {
    let leaving = Instance {
        replica: ReplicaName::new(ProcessName::new(process).unwrap(), 1),
        target: target(1),
        server: id(n),
        port: 20_000,
        created_at: NOW,
        phase: Phase::Stopping { since: NOW },
        unready_since: None,
    };
    let hits = world.apps.get_mut(&AppName::new("hits").unwrap()).unwrap();
    hits.assigned.instances.insert(InstanceId::from_uuid(Uuid::nil()), leaving);
}

#[test]
fn entry_points_reach_what_gets_requests_and_nothing_else_that_runs() {
    let mut world = world(&[server(1, &["web"]), server(2, &["worker"]), server(4, &["other"])]);
    leave(&mut world, "worker", 2);
    assert!(!may(&of(&world, 2), 1, 20_000) && !may(&of(&world, 4), 1, 20_000));
    leave(&mut world, "web", 4);
    assert!(may(&of(&world, 4), 1, 20_000), "where it no longer may run, but still does");
}

#[test]
fn what_several_apps_need_of_one_port_is_one_rule() {
    let mut world = world(&[server(1, &["db"]), server(2, &["web"]), server(3, &["shop"])]);
    let mut shop = app("shop");
    spec(&mut shop).processes = BTreeMap::from([(ProcessName::web(), process("shop"))]);
    world.apps.insert(AppName::new("shop").unwrap(), shop);
    let rules = of(&world, 1);
    let rule = allowed(&rules, IpAddr::from([10, 0, 0, 3]), 5432).unwrap();
    assert_eq!(rule.from.to_string(), "10.0.0.2, 10.0.0.3");
    let why = "postgres (main), from servers that run hits; postgres (main), from servers that run shop";
    assert_eq!(rule.why, why);
    assert_eq!(rules.rules.iter().filter(|rule| rule.covers(5432)).count(), 1);
}

#[test]
fn the_api_is_open_to_the_cluster_to_named_addresses_and_to_who_is_joining() {
    let mut world = world(&[server(1, &["control"]), server(2, &["web"])]);
    let mut joiner = server(3, &["web"]);
    joiner.public_address = Some(IpAddr::from([203, 0, 113, 3]));
    world.servers.insert(joiner.id, joiner);
    let reached = |world: &World, from: &str| allowed(&of(world, 1), from.parse().unwrap(), 7420).is_some();
    assert!(reached(&world, "10.0.0.2") && reached(&world, "203.0.113.3"));
    assert!(!reached(&world, "198.51.100.9"));
    world.settings.firewall.control_from.insert("198.51.100.0/24".parse().unwrap());
    assert!(reached(&world, "198.51.100.9") && !reached(&world, "192.0.2.1"));
    world.settings.joining_until = Some(NOW + Millis(1));
    assert!(reached(&world, "192.0.2.1"));
    world.settings.joining_until = Some(NOW);
    assert!(!reached(&world, "192.0.2.1"));
    assert_eq!(allowed(&of(&world, 2), IpAddr::from([10, 0, 0, 1]), 7420), None);
}

#[test]
fn people_name_who_may_come_and_what_else_stays_open() {
    let mut world = world(&[server(1, &["web"]), server(2, &["db"])]);
    let firewall = &mut world.settings.firewall;
    firewall.ssh_from.insert("198.51.100.7".parse().unwrap());
    let open = |ports: &str, from: &[&str], role: Option<&str>| OpenPort {
        ports: ports.parse::<Ports>().unwrap(),
        from: from.iter().map(|range| range.parse().unwrap()).collect(),
        role: role.map(|role| RoleName::new(role).unwrap()),
    };
    firewall.open.insert(open("51820/udp", &[], None));
    firewall.open.insert(open("9187", &["10.9.0.0/16"], Some("db")));
    let told_of = |n: u8| told(&of(&world, n)).join("\n");
    assert!(
        told_of(1).contains("22/tcp: opened to 198.51.100.7 (SSH, from addresses named in the settings)")
    );
    assert!(told_of(1).contains("51820/udp: opened to anywhere (kept open by the settings)"));
    assert!(!told_of(1).contains("9187") && told_of(2).contains("9187/tcp: opened to 10.9.0.0/16"));
    assert_eq!(allowed(&of(&world, 1), IpAddr::from([10, 0, 0, 2]), 51_820), None, "TCP is another matter");
}

#[test]
fn alone_a_server_opens_nothing_to_itself() {
    let world = world(&[server(1, &["web", "worker", "lb", "db", "control"])]);
    let ports: Vec<u16> = of(&world, 1).rules.iter().map(|rule| rule.ports.0).collect();
    assert_eq!(ports, [22, 80, 443]);
}

#[test]
fn rules_are_enforced_when_somebody_turned_them_on() {
    let mut world = world(&[server(1, &["web"])]);
    assert!(of(&world, 1).enforced && !of(&world, 1).cut_sessions);
    world.settings.firewall.enabled = false;
    let rules = of(&world, 1);
    assert!(!rules.enforced && !rules.rules.is_empty(), "what is needed is known all the same");
}

#[test]
fn changes_are_told_in_words() {
    let rule = |port: u16, from: &[&str]| {
        let ranges = || Sources::Of(Arc::new(from.iter().map(|range| range.parse().unwrap()).collect()));
        tcp((port, port), if from == ["any"] { Sources::Anywhere } else { ranges() }, "why")
    };
    let of = |rules: Vec<FirewallRule>| FirewallRules { rules, ..FirewallRules::default() };
    let before = of(vec![
        rule(1, &["any"]),
        rule(2, &["any"]),
        rule(3, &["10.0.0.1", "10.0.0.2"]),
        rule(4, &["10.0.0.1"]),
        rule(5, &["10.0.0.1"]),
    ]);
    let after = of(vec![
        rule(2, &["10.0.0.0/8"]),
        rule(3, &["10.0.0.2", "10.0.0.3"]),
        rule(4, &["10.0.0.1"]),
        rule(5, &["any"]),
        rule(6, &["10.0.0.1"]),
    ]);
    let told: Vec<String> = changes(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "1/tcp: closed to anywhere (why)",
            "2/tcp: closed to all but 10.0.0.0/8 (why)",
            "3/tcp: opened to 10.0.0.3, closed to 10.0.0.1 (why)",
            "5/tcp: opened to anywhere (why)",
            "6/tcp: opened to 10.0.0.1 (why)",
        ]
    );
}

const ROLES: [&str; 6] = ["web", "worker", "lb", "db", "control", "other"];

/// Whatever the roles: who must come in does, and nobody else.
#[test]
fn replicas_and_databases_are_reached_by_those_who_need_them_alone() {
    for seed in 0..500 {
        let mut entropy = Entropy::from_seed(seed);
        let mut roll = |bound: u64| entropy.next_u64() % bound;
        let count = 1 + u8::try_from(roll(7)).unwrap();
        let servers: Vec<Server> = (1..=count)
            .map(|n| {
                let roles: Vec<&str> = ROLES.into_iter().filter(|_| roll(3) == 0).collect();
                server(n, &roles)
            })
            .collect();
        let mut world = world(&servers);
        world.settings.lockdown = roll(2) == 0;
        for (to, from) in servers.iter().flat_map(|to| servers.iter().map(move |from| (to, from))) {
            if to.id != from.id {
                judge(&world, from, to, &format!("seed {seed}, from {:?} to {:?}", from.roles, to.roles));
            }
        }
    }
}

fn judge(world: &World, from: &Server, to: &Server, place: &str) {
    let input = Input { desired: world, observed: &Observed::default(), now: NOW, seed: 0 };
    let rules = rules(&input).remove(&to.id).unwrap();
    let lets = |port: u16| allowed(&rules, from.private_address, port).is_some();
    let entry = from.is_entry_point(&world.settings);
    let runs = has_role(from, "web") || has_role(from, "worker");
    assert_eq!(lets(20_000), entry && has_role(to, "web"), "{place}");
    assert_eq!(lets(5432), runs && has_role(to, "db"), "{place}");
    assert_eq!(lets(80) && lets(443), to.is_entry_point(&world.settings), "{place}");
    assert_eq!(lets(7420), has_role(to, "control"), "{place}");
    assert!(lets(7421) && lets(22) && !lets(3306), "{place}");
}
/// To see that nothing changed must not cost more with every server.
#[test]
fn sets_that_stay_the_same_are_the_same_in_memory() {
    let mut world = world(&[server(1, &["web", "control"]), server(2, &["web"]), server(3, &["lb", "web"])]);
    let sets = |world: &World| -> Vec<*const BTreeSet<Cidr>> {
        let rules = (1..=3).flat_map(|n| of(world, n).rules);
        rules
            .into_iter()
            .filter_map(|rule| match rule.from {
                Sources::Of(ranges) if ranges.len() == 3 => Some(Arc::as_ptr(&ranges)),
                _ => None,
            })
            .collect()
    };
    for n in 1..=3 {
        let assignment = Assignment { firewall: Some(of(&world, n)), ..Assignment::empty(id(n)) };
        world.assignments.insert(id(n), assignment);
    }
    let first = sets(&world);
    assert!(first.len() >= 6 && sets(&world) == first, "{first:?}");
}
