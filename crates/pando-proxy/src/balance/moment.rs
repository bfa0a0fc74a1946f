//! The clock and the chance that balancing goes by.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::Instant;

use pando_routing::balance::random::Draws;
use pando_rt::clock::Clock;

/// Microseconds of a monotonic clock that all of this process share; above an hour, so that what is "ten seconds ago" can always be
/// said.
pub(crate) fn now() -> u64 {
    const HOUR: u64 = 3_600_000_000;
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_add(HOUR)
}

/// What [`now`] said, in milliseconds since 1970. The two clocks are compared anew every 50 ms, so that one reading does for both; a
/// clock that is set shows by then.
pub(crate) fn unix_millis(at: u64, clock: &Clock) -> i64 {
    const LASTS: u64 = 50_000;
    thread_local! {
        /// A moment, and what the clock on the wall said then.
        static TWO: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
    }
    TWO.with(|two| {
        let (mut then, mut wall) = two.get();
        if then == 0 || at.abs_diff(then) > LASTS {
            (then, wall) = (now(), clock.now_millis());
            two.set((then, wall));
        }
        let since = i64::try_from(at.abs_diff(then) / 1000).unwrap_or(i64::MAX);
        if at < then { wall.saturating_sub(since) } else { wall.saturating_add(since) }
    })
}

/// 64 bits to choose by, never for secrets: a generator of this thread's own, seeded once.
pub(crate) fn random() -> u64 {
    thread_local! {
        static DRAWS: RefCell<Draws> = RefCell::new(Draws::new(RandomState::new().hash_one(0u8)));
    }
    DRAWS.with_borrow_mut(Draws::bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_threads_draw_apart() {
        let before = now();
        let here: Vec<u64> = (0..100).map(|_| random()).collect();
        let there = std::thread::spawn(|| (0..100).map(|_| random()).collect::<Vec<_>>()).join().unwrap();
        assert!(here.iter().all(|bits| !there.contains(bits)));
        assert!(now() >= before && before > 10_000_000);
    }

    #[test]
    fn one_reading_does_for_both_clocks() {
        let clock = Clock::system();
        for _ in 0..3 {
            let (before, at) = (clock.now_millis(), now());
            let (said, after) = (unix_millis(at, &clock), clock.now_millis());
            assert!((before - 1..=after + 1).contains(&said), "{before} {said} {after}");
            assert!((unix_millis(at - 40_000, &clock) - (said - 40)).abs() <= 1);
        }
    }
}
