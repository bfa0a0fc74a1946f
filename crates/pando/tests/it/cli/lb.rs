//! Entry points and DNS. Domains here are addresses, which every resolver knows without asking anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::fake::{Answer, Fake};
use super::place::Place;
use super::world::uuid;

fn entry(name: &str, role: &str, address: &str, last_minute: u64) -> Value {
    json!({
        "server": uuid(1), "name": name, "role": role, "state": "alive", "private_address": "10.0.0.9", "public_address": address,
        "proxy": { "alive": true, "acknowledged": { "epoch": 1, "revision": 7 }, "published": { "epoch": 1, "revision": 7 }, "refused": [] },
        "endpoints": 6, "in_rotation": 6, "in_flight": 0,
        "requests": { "last_minute": last_minute, "last_ten_minutes": 12_003, "total": 1_041_208, "unmatched": 3, "followed": 700_000, "heard_at": null },
    })
}

/// `lb-1` at 127.0.0.1 and `main` at 127.0.0.3; domains as given.
fn balancers(domains: &[&str], direct: u64) -> Value {
    let domains: Vec<Value> = domains.iter().map(|it| json!({ "domain": it, "app": "hits" })).collect();
    let entries =
        [entry("lb-1", "balancer", "127.0.0.1", 1204), entry("main", "direct", "127.0.0.3", direct)];
    json!({ "lockdown": false, "entry_points": entries, "domains": domains })
}

#[test]
fn each_entry_point_and_domain_is_shown() {
    let fake = Fake::new(|_| Answer::ok(balancers(&["127.0.0.1", "127.0.0.3", "198.51.100.9"], 7)));
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["lb", "status"]));
    let told = place.pando(&["lb", "status", "--json"]).expect(0).json();
    let words: Vec<&str> = (0..3).map(|n| told["domains"][n]["points_at"].as_str().unwrap()).collect();
    assert_eq!(words, ["balancers", "direct", "elsewhere"]);
    assert_eq!(told["entry_points"].as_array().unwrap().len(), 2);
}

#[test]
fn a_balancer_that_is_not_well_is_told() {
    let fake = Fake::new(|_| {
        let mut list = balancers(&[], 0);
        let entry = &mut list["entry_points"][0];
        entry["proxy"]["acknowledged"] = json!({ "epoch": 1, "revision": 6 });
        entry["proxy"]["refused"] = json!(["pool `hits/web` is named twice"]);
        entry["in_rotation"] = json!(4);
        entry["in_flight"] = json!(17);
        list["entry_points"][1]["proxy"]["alive"] = json!(false);
        list["warnings"] = json!([
            "hits.example.com has no certificate: HTTPS warns its visitors off; `pando cert import` brings one"
        ]);
        Answer::ok(list)
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["lb", "status"]));
    let refused = place.pando(&["lb", "cutover"]);
    assert!(refused.expect(4).stderr.contains("not every load balancer is ready"), "{refused}");
}

#[test]
fn cutover_says_which_records_to_set() {
    let fake = Fake::new(|_| Answer::ok(balancers(&["127.0.0.1", "127.0.0.3"], 7)));
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["lb", "cutover"]));
    let told = place.pando(&["lb", "cutover", "--json"]).expect(1).json();
    assert_eq!(told["records"], json!([{ "name": "127.0.0.3", "type": "A", "value": "127.0.0.1" }]));
    assert_eq!(told["over"], json!(false));
}

#[test]
fn cutover_looks_until_nothing_arrives_elsewhere() {
    let looks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looks);
    let fake = Fake::new(move |_| {
        // DNS moves first; those who remember older records come later.
        Answer::ok(match count.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => balancers(&["127.0.0.3"], 7),
            2 | 3 => balancers(&["127.0.0.1"], 2),
            _ => balancers(&["127.0.0.1"], 0),
        })
    });
    insta::assert_snapshot!(Place::with(&fake).pando(&["lb", "cutover", "--watch", "--every", "10ms"]));
    assert_eq!(looks.load(Ordering::Relaxed), 5);
}

#[test]
fn cutover_without_a_balancer_says_how_to_get_one() {
    let fake = Fake::new(|_| {
        let mut list = balancers(&["127.0.0.3"], 7);
        list["entry_points"] = json!([entry("main", "direct", "127.0.0.3", 7)]);
        Answer::ok(list)
    });
    let said = Place::with(&fake).pando(&["lb", "cutover"]);
    assert!(said.expect(4).stderr.contains("`pando server add HOST --role lb`"), "{said}");
}

#[test]
fn direct_access_is_closed_and_opened() {
    let fake = Fake::new(|asked| {
        let mut list = balancers(&[], 0);
        if asked.path.ends_with("lockdown") {
            list["lockdown"] = json!(true);
            list["entry_points"] = json!([entry("lb-1", "balancer", "127.0.0.1", 9)]);
        }
        Answer::ok(list)
    });
    let place = Place::with(&fake);
    let closed = place.pando(&["lb", "lockdown", "--force"]);
    assert_eq!(closed.expect(0).stdout, "direct access is closed: requests from outside are taken by lb-1\n");
    assert_eq!(fake.only("POST /v1/balancers/lockdown").json(), json!({ "force": true }));
    let open = place.pando(&["lb", "unlock"]);
    assert_eq!(
        open.expect(0).stdout,
        "direct access is open: requests from outside are taken by lb-1 and main\n"
    );
}
