//! Which endpoint gets the next request.
//!
//! The caller shows its endpoints as [`Candidates`], sorted by tier, and keeps one
//! [`Picker`] per pool and worker. Nothing is locked and no memory is taken. What a
//! candidate answers may change while it is asked, since other workers are at it too:
//! then the choice is one that was right a moment ago, never none without need.

mod least;
mod turn;
mod two;

#[cfg(test)]
mod tests;

use super::hash::Places;
use super::tier::Tiers;
use super::warm;
use crate::table::{Algorithm, EndpointId};
use turn::Smooth;

/// Endpoints by index, as one request sees them.
pub trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;

    /// Whether it may get this request: in rotation, not ejected, not full, not tried before.
    fn may(&self, n: usize) -> bool;

    /// Its part relative to others, 1 to 256.
    fn weight(&self, n: usize) -> u32;

    /// The greatest weight, or any bound above it: one number a table.
    fn heaviest(&self) -> u32;

    /// Its [`warm::factor`]; [`warm::FULL`] when it is warm.
    fn warmth(&self, n: usize) -> u32;

    /// Requests under way there.
    fn in_flight(&self, n: usize) -> u64;

    /// What a request there is expected to take, in any unit: its [`RTT`](super::ewma::PeakEwma::cost). Above 0.
    fn cost(&self, n: usize) -> f64;
}

/// How to choose.
#[derive(Debug, Clone, Copy)]
pub enum Method<'a> {
    /// Each in turn, all alike; the weight doesn't count.
    RoundRobin,
    /// In turn by weight, as nginx does: never two in a row where it can be spread.
    WeightedRoundRobin,
    /// The fewest requests in flight by weight; equals share by weight.
    LeastConnections,
    /// Of two drawn by weight, the one with fewer in flight by weight (Mitzenmacher, 2001).
    PowerOfTwo,
    /// Of two drawn, the one with the lesser `cost × (in flight + 1) / weight` (Finagle's and linkerd's peak EWMA).
    PeakEwma,
    /// Where the key's hash belongs while that one is not overloaded; slow start doesn't count, since a key that moved twice
    /// would have been cached in vain. Without a key: [`Method::PowerOfTwo`].
    Hash { places: &'a Places, key: Option<u64> },
}

impl<'a> Method<'a> {
    /// The table's algorithm for one request: `places` of the table's endpoints and the hash of what the request shows, if the
    /// algorithm asks for them. Without places too, hash is [`Method::PowerOfTwo`].
    #[must_use]
    pub fn of(algorithm: &Algorithm, places: Option<&'a Places>, key: Option<u64>) -> Self {
        match (algorithm, places) {
            (Algorithm::RoundRobin, _) => Self::RoundRobin,
            (Algorithm::WeightedRoundRobin, _) => Self::WeightedRoundRobin,
            (Algorithm::LeastConnections, _) => Self::LeastConnections,
            (Algorithm::PeakEwma, _) => Self::PeakEwma,
            (Algorithm::Hash { .. }, Some(places)) => Self::Hash { places, key },
            (Algorithm::PowerOfTwo | Algorithm::Hash { .. }, _) => Self::PowerOfTwo,
        }
    }
}

/// Whose turn it is in one pool, for one worker.
#[derive(Debug, Clone, Default)]
pub struct Picker {
    turn: u64,
    smooth: Smooth,
}

impl Picker {
    /// The endpoints in the order of the candidates to come. Call it again whenever that changes: who stays keeps its turn.
    pub fn renew(&mut self, endpoints: impl IntoIterator<Item = EndpointId>) {
        self.smooth.renew(endpoints.into_iter().collect());
    }

    /// The next pick is in that turn: where several pickers count together, so that they share alike over all.
    pub fn set_turn(&mut self, turn: u64) {
        self.turn = turn.wrapping_sub(1);
    }

    /// The index of an endpoint that may, of the first tier that has one. `None`: nobody may. `tiers` are those of the
    /// candidates; `random` is drawn anew for each call.
    ///
    /// Takes two passes over a tier in turn, least connections and hash, and a fixed number of steps for the choices between
    /// two as long as most of a tier may.
    #[must_use]
    pub fn pick(
        &mut self,
        method: Method<'_>,
        tiers: &Tiers,
        candidates: &impl Candidates,
        random: u64,
    ) -> Option<usize> {
        self.turn = self.turn.wrapping_add(1);
        tiers.ranges().find_map(|tier| {
            let tier = tier.start..tier.end.min(candidates.count());
            let choice = Choice { candidates, tier, random };
            match method {
                Method::RoundRobin if !choice.has_cold() => choice.in_turn(self.turn),
                Method::RoundRobin => self.smooth.pick(&choice, |n| candidates.warmth(n)),
                Method::WeightedRoundRobin => self.smooth.pick(&choice, |n| choice.warm_weight(n)),
                Method::LeastConnections => choice.least(self.turn),
                Method::PowerOfTwo | Method::Hash { key: None, .. } => choice.lighter_of_two(),
                Method::PeakEwma => choice.cheaper_of_two(),
                Method::Hash { places, key: Some(key) } => places.find(key, candidates, choice.tier),
            }
        })
    }
}

/// One tier, asked for one request.
struct Choice<'a, C> {
    candidates: &'a C,
    tier: std::ops::Range<usize>,
    random: u64,
}

impl<C: Candidates> Choice<'_, C> {
    /// Those that may.
    fn able(&self) -> impl Iterator<Item = usize> {
        self.tier.clone().filter(|n| self.candidates.may(*n))
    }

    fn has_cold(&self) -> bool {
        self.tier.clone().any(|n| self.candidates.warmth(n) < warm::FULL)
    }

    /// Its weight with its slow start in it: 1 to 65,536.
    fn warm_weight(&self, n: usize) -> u32 {
        let weight = self.candidates.weight(n).clamp(1, 256);
        (weight * self.candidates.warmth(n).min(warm::FULL)).max(1)
    }
}
