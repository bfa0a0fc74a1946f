//! `kill -9` at every step, under load.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::bed::{Bed, Settings, kill};
use super::load::Load;
use crate::answer::told;

/// The moments after the start of a deploy at which the daemon dies: a deploy of three takes about one second, so that every
/// step of it is hit.
const MOMENTS: [u64; 12] = [0, 30, 80, 130, 200, 280, 360, 450, 560, 700, 900, 1200];

#[test]
fn e2e_the_daemon_dies_at_every_step_of_a_deploy() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 3);
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        bed.change(|_| {});
        let deploying = bed
            .command(&["deploy"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let due = Instant::now() + Duration::from_millis(moment);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        kill(bed.daemon_pid());
        let ended = deploying.wait_with_output().unwrap();
        let status = bed.wait_until_settled(3);
        // Killed before the deploy was recorded, the command may not get through; afterwards it must.
        let code = ended.status.code();
        assert!(matches!(code, Some(0 | 3)), "after {moment} ms: {}\n{}", told(&ended), bed.daemon_log());
        if code == Some(3) {
            println!("round {number}: not accepted, {} serves", status["release"]);
        }
    }
    let requests = load.stop_flawless();
    println!("{} kills of the daemon: {requests} requests, 0 failed", MOMENTS.len());
}

#[test]
fn e2e_the_daemon_dies_while_a_broken_release_goes_back() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 2);
    bed.change(|settings| settings.mode = "crash".to_owned());
    let mut deploying = bed
        .command(&["deploy"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(900));
        kill(bed.daemon_pid());
    }
    assert_eq!(deploying.wait().unwrap().code(), Some(1));
    bed.wait_until_settled(3);
    assert_eq!(bed.release(), 1);
    load.stop_flawless();
}

#[test]
fn e2e_the_proxy_dies_and_no_connection_is_refused() {
    let bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 4);
    for _ in 0..5 {
        let before = bed.proxy_pid();
        kill(before);
        let deadline = Instant::now() + Duration::from_secs(5);
        while bed.proxy_pid() == before {
            assert!(Instant::now() < deadline, "the proxy is not started again");
        }
        load.wait_for_requests(50);
    }
    let tally = load.stop();
    // Eight clients with one request each: no more than eight may be under way in the proxy when it dies.
    assert_eq!(tally.refused, 0, "{:#?}", tally.failures);
    assert!(tally.failed <= 5 * 8, "{} failed: {:#?}", tally.failed, tally.failures);
    println!(
        "5 kills of the proxy: {} requests, {} in flight failed, 0 refused",
        tally.requests, tally.failed
    );
    bed.wait_until_settled(3);
}

#[test]
fn e2e_a_killed_replica_is_back_at_once() {
    let bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 4);
    for round in 0..3_usize {
        let status = bed.wait_until_settled(3);
        let victim = &status["replicas"][round];
        let (name, pid) = (victim["replica"].as_str().unwrap(), victim["pid"].as_u64().unwrap());
        kill(u32::try_from(pid).unwrap());
        bed.wait_for("another pid", 10, |status| {
            let held = status["replicas"].as_array().unwrap().iter().find(|r| r["replica"] == name).cloned();
            held.is_some_and(|r| r["pid"].as_u64().is_some_and(|now| now != pid) && r["state"] == "serving")
        });
        load.wait_for_requests(50);
    }
    let tally = load.stop();
    assert!(
        tally.failed <= 3 * 8,
        "only what was in flight may fail, {} did: {:#?}",
        tally.failed,
        tally.failures
    );
    println!("3 kills of a replica: {} requests, {} in flight failed", tally.requests, tally.failed);
}

#[test]
fn e2e_a_stopped_daemon_changes_nothing_for_traffic() {
    let bed = Bed::up(Settings::default());
    let before = bed.wait_until_settled(3);
    let load = Load::start(&bed.address(), 3);
    for _ in 0..5 {
        kill(bed.daemon_pid());
        load.wait_for_requests(100);
    }
    let after = bed.wait_until_settled(3);
    let pids = |status: &serde_json::Value| {
        status["replicas"].as_array().unwrap().iter().map(|r| r["pid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(pids(&before), pids(&after), "the same processes, adopted");
    load.stop_flawless();
}

/// With the app's limits, and a child that has left its session and its parent: the next daemon ends it.
#[test]
fn e2e_a_one_off_does_not_outlive_its_daemon() {
    let bed = Bed::up(Settings { extra: "resources: {pids: 50}".to_owned(), ..Settings::default() });
    let file = bed.path("stray.db");
    let line = format!(
        "(setsid sh -c 'trap \"\" TERM; echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' > /dev/null 2>&1 < /dev/null &); sleep 1000",
        file.display()
    );
    let running = bed.command(&["run", &line]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut running = running.unwrap();
    wait_until("the one-off has begun", || file.exists());
    let pid: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_there = || stat().rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'));
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(is_there());
    kill(bed.daemon_pid());
    let ended = running.wait().unwrap();
    assert!(!ended.success(), "its caller is told");
    if cgroup.contains("/pando/command-") {
        wait_until("the next daemon has ended it", || !is_there());
    } else {
        // No cgroups are to be had here, which the status says.
        assert!(bed.ok(&["status"]).contains("limits are not enforced"));
        kill(pid);
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
