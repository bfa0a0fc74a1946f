use std::collections::BTreeMap;

use pando_routing::{Destination, Host};

use super::*;
use crate::app::{
    DomainSpec, HealthCheck, HealthKind, HttpsSpec, ProcessSpec, ReplicaCount, RunSource, Strategy,
};
use crate::name::RoleName;
use crate::resources::Resources;
use crate::time::{Millis, Timestamp};

pub(crate) fn process() -> ProcessSpec {
    let health = HealthCheck {
        kind: HealthKind::Tcp,
        interval: Millis(1),
        timeout: Millis(1),
        healthy: 1,
        unhealthy: 1,
        start_timeout: Millis(1),
    };
    ProcessSpec {
        command: Some("x".into()),
        role: RoleName::web(),
        count: ReplicaCount::Total(1),
        container_port: None,
        health,
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

pub(crate) fn spec(domains: &[&str], routes: &str) -> AppSpec {
    let names = ["web", "api"].map(|name| ProcessName::new(name).unwrap());
    let domains = domains
        .iter()
        .map(|name| DomainSpec {
            domain: (*name).to_owned(),
            aliases: Vec::new(),
            https: HttpsSpec::default(),
        })
        .collect();
    AppSpec {
        name: AppName::new("shop").unwrap(),
        run: RunSource::Directory { path: ".".into() },
        prepare: None,
        release_command: None,
        keep_releases: 5,
        strategy: Strategy::default(),
        min_ready: Millis(0),
        processes: names.into_iter().map(|name| (name, process())).collect(),
        domains,
        routes: serde_json::from_str(routes).unwrap(),
        balancing: Algorithm::LeastConnections,
        pools: BTreeMap::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::new(),
    }
}

fn rules(spec: &AppSpec) -> Vec<String> {
    let hosts: Vec<Host> = spec.domains.iter().map(|domain| domain.domain.parse().unwrap()).collect();
    let traffic = Traffic::of(spec, &hosts, Interlude::default());
    let to = |rule: &Rule| match &rule.to {
        Destination::Pool(pool) => pool.to_string(),
        other => format!("{other:?}"),
    };
    traffic.rules.iter().map(|rule| format!("{} -> {}", rule.label(), to(rule))).collect()
}

#[test]
fn routes_of_older_releases_read_and_do_what_they_did() {
    let old = r#"[{"path": "/api", "process": "api", "strip_prefix": true}, {"host": "a.example", "path": "/x", "process": "api"}]"#;
    let spec = spec(&["a.example", "b.example"], old);
    assert_eq!(faults(&spec), []);
    assert!(spec.routes[0].strip_prefix);
    let expected = [
        "a.example/ -> shop/web",
        "b.example/ -> shop/web",
        "a.example/x -> shop/api",
        "a.example/api -> shop/api",
        "b.example/api -> shop/api",
    ];
    assert_eq!(rules(&spec), expected);
    assert_eq!(spec.pool(&ProcessName::web()).algorithm, pando_routing::Algorithm::LeastConnections);
}

#[test]
fn what_is_said_of_a_place_takes_the_place_of_what_all_have() {
    let routes = r#"[{"path": "/", "process": "api"}, {"path": "/x", "process": "api"}, {"path": "/x", "host": "a.example"}]"#;
    let expected = ["a.example/x -> shop/web", "a.example/ -> shop/api"];
    assert_eq!(rules(&spec(&["a.example"], routes)), expected);
}

#[test]
fn no_app_takes_what_is_not_its_own() {
    for (routes, said) in [
        (r#"[{"host": "b.example", "process": "api"}]"#, "not a domain of this app"),
        (r#"[{"host": "*", "process": "api"}]"#, "not a domain of this app"),
        (r#"[{"process": "other"}]"#, "no process"),
        (
            r#"[{"split": {"sides": [{"pool": "web", "weight": 1}, {"pool": "../other/web", "weight": 1}]}}]"#,
            "shop/../other/web",
        ),
        (r#"[{"filters": {"mirror": {"pool": "other/web", "percent": 1}}}]"#, "shop/other/web"),
        (r#"[{"process": "api", "respond": {}}]"#, "more than one"),
        (r#"[{"path": "/x"}, {"path": "/x/", "process": "api"}]"#, "same requests as route 1"),
        (r#"[{"basic_auth": {"users": {"a": "secret"}}}]"#, "bcrypt"),
    ] {
        let found = faults(&spec(&["a.example"], routes));
        assert!(found.iter().any(|fault| fault.to_string().contains(said)), "{routes}: {found:?}");
    }
    // What isn't its own gets no rule either, wherever the specification comes from.
    let foreign = spec(&["a.example"], r#"[{"host": "b.example", "process": "api"}]"#);
    assert_eq!(rules(&foreign), ["a.example/ -> shop/web"]);
    let below = spec(
        &["*.a.example"],
        r#"[{"host": "x.a.example", "process": "api"}, {"host": "xa.example", "process": "api"}]"#,
    );
    assert_eq!(rules(&below), ["*.a.example/ -> shop/web", "x.a.example/ -> shop/api"]);
}

#[test]
fn users_and_pages_are_named_after_the_app_and_its_route() {
    let routes = r#"[{"path": "/a"}, {"path": "/b", "error_pages": {"pages": {"503": {"text": "no"}}},
        "basic_auth": {"users": {"alice": "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe"}},
        "filters": {"basic_auth": {"users": "other/0"}, "error_pages": "other/0", "maintenance": {}}}]"#;
    let spec = spec(&["a.example"], routes);
    assert_eq!(faults(&spec), []);
    let traffic = Traffic::of(&spec, &["a.example".parse().unwrap()], Interlude::default());
    let filters = traffic.rules[2].filters.as_ref().unwrap();
    assert_eq!(&*filters.basic_auth.as_ref().unwrap().users, "shop/1");
    assert_eq!(filters.error_pages.as_deref(), Some("shop/1"));
    assert_eq!(filters.maintenance, None, "a release can't say it");
    assert!(traffic.users.contains_key("shop/1") && traffic.error_pages.contains_key("shop/1"));
    assert!(!format!("{spec:?}").contains("bvIG6"), "hashes are not shown");
}

#[test]
fn interludes_hold_for_every_rule_of_the_app() {
    let spec = spec(&["a.example"], r#"[{"path": "/api", "process": "api"}, {"path": "/x", "respond": {}}]"#);
    let since = Timestamp::from_millis(1_000);
    let maintenance = MaintenanceWish {
        since,
        by: "tester".into(),
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        message: None,
        page: Some("<h1>{status}</h1>".into()),
        retry_after: Millis(1_500),
    };
    let pause = PauseWish { since, until: since + Millis(2_500), by: "tester".into(), most: 7 };
    let hosts: Vec<Host> = vec!["a.example".parse().unwrap()];
    let interlude = Interlude { maintenance: Some(&maintenance), pause: Some(&pause) };
    let traffic = Traffic::of(&spec, &hosts, interlude);
    let until = (since + Millis(2_500)).as_millis();
    for rule in &traffic.rules {
        let filters = rule.filters.as_ref().unwrap();
        assert_eq!(filters.maintenance.as_ref().unwrap().retry_after_seconds, 2);
        assert_eq!(filters.error_pages.as_deref(), Some("shop/maintenance"));
        let held = filters.pause.as_ref().map(|pause| (pause.hold_millis, pause.most, pause.until_millis));
        assert_eq!(held, if rule.label() == "a.example/x" { None } else { Some((2_500, 7, Some(until))) });
    }
    let over = Traffic::of(&spec, &hosts, Interlude::default());
    assert!(over.rules.iter().all(|rule| rule.filters.is_none()) && over.error_pages.is_empty());
}
