//! The commands of every day, one after the other, on one cluster.

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
    let context: serde_json::Value =
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

fn http_status(bed: &Bed, path: &str) -> u16 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(bed.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
