//! What the tests of this folder share: a pool of plain numbers, and chi-square.

use super::pick::Candidates;
use super::warm;

#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) may: Vec<bool>,
    pub(crate) weight: Vec<u32>,
    pub(crate) warmth: Vec<u32>,
    pub(crate) in_flight: Vec<u64>,
    pub(crate) cost: Vec<f64>,
}

impl Fake {
    pub(crate) fn new(weights: &[u32]) -> Self {
        let count = weights.len();
        Self {
            may: vec![true; count],
            weight: weights.to_vec(),
            warmth: vec![warm::FULL; count],
            in_flight: vec![0; count],
            cost: vec![10.0; count],
        }
    }
}

impl Candidates for Fake {
    fn count(&self) -> usize {
        self.may.len()
    }

    fn may(&self, n: usize) -> bool {
        self.may[n]
    }

    fn weight(&self, n: usize) -> u32 {
        self.weight[n]
    }

    fn heaviest(&self) -> u32 {
        self.weight.iter().copied().max().unwrap_or(1)
    }

    fn warmth(&self, n: usize) -> u32 {
        self.warmth[n]
    }

    fn in_flight(&self, n: usize) -> u64 {
        self.in_flight[n]
    }

    fn cost(&self, n: usize) -> f64 {
        self.cost[n]
    }
}

/// Pearson's statistic of `seen` against parts in proportion to `expected`.
pub(crate) fn chi_square(seen: &[u64], expected: &[f64]) -> f64 {
    let (all, parts) = (seen.iter().sum::<u64>() as f64, expected.iter().sum::<f64>());
    let term = |(seen, part): (&u64, &f64)| {
        let expected = all * part / parts;
        (*seen as f64 - expected).powi(2) / expected
    };
    seen.iter().zip(expected).map(term).sum()
}

/// What the statistic exceeds once in 10,000 draws, for up to six degrees of freedom.
pub(crate) fn chi_square_limit(degrees: usize) -> f64 {
    [15.14, 18.42, 21.11, 23.51, 25.74, 27.86][degrees - 1]
}

/// Fails, and says with which seed, if the shares are not those expected.
pub(crate) fn assert_shares(seed: u64, seen: &[u64], expected: &[f64]) {
    let (found, limit) = (chi_square(seen, expected), chi_square_limit(seen.len() - 1));
    assert!(found < limit, "seed {seed}: {seen:?} against {expected:?}: chi-square {found:.1} ≥ {limit}");
}
