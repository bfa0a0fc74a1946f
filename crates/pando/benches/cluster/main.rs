//! How soon a server's death is no longer felt, how soon its replicas are back, how small the programs on each server are.
//!
//! Whole programs on servers that are network namespaces, as in the tests: the
//! power of one fails while clients ask every entry point. Needs root. Printed and
//! written to `bench/results/cluster.md`. Run by `script/bench cluster`.

#![allow(clippy::unwrap_used, reason = "a measurement that can't go on ends")]
#![allow(dead_code, reason = "the test bed can do more than is measured")]

#[path = "../../tests/it/answer.rs"]
mod answer;
mod balancer;
#[path = "../../tests/it/bed/mod.rs"]
mod bed;
#[path = "../../tests/it/e2e/load.rs"]
mod load;

/// What the test bed uses of the other tests.
mod e2e {
    pub(crate) use crate::load;

    pub(crate) mod bed {
        /// SIGKILL to a process that this run started.
        pub(crate) fn kill(pid: u32) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
}

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bed::Bed;
use bed::app::App;
use serde_json::Value;

/// Deaths that are measured.
const DEATHS: usize = 5;

const APP_SERVERS: [&str; 3] = ["app-1", "app-2", "app-3"];
const BALANCERS: [&str; 2] = ["lb-1", "lb-2"];
const REPLICAS: usize = 9;

fn main() {
    let mut bed = cluster();
    let memory = memory(&bed);
    let deaths: Vec<Death> = (0..DEATHS).map(|round| death(&mut bed, APP_SERVERS[round % 3])).collect();
    let report = report(&deaths, &memory);
    println!("{report}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/results");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("cluster.md"), &report).unwrap();
}

/// One control server without replicas, three servers of the app, two balancers.
fn cluster() -> Bed {
    let names = [&["main"][..], &APP_SERVERS[..], &BALANCERS[..]].concat();
    let bed = Bed::of(&names);
    bed.found();
    APP_SERVERS.iter().for_each(|name| bed.join(name, &["web"]));
    BALANCERS.iter().for_each(|name| bed.join(name, &["lb"]));
    bed.ok(&["server", "roles", "main", "-web"]);
    bed.deploy(&App { web: format!("replicas: {REPLICAS}"), ..App::default() });
    spread_evenly(&bed);
    bed
}

fn spread_evenly(bed: &Bed) {
    bed.wait_spread("web", &APP_SERVERS.map(|name| (name, REPLICAS / 3)), 120);
}

/// What came of one.
struct Death {
    /// Until no balancer sends anything there.
    out: Duration,
    /// Until as many replicas as before serve elsewhere.
    elsewhere: Duration,
    requests: u64,
    failed: u64,
}

fn death(bed: &mut Bed, name: &str) -> Death {
    let victims = instances_on(&bed.json(&["status"]), name);
    assert_eq!(victims.len(), REPLICAS / 3);
    let loads = BALANCERS.map(|balancer| bed.load(balancer, 4));
    bed.server_mut(name).power_off();
    let start = Instant::now();
    let sockets = BALANCERS.map(|balancer| bed.server(balancer).inside("/var/lib/pando/proxy/proxy.sock"));
    while !sockets.iter().all(|socket| victims.is_subset(&balancer::not_in_rotation(socket))) {
        assert!(start.elapsed() < Duration::from_secs(25), "{name} is still asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = start.elapsed();
    bed.wait_for(&["status"], "its replicas elsewhere", 120, |status| {
        let serving = Bed::serving(status, "web");
        serving.iter().filter(|(server, _)| *server != name).map(|(_, count)| count).sum::<usize>()
            == REPLICAS
    });
    let elsewhere = start.elapsed();
    let tallies = loads.map(load::Load::stop);
    come_back(bed, name);
    Death {
        out,
        elsewhere,
        requests: tallies.iter().map(|tally| tally.requests).sum(),
        failed: tallies.iter().map(|tally| tally.failed).sum(),
    }
}

/// Every replica may stay where it is; a deploy spreads them evenly again.
fn come_back(bed: &mut Bed, name: &str) {
    bed.server_mut(name).power_on();
    bed.server(name).start();
    bed.wait_alive(name);
    bed.ok(&["scale", "web=3"]);
    bed.wait_for(&["status"], "three replicas", 60, |status| {
        Bed::serving(status, "web").values().sum::<usize>() == 3
    });
    bed.ok(&["scale", &format!("web={REPLICAS}")]);
    bed.ok(&["deploy"]);
    spread_evenly(bed);
}

fn instances_on(status: &Value, name: &str) -> BTreeSet<String> {
    let replicas = status["replicas"].as_array().into_iter().flatten();
    let here = replicas.filter(|replica| replica["server_name"] == name);
    here.map(|replica| replica["instance"].as_str().unwrap().to_owned()).collect()
}

/// What is resident, by program and server, in MB.
fn memory(bed: &Bed) -> Vec<(String, f64)> {
    // Idle: nothing has happened for a while.
    std::thread::sleep(Duration::from_secs(5));
    let of = |what: &str, pid: Option<u32>| (what.to_owned(), resident_mb(pid.unwrap()));
    vec![
        of("agent, on a server with three replicas", bed.server("app-1").daemon_pid()),
        of("control plane and agent, of a cluster of six servers", bed.server("main").daemon_pid()),
        of("load balancer, idle", bed.server("lb-1").proxy_pid()),
    ]
}

fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: u32 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    f64::from(kilobytes) * 1024.0 / 1e6
}

fn report(deaths: &[Death], memory: &[(String, f64)]) -> String {
    let mut text = String::from(
        "# A cluster of six servers\n\nOne machine, network namespaces as servers, release build. `script/bench cluster` measures again.\n\n\
         The power of a server with three of nine replicas fails, under load through two balancers.\n\n\
         | | median | longest |\n|---|---|---|\n",
    );
    for (what, of) in [
        ("until no balancer sends requests there", (|death| death.out) as fn(&Death) -> Duration),
        ("until nine replicas serve elsewhere", |death| death.elsewhere),
    ] {
        let mut times: Vec<Duration> = deaths.iter().map(of).collect();
        times.sort();
        let _ = writeln!(
            text,
            "| {what} | {} | {} |",
            seconds(times[times.len() / 2]),
            seconds(times[times.len() - 1])
        );
    }
    let (requests, failed) =
        deaths.iter().fold((0, 0), |(all, bad), death| (all + death.requests, bad + death.failed));
    let _ = writeln!(text, "\nOf {requests} requests in {} deaths, {failed} failed.\n", deaths.len());
    text.push_str("| resident | MB |\n|---|---|\n");
    for (what, size) in memory {
        let _ = writeln!(text, "| {what} | {size:.1} |");
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
