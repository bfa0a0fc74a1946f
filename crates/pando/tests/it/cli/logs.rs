//! What the replicas wrote, in one stream, through breaks of the connection.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fake::{Answer, End, Fake};
use super::place::Place;
use super::world::takes_deploys;

fn line(second: u32, source: &str, stream: &str, text: &str) -> Value {
    json!({ "time": format!("2026-01-01T12:00:{second:02}Z"), "source": source, "stream": stream, "text": text })
}

/// Answers with these streams, one after the other; the last one again and again.
fn streams(streams: Vec<(Vec<Value>, End)>) -> Fake {
    let told = AtomicUsize::new(0);
    Fake::new(move |asked| {
        takes_deploys(asked, |asked| {
            let wanted = asked.path == "/v1/apps/hits/logs";
            let next = || told.fetch_add(1, Ordering::SeqCst).min(streams.len() - 1);
            wanted.then(|| {
                let (lines, end) = streams[next()].clone();
                Answer::Lines(lines, end)
            })
        })
    })
}

fn some() -> Fake {
    let lines = vec![
        line(1, "web-1", "stdout", "GET / 200"),
        line(2, "worker-1", "stderr", "job failed \u{1b}[31m"),
        line(3, "web-1", "pando", "ended with exit code 1"),
    ];
    streams(vec![(lines, End::Whole)])
}

#[test]
fn lines_stand_in_columns() {
    let place_fake = some();
    let place = Place::with(&place_fake);
    insta::assert_snapshot!(place.pando(&["logs"]));
    insta::assert_snapshot!(place.pando(&["logs", "--timestamps", "--all-containers"]));
    let told = place.pando(&["logs", "--json"]);
    let first: Value = serde_json::from_str(told.expect(0).stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["source"], &first["text"]), (&"web-1".into(), &"GET / 200".into()));
}

#[test]
fn what_is_wanted_is_asked_for() {
    let query = |args: &[&str]| {
        let fake = some();
        let mut words = vec!["logs"];
        words.extend(args);
        Place::with(&fake).pando(&words).expect(0);
        fake.only("GET /v1/apps/hits/logs").query
    };
    assert_eq!(query(&["--replica", "web-2", "--tail", "5"]), "replica=web-2&tail=5&follow=false");
    assert_eq!(query(&["-p", "worker"]), "process=worker&follow=false");
    let since = query(&["--since", "10m"]);
    let millis: i64 =
        since.strip_prefix("since_millis=").unwrap().split('&').next().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().as_millisecond() - millis;
    assert!((600_000..630_000).contains(&age), "{age}");
}

#[test]
fn a_process_that_is_not_there_is_refused() {
    let fake = some();
    let said = Place::with(&fake).pando(&["logs", "-p", "wob"]);
    assert_eq!(
        said.expect(2).stderr,
        "error: hits has no process `wob`\n  help: its processes are `web` and `worker`\n"
    );
}

#[test]
fn following_goes_on_after_a_break_without_loss_or_repetition() {
    let first = vec![
        line(1, "web-1", "stdout", "one"),
        line(9, "web-1", "stdout", "two"),
        line(9, "web-1", "stdout", "two"),
    ];
    let again =
        [&first[1..], &[line(8, "web-2", "stdout", "late"), line(10, "web-1", "stdout", "three")]].concat();
    let fake = streams(vec![(first, End::Broken), (again, End::Whole)]);
    let place = Place::with(&fake);
    let mut child =
        place.command(&["logs", "-f"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).take(5).collect();
    // The same stream comes again and again from here on, and nothing of it is new.
    let deadline = Instant::now() + Duration::from_secs(20);
    while fake.lines().iter().filter(|line| line.ends_with("/logs")).count() < 4 {
        assert!(Instant::now() < deadline, "it asks no more: {:?}; it told {lines:?}", fake.lines());
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines, ["web-1 | one", "web-1 | two", "web-1 | two", "web-2 | late", "web-1 | three"]);
    let queries: Vec<String> = fake
        .asked()
        .into_iter()
        .filter(|asked| asked.path.ends_with("/logs"))
        .map(|asked| asked.query)
        .collect();
    assert_eq!(queries[0], "follow=true");
    assert_eq!(queries[1], "since_millis=1767268804000&follow=true", "five seconds before the newest line");
}

#[test]
fn a_break_without_following_is_a_failure() {
    let fake = streams(vec![(vec![line(1, "web-1", "stdout", "one")], End::Broken)]);
    let said = Place::with(&fake).pando(&["logs"]);
    assert!(said.expect(3).stdout.contains("web-1 | one") && said.stderr.contains("broke"), "{said}");
}
