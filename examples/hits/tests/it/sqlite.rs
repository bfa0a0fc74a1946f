//! The count in a file that several processes share.

use crate::app::{App, Process, count_together};
use futures_util::future::join_all;
use rustix::process::Signal;

#[tokio::test]
async fn replicas_that_start_together_share_one_count() {
    let directory = tempfile::tempdir().unwrap();
    let apps = join_all((0..4).map(|_| App::with_sqlite(directory.path()))).await;
    count_together(&apps, 100).await;
}

#[tokio::test]
async fn no_number_that_was_shown_is_lost_to_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let mut app = App::with_sqlite(directory.path()).await;
        for _ in 0..20 {
            let number = app.count().await;
            assert!(number > last, "{number} after {last}");
            last = number;
        }
        app.process.signal(Signal::KILL);
        app.process.ended().await;
    }
    assert_eq!(last, 60);
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no-such-directory/hits.db");
    let environment = [("PORT", "0"), ("HITS_DB", path.to_str().unwrap())];
    let mut process = Process::start(&[], &environment, directory.path());
    assert_eq!(process.ended().await.code(), Some(1));
    let said = process.said();
    assert!(said.contains(path.to_str().unwrap()) && said.contains("HITS_DB"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let notes = "these are notes, not a database\n".repeat(100);
    std::fs::write(&path, &notes).unwrap();
    let environment = [("PORT", "0"), ("HITS_DB", path.to_str().unwrap())];
    let mut process = Process::start(&[], &environment, directory.path());
    assert_eq!(process.ended().await.code(), Some(1));
    assert!(process.said().contains("not a database"), "{}", process.said());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}
