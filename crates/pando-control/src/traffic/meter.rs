//! How many requests arrived lately: totals, and the samples of them that windows are taken from.

use std::collections::VecDeque;

use pando_api::v1::balancers::RequestCounts;
use pando_model::time::{Millis, Timestamp};

const MINUTE: Millis = Millis::from_secs(60);
const TEN_MINUTES: Millis = Millis::from_secs(600);
/// Between two samples. A window begins at a sample, and so may be longer by as much (or by a silence); never shorter.
const APART: Millis = Millis::from_secs(5);

/// Of one server.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    since: Timestamp,
    heard_at: Timestamp,
    total: u64,
    unmatched: u64,
    /// The total at a time, oldest first; those of the last ten minutes, and one before.
    samples: VecDeque<(Timestamp, u64)>,
}

impl Meter {
    /// What was counted before it is followed lies in no window.
    pub(super) fn new(before: u64, unmatched: u64, now: Timestamp) -> Self {
        let samples = [(now, before)].into();
        Self { since: now, heard_at: now, total: before, unmatched, samples }
    }

    pub(super) fn add(&mut self, arrived: u64, unmatched: u64, now: Timestamp) {
        self.heard_at = self.heard_at.max(now);
        let last = self.samples.back().map_or(self.since, |(at, _)| *at);
        if now.since(last) >= APART {
            // As it was until just now: what arrived since lies in every window that begins here.
            self.samples.push_back((now, self.total));
        }
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= TEN_MINUTES) {
            self.samples.pop_front();
        }
        self.total = self.total.saturating_add(arrived);
        self.unmatched = self.unmatched.saturating_add(unmatched);
    }

    pub(super) fn counts(&self, now: Timestamp) -> RequestCounts {
        RequestCounts {
            last_minute: self.within(MINUTE, now),
            last_ten_minutes: self.within(TEN_MINUTES, now),
            total: self.total,
            unmatched: self.unmatched,
            followed: now.since(self.since),
            heard_at: Some(self.heard_at),
        }
    }

    fn within(&self, length: Millis, now: Timestamp) -> u64 {
        let before = self.samples.iter().rev().find(|(at, _)| now.since(*at) >= length);
        let before = before.or(self.samples.front());
        self.total - before.map_or(self.total, |(_, total)| *total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Millis::from_secs(seconds)
    }

    fn windows(meter: &Meter, seconds: u64) -> (u64, u64, u64) {
        let counts = meter.counts(at(seconds));
        (counts.last_minute, counts.last_ten_minutes, counts.total)
    }

    #[test]
    fn what_was_there_before_is_in_the_total_alone() {
        let mut meter = Meter::new(1000, 7, at(0));
        assert_eq!(windows(&meter, 0), (0, 0, 1000));
        meter.add(5, 1, at(2));
        assert_eq!(windows(&meter, 2), (5, 5, 1005));
        assert_eq!(meter.counts(at(30)).unmatched, 8);
        assert_eq!(meter.counts(at(30)).followed, Millis::from_secs(30));
    }

    #[test]
    fn a_request_leaves_each_window_in_time_and_never_early() {
        let mut meter = Meter::new(0, 0, at(0));
        for second in 1..=1200 {
            let arrived = u64::from(second == 100);
            meter.add(arrived, 0, at(second));
            let age = second.saturating_sub(100);
            let (minute, ten, total) = windows(&meter, second);
            let seen = second >= 100;
            assert!(!seen || age > 60 || minute == 1, "{second}");
            assert!(age <= 66 || minute == 0, "{second}");
            assert!(!seen || age > 600 || ten == 1, "{second}");
            assert!(age <= 606 || ten == 0, "{second}");
            assert_eq!(total, u64::from(seen));
        }
        assert!(meter.samples.len() < 125, "{}", meter.samples.len());
    }

    #[test]
    fn silence_empties_the_windows_too() {
        let mut meter = Meter::new(0, 0, at(0));
        meter.add(3, 0, at(10));
        meter.add(0, 0, at(20));
        assert_eq!(windows(&meter, 79), (3, 3, 3));
        assert_eq!(windows(&meter, 80), (0, 3, 3));
        assert_eq!(windows(&meter, 620), (0, 0, 3));
    }
}
