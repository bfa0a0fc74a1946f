//! Tells when a burst is over, so that its memory goes back to the system.
//!
//! What connections had is freed with them, and kept by the C library for the next. After ten thousand half-open connections that
//! is two hundred megabytes, for good.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::plane::Plane;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Fewer connections than these leave nothing behind that is worth the trouble.
const SMALL: u64 = 500;

/// Looks after the burst before its memory goes back: the next may follow at once.
const CALM: u8 = 2;

/// Gives memory back after each burst, until it is dropped.
pub(crate) async fn watch(plane: Arc<Plane>) {
    let mut bursts = Bursts::default();
    loop {
        tokio::time::sleep(LOOK).await;
        if bursts.look(plane.gauges.open_connections.load(Relaxed)) {
            // Some milliseconds of a thread that has no clients.
            let gave = tokio::task::spawn_blocking(pando_heap::give_back).await;
            tracing::debug!(some = gave.unwrap_or(false), "gave memory back after a burst");
        }
    }
}

/// How many connections there were.
#[derive(Debug, Default)]
struct Bursts {
    /// The most since memory went back.
    most: u64,
    /// How many looks ago that was over.
    calm: u8,
}

impl Bursts {
    /// There are so `many` connections now. True: it's time, since most of a burst's have gone, and no more have come.
    fn look(&mut self, many: u64) -> bool {
        self.most = self.most.max(many);
        let over = self.most - many >= SMALL && many <= self.most / 2;
        self.calm = if over { self.calm + 1 } else { 0 };
        if self.calm <= CALM {
            return false;
        }
        (self.most, self.calm) = (many, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of these looks memory goes back.
    fn given(counts: &[u64]) -> Vec<usize> {
        let mut bursts = Bursts::default();
        (0..counts.len()).filter(|at| bursts.look(counts[*at])).collect()
    }

    #[test]
    fn memory_goes_back_once_when_most_have_gone_for_a_while() {
        assert_eq!(given(&[10, 9000, 9000, 100, 100, 100, 100, 100, 100, 100]), [5]);
        assert_eq!(given(&[9000, 100, 9000, 100, 100, 100]), [5], "the burst went on");
        assert_eq!(given(&[9000, 4000, 4000, 4000, 100, 100, 100]), [3, 6], "by halves");
    }

    #[test]
    fn what_is_no_burst_changes_nothing() {
        for counts in [&[0, 499, 0, 0, 0, 0][..], &[1000, 600, 600, 600, 600], &[0; 9]] {
            assert_eq!(given(counts), [0usize; 0], "{counts:?}");
        }
    }
}
