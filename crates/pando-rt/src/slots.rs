//! Places for transfers: a bounded number for each key.
//!
//! A place belongs to whoever holds it, until it is dropped. One whose transfer
//! stands still counts no more: the other end may be gone without a word, and
//! those who wait should not wait for the network to notice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
        let stale = u64::try_from(self.stale.as_millis()).unwrap_or(u64::MAX);
        let places = held.entry(key.clone()).or_default();
        let moving = places.iter().filter(|moved| now.saturating_sub(moved.load(Ordering::Relaxed)) < stale);
        if moving.count() >= self.most {
            return None;
        }
        let moved = Arc::new(AtomicU64::new(now));
        places.push(Arc::clone(&moved));
        drop(held);
        Some(Slot { slots: Arc::clone(self), key, moved })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl<K: Ord + Clone> Slot<K> {
    /// Something was transferred.
    pub fn moved(&self) {
        self.moved.store(self.slots.now(), Ordering::Relaxed);
    }
}

impl<K: Ord> Drop for Slot<K> {
    fn drop(&mut self) {
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
