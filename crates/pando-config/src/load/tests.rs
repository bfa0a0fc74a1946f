use pando_model::app::{Amount, ReplicaCount, Strategy};
use pando_model::{EnvValue, HealthKind, Millis, ProcessName};

use super::*;
use crate::files::MemoryFiles;

/// The one target of a file whose root has `root` and whose target has `target`, both as flow maps' insides.
fn merged(root: &str, target: &str) -> Target {
    let text = format!("{{name: a, {root}, targets: {{t: {{{target}}}}}}}");
    let files =
        MemoryFiles::default().with("pando.yaml", text).with("Dockerfile", "").with("app/docker/web", "");
    let loaded =
        load(Path::new("pando.yaml"), Some("t"), &files).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.targets.into_iter().next().unwrap()
}

fn web(target: &Target) -> &pando_model::ProcessSpec {
    &target.spec.processes[&ProcessName::web()]
}

#[test]
fn variables_merge_by_name() {
    let target = merged(
        "image: org/a:1, env: [{name: A, value: root}, {name: B, value: root}]",
        "env: [{name: B, value: target}, {name: C, value: target}]",
    );
    let value = |text: &str| EnvValue::Value(text.to_owned());
    let expected = [("A", value("root")), ("B", value("target")), ("C", value("target"))];
    assert_eq!(target.spec.env, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn maps_merge_key_by_key_and_lists_as_a_whole() {
    let target = merged(
        "image: org/a:1, health: {path: /up, interval: 5s}, resources: {cpu: 1, memory: 1GB}, domains: [a.example, b.example]",
        "health: {timeout: 1s}, resources: {memory: 2GB}, domains: [c.example]",
    );
    let health = &web(&target).health;
    assert_eq!(health.kind, HealthKind::Http { path: "/up".into() });
    assert_eq!((health.interval, health.timeout), (Millis::from_secs(5), Millis::from_secs(1)));
    let resources = web(&target).resources;
    assert_eq!((resources.cpu_millis, resources.memory_bytes), (Some(1000), Some(2_000_000_000)));
    let domains: Vec<&str> = target.spec.domains.iter().map(|domain| domain.domain.as_str()).collect();
    assert_eq!(domains, ["c.example"]);
}

#[test]
fn processes_merge_by_name() {
    let target = merged(
        "source: ., processes: {web: {command: bin/web, stop_timeout: 5s}, worker: {command: bin/work}}",
        "processes: {web: {replicas: 4}, clock: {command: bin/clock}}",
    );
    let names: Vec<&str> = target.spec.processes.keys().map(ProcessName::as_str).collect();
    assert_eq!(names, ["clock", "web", "worker"]);
    assert_eq!(web(&target).command.as_deref(), Some("bin/web"));
    assert_eq!(
        (web(&target).count, web(&target).stop_timeout),
        (ReplicaCount::Total(4), Millis::from_secs(5))
    );
}

#[test]
fn of_keys_that_exclude_each_other_the_targets_wins() {
    let target = merged("image: org/a:1, replicas: 3, cluster: main", "per_server: 2, server: a.example");
    assert_eq!(web(&target).count, ReplicaCount::PerServer(2));
    assert_eq!((target.cluster, target.server.as_deref()), (None, Some("a.example")));
    let target = merged("image: org/a:1, processes: {web: {command: bin/web}}", "source: .");
    assert!(matches!(target.spec.run, pando_model::app::RunSource::Directory { .. }));
    let target = merged("image: org/a:1, health_check_path: /up", "health: {type: tcp}");
    assert_eq!(web(&target).health.kind, HealthKind::Tcp);
    let target = merged("image: org/a:1, health: {type: tcp, interval: 9s}", "health_check_path: /up");
    assert_eq!(web(&target).health.kind, HealthKind::Http { path: "/up".into() });
    assert_eq!(web(&target).health.interval, Millis::from_secs(9));
    let target = merged("image: org/a:1, max_surge: 3", "deployment_strategy: replace");
    assert_eq!(target.spec.strategy, Strategy::Replace);
    let target = merged("image: org/a:1, max_surge: 3", "max_unavailable: 50%");
    let both = Strategy::Rolling { max_unavailable: Amount::Percent(50), max_surge: Amount::Count(3) };
    assert_eq!(target.spec.strategy, both);
}

#[test]
fn a_process_keeps_its_own_over_the_roots() {
    let files = MemoryFiles::default().with(
        "pando.yaml",
        "name: a\nimage: org/a:1\nreplicas: 3\nport: 3000\nstop_timeout: 5s\nresources: {cpu: 1}\n\
         health: {path: /up, interval: 9s}\nroutes: [{path: /api, process: api}]\n\
         processes:\n  web: {}\n  api: {per_server: 2, port: 4000, health: {timeout: 1s}, resources: {memory: 1GB}}\n  \
         worker: {stop_timeout: 10m}\n",
    );
    let spec = load(Path::new("pando.yaml"), None, &files).unwrap().targets.remove(0).spec;
    let of = |name: &str| &spec.processes[&ProcessName::new(name).unwrap()];
    let (web, api, worker) = (of("web"), of("api"), of("worker"));
    let counts = [web.count, api.count, worker.count];
    assert_eq!(counts, [ReplicaCount::Total(3), ReplicaCount::PerServer(2), ReplicaCount::PerServer(1)]);
    assert_eq!([web, api, worker].map(|p| p.container_port), [Some(3000), Some(4000), None]);
    assert_eq!([web, api, worker].map(|p| p.role.as_str()), ["web", "web", "worker"]);
    let path = HealthKind::Http { path: "/up".into() };
    assert_eq!(
        (&api.health.kind, api.health.interval, api.health.timeout),
        (&path, Millis(9000), Millis(1000))
    );
    assert_eq!(
        worker.health.kind,
        HealthKind::Image { path: None },
        "the root's check is for processes that get requests"
    );
    assert_eq!((worker.stop_timeout, web.stop_timeout), (Millis::from_secs(600), Millis::from_secs(5)));
    assert_eq!((api.resources.cpu_millis, worker.resources.cpu_millis), (Some(1000), Some(1000)));
}

#[test]
fn what_nothing_is_asked_of_has_to_run_for_a_while() {
    let of = |settings: &str| {
        let target =
            merged(&format!("{settings} processes: {{web: {{command: x}}, worker: {{command: x}}}}"), "");
        ["web", "worker"].map(|name| {
            let process = &target.spec.processes[&ProcessName::new(name).unwrap()];
            target.spec.min_ready_of(process).0
        })
    };
    assert_eq!(of("source: .,"), [0, 5000]);
    assert_eq!(of("image: org/a:1,"), [0, 5000]);
    assert_eq!(of("source: ., health: {type: none},"), [5000, 5000]);
    assert_eq!(of("source: ., min_ready_seconds: 2,"), [2000, 2000]);
    assert_eq!(of("source: ., min_ready_seconds: 0,"), [0, 0]);
}

#[test]
fn a_root_that_is_not_whole_alone_is_no_base() {
    let text = "name: a\ntargets:\n  x: {image: \"org/a:1\"}\n  y: {image: \"org/a:2\"}\n";
    let files = MemoryFiles::default().with("pando.yaml", text);
    let loaded = load(Path::new("pando.yaml"), None, &files).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.base.is_none());
    assert_eq!(loaded.targets.len(), 2);
}

#[test]
fn a_problem_of_the_root_is_told_once_for_all_targets() {
    let text = "name: a\nimage: org/a:1\nmax_surge: 0\ntargets: {x: {}, y: {}, z: {}}\n";
    let files = MemoryFiles::default().with("pando.yaml", text);
    let problems = load(Path::new("pando.yaml"), None, &files).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
}

#[test]
fn what_is_built_is_seen_from_where_the_file_is() {
    let target = merged("build: {}", "build: {context: app, dockerfile: docker/web, args: {RUBY: \"3.4\"}}");
    let build = target.build.unwrap();
    assert!(build.context.ends_with("app") && build.dockerfile.ends_with("app/docker/web"), "{build:?}");
    assert_eq!(build.args, [("RUBY".to_owned(), "3.4".to_owned())].into());
    let build = merged("build: {}", "replicas: 2").build.unwrap();
    assert!(build.dockerfile.ends_with("Dockerfile") && build.args.is_empty(), "{build:?}");
    assert_eq!(merged("build: {}", "image: org/a:1").build, None);
}
