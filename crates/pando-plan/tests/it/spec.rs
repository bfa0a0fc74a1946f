//! Specifications for tests.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pando_model::ServerId;
use pando_model::app::{
    Algorithm, Amount, AppSpec, DomainSpec, EnvValue, HealthCheck, HealthKind, ProcessSpec, ReplicaCount,
    RunSource, ServiceSpec, Strategy,
};
use pando_model::id::Entropy;
use pando_model::name::{AppName, ProcessName, RoleName, ServerName, ServiceName};
use pando_model::resources::{Capacity, Resources};
use pando_model::server::Server;
use pando_model::time::{Millis, Timestamp};

pub(crate) fn process(role: &str, count: ReplicaCount) -> ProcessSpec {
    ProcessSpec {
        command: Some("bin/run".to_owned()),
        role: RoleName::new(role).unwrap(),
        count,
        container_port: None,
        health: HealthCheck {
            kind: HealthKind::Http { path: "/health".to_owned() },
            interval: Millis(2000),
            timeout: Millis(2000),
            healthy: 2,
            unhealthy: 3,
            start_timeout: Millis::from_secs(60),
        },
        stop_timeout: Millis::from_secs(30),
        resources: Resources::default(),
        servers: std::collections::BTreeSet::new(),
        labels: BTreeMap::new(),
        singleton: false,
        depends_on: Default::default(),
        user: None,
        min_ready: None,
        env: BTreeMap::new(),
    }
}

pub(crate) fn app(web: u32, workers: u32) -> AppSpec {
    let mut processes = BTreeMap::new();
    processes.insert(ProcessName::web(), process("web", ReplicaCount::Total(web)));
    if workers > 0 {
        processes
            .insert(ProcessName::new("worker").unwrap(), process("worker", ReplicaCount::Total(workers)));
    }
    AppSpec {
        name: AppName::new("hits").unwrap(),
        run: RunSource::Directory { path: ".".to_owned() },
        prepare: None,
        release_command: None,
        keep_releases: 5,
        strategy: Strategy::Rolling { max_unavailable: Amount::Count(0), max_surge: Amount::Count(1) },
        min_ready: Millis::ZERO,
        processes,
        domains: vec![DomainSpec {
            domain: "hits.example.com".to_owned(),
            aliases: vec![],
            https: Default::default(),
        }],
        routes: vec![],
        balancing: Algorithm::RoundRobin,
        pools: BTreeMap::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::new(),
    }
}

pub(crate) fn server(name: &str, number: u8) -> Server {
    let mut entropy = Entropy::from_seed(u64::from(number));
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, number));
    Server {
        id: ServerId::new(Timestamp::from_millis(0), &mut entropy),
        name: ServerName::new(name).unwrap(),
        roles: ["web", "worker", "lb"].into_iter().map(|role| RoleName::new(role).unwrap()).collect(),
        private_address: address,
        agent_address: SocketAddr::new(address, 7421),
        capacity: Capacity { cpu_millis: 4000, memory_bytes: 8_000_000_000 },
        public_address: None,
        standing: pando_model::Standing::Active,
        labels: BTreeMap::new(),
        joined_at: Timestamp::from_millis(0),
    }
}

/// The app finds its database on the server with the role `db`.
pub(crate) fn use_database(spec: &mut AppSpec) {
    let name = ServiceName::new("db").unwrap();
    let service = ServiceSpec {
        kind: "postgres".to_owned(),
        role: RoleName::new("db").unwrap(),
        port: 5432,
        url: Some("postgres://app@{host}:{port}/app".to_owned()),
    };
    spec.services.insert(name.clone(), service);
    spec.env.insert("DATABASE_URL".to_owned(), EnvValue::Service(name));
}
