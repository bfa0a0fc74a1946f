//! Which cluster is spoken to, and what is said when there is none.

use super::fake::{Answer, Fake};
use super::place::Place;

fn empty_cluster() -> Fake {
    Fake::new(|asked| {
        if asked.path == "/v1/version" {
            return Answer::ok(serde_json::json!({ "name": "pando", "version": "0.1.0", "api": ["v1"] }));
        }
        Answer::ok(
            serde_json::json!({ "version": "0.1.0", "now": "2026-01-01T00:00:00Z", "servers": [], "apps": [], "warnings": [] }),
        )
    })
}

#[test]
fn an_unknown_cluster_is_refused_with_what_to_do() {
    let place = Place::with_app();
    insta::assert_snapshot!(place.pando(&["status", "--cluster", "prod"]));
    let error = place.pando(&["status", "--cluster", "prod", "--json"]).expect(2).json();
    assert_eq!(error["error"]["code"], "no_cluster");
}

#[test]
fn a_cluster_that_does_not_answer_is_said_with_why_it_was_asked() {
    let place = Place::with_app();
    // A port that was free a moment ago, and that nobody is given so soon again.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let flag = place.pando(&["status", "--cluster", &url]);
    assert!(
        flag.expect(3)
            .stderr
            .contains(&format!("can't reach the control plane at {url}: connection refused")),
        "{flag}"
    );
    place.write(".pando/context.json", &format!(r#"{{"url": "{url}", "token": "pando_x"}}"#));
    let dev = place.pando(&["status"]);
    assert!(dev.expect(3).stderr.contains("`pando dev` starts it"), "{dev}");
    let output = place.command(&["deploy"]).env("PANDO_CLUSTER_URL", &url).output().unwrap();
    let variable = place.said(&output);
    assert!(variable.expect(3).stderr.contains("PANDO_CLUSTER_URL names it"), "{variable}");
    let watching = place.pando(&["logs", "-f"]);
    assert!(watching.expect(3).stderr.contains("can't reach"), "{watching}");
}

#[test]
fn addresses_and_tokens_that_can_not_be_used_are_refused() {
    let place = Place::with_app();
    let odd = place.pando(&["status", "--cluster", "https://prod"]);
    assert!(odd.expect(2).stderr.contains("fingerprint of the cluster's authority"), "{odd}");
    let open = place.pando(&["status", "--cluster", "http://prod"]);
    assert!(open.expect(2).stderr.contains("this machine alone"), "{open}");
    let output = place
        .command(&["status"])
        .env("PANDO_CLUSTER_URL", "http://x:1")
        .env("PANDO_TOKEN", "a b")
        .output()
        .unwrap();
    let token = place.said(&output);
    assert!(token.expect(2).stderr.contains("PANDO_TOKEN is not usable"), "{token}");
}

#[test]
fn each_way_to_name_a_cluster_works_and_brings_its_token() {
    let fake = empty_cluster();
    let place = Place::empty();
    let url = fake.url.as_str();
    place.write(
        "home/.config/pando/clusters/prod.json",
        &format!(r#"{{"url": "{url}", "token": "pando_named"}}"#),
    );
    place.pando(&["status", "--cluster", "prod"]).expect(0);
    place.write(".pando/context.json", &format!(r#"{{"url": "{url}", "token": "pando_dev"}}"#));
    place.pando(&["status"]).expect(0);
    let output = place
        .command(&["status"])
        .env("PANDO_CLUSTER_URL", url)
        .env("PANDO_TOKEN", "pando_ci")
        .output()
        .unwrap();
    place.said(&output).expect(0);
    let tokens: Vec<_> = fake.asked().into_iter().filter_map(|asked| asked.token).collect();
    assert_eq!(tokens, ["Bearer pando_named", "Bearer pando_dev", "Bearer pando_ci"]);
}

#[test]
fn a_target_s_cluster_is_spoken_to() {
    let fake = empty_cluster();
    let place = Place::empty();
    place.write(
        "pando.yaml",
        "name: hits\nsource: .\nprocesses: {web: {command: bin/web}}\ntargets:\n  near: {server: 127.0.0.1}\n  far: {cluster: far}\n",
    );
    place.write(
        "home/.config/pando/clusters/here.json",
        &format!(r#"{{"url": "{}", "token": "pando_here"}}"#, fake.url),
    );
    let several = place.pando(&["status"]);
    assert!(several.expect(2).stderr.contains("`near` and `far`"), "{several}");
    let far = place.pando(&["releases", "-t", "far"]);
    assert!(far.expect(2).stderr.contains("no cluster `far` is known"), "{far}");
    place.pando(&["releases", "-t", "near"]);
    assert_eq!(fake.lines(), ["GET /v1/apps/hits/releases"]);
    assert_eq!(fake.asked()[0].token.as_deref(), Some("Bearer pando_here"));
}

#[test]
fn a_refusal_is_told_in_the_control_plane_s_words() {
    for (status, code, exit) in
        [(401, "unauthorized", 1), (409, "busy", 4), (404, "not_found", 2), (503, "unavailable", 3)]
    {
        let fake = Fake::new(move |_| Answer::refused(status, code, "it says no"));
        let place = Place::with(&fake);
        let said = place.pando(&["releases"]);
        assert_eq!(said.expect(exit).stderr, "error: it says no\n  help: do something else\n");
        let error = &place.pando(&["releases", "--json"]).expect(exit).json()["error"];
        assert_eq!((error["code"].as_str(), error["hint"].as_str()), (Some(code), Some("do something else")));
    }
}

#[test]
fn something_that_is_no_control_plane_is_noticed() {
    let fake = Fake::new(|_| Answer::ok(serde_json::json!(["a cat picture"])));
    let said = Place::with(&fake).pando(&["releases"]);
    assert!(said.expect(1).stderr.contains("is it Pando, and of the same version?"), "{said}");
}

/// Without PANDO_CLUSTER_URL: what was named decides.
#[test]
fn clusters_are_named_chosen_and_forgotten() {
    let fake = empty_cluster();
    let place = Place::empty();
    let empty = place.pando(&["cluster", "ls"]);
    assert!(empty.expect(0).stdout.is_empty() && empty.stderr.contains("pando cluster add"), "{empty}");
    let added = place.pando(&["cluster", "add", "prod", &fake.url, "--token", "pando_prod"]);
    assert_eq!(added.expect(0).stdout, "prod is known; commands speak to it now\n");
    assert_eq!(fake.lines(), ["GET /v1/version", "GET /v1/status"]);
    place.pando(&["cluster", "add", "other", "http://127.0.0.1:1", "--no-check"]).expect(0);
    place.pando(&["status"]).expect(0);
    assert_eq!(fake.asked().pop().unwrap().token.as_deref(), Some("Bearer pando_prod"));

    place.pando(&["cluster", "use", "other"]).expect(0);
    assert!(place.pando(&["status"]).expect(3).stderr.contains("127.0.0.1:1"));
    let listed = place.pando(&["cluster", "ls", "--json"]).expect(0).json();
    let currents: Vec<bool> = (0..2).map(|n| listed["clusters"][n]["current"].as_bool().unwrap()).collect();
    assert_eq!(currents, [true, false], "{listed}");
    assert!(!listed.to_string().contains("pando_prod"));
    let table = place.pando(&["cluster", "ls"]).stdout;
    assert!(table.starts_with("NAME   URL"), "{table}");

    place.pando(&["cluster", "rm", "other"]).expect(0);
    let gone = place.pando(&["cluster", "use", "other"]);
    assert!(gone.expect(2).stderr.contains("known are prod"), "{gone}");
    assert!(place.pando(&["status"]).expect(3).stderr.contains("no cluster to speak to"));
}

#[test]
fn a_cluster_that_does_not_know_the_token_is_not_kept() {
    let fake = Fake::new(|asked| match asked.path.as_str() {
        "/v1/version" => {
            Answer::ok(serde_json::json!({ "name": "pando", "version": "0.1.0", "api": ["v1"] }))
        }
        _ => Answer::refused(401, "unauthorized", "the token is not known, or has expired"),
    });
    let place = Place::empty();
    let refused = place.pando(&["cluster", "add", "prod", &fake.url, "--token", "pando_old"]);
    assert!(refused.expect(1).stderr.contains("not known, or has expired"), "{refused}");
    assert!(!place.path("home/.config/pando/clusters/prod.json").exists());
    let again = place.pando(&["cluster", "add", "prod", &fake.url, "--token", "pando_old", "--no-check"]);
    again.expect(0);
    let taken = place.pando(&["cluster", "add", "prod", &fake.url]);
    assert!(taken.expect(2).stderr.contains("--replace"), "{taken}");
}

#[test]
fn a_token_is_read_from_stdin_when_asked() {
    use std::io::Write as _;
    let fake = empty_cluster();
    let place = Place::empty();
    let mut child = place.command(&["cluster", "add", "prod", &fake.url, "--token", "-"]);
    let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"pando_stdin\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fake.asked().pop().unwrap().token.as_deref(), Some("Bearer pando_stdin"));
}

#[test]
fn a_cluster_is_shown_as_a_whole() {
    let fake = Fake::new(|asked| match asked.path.as_str() {
        "/v1/settings" => Answer::ok(serde_json::json!({
            "lockdown": true, "revision": 7,
            "firewall": { "enabled": true, "ssh_from": [], "control_from": [], "open": [], "cut_sessions": false },
        })),
        _ => Answer::ok(super::world::cluster()),
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["cluster", "status"]));
    let told = place.pando(&["cluster", "status", "--json"]).expect(0).json();
    assert_eq!(
        (told["settings"]["lockdown"].as_bool(), told["status"]["servers"][0]["state"].as_str()),
        (Some(true), Some("alive"))
    );
}
