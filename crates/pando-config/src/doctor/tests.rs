use std::path::Path;

use crate::files::MemoryFiles;
use crate::load;

/// What is advised about an app with these lines beside its name: line and message of each.
fn advice(lines: &str) -> Vec<(usize, String)> {
    let files = MemoryFiles::default().with("pando.yaml", format!("name: a\nimage: org/a:1\n{lines}\n"));
    let loaded = load(Path::new("pando.yaml"), None, &files).unwrap_or_else(|problems| panic!("{problems}"));
    let advice = &loaded.targets[0].advice;
    assert!(!advice.has_errors() && advice.iter().all(|one| one.hint.is_some()), "{advice}");
    advice.iter().map(|one| (one.position().unwrap().line, one.message.clone())).collect()
}

fn about_variable(name: &str, value: &str) -> Option<String> {
    let mut found = advice(&format!("env: [{{name: {name}, value: \"{value}\"}}]"));
    assert!(found.len() <= 1, "{found:?}");
    found.pop().map(|(line, message)| {
        assert_eq!(line, 3);
        assert!(!message.contains("s3cret"), "{message}");
        message
    })
}

#[test]
fn a_sound_app_needs_no_advice() {
    assert_eq!(advice("replicas: 2\nhealth_check_path: /up\nenv: [{name: A, value: b}]"), []);
    assert_eq!(advice("processes: {web: {}, worker: {}, clock: {singleton: true}}"), []);
}

#[test]
fn what_only_one_server_has_is_found_in_variables() {
    for (name, value, found) in [
        ("DATABASE_URL", "sqlite://db/app.sqlite3", "a database in a file"),
        ("DATABASE_URL", "sqlite3:/data/app", "a database in a file"),
        ("DB_PATH", "/var/lib/app/data.db?mode=rw", "a database in a file"),
        ("DB_CONNECTION", "sqlite", "a database in a file"),
        ("DATABASE_URL", "postgres://app:s3cret@localhost:5432/app", "names `localhost`"),
        ("DATABASE_URL", "postgres://127.0.0.1/app", "names `127.0.0.1`"),
        ("DATABASE_URL", "host=localhost user=app", "names `localhost`"),
        ("REDIS_URL", "redis://[::1]:6379/0", "names `[::1]`"),
        ("REDIS_HOST", "localhost", "names `localhost`"),
        ("MEMCACHED_SERVERS", "localhost:11211", "names `localhost`"),
        ("FILESYSTEM_DISK", "local", "keeps files"),
        ("SESSION_DRIVER", "file", "keeps sessions"),
    ] {
        let message = about_variable(name, value).unwrap_or_else(|| panic!("{name}={value}"));
        assert!(message.contains(found), "{name}={value}: {message}");
    }
    for (name, value) in [
        ("DATABASE_URL", "postgres://db.internal/app"),
        ("APP_HOST", "localhost.example.com"),
        ("TEXT", "see localhost for more"),
        ("DB_HOST", "10.0.0.5"),
        ("FILESYSTEM_DISK", "s3"),
        ("SESSION_DRIVER", "redis"),
        ("EMPTY", ""),
    ] {
        assert_eq!(about_variable(name, value), None, "{name}={value}");
    }
}

#[test]
fn variables_of_processes_are_read_too() {
    let found =
        advice("processes:\n  web: {}\n  worker:\n    env: [{name: REDIS_URL, value: redis://localhost}]");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 6);
}

#[test]
fn processes_that_would_run_twice_or_not_at_all() {
    let one = |lines: &str, line: usize, found: &str| {
        let advice = advice(lines);
        assert!(
            advice.iter().any(|(at, message)| *at == line && message.contains(found)),
            "{lines}: {advice:?}"
        );
    };
    one("processes:\n  web: {}\n  clock: {command: bin/clock}", 5, "runs once on each server");
    one("processes:\n  web: {}\n  jobs: {command: celery -A app beat}", 5, "runs once on each server");
    one("replicas: 1", 3, "has one replica");
    one("health: {type: none}", 3, "without a health check");
    one("volumes: [\"uploads:/app/uploads\"]", 3, "another one on each server");
    assert_eq!(advice("processes: {web: {}, clock: {replicas: 1}}"), [], "one in all is one");
}
