//! The clock and the chance that balancing goes by.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::Instant;

use pando_routing::balance::random::Draws;

/// Microseconds of a monotonic clock that all of this process share; above an hour, so that what is "ten seconds ago" can always be
/// said.
pub(crate) fn now() -> u64 {
    const HOUR: u64 = 3_600_000_000;
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_add(HOUR)
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
}
