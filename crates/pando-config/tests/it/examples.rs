//! Files that must be right: those of Haloy's documentation, unchanged, and the one that shows every key.

use std::path::Path;

use pando_config::{Loaded, MemoryFiles, load};
use pando_model::app::{
    Amount, HealthKind, HstsSpec, HttpsSpec, PullPolicy, ReplicaCount, RunSource, Strategy,
};
use pando_model::{EnvValue, Millis, ProcessName, ServiceName};
use pando_routing::Algorithm;

use crate::{files_in, load_text};

fn haloy(name: &str) -> Loaded {
    let (_, content) = files_in("haloy").into_iter().find(|(file, _)| file == name).unwrap();
    load_text(name, content).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn haloys_examples_are_valid() {
    let files = files_in("haloy");
    assert_eq!(files.len(), 7);
    for (name, content) in files {
        let loaded = load_text(&name, content).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{name}: {}", loaded.warnings);
        for target in loaded.targets {
            let messages: Vec<&str> =
                target.unsupported.iter().map(|problem| problem.message.as_str()).collect();
            assert!(messages.is_empty(), "{name}: {messages:?}");
        }
    }
}

#[test]
fn a_haloy_file_means_what_it_means_there() {
    let readiness = haloy("readiness.yaml");
    let spec = &readiness.targets[0].spec;
    let web = &spec.processes[&ProcessName::web()];
    assert_eq!(spec.name.as_str(), "my-app");
    let image = RunSource::Image { reference: "my-org/my-app:1.2.0".into(), pull_policy: PullPolicy::Always };
    assert_eq!(spec.run, image);
    assert_eq!(web.count, ReplicaCount::Total(5));
    assert_eq!(web.container_port, Some(8080));
    assert_eq!(web.health.kind, HealthKind::Http { path: "/health".into() });
    assert_eq!(spec.min_ready, Millis::from_secs(10));
    assert_eq!(spec.strategy, Strategy::default());
    assert_eq!(haloy("replace.yaml").targets[0].spec.strategy, Strategy::Replace);
    let basic = haloy("basic.yaml");
    let web = &basic.targets[0].spec.processes[&ProcessName::web()];
    assert_eq!(web.health.kind, HealthKind::Image { path: Some("/".into()) }, "Haloy's default path");
}

#[test]
fn haloys_targets_override_key_by_key() {
    let loaded = haloy("environments.yaml");
    let count = |index: usize| loaded.targets[index].spec.processes[&ProcessName::web()].count;
    let names: Vec<Option<&str>> = loaded.targets.iter().map(|target| target.name.as_deref()).collect();
    assert_eq!(names, [Some("production"), Some("staging"), Some("development")]);
    assert_eq!([count(0), count(1), count(2)], [10, 2, 1].map(ReplicaCount::Total));
    assert_eq!(loaded.targets[0].server.as_deref(), Some("prod.haloy.com"));
    assert_eq!(loaded.targets[0].spec.domains[0].domain, "my-app.com");
    let base = loaded.base.unwrap();
    assert_eq!(base.spec.processes[&ProcessName::web()].count, ReplicaCount::Total(1));
    let regions = haloy("regions.yaml");
    let region = |index: usize| regions.targets[index].spec.env["REGION"].clone();
    assert_eq!(region(0), EnvValue::Value("us-east-1".into()));
    assert_eq!(region(2), EnvValue::Value("ap-southeast-1".into()));
}

const EVERY_KEY: &str = include_str!("../fixtures/every-key.yaml");

#[test]
fn every_key_is_known() {
    let loaded = load_text("pando.yaml", EVERY_KEY).unwrap_or_else(|problems| panic!("{problems}"));
    let production = &loaded.targets[0];
    let spec = &production.spec;
    assert_eq!(production.cluster.as_deref(), Some("prod"));
    assert_eq!(spec.prepare.as_deref(), Some("bundle install"));
    assert_eq!(spec.release_command.as_deref(), Some("bin/migrate"));
    let pool = spec.pool(&ProcessName::web());
    assert_eq!(pool.algorithm, Algorithm::LeastConnections);
    assert_eq!(pool.sticky.unwrap().max_age_seconds, 3600);
    let strategy = Strategy::Rolling { max_unavailable: Amount::Percent(25), max_surge: Amount::Count(2) };
    assert_eq!(spec.strategy, strategy);
    let web = &spec.processes[&ProcessName::web()];
    assert_eq!(web.count, ReplicaCount::Total(10));
    assert_eq!((web.resources.cpu_millis, web.resources.memory_bytes), (Some(500), Some(512_000_000)));
    assert_eq!(web.resources.pids, Some(200));
    let worker = &spec.processes[&ProcessName::new("worker").unwrap()];
    assert_eq!(worker.stop_timeout, Millis::from_secs(600));
    assert_eq!(worker.health.kind, HealthKind::None);
    assert_eq!(worker.role.as_str(), "worker");
    let servers: Vec<&str> = worker.servers.iter().map(|name| name.as_str()).collect();
    assert_eq!(servers, ["app-2", "main"]);
    let labels: Vec<(&str, &str)> = worker.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("disk", "ssd"), ("zone", "1")]);
    assert_eq!(spec.env["CACHE_URL"], EnvValue::Service("cache".parse().unwrap()));
    let cache = &spec.services[&ServiceName::new("cache").unwrap()];
    assert_eq!((cache.kind.as_str(), cache.role.as_str(), cache.port), ("redis", "main", 6380));
    assert_eq!(cache.url.as_deref(), Some("redis://{host}:{port}/0"));
    assert_eq!(spec.services.len(), 2, "what Pando would run is none of these");
    assert_eq!(spec.env["SECRET_KEY"], EnvValue::Secret("secret_key".into()));
    assert_eq!(spec.routes[0].path.to_string(), "/api");
    insta::assert_snapshot!("what-this-version-does-not-do", production.unsupported.render(false));
    let https = &loaded.targets[1].spec.domains[0].https;
    let year = Millis::from_secs(365 * 24 * 3600);
    let hsts = HstsSpec { max_age: year, include_subdomains: true, preload: true };
    assert_eq!(*https, HttpsSpec { redirect: false, hsts: Some(hsts), client_auth: None });
    let staging: Vec<String> =
        loaded.targets[1].unsupported.iter().map(|problem| problem.message.clone()).collect();
    assert!(staging.iter().any(|message| message.contains("blue_green")), "{staging:?}");
    let pool = loaded.targets[1].spec.pool(&ProcessName::web());
    assert_eq!(pool.algorithm, Algorithm::PeakEwma);
}

#[test]
fn the_projects_own_examples_are_valid_and_can_be_deployed() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path().join("pando.yaml");
        if path.exists() {
            let loaded =
                load(&path, None, &pando_config::Disk).unwrap_or_else(|problems| panic!("{problems}"));
            let base = loaded.base.unwrap();
            assert!(loaded.warnings.is_empty() && base.unsupported.is_empty(), "{}", base.unsupported);
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn images_and_builds_are_read_too() {
    for (run, reference, pull_policy) in [
        ("image: org/a:1", "org/a:1", PullPolicy::Always),
        ("image: org/a", "org/a:latest", PullPolicy::Always),
        (
            "image: {repository: org/a, tag: 1.2, registry: ghcr.io, pull_policy: if_missing}",
            "ghcr.io/org/a:1.2",
            PullPolicy::IfMissing,
        ),
        (
            "image: {repository: ghcr.io/org/a, registry: {server: ghcr.io, username: me, password: {secret: token}}}",
            "ghcr.io/org/a:latest",
            PullPolicy::Always,
        ),
        ("build: {context: ., dockerfile: Dockerfile, args: {RUBY: 3.4}}", "a:build", PullPolicy::Never),
    ] {
        let loaded = load_text("pando.yaml", format!("name: a\n{run}\n")).unwrap_or_else(|e| panic!("{e}"));
        let expected = RunSource::Image { reference: reference.into(), pull_policy };
        assert_eq!(loaded.targets[0].spec.run, expected, "{run}");
        let unsupported = &loaded.targets[0].unsupported;
        let signs_in = unsupported.to_string().contains("pando registry login ghcr.io --username me");
        assert_eq!((unsupported.has_errors(), signs_in), (false, run.contains("username")), "{run}");
    }
}

#[test]
fn without_processes_the_procfile_says_them() {
    let files = MemoryFiles::default()
        .with("app/pando.yaml", "name: a\nsource: src\nreplicas: 3\n")
        .with("app/src/main.rb", "")
        .with("app/Procfile", "web: bin/web\nworker: bin/work\nclock: bin/clock\nrelease: bin/migrate\n");
    let loaded = load(Path::new("app/pando.yaml"), None, &files).unwrap_or_else(|e| panic!("{e}"));
    let target = &loaded.targets[0];
    let of = |name: &str| &target.spec.processes[&ProcessName::new(name).unwrap()];
    assert_eq!(target.source_dir.as_deref(), Some(Path::new("app/src")));
    assert_eq!(target.spec.release_command.as_deref(), Some("bin/migrate"));
    assert_eq!(of("web").command.as_deref(), Some("bin/web"));
    assert_eq!((of("web").count, of("worker").count), (ReplicaCount::Total(3), ReplicaCount::PerServer(1)));
    let roles = ["web", "worker", "clock"].map(|name| of(name).role.as_str());
    assert_eq!(roles, ["web", "worker", "worker"]);
    assert!(target.advice.iter().any(|advice| advice.message.contains("`clock` runs once on each server")));
}

#[test]
fn a_wrong_procfile_is_pointed_at() {
    let files =
        MemoryFiles::default().with("pando.yaml", "name: a\nsource: .\n").with("Procfile", "web bin/web\n");
    let problems = load(Path::new("pando.yaml"), None, &files).unwrap_err();
    let first = problems.iter().next().unwrap();
    assert_eq!((first.file(), first.position().unwrap().line), ("Procfile", 1));
}

#[test]
fn one_target_can_be_chosen() {
    let (_, content) = files_in("haloy").into_iter().find(|(file, _)| file == "environments.yaml").unwrap();
    let files = MemoryFiles::default().with("haloy.yaml", content);
    let chosen = load(Path::new("haloy.yaml"), Some("staging"), &files).unwrap();
    assert_eq!(chosen.targets.len(), 1);
    assert_eq!(chosen.targets[0].name.as_deref(), Some("staging"));
    let problems = load(Path::new("haloy.yaml"), Some("stagin"), &files).unwrap_err();
    assert_eq!(problems.iter().next().unwrap().hint.as_deref(), Some("did you mean `staging`?"));
}

#[test]
fn what_can_not_be_read_is_said() {
    let files =
        MemoryFiles::default().with("pando.ini", "name=a").with("big.yaml", vec![b'#'; 1024 * 1024 + 1]);
    for (path, message) in [
        ("pando.yaml", "there is no such file"),
        ("pando.ini", "the file's name does not say its format"),
        ("big.yaml", "the file is larger than 1 MiB"),
    ] {
        let problems = load(Path::new(path), None, &files).unwrap_err();
        assert_eq!(problems.iter().next().unwrap().message, message);
        let json = serde_json::to_value(&problems).unwrap();
        assert_eq!((json[0]["file"].as_str(), json[0]["line"].as_u64()), (Some(path), None));
    }
    let directory = tempfile::tempdir().unwrap();
    let problems = load(&directory.path().join("pando.yaml"), None, &pando_config::Disk).unwrap_err();
    assert_eq!(problems.iter().next().unwrap().message, "there is no such file");
    let named_as_a_file = directory.path().join("dir.yaml");
    std::fs::create_dir(&named_as_a_file).unwrap();
    let problems = load(&named_as_a_file, None, &pando_config::Disk).unwrap_err();
    assert!(problems.iter().next().unwrap().message.contains("not a regular file"), "{problems}");
}

#[test]
fn problems_as_json_have_their_place() {
    let problems = load_text("pando.yaml", "name: a\nimage: org/a:1\nreplicas: three\n").unwrap_err();
    let json = serde_json::to_value(&problems).unwrap();
    let expected = serde_json::json!([{
        "file": "pando.yaml", "line": 3, "column": 11, "length": 5, "severity": "error",
        "message": "expected a count from 0 to 1000, found `three`", "hint": "write `3`",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn services_that_people_run_have_the_usual_role_and_port() {
    for (kind, role, port) in [
        ("postgres", "db", 5432),
        ("mysql", "db", 3306),
        ("redis", "cache", 6379),
        ("memcached", "cache", 11211),
        ("s3", "db", 9000),
    ] {
        let text = format!(
            "name: a\nsource: .\nprocesses: {{web: {{command: x}}}}\nenv: [{{name: A, from: {{service: it}}}}]\nservices: {{it: {{type: {kind}, managed: false}}}}\n"
        );
        let loaded = load_text("pando.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let target = &loaded.targets[0];
        assert!(loaded.warnings.is_empty() && target.unsupported.is_empty(), "{}", target.unsupported);
        let service = &target.spec.services[&ServiceName::new("it").unwrap()];
        let told = (service.kind.as_str(), service.role.as_str(), service.port, service.url.as_deref());
        assert_eq!(told, (kind, role, port, None));
    }
}

#[test]
fn one_process_is_placed_by_the_root_and_a_target_overrides_it_whole() {
    let text = "\
name: a
source: .
processes: {web: {command: x}}
servers: [app-1, app-2]
labels: {disk: ssd}
targets:
  one: {}
  two: {servers: [app-9], labels: {}}
  three: {processes: {web: {labels: {zone: b}}}, labels: {}}
";
    let problems = load_text("pando.yaml", text).unwrap_err();
    let told: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(told, ["`labels` has no effect: `web` has its own"], "a target's own words for one process");
    let (text, _) = text.split_once("  three").unwrap();
    let loaded = load_text("pando.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
    let placed = |index: usize| {
        let web = &loaded.targets[index].spec.processes[&ProcessName::web()];
        let servers: Vec<String> = web.servers.iter().map(ToString::to_string).collect();
        (servers.join(" "), web.labels.len())
    };
    assert_eq!([placed(0), placed(1)], [("app-1 app-2".to_owned(), 1), ("app-9".to_owned(), 0)]);
}
