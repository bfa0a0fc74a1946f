//! Totals since the proxy started, raised by requests as they end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pando_routing::{Latency, PoolId, PoolStats};

/// Totals of one pool; live on from table to table.
#[derive(Debug)]
pub(crate) struct PoolCounters {
    pub(crate) id: PoolId,
    classes: [AtomicU64; 5],
    failed: AtomicU64,
    unready: AtomicU64,
    busy: AtomicU64,
    retries: AtomicU64,
    retries_denied: AtomicU64,
    ejections: AtomicU64,
    failed_open: AtomicU64,
    cancelled: AtomicU64,
    latency: Box<[AtomicU64]>,
    latency_micros: AtomicU64,
}

impl PoolCounters {
    pub(crate) fn new(id: PoolId) -> Self {
        let latency = (0..Latency::BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self {
            id,
            classes: Default::default(),
            failed: AtomicU64::new(0),
            unready: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            retries_denied: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            failed_open: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            latency,
            latency_micros: AtomicU64::new(0),
        }
    }

    /// An answer reached its last byte.
    pub(crate) fn whole(&self, status: u16, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.classes[class_of(status)].fetch_add(1, Relaxed);
        self.latency[Latency::bucket_of(micros)].fetch_add(1, Relaxed);
        self.latency_micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// A failure because nothing was in rotation.
    pub(crate) fn unready(&self) {
        self.unready.fetch_add(1, Relaxed);
    }

    /// A failure because every endpoint had as many requests as it may.
    pub(crate) fn busy(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    /// A try that was not made, for want of budget.
    pub(crate) fn retry_denied(&self) {
        self.retries_denied.fetch_add(1, Relaxed);
    }

    pub(crate) fn ejected(&self) {
        self.ejections.fetch_add(1, Relaxed);
    }

    /// A request went to an endpoint out of rotation, since nobody was in it.
    pub(crate) fn failed_open(&self) {
        self.failed_open.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    pub(crate) fn latency_micros(&self) -> u64 {
        self.latency_micros.load(Relaxed)
    }

    pub(crate) fn read(&self) -> PoolStats {
        let by_class: [u64; 5] = std::array::from_fn(|class| self.classes[class].load(Relaxed));
        let mut buckets: Vec<u64> = self.latency.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let used = buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        buckets.truncate(used);
        PoolStats {
            requests: by_class.iter().sum(),
            by_class,
            failed: self.failed.load(Relaxed),
            unready: self.unready.load(Relaxed),
            busy: self.busy.load(Relaxed),
            retries: self.retries.load(Relaxed),
            retries_denied: self.retries_denied.load(Relaxed),
            ejections: self.ejections.load(Relaxed),
            failed_open: self.failed_open.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            latency: Latency { buckets },
        }
    }
}

/// Totals of one endpoint; live as long as its id is in the table.
#[derive(Debug, Default)]
pub(crate) struct EndpointCounters {
    classes: [AtomicU64; 5],
    failed: AtomicU64,
}

impl EndpointCounters {
    pub(crate) fn whole(&self, status: u16) {
        self.classes[class_of(status)].fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn by_class(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.classes[class].load(Relaxed))
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.load(Relaxed)
    }
}

/// 1xx is 0, 5xx and whatever lies beyond is 4.
fn class_of(status: u16) -> usize {
    usize::from(status / 100).clamp(1, 5) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_reads_what_was_counted() {
        let pool = PoolCounters::new(PoolId("p".to_owned()));
        assert_eq!(pool.read(), PoolStats::default());
        for (status, millis) in [(200, 1), (204, 2), (404, 3), (503, 4), (999, 5), (101, 6)] {
            pool.whole(status, Duration::from_millis(millis));
        }
        pool.failed();
        pool.retried();
        pool.cancelled();
        let stats = pool.read();
        assert_eq!((stats.requests, stats.by_class), (6, [1, 2, 0, 1, 2]));
        assert_eq!((stats.failed, stats.retries, stats.cancelled), (1, 1, 1));
        assert_eq!(stats.latency.count(), 6);
        assert_eq!(pool.latency_micros(), 21_000);
    }
}
