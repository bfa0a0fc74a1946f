//! Cables that break: a server that only the control plane can't reach, and one that nobody can.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::bed::app::App;

const CUT: Duration = Duration::from_secs(60);

/// A control server, and three others that serve: two replicas each.
fn apart() -> (Bed, App) {
    let bed = Bed::of(&["main", "app-2", "app-3", "app-4"]);
    bed.found_as(&["control"]);
    for name in ["app-2", "app-3", "app-4"] {
        bed.join(name, &["web"]);
    }
    let app = App { web: "replicas: 6".to_owned(), ..App::default() };
    bed.deploy(&app);
    bed.wait_spread("web", &[("app-2", 2), ("app-3", 2), ("app-4", 2)], 60);
    (bed, app)
}

fn addresses(bed: &Bed, names: &[&str]) -> Vec<std::net::Ipv4Addr> {
    names.iter().map(|name| bed.server(name).address()).collect()
}

/// Heals a server's cables, and watches what runs there until all is as it should be: nothing new beside anything old.
fn watch_return(bed: &Bed, name: &str, settled: impl Fn() -> bool) {
    let before = bed.server(name).instances();
    bed.server(name).heal();
    bed.wait_alive(name);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !settled() {
        let now = bed.server(name).instances();
        let surplus: BTreeMap<_, _> = now.iter().filter(|(id, _)| before.contains_key(*id)).collect();
        let new: BTreeMap<_, _> = now.iter().filter(|(id, _)| !before.contains_key(*id)).collect();
        assert!(surplus.is_empty() || new.is_empty(), "{name} runs {surplus:?} still, and {new:?} already");
        assert!(Instant::now() < deadline, "{name} is not as before: {}", bed.logs());
    }
}

fn is_spread(bed: &Bed) -> bool {
    let status = bed.json(&["status"]);
    let held = Bed::serving(&status, "web");
    status["replicas"].as_array().is_some_and(|all| all.len() == 6)
        && held.values().all(|count| *count == 2)
        && held.len() == 3
}

/// Its neighbours tell it what is new, and nobody who visits notices anything; neither does a deploy, but for the wait.
#[test]
fn cluster_a_server_is_cut_off_from_the_control_plane_for_a_minute() {
    let (bed, mut app) = apart();
    let loads = bed.loads(&["app-2", "app-3", "app-4"]);
    let start = Instant::now();
    bed.server("app-3").cut_off_from(&addresses(&bed, &["main"]));
    bed.write(app.next());
    let deploy = bed.begin(&["deploy"]);
    let mut states = Vec::new();
    while start.elapsed() < CUT {
        let state = bed.json(&["server", "show", "app-3"])["state"].to_string();
        if states.last() != Some(&state) {
            println!("{} s: {state}", start.elapsed().as_secs());
            states.push(state);
        }
    }
    println!("the deploy meanwhile: {}", deploy.end_well(&bed, 1));
    watch_return(&bed, "app-3", || is_spread(&bed));
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}

/// Visitors still reach it, but no other server does: its replicas run elsewhere after a while, and it returns to the fold.
#[test]
fn cluster_a_server_is_cut_off_from_every_other_for_a_minute() {
    let (bed, mut app) = apart();
    let loads = bed.loads(&["app-2", "app-4"]);
    let alone = bed.load("app-3", 1);
    let start = Instant::now();
    bed.server("app-3").cut_off_from(&addresses(&bed, &["main", "app-2", "app-4"]));
    bed.wait_state("app-3", "lost", 45);
    bed.wait_serving("web", &[("app-2", 3), ("app-4", 3)], 30);
    println!("its replicas run elsewhere after {} s", start.elapsed().as_secs());
    bed.deploy(app.next());
    while start.elapsed() < CUT {
        alone.wait_for_requests(50);
    }
    let healed = Instant::now();
    watch_return(&bed, "app-3", || is_spread(&bed));
    println!("as before {} ms after its return", healed.elapsed().as_millis());
    for (name, load) in loads {
        // What was under way to its replicas when the cable broke.
        load.stop().check(&format!("through {name}"), 2);
    }
    alone.stop().check("through app-3 itself", 0);
}
