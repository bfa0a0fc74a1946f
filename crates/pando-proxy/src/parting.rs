//! When connections that live for long have to end: WebSockets, other upgraded connections, streams of events. Pure.
//!
//! Two want them to end: an endpoint that drains, and the proxy itself, when another one has taken its place or when it is told
//! to end. Both say until when. Nobody is well served by a thousand clients that come back in the same instant, so each
//! connection ends at a moment of its own: before the deadline where there is time, right after it where there is none.

/// The last part of the time that is given, over which the ends are spread; at most [`WIDEST`].
const PART: i64 = 10;

/// In milliseconds.
const WIDEST: i64 = 10_000;

/// Connections that end in one millisecond where no time was given, and the longest that this goes on.
const WIDEST_LATE: u64 = 2_000;

/// Until when somebody lets connections live; in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Curfew {
    /// When the drain began.
    pub(crate) began: i64,
    /// When this deadline became known.
    pub(crate) told: i64,
    pub(crate) deadline: i64,
}

impl Curfew {
    /// Everything ends now.
    pub(crate) fn now(now: i64) -> Self {
        Self { began: now, told: now, deadline: now }
    }

    /// The same drain with another deadline, heard of now.
    pub(crate) fn moved(held: Option<Self>, deadline: i64, now: i64) -> Self {
        let began = held.map_or(now, |held| held.began);
        match held {
            Some(held) if held.deadline == deadline => held,
            _ => Self { began, told: now, deadline },
        }
    }

    /// When a connection ends whose kind may go on for `most` milliseconds of a drain. `chance` is its own, of all 64 bits;
    /// `crowd` is how many there are.
    pub(crate) fn moment(&self, most: u64, chance: u64, crowd: u64) -> i64 {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let latest = self.deadline.min(self.began.saturating_add(most));
        let early = (latest.saturating_sub(self.told) / PART).clamp(0, WIDEST);
        let late = i64::try_from(crowd.min(WIDEST_LATE)).unwrap_or(0);
        if early >= late { latest - part(chance, early) } else { latest.max(self.told) + part(chance, late) }
    }
}

/// From 0 to below `whole`, evenly.
fn part(chance: u64, whole: i64) -> i64 {
    let whole = u128::from(whole.unsigned_abs());
    i64::try_from((u128::from(chance) * whole) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_MINUTES: u64 = 300_000;

    fn moments(curfew: Curfew, most: u64, crowd: u64) -> Vec<i64> {
        (0..1000).map(|n| curfew.moment(most, n * (u64::MAX / 1000), crowd)).collect()
    }

    #[test]
    fn ends_are_spread_over_the_last_ten_seconds_and_never_late() {
        let curfew = Curfew { began: 0, told: 0, deadline: 600_000 };
        let all = moments(curfew, FIVE_MINUTES, 1000);
        assert!(all.iter().all(|at| (290_000..=300_000).contains(at)));
        for second in 290..300 {
            let of_second = all.iter().filter(|at| **at / 1000 == second).count();
            assert!((80..=120).contains(&of_second), "{of_second} in second {second}");
        }
    }

    #[test]
    fn the_earlier_of_deadline_and_kind_counts() {
        let curfew = Curfew { began: 1_000, told: 1_000, deadline: 31_000 };
        assert!(moments(curfew, FIVE_MINUTES, 1).iter().all(|at| (28_000..=31_000).contains(at)));
        assert!(moments(curfew, 5_000, 1).iter().all(|at| (5_500..=6_000).contains(at)));
    }

    #[test]
    fn without_time_a_crowd_goes_one_by_one_and_one_alone_at_once() {
        let now = Curfew::now(50_000);
        assert!(moments(now, FIVE_MINUTES, 1).iter().all(|at| *at == 50_000));
        let crowd = moments(now, FIVE_MINUTES, 1000);
        assert!(crowd.iter().all(|at| (50_000..51_000).contains(at)));
        assert!(crowd.iter().filter(|at| **at < 50_100).count() < 150);
        assert!(moments(now, FIVE_MINUTES, 1_000_000).iter().all(|at| *at < 52_000));
        // What is long over is spread from the moment on at which that became known.
        let overdue = Curfew { began: 0, told: 50_000, deadline: 20_000 };
        assert!(moments(overdue, FIVE_MINUTES, 100).iter().all(|at| (50_000..50_100).contains(at)));
    }

    #[test]
    fn a_deadline_that_moves_keeps_the_drains_beginning() {
        let first = Curfew::moved(None, 30_000, 1_000);
        assert_eq!(first, Curfew { began: 1_000, told: 1_000, deadline: 30_000 });
        assert_eq!(Curfew::moved(Some(first), 30_000, 9_000), first);
        assert_eq!(
            Curfew::moved(Some(first), 60_000, 9_000),
            Curfew { told: 9_000, deadline: 60_000, ..first }
        );
    }
}
