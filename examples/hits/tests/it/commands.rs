//! `hits worker`, `hits migrate`, and words that are no command.

use crate::app::{App, Process};
use rustix::process::Signal;

#[tokio::test]
async fn the_worker_ends_its_job_before_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("HITS_DB", directory.path().to_str().unwrap()), ("PANDO_REPLICA", "worker-1")];
    let mut worker = Process::start(&["worker"], &environment, directory.path());
    worker.says("worker worker-1 dev").await;
    worker.says("job 1 done; 0 hits so far").await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await.code(), Some(0));
    let said = worker.said();
    let (_, after) = said.split_once("SIGTERM: ending job").expect("it says that it ends its job");
    assert!(after.contains(" done;"), "{said}");
    assert!(said.ends_with("hits: worker stopped\n"), "{said}");
}

#[tokio::test]
async fn the_worker_obeys_the_mode_too() {
    let directory = tempfile::tempdir().unwrap();
    for (mode, words) in [("crash", "crashing at start"), ("crash-later", "crashing after 2 s")] {
        let environment = [("HITS_DB", directory.path().to_str().unwrap()), ("HITS_MODE", mode)];
        let mut worker = Process::start(&["worker"], &environment, directory.path());
        assert_eq!(worker.ended().await.code(), Some(1));
        assert!(worker.said().contains(words), "{}", worker.said());
    }
}

#[tokio::test]
async fn migrate_prepares_the_table_any_number_of_times() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("HITS_DB", directory.path().to_str().unwrap())];
    for _ in 0..2 {
        let mut migrate = Process::start(&["migrate"], &environment, directory.path());
        assert_eq!(migrate.ended().await.code(), Some(0), "{}", migrate.said());
        assert!(migrate.said().contains("migrated; 0 hits"), "{}", migrate.said());
    }
    assert_eq!(App::with_sqlite(directory.path()).await.count().await, 1);
}

#[tokio::test]
async fn migrate_fails_when_asked_to_or_when_the_database_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("postgres://hits@{closed}/postgres");
    let cases = [
        (("HITS_MIGRATE", "fail"), "as HITS_MIGRATE=fail asked"),
        (("DATABASE_URL", away.as_str()), "connecting"),
    ];
    for (variable, words) in cases {
        let mut migrate = Process::start(&["migrate"], &[variable], directory.path());
        assert_eq!(migrate.ended().await.code(), Some(1));
        assert!(migrate.said().contains(words), "{}", migrate.said());
    }
}

#[tokio::test]
async fn an_unknown_command_gets_the_usage() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(&["wrok"], &[], directory.path());
    assert_eq!(process.ended().await.code(), Some(2));
    assert!(process.said().contains("unknown command `wrok`"), "{}", process.said());
    assert!(process.said().contains("usage: hits [web|worker|migrate]"), "{}", process.said());
}
