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
    assert_eq!(failed.status.code(), Some(1), "{}", crate::answer::told(&failed));
    for load in loads {
        println!("{} requests, 0 failed", load.stop_flawless());
    }
}

/// Roles come and go, servers are emptied and labelled, while one deploy after the other is under way.
#[test]
fn cluster_roles_move_while_a_deploy_is_under_way() {
    let bed = Bed::of(&["main", "app-2", "app-3", "app-4"]);
    bed.found();
    for name in ["app-2", "app-3", "app-4"] {
        bed.join(name, &["web"]);
    }
    let mut app = App {
        web: "replicas: 6".to_owned(),
        worker: "replicas: 2".to_owned(),
        extra: "min_ready_seconds: 0.3".to_owned(),
        ..App::default()
    };
    bed.deploy(&app);
    bed.wait_spread("worker", &[("main", 2)], 60);
    let loads = bed.loads(&["main", "app-2"]);
    let moves: [&[&[&str]]; 4] = [
        &[&["server", "roles", "app-4", "+worker"], &["server", "roles", "main", "-worker"]],
        &[&["server", "drain", "app-3"]],
        &[&["server", "undrain", "app-3"], &["server", "roles", "app-4", "-web"]],
        &[&["server", "roles", "app-4", "+web"], &["server", "roles", "app-2", "+worker"]],
    ];
    for (number, changes) in moves.into_iter().enumerate() {
        let release = bed.release() + 1;
        bed.write(app.next());
        let deploy = bed.begin(&["deploy"]);
        let some = |status: &serde_json::Value| (1..6).contains(&Bed::count(status, "serving", release));
        bed.wait_for(&["status"], "some of six replaced", 30, some);
        for change in changes {
            bed.ok(change);
        }
        deploy.end_well(&bed, 60);
        println!("move {}: {changes:?}", number + 1);
    }
    bed.wait_for(&["status"], "six and two", 60, |status| {
        let (web, worker) = (Bed::serving(status, "web"), Bed::serving(status, "worker"));
        let even = web.len() == 4 && web.values().all(|count| (1..=2).contains(count));
        even && web.values().sum::<usize>() == 6
            && worker == [("app-2".to_owned(), 1), ("app-4".to_owned(), 1)].into()
            && status["replicas"].as_array().is_some_and(|all| all.len() == 8)
    });
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}
