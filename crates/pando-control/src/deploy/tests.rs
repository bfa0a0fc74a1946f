//! The door: what no planner should ever see.

use std::collections::BTreeMap;

use pando_api::v1::deployments::{DeployAction, DeployRequest, IfBusy};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::app::*;
use pando_model::asset::AssetPath;
use pando_model::id::DeploymentId;
use pando_model::name::{AppName, ProcessName, RoleName};
use pando_model::release::Digest;
use pando_model::time::{Millis, Timestamp};

use super::*;

fn hits() -> AppName {
    AppName::new("hits").unwrap()
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
        resources: Default::default(),
        servers: std::collections::BTreeSet::new(),
        labels: BTreeMap::new(),
        singleton: false,
        depends_on: Default::default(),
        user: None,
        min_ready: None,
        env: Default::default(),
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
        env: Default::default(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::new(),
    }
}

fn try_with(change: impl FnOnce(&mut AppSpec)) -> Result<Proposed, ErrorBody> {
    let mut spec = spec();
    change(&mut spec);
    let artifact = Digest::new("a".repeat(64)).ok();
    let action = DeployAction::Deploy { spec: Box::new(spec), artifact };
    let request = DeployRequest { action, if_busy: IfBusy::Wait, dry_run: false, note: None };
    propose(&State::default(), &hits(), &request, asked())
}

fn asked() -> Asked<'static> {
    let id = DeploymentId::from_uuid(uuid::Uuid::from_u128(1));
    Asked { by: "tester", at: Timestamp::from_millis(5), id }
}

fn web(spec: &mut AppSpec) -> &mut ProcessSpec {
    spec.processes.get_mut(&ProcessName::web()).unwrap()
}

fn route(spec: &mut AppSpec, path: &str, process: &str) {
    let process = ProcessName::new(process).unwrap();
    spec.routes.push(RouteSpec::to(path, process));
}

#[test]
fn a_sound_request_is_proposed() {
    let proposed = try_with(|_| {}).unwrap();
    assert!(proposed.is_new);
    assert_eq!(proposed.proposal.release.number.0, 1);
    assert_eq!(proposed.event.text, "v1 is to be deployed, says tester");
}

#[test]
fn each_fault_is_named() {
    let none = Amount::Count(0);
    type Fault = (&'static str, fn(&mut AppSpec));
    let faults: [Fault; 15] = [
        ("`other`", |spec| spec.name = AppName::new("other").unwrap()),
        ("processes", |spec| spec.processes.clear()),
        ("1001", |spec| web(spec).count = ReplicaCount::Total(1001)),
        ("1001", |spec| web(spec).count = ReplicaCount::PerServer(1001)),
        ("health check", |spec| web(spec).health.interval = Millis::ZERO),
        ("health check", |spec| web(spec).health.unhealthy = 0),
        ("no process", |spec| route(spec, "/api", "api")),
        ("a path starts with `/`", |spec| route(spec, "api", "web")),
        ("`b.example` is not a domain", |spec| {
            spec.routes
                .push(RouteSpec { host: Some("b.example".into()), ..RouteSpec::to("/", ProcessName::web()) });
        }),
        ("the balancing of `web`: max_in_flight is 0", |spec| {
            let mut pool = PoolSpec::default();
            pool.pool.max_in_flight = Some(0);
            spec.pools.insert(ProcessName::web(), pool);
        }),
        ("`asset_path: /srv` has to be relative", |spec| {
            spec.asset_path = Some(AssetPath::new("/srv").unwrap())
        }),
        ("the volume at `/srv/files` is in the way", |spec| {
            let pull_policy = PullPolicy::Always;
            spec.run = RunSource::Image { reference: "hits".into(), pull_policy };
            spec.asset_path = Some(AssetPath::new("/srv").unwrap());
            let (source, target) = ("files".into(), "/srv/files".into());
            spec.volumes.push(VolumeSpec { source, target, read_only: false });
        }),
        ("not a host", |spec| {
            spec.domains.push(DomainSpec { domain: "a b".into(), aliases: vec![], https: Default::default() })
        }),
        ("not a host", |spec| {
            spec.domains.push(DomainSpec {
                domain: "a".into(),
                aliases: vec!["/".into()],
                https: Default::default(),
            })
        }),
        ("at most 100%", |spec| {
            let max_surge = Amount::Percent(101);
            spec.strategy = Strategy::Rolling { max_unavailable: Amount::Count(1), max_surge };
        }),
    ];
    for (words, change) in faults {
        let error = try_with(change).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{words}");
        assert!(error.message.contains(words), "{words}: {error}");
    }
    let error = try_with(|spec| {
        spec.strategy = Strategy::Rolling { max_unavailable: none, max_surge: Amount::Percent(0) };
    });
    assert!(error.unwrap_err().message.contains("both be 0"));
}
