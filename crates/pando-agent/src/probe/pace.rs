//! How long it is from one check to the next.

use std::time::Duration;

use pando_model::app::HealthCheck;
use pando_runtime::docker::ImageHealthCheck;

/// Faster than this nobody means it.
const FASTEST: Duration = Duration::from_millis(10);

/// What the checks of one run have answered so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// At least once.
    passed: bool,
    passes: u32,
    failures: u32,
    /// It failed often enough to be out of rotation, and has not passed often enough since.
    unwell: bool,
}

impl Pace {
    pub(super) fn saw(&mut self, passed: bool) {
        self.passed |= passed;
        (self.passes, self.failures) =
            if passed { (self.passes.saturating_add(1), 0) } else { (0, self.failures.saturating_add(1)) };
    }

    /// From the start of the last check to that of the next: `eager` until the first has passed, then the interval of the file, or of
    /// the image's own check where the file names none. A replica that nobody is sent to is not kept waiting by an interval that is
    /// meant for those who serve.
    pub(super) fn next(
        &mut self,
        health: &HealthCheck,
        own: Option<&ImageHealthCheck>,
        eager: Duration,
    ) -> Duration {
        if !self.passed {
            return eager;
        }
        let unhealthy = match own {
            Some(own) if health.unhealthy == HealthCheck::UNHEALTHY => own.retries,
            _ => health.unhealthy,
        };
        self.unwell = self.failures >= unhealthy || (self.unwell && self.passes < health.healthy);
        let own = own.filter(|_| health.interval == HealthCheck::INTERVAL && !self.unwell);
        // One that is asked less often than it may take to start would be found dead later than one that never came up.
        let interval = own.map_or(health.interval, |own| own.interval.min(health.start_timeout));
        interval.duration().max(FASTEST)
    }
}

#[cfg(test)]
mod tests {
    use pando_model::app::HealthKind;
    use pando_model::time::Millis;

    use super::*;

    const EAGER: Duration = Duration::from_millis(100);

    fn health() -> HealthCheck {
        HealthCheck {
            kind: HealthKind::Image { path: None },
            interval: HealthCheck::INTERVAL,
            timeout: Millis::from_secs(2),
            healthy: 2,
            unhealthy: HealthCheck::UNHEALTHY,
            start_timeout: Millis::from_secs(60),
        }
    }

    fn own(interval: u64) -> ImageHealthCheck {
        let (timeout, start_period) = (Millis::from_secs(30), Millis::ZERO);
        let command = vec!["true".to_owned()];
        ImageHealthCheck { command, interval: Millis::from_secs(interval), timeout, retries: 2, start_period }
    }

    /// The pauses, in milliseconds, after checks that passed (`+`) or failed (`-`).
    fn pauses(health: &HealthCheck, own: Option<&ImageHealthCheck>, answers: &str) -> Vec<u128> {
        let mut pace = Pace::default();
        let after = |answer| {
            pace.saw(answer == '+');
            pace.next(health, own, EAGER).as_millis()
        };
        answers.chars().map(after).collect()
    }

    #[test]
    fn checks_are_quick_until_the_first_has_passed() {
        assert_eq!(pauses(&health(), None, "--+-+"), [100, 100, 2000, 2000, 2000]);
        let file = HealthCheck { interval: Millis::ZERO, ..health() };
        assert_eq!(pauses(&file, None, "+"), [10]);
    }

    #[test]
    fn an_image_says_how_often_it_is_asked_where_the_file_does_not() {
        assert_eq!(pauses(&health(), Some(&own(30)), "-++"), [100, 30_000, 30_000]);
        assert_eq!(pauses(&health(), Some(&own(1)), "+"), [1000]);
        let file = HealthCheck { interval: Millis::from_secs(5), ..health() };
        assert_eq!(pauses(&file, Some(&own(30)), "+"), [5000]);
        assert_eq!(pauses(&health(), Some(&own(3600)), "+"), [60_000], "no longer than a start may take");
    }

    #[test]
    fn who_is_out_of_rotation_is_asked_often_until_it_is_back() {
        let paces = pauses(&health(), Some(&own(30)), "+--+-++-");
        assert_eq!(paces, [30_000, 30_000, 2000, 2000, 2000, 2000, 30_000, 30_000]);
    }
}
