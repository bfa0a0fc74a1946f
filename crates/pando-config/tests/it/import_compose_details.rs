//! Compose files of which an import could easily lose something without a word.

use crate::import_compose::{case, case_with};

#[test]
fn what_traefik_passed_over_gets_no_domain() {
    let case = case(
        "services:\n  web:\n    image: 'a:1'\n    ports: ['80']\n    labels: {traefik.enable: 'false', traefik.http.routers.a.rule: Host(`a.com`)}\n",
    );
    assert!(case.spec.domains.is_empty(), "{}", case.imported.yaml);
    case.notes(&["traefik.enable", "a.com"]);
}

#[test]
fn an_entry_point_of_the_release_command_is_told_of() {
    let case = case(
        "services:\n  web: {image: 'a:1', ports: ['80'], depends_on: {m: {condition: service_completed_successfully}}}\n  \
         m: {image: 'a:1', entrypoint: [/e], command: [migrate]}\n",
    );
    case.notes(&["`release`", "ENTRYPOINT"]);
}

#[test]
fn tokens_of_the_file_are_told_of() {
    let case = case(
        "services:\n  web: {image: 'a:1', ports: ['80'], environment: {STRIPE: sk_live_abc, HOOK: 'https://hooks.slack.com/services/x', AUTHOR: me, SMTP_LOGIN: 'a:b'}}\n",
    );
    for name in ["STRIPE", "HOOK", "SMTP_LOGIN"] {
        case.notes(&[name, "looks secret"]);
    }
    case.notes_nothing_of("AUTHOR");
}

#[test]
fn files_of_variables_are_read_in_their_formats() {
    let yaml = "services:\n  web:\n    image: 'a:1'\n    ports: ['80']\n    env_file: [{path: r.env, format: raw}, n.env, {path: o.env, format: odd}]\n";
    let others = [("r.env", "A=\"x\" # $B\nR\n"), ("n.env", "B: of yaml\nC=\"x\"\n"), ("o.env", "D=1\n")];
    let case = case_with(yaml, &others, None, "");
    assert_eq!(case.value("A"), "\"x\" # $B");
    assert_eq!((case.value("B").as_str(), case.value("C").as_str()), ("of yaml", "x"));
    assert!(case.told("web", "D").is_none());
    case.notes(&["o.env", "format `odd`"]);
    case.notes(&["`env`: `R`: taken from an environment"]);
}

#[test]
fn values_without_quotes_are_as_compose_makes_them() {
    let case = case(
        "services:\n  web: {build: {context: ., args: {V: 1.10}}, ports: ['80'], environment: {A: True, B: 1.50, C: 012, D: 0x1F, E: '012', F: yes}}\n",
    );
    for (name, value) in [("A", "true"), ("B", "1.5"), ("C", "10"), ("D", "31"), ("E", "012"), ("F", "yes")] {
        assert_eq!(case.value(name), value, "{name}");
    }
    assert_eq!(case.build.as_ref().unwrap().args["V"], "1.1");
    let odd = crate::import_compose::case(
        "services:\n  web:\n    image: 'a:1'\n    ports: ['80']\n    deploy: {replicas: 0o3}\n    environment: {A: 1_000, B: 0b11, C: on, D: 1e3, E: 2024-01-31, \
         F: .inf, G: [1], H: '2024-01-31'}\n    labels: {L: 2024-01-31}\n",
    );
    for (name, value) in
        [("A", "1000"), ("B", "3"), ("C", "on"), ("D", "1000"), ("E", "2024-01-31"), ("F", ".inf")]
    {
        assert_eq!(odd.value(name), value, "{name}");
    }
    odd.notes(&["`environment.E` of `web` (compose.yaml:6)", "is a date to Compose"]);
    odd.notes(&["`environment.F`", "no finite number"]);
    odd.notes(&["`environment.G`", "it is a list"]);
    odd.notes_nothing_of("labels.L");
    odd.notes_nothing_of("environment.H");
    assert!(odd.told("web", "G").is_none() && odd.imported.yaml.contains("replicas: 3"));
}

#[test]
fn the_service_with_ports_is_web() {
    let renamed = case(
        "services:\n  web: {image: 'a:1', command: bin/work}\n  api: {image: 'a:1', command: bin/api, ports: ['80:3000'], depends_on: [web]}\n",
    );
    assert_eq!((renamed.command("web"), renamed.command("worker")), ("bin/api", "bin/work"));
    renamed.notes(&["services.web", "called `worker`"]);
    renamed.notes(&["services.api", "called `web`"]);
    let kept = case(
        "services:\n  web: {image: 'a:1', command: bin/web -p 3000}\n  api: {image: 'a:1', command: bin/api, ports: ['80:4000']}\n",
    );
    assert_eq!(kept.command("web"), "bin/web -p 3000");
}

#[test]
fn plain_volumes_and_lists_of_addresses_are_told_of_rightly() {
    let case = case(
        "services:\n  web: {image: 'a:1', ports: ['80'], volumes: ['data:/d'], environment: {LIST: 'a:1,api:2'}}\n  api: {image: 'b:1'}\nvolumes: {data: {}}\n",
    );
    case.notes_nothing_of("drivers, options");
    case.notes(&["`LIST` names `api`"]);
}

#[test]
fn services_that_extend_each_other_are_called_a_cycle() {
    let ring = case(
        "services:\n  web: {image: 'a:1', ports: ['80'], extends: b}\n  b: {image: 'a:1', extends: {service: web}}\n",
    );
    ring.notes(&["`extends`", "cycle"]);
    ring.notes_nothing_of("can't be read here");
    let missing =
        case("services:\n  web: {image: 'a:1', ports: ['80'], extends: {file: o.yaml, service: b}}\n");
    missing.notes(&["`extends`", "can't be read here"]);
}

#[test]
fn a_port_that_is_none_is_not_taken_from_an_address() {
    let case = case(
        "services:\n  web: {image: 'a:1', ports: ['80'], environment: {URL: 'postgres://db:0/x'}}\n  db: {image: 'postgres:16'}\n",
    );
    assert_eq!(case.service("URL").port, 5432);
}
