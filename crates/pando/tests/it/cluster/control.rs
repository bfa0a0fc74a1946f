//! The control plane dies at each step of a deploy: by a kill of its daemon, which is started again, and by a loss of power.

use std::path::Path;

use serde_json::Value;

use crate::answer::told;
use crate::bed::Bed;
use crate::bed::app::App;
use crate::bed::running::Running;
use crate::e2e::bed::kill;
use crate::e2e::load::Load;

/// A step of a deploy, and how it shows that this step is under way.
struct Step {
    name: &'static str,
    is_reached: fn(&Bed, u64) -> bool,
}

const STEPS: [Step; 7] = [
    Step { name: "upload", is_reached: is_uploading },
    Step { name: "prepare", is_reached: |bed, _| is_running(bed, "prepare-runs") },
    Step { name: "release command", is_reached: |bed, _| is_running(bed, "release-runs") },
    Step { name: "start", is_reached: |bed, release| has(bed, &["pending", "starting", "ready"], release) },
    Step { name: "in rotation", is_reached: |bed, release| has(bed, &["serving"], release) },
    Step { name: "drain", is_reached: |bed, release| has(bed, &["draining"], release - 1) },
    Step { name: "commit", is_reached: is_committed },
];

fn is_uploading(bed: &Bed, _: u64) -> bool {
    let bytes = bed.servers[0].sh("cat /var/lib/pando/artifacts/.upload-* 2>/dev/null | wc -c");
    bytes.trim().parse::<u64>().unwrap() > 100_000
}

/// A command of the release says so by its name among the processes of any server.
fn is_running(bed: &Bed, marker: &str) -> bool {
    bed.servers.iter().any(|server| server.sh(&format!("pgrep -f {marker} || true")).lines().count() > 1)
}

fn status(bed: &Bed) -> Option<Value> {
    let output = bed.pando(&["status", "--json"]);
    serde_json::from_slice(&output.stdout).ok()
}

fn has(bed: &Bed, states: &[&str], release: u64) -> bool {
    status(bed).is_some_and(|status| states.iter().any(|state| Bed::count(&status, state, release) > 0))
}

fn is_committed(bed: &Bed, release: u64) -> bool {
    status(bed).is_some_and(|status| status["release"] == release)
}

/// Each release is prepared and has a release command that counts its starts.
fn app(bed: &Bed) -> App {
    let starts = starts_file(bed);
    std::fs::write(&starts, "").unwrap();
    bed.servers[0].sh(&format!("chmod 666 {starts}"));
    App {
        web: "per_server: 1".to_owned(),
        extra: format!(
            "prepare: sh -c 'sleep 1; true prepare-runs'\n\
             release: sh -c 'echo $PANDO_RELEASE >> {starts}; sleep 1; true release-runs'\nmin_ready_seconds: 0.2"
        ),
        ..App::default()
    }
}

/// Outside of the bed's own directory, which users of apps may not walk through.
fn starts_file(bed: &Bed) -> String {
    format!("/tmp/{}-starts", bed.servers[0].link.port)
}

/// What can't be packed to less, so that sending it takes a while; or nothing of it.
fn set_heavy(bed: &Bed, heavy: bool) {
    let file = bed.project().join("heavy");
    let bytes = if heavy { "20000000" } else { "0" };
    let random = std::process::Command::new("head").args(["-c", bytes, "/dev/urandom"]).output().unwrap();
    std::fs::write(file, random.stdout).unwrap();
}

/// Waits for the step and says whether it was seen: the deploy may be past it.
fn reach(bed: &Bed, step: &Step, deploy: &mut Running, release: u64) -> bool {
    loop {
        if (step.is_reached)(bed, release) {
            return true;
        }
        if deploy.is_over() {
            return false;
        }
    }
}

/// The daemon is killed and started again by its keeper: the deploy goes on, its command follows it to the end.
#[test]
fn cluster_the_control_plane_is_killed_at_each_step_of_a_deploy() {
    let bed = Bed::of(&["main", "app-2", "app-3"]);
    let mut app = app(&bed);
    bed.found_with(&app, 1);
    let mut loads = bed.loads(&["main", "app-2", "app-3"]);
    // With these there is always something to wait for before a replica may go.
    loads
        .extend(["main", "app-2", "app-3"].map(|name| (format!("{name}, slowly"), bed.slow_load(name, 400))));
    for step in &STEPS {
        let before = bed.release();
        set_heavy(&bed, step.name == "upload");
        bed.write(app.next());
        let mut deploy = bed.begin(&["deploy"]);
        assert!(reach(&bed, step, &mut deploy, before + 1), "{}: {}", step.name, deploy.end_well(&bed, 1));
        kill(bed.server("main").daemon_pid().unwrap());
        check_end(&bed, step, deploy, before, &[("main", 1), ("app-2", 1), ("app-3", 1)]);
    }
    check_starts(&bed);
    check_loads(loads);
}

/// The command followed its deploy to the end, or nothing had been asked for yet; whichever release it is has settled.
#[track_caller]
fn check_end(bed: &Bed, step: &Step, deploy: Running, before: u64, spread: &[(&str, usize)]) {
    let output = deploy.end(bed, 90);
    println!("cut off during {}: {}", step.name, output.status);
    let settled = bed.wait_spread("web", spread, 60);
    match output.status.code() {
        Some(0) => assert_eq!(settled["release"], before + 1, "{}", step.name),
        Some(3) if step.name == "upload" => assert_eq!(settled["release"], before),
        _ => panic!("{}: {}\n{}", step.name, told(&output), bed.logs()),
    }
}

/// Nobody who asked for a page noticed.
fn check_loads(loads: Vec<(String, Load)>) {
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}

/// No release command was started twice.
fn check_starts(bed: &Bed) {
    let path = starts_file(bed);
    let starts = std::fs::read_to_string(&path).unwrap();
    let all: Vec<&str> = starts.lines().collect();
    let once: std::collections::BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(all.len(), once.len(), "{all:?}");
    std::fs::remove_file(path).unwrap();
}

/// The whole control server goes dark and is booted again; whoever deploys sits elsewhere.
#[test]
fn cluster_the_control_server_loses_power_at_each_step_of_a_deploy() {
    let mut bed = Bed::of(&["main", "app-2", "app-3"]);
    let mut app = app(&bed);
    bed.found_as(&["control"]);
    bed.join("app-2", &["web"]);
    bed.join("app-3", &["web"]);
    bed.deploy(&app);
    let spread = [("app-2", 1), ("app-3", 1)];
    bed.wait_spread("web", &spread, 60);
    let token = bed.ok(&["token", "create", "--scope", "admin"]);
    let url = bed.servers[0].sh("cat /var/lib/pando/context.json");
    let url: Value = serde_json::from_str(&url).unwrap();
    let mut loads = bed.loads(&["app-2", "app-3"]);
    loads.extend(["app-2", "app-3"].map(|name| (format!("{name}, slowly"), bed.slow_load(name, 400))));
    for step in &STEPS {
        let before = bed.release();
        set_heavy(&bed, step.name == "upload");
        bed.write(app.next());
        let pando = Path::new(env!("CARGO_BIN_EXE_pando"));
        let mut command = bed.server("app-2").command(pando, &bed.project());
        command
            .arg("deploy")
            .env("PANDO_TOKEN", token.trim())
            .env("PANDO_CLUSTER_URL", url["url"].as_str().unwrap());
        let mut deploy = Running::start(command, &["deploy"]);
        assert!(reach(&bed, step, &mut deploy, before + 1), "{}: {}", step.name, deploy.end_well(&bed, 1));
        bed.server_mut("main").power_off();
        // Traffic needs no control plane.
        loads.iter().for_each(|(_, load)| load.wait_for_requests(2));
        bed.server_mut("main").power_on();
        bed.server("main").start();
        check_end(&bed, step, deploy, before, &spread);
    }
    check_starts(&bed);
    check_loads(loads);
}
