//! Where the time comes from: the machine, or a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Tells the time in milliseconds since 1970 (UTC). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
    /// So far ahead of what the machine counts since it was started.
    Steady(Arc<AtomicI64>),
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`].
    #[must_use]
    pub fn manual(start_millis: i64) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start_millis))))
    }

    /// A clock that is right now what this one is, and goes on evenly however the machine's clock is set from here on. A manual
    /// clock is even already: then it is the same.
    #[must_use]
    pub fn steady(&self) -> Self {
        match &self.0 {
            Source::System => {
                let ahead = AtomicI64::new(self.now_millis().saturating_sub(since_boot()));
                Self(Source::Steady(Arc::new(ahead)))
            }
            Source::Manual(_) | Source::Steady(_) => self.clone(),
        }
    }

    #[must_use]
    pub fn now_millis(&self) -> i64 {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Source::Manual(millis) => millis.load(Ordering::SeqCst),
            Source::Steady(ahead) => ahead.load(Ordering::SeqCst).saturating_add(since_boot()),
        }
    }

    /// Moves a manual or a steady clock on, for everybody who has a copy of it; a system clock goes its own way.
    pub fn advance(&self, millis: i64) {
        if let Source::Manual(now) | Source::Steady(now) = &self.0 {
            now.fetch_add(millis, Ordering::SeqCst);
        }
    }
}

/// In milliseconds. The time for which the machine slept counts too: a laptop's evening is not this morning.
fn since_boot() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_begins_as_the_system_says_and_is_moved_on_for_all() {
        let system = Clock::system();
        let (before, steady) = (system.now_millis(), system.steady());
        let (copy, first) = (steady.clone(), steady.now_millis());
        assert!(first >= before && first <= system.now_millis() + 1);
        steady.advance(60_000);
        assert!(copy.now_millis() >= first + 60_000);
    }

    #[test]
    fn a_manual_clock_is_steady_already() {
        let manual = Clock::manual(5);
        let steady = manual.steady();
        manual.advance(2);
        assert_eq!(steady.now_millis(), 7);
    }
}
