//! `routes:` and `load_balancing:` as they come to a specification, and to a routing table.

use std::path::Path;

use pando_config::{Loaded, MemoryFiles, load};
use pando_model::traffic::{Interlude, Traffic, faults};

const CA: &str = include_str!("../fixtures/internal-ca.pem");
const TRAFFIC: &str = include_str!("../fixtures/traffic.yaml");

fn loaded() -> Loaded {
    let files = MemoryFiles::default()
        .with("pando.yaml", TRAFFIC)
        .with("errors/503.html", "<h1>{message}</h1>")
        .with("internal-ca.pem", CA)
        .with("errors/5xx.json", "{}")
        .with("errors/5xx.txt", "{reason}\n");
    load(Path::new("pando.yaml"), None, &files).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_key_comes_to_what_a_table_says() {
    for target in loaded().targets {
        assert_eq!(target.unsupported.len(), 0, "{}", target.unsupported);
        assert_eq!(faults(&target.spec), []);
        let hosts: Vec<_> = ["shop.example.com"].map(|host| host.parse().unwrap()).into();
        let Traffic { rules, error_pages, users } = Traffic::of(&target.spec, &hosts, Interlude::default());
        let said = serde_json::json!({
            "pools": target.spec.pools, "rules": rules, "error_pages": error_pages, "users": users,
        });
        insta::assert_snapshot!(format!("traffic-{}", target.name.unwrap()), format!("{said:#}"));
    }
}

#[test]
fn a_specification_with_traffic_survives_the_store() {
    for target in loaded().targets {
        let stored = serde_json::to_string(&target.spec).unwrap();
        assert_eq!(serde_json::from_str::<pando_model::AppSpec>(&stored).unwrap(), target.spec);
    }
}

#[test]
fn a_password_is_not_repeated() {
    let text = "{name: a, source: ., domains: [a.example], processes: {web: {command: x}},
        routes: [{path: /x, basic_auth: {users: {alice: hunter2}}}]}";
    let problems = crate::load_text("pando.yaml", text).unwrap_err();
    let shown = format!("{problems} {problems:?} {}", serde_json::to_string(&problems).unwrap());
    assert!(shown.contains("htpasswd -nB") && shown.contains("pando.yaml:2:"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn pages_are_read_within_bounds() {
    let text = "{name: a, source: ., domains: [a.example], processes: {web: {command: x}},
        routes: [{path: /x, error_pages: {'503': large.html, 5xx: binary.html}}]}";
    let files = MemoryFiles::default()
        .with("pando.yaml", text)
        .with("large.html", vec![b'x'; (64 << 10) + 1])
        .with("binary.html", vec![0xff, 0xfe]);
    let problems = load(Path::new("pando.yaml"), None, &files).unwrap_err().to_string();
    assert!(problems.contains("larger than the 64 KiB") && problems.contains("not UTF-8"), "{problems}");
}

#[test]
fn what_is_wrong_with_tls_to_replicas_is_said_where_it_is_written() {
    let of = |rules: &str| {
        let text = format!(
            "{{name: a, source: ., domains: [a.example], processes: {{web: {{command: x}}}}, load_balancing: {{{rules}}}}}"
        );
        let files = MemoryFiles::default()
            .with("pando.yaml", text.as_str())
            .with("ca.pem", CA)
            .with("none.pem", "nothing")
            .with("binary.pem", vec![0xff, 0xfe]);
        load(Path::new("pando.yaml"), None, &files)
    };
    for (rules, expected) in [
        ("protocol: h2c, tls: true", "it is called `h2`"),
        ("protocol: h2", "without TLS it is called `h2c`"),
        ("tls: {ca: gone.pem}", "there is no file `gone.pem`"),
        ("tls: {ca: none.pem}", "no certificate in PEM"),
        ("tls: {ca: binary.pem}", "is not PEM"),
        ("tls: {ca: ca.pem, insecure_skip_verify: true}", "authorities mean nothing"),
        ("tls: {server_name: a_b}", "server_name"),
    ] {
        let problems = of(rules).unwrap_err().to_string();
        assert!(problems.contains(expected), "{rules}: {problems}");
    }
    for (rules, http2) in [
        ("tls: true", false),
        ("tls: true, protocol: grpc", true),
        ("tls: {server_name: 10.0.0.1}, protocol: h2", true),
    ] {
        let loaded = of(rules).unwrap_or_else(|problems| panic!("{rules}: {problems}"));
        let spec = &loaded.targets[0].spec;
        let pool = spec.pool(&pando_model::ProcessName::web());
        assert!(pool.tls.is_some() && pool.protocol.is_http2() == http2, "{rules}: {pool:?}");
        assert_eq!(faults(spec), []);
    }
    let careless = of("tls: {insecure_skip_verify: true}").unwrap();
    assert!(careless.warnings.to_string().contains("not verified"), "{}", careless.warnings);
}

#[test]
fn a_grpc_probe_is_implied_by_its_service_and_goes_over_http_2() {
    let of = |rules: &str| {
        let text = format!(
            "{{name: a, source: ., domains: [a.example], processes: {{web: {{command: x}}}}, load_balancing: {{{rules}}}}}"
        );
        load(Path::new("pando.yaml"), None, &MemoryFiles::default().with("pando.yaml", text.as_str()))
    };
    for (rules, service) in
        [("protocol: grpc, probe: {service: hits.v1}", "hits.v1"), ("protocol: h2c, probe: {type: grpc}", "")]
    {
        let loaded = of(rules).unwrap_or_else(|problems| panic!("{rules}: {problems}"));
        let spec = &loaded.targets[0].spec;
        let kind = spec.pool(&pando_model::ProcessName::web()).probe.kind;
        assert_eq!(kind, pando_routing::ProbeKind::Grpc { service: service.to_owned() });
        assert_eq!(faults(spec), []);
    }
    for (rules, expected) in [
        ("probe: {type: grpc}", "add `protocol: grpc`"),
        ("protocol: grpc, probe: {service: a, path: /up}", "it goes with `type: grpc`"),
        ("protocol: grpc, probe: {type: grpc, status: 200}", "it goes with `type: http`"),
    ] {
        let problems = of(rules).unwrap_err().to_string();
        assert!(problems.contains(expected), "{rules}: {problems}");
    }
}

#[test]
fn who_may_come_in_by_a_certificate_is_read_from_a_file() {
    let of = |rules: &str| {
        let text = format!(
            "{{name: a, source: ., domains: [{{domain: a.example, https: {{client_auth: {rules}}}}}], processes: {{web: {{command: x}}}}}}"
        );
        load(
            Path::new("pando.yaml"),
            None,
            &MemoryFiles::default().with("pando.yaml", text.as_str()).with("ca.pem", CA),
        )
    };
    let loaded = of("{ca: ca.pem, optional: true}").unwrap_or_else(|problems| panic!("{problems}"));
    let asked = loaded.targets[0].spec.domains[0].https.client_auth.clone().unwrap();
    assert!(asked.optional && asked.ca_certificates == CA);
    assert!(
        !of("{ca: ca.pem}").unwrap().targets[0].spec.domains[0].https.client_auth.as_ref().unwrap().optional
    );
    for (rules, expected) in [("{ca: gone.pem}", "there is no file"), ("{optional: true}", "ca")] {
        let problems = of(rules).unwrap_err().to_string();
        assert!(problems.contains(expected), "{rules}: {problems}");
    }
    let mut spec = loaded.targets[0].spec.clone();
    spec.domains[0].https.client_auth.as_mut().unwrap().ca_certificates = "nothing".to_owned();
    let found = faults(&spec);
    assert!(found.len() == 1 && found[0].to_string().contains("the domain `a.example`"), "{found:?}");
}

/// Every file of the guide is one that `pando check` takes.
#[test]
fn the_guides_examples_are_valid() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/routes.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 9, "{}", examples.len());
    for example in examples {
        let loaded = crate::load_text("pando.yaml", example)
            .unwrap_or_else(|problems| panic!("{example}\n{problems}"));
        assert_eq!(loaded.targets[0].unsupported.len(), 0, "{example}");
    }
}
