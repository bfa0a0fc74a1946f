//! The better of two that were drawn: nearly as good as asking all, at a fixed price,
//! and without everybody running to the same one.

use super::{Candidates, Choice};
use crate::balance::random::Draws;
use crate::balance::warm;

/// After so many vain draws the tier is counted through. With half of a tier able it comes to that once in 256 picks.
const DRAWS: u32 = 8;

/// What is drawn from: whom, and how often relative to others.
struct Urn<'c, 'a, C> {
    choice: &'c Choice<'a, C>,
    /// Draw by weight, or all alike.
    by_weight: bool,
    /// Leave out those that warm up as often as their factor says.
    thinned: bool,
}

impl<C: Candidates> Choice<'_, C> {
    /// The lesser `in flight / weight` of two distinct ones drawn by weight; of equals the first, so that an idle pool is shared
    /// by weight.
    pub(super) fn lighter_of_two(&self) -> Option<usize> {
        self.better(true, |a, b| {
            let weight = |n| u64::from(self.candidates.weight(n).max(1));
            let load = |n, other| self.candidates.in_flight(n).saturating_mul(weight(other));
            load(b, a) < load(a, b)
        })
    }

    /// The lesser `cost × (in flight + 1) / weight` of two distinct ones, all drawn alike.
    pub(super) fn cheaper_of_two(&self) -> Option<usize> {
        let cost = |n| {
            let weight = f64::from(self.candidates.weight(n).max(1));
            self.candidates.cost(n) * (self.candidates.in_flight(n) as f64 + 1.0) / weight
        };
        self.better(false, |a, b| cost(b) < cost(a))
    }

    fn better(&self, by_weight: bool, second_is_better: impl Fn(usize, usize) -> bool) -> Option<usize> {
        let mut draws = Draws::new(self.random);
        let urn = Urn { choice: self, by_weight, thinned: true };
        // When nobody but those that warm up may, holding back would refuse the request.
        let whole = Urn { choice: self, by_weight, thinned: false };
        let (urn, first) = match urn.draw(&mut draws, None) {
            Some(first) => (&urn, first),
            None => (&whole, whole.draw(&mut draws, None)?),
        };
        match urn.draw(&mut draws, Some(first)) {
            Some(second) if second_is_better(first, second) => Some(second),
            _ => Some(first),
        }
    }
}

impl<C: Candidates> Urn<'_, '_, C> {
    /// One of those that may but for `other`.
    fn draw(&self, draws: &mut Draws, other: Option<usize>) -> Option<usize> {
        let tier = &self.choice.tier;
        let most = if self.by_weight { self.choice.candidates.heaviest().clamp(1, 256) } else { 1 };
        for _ in 0..DRAWS.min(u32::try_from(tier.len()).unwrap_or(DRAWS)) {
            let n = tier.start + draws.index(tier.len());
            let share = u64::from(self.share(n, other));
            if share > 0 && (share >= u64::from(most) || draws.below(most.into()) < share) {
                return Some(n);
            }
        }
        self.count_through(draws, other)
    }

    /// The same by looking at all of them.
    fn count_through(&self, draws: &mut Draws, other: Option<usize>) -> Option<usize> {
        let shares = || self.choice.tier.clone().map(|n| (n, u64::from(self.share(n, other))));
        let mut point = draws.below(shares().map(|(_, share)| share).sum());
        let mut last = None;
        for (n, share) in shares().filter(|(_, share)| *share > 0) {
            last = Some(n);
            match point.checked_sub(share) {
                Some(rest) => point = rest,
                None => break,
            }
        }
        last
    }

    /// How often it is to be drawn relative to others; 0 for not at all.
    fn share(&self, n: usize, other: Option<usize>) -> u32 {
        let candidates = self.choice.candidates;
        let admits = || warm::admits(candidates.warmth(n), self.choice.random, n);
        if Some(n) == other || !candidates.may(n) || (self.thinned && !admits()) {
            0
        } else if self.by_weight {
            candidates.weight(n).clamp(1, 256)
        } else {
            1
        }
    }
}
