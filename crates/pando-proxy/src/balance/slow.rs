//! From when on an answer is slow: what most of a pool's answers of the last ten to twenty seconds took less than.

use std::collections::HashMap;
use std::time::Duration;

use pando_routing::{Hedge, Latency, PoolId};

use crate::snapshot::Snapshot;

/// How long one part of the window is, of two.
const PART_MICROS: u64 = 10_000_000;

/// Fewer answers tell nothing.
const FEWEST: u64 = 20;

/// What is known of the pools that ask for it.
#[derive(Debug, Default)]
pub(super) struct Slow(HashMap<PoolId, Window>);

impl Slow {
    /// To be called about once a second.
    pub(super) fn renew(&mut self, snapshot: &Snapshot, now: u64) {
        let mut known = std::mem::take(&mut self.0);
        for pool in snapshot.pools() {
            let Some(policy) = pool.settings.hedge.as_ref().filter(|policy| policy.after_millis.is_none())
            else {
                continue;
            };
            let id = &pool.live.counters.id;
            let total = pool.live.counters.read().latency;
            let mut window = known.remove(id).unwrap_or_else(|| Window::begin(total.clone(), now));
            pool.live.set_slow(window.slow(policy, total, now));
            self.0.insert(id.clone(), window);
        }
    }
}

/// Totals, as they were when this part of the window began, and the one before.
#[derive(Debug)]
struct Window {
    before: Latency,
    begin: Latency,
    began: u64,
}

impl Window {
    fn begin(total: Latency, now: u64) -> Self {
        Self { before: total.clone(), begin: total, began: now }
    }

    fn slow(&mut self, policy: &Hedge, total: Latency, now: u64) -> Option<Duration> {
        let recent = total.since(&self.before);
        if now.saturating_sub(self.began) >= PART_MICROS {
            self.before = std::mem::replace(&mut self.begin, total);
            self.began = now;
        }
        let share = f64::from(policy.percentile) / 100.0;
        (recent.count() >= FEWEST).then(|| recent.quantile_micros(share).map(Duration::from_micros)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(total: &mut Latency, count: u64, micros: u64) {
        let bucket = Latency::bucket_of(micros);
        total.buckets.resize(total.buckets.len().max(bucket + 1), 0);
        total.buckets[bucket] += count;
    }

    #[test]
    fn it_follows_what_answers_take_and_forgets() {
        let policy = Hedge::default();
        let (mut total, mut now) = (Latency::default(), 0);
        let mut window = Window::begin(total.clone(), now);
        add(&mut total, 19, 1_000);
        assert_eq!(window.slow(&policy, total.clone(), now), None, "too few");
        add(&mut total, 76, 1_000);
        add(&mut total, 5, 100_000);
        let slow = window.slow(&policy, total.clone(), now).unwrap();
        assert!((1_000..1_200).contains(&slow.as_micros()), "{slow:?}");
        add(&mut total, 2, 100_000);
        let slow = window.slow(&policy, total.clone(), now).unwrap();
        assert!(slow.as_millis() >= 100, "{slow:?}");
        for _ in 0..2 {
            now += PART_MICROS;
            assert!(window.slow(&policy, total.clone(), now).is_some());
        }
        now += PART_MICROS;
        assert_eq!(window.slow(&policy, total, now), None, "long ago");
    }
}
