//! How often a new certificate is asked for; when one is due is for the certificate to say.
//!
//! A clock that is ahead by days finds each new certificate due at once: whatever
//! it says, there is one an hour at most. What is due or expired meanwhile is good
//! for connections all the same.

use std::time::Duration;

use pando_rt::backoff::Backoff;
use tokio::time::Instant;

const AFTER_SUCCESS: Duration = Duration::from_secs(60 * 60);

const AFTER_FAILURE: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };

/// What came of the tries so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Since the last success.
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    pub(super) fn may_try(self, now: Instant) -> bool {
        self.not_before.is_none_or(|moment| now >= moment)
    }

    pub(super) fn failures(self) -> u32 {
        self.failures
    }

    #[must_use]
    pub(super) fn succeeded(self, now: Instant) -> Self {
        Self { failures: 0, not_before: Some(now + AFTER_SUCCESS) }
    }

    #[must_use]
    pub(super) fn failed(self, now: Instant) -> Self {
        let pause = AFTER_FAILURE.nth(self.failures);
        Self { failures: self.failures.saturating_add(1), not_before: Some(now + pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For how long nothing is tried after `now`, in milliseconds.
    fn pause(pace: Pace, now: Instant) -> u128 {
        let moment = pace.not_before.unwrap();
        assert!(pace.may_try(moment));
        assert!(!pace.may_try(moment.checked_sub(Duration::from_millis(1)).unwrap()));
        (moment - now).as_millis()
    }

    #[test]
    fn the_first_try_waits_for_nothing() {
        assert!(Pace::default().may_try(Instant::now()));
    }

    #[test]
    fn after_a_success_there_is_an_hour_of_rest_whatever_came_before() {
        let now = Instant::now();
        assert_eq!(pause(Pace::default().succeeded(now), now), 3_600_000);
        let tired = (0..9).fold(Pace::default(), |pace, _| pace.failed(now));
        assert_eq!(pause(tired.succeeded(now), now), 3_600_000);
        assert_eq!(tired.succeeded(now).failures(), 0);
    }

    #[test]
    fn after_failures_the_pause_doubles_to_a_minute_and_begins_anew_with_a_success() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace = pace.failed(now);
            pauses.push(pause(pace, now) / 1000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pace.failures(), 8);
        assert_eq!(pause(pace.succeeded(now).failed(now), now), 1000);
    }
}
