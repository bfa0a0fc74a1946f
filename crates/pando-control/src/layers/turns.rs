//! One upload of a layer at a time; one that stands still gives way.
//!
//! Whoever was cut off comes back before the network has told anybody, and must not
//! wait for its own former self.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pando_model::release::Digest;

/// Two seconds without a byte: then somebody else may go on.
const STALE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Turns {
    began: Instant,
    stale: Duration,
    /// When each upload last moved, in milliseconds since `began`.
    held: Mutex<BTreeMap<Digest, Arc<AtomicU64>>>,
}

/// Of one layer, until it is dropped or taken over.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    diff_id: Digest,
    moved: Arc<AtomicU64>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { began: Instant::now(), stale: STALE, held: Mutex::default() }
    }
}

impl Turns {
    /// `None`: somebody sends it just now.
    #[must_use]
    pub fn take(self: &Arc<Self>, diff_id: &Digest) -> Option<Turn> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, stale) = (self.now(), u64::try_from(self.stale.as_millis()).unwrap_or(u64::MAX));
        let moves = |moved: &Arc<AtomicU64>| now.saturating_sub(moved.load(Ordering::Relaxed)) < stale;
        if held.get(diff_id).is_some_and(moves) {
            return None;
        }
        let moved = Arc::new(AtomicU64::new(now));
        held.insert(diff_id.clone(), Arc::clone(&moved));
        drop(held);
        Some(Turn { turns: Arc::clone(self), diff_id: diff_id.clone(), moved })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Turn {
    pub(super) fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Something came. False: somebody else goes on with this layer.
    pub(super) fn moved(&self) -> bool {
        self.moved.store(self.turns.now(), Ordering::Relaxed);
        let held = self.turns.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&self.diff_id).is_some_and(|current| Arc::ptr_eq(current, &self.moved))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut held = self.turns.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&self.diff_id).is_some_and(|current| Arc::ptr_eq(current, &self.moved)) {
            held.remove(&self.diff_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Digest {
        Digest::new("a".repeat(64)).unwrap()
    }

    #[test]
    fn one_at_a_time_until_it_is_done() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(&layer()).unwrap();
        assert!(turns.take(&layer()).is_none());
        assert!(turns.take(&Digest::new("b".repeat(64)).unwrap()).is_some());
        assert!(first.moved());
        drop(first);
        assert!(turns.take(&layer()).is_some());
    }

    #[test]
    fn whoever_stands_still_gives_way_and_learns_of_it() {
        let turns = Arc::new(Turns { stale: Duration::ZERO, ..Turns::default() });
        let first = turns.take(&layer()).unwrap();
        let second = turns.take(&layer()).unwrap();
        assert!(second.moved() && !first.moved());
        drop(first);
        assert!(second.moved(), "the one before takes nothing away");
    }
}
