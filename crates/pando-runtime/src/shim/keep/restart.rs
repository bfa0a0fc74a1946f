//! When what is kept is started again.

use std::time::{Duration, Instant};

/// With the time that a start takes, the program is away for less than 200 ms; the backlog holds what comes meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_millis(150);

/// A program that ran for less has failed to start.
const A_GOOD_RUN: Duration = Duration::from_secs(1);

/// When to start the program again: at once, then after pauses that grow for as long as it ends right away.
#[derive(Debug, Default)]
pub(super) struct Restart {
    /// `None`: at once.
    pub(super) at: Option<Instant>,
    failures: u32,
}

impl Restart {
    pub(super) fn ended(&mut self, now: Instant, ran: Duration) {
        self.failures = if ran >= A_GOOD_RUN { 0 } else { self.failures.saturating_add(1) };
        let backoff = pando_rt::backoff::Backoff { first: Duration::from_millis(25), most: LONGEST_PAUSE };
        self.at = Some(now + backoff.after(self.failures));
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_150_ms_and_a_good_run_ends_them() {
        let (mut restart, now) = (Restart::default(), Instant::now());
        let mut pauses = Vec::new();
        for ran in [60_000, 0, 0, 0, 0, 0, 0, 1000] {
            restart.ended(now, Duration::from_millis(ran));
            pauses.push((restart.at.unwrap() - now).as_millis());
        }
        assert_eq!(pauses, [0, 0, 25, 50, 100, 150, 150, 0]);
    }
}
