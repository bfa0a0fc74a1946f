//! Deploys under load: nobody notices the good ones, nor the broken ones.

use super::bed::{Bed, Settings};
use super::load::Load;
use crate::answer::told;

#[test]
fn e2e_twenty_rolling_deploys_in_a_row_fail_no_request() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 4);
    for _ in 0..20 {
        bed.change(|_| {});
        let deployed = bed.pando(&["deploy"]);
        assert!(deployed.status.success(), "{}\n{}", told(&deployed), bed.daemon_log());
        let said = String::from_utf8_lossy(&deployed.stdout).into_owned();
        assert!(said.contains("is live on 1 server: 3 replicas replaced in"), "{said}");
        assert!(said.contains(" 0 failed"), "{said}");
        load.wait_for_requests(10);
    }
    let requests = load.stop_flawless();
    assert_eq!(bed.release(), 21);
    println!("20 rolling deploys: {requests} requests, 0 failed");
}

#[test]
fn e2e_a_broken_release_goes_back_and_nobody_notices() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 3);
    for (mode, word) in [("unhealthy", "503 from /health"), ("crash", "exit code 1")] {
        bed.change(|settings| settings.mode = mode.to_owned());
        let failed = bed.pando(&["deploy"]);
        let said = told(&failed);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains(word) && said.contains("v1"), "{said}");
        bed.wait_until_settled(3);
        assert_eq!(bed.release(), 1);
    }
    let requests = load.stop_flawless();
    println!("2 broken deploys: {requests} requests, 0 failed");
}

#[test]
fn e2e_rollback_scale_restart_under_load() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 3);
    bed.change(|_| {});
    bed.ok(&["deploy"]);
    bed.ok(&["rollback"]);
    assert_eq!(bed.release(), 1);
    bed.ok(&["scale", "web=5"]);
    bed.wait_until_settled(5);
    bed.ok(&["restart"]);
    bed.ok(&["scale", "web=1"]);
    bed.wait_until_settled(1);
    bed.ok(&["rollback", "v2"]);
    let requests = load.stop_flawless();
    println!("rollback, scale, restart: {requests} requests, 0 failed");
}

#[test]
fn e2e_surge_and_batches_under_load() {
    let extra = "max_surge: 2\nmin_ready_seconds: 1\nload_balancing: {algorithm: least_connections}";
    let mut bed = Bed::up(Settings { replicas: 4, extra: extra.to_owned(), ..Settings::default() });
    let load = Load::start(&bed.address(), 3);
    bed.change(|settings| settings.extra = "max_surge: 0\nmax_unavailable: 1".to_owned());
    bed.ok(&["deploy"]);
    bed.wait_until_settled(4);
    load.stop_flawless();
}

#[test]
fn e2e_replace_stops_all_then_starts_all() {
    let mut bed = Bed::up(Settings { replicas: 2, ..Settings::default() });
    bed.change(|settings| settings.extra = "deployment_strategy: replace".to_owned());
    bed.ok(&["deploy"]);
    bed.wait_until_settled(2);
    bed.change(|settings| settings.mode = "crash".to_owned());
    assert_eq!(bed.pando(&["deploy"]).status.code(), Some(1));
    bed.wait_until_settled(2);
    assert_eq!(bed.release(), 2);
}
