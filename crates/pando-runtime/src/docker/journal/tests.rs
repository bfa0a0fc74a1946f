use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::dir::RunDir;
use crate::logs::LogSettings;
use crate::run::{ImagePlace, Place, RunKey, RunSpec};

const BEGIN: i64 = 1_700_000_000;

fn record() -> Record {
    let spec = RunSpec {
        key: RunKey { id: Uuid::from_u128(1), attempt: 0 },
        app: "shop".parse().unwrap(),
        name: "web-1".to_owned(),
        command: String::new(),
        place: Place::Image(Box::new(ImagePlace::of("shop:1"))),
        env: Default::default(),
        user: None,
        resources: Default::default(),
        port: None,
    };
    Record {
        spec,
        container: "c".to_owned(),
        created_at: Timestamp::from_millis(BEGIN * 1000),
        unmounted: Vec::new(),
    }
}

fn open(root: &Path) -> Journal {
    let records = Records(RunDir::of(root, record().spec.key));
    if !records.0.exists() {
        records.create(&record()).unwrap();
    }
    let logs = LogStore::new(root.join("logs"), LogSettings::default());
    Journal::open(records, &record(), &logs).unwrap()
}

fn stored(root: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(root.join("logs/shop/web-1.log")).unwrap_or_default();
    text.lines().map(|line| line[25..].to_owned()).collect()
}

/// What an engine holds: a piece for each `(stream, microseconds after the beginning, text)`.
fn told(pieces: &[(char, i64, &str)]) -> Vec<LogOutput> {
    let piece = |(stream, micros, text): &(char, i64, &str)| {
        let time = Timestamp::from_millis((BEGIN + micros / 1_000_000) * 1000).to_string();
        let second = time.split('.').next().unwrap();
        let message = format!("{second}.{:09}Z {text}", micros % 1_000_000 * 1000).into_bytes().into();
        if *stream == 'e' { LogOutput::StdErr { message } } else { LogOutput::StdOut { message } }
    };
    pieces.iter().map(piece).collect()
}

fn ten() -> Vec<LogOutput> {
    let same = "the same\n";
    // Twice the same in one millisecond, and even in one nanosecond.
    told(&[
        ('o', 1, "one\n"),
        ('e', 2, "wrong\n"),
        ('o', 2, same),
        ('o', 3, same),
        ('o', 3, same),
        ('o', 4, "a long "),
        ('e', 5, "between\n"),
        ('o', 6, "line\n"),
        ('o', 900, "late\n"),
        ('e', 2_000_000, "last\n"),
    ])
}

const LINES: [&str; 9] = [
    "o one",
    "e wrong",
    "o the same",
    "o the same",
    "o the same",
    "e between",
    "o a long line",
    "o late",
    "e last",
];

#[test]
fn every_line_is_stored_once_with_the_engines_time() {
    let root = tempfile::tempdir().unwrap();
    open(root.path()).take(&ten());
    assert_eq!(stored(root.path()), LINES);
    let text = std::fs::read_to_string(root.path().join("logs/shop/web-1.log")).unwrap();
    assert!(text.starts_with("2023-11-14T22:13:20.000Z o one"), "{text}");
}

#[test]
fn a_connection_that_breaks_anywhere_costs_nothing_and_doubles_nothing() {
    for broken in 0..=ten().len() {
        let root = tempfile::tempdir().unwrap();
        let mut journal = open(root.path());
        journal.begin();
        journal.take(&ten()[..broken]);
        journal.begin();
        journal.take(&ten());
        assert_eq!(stored(root.path()), LINES, "broken after {broken}");
    }
}

#[test]
fn a_program_that_dies_anywhere_costs_nothing_and_doubles_nothing() {
    for died in 0..=ten().len() {
        for forgot in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let mut journal = open(root.path());
            journal.take(&ten()[..died.min(4)]);
            let position = journal.records.0.path().join("log.json");
            let before = std::fs::read(&position).ok();
            journal.take(&ten()[died.min(4)..died]);
            // It died after the lines were written, and before their position was.
            match before.filter(|_| forgot) {
                Some(before) => std::fs::write(&position, before).unwrap(),
                None if forgot => drop(std::fs::remove_file(&position)),
                None => {}
            }
            let mut journal = open(root.path());
            journal.begin();
            journal.take(&ten());
            assert_eq!(stored(root.path()), LINES, "died after {died}, position forgotten: {forgot}");
        }
    }
}

#[test]
fn what_has_no_line_end_is_stored_at_the_end() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = open(root.path());
    let pieces = told(&[('o', 1, "one\n"), ('o', 2, "no "), ('o', 3, "end")]);
    journal.take(&pieces);
    assert_eq!(stored(root.path()), ["o one"]);
    journal.finish();
    journal.finish();
    assert_eq!(stored(root.path()), ["o one", "o no end"]);
    let mut journal = open(root.path());
    journal.begin();
    journal.take(&pieces);
    journal.finish();
    assert_eq!(stored(root.path()), ["o one", "o no end"]);
    assert_eq!(last_lines(&pieces), ["one", "no end"]);
}

#[test]
fn times_are_read_to_the_nanosecond() {
    assert_eq!(nanos("2023-11-14T22:13:20.000000001Z"), Some(BEGIN * 1_000_000_000 + 1));
    assert_eq!(nanos("2023-11-14T22:13:20.1Z"), Some(BEGIN * 1_000_000_000 + 100_000_000));
    assert_eq!(nanos("2023-11-14T22:13:20Z"), Some(BEGIN * 1_000_000_000));
    for wrong in ["", "Z", "now", "2023-11-14T22:13:20.0000000001Z", "2023-11-14T22:13:20.1"] {
        assert_eq!(nanos(wrong), None, "{wrong}");
    }
}
