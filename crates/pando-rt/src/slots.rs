//! Places for transfers: a bounded number for each key.
//!
//! A place belongs to whoever holds it, until it is dropped, or a moment longer when
//! the other end needs that to make use of what it got. One whose transfer stands
//! still counts no more: the other end may be gone without a word, and those who wait
//! should not wait for the network to notice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `most` places for each key.
#[derive(Debug)]
pub struct Slots<K> {
    most: usize,
    stale: Duration,
    began: Instant,
    /// When each transfer last moved, in milliseconds since `began`.
    held: Mutex<BTreeMap<K, Vec<Arc<AtomicU64>>>>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Slot<K: Ord> {
    slots: Arc<Slots<K>>,
    key: K,
    moved: Arc<AtomicU64>,
    lingers: AtomicBool,
}

impl<K: Ord + Clone> Slots<K> {
    /// A transfer that moved nothing for `stale` is not counted.
    #[must_use]
    pub fn new(most: usize, stale: Duration) -> Arc<Self> {
        Arc::new(Self { most, stale, began: Instant::now(), held: Mutex::default() })
    }

    /// `None`: all are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, key: K) -> Option<Slot<K>> {
        self.take_at(key, self.now())
    }

    fn take_at(self: &Arc<Self>, key: K, now: u64) -> Option<Slot<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = millis(self.stale);
        let counts = |moved: &Arc<AtomicU64>| now.saturating_sub(moved.load(Ordering::Relaxed)) < stale;
        // Those that lingered are nobody's any more.
        held.retain(|_, places| {
            places.retain(|moved| counts(moved) || Arc::strong_count(moved) > 1);
            !places.is_empty()
        });
        if held
            .get(&key)
            .is_some_and(|places| places.iter().filter(|moved| counts(moved)).count() >= self.most)
        {
            return None;
        }
        let places = held.entry(key.clone()).or_default();
        let moved = Arc::new(AtomicU64::new(now));
        places.push(Arc::clone(&moved));
        drop(held);
        Some(Slot { slots: Arc::clone(self), key, moved, lingers: AtomicBool::new(false) })
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<K: Ord + Clone> Slot<K> {
    /// Something was transferred.
    pub fn moved(&self) {
        self.moved.store(self.slots.now(), Ordering::Relaxed);
    }

    /// The transfer is over, and the place is to count for so long yet, at most as long as for one that stands still.
    pub fn linger(&self, after: Duration) {
        self.linger_at(self.slots.now(), after);
    }

    fn linger_at(&self, now: u64, after: Duration) {
        let until = now.saturating_add(millis(after.min(self.slots.stale)));
        self.moved.store(until.saturating_sub(millis(self.slots.stale)), Ordering::Relaxed);
        self.lingers.store(true, Ordering::Relaxed);
    }
}

impl<K: Ord> Drop for Slot<K> {
    fn drop(&mut self) {
        if self.lingers.load(Ordering::Relaxed) {
            return;
        }
        let mut held = self.slots.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = held.get_mut(&self.key) {
            places.retain(|moved| !Arc::ptr_eq(moved, &self.moved));
            if places.is_empty() {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_places_and_they_come_back() {
        let slots = Slots::new(2, Duration::from_secs(5));
        let (first, second) = (slots.take("a").unwrap(), slots.take("a").unwrap());
        assert!(slots.take("a").is_none() && slots.take("b").is_some());
        drop(first);
        let third = slots.take("a").unwrap();
        assert!(slots.take("a").is_none());
        drop((second, third));
        assert!(slots.held.lock().unwrap().is_empty());
    }

    #[test]
    fn a_place_may_count_a_moment_longer() {
        let slots = Slots::new(1, Duration::from_secs(5));
        let first = slots.take_at("a", 10_000).unwrap();
        first.linger_at(20_000, Duration::from_secs(1));
        drop(first);
        assert!(slots.take_at("a", 20_999).is_none());
        drop(slots.take_at("b", 20_999));
        let second = slots.take_at("a", 21_000).unwrap();
        second.linger_at(21_000, Duration::from_secs(60));
        drop(second);
        assert!(slots.take_at("a", 25_999).is_none(), "no longer than one that stands still");
        drop(slots.take_at("b", 26_000));
        assert!(slots.held.lock().unwrap().is_empty(), "what lingered is forgotten");
    }

    #[test]
    fn a_transfer_that_stands_still_is_not_counted() {
        let slots = Slots::new(1, Duration::from_secs(5));
        let stuck = slots.take_at("a", 1000).unwrap();
        assert!(slots.take_at("a", 5999).is_none());
        let next = slots.take_at("a", 6000).unwrap();
        next.moved.store(7000, Ordering::Relaxed);
        assert!(slots.take_at("a", 11_000).is_none());
        drop(stuck);
        assert!(slots.take_at("a", 11_000).is_none(), "the place of the other is still taken");
        drop(next);
        assert!(slots.take_at("a", 11_000).is_some());
    }
}
