//! Deploys over several servers that go wrong somewhere: all or nothing, and nobody notices.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answer::told;
use crate::bed::Bed;
use crate::bed::app::App;
use crate::bed::running::Running;

const FIVE: [&str; 5] = ["main", "app-2", "app-3", "app-4", "app-5"];
/// Of one load: a client with keep-alive and one without, each with one request under way.
const IN_FLIGHT: u64 = 2;

fn everywhere(servers: &[&'static str]) -> Vec<(&'static str, usize)> {
    servers.iter().map(|name| (*name, 1)).collect()
}

/// A server dies in the middle of a deploy, and returns with the old release on its disk: that one never runs again.
#[test]
fn cluster_a_server_dies_in_the_middle_of_a_deploy_and_returns() {
    let mut bed = Bed::of(&FIVE);
    let mut app =
        App { web: "per_server: 1".to_owned(), extra: "min_ready_seconds: 1".to_owned(), ..App::default() };
    bed.found_with(&app, 1);
    // The last one of those that have no control plane still has the old release then.
    let status = bed.json(&["status"]);
    let victim =
        [5, 4].map(|n| servers_of(&status, &format!("web-{n}"))).into_iter().find(|it| it != "main").unwrap();
    let others: Vec<&str> = FIVE.into_iter().filter(|name| *name != victim).collect();
    let (loads, dying) = (bed.loads(&others), bed.load(&victim, 1));
    bed.write(app.next());
    let start = Instant::now();
    let deploy = bed.begin(&["deploy"]);
    bed.wait_for(&["status"], "two of five replaced", 30, |status| Bed::count(status, "serving", 2) == 2);
    let held = bed.server(&victim).instances();
    assert!(held.values().all(|(_, release)| release == "v1"), "{held:?}");
    bed.server_mut(&victim).power_off();
    let dead = dying.stop();
    deploy.end_well(&bed, 60);
    println!("a deploy with a death in its middle: {} s", start.elapsed().as_secs());
    println!("through the dead one: {} requests, {} failed", dead.requests, dead.failed);
    assert_eq!(bed.release(), 2);

    let start = Instant::now();
    returns_with(&mut bed, &victim, 2);
    println!("{victim} serves again {} ms after its power-on", start.elapsed().as_millis());
    bed.wait_spread("web", &everywhere(&FIVE), 60);
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), IN_FLIGHT);
    }
}

/// It is powered on; whatever answers there, and whatever runs, is of that release.
fn returns_with(bed: &mut Bed, name: &str, release: u64) {
    let wanted = format!("v{release}");
    bed.server_mut(name).power_on();
    bed.server(name).start();
    let address = format!("{}:80", bed.server(name).address());
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < deadline, "{name} does not listen again: {}", bed.server(name).daemon_log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let load = bed.load(name, 1);
    loop {
        let running = bed.server(name).instances();
        let old: Vec<_> =
            running.values().filter(|(_, of)| format!("v{}", of.trim_start_matches('v')) != wanted).collect();
        assert!(old.is_empty(), "{name} runs {old:?} after its return");
        if Bed::serving(&bed.json(&["status"]), "web").contains_key(name) {
            break;
        }
        assert!(Instant::now() < deadline, "{name} does not serve again: {}", bed.logs());
    }
    load.wait_for_requests(100);
    let tally = load.stop();
    assert!(tally.releases.keys().eq([&wanted]), "{:?}", tally.releases);
    tally.check(&format!("through {name} from its first moment"), 0);
}

/// The most replicas of a release that were seen to serve at once, and how the deploy ended.
fn watched(bed: &Bed, mut deploy: Running, release: u64) -> (usize, std::process::Output) {
    let mut most = 0;
    while !deploy.is_over() {
        most = most.max(Bed::count(&bed.json(&["status"]), "serving", release));
    }
    (most, deploy.end(bed, 1))
}

fn servers_of(status: &Value, replica: &str) -> String {
    let mut all = status["replicas"].as_array().unwrap().iter();
    all.find(|it| it["replica"] == replica).unwrap()["server_name"].as_str().unwrap().to_owned()
}

/// Four servers run the new release already when the fifth can't: all five run the old one in the end.
#[test]
fn cluster_a_deploy_that_fails_on_the_last_server_is_taken_back_everywhere() {
    let bed = Bed::of(&FIVE);
    let mut app = App { web: "per_server: 1".to_owned(), ..App::default() };
    app.command = "sh -c 'if [ -e /etc/hits-fails ]; then exit 7; fi; exec bin/hits'".to_owned();
    bed.found_with(&app, 1);
    let last = servers_of(&bed.json(&["status"]), "web-5");
    bed.server(&last).sh("touch /etc/hits-fails");
    let loads = bed.loads(&FIVE);
    bed.write(app.next());
    let start = Instant::now();
    let (most, output) = watched(&bed, bed.begin(&["deploy"]), 2);
    println!("{most} servers had it; taken back after {} ms", start.elapsed().as_millis());
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&last) && text.contains("ended 3 times") && most >= 3, "{most}: {text}");
    assert_eq!(bed.release(), 1);
    bed.wait_spread("web", &everywhere(&FIVE), 30);
    for name in FIVE {
        let running = bed.server(name).instances();
        assert!(running.values().all(|(_, release)| release == "v1"), "{name}: {running:?}");
    }
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}

/// One server has no room for the release: nothing changes, the message says where; with room again it works.
#[test]
fn cluster_a_full_disk_fails_a_deploy_and_nothing_else() {
    let bed = Bed::of(&["main", "app-2", "app-3"]);
    let mut app = App { web: "per_server: 2".to_owned(), ..App::default() };
    bed.found_with(&app, 2);
    let spread = [("main", 2), ("app-2", 2), ("app-3", 2)];
    let loads = bed.loads(&["main", "app-2", "app-3"]);
    for (full, words) in [("app-3", "to app-3: no space left"), ("main", "artifacts` is full")] {
        bed.server(full).fill_disk(16);
        bed.write(app.next());
        let start = Instant::now();
        let output = bed.begin(&["deploy"]).end(&bed, 60);
        println!("{full} is full: the deploy failed after {} ms", start.elapsed().as_millis());
        let text = told(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.to_lowercase().contains(words), "{text}");
        bed.server(full).free_disk();
        bed.wait_spread("web", &spread, 30);
        bed.deploy(app.next());
    }
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}

/// The control plane can't write a word while a deploy is under way, and goes on when it can.
#[test]
fn cluster_the_control_servers_disk_fills_during_a_deploy() {
    let bed = Bed::of(&["main", "app-2", "app-3"]);
    let mut app =
        App { web: "per_server: 2".to_owned(), extra: "min_ready_seconds: 1".to_owned(), ..App::default() };
    bed.found_with(&app, 2);
    let loads = bed.loads(&["main", "app-2", "app-3"]);
    bed.write(app.next());
    let deploy = bed.begin(&["deploy"]);
    bed.wait_for(&["status"], "one of six replaced", 30, |status| Bed::count(status, "serving", 2) == 1);
    bed.server("main").fill_disk_up();
    // As long as it can, it goes on; then it stands still.
    loads[1].1.wait_for_requests(600);
    bed.server("main").free_disk();
    deploy.end_well(&bed, 60);
    bed.wait_spread("web", &[("main", 2), ("app-2", 2), ("app-3", 2)], 30);
    for (name, load) in loads {
        load.stop().check(&format!("through {name}"), 0);
    }
}
