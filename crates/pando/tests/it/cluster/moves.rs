//! Planned moves: whatever people ask for happens without one failed request.

use crate::bed::Bed;
use crate::bed::app::App;

/// One server becomes three: a worker server, then a balancer; each step under load through every entry point there is.
#[test]
fn cluster_from_one_server_to_a_worker_and_a_balancer() {
    let bed = Bed::of(&["main", "worker-1", "lb-1"]);
    bed.found();
    bed.start_services("main");
    let app = App { services: true, worker: "replicas: 2".to_owned(), ..App::default() };
    bed.deploy(&app);
    bed.wait_spread("web", &[("main", 4)], 60);
    bed.wait_spread("worker", &[("main", 2)], 60);
    let direct = bed.load("main", 2);

    bed.join("worker-1", &["worker"]);
    bed.ok(&["server", "roles", "main", "-worker"]);
    bed.wait_spread("worker", &[("worker-1", 2)], 60);
    bed.wait_spread("web", &[("main", 4)], 60);

    bed.join("lb-1", &["lb"]);
    bed.wait_in_rotation("lb-1", 4);
    let balanced = bed.load("lb-1", 2);
    bed.ok(&["deploy"]);
    println!("through the first server: {} requests, 0 failed", direct.stop_flawless());
    println!("through the balancer: {} requests, 0 failed", balanced.stop_flawless());
}

/// Replicas move off a server that is drained, and it can be removed then.
#[test]
fn cluster_a_server_is_emptied_and_removed_under_load() {
    let bed = Bed::of(&["main", "app-2", "app-3"]);
    bed.found();
    bed.join("app-2", &["web"]);
    bed.join("app-3", &["web"]);
    bed.deploy(&App { web: "replicas: 6".to_owned(), ..App::default() });
    bed.wait_spread("web", &[("main", 2), ("app-2", 2), ("app-3", 2)], 60);
    let loads = [bed.load("main", 2), bed.load("app-3", 2)];
    bed.ok(&["server", "drain", "app-2"]);
    bed.wait_spread("web", &[("main", 3), ("app-3", 3)], 90);
    bed.ok(&["server", "rm", "app-2"]);
    let servers = bed.json(&["server", "ls"]);
    assert!(!servers.to_string().contains("app-2"), "{servers}");
    for load in loads {
        println!("{} requests, 0 failed", load.stop_flawless());
    }
}

/// Twice the servers under one release after the other.
#[test]
fn cluster_deploys_over_five_servers_fail_no_request() {
    let names = ["main", "app-2", "app-3", "app-4", "app-5"];
    let bed = Bed::of(&names);
    bed.found();
    for name in &names[1..] {
        bed.join(name, &["web"]);
    }
    let mut app = App { web: "per_server: 1".to_owned(), ..App::default() };
    bed.deploy(&app);
    let loads: Vec<_> = names.iter().map(|name| bed.load(name, 1)).collect();
    for _ in 0..3 {
        app.edition += 1;
        bed.deploy(&app);
    }
    app.mode = "broken".to_owned();
    app.edition += 1;
    bed.write(&app);
    let failed = bed.pando(&["deploy"]);
    assert_eq!(failed.status.code(), Some(1), "{}", crate::bed::told(&failed));
    for load in loads {
        println!("{} requests, 0 failed", load.stop_flawless());
    }
}
