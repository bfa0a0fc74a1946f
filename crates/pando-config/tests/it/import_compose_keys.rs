//! Keys within the long forms of compose files: each is carried over, or named.

use std::fmt::Write as _;
use std::path::Path;

use pando_config::{MemoryFiles, import};

use crate::import_compose::{case, case_with};

#[test]
fn every_key_of_a_long_form_is_carried_over_or_named() {
    // Behind each, what the notes call it; what has none is carried over, or is the default.
    let cases = [
        ("ports: [{target: 80, published: 8080, mode: host}]", "ports.mode: host"),
        ("ports: [{target: 80, mode: ingress, host_ip: 0.0.0.0, protocol: tcp, app_protocol: http}]", ""),
        ("ports: [{target: 80, name: main}]", "ports.name"),
        ("ports: [{target: 80, app_protocol: h2c}]", "ports.app_protocol: h2c"),
        ("ports: [{published: 80}]", "`ports` of `web`"),
        ("ports: [{target: 80, odd: 1}]", "ports.odd"),
        (
            "depends_on: {job: {condition: service_started, required: false}}",
            "depends_on.job.required: false",
        ),
        ("depends_on: {job: {condition: service_healthy, required: true, restart: false}}", ""),
        ("depends_on: {job: {condition: service_odd}}", "depends_on.job.condition: service_odd"),
        ("depends_on: {job: {odd: 1}}", "depends_on.job.odd"),
        ("depends_on: {job: x}", "`depends_on.job` of `web`"),
        (
            "volumes: [{type: bind, source: /a, target: /b, bind: {propagation: rshared}}]",
            "volumes: /b.bind.propagation: rshared",
        ),
        (
            "volumes: [{type: bind, source: /a, target: /b, bind: {create_host_path: true, selinux: z}}]",
            "volumes: /b.bind.selinux: z",
        ),
        (
            "volumes: [{type: volume, source: v, target: /b, volume: {nocopy: true}}]",
            "volumes: /b.volume.nocopy: true",
        ),
        (
            "volumes: [{type: volume, source: v, target: /b, volume: {subpath: x}}]",
            "volumes: /b.volume.subpath: x",
        ),
        ("volumes: [{type: tmpfs, target: /b, tmpfs: {size: 1m, mode: 755}}]", "volumes: /b (tmpfs)"),
        ("volumes: [{type: volume, source: v, target: /b, consistency: cached}]", ""),
        ("tmpfs: [/run]", "`tmpfs`"),
        ("configs: [{source: c, target: /c, uid: '1', mode: 0440}]", "`configs`"),
        ("secrets: [{source: s, uid: '1', mode: 0440}]", "`secrets`"),
        ("networks: {front: {aliases: [x], ipv4_address: 10.0.0.1}}", "networks.front.ipv4_address"),
        ("networks: {front: {priority: 1, x-a: 1}}", "networks.front.priority"),
        ("healthcheck: {test: x, start_interval: 1s}", "healthcheck.start_interval"),
        ("healthcheck: {test: x, odd: 1s}", "healthcheck.odd"),
        ("healthcheck: {test: x, start_period: soon}", "healthcheck.start_period"),
        ("healthcheck: x", "`healthcheck` of `web`"),
        ("env_file: [{path: a.env, odd: 1}]", "env_file.odd"),
        ("env_file: [{path: none.env, required: false}]", "it is not there, and need not be"),
        ("env_file: [{format: raw}]", "it names no file"),
        ("extends: {service: job, odd: 1}", "extends.odd"),
        ("build: {context: ., odd: 1}", "no key `odd`"),
        ("build: {context: ., args: text}", "`build.args` of `web`"),
        ("deploy: {odd: 1}", "deploy.odd"),
        ("deploy: {mode: replicated-job}", "deploy.mode: replicated-job"),
        ("deploy: {endpoint_mode: dnsrr}", "deploy.endpoint_mode"),
        ("deploy: {placement: {constraints: [a], max_replicas_per_node: 1}}", "deploy.placement"),
        ("deploy: {restart_policy: {condition: any, window: 1s}}", "deploy.restart_policy"),
        ("deploy: {rollback_config: {parallelism: 1}}", "deploy.rollback_config"),
        ("deploy: {update_config: {max_failure_ratio: 0.1}}", "deploy.update_config.max_failure_ratio"),
        ("deploy: {update_config: 3}", "`deploy.update_config` of `web`"),
        ("deploy: {resources: {odd: 1}}", "deploy.resources.odd"),
        ("deploy: {resources: {limits: {odd: 1}}}", "deploy.resources.limits.odd"),
        ("deploy: {resources: {limits: 4}}", "`deploy.resources.limits` of `web`"),
        (
            "deploy: {resources: {reservations: {generic_resources: []}}}",
            "deploy.resources.reservations.generic_resources",
        ),
        ("deploy: 3", "`deploy` of `web`"),
        ("volumes: {a: b}", "`volumes` of `web`"),
        ("environment: text", "`environment` of `web`"),
        ("environment: {A: {b: c}}", "`environment.A` of `web`"),
        ("environment: [A=1, {b: c}]", "`environment: an item` of `web`"),
        ("command: {a: b}", "`command` of `web`"),
        ("command: [a, [b]]", "`command: an item` of `web`"),
        ("labels: 3", "`labels` of `web`"),
        ("profiles: x", "`profiles` of `web`"),
        ("depends_on: job", "`depends_on` of `web`"),
        ("scale: [1]", "`scale` of `web`"),
    ];
    let mut wrong = String::new();
    for (key, named) in cases {
        let ports = if key.starts_with("ports") { "" } else { ", ports: ['80']" };
        let yaml = format!(
            "services:\n  web: {{image: a/b{ports}, {key}}}\n  job: {{image: a/b, command: j}}\nvolumes: {{v: }}\n"
        );
        let case = case_with(&yaml, &[("a.env", "A=1\n")], None, "");
        let notes = case.imported.notes.join("\n");
        let is_right = if named.is_empty() {
            !["ports.", "depends_on.", "volumes: "].iter().any(|key| notes.contains(key))
        } else {
            notes.contains(named)
        };
        if !is_right {
            let _ = writeln!(wrong, "{key}: expected {named:?} in\n{notes}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_service_that_is_asked_for_starts_without_its_profile() {
    let yaml = "services:\n  web: {image: a/b, ports: ['80']}\n  tool: {image: c/d, profiles: [tools], ports: ['81']}\n";
    let case = case_with(yaml, &[], Some("tool"), "");
    case.notes(&["`profiles` of `tool`", "starts with the app"]);
}

#[test]
fn no_more_processes_are_written_than_an_app_has() {
    let services: String =
        (0..150).map(|at| format!("  s{at}: {{image: a/b, command: run {at}}}\n")).collect();
    let case = case(&format!("services:\n{services}  last: {{image: a/b, ports: ['80']}}\n"));
    assert_eq!(case.spec.processes.len(), 100);
    assert!(case.imported.yaml.contains("  web:"), "{}", case.imported.yaml);
    case.notes(&["at most 100 processes", "51 services"]);
}

/// As a program writes them: each with something of its neighbour's.
#[test]
fn thousands_of_services_are_read_and_what_is_too_much_is_counted() {
    for image in ["a/b", "a/b#"] {
        let mut yaml = "services:\n".to_owned();
        for at in 0..2000_usize {
            let before = at.saturating_sub(1);
            let image = image.replace('#', &at.to_string());
            let _ = writeln!(
                yaml,
                "  s{at}: {{image: '{image}', ports: ['{at}:80'], environment: {{A: s{before}, B{at}: x}}, volumes: ['v{at}:/d{at}']}}"
            );
        }
        let files = MemoryFiles::default().with("compose.yaml", yaml);
        let imported = import::from_file(Path::new("compose.yaml"), "a", &files).unwrap();
        let notes = imported.notes.join("\n");
        let left_out = if image.ends_with('#') { "1999" } else { "1900" };
        assert!(notes.contains(left_out), "{image}: {}", notes.chars().take(3000).collect::<String>());
    }
}
