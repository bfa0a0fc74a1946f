//! The container engine of a server dies, with everything that runs in it or without.

use std::time::Instant;

use rustix::process::Signal;

use crate::bed::Bed;
use crate::bed::app::App;
use crate::bed::desk::Desk;
use crate::docker::image;

/// One server with the app, as an image, on an engine with these flags.
fn one(flags: &str) -> (Bed, Desk, App) {
    let bed = Bed::with_engines(&["main"]);
    let main = bed.server("main");
    main.set_engine_flags(flags);
    main.signal_engine(Signal::KILL);
    main.start_engine();
    bed.found();
    let desk = bed.desk();
    let lines = format!("image: {{repository: {}, pull_policy: never}}", image::hits());
    let app = App { web: "replicas: 3".to_owned(), ..App::of_image(&lines) };
    bed.write(&app);
    desk.ok(&bed, &["deploy"]);
    bed.wait_spread("web", &[("main", 3)], 60);
    (bed, desk, app)
}

/// The engine is killed; people are told, and told no more when it is back.
fn kill_and_start(bed: &Bed) {
    let main = bed.server("main");
    main.signal_engine(Signal::KILL);
    let words = "the container engine can't be reached";
    bed.wait_for(&["server", "show", "main"], "a word on the engine", 30, |server| {
        server["warnings"].to_string().contains(words)
    });
    let said = bed.ok(&["status"]);
    assert!(said.contains(words), "{said}");
    main.start_engine();
    bed.wait_for(&["server", "show", "main"], "no more word on the engine", 60, |server| {
        server["warnings"].as_array().is_some_and(Vec::is_empty)
    });
}

#[test]
fn cluster_a_killed_engine_with_live_restore_is_noticed_by_nobody_who_asks_for_a_page() {
    let (bed, desk, mut app) = one("--live-restore");
    let before = bed.server("main").containers();
    let load = bed.load("main", 2);
    kill_and_start(&bed);
    load.wait_for_requests(100);
    assert_eq!(bed.server("main").containers(), before, "the same containers serve");
    bed.write(app.next());
    desk.ok(&bed, &["deploy"]);
    bed.wait_spread("web", &[("main", 3)], 30);
    load.stop().check("through the death of the engine", 0);
}

/// It takes them along when it is back; they are started again by nobody's hand.
#[test]
fn cluster_a_killed_engine_without_live_restore_has_its_containers_started_again() {
    let (bed, desk, mut app) = one("");
    let (before, load) = (bed.server("main").containers(), bed.load("main", 2));
    let start = Instant::now();
    kill_and_start(&bed);
    bed.wait_spread("web", &[("main", 3)], 60);
    println!("all serve again {} ms after the engine's death", start.elapsed().as_millis());
    let after = bed.server("main").containers();
    assert!(after.len() == 3 && after.iter().all(|id| !before.contains(id)), "{before:?} {after:?}");
    let tally = load.stop();
    println!("{} requests, {} failed meanwhile", tally.requests, tally.failed);
    let load = bed.load("main", 2);
    bed.write(app.next());
    desk.ok(&bed, &["deploy"]);
    bed.wait_spread("web", &[("main", 3)], 30);
    load.stop().check("afterwards", 0);
}

/// The server's cable is pulled, and no layer is left on any disk: going back needs what the engine has.
#[test]
fn cluster_going_back_needs_no_network() {
    let (bed, desk, mut app) = one("");
    bed.write(app.next());
    desk.ok(&bed, &["deploy"]);
    let main = bed.server("main");
    main.sh("rm -f /var/lib/pando/artifacts/*.layer.zst /var/lib/pando/releases/.fetched/*");
    main.link.set_plugged(false);
    let start = Instant::now();
    bed.ok(&["rollback"]);
    println!("back after {} ms without a network", start.elapsed().as_millis());
    bed.wait_spread("web", &[("main", 3)], 30);
    assert_eq!(bed.release(), 1);
    main.link.set_plugged(true);
    bed.load("main", 1).stop().check("on the old release", 0);
}
