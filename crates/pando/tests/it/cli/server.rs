//! Servers: looked at, given roles and labels, emptied and removed.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::fake::{Answer, Asked, Fake};
use super::place::Place;
use super::world::{cluster, release, server};

/// `app-2` is emptied step by step, a look each, and then is as `last` says.
fn emptied(last: impl Fn() -> Answer + Send + Sync + 'static) -> Fake {
    let looks = AtomicUsize::new(0);
    Fake::new(move |asked: &Asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("DELETE", _) => Answer::ok(json!({ "forgotten": false })),
        ("GET", "/v1/servers/app-2") => match looks.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::ok(server(2, "draining", &[("web-1", "serving"), ("web-2", "draining")])),
            1 => Answer::ok(server(2, "draining", &[("web-1", "draining")])),
            _ => last(),
        },
        _ => Answer::ok(server(2, "draining", &[("web-1", "serving"), ("web-2", "serving")])),
    })
}

#[test]
fn servers_are_listed_with_what_they_are_for() {
    let fake = Fake::new(|_| {
        let mut lost = server(2, "leaving", &[]);
        lost["state"] = json!("lost");
        lost["public_address"] = Value::Null;
        Answer::ok(
            json!({ "servers": [server(1, "active", &[("web-1", "serving")]), lost, server(3, "draining", &[])] }),
        )
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["server", "ls"]));
    let told: pando_api::v1::servers::ServerList =
        serde_json::from_str(&place.pando(&["server", "ls", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(told.servers.len(), 3);
    assert_eq!(fake.lines(), ["GET /v1/servers", "GET /v1/servers"]);
}

#[test]
fn one_server_is_shown_with_everything_that_is_known() {
    let fake = Fake::new(|_| {
        let mut shown = server(2, "draining", &[("web-1", "serving"), ("worker-2", "stopping")]);
        shown["replicas"][0]["in_flight"] = json!(17);
        shown["waiting_on"] = json!(["hits: web: 1 of 2 ready on app-1"]);
        shown["warnings"] = json!(["memory limits are not enforced \u{1b}[2J"]);
        shown["firewall"] =
            json!({ "in_force": false, "problems": ["ufw drops port 7421: `ufw allow 7421/tcp`"] });
        shown["certificate_expires_at"] = json!("2026-01-08T12:00:00Z");
        Answer::ok(shown)
    });
    insta::assert_snapshot!(Place::with(&fake).pando(&["server", "show", "app-2"]));
}

#[test]
fn a_server_that_is_emptied_is_waited_for() {
    let fake = emptied(|| Answer::ok(server(2, "draining", &[])));
    insta::assert_snapshot!(Place::with(&fake).pando(&["server", "drain", "app-2"]));
    assert_eq!(fake.asked()[0].line(), "POST /v1/servers/app-2/drain");
    assert_eq!(fake.asked()[0].json(), json!({ "force": false }));
}

#[test]
fn a_server_that_leaves_is_waited_for_until_it_is_forgotten() {
    let fake = emptied(|| Answer::refused(404, "not_found", "there is no server `app-2`"));
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["server", "rm", "app-2"]));
    assert_eq!(fake.only("DELETE /v1/servers/app-2").query, "force=false");
    let told = place.pando(&["server", "rm", "app-2", "--json"]).expect(0).json();
    assert_eq!(told, json!({ "server": "app-2", "forgotten": true }));
}

#[test]
fn whoever_does_not_wait_is_told_where_to_look() {
    let fake = emptied(|| panic!("nothing was to be looked at"));
    let place = Place::with(&fake);
    for words in [&["server", "drain", "app-2", "--detach"][..], &["server", "rm", "app-2", "--no-wait"]] {
        let said = place.pando(words);
        assert_eq!(said.expect(0).stdout, "app-2: under way; `pando server show app-2` shows it\n");
    }
    assert_eq!(fake.lines(), ["POST /v1/servers/app-2/drain", "DELETE /v1/servers/app-2"]);
}

#[test]
fn somebody_else_s_word_ends_the_waiting() {
    let fake = emptied(|| Answer::ok(server(2, "active", &[("web-1", "serving")])));
    let said = Place::with(&fake).pando(&["server", "drain", "app-2"]);
    assert!(said.expect(1).stderr.contains("somebody let it take work again"), "{said}");
}

#[test]
fn ctrl_c_leaves_it_going_on() {
    let fake = Fake::new(|_| Answer::ok(server(2, "draining", &[("web-1", "serving")])));
    let place = Place::with(&fake);
    let mut child = place.command(&["server", "drain", "app-2"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(stderr).map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("1 replica is left on app-2: 1 serving"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line.contains("goes on by itself")));
}

#[test]
fn roles_are_asked_for_as_typed_and_waited_for() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::new(move |asked| {
        let mut shown = server(2, "active", &[("web-1", "draining")]);
        let look = if asked.method == "POST" { 0 } else { looks.fetch_add(1, Ordering::Relaxed) };
        (shown["unwanted"], shown["missing"]) =
            if look == 0 { (json!(1), json!(2)) } else { (json!(0), json!(0)) };
        Answer::ok(shown)
    });
    let place = Place::with(&fake);
    let words = ["server", "roles", "app-2", "+worker", "-cron", "-web", "--force"];
    insta::assert_snapshot!(place.pando(&words));
    let request = fake.only("POST /v1/servers/app-2/roles").json();
    assert_eq!(request, json!({ "add": ["worker"], "remove": ["cron", "web"], "force": true }));
}

#[test]
fn labels_are_set_and_removed() {
    let fake = Fake::new(|_| Answer::ok(server(2, "active", &[])));
    let said = Place::with(&fake).pando(&["server", "labels", "app-2", "zone=a", "disk-"]);
    assert_eq!(said.expect(0).stdout, "app-2 has zone=a\n");
    let request = fake.only("POST /v1/servers/app-2/labels").json();
    assert_eq!(request, json!({ "set": { "zone": "a" }, "remove": ["disk"], "force": false }));
}

#[test]
fn a_refusal_to_do_harm_tells_what_and_exits_4() {
    let fake = Fake::new(|_| {
        Answer::Json(
            409,
            json!({
                "code": "harmful", "message": "main can't be emptied: something would have nowhere to go",
                "details": ["hits/web runs on servers with the role `web`, and no other one is there"],
                "hint": "give another server that role first, or say `--force`",
            }),
        )
    });
    let said = Place::with(&fake).pando(&["server", "drain", "main"]);
    insta::assert_snapshot!(said.expect(4));
}

#[test]
fn a_server_takes_work_again() {
    let fake = Fake::new(|_| Answer::ok(server(2, "active", &[])));
    let said = Place::with(&fake).pando(&["server", "undrain", "app-2"]);
    assert_eq!(said.expect(0).stdout, "app-2 takes work again\n");
    assert_eq!(fake.lines(), ["POST /v1/servers/app-2/undrain"]);
}

/// Release 43 asks for `gpu` and has a database; 42 runs, 41 is of the past.
fn asks_for_roles(asked: &Asked) -> Answer {
    let with_role = |number, current, role: &str| {
        let mut release = release(number, current, true);
        release["spec"]["processes"]["web"]["role"] = json!(role);
        release
    };
    let mut newest = with_role(43, false, "gpu");
    newest["spec"]["services"] = json!({ "db": { "kind": "postgres", "role": "store", "port": 5432 } });
    match asked.path.as_str() {
        "/v1/apps" => Answer::ok(json!({ "apps": cluster()["apps"] })),
        "/v1/apps/hits/releases" => Answer::ok(
            json!({ "releases": [newest, with_role(42, true, "web"), with_role(41, false, "wrk")] }),
        ),
        "/v1/cluster/join-tokens" => Answer::ok(json!({
            "secret": pando_trust::JoinSecret::make().unwrap().reveal(), "fingerprint": "ab".repeat(32), "id": "t1",
            "expires_at": "2026-01-01T12:15:00Z",
        })),
        _ => Answer::ok(server(2, "active", &[])),
    }
}

#[test]
fn a_role_that_no_app_asks_for_is_remarked_upon() {
    let remark = "no app asks for the role `wrk` (asked for: gpu, store, web)\n";
    let of = |words: &[&str]| Place::with(&Fake::new(asks_for_roles)).pando(words);
    let roles = of(&["server", "roles", "app-2", "+wrk", "+cache", "+gpu", "+store"]);
    assert!(roles.expect(0).stderr.starts_with(remark), "{roles}");
    let token = of(&["cluster", "token", "--role", "wrk", "--json"]);
    assert_eq!(token.expect(0).stderr, remark);
    assert!(token.json()["word"].is_string(), "{token}");
}

#[test]
fn a_role_that_is_known_is_looked_up_nowhere() {
    let fake = Fake::new(asks_for_roles);
    let said = Place::with(&fake).pando(&["server", "roles", "app-2", "+cron", "-wrk", "--detach"]);
    assert_eq!(said.expect(0).stderr, "");
    assert_eq!(fake.lines(), ["POST /v1/servers/app-2/roles"]);
    let mute = Fake::new(|asked| match asked.path.as_str() {
        "/v1/apps" => Answer::refused(503, "unavailable", "not now"),
        _ => asks_for_roles(asked),
    });
    let said = Place::with(&mute).pando(&["server", "roles", "app-2", "+wrk", "--detach"]);
    assert_eq!(said.expect(0).stderr, "");
}
