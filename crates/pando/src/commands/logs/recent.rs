//! What was printed last, so that after a break no line is lost and none comes twice.
//!
//! Lines of several replicas come nearly in the order of time, not exactly: after
//! a break everything of the last seconds is asked for again, and what was printed
//! already is known by its words.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use pando_api::v1::agents::{LogLine, LogStream};
use pando_model::time::{Millis, Timestamp};

/// How far one replica's lines may lag behind another's.
const LAG: Millis = Millis::from_secs(5);
/// Of more lines in that time the oldest are forgotten; a break may then repeat them.
const MOST: usize = 100_000;

/// The lines of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hasher: RandomState,
    /// Time and hash of each, in the order of printing.
    printed: VecDeque<(Timestamp, u64)>,
    newest: Option<Timestamp>,
    /// Printed before the break, by hash: to be passed over so often.
    again: HashMap<u64, usize>,
}

impl Recent {
    /// From when on to ask after a break; everything that is remembered is expected again. `None`: nothing was printed yet.
    pub(super) fn resume(&mut self) -> Option<Timestamp> {
        self.again.clear();
        for (_, hash) in &self.printed {
            *self.again.entry(*hash).or_default() += 1;
        }
        self.newest.map(|newest| newest - LAG)
    }

    /// Whether it was printed before the break; if not, it is remembered as printed now.
    pub(super) fn is_again(&mut self, line: &LogLine) -> bool {
        let hash = self.hash(line);
        if let Some(count) = self.again.get_mut(&hash).filter(|count| **count > 0) {
            *count -= 1;
            return true;
        }
        self.note(line.time, hash);
        false
    }

    fn note(&mut self, time: Timestamp, hash: u64) {
        let newest = self.newest.map_or(time, |newest| newest.max(time));
        self.newest = Some(newest);
        self.printed.push_back((time, hash));
        let is_old = |(time, _): &(Timestamp, u64)| *time < newest - LAG;
        while self.printed.len() > MOST || self.printed.front().is_some_and(is_old) {
            self.printed.pop_front();
        }
    }

    fn hash(&self, line: &LogLine) -> u64 {
        let stream = match line.stream {
            LogStream::Stdout => 0_u8,
            LogStream::Stderr => 1,
            LogStream::Pando => 2,
        };
        self.hasher.hash_one((line.time, &line.source, stream, &line.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(millis: i64, source: &str, text: &str) -> LogLine {
        let time = Timestamp::from_millis(millis);
        LogLine { time, source: source.to_owned(), stream: LogStream::Stdout, text: text.to_owned() }
    }

    fn fresh(recent: &mut Recent, lines: &[LogLine]) -> Vec<String> {
        let fresh = lines.iter().filter(|line| !recent.is_again(line));
        fresh.map(|line| line.text.clone()).collect()
    }

    #[test]
    fn after_a_break_no_line_is_lost_or_told_twice() {
        let mut recent = Recent::default();
        let first = [line(10_001, "web-1", "a"), line(10_002, "web-1", "b"), line(10_002, "web-1", "b")];
        assert_eq!(fresh(&mut recent, &first), ["a", "b", "b"]);
        assert_eq!(recent.resume(), Some(Timestamp::from_millis(5002)));
        let second = [&first[..], &[line(10_002, "web-1", "b"), line(10_003, "web-1", "c")]].concat();
        assert_eq!(fresh(&mut recent, &second), ["b", "c"], "two were told; a third alike is new");
        recent.resume();
        assert!(fresh(&mut recent, &second).is_empty(), "a second break is no different");
    }

    #[test]
    fn a_replica_that_lags_behind_is_not_cut_off() {
        let mut recent = Recent::default();
        fresh(&mut recent, &[line(10_000, "web-1", "a")]);
        let since = recent.resume().unwrap();
        let late = line(9000, "web-2", "late");
        assert!(late.time >= since);
        assert_eq!(fresh(&mut recent, &[late, line(10_000, "web-1", "a")]), ["late"]);
    }

    #[test]
    fn only_the_last_seconds_are_kept_in_mind() {
        let mut recent = Recent::default();
        assert_eq!(recent.resume(), None);
        for second in 0..100 {
            fresh(&mut recent, &[line(second * 1000, "web-1", "tick")]);
        }
        assert_eq!(recent.printed.len(), 6);
    }
}
