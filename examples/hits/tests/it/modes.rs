//! The demonstration switch.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::app::{App, Process};

async fn in_mode(mode: &str, directory: &Path) -> App {
    App::start(&[("HITS_DB", directory.to_str().unwrap()), ("HITS_MODE", mode)], directory).await
}

/// Runs to the end and gives the exit code and all that was said.
async fn outcome(environment: &[(&str, &str)], directory: &Path) -> (Option<i32>, String) {
    let mut process = Process::start(&[], &[&[("PORT", "0")], environment].concat(), directory);
    (process.ended().await.code(), process.said())
}

#[tokio::test]
async fn ok_is_healthy() {
    let directory = tempfile::tempdir().unwrap();
    let app = in_mode("ok", directory.path()).await;
    let health = app.get("/health").await;
    assert_eq!((health.status.as_u16(), health.text()), (200, "ok\n"));
}

#[tokio::test]
async fn unhealthy_fails_its_checks_and_serves_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let app = in_mode("unhealthy", directory.path()).await;
    assert_eq!(app.get("/health").await.status, 503);
    assert_eq!(app.load().await, 200);
}

#[tokio::test]
async fn flaky_health_alternates() {
    let directory = tempfile::tempdir().unwrap();
    let app = in_mode("flaky", directory.path()).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(app.get("/health").await.status.as_u16());
    }
    assert_eq!(seen, [200, 503, 200, 503]);
}

#[tokio::test]
async fn slow_starts_late_and_answers_late() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let app = in_mode("slow", directory.path()).await;
    assert!(start.elapsed() >= Duration::from_secs(5), "listened after {:?}", start.elapsed());
    let asked = Instant::now();
    assert_eq!(app.load().await, 200);
    assert!(asked.elapsed() >= Duration::from_millis(500), "answered after {:?}", asked.elapsed());
}

#[tokio::test]
async fn crash_ends_at_start_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = outcome(&[("HITS_MODE", "crash")], directory.path()).await;
    assert_eq!(code, Some(1));
    assert_eq!(said, "hits: crashing at start, as mode `crash` asks\n");
}

#[tokio::test]
async fn crash_later_listens_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut app = in_mode("crash-later", directory.path()).await;
    assert_eq!(app.process.ended().await.code(), Some(1));
    assert!(app.process.said().contains("crashing after 2 s"), "{}", app.process.said());
}

#[tokio::test]
async fn a_file_named_mode_does_as_well_and_the_variable_beats_it() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mode"), "unhealthy\n").unwrap();
    let by_file = App::with_sqlite(directory.path()).await;
    assert_eq!(by_file.get("/health").await.status, 503);
    let by_variable = in_mode("ok", directory.path()).await;
    assert_eq!(by_variable.get("/health").await.status, 200);
}

#[tokio::test]
async fn an_unknown_mode_and_a_bad_port_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = outcome(&[("HITS_MODE", "odd")], directory.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("reading HITS_MODE: unknown mode `odd`"), "{said}");
    let (code, said) = outcome(&[("PORT", "70000")], directory.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("PORT is `70000`"), "{said}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let environment = [("PORT", port.as_str()), ("HITS_DB", directory.path().to_str().unwrap())];
    let (code, said) = outcome(&environment, directory.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("listening on 0.0.0.0:{port}")) && said.contains("in use"), "{said}");
}
