//! Clocks that are wrong, and time that passes while nobody is there.

use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::bed::app::App;

const HOUR: i64 = 3600;
const TEN_DAYS: i64 = 10 * 24 * HOUR;

/// Ahead, behind, and far ahead: each joins, serves and takes part in deploys; so does one whose clock jumps while it runs.
#[test]
fn cluster_servers_whose_clocks_are_wrong_are_servers_like_others() {
    let bed = Bed::of(&["main", "ahead", "behind", "far"]);
    bed.found();
    for (name, shift) in [("ahead", HOUR), ("behind", -HOUR), ("far", TEN_DAYS)] {
        bed.server(name).shift_clock(shift);
        bed.join(name, &["web"]);
    }
    let mut app = App { web: "per_server: 1".to_owned(), ..App::default() };
    bed.deploy(&app);
    let spread = [("main", 1), ("ahead", 1), ("behind", 1), ("far", 1)];
    bed.wait_spread("web", &spread, 60);
    let loads = bed.loads(&["main", "ahead", "behind", "far"]);
    bed.deploy(app.next());
    for (name, shift) in [("ahead", -HOUR), ("behind", TEN_DAYS), ("far", 0)] {
        bed.server(name).shift_clock(shift);
    }
    loads.iter().for_each(|(_, load)| load.wait_for_requests(300));
    bed.deploy(app.next());
    bed.wait_spread("web", &spread, 30);
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}

/// The control plane's own clock jumps: nothing moves, nobody is lost for it.
#[test]
fn cluster_the_control_planes_clock_jumps() {
    let bed = Bed::of(&["main", "app-2", "app-3"]);
    bed.server("main").shift_clock(0);
    let mut app = App { web: "replicas: 6".to_owned(), ..App::default() };
    bed.found_with(&app, 2);
    let loads = bed.loads(&["main", "app-2", "app-3"]);
    let before: Vec<_> = bed.servers.iter().map(|server| server.instances()).collect();
    for shift in [HOUR, 0, TEN_DAYS, HOUR] {
        bed.server("main").shift_clock(shift);
        loads.iter().for_each(|(_, load)| load.wait_for_requests(200));
        let now: Vec<_> = bed.servers.iter().map(|server| server.instances()).collect();
        assert_eq!(before, now, "a clock off by {shift} s: {}", bed.logs());
        bed.wait_alive("app-2");
    }
    bed.deploy(app.next());
    bed.wait_spread("web", &[("main", 2), ("app-2", 2), ("app-3", 2)], 30);
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}

/// One server is off for ten days, then all of them: certificates have expired meanwhile, and nobody needs a hand.
#[test]
fn cluster_ten_days_without_power_brick_nobody() {
    let mut bed = Bed::of(&["main", "app-2", "app-3"]);
    bed.servers.iter().for_each(|server| server.shift_clock(0));
    let mut app = App { web: "per_server: 1".to_owned(), ..App::default() };
    bed.found_with(&app, 1);
    let spread = [("main", 1), ("app-2", 1), ("app-3", 1)];
    let loads = bed.loads(&["main", "app-3"]);
    bed.server_mut("app-2").power_off();
    for name in ["main", "app-3"] {
        bed.server(name).shift_clock(TEN_DAYS);
    }
    bed.wait_serving("web", &[("main", 1), ("app-3", 1)], 60);
    bed.deploy(app.next());
    return_after(&mut bed, &["app-2"], TEN_DAYS);
    wait_renewed(&bed, &["main", "app-2", "app-3"], 1);
    bed.wait_spread("web", &spread, 60);
    for (name, load) in loads {
        // What was under way to the server that lost its power.
        load.stop().check(&format!("through {name}"), 2);
    }

    for name in ["main", "app-2", "app-3"] {
        bed.server_mut(name).power_off();
    }
    return_after(&mut bed, &["app-3", "app-2", "main"], 2 * TEN_DAYS);
    wait_renewed(&bed, &["main", "app-2", "app-3"], 2);
    bed.wait_spread("web", &spread, 60);
    let loads = bed.loads(&["main", "app-2", "app-3"]);
    bed.deploy(app.next());
    for (name, load) in loads {
        load.stop().check(&format!("through {name} after another ten days"), 0);
    }
}

/// How often a server's certificate was renewed so far, as its daemon says.
fn renewals(bed: &Bed, name: &str) -> usize {
    let log = bed.server(name).sh("cat /var/lib/pando/log/daemon.log");
    log.lines().filter(|line| line.contains("the certificate of this server was renewed")).count()
}

/// Certificates of seven days that have ended are exchanged for new ones.
fn wait_renewed(bed: &Bed, names: &[&str], times: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !names.iter().all(|name| renewals(bed, name) >= times) {
        assert!(Instant::now() < deadline, "not everybody has a new certificate: {}", bed.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// They are switched on in this order, and it is so much later.
fn return_after(bed: &mut Bed, names: &[&str], shift: i64) {
    for name in names {
        bed.server_mut(name).power_on();
        bed.server(name).shift_clock(shift);
    }
    for name in names {
        bed.server(name).start();
    }
    for name in names {
        bed.wait_alive(name);
    }
}
