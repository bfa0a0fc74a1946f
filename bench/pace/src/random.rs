//! Random gaps between requests, the same in every run, so that every proxy gets the same sequence.

/// xorshift64*: good enough to spread requests over time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        // Seeds next to each other must not begin alike, and zero would stay zero.
        let mut random = Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// From the exponential distribution with a mean of one.
    pub(crate) fn exponential(&mut self) -> f64 {
        // 53 bits are what a float holds exactly; adding one keeps zero out of the logarithm.
        let uniform = ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        -uniform.ln()
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn gaps_have_the_mean_and_the_spread_of_a_poisson_process() {
        let mut random = Random::seeded(7);
        let gaps: Vec<f64> = (0..100_000).map(|_| random.exponential()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let over_three = gaps.iter().filter(|gap| **gap > 3.0).count();
        assert!((0.98..1.02).contains(&mean), "{mean}");
        // e⁻³ of them, about 4,979.
        assert!((4_700..5_300).contains(&over_three), "{over_three}");
    }
}
