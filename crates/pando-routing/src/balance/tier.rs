//! In which order endpoints are asked: by priority, within it the near before the far.
//!
//! Tiers are built once a table; for a request they are a few ranges of indices. The
//! first in which somebody may serve is the one that serves: a tier behind it gets
//! nothing, however loaded the first may be.

use std::ops::Range;

/// The order of one pool's endpoints, and where each tier ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tiers {
    order: Box<[usize]>,
    ends: Box<[usize]>,
}

impl Tiers {
    /// `(priority, near)` of each endpoint, in the table's order. A lower priority serves first.
    #[must_use]
    pub fn new(endpoints: &[(u8, bool)]) -> Self {
        let key = |n: &usize| (endpoints[*n].0, !endpoints[*n].1);
        let mut order: Vec<usize> = (0..endpoints.len()).collect();
        order.sort_by_key(key);
        let ends = (1..=order.len()).filter(|n| order.get(*n).map(key) != order.get(n - 1).map(key));
        Self { ends: ends.collect(), order: order.into() }
    }

    /// All alike.
    #[must_use]
    pub fn one(count: usize) -> Self {
        Self { order: (0..count).collect(), ends: (count > 0).then_some(count).into_iter().collect() }
    }

    /// How to sort the endpoints so that [`Self::ranges`] holds: the table's index of each, the first tier's first, otherwise in
    /// the table's order.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The tiers as ranges of the sorted endpoints; together all of them, each once.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied()).map(|(start, end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_goes_before_nearness_and_the_tables_order_is_kept() {
        let tiers = Tiers::new(&[(1, true), (0, false), (0, true), (0, false), (2, false)]);
        assert_eq!(tiers.order(), [2, 1, 3, 0, 4]);
        assert_eq!(tiers.ranges().collect::<Vec<_>>(), [0..1, 1..3, 3..4, 4..5]);
    }

    #[test]
    fn alike_is_one_tier_and_nobody_is_none() {
        assert_eq!(Tiers::new(&[(3, true), (3, true)]), Tiers::one(2));
        assert_eq!(Tiers::new(&[]), Tiers::one(0));
        assert_eq!(Tiers::one(0).ranges().count(), 0);
        assert!(Tiers::one(2).ranges().eq([0..2, 2..2].into_iter().take(1)));
    }
}
