//! What happens next: events in the order of their time.
//!
//! Events of the same millisecond come in an order that the seed throws: real
//! machines promise nothing there either.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    dice: Dice,
    put: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    tie: u64,
    put: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(crate) fn new(dice: Dice) -> Self {
        Self { heap: BinaryHeap::new(), dice, put: 0 }
    }

    pub(crate) fn put(&mut self, at: u64, event: E) {
        let tie = self.dice.word();
        self.put += 1;
        self.heap.push(Reverse(Entry { at, tie, put: self.put, event }));
    }

    pub(crate) fn take(&mut self) -> Option<(u64, E)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

impl<E> Entry<E> {
    fn key(&self) -> (u64, u64, u64) {
        (self.at, self.tie, self.put)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<u32> {
        let mut queue = Queue::new(Dice::new(seed, "queue"));
        for number in 0..20 {
            queue.put(10, number);
        }
        queue.put(5, 100);
        std::iter::from_fn(|| queue.take().map(|(_, event)| event)).collect()
    }

    #[test]
    fn time_decides_then_the_seed() {
        assert_eq!(order(1)[0], 100);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
