//! `kill -9` while writing loses nothing that was acknowledged, and leaves no half transaction.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use pando_control::store::{Op, Range, Store, Txn, sqlite};

const CHILD: &str = "PANDO_TEST_STORE_TO_WRITE";
const NAME: &str = "store::crash::kill_9_loses_nothing_acknowledged";

#[test]
fn kill_9_loses_nothing_acknowledged() {
    match std::env::var(CHILD) {
        Ok(path) => write_until_killed(Path::new(&path)),
        Err(_) => kill_and_look(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The child: puts a pair of keys in each transaction and says the number once it was acknowledged.
fn write_until_killed(path: &Path) {
    runtime().block_on(async {
        let store = sqlite::open(path).unwrap();
        let mut out = std::io::stdout();
        let (first, _) = store.list(Range::key("/none")).await.unwrap();
        for n in first + 1.. {
            let put = |side: &str| Op::Put {
                key: format!("/{side}/{n}"),
                value: Bytes::from(vec![b'x'; 3000]),
                lease: None,
            };
            store.txn(Txn::new().op(put("left")).op(put("right"))).await.unwrap();
            writeln!(out, "acknowledged {n}").unwrap();
            out.flush().unwrap();
        }
    });
}

fn start_child(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn kill_and_look() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut acknowledged = 0;
    for round in 0..8u64 {
        let mut child = start_child(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = lines.by_ref().map_while(Result::ok).filter_map(|line| number(&line));
        // A different moment in each round; the last is somewhere in a checkpoint of the log.
        for _ in 0..(3 + round * 23) {
            acknowledged = told.next().expect("the child writes on");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was acknowledged before the kill and not read yet counts too.
        acknowledged = told.last().unwrap_or(acknowledged);
        look(&path, acknowledged);
    }
    assert!(acknowledged > 500, "{acknowledged}");
}

fn number(line: &str) -> Option<u64> {
    // The test harness may have written its own words before the first line.
    line.split("acknowledged ").nth(1)?.trim().parse().ok()
}

fn look(path: &Path, acknowledged: u64) {
    runtime().block_on(async {
        let store = sqlite::open(path).unwrap();
        let reading = store.read(vec![Range::prefix("/left/"), Range::prefix("/right/")]).await.unwrap();
        let numbers = |entries: &[pando_control::store::Entry]| {
            let mut numbers: Vec<u64> =
                entries.iter().map(|e| e.key.rsplit('/').next().unwrap().parse().unwrap()).collect();
            numbers.sort_unstable();
            numbers
        };
        let left = numbers(&reading.ranges[0]);
        assert_eq!(left, numbers(&reading.ranges[1]), "a half transaction");
        // One more may have been committed and not said.
        assert!(left.len() as u64 >= acknowledged, "{} of {acknowledged}", left.len());
        assert_eq!(left, (1..=reading.revision).collect::<Vec<_>>());
    });
}
