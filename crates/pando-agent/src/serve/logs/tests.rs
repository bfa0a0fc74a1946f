use pando_model::name::{ProcessName, ReplicaName};
use pando_runtime::logs::{LogSettings, LogWriter};

use super::*;

fn wanted() -> LogQuery {
    LogQuery { app: AppName::new("shop").ok(), ..LogQuery::default() }
}

fn replica(process: &str, ordinal: u32) -> ReplicaName {
    format!("{process}-{ordinal}").parse().unwrap()
}

#[test]
fn how_many_lines_when_nothing_is_said() {
    let cases =
        [(None, None, 100), (Some(0), None, 100_000), (Some(0), Some(7), 7), (None, Some(1 << 40), 100_000)];
    for (since_millis, tail, expected) in cases {
        let query = query(&LogQuery { since_millis, tail, ..wanted() }).unwrap();
        assert_eq!(query.tail, Some(expected), "{since_millis:?} {tail:?}");
    }
}

#[test]
fn a_replica_of_another_process_is_a_mistake() {
    let process = ProcessName::new("web").ok();
    let both = |of: &str| LogQuery { process: process.clone(), replica: Some(replica(of, 2)), ..wanted() };
    assert_eq!(query(&both("web")).unwrap().sources, Sources::Names(BTreeSet::from(["web-2".to_owned()])));
    assert_eq!(query(&both("job")).unwrap_err(), "job-2 is no replica of `web`");
    assert!(query(&LogQuery::default()).unwrap_err().contains("app=NAME"));
}

#[tokio::test]
async fn a_long_tail_begins_at_the_right_line_among_many_of_one_time() {
    let root = tempfile::tempdir().unwrap();
    let store = LogStore::new(root.path().to_owned(), LogSettings::default());
    let mut writer = LogWriter::new(&store, "shop", "web-1");
    for batch in 0..30 {
        let time = Timestamp::from_millis(1_700_000_000_000 + batch);
        let texts: Vec<String> = (0..500).map(|n| format!("{}", batch * 500 + n)).collect();
        let lines: Vec<(Kind, &[u8])> = texts.iter().map(|text| (Kind::Stdout, text.as_bytes())).collect();
        writer.write(time, &lines);
    }
    for tail in [10_001, 12_345, 14_999, 15_000, 20_000] {
        let query = query(&LogQuery { tail: Some(tail), ..wanted() }).unwrap();
        let read: Vec<_> = open(store.clone(), query).await.collect().await;
        let first: LogLine = serde_json::from_slice(read[0].as_ref().unwrap()).unwrap();
        let expected = 15_000_usize.saturating_sub(tail);
        assert_eq!((read.len(), first.text), (15_000 - expected, expected.to_string()), "{tail}");
    }
}

/// As of a container, whose streams overtake each other, and whose start is remarked upon a moment later.
#[tokio::test]
async fn lines_whose_times_go_back_are_not_left_out() {
    let root = tempfile::tempdir().unwrap();
    let store = LogStore::new(root.path().to_owned(), LogSettings::default());
    let mut writer = LogWriter::new(&store, "shop", "web-1");
    let begin = 1_700_000_000_000;
    for n in 0..12_000_i64 {
        // Each second line is older than the one before it.
        let time = Timestamp::from_millis(begin + n + if n % 2 == 0 { 5 } else { 0 });
        writer.write(time, &[(Kind::Stdout, n.to_string().as_bytes())]);
    }
    let read = async |since_millis, tail| {
        let query = query(&LogQuery { since_millis, tail, ..wanted() }).unwrap();
        let read: Vec<_> = open(store.clone(), query).await.collect().await;
        let line =
            |bytes: &Result<Bytes, _>| serde_json::from_slice::<LogLine>(bytes.as_ref().unwrap()).unwrap();
        read.iter().map(|bytes| line(bytes).text.parse::<usize>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(read(Some(0), None).await, (0..12_000).collect::<Vec<_>>());
    for tail in [10_001, 11_998, 11_999] {
        assert_eq!(read(None, Some(tail)).await, (12_000 - tail..12_000).collect::<Vec<_>>(), "{tail}");
    }
}
