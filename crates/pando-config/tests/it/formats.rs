//! The same content in YAML, JSON and TOML is the same specification.

use pando_config::Loaded;

use crate::load_text;

fn specs(name: &str, content: &str) -> Vec<serde_json::Value> {
    let Loaded { targets, .. } = load_text(name, content).unwrap_or_else(|problems| panic!("{problems}"));
    targets.iter().map(|target| serde_json::json!([target.name, target.cluster, target.spec])).collect()
}

#[test]
fn every_format_lowers_to_the_same() {
    let yaml = specs("pando.yaml", include_str!("../fixtures/every-key.yaml"));
    let json = specs("pando.json", include_str!("../fixtures/every-key.json"));
    let toml = specs("pando.toml", include_str!("../fixtures/every-key.toml"));
    assert_eq!(yaml, json);
    // TOML sorts the targets' tables by place too, so that even the order is the same.
    assert_eq!(yaml, toml);
}

#[test]
fn block_and_flow_anchors_and_merges_are_the_same() {
    let flow = specs(
        "pando.yaml",
        "{name: a, image: 'org/a:1', env: [{name: A, value: '1'}, {name: B, value: \"x\\ny\"}], processes: {web: {replicas: 2, stop_timeout: 5s}, api: {replicas: 1, stop_timeout: 5s}}}",
    );
    let block = "\
name: a
image: org/a:1
env:
- name: A
  value: 1
- name: B
  value: |-
    x
    y
processes:
  web: &common
    replicas: 2
    stop_timeout: 5s
  api:
    <<: *common
    replicas: 1
";
    assert_eq!(flow, specs("pando.yaml", block));
    assert_eq!(flow, specs("pando.yml", &block.replace('\n', "\r\n")), "Windows line ends");
    assert_eq!(
        flow,
        specs("pando.yaml", &format!("\u{feff}---\n{block}...\n")),
        "byte order mark and document marks"
    );
}

#[test]
fn places_are_right_in_every_format() {
    for (name, content, line, column) in [
        ("a.yaml", "# é\nimage: org/a:1\nname: é\n", 3, 7),
        ("a.yaml", "name: a\r\nimage: org/a:1\r\nreplicas: x\r\n", 3, 11),
        ("a.yaml", "image: org/a:1\nenv:\n  - {name: Ä, value: x}\nname: a\n", 3, 12),
        ("a.json", "{\"image\": \"\\ud83d\\ude00\", \"name\": \"a\"}", 1, 11),
        ("a.json", "{\n\t\"image\": \"org/a\",\t\"name\": \"é\"\n}", 2, 28),
        ("a.toml", "# é\nimage = 'a'\nname = \"é\"\n", 3, 8),
        ("a.toml", "name = 'a'\nimage = 'org/a:1'\n[targets.p]\nreplicas = \"x\"\n", 4, 12),
    ] {
        let problems = load_text(name, content).unwrap_err();
        let position = problems.iter().next().unwrap().position().unwrap();
        assert_eq!((position.line, position.column), (line, column), "{content}\n{problems}");
    }
}
