use std::collections::BTreeSet;

use pando_model::name::AppName;
use pando_model::time::Timestamp;

use crate::logs::{LogSettings, LogStore, LogStream, LogWriter, Query, Sources, Stream};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn query() -> Query {
    Query::all(AppName::new("shop").unwrap())
}

struct Logs {
    _root: tempfile::TempDir,
    store: LogStore,
}

impl Logs {
    fn new(file_bytes: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = LogStore::new(root.path().to_owned(), LogSettings { file_bytes, files: 5 });
        Self { _root: root, store }
    }

    fn writer(&self, name: &str) -> LogWriter {
        LogWriter::new(&self.store, "shop", name)
    }
}

async fn texts(mut lines: LogStream) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(line) = lines.next().await {
        texts.push(line.unwrap().text);
    }
    texts
}

async fn next_text(lines: &mut LogStream) -> String {
    let deadline = std::time::Duration::from_secs(10);
    tokio::time::timeout(deadline, lines.next()).await.unwrap().unwrap().unwrap().text
}

fn say(writer: &mut LogWriter, millis: i64, text: &str) {
    writer.write(at(millis), &[(Stream::Stdout, text.as_bytes())]);
}

#[tokio::test]
async fn lines_of_all_sources_come_in_the_order_of_time() {
    let logs = Logs::new(10_000);
    let (mut one, mut two) = (logs.writer("web-1"), logs.writer("web-2"));
    for n in 0..10 {
        say(if n % 3 == 0 { &mut one } else { &mut two }, n, &n.to_string());
    }
    assert_eq!(texts(logs.store.read(query())).await, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let since = Query { since: Some(at(7)), ..query() };
    assert_eq!(texts(logs.store.read(since)).await, ["7", "8", "9"]);
    let names = Sources::Names(BTreeSet::from(["web-1".to_owned()]));
    assert_eq!(texts(logs.store.read(Query { sources: names, ..query() })).await, ["0", "3", "6", "9"]);
    let tail = Query { tail: Some(4), ..query() };
    assert_eq!(texts(logs.store.read(tail)).await, ["6", "7", "8", "9"]);
    let none = Query { tail: Some(0), ..query() };
    assert!(texts(logs.store.read(none)).await.is_empty());
}

#[tokio::test]
async fn an_app_without_logs_has_no_lines() {
    assert!(texts(Logs::new(1000).store.read(query())).await.is_empty());
}

#[tokio::test]
async fn reads_across_rotated_files() {
    let logs = Logs::new(200);
    let mut writer = logs.writer("web-1");
    for n in 0..20 {
        say(&mut writer, n, &format!("{n:03}"));
    }
    let all = texts(logs.store.read(query())).await;
    assert_eq!(all.last().unwrap(), "019");
    let expected: Vec<String> = (20 - all.len()..20).map(|n| format!("{n:03}")).collect();
    assert_eq!(all, expected);
    assert!(logs.store.root.join("shop/web-1.log.2").exists());
    let tail = Query { tail: Some(9), ..query() };
    assert_eq!(texts(logs.store.read(tail)).await.len(), 9);
}

#[tokio::test]
async fn a_follower_sees_every_line_across_rotations_and_new_sources() {
    let logs = Logs::new(500);
    let mut writer = logs.writer("web-1");
    for n in 0..5 {
        say(&mut writer, n, &n.to_string());
    }
    let mut lines = logs.store.read(Query { follow: true, tail: Some(2), ..query() });
    assert_eq!([next_text(&mut lines).await, next_text(&mut lines).await], ["3", "4"]);
    for n in 5..40 {
        // Some 15 lines fill a file: the follower meets rotations between and within its polls.
        say(&mut writer, n, &n.to_string());
        if n % 4 == 0 {
            for expected in n - 3..=n {
                if expected >= 5 {
                    assert_eq!(next_text(&mut lines).await, expected.to_string());
                }
            }
        }
    }
    assert_eq!(next_text(&mut lines).await, "37");
    assert_eq!(next_text(&mut lines).await, "38");
    assert_eq!(next_text(&mut lines).await, "39");
    say(&mut logs.writer("web-2"), 50, "hello from web-2");
    assert_eq!(next_text(&mut lines).await, "hello from web-2");
}

#[tokio::test]
async fn a_follower_waits_for_the_end_of_a_line_and_loses_nothing_when_dropped_midway() {
    let logs = Logs::new(10_000);
    say(&mut logs.writer("web-1"), 0, "first");
    let path = logs.store.root.join("shop/web-1.log");
    let mut lines = logs.store.read(Query { follow: true, ..query() });
    assert_eq!(next_text(&mut lines).await, "first");
    let whole = std::fs::read(&path).unwrap();
    let mut append = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut append, &whole[..30]).unwrap();
    let half_a_line = tokio::time::timeout(std::time::Duration::from_millis(250), lines.next()).await;
    assert!(half_a_line.is_err(), "half a line was handed on");
    std::io::Write::write_all(&mut append, &whole[30..]).unwrap();
    assert_eq!(next_text(&mut lines).await, "first");
}

#[test]
fn rotation_under_concurrent_writers_keeps_every_line_whole_and_in_its_writers_order() {
    let logs = Logs::new(20_000);
    // Few enough for five files of 20 kB: nothing is rotated away.
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let mut log = logs.writer("web-1");
            scope.spawn(move || {
                for n in 0..500 {
                    say(&mut log, n, &format!("{writer} {n}"));
                }
            });
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = runtime.block_on(texts(logs.store.read(query())));
    let mut next = [0; 4];
    for line in &all {
        let (writer, n) = line.split_once(' ').unwrap();
        let writer: usize = writer.parse().unwrap();
        assert_eq!(n.parse::<i32>().unwrap(), next[writer], "of writer {writer}");
        next[writer] += 1;
    }
    assert_eq!(next, [500; 4]);
    assert!(logs.store.root.join("shop/web-1.log.1").exists());
}
