//! Rules as they are, and changes that are seen before they are made.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::fake::{Answer, Asked, Fake};
use super::place::Place;
use super::world::uuid;

fn settings(enabled: bool, ssh_from: &[&str]) -> Value {
    json!({
        "lockdown": false, "revision": 7,
        "firewall": { "enabled": enabled, "ssh_from": ssh_from, "control_from": [], "open": [{ "ports": "9100", "from": ["10.0.0.7"] }], "cut_sessions": false },
    })
}

fn server(n: u32, enforced: bool, in_force: bool, problems: &[&str]) -> Value {
    json!({
        "server": uuid(n), "name": format!("app-{n}"), "state": "alive", "enforced": enforced, "in_force": in_force, "problems": problems,
        "rules": [
            { "ports": [22, 22], "protocol": "tcp", "from": "anywhere", "why": "SSH: nobody is named" },
            { "ports": [20_000, 32_767], "protocol": "tcp", "from": { "of": ["10.0.0.1", "10.0.0.2"] }, "why": "replicas, from who balances" },
        ],
    })
}

fn view(enabled: bool, servers: &[Value]) -> Value {
    json!({ "settings": settings(enabled, &[])["firewall"], "servers": servers })
}

/// A cluster that takes every change; after it, the view is as `after` says, look by look.
fn changeable(after: impl Fn(usize) -> Value + Send + Sync + 'static) -> Fake {
    let looks = AtomicUsize::new(0);
    Fake::new(move |asked: &Asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/v1/settings") => Answer::ok(settings(false, &["203.0.113.0/24"])),
        ("PATCH", _) => {
            let wanted = asked.json()["firewall"].clone();
            let enabled = wanted["enabled"].as_bool().unwrap_or(false);
            let mut settings = settings(enabled, &["203.0.113.0/24"]);
            for key in ["ssh_from", "control_from", "open"] {
                if wanted[key].is_array() {
                    settings["firewall"][key] = wanted[key].clone();
                }
            }
            let switched = if enabled { json!(true) } else { Value::Null };
            let change = json!({ "ports": [22, 22], "protocol": "tcp", "before": "anywhere", "after": { "of": ["203.0.113.0/24"] },
                "text": "22/tcp: closed to all but 203.0.113.0/24 (SSH, from who is named)" });
            let rules = json!([{ "server": "app-1", "switched": switched, "changes": [change] }]);
            Answer::ok(json!({ "settings": settings, "rules": rules }))
        }
        _ => Answer::ok(after(looks.fetch_add(1, Ordering::Relaxed))),
    })
}

fn patches(fake: &Fake) -> Vec<Value> {
    fake.asked().into_iter().filter(|asked| asked.method == "PATCH").map(|asked| asked.json()).collect()
}

#[test]
fn rules_are_shown_with_their_reasons() {
    let blocked = "ufw drops port 7421: `ufw allow 7421/tcp`";
    let fake = Fake::new(move |_| {
        Answer::ok(view(true, &[server(1, true, true, &[]), server(2, true, false, &[blocked])]))
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["firewall", "show"]));
    let one = place.pando(&["firewall", "show", "app-2", "--json"]).expect(0).json();
    assert_eq!(one["servers"].as_array().unwrap().len(), 1);
    let none = place.pando(&["firewall", "show", "app-3"]);
    assert!(none.expect(2).stderr.contains("there are: app-1 and app-2"), "{none}");
}

#[test]
fn what_would_be_is_shown_while_it_is_off() {
    let fake = Fake::new(|_| Answer::ok(view(false, &[server(1, false, false, &[])])));
    let said = Place::with(&fake).pando(&["firewall", "show"]);
    assert!(said.expect(0).stdout.starts_with("the firewall is off; these rules"), "{said}");
}

#[test]
fn it_is_switched_on_after_it_was_shown_and_agreed_to() {
    let fake = changeable(|look| view(true, &[server(1, true, look > 1, &[])]));
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["firewall", "enable", "--yes"]));
    let asked = patches(&fake);
    let enabled = |dry: bool| json!({ "firewall": { "enabled": true, "cut_sessions": false }, "if_revision": 7, "force": false, "dry_run": dry });
    assert_eq!(asked, [enabled(true), enabled(false)]);
}

#[test]
fn nothing_changes_unless_somebody_agrees() {
    let fake = changeable(|_| panic!("nothing was changed"));
    let place = Place::with(&fake);
    let said = place.pando(&["firewall", "enable"]);
    assert!(said.expect(2).stderr.contains("say `--yes`"), "{said}");
    place.pando(&["firewall", "enable", "--dry-run"]).expect(0);
    assert!(patches(&fake).iter().all(|patch| patch["dry_run"] == json!(true)));
}

#[test]
fn whoever_does_not_wait_is_told_where_to_look() {
    let fake = changeable(|_| panic!("nothing was to be looked at"));
    let said = Place::with(&fake).pando(&["firewall", "enable", "--yes", "--no-wait"]);
    assert_eq!(said.expect(0).stdout, "under way; `pando firewall show` shows it\n");
}

#[test]
fn an_ssh_session_is_not_cut_off() {
    let fake = changeable(|_| view(true, &[]));
    let place = Place::with(&fake);
    let over_ssh = |args: &[&str], from: &str| {
        let output =
            place.command(args).env("SSH_CONNECTION", format!("{from} 50123 10.0.0.1 22")).output().unwrap();
        place.said(&output)
    };
    let refused = over_ssh(&["firewall", "enable", "--yes"], "198.51.100.9");
    assert!(refused.expect(4).stderr.contains("allow-ssh 198.51.100.9"), "{refused}");
    assert!(patches(&fake).iter().all(|patch| patch["dry_run"] == json!(true)));
    over_ssh(&["firewall", "enable", "--yes"], "203.0.113.7").expect(0);
    over_ssh(&["firewall", "enable", "--yes", "--force"], "198.51.100.9").expect(0);
    let last = patches(&fake).pop().unwrap();
    assert_eq!((&last["force"], &last["firewall"]["cut_sessions"]), (&json!(true), &json!(true)));
}

#[test]
fn doors_are_opened_and_closed_one_by_one() {
    let fake = changeable(|_| view(false, &[]));
    let place = Place::with(&fake);
    for (words, key, value) in [
        (&["allow-ssh", "10.0.0.7"][..], "ssh_from", json!(["10.0.0.7", "203.0.113.0/24"])),
        (&["allow-ssh", "--remove", "203.0.113.0/24"], "ssh_from", json!([])),
        (&["allow-control", "198.51.100.9"], "control_from", json!(["198.51.100.9"])),
        (
            &["open", "51820/udp", "--role", "web"],
            "open",
            json!([{ "ports": "9100", "from": ["10.0.0.7"] }, { "ports": "51820/udp", "from": [], "role": "web" }]),
        ),
        (&["open", "9100", "--from", "10.0.0.8"], "open", json!([{ "ports": "9100", "from": ["10.0.0.8"] }])),
        (&["close", "9100"], "open", json!([])),
    ] {
        let words = [&["firewall"], words, &["--yes"]].concat();
        place.pando(&words).expect(0);
        assert_eq!(patches(&fake).pop().unwrap()["firewall"][key], value, "{words:?}");
    }
    let said = place.pando(&["firewall", "close", "9200", "--yes"]);
    assert!(said.expect(2).stderr.contains("these were: 9100"), "{said}");
}
