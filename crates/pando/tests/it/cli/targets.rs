//! One file, several clusters: each gets its own, and none hides what became of another.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::deploy::{done, failed, good, rolling, shows};
use super::fake::{Answer, Asked, Fake};
use super::place::{Place, Said};
use super::world::{DEPLOYMENT, replica, takes_deploys, traffic};

/// A file with the targets `near` and `far`, each a known cluster of that name.
fn two_targets(near: &Fake, far: &Fake) -> Place {
    with_targets("  near: {cluster: near}\n  far: {cluster: far, replicas: 9}\n", near, far)
}

fn with_targets(targets: &str, near: &Fake, far: &Fake) -> Place {
    let place = Place::empty();
    place.write(
        "pando.yaml",
        &format!("name: hits\nsource: .\nprocesses: {{web: {{command: bin/web}}}}\ntargets:\n{targets}"),
    );
    place.write("bin/web", "#!/bin/sh\n");
    place.write("other/bin/web", "#!/bin/false\n");
    for (name, fake) in [("near", near), ("far", far)] {
        know(&place, name, &fake.url);
    }
    place.write(".pandoignore", "home/\n");
    place
}

fn know(place: &Place, name: &str, url: &str) {
    place.write(&format!("home/.config/pando/clusters/{name}.json"), &format!(r#"{{"url": "{url}"}}"#));
}

fn failing() -> Fake {
    shows(vec![failed(&[replica(2, 42, "serving")])], [Value::Null, Value::Null])
}

fn refusing(status: u16, code: &'static str) -> Fake {
    Fake::new(move |asked| {
        takes_deploys(asked, |asked| {
            (asked.method == "POST").then(|| Answer::refused(status, code, "it says no"))
        })
    })
}

/// Nothing listens there.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// What was packed, as it was sent to this cluster.
fn sent(fake: &Fake) -> Asked {
    let mut sent: Vec<Asked> = fake.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

/// The table's rows, without its head.
fn rows(said: &Said) -> Vec<&str> {
    said.stdout.lines().skip_while(|line| !line.starts_with("TARGET")).skip(1).collect()
}

#[test]
fn one_of_several_has_to_be_named() {
    let (near, far) = (good(), good());
    let place = two_targets(&near, &far);
    let several = place.pando(&["deploy"]);
    assert!(
        several.expect(2).stderr.contains("name one with `-t`: `near` and `far`; `--all` means every one"),
        "{several}"
    );
    let unknown = place.pando(&["deploy", "-t", "far", "-t", "nera"]);
    assert!(unknown.expect(2).stderr.contains("did you mean `near`?"), "{unknown}");
    let twice = place.pando(&["rollback", "-t", "near", "-t", "far"]);
    assert!(twice.expect(2).stderr.contains("cannot be used multiple times"), "{twice}");
    assert_eq!((near.lines(), far.lines()), (vec![], vec![]), "nothing was asked of anybody");
    place.pando(&["deploy", "-t", "far"]).expect(0);
    assert_eq!(near.lines(), Vec::<String>::new());
}

#[test]
fn targets_are_deployed_one_after_the_other_and_packed_once() {
    let (near, far) = (good(), good());
    let place = two_targets(&near, &far);
    insta::assert_snapshot!(place.pando(&["deploy", "--all", "--note", "both"]));
    let asked = far.only("POST /v1/apps/hits/deployments").json();
    assert_eq!(asked["spec"]["processes"]["web"]["count"], json!({ "total": 9 }));
    assert_eq!(asked["note"], "both");
    near.only("POST /v1/apps/hits/deployments");
    assert_eq!(sent(&near).body, sent(&far).body);
}

#[test]
fn sources_that_differ_are_packed_each_and_order_is_as_typed() {
    let (near, far) = (good(), good());
    let targets = "  near: {cluster: near}\n  far: {cluster: far, source: other}\n";
    let place = with_targets(targets, &near, &far);
    let said = place.pando(&["deploy", "-t", "far,near,far"]);
    assert_eq!(said.expect(0).stderr.matches("packed ").count(), 2, "{said}");
    assert_ne!(sent(&near).body, sent(&far).body);
    let names: Vec<&str> = rows(&said).iter().filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(names, ["far", "near"]);
}

#[test]
fn one_that_fails_hides_nothing_of_the_others() {
    let (near, far) = (failing(), good());
    insta::assert_snapshot!(two_targets(&near, &far).pando(&["deploy", "-t", "near", "-t", "far"]));
}

#[test]
fn one_that_fails_stops_the_next_where_asked_to() {
    let (near, far) = (failing(), good());
    let said = two_targets(&near, &far).pando(&["deploy", "--all", "--stop-on-failure"]);
    assert!(rows(said.expect(1))[1].starts_with("far     far               not begun"), "{said}");
    assert_eq!(far.lines(), Vec::<String>::new());
}

#[test]
fn programs_get_a_list_of_all() {
    let (near, far) = (good(), failing());
    let place = two_targets(&near, &far);
    let told = place.pando(&["deploy", "--all", "--json"]).expect(1).json();
    let [good, bad] = told.as_array().unwrap().as_slice() else { panic!("{told}") };
    let traffic = json!({ "requests": 41_208, "failed": 0, "early": 0, "retries": 0, "p99_micros": 11_264, "complete": true });
    assert_eq!(
        *good,
        json!({ "target": "near", "cluster": "near", "app": "hits", "result": "live", "exit_code": 0, "release": 43,
                "deployment": DEPLOYMENT, "phase": "done", "replaced": 3, "servers": 2, "millis": 14_250, "traffic": traffic, "warnings": [] })
    );
    assert_eq!(
        (&bad["target"], &bad["result"], &bad["exit_code"]),
        (&json!("far"), &json!("failed"), &json!(1))
    );
    assert_eq!(bad["error"]["code"], "deployment_failed");
    assert_eq!(bad["error"]["deployment"]["release"], 43);
}

#[test]
fn one_target_is_a_list_too_when_all_are_asked_for() {
    let (near, far) = (good(), good());
    let place = with_targets("  near: {cluster: near}\n", &near, &far);
    let told = place.pando(&["deploy", "--all", "--json"]).expect(0).json();
    assert_eq!(told[0]["target"], "near");
    let single = place.pando(&["deploy", "-t", "near", "--json"]).expect(0).json();
    assert_eq!(single["release"], 43);
}

#[test]
fn the_exit_code_is_the_worst_whoever_came_first() {
    for (near, far, code, words) in [
        (refusing(409, "busy"), None, 3, ["refused", "unreachable"]),
        (failing(), None, 1, ["failed", "unreachable"]),
        (good(), None, 3, ["live", "unreachable"]),
        (refusing(409, "busy"), Some(refusing(422, "invalid")), 4, ["refused", "invalid"]),
    ] {
        let place = two_targets(&near, far.as_ref().unwrap_or(&near));
        if far.is_none() {
            know(&place, "far", &nowhere());
        }
        let said = place.pando(&["deploy", "--all", "--no-wait-turn"]);
        let rows = rows(said.expect(code));
        for (row, word) in rows.iter().zip(words) {
            assert!(row.contains(word), "{word}: {said}");
        }
        assert_eq!(rows.len(), 2, "{said}");
    }
}

/// `near` is done only when `far` was begun, which one after the other would never be.
#[test]
fn at_the_same_time_each_line_says_whose_it_is() {
    let begun = Arc::new(AtomicBool::new(false));
    let (seen, told) = (Arc::clone(&begun), AtomicBool::new(false));
    let near = Fake::new(move |asked| {
        takes_deploys(asked, |asked| match asked.path.as_str() {
            "/v1/traffic" => {
                Some(Answer::ok(traffic(1, if told.swap(true, Ordering::SeqCst) { 7 } else { 0 }, 0)))
            }
            path if path.ends_with(DEPLOYMENT) => {
                let view = if seen.load(Ordering::SeqCst) { done() } else { rolling(1) };
                Some(Answer::ok(view))
            }
            _ => None,
        })
    });
    let far = Fake::new(move |asked| {
        takes_deploys(asked, |asked| match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", _) => {
                begun.store(true, Ordering::SeqCst);
                None
            }
            (_, path) if path.ends_with(DEPLOYMENT) => Some(Answer::ok(failed(&[replica(2, 42, "serving")]))),
            _ => None,
        })
    });
    let said = two_targets(&near, &far).pando(&["deploy", "--all", "--parallel"]);
    said.expect(1);
    assert_eq!(said.stderr.matches("packed ").count(), 1, "{said}");
    for line in [
        "near | hits v43 is live on 2 servers: 3 replicas replaced in 14.2 s",
        "near | 7 requests were served meanwhile, 0 failed (p99 11 ms)",
        "far  | error: hits v43 is not live: web-1 on app-2 ended 5 times: exit code 1",
        "far  |     | no such table: hits",
    ] {
        assert!(said.stderr.lines().any(|told| told == line), "{line}: {said}");
    }
    let packed = said.stderr.lines().filter(|line| line.starts_with("packed ")).count();
    let labelled =
        said.stderr.lines().filter(|line| line.starts_with("near | ") || line.starts_with("far  | "));
    assert_eq!(labelled.count() + packed, said.stderr.lines().count(), "{said}");
    assert!(rows(&said)[0].starts_with("near    near     v43      live"), "in the file's order: {said}");
}

#[test]
fn two_targets_may_not_be_one_app_on_one_cluster() {
    let (near, far) = (good(), good());
    let place = two_targets(&near, &far);
    let said = place.pando(&["deploy", "--all", "--cluster", &near.url]);
    let message = "`near` and `far` are both hits on the cluster http://127.0.0.1:";
    assert!(said.expect(2).stderr.contains(message), "{said}");
    assert_eq!(near.lines(), Vec::<String>::new());
    let other_app =
        with_targets("  near: {cluster: near}\n  far: {cluster: near, name: shop}\n", &near, &far);
    let said = other_app.pando(&["deploy", "--all"]);
    let rows = rows(&said);
    assert!(rows[0].contains("hits") && rows[1].contains("shop"), "two apps may share a cluster: {said}");
}

#[test]
fn what_can_be_known_before_is_refused_before_anything_is_sent() {
    let (near, far) = (good(), good());
    let unknown = with_targets("  near: {cluster: near}\n  far: {cluster: fra}\n", &near, &far);
    let said = unknown.pando(&["deploy", "--all"]);
    assert!(said.expect(2).stderr.contains("no cluster `fra` is known"), "{said}");
    let not_yet = with_targets(
        "  near: {cluster: near}\n  far: {cluster: far, deployment_strategy: canary}\n",
        &near,
        &far,
    );
    let said = not_yet.pando(&["deploy", "--all"]);
    assert!(said.expect(2).stderr.contains("does not deploy by `canary` yet"), "{said}");
    let no_source = two_targets(&near, &far);
    std::os::unix::fs::symlink("/etc/hostname", no_source.path("host")).unwrap();
    let said = no_source.pando(&["deploy", "--all", "--parallel"]);
    assert!(said.expect(1).stderr.contains("`host` leads to `/etc/hostname`"), "{said}");
    assert_eq!((near.lines(), far.lines()), (vec![], vec![]));
}

#[test]
fn a_dry_run_of_several_shows_each_plan() {
    let plan = |line: &'static str| {
        Fake::new(move |asked| {
            takes_deploys(asked, |asked| {
                let plan = json!({ "answer": "dry_run", "release": 43, "plan": [line] });
                (asked.method == "POST").then(|| Answer::ok(plan))
            })
        })
    };
    let (near, far) = (plan("start web-1 of v43 on app-1"), plan("start web-9 of v43 on app-9"));
    let place = two_targets(&near, &far);
    insta::assert_snapshot!(place.pando(&["deploy", "--all", "--dry-run"]));
    let told = place.pando(&["deploy", "--all", "--dry-run", "--json"]).expect(0).json();
    assert_eq!(
        (&told[1]["result"], &told[1]["plan"][0]),
        (&json!("planned"), &json!("start web-9 of v43 on app-9"))
    );
}

#[test]
fn detached_deploys_return_once_all_are_recorded() {
    let (near, far) = (good(), good());
    let said = two_targets(&near, &far).pando(&["deploy", "--all", "--detach"]);
    assert_eq!(
        rows(said.expect(0)),
        ["near    near     v43      under way", "far     far      v43      under way"]
    );
}

#[test]
fn ctrl_c_leaves_one_going_on_and_begins_no_other() {
    let (near, far) = (shows(vec![rolling(1)], [Value::Null, Value::Null]), good());
    let place = two_targets(&near, &far);
    let mut child =
        place.command(&["deploy", "--all"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = String::new();
    let stderr = child.stderr.as_mut().unwrap();
    // It follows the first once it has told its first steps.
    while !heard.contains("is ready") {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{heard}");
        heard.push(char::from(byte[0]));
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = place.said(&child.wait_with_output().unwrap());
    said.expect(130);
    assert!(said.stderr.contains("the deployment of v43 goes on by itself"), "{said}");
    assert_eq!(
        rows(&said),
        ["near    near     v43      left going on", "far     far               not begun"]
    );
    assert_eq!(far.lines(), Vec::<String>::new());
}
