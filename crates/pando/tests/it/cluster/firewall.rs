//! The firewall as each machine finds it: every port of everybody from everybody, before and after each move.

use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::bed::app::App;
use crate::bed::ports::Matrix;

fn is_open(matrix: &Matrix, from: &str, to: &str, port: u16) -> bool {
    matrix[&(from.to_owned(), to.to_owned())].contains(&port)
}

/// Who may reach the database and the replicas, in the words of the roles alone.
#[track_caller]
fn check(matrix: &Matrix, to: &str, port: u16, may: &[&str]) {
    for (from, goal) in matrix.keys().filter(|(_, goal)| goal == to) {
        assert_eq!(
            is_open(matrix, from, goal, port),
            may.contains(&from.as_str()),
            "{port} of {goal} from {from}"
        );
    }
}

#[test]
fn cluster_every_port_is_as_the_roles_have_it_before_and_after_each_move() {
    let bed = Bed::of(&["main", "worker-1", "app-2", "lb-1"]);
    bed.found();
    bed.start_services("main");
    let mut app = App { services: true, worker: "replicas: 2".to_owned(), ..App::default() };
    bed.deploy(&app);
    bed.wait_spread("web", &[("main", 4)], 60);
    let direct = bed.load("main", 2);
    assert!(is_open(&bed.measured(), "outside", "main", 5432), "without the firewall everything is open");

    bed.ok(&["firewall", "enable", "--yes"]);
    let matrix = bed.check_matrix("one server");
    check(&matrix, "main", 5432, &[]);
    check(&matrix, "main", 80, &["worker-1", "app-2", "lb-1", "outside"]);
    check(&matrix, "main", 7420, &[]);

    bed.join("worker-1", &["worker"]);
    bed.wait_spread("worker", &[("main", 1), ("worker-1", 1)], 60);
    let matrix = bed.check_matrix("with a worker server");
    check(&matrix, "main", 5432, &["worker-1"]);
    check(&matrix, "main", 7420, &["worker-1"]);
    check(&matrix, "worker-1", 80, &[]);
    check(&matrix, "worker-1", 20_000, &[]);
    bed.ok(&["server", "roles", "main", "-worker"]);
    bed.wait_spread("worker", &[("worker-1", 2)], 60);
    bed.check_matrix("workers moved");

    bed.join("app-2", &["web"]);
    let matrix = bed.check_matrix("with a second web server");
    check(&matrix, "main", 6379, &["worker-1", "app-2"]);
    check(&matrix, "app-2", 20_000, &["main"]);
    bed.wait_spread("web", &[("main", 2), ("app-2", 2)], 60);

    bed.join("lb-1", &["lb"]);
    bed.wait_in_rotation("lb-1", 4);
    let matrix = bed.check_matrix("with a balancer");
    check(&matrix, "app-2", 20_000, &["main", "lb-1"]);
    check(&matrix, "main", 5432, &["worker-1", "app-2"]);
    let balanced = bed.load("lb-1", 2);
    bed.deploy(app.next());
    println!("directly: {} requests, 0 failed", direct.stop_flawless());
    bed.ok(&["lb", "lockdown", "--force"]);
    let matrix = bed.check_matrix("direct access closed");
    check(&matrix, "main", 80, &[]);
    check(&matrix, "app-2", 20_000, &["lb-1"]);

    bed.ok(&["server", "drain", "app-2"]);
    bed.ok(&["server", "rm", "app-2"]);
    bed.wait_spread("web", &[("main", 4)], 60);
    bed.wait_firewalls();
    // What is no server any more is a stranger, whatever it keeps itself.
    let (measured, computed) = (bed.measured(), bed.computed());
    for (pair, open) in measured.iter().filter(|((_, to), _)| to != "app-2") {
        assert_eq!(open, &computed[pair], "a server removed: {pair:?}");
    }
    check(&measured, "main", 5432, &["worker-1"]);
    bed.deploy(app.next());
    println!("through the balancer: {} requests, 0 failed", balanced.stop_flawless());
    bed.ok(&["firewall", "disable", "--yes"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_open(&bed.measured(), "outside", "main", 5432) {
        assert!(Instant::now() < deadline, "the firewall is off, and 5432 is closed: {}", bed.logs());
    }
}
