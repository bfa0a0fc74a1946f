//! What runs, as people and programs see it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::fake::{Answer, Fake};
use super::place::Place;
use super::world::{app, cluster, deployment, release, replica, takes_deploys, uuid};

fn busy_app() -> serde_json::Value {
    let mut crashing = replica(3, 43, "backing_off");
    crashing["problem"] = json!("exit code 1, starts again in 4 s \u{1b}[2J");
    crashing["restarts"] = json!(4);
    let mut busy = replica(1, 42, "serving");
    busy["in_flight"] = json!(17);
    let mut app = app(Some(42), "deploying", &[busy, replica(2, 42, "draining"), crashing]);
    app["deployment"] = deployment(json!({ "phase": "rolling" }), None);
    app["queued"] = json!(1);
    app["waiting_on"] = json!([
        "v43 is rolling out",
        "web: 2 of 3 ready on app-1, app-2; waiting on health of web-3 (503 from /health)"
    ]);
    app
}

fn busy() -> Fake {
    Fake::new(|asked| {
        takes_deploys(asked, |asked| (asked.path == "/v1/apps/hits").then(|| Answer::ok(busy_app())))
    })
}

#[test]
fn an_app_is_shown_with_what_it_waits_for() {
    insta::assert_snapshot!(Place::with(&busy()).pando(&["status"]));
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let fake = busy();
    let place = Place::with(&fake);
    assert!(!place.pando(&["status"]).stdout.contains('\u{1b}'));
    let coloured = place.pando(&["status", "--color", "always"]).stdout;
    assert!(coloured.contains("\u{1b}[32mserving\u{1b}[0m"), "{coloured}");
    assert!(!coloured.contains("\u{1b}[2J"), "what others wrote moves no cursor");
}

#[test]
fn programs_get_what_the_api_says() {
    let fake = busy();
    let place = Place::with(&fake);
    let told: pando_api::v1::apps::AppStatus =
        serde_json::from_str(&place.pando(&["status", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(told.queued, 1);
    let told: pando_api::v1::status::ClusterStatus =
        serde_json::from_str(&place.pando(&["status", "--all", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(told.servers.len(), 2);
}

#[test]
fn without_a_file_the_whole_cluster_is_shown() {
    let fake = Fake::new(|_| Answer::ok(cluster()));
    let place = Place::empty();
    insta::assert_snapshot!(place.pando(&["status", "--cluster", &fake.url]));
    assert_eq!(fake.lines(), ["GET /v1/status"]);
}

/// The app loses data, a server of it can't limit memory, and another is silent.
fn warned() -> serde_json::Value {
    let mut app = app(Some(42), "running", &[1, 2, 3].map(|n| replica(n, 42, "serving")));
    app["warnings"] = json!([
        "the image declares `/data` as a volume, and none is mounted there \u{1b}[2J",
        "app-2: memory limits are not enforced"
    ]);
    app
}

#[test]
fn warnings_stand_below_an_app_and_below_the_cluster_each_once() {
    let fake = Fake::new(|asked| match asked.path.as_str() {
        "/v1/status" => {
            let mut cluster = cluster();
            cluster["warnings"].as_array_mut().unwrap().insert(0, json!("app-3 has not been heard for 9 s"));
            Answer::ok(cluster)
        }
        _ => Answer::ok(warned()),
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!("warnings_of_an_app", place.pando(&["status"]));
    insta::assert_snapshot!("warnings_of_the_cluster", place.pando(&["status", "--all"]));
}

#[test]
fn who_may_see_one_app_sees_its_warnings() {
    let fake = Fake::new(|asked| match asked.path.as_str() {
        "/v1/status" => Answer::refused(403, "forbidden", "this token is for one app"),
        _ => Answer::ok(warned()),
    });
    insta::assert_snapshot!(Place::with(&fake).pando(&["status"]));
}

#[test]
fn a_failed_last_deployment_and_no_rights_on_the_cluster_do_not_hide_the_app() {
    let fake = Fake::new(|asked| {
        if asked.path == "/v1/status" {
            return Answer::refused(403, "forbidden", "this token is for one app");
        }
        let mut app = app(Some(42), "running", &[1, 2, 3].map(|n| replica(n, 42, "serving")));
        app["last"] = deployment(
            json!({ "phase": "failed", "failure": { "message": "web-1 on app-2 was not ready within 1 min" } }),
            Some("30"),
        );
        Answer::ok(app)
    });
    let said = Place::with(&fake).pando(&["status"]);
    let line = "the last deployment (v43) failed: web-1 on app-2 was not ready within 1 min";
    assert!(said.expect(0).stdout.contains(line) && said.stderr.is_empty(), "{said}");
}

#[test]
fn watching_through_a_pipe_tells_what_changes_and_ctrl_c_is_no_failure() {
    let looks = AtomicU64::new(0);
    let fake = Fake::new(move |asked| {
        if asked.path != "/v1/apps/hits" {
            return Answer::refused(403, "forbidden", "this token is for one app");
        }
        let look = looks.fetch_add(1, Ordering::SeqCst);
        let mut web = replica(1, 42, "serving");
        // What moves by itself is not worth a line.
        web["in_flight"] = json!(look);
        Answer::ok(app(Some(42), if look < 2 { "degraded" } else { "running" }, &[web]))
    });
    let place = Place::with(&fake);
    let mut child = place.command(&["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut heads = lines.filter(|line| line.starts_with("hits v42"));
    assert!(heads.next().unwrap().starts_with("hits v42 degraded"));
    assert!(heads.next().unwrap().starts_with("hits v42 running"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn releases_and_events_are_listed() {
    let fake = Fake::new(move |asked| match asked.path.as_str() {
        "/v1/apps/hits/releases" => Answer::ok(
            json!({ "releases": [release(43, false, false), release(42, true, true), release(41, false, true)] }),
        ),
        _ => Answer::ok(json!({ "next": 7, "events": [
            { "id": uuid(1), "time": "2026-01-01T12:00:00Z", "level": "info", "app": "hits", "text": "deploying v43" },
            { "id": uuid(2), "time": "2026-01-01T12:00:09Z", "level": "error", "text": "a server is lost" },
        ] })),
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["releases"]));
    insta::assert_snapshot!(place.pando(&["events", "-n", "2"]));
    assert_eq!(fake.only("GET /v1/events").query, "app=hits&limit=2");
    let lines = place.pando(&["events", "--json", "--all"]);
    assert_eq!(lines.expect(0).stdout.lines().count(), 2, "a line of JSON each: {lines}");
}
