//! How many retries a pool can afford.
//!
//! As Finagle and linkerd have it: retries may be a part of the requests of the last
//! ten seconds, and a few a second besides, so that a quiet pool may retry at all.
//! When everything fails, the load grows by that part and no more.
//!
//! A retry counts when it is admitted, not when it is sent: what waits in back-off is
//! spent already. Counted later, a burst of failures would be admitted whole.

use super::window::{Column, SECONDS, Window};
use crate::policy::Retry;

/// One pool's, for all workers. Two workers that ask at the same moment for the last one both get it: at most one too many for
/// each worker.
#[derive(Debug, Default)]
pub struct Budget(Window);

/// What a budget has come to in the last ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub requests: u64,
    pub retries: u64,
    /// The retries that those requests allow.
    pub allowed: u64,
}

impl Budget {
    /// A request has come in. Retries of it are no requests.
    pub fn request(&self, now: u64) {
        self.0.add(Column::First, now);
    }

    /// Whether it may be tried once more; if so, that is spent.
    #[must_use]
    pub fn retry(&self, policy: &Retry, now: u64) -> bool {
        let spent = self.spent(policy, now);
        let may = spent.retries < spent.allowed;
        if may {
            self.0.add(Column::Second, now);
        }
        may
    }

    #[must_use]
    pub fn spent(&self, policy: &Retry, now: u64) -> Spent {
        let (requests, retries) = self.0.sums(now);
        let allowed =
            requests * u64::from(policy.budget_percent) / 100 + u64::from(policy.budget_per_second) * SECONDS;
        Spent { requests, retries, allowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::SECOND;

    const START: u64 = 1000 * SECOND;

    /// Every request fails, every retry too.
    fn retries(policy: &Retry, per_second: u64, seconds: u64) -> u64 {
        let budget = Budget::default();
        let step = SECOND / per_second;
        let all = (0..per_second * seconds).map(|n| START + n * step);
        all.filter(|now| {
            budget.request(*now);
            budget.retry(policy, *now)
        })
        .count() as u64
    }

    #[test]
    fn when_everything_fails_the_load_grows_by_a_fifth_and_ten_a_second() {
        let made = retries(&Retry::default(), 1000, 60);
        assert!((60 * 210 - 100..=60 * 210 + 300).contains(&made), "{made}");
    }

    #[test]
    fn a_quiet_pool_may_retry() {
        assert_eq!(retries(&Retry::default(), 5, 60), 300);
    }

    #[test]
    fn without_a_floor_or_a_part_there_is_none() {
        let none = Retry { budget_percent: 0, budget_per_second: 0, ..Retry::default() };
        assert_eq!(retries(&none, 100, 20), 0);
        let part = Retry { budget_per_second: 0, ..Retry::default() };
        let made = retries(&part, 100, 60);
        assert!((1150..=1200).contains(&made), "{made}");
    }

    #[test]
    fn what_was_spent_comes_back_after_ten_seconds_and_not_before() {
        let (budget, policy) = (Budget::default(), Retry::default());
        let admitted = |now| (0..1000).filter(|_| budget.retry(&policy, now)).count();
        assert_eq!(admitted(START), 100);
        assert_eq!(admitted(START + 9 * SECOND), 0);
        assert_eq!(budget.spent(&policy, START), Spent { requests: 0, retries: 100, allowed: 100 });
        assert_eq!(admitted(START + 10 * SECOND), 100);
    }
}
