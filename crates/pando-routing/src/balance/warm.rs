//! Slow start: an endpoint that has just come into rotation gets less at first.
//!
//! Its weight grows in a straight line from a tenth to all of it (Envoy's slow start
//! with aggression 1; HAProxy's `slowstart`). Only while a peer is warm that can take
//! the rest: when all are new, holding back would only refuse requests.
//!
//! A smaller weight alone is a trap where load decides: a cold endpoint has nothing
//! in flight and looks free, or its cost is so much worsened that it gets nothing at
//! all. So choices between two thin it out instead ([`admits`]): in a tenth of the
//! picks, later in all of them, it is a candidate like any other; and what is not
//! known of its latency yet is taken to be the pool's median. Least connections goes by
//! the smaller weight: a cold endpoint has at most its part of what its peers have in
//! flight, though one at least.

use super::random::{GOLDEN, mix};

/// A warm endpoint's [`factor`]; the unit is 1/256.
pub const FULL: u32 = 256;

/// The least factor: 10 %, as Envoy has it.
pub const FLOOR: u32 = 26;

/// What an endpoint's weight is multiplied by, in 1/256: [`FLOOR`] to [`FULL`].
///
/// `since` is when it came into rotation (again), `window` how long it warms up in microseconds (0: never), `warm_peers` how
/// many others of its tier are in rotation and warm. To be found out on a tick of some ten a second and kept beside the
/// endpoint, not for each request.
#[must_use]
pub fn factor(now: u64, since: u64, window: u64, warm_peers: usize) -> u32 {
    let age = now.saturating_sub(since);
    if age >= window || warm_peers == 0 {
        return FULL;
    }
    let grown = u128::from(age) * u128::from(FULL) / u128::from(window);
    u32::try_from(grown).unwrap_or(FULL).clamp(FLOOR, FULL)
}

/// Whether it is past its slow start, and so counts as a warm peer of others.
#[must_use]
pub fn is_warm(now: u64, since: u64, window: u64) -> bool {
    now.saturating_sub(since) >= window
}

/// Whether the `n`-th endpoint with this factor is a candidate in the pick that `random` was drawn for; always the same answer
/// within one pick, and in `factor`/256 of all picks yes.
#[must_use]
pub fn admits(factor: u32, random: u64, n: usize) -> bool {
    let salt = u64::try_from(n).unwrap_or(0).wrapping_add(1).wrapping_mul(GOLDEN);
    factor >= FULL || mix(random ^ salt) >> 56 < u64::from(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::SECOND;
    use crate::balance::random::Draws;

    const WINDOW: u64 = 15 * SECOND;

    #[test]
    fn the_weight_grows_in_a_straight_line_from_a_tenth() {
        let at = |age: u64| factor(100 * SECOND + age, 100 * SECOND, WINDOW, 1);
        assert_eq!(at(0), FLOOR);
        assert_eq!(at(SECOND), FLOOR, "a fifteenth is below the floor");
        assert_eq!(at(3 * SECOND), FULL / 5);
        assert_eq!(at(7_500_000), FULL / 2);
        assert_eq!(at(WINDOW), FULL);
        assert_eq!(at(1000 * SECOND), FULL);
        let all: Vec<u32> = (0..=WINDOW / 1000).map(|step| at(step * 1000)).collect();
        assert!(all.is_sorted());
    }

    #[test]
    fn without_a_warm_peer_or_a_window_it_is_warm_at_once() {
        assert_eq!(factor(5, 5, WINDOW, 0), FULL);
        assert_eq!(factor(5, 5, 0, 3), FULL);
        assert!(is_warm(5, 5, 0) && !is_warm(5, 5, 1));
        assert_eq!(factor(4, 5, WINDOW, 1), FLOOR, "a clock that another worker read later");
    }

    #[test]
    fn it_is_admitted_in_its_share_of_the_picks() {
        let mut draws = Draws::new(11);
        for factor in [FLOOR, 128, 255, FULL] {
            let admitted = (0..100_000).filter(|_| admits(factor, draws.bits(), 3)).count();
            let expected = 100_000.0 * f64::from(factor) / 256.0;
            assert!((admitted as f64 - expected).abs() <= 5.0 * 160.0, "{factor}: {admitted}");
        }
    }
}
