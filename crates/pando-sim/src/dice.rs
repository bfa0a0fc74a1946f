//! Randomness from a seed: the same seed and purpose give the same throws, on every machine.

use pando_model::id::Entropy;
use uuid::Uuid;

/// Throws for one purpose. Purposes have dice of their own, so that a change of one disturbs the others little.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Entropy);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a: short, and the same everywhere.
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut entropy = Entropy::from_seed(seed ^ hash);
        entropy.next_u64();
        Self(entropy)
    }

    pub(crate) fn entropy(&mut self) -> &mut Entropy {
        &mut self.0
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 up to and without `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound.max(1)
    }

    /// Both ends may come.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// As [`Dice::between`], with each order of magnitude as likely as the next.
    pub(crate) fn magnitude(&mut self, least: u64, most: u64) -> u64 {
        let doublings = u64::from((most / least.max(1)).max(1).ilog2());
        let low = least << self.below(doublings + 1);
        self.between(low, (low * 2).min(most).max(low))
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// `None` when there is nothing to pick from.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.word(), self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_stay_between_their_ends() {
        let mut dice = Dice::new(1, "test");
        for _ in 0..1000 {
            assert!((3..=7).contains(&dice.between(3, 7)));
            assert!((10..=5000).contains(&dice.magnitude(10, 5000)));
            assert!(dice.below(4) < 4);
        }
        assert_eq!((dice.below(0), dice.between(5, 5)), (0, 5));
        assert!(!dice.chance(0) && dice.chance(100));
    }

    #[test]
    fn purposes_throw_differently_and_seeds_repeat() {
        let throws = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            [dice.word(), dice.word(), dice.word()]
        };
        assert_eq!(throws(7, "network"), throws(7, "network"));
        assert_ne!(throws(7, "network"), throws(7, "faults"));
        assert_ne!(throws(7, "network"), throws(8, "network"));
    }
}
