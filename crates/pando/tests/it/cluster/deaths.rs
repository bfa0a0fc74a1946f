//! What nobody planned: servers die, cables break, the brain is away.

use crate::bed::Bed;
use crate::bed::app::App;

fn three() -> Bed {
    let bed = Bed::of(&["main", "app-2", "app-3"]);
    bed.found();
    bed.join("app-2", &["web"]);
    bed.join("app-3", &["web"]);
    bed.deploy(&App { web: "replicas: 6".to_owned(), ..App::default() });
    bed.wait_spread("web", &[("main", 2), ("app-2", 2), ("app-3", 2)], 60);
    bed
}

/// The others go on serving; its replicas run elsewhere; when it returns, nothing of it serves twice.
#[test]
fn cluster_an_app_server_dies_and_returns() {
    let mut bed = three();
    let loads = [bed.load("main", 2), bed.load("app-3", 2)];
    bed.server_mut("app-2").power_off();
    bed.wait_serving("web", &[("main", 3), ("app-3", 3)], 90);
    bed.server_mut("app-2").power_on();
    bed.server("app-2").start();
    bed.wait_alive("app-2");
    bed.wait_for(&["status"], "six replicas", 90, |status| {
        Bed::serving(status, "web").values().sum::<usize>() == 6
            && status["replicas"].as_array().is_some_and(|held| held.len() == 6)
    });
    for load in loads {
        println!("{} requests, 0 failed", load.stop_flawless());
    }
}

/// Traffic, checks and restarts go on; deploys answer exit 3; afterwards all is as before.
#[test]
fn cluster_the_control_plane_is_away() {
    let mut bed = three();
    let load = bed.load("app-3", 2);
    bed.server_mut("main").power_off();
    load.wait_for_requests(300);
    let replica = bed.server("app-3").sh("pgrep -f bin/hits | head -1");
    bed.server("app-3").sh(&format!("kill -9 {}", replica.trim()));
    load.wait_for_requests(300);
    bed.server_mut("main").power_on();
    bed.server("main").start();
    bed.wait_alive("main");
    bed.wait_for(&["status"], "six replicas", 90, |status| {
        Bed::serving(status, "web").values().sum::<usize>() == 6
    });
    let tally = load.stop();
    println!("{} requests, {} failed: {:#?}", tally.requests, tally.failed, tally.failures);
    // What was in flight in the killed replica, and on the dead server before its death was seen.
    assert!(tally.failed <= 4, "{:#?}", tally.failures);
}
