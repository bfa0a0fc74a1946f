//! Log lines over the API.

use futures_util::StreamExt;
use pando_api::client::LogLines;
use pando_api::v1::agents::{LogLine, LogQuery, LogStream};
use pando_model::name::{AppName, ProcessName};
use pando_model::time::Timestamp;
use pando_runtime::logs::{LogWriter, Stream};

use super::support::{Served, until, within};

const BEGAN: i64 = 1_700_000_000_000;

fn wanted() -> LogQuery {
    LogQuery { app: AppName::new("shop").ok(), ..LogQuery::default() }
}

fn writer(served: &Served, name: &str) -> LogWriter {
    LogWriter::new(&served.logs, "shop", name)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(BEGAN + second * 1000)
}

async fn texts(served: &Served, query: &LogQuery) -> Vec<String> {
    let lines = within(served.client().logs(query)).await.unwrap();
    within(lines.map(|line| line.unwrap().text).collect()).await
}

/// web-1 says 0, 2, 4 …, web-2 says 1, 5, 9 …, job-1 says 3, 7, 11 …
fn write_some(served: &Served) {
    let mut writers = ["web-1", "web-2", "web-1", "job-1"].map(|name| writer(served, name));
    for n in 0..12 {
        writers[usize::try_from(n % 4).unwrap()].write(at(n), &[(Stream::Stdout, n.to_string().as_bytes())]);
    }
}

#[tokio::test]
async fn lines_carry_their_time_source_and_stream() {
    let served = Served::start().await;
    let mut web = writer(&served, "web-1");
    web.write(at(1), &[(Stream::Stderr, b"trouble")]);
    web.remark(at(2), "ended with exit code 1");
    let lines: Vec<LogLine> =
        within(within(served.client().logs(&wanted())).await.unwrap().map(Result::unwrap).collect()).await;
    let line = |second, stream, text: &str| LogLine {
        time: at(second),
        source: "web-1".to_owned(),
        stream,
        text: text.to_owned(),
    };
    let expected =
        [line(1, LogStream::Stderr, "trouble"), line(2, LogStream::Pando, "ended with exit code 1")];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn filters_choose_sources_and_times() {
    let served = Served::start().await;
    write_some(&served);
    let process = |name: &str| ProcessName::new(name).ok();
    for (query, expected) in [
        (wanted(), "0 1 2 3 4 5 6 7 8 9 10 11"),
        (LogQuery { process: process("web"), ..wanted() }, "0 1 2 4 5 6 8 9 10"),
        (LogQuery { process: process("job"), ..wanted() }, "3 7 11"),
        (LogQuery { replica: "web-2".parse().ok(), ..wanted() }, "1 5 9"),
        (LogQuery { replica: "web-3".parse().ok(), ..wanted() }, ""),
        (LogQuery { tail: Some(3), ..wanted() }, "9 10 11"),
        (LogQuery { tail: Some(2), process: process("web"), ..wanted() }, "9 10"),
        (LogQuery { tail: Some(0), ..wanted() }, ""),
        (LogQuery { since_millis: Some(BEGAN + 8_000), ..wanted() }, "8 9 10 11"),
        (LogQuery { since_millis: Some(BEGAN + 8_000), tail: Some(2), ..wanted() }, "10 11"),
        (LogQuery { app: AppName::new("other").ok(), ..wanted() }, ""),
    ] {
        assert_eq!(texts(&served, &query).await.join(" "), expected, "{query:?}");
    }
}

#[tokio::test]
async fn a_hundred_lines_when_nothing_is_said() {
    let served = Served::start().await;
    let mut web = writer(&served, "web-1");
    // Under the size at which the oldest file is given up.
    let lines: Vec<(Stream, &[u8])> = vec![(Stream::Stdout, b"x"); 130];
    web.write(at(0), &lines);
    assert_eq!(texts(&served, &wanted()).await.len(), 100);
    let since = LogQuery { since_millis: Some(0), ..wanted() };
    assert_eq!(texts(&served, &since).await.len(), 130);
}

async fn next(lines: &mut LogLines) -> String {
    within(lines.next()).await.expect("a line").unwrap().text
}

#[tokio::test]
async fn following_goes_on_across_rotations_and_with_new_replicas() {
    let served = Served::start().await;
    write_some(&served);
    let query = LogQuery { tail: Some(1), follow: true, ..wanted() };
    let mut lines = within(served.client().logs(&query)).await.unwrap();
    assert_eq!(next(&mut lines).await, "11");
    let mut web = writer(&served, "web-1");
    let rotated = served.root.path().join("logs/shop/web-1.log.2");
    for n in 12..80 {
        // 1,000 bytes a file, as the fixture has it.
        let text = format!("{n} {}", "-".repeat(40));
        web.write(at(n), &[(Stream::Stdout, text.as_bytes())]);
        assert_eq!(next(&mut lines).await, text);
    }
    assert!(rotated.exists(), "several rotations happened");
    writer(&served, "web-9").write(at(90), &[(Stream::Stdout, b"a new one")]);
    assert_eq!(next(&mut lines).await, "a new one");
}

#[tokio::test]
async fn a_log_that_does_not_exist_yet_can_be_followed() {
    let served = Served::start().await;
    let mut lines = within(served.client().logs(&LogQuery { follow: true, ..wanted() })).await.unwrap();
    writer(&served, "web-1").write(at(0), &[(Stream::Stdout, b"first")]);
    assert_eq!(next(&mut lines).await, "first");
}

#[tokio::test]
async fn reading_ends_when_the_reader_leaves() {
    let served = Served::start().await;
    write_some(&served);
    let query = LogQuery { follow: true, tail: Some(1), ..wanted() };
    let mut lines = within(served.client().logs(&query)).await.unwrap();
    next(&mut lines).await;
    let log = served.root.path().join("logs/shop/web-1.log");
    assert!(is_open(&log));
    drop(lines);
    until("nobody reads the log", || !is_open(&log)).await;
}

/// By this process: the server is a task of it.
fn is_open(path: &std::path::Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path))
}

#[tokio::test]
async fn the_agents_end_ends_following() {
    let served = Served::start().await;
    let mut lines = within(served.client().logs(&LogQuery { follow: true, ..wanted() })).await.unwrap();
    served.shutdown.begin();
    assert!(within(lines.next()).await.is_none());
    within(served.serving).await.unwrap();
}
