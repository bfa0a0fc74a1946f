//! Exponential backoff as a pure function of how often something failed.

use std::time::Duration;

/// Delays that double from `first` up to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    /// How a replica that ends by itself is started again: at once, then after 1 s, 2 s, 4 s … 60 s.
    ///
    /// Kubernetes begins at 10 s and ends at 5 min; on one's own servers a person waits for it.
    pub const RESTART: Self = Self { first: Duration::from_secs(1), most: Duration::from_secs(60) };

    /// The delay before try number `failures + 1`: zero after the first failure, then doubling.
    #[must_use]
    pub fn after(self, failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            more => self.nth(more - 2),
        }
    }

    /// `first · 2ⁿ`, at most `most`.
    #[must_use]
    pub fn nth(self, n: u32) -> Duration {
        let factor = 2u32.checked_pow(n).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).unwrap_or(self.most).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_at_once_then_doubles_to_a_minute() {
        let seconds: Vec<u64> = (0..10).map(|n| Backoff::RESTART.after(n).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(Backoff::RESTART.after(u32::MAX).as_secs(), 60);
    }
}
