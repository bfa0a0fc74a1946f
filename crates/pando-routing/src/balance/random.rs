//! As many draws as needed from one random number.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
//! number generators", OOPSLA 2014): one multiplication chain a draw, and good
//! enough to choose by; never for secrets.

/// Draws that follow from a first number, always the same ones.
#[derive(Debug, Clone)]
pub struct Draws(u64);

/// 2⁶⁴ divided by the golden ratio: steps of it are spread as evenly as can be.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Draws {
    #[must_use]
    pub fn new(random: u64) -> Self {
        Self(random)
    }

    /// 64 bits more.
    #[must_use]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `bound`; 0 if that is 0. Off an even spread by less than `bound` / 2⁶⁴.
    #[must_use]
    pub fn below(&mut self, bound: u64) -> u64 {
        share_of(self.bits(), bound)
    }

    /// An index below `count`.
    #[must_use]
    pub fn index(&mut self, count: usize) -> usize {
        let bound = u64::try_from(count).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }

    /// At least 0 and below 1.
    #[must_use]
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Every bit of the result depends on every bit of the argument; a bijection.
#[must_use]
pub(crate) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Where `bits`, read as a fraction of 2⁶⁴, falls in `bound`.
#[must_use]
pub fn share_of(bits: u64, bound: u64) -> u64 {
    let product = u128::from(bits) * u128::from(bound);
    u64::try_from(product >> 64).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_the_published_generator() {
        let mut draws = Draws::new(1_234_567);
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        for expected in published {
            assert_eq!(draws.bits(), expected);
        }
    }

    #[test]
    fn draws_stay_below_their_bound_and_reach_all_of_it() {
        let mut draws = Draws::new(7);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            seen[draws.index(6)] += 1;
            assert!((0.0..1.0).contains(&draws.fraction()));
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!((draws.below(0), draws.index(0), draws.below(1)), (0, 0, 0));
    }
}
