//! Which runs were forgotten, so that a late or repeated order can't start one again.
//!
//! A file of lines `ID ATTEMPT MILLIS`; the highest attempt of an id stands for all below. An entry is kept for a week: what
//! is still on its way after that is answered by whoever sends it, not by luck.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use pando_rt::clock::Clock;
use uuid::Uuid;

use crate::run::RunKey;

const KEPT_MILLIS: i64 = 7 * 24 * 3600 * 1000;

/// Lines of the file above which it is written anew, if most are out of date.
const ROOMY: usize = 1000;

#[derive(Debug)]
pub(crate) struct Tombstones {
    path: PathBuf,
    clock: Clock,
    entries: HashMap<Uuid, Entry>,
    lines: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    attempt: u32,
    at: i64,
}

impl Tombstones {
    /// Reads what is there; a line cut by a crash is left out.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let bytes = pando_rt::fs::read_if_there(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut stones =
            Self { path, clock: Clock::system(), entries: HashMap::new(), lines: text.lines().count() };
        for (key, at) in text.lines().filter_map(parse) {
            stones.insert(key, at);
        }
        Ok(stones)
    }

    pub(crate) fn highest(&self, id: Uuid) -> Option<u32> {
        self.entries.get(&id).map(|entry| entry.attempt)
    }

    /// On disk when it returns.
    pub(crate) fn add(&mut self, key: RunKey) -> io::Result<()> {
        let now = self.clock.now_millis();
        self.insert(key, now);
        if self.lines >= ROOMY.max(2 * self.entries.len()) {
            return self.rewrite(now);
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        // Begins with a line end: the last line may have been cut by a crash.
        write!(file, "\n{} {} {now}\n", key.id, key.attempt)?;
        self.lines += 2;
        file.sync_data()
    }

    fn insert(&mut self, key: RunKey, at: i64) {
        let entry = self.entries.entry(key.id).or_insert(Entry { attempt: key.attempt, at });
        entry.attempt = entry.attempt.max(key.attempt);
        entry.at = entry.at.max(at);
    }

    fn rewrite(&mut self, now: i64) -> io::Result<()> {
        self.entries.retain(|_, entry| now.saturating_sub(entry.at) < KEPT_MILLIS);
        let lines = self.entries.iter().map(|(id, entry)| format!("{id} {} {}\n", entry.attempt, entry.at));
        let text: String = lines.collect();
        pando_rt::fs::write_atomically(&self.path, text.as_bytes(), 0o600)?;
        self.lines = self.entries.len();
        Ok(())
    }
}

fn parse(line: &str) -> Option<(RunKey, i64)> {
    let mut words = line.split(' ');
    let key = RunKey { id: words.next()?.parse().ok()?, attempt: words.next()?.parse().ok()? };
    Some((key, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u128, attempt: u32) -> RunKey {
        RunKey { id: Uuid::from_u128(id), attempt }
    }

    #[test]
    fn the_highest_attempt_is_remembered_across_restarts() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("forgotten");
        let mut stones = Tombstones::open(path.clone()).unwrap();
        for attempt in [0, 2, 1] {
            stones.add(key(7, attempt)).unwrap();
        }
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"00000000-0000-0000-0000-0000").unwrap();
        let mut again = Tombstones::open(path.clone()).unwrap();
        assert_eq!((again.highest(Uuid::from_u128(7)), again.highest(Uuid::from_u128(8))), (Some(2), None));
        again.add(key(8, 0)).unwrap();
        assert_eq!(Tombstones::open(path).unwrap().highest(Uuid::from_u128(8)), Some(0));
    }

    #[test]
    fn the_file_stays_small_and_forgets_after_a_week() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("forgotten");
        let mut stones = Tombstones::open(path.clone()).unwrap();
        stones.clock = Clock::manual(1_000);
        stones.add(key(1, 0)).unwrap();
        stones.clock.advance(KEPT_MILLIS);
        for attempt in 0..3000 {
            stones.add(key(2, attempt)).unwrap();
        }
        assert!(stones.lines <= ROOMY + 2);
        let again = Tombstones::open(path).unwrap();
        assert_eq!(
            (again.highest(Uuid::from_u128(1)), again.highest(Uuid::from_u128(2))),
            (None, Some(2999))
        );
    }
}
