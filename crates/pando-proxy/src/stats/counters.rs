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
    hedges: AtomicU64,
    hedges_won: AtomicU64,
    ejections: AtomicU64,
    failed_open: AtomicU64,
    cancelled: AtomicU64,
    latency: Box<[AtomicU64]>,
    latency_micros: AtomicU64,
    bytes: Bytes,
    /// Connections to endpoints that were opened, and those that could not be.
    opened: AtomicU64,
    not_opened: AtomicU64,
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
            hedges: AtomicU64::new(0),
            hedges_won: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            failed_open: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            latency,
            latency_micros: AtomicU64::new(0),
            bytes: Bytes::default(),
            opened: AtomicU64::new(0),
            not_opened: AtomicU64::new(0),
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

    /// A request was asked of a second endpoint too.
    pub(crate) fn hedged(&self) {
        self.hedges.fetch_add(1, Relaxed);
    }

    /// And that one answered it.
    pub(crate) fn hedge_won(&self) {
        self.hedges_won.fetch_add(1, Relaxed);
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

    pub(crate) fn moved(&self, moved: Moved) {
        self.bytes.add(moved);
    }

    pub(crate) fn opened(&self, is_open: bool) {
        let count = if is_open { &self.opened } else { &self.not_opened };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn bytes(&self) -> Moved {
        self.bytes.read()
    }

    /// Connections that were opened, and those that could not be.
    pub(crate) fn connections(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.not_opened.load(Relaxed))
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
            hedges: self.hedges.load(Relaxed),
            hedges_won: self.hedges_won.load(Relaxed),
            ejections: self.ejections.load(Relaxed),
            failed_open: self.failed_open.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            latency: Latency { buckets },
        }
    }
}

/// Bytes of bodies, or of what came after an upgrade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// From clients.
    pub(crate) up: u64,
    /// To clients.
    pub(crate) down: u64,
}

/// Totals of [`Moved`].
#[derive(Debug, Default)]
struct Bytes {
    up: AtomicU64,
    down: AtomicU64,
}

impl Bytes {
    fn add(&self, Moved { up, down }: Moved) {
        if up > 0 {
            self.up.fetch_add(up, Relaxed);
        }
        self.down.fetch_add(down, Relaxed);
    }

    fn read(&self) -> Moved {
        Moved { up: self.up.load(Relaxed), down: self.down.load(Relaxed) }
    }
}

/// Latencies by octave alone, for what there may be thousands of.
#[derive(Debug, Default)]
struct Octaves {
    counts: [AtomicU64; OCTAVES + 1],
    micros: AtomicU64,
}

impl Octaves {
    fn add(&self, micros: u64) {
        self.counts[octave_of(micros)].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    fn read(&self) -> ([u64; OCTAVES + 1], u64) {
        (std::array::from_fn(|n| self.counts[n].load(Relaxed)), self.micros.load(Relaxed))
    }
}

/// Totals of one endpoint; live as long as its id is in the table.
#[derive(Debug, Default)]
pub(crate) struct EndpointCounters {
    classes: [AtomicU64; 5],
    failed: AtomicU64,
    bytes: Bytes,
    latency: Octaves,
}

impl EndpointCounters {
    pub(crate) fn moved(&self, moved: Moved) {
        self.bytes.add(moved);
    }

    pub(crate) fn bytes(&self) -> Moved {
        self.bytes.read()
    }

    /// From being asked to the end of its answer.
    pub(crate) fn took(&self, micros: u64) {
        self.latency.add(micros);
    }

    /// Its latencies by octave, and their sum in microseconds.
    pub(crate) fn latency(&self) -> ([u64; OCTAVES + 1], u64) {
        self.latency.read()
    }

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

/// Totals of one named rule, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct RouteCounters {
    classes: [AtomicU64; 5],
    failed: AtomicU64,
    cancelled: AtomicU64,
    retries: AtomicU64,
    bytes: Bytes,
    in_flight: AtomicU64,
    latency: Octaves,
}

/// Bounds of latencies: 2ⁿ µs from 2⁸ on, 0.25 ms to 134 s.
pub(crate) const OCTAVES: usize = 20;

/// The exponent of the first.
pub(crate) const FIRST_OCTAVE: u32 = 8;

/// What [`RouteCounters`] say at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RouteFigures {
    pub(crate) by_class: [u64; 5],
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) retries: u64,
    pub(crate) bytes: Moved,
    pub(crate) in_flight: u64,
    /// By bound; what is beyond the last comes last.
    pub(crate) octaves: [u64; OCTAVES + 1],
    pub(crate) latency_micros: u64,
}

impl RouteCounters {
    pub(crate) fn began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// However it ended.
    pub(crate) fn ended(&self, moved: Moved) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.bytes.add(moved);
    }

    /// An answer reached its last byte.
    pub(crate) fn whole(&self, status: u16, micros: u64) {
        self.classes[class_of(status)].fetch_add(1, Relaxed);
        self.latency.add(micros);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> RouteFigures {
        let (octaves, latency_micros) = self.latency.read();
        RouteFigures {
            by_class: std::array::from_fn(|n| self.classes[n].load(Relaxed)),
            failed: self.failed.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            retries: self.retries.load(Relaxed),
            bytes: self.bytes.read(),
            in_flight: self.in_flight.load(Relaxed),
            octaves,
            latency_micros,
        }
    }
}

impl RouteFigures {
    /// Those of both together.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        let add = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.by_class, &other.by_class);
        add(&mut self.octaves, &other.octaves);
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.retries += other.retries;
        self.bytes.up += other.bytes.up;
        self.bytes.down += other.bytes.down;
        self.in_flight += other.in_flight;
        self.latency_micros += other.latency_micros;
        self
    }
}

/// The first bound that it is below.
fn octave_of(micros: u64) -> usize {
    let bits = (u64::BITS - micros.leading_zeros()).saturating_sub(FIRST_OCTAVE);
    usize::try_from(bits).map_or(OCTAVES, |octave| octave.min(OCTAVES))
}

/// 1xx is 0, 5xx and whatever lies beyond is 4.
fn class_of(status: u16) -> usize {
    usize::from(status / 100).clamp(1, 5) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octaves_are_bounds_of_what_is_below_them() {
        for (micros, octave) in [
            (0, 0),
            (255, 0),
            (256, 1),
            (511, 1),
            (512, 2),
            ((1 << 27) - 1, OCTAVES - 1),
            (1 << 27, OCTAVES),
            (u64::MAX, OCTAVES),
        ] {
            assert_eq!(octave_of(micros), octave, "{micros}");
        }
    }

    #[test]
    fn a_route_reads_what_was_counted_and_adds_up() {
        let route = RouteCounters::default();
        route.began();
        route.began();
        route.whole(200, 300);
        route.ended(Moved { up: 3, down: 7 });
        let figures = route.read();
        assert_eq!((figures.by_class, figures.in_flight), ([0, 1, 0, 0, 0], 1));
        assert_eq!(figures.bytes, Moved { up: 3, down: 7 });
        assert_eq!((figures.octaves[1], figures.latency_micros), (1, 300));
        let twice = figures.and(&figures);
        assert_eq!((twice.by_class[1], twice.in_flight, twice.octaves[1]), (2, 2, 2));
        assert_eq!(twice.bytes, Moved { up: 6, down: 14 });
    }

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
