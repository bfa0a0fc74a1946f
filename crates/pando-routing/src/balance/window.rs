//! Two counters over the last ten seconds, exact to the second, shared by all workers.
//!
//! Ten buckets of a second each; a bucket's second and its two counts stand in one
//! atomic word, so that a count is never added to another second's. An average that
//! fades would hide a burst, or remember one for minutes; this one forgets on time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::SECOND;

/// The window, in buckets of a second.
pub(super) const SECONDS: u64 = 10;
const BUCKETS: usize = 10;

const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const SECOND_MASK: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

#[derive(Debug, Default)]
pub(super) struct Window([AtomicU64; BUCKETS]);

/// Which of the two to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    First,
    Second,
}

/// One bucket's word, taken apart.
#[derive(Clone, Copy)]
struct Bucket {
    /// Goes round after half a year; the bucket of just that age would need to have stood still all the time.
    second: u64,
    first: u64,
    second_column: u64,
}

impl Window {
    /// One more. A second holds a million of each; what is beyond is not counted.
    pub(super) fn add(&self, column: Column, now: u64) {
        let second = now / SECOND;
        let Some(bucket) = usize::try_from(second % SECONDS).ok().and_then(|n| self.0.get(n)) else { return };
        let second = second & SECOND_MASK;
        let _ = bucket
            .try_update(Relaxed, Relaxed, |word| Bucket::of(word).with(column, second).map(Bucket::word));
    }

    /// Both counts of the last ten seconds, of which the one under way is the tenth.
    pub(super) fn sums(&self, now: u64) -> (u64, u64) {
        let second = (now / SECOND) & SECOND_MASK;
        let counts = self.0.iter().map(|bucket| Bucket::of(bucket.load(Relaxed)));
        counts
            .filter(|bucket| bucket.is_within(second))
            .fold((0, 0), |(first, other), bucket| (first + bucket.first, other + bucket.second_column))
    }

    pub(super) fn reset(&self) {
        self.0.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }
}

impl Bucket {
    fn of(word: u64) -> Self {
        Self {
            second: word >> (2 * COUNT_BITS),
            first: (word >> COUNT_BITS) & COUNT_MASK,
            second_column: word & COUNT_MASK,
        }
    }

    fn word(self) -> u64 {
        (self.second << (2 * COUNT_BITS)) | (self.first << COUNT_BITS) | self.second_column
    }

    /// One more of that second; what was counted in an earlier one is over. `None`: it doesn't change.
    fn with(self, column: Column, second: u64) -> Option<Self> {
        let mut next = if self.second == second { self } else { Self { second, first: 0, second_column: 0 } };
        let count = match column {
            Column::First => &mut next.first,
            Column::Second => &mut next.second_column,
        };
        *count = (*count < COUNT_MASK).then_some(*count + 1)?;
        Some(next)
    }

    /// Another worker may be a second ahead.
    fn is_within(self, now_second: u64) -> bool {
        let age = now_second.wrapping_sub(self.second) & SECOND_MASK;
        age < SECONDS || age == SECOND_MASK
    }
}

#[cfg(test)]
mod tests;
