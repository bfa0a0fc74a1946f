//! The one with the least to do.

use super::{Candidates, Choice};
use crate::balance::random::{GOLDEN, share_of};

/// Those with the least load found so far.
#[derive(Clone, Copy)]
struct Least {
    first: usize,
    in_flight: u64,
    weight: u32,
    /// How many have just that load, and their weights together.
    equals: u64,
    weights: u64,
    /// Whether those weights are all the same.
    alike: bool,
}

impl<C: Candidates> Choice<'_, C> {
    /// The least `in flight / weight`. Equals take turns, by weight where it differs.
    pub(super) fn least(&self, turn: u64) -> Option<usize> {
        let least = self.find_least()?;
        if least.equals == 1 {
            return Some(least.first);
        }
        let (bound, step) = if least.alike {
            (least.equals, turn % least.equals)
        } else {
            (least.weights, share_of(turn.wrapping_mul(GOLDEN), least.weights))
        };
        debug_assert!(step < bound);
        Some(self.nth_equal(least, step))
    }

    fn find_least(&self) -> Option<Least> {
        let mut least: Option<Least> = None;
        for n in self.able() {
            let (in_flight, weight) = (self.candidates.in_flight(n), self.warm_weight(n));
            let one = Least { first: n, in_flight, weight, equals: 1, weights: weight.into(), alike: true };
            least = Some(match least {
                None => one,
                Some(held) => match load(in_flight, held.weight).cmp(&load(held.in_flight, weight)) {
                    std::cmp::Ordering::Less => one,
                    std::cmp::Ordering::Greater => held,
                    std::cmp::Ordering::Equal => held.with(weight),
                },
            });
        }
        least
    }

    /// The equal at which the `step` falls, each as wide as its weight, or all of width 1 when they weigh the same.
    fn nth_equal(&self, least: Least, mut step: u64) -> usize {
        for n in self.able() {
            let weight = self.warm_weight(n);
            if load(self.candidates.in_flight(n), least.weight) > load(least.in_flight, weight) {
                continue;
            }
            let width = if least.alike { 1 } else { u64::from(weight) };
            match step.checked_sub(width) {
                Some(rest) => step = rest,
                None => return n,
            }
        }
        // Between the two looks one has got more to do.
        least.first
    }
}

impl Least {
    fn with(self, weight: u32) -> Self {
        Self {
            equals: self.equals + 1,
            weights: self.weights + u64::from(weight),
            alike: self.alike && weight == self.weight,
            ..self
        }
    }
}

/// One side of `a / x < b / y`, which is `a × y < b × x`.
fn load(in_flight: u64, weight_of_other: u32) -> u64 {
    in_flight.saturating_mul(weight_of_other.into())
}
