//! Limits by cgroups, where this machine allows them; where not, that is said.

use std::time::{Duration, Instant};

use pando_model::resources::Resources;
use pando_model::time::Millis;
use pando_runtime::process::{ProcessRuntime, ProcessSettings};
use pando_runtime::{RunSpec, Runtime};

use crate::support::{Fixture, is_running, kill, settings, spec, until};

const MEMORY: Resources = Resources { cpu_millis: None, memory_bytes: Some(32_000_000), pids: None };
const CPU: Resources = Resources { cpu_millis: Some(100), memory_bytes: None, pids: None };

const PIDS: Resources = Resources { cpu_millis: None, memory_bytes: None, pids: Some(5) };

/// Where the run is, in the hierarchies that limit it.
fn cgroups_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

/// The directories of a run's cgroups.
fn directories(fixture: &Fixture, run: &RunSpec) -> Vec<String> {
    let launch = std::fs::read(fixture.dir(run.key).join("spec.json")).unwrap();
    let launch: serde_json::Value = serde_json::from_slice(&launch).unwrap();
    launch["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["directory"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_run_that_takes_too_much_memory_is_ended_and_the_report_says_why() {
    let mut fixture = Fixture::new();
    // Reads one endless line, which it has to keep.
    let run = RunSpec { resources: MEMORY, ..spec("echo before; exec tail /dev/zero") };
    let unlimited = fixture.start(&RunSpec { command: "sleep 1000".to_owned(), ..spec("") }).await;
    if !allowed(&mut fixture, MEMORY).await {
        return;
    }
    fixture.start(&run).await;
    let directories = directories(&fixture, &run);
    let exit = fixture.ended(run.key).await;
    assert_eq!((exit.code, exit.signal, exit.out_of_memory), (None, Some(9), true));
    assert_eq!(exit.last_lines, ["before"]);
    assert_eq!(fixture.remarks("web-1").await.last().unwrap(), "ended by SIGKILL, out of memory");
    for directory in directories {
        assert!(!std::path::Path::new(&directory).exists(), "{directory} is left");
    }
    assert!(is_running(unlimited.pid.unwrap()));
    fixture.stop(unlimited.spec.key, Millis::ZERO).await;
    fixture.ended(unlimited.spec.key).await;
}

/// Whether limits can be enforced here; where not, checks that it is said once, and that runs run all the same.
async fn allowed(fixture: &mut Fixture, resources: Resources) -> bool {
    let run = RunSpec { resources, ..spec("sleep 1000") };
    let held = fixture.start(&run).await;
    let (pid, shim) = (held.pid.unwrap(), fixture.shim_pid(run.key));
    let warnings = fixture.runtime.warnings();
    let inside = cgroups_of(pid).contains(&format!("pando/{}.0", run.key.id));
    assert_eq!(inside, warnings.is_empty(), "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains("limits are not enforced")), "{warnings:?}");
    assert!(!cgroups_of(shim).contains(&run.key.id.to_string()), "the shim counts too");
    fixture.stop(run.key, Millis::ZERO).await;
    fixture.ended(run.key).await;
    inside
}

#[tokio::test]
async fn a_run_gets_no_more_of_the_cpu_than_it_may_have() {
    let mut fixture = Fixture::new();
    if !allowed(&mut fixture, CPU).await {
        return;
    }
    let held = fixture.start(&RunSpec { resources: CPU, ..spec("while true; do :; done") }).await;
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", held.pid.unwrap())).unwrap();
    // User and system time, in hundredths of a second, as is everything that `/proc` tells to people.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let used: u128 = fields[11].parse::<u128>().unwrap() + fields[12].parse::<u128>().unwrap();
    let passed = begin.elapsed().as_millis() / 10;
    assert!(used * 4 < passed, "{used} of {passed} ticks with a tenth of a core");
    fixture.stop(held.spec.key, Millis::ZERO).await;
    fixture.ended(held.spec.key).await;
}

#[tokio::test]
async fn a_run_has_no_more_processes_than_it_may_have() {
    let mut fixture = Fixture::new();
    if !allowed(&mut fixture, PIDS).await {
        return;
    }
    // The shell that can't fork says so and ends.
    let line = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all of them";
    let held = fixture.start(&RunSpec { resources: PIDS, ..spec(line) }).await;
    let exit = fixture.ended(held.spec.key).await;
    assert!(exit.code != Some(0) && exit.last_lines.iter().all(|line| line != "all of them"), "{exit:?}");
    assert!(exit.last_lines.iter().any(|line| line.to_lowercase().contains("fork")), "{exit:?}");
}

#[tokio::test]
async fn a_killed_shim_leaves_nothing_in_the_cgroup_either() {
    let mut fixture = Fixture::new();
    if !allowed(&mut fixture, MEMORY).await {
        return;
    }
    let file = fixture.root.path().join("pid");
    // Out of group, session and descent: only the cgroup knows.
    let line = format!("setsid sh -c '(echo $$; exec sleep 1000) > {} & '; sleep 1000", file.display());
    let held = fixture.start(&RunSpec { resources: MEMORY, ..spec(&line) }).await;
    let directory = directories(&fixture, &held.spec).remove(0);
    let procs = || std::fs::read_to_string(format!("{directory}/cgroup.procs")).unwrap_or_default();
    until("three processes are there", || procs().lines().count() == 3 && file.exists()).await;
    let pids: Vec<u32> = procs().lines().map(|pid| pid.parse().unwrap()).collect();
    kill(fixture.shim_pid(held.spec.key));
    fixture.ended(held.spec.key).await;
    assert!(pids.iter().all(|pid| !is_running(*pid)), "{pids:?}");
    assert!(!std::path::Path::new(&directory).exists());
}

#[tokio::test]
async fn without_cgroups_runs_are_not_limited_and_that_is_said_once() {
    let root = tempfile::tempdir().unwrap();
    let settings = ProcessSettings { use_cgroups: false, ..settings(root.path()) };
    let runtime = ProcessRuntime::open(settings, &pando_rt::shutdown::Shutdown::new()).unwrap();
    runtime.start(spec("true")).await.unwrap();
    assert!(runtime.warnings().is_empty(), "nothing was asked for");
    for _ in 0..2 {
        let resources = Resources { cpu_millis: Some(100), ..MEMORY };
        assert!(runtime.start(RunSpec { resources, ..spec("true") }).await.is_ok());
    }
    assert_eq!(runtime.warnings(), ["memory and CPU limits are not enforced: cgroups are turned off"]);
}
