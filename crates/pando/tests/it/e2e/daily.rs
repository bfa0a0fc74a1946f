//! The commands of every day, one after the other, on one cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bed::{Bed, Settings};
use crate::answer::told;

#[test]
fn e2e_a_day_with_the_command_line() {
    let bed = Bed::up(Settings { worker: true, ..Settings::default() });
    let status = bed.wait_until_settled(3);
    assert_eq!(status["name"], "hits");
    let shown = bed.ok(&["status"]);
    assert!(shown.contains("web-1") && shown.contains("worker-1") && shown.contains("v1"), "{shown}");

    let page = bed.ok(&["run", "bin/hits --version || echo from $PANDO_APP $PANDO_RELEASE"]);
    assert!(page.contains("hits"), "{page}");
    let told_by = bed.ok(&["exec", "web-2", "echo $PANDO_REPLICA $PORT"]);
    assert!(told_by.starts_with("web-2 2"), "{told_by}");
    let failing = bed.pando(&["exec", "web-2", "exit 7"]);
    assert_eq!(failing.status.code(), Some(7), "{}", told(&failing));

    let logs = bed.ok(&["logs", "--all-containers", "--tail", "200"]);
    assert!(logs.contains("web-1") && logs.contains("web-3"), "{logs}");
    let of_one = bed.ok(&["logs", "--replica", "worker-1"]);
    assert!(of_one.contains("worker-1") && !of_one.contains("web-1"), "{of_one}");

    let releases = bed.json(&["releases"]);
    assert!(releases.to_string().contains("\"current\":true"), "{releases}");
    let events = bed.ok(&["events"]);
    assert!(events.contains("v1 is live"), "{events}");

    let plan = bed.ok(&["deploy", "--dry-run"]);
    assert!(plan.contains("start web-1 of v2"), "{plan}");
    assert_eq!(bed.release(), 1, "a dry run changes nothing");

    bed.ok(&["stop"]);
    bed.wait_for("everything stopped", 30, |status| status["replicas"].as_array().is_some_and(Vec::is_empty));
    let answer = http_status(&bed, "/");
    assert_eq!(answer, 503);
    bed.ok(&["start"]);
    bed.wait_until_settled(3);
    bed.ok(&["stop", "--remove-containers"]);
    bed.wait_for("everything stopped", 30, |status| status["replicas"].as_array().is_some_and(Vec::is_empty));
    bed.ok(&["start"]);
    bed.wait_until_settled(3);
    assert_eq!(http_status(&bed, "/health"), 200);
}

#[test]
fn e2e_tokens_open_what_they_say() {
    let bed = Bed::up(Settings { replicas: 1, ..Settings::default() });
    let read = bed.json(&["token", "create", "--scope", "read", "--name", "reader"]);
    let token = read["token"].as_str().unwrap();
    let context: Value =
        serde_json::from_slice(&std::fs::read(bed.path(".pando/context.json")).unwrap()).unwrap();
    let with = |args: &[&str], token: &str| {
        let mut command = bed.command(args);
        command.env("PANDO_CLUSTER_URL", context["url"].as_str().unwrap()).env("PANDO_TOKEN", token);
        command.output().unwrap()
    };
    assert!(with(&["status"], token).status.success());
    let forbidden = with(&["scale", "web=2"], token);
    assert_eq!(forbidden.status.code(), Some(1), "{}", told(&forbidden));
    assert_ne!(with(&["status"], "pando_wrong").status.code(), Some(0));
    let id = read["info"]["id"].as_str().unwrap();
    bed.ok(&["token", "rm", id]);
    assert_ne!(with(&["status"], token).status.code(), Some(0), "a removed token opens nothing");
}

#[test]
fn e2e_a_server_of_this_machine_that_was_removed_joins_anew() {
    let bed = Bed::prepare(Settings::default());
    let port = bed.port.to_string();
    let up = |servers| bed.ok(&["dev", "--detach", "--port", &port, "--servers", servers]);
    let third = |servers: &Value| {
        let servers = servers["servers"].as_array().unwrap();
        servers.iter().find(|server| server["name"] == "app-3").cloned()
    };
    up("3");
    let first = third(&bed.json(&["server", "ls"])).unwrap();
    // Twice: what was set aside before makes room as well.
    let mut seen = BTreeSet::from([first["id"].to_string()]);
    for _ in 0..2 {
        bed.ok(&["server", "rm", "app-3"]);
        up("2");
        assert_eq!(third(&bed.json(&["server", "ls"])), None, "it comes when it is asked for");
        up("3");
        let alive = |servers: &Value| third(servers).is_some_and(|server| server["state"] == "alive");
        let servers = bed.wait_for_answer(&["server", "ls", "--json"], "a new app-3", 30, alive);
        assert!(seen.insert(third(&servers).unwrap()["id"].to_string()), "{servers}");
    }
    bed.wait_for("a replica on the new server", 60, |status| {
        let replicas = status["replicas"].as_array().unwrap();
        replicas.iter().any(|one| one["server_name"] == "app-3" && one["state"] == "serving")
    });
}

fn http_status(bed: &Bed, path: &str) -> u16 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(bed.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
