//! A pool as the mathematics sees it.

use pando_routing::balance::outlier::{Conduct, Members};
use pando_routing::balance::pick::Candidates;

use super::Tried;
use crate::live::Endpoint;
use crate::snapshot::PoolView;

/// Who may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Those in rotation.
    Ready,
    /// Those that might serve, though they are not in rotation.
    Hopeful,
}

/// A pool's active endpoints, as one request sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) pool: &'a PoolView,
    pub(super) tried: &'a Tried,
    pub(super) among: Among,
    pub(super) now: u64,
    /// Of the pool's answers, in microseconds.
    pub(super) median: f64,
}

impl View<'_> {
    /// Whether it could have this request if it weren't for its limit.
    pub(super) fn would(&self, n: usize) -> bool {
        let endpoint = &self.pool.active[n];
        let able = match self.among {
            Among::Ready => self.pool.is_ready(endpoint),
            Among::Hopeful => endpoint.is_hopeful(),
        };
        able && !self.tried.has(endpoint.id)
    }
}

impl Candidates for View<'_> {
    fn count(&self) -> usize {
        self.pool.active.len()
    }

    fn may(&self, n: usize) -> bool {
        self.would(n) && !self.pool.is_full(&self.pool.active[n])
    }

    fn weight(&self, n: usize) -> u32 {
        self.pool.weights[n]
    }

    fn heaviest(&self) -> u32 {
        self.pool.heaviest
    }

    fn warmth(&self, n: usize) -> u32 {
        self.pool.active[n].warmth()
    }

    fn in_flight(&self, n: usize) -> u64 {
        self.pool.active[n].in_flight()
    }

    fn cost(&self, n: usize) -> f64 {
        self.pool.active[n].ewma.cost(self.now, self.median)
    }
}

/// A pool's active endpoints, as ejecting sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct All<'a>(pub(super) &'a PoolView);

impl Members for All<'_> {
    fn count(&self) -> usize {
        self.0.active.len()
    }

    fn conduct(&self, n: usize) -> &Conduct {
        &self.0.active[n].conduct
    }

    fn able(&self, n: usize) -> bool {
        self.0.active[n].in_rotation()
    }
}

impl PoolView {
    /// Whether it gets requests, as far as it isn't full.
    pub(crate) fn is_ready(&self, endpoint: &Endpoint) -> bool {
        endpoint.in_rotation() && (self.settings.outlier.is_none() || endpoint.conduct.is_in())
    }

    /// Whether it has as many requests as it may.
    pub(crate) fn is_full(&self, endpoint: &Endpoint) -> bool {
        self.is_limited() && endpoint.in_flight() >= self.most(endpoint)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.settings.max_in_flight.is_some() || self.settings.adaptive_limit.is_some()
    }

    /// How many requests it may have under way.
    pub(crate) fn most(&self, endpoint: &Endpoint) -> u64 {
        let fixed = self.settings.max_in_flight.map_or(u64::MAX, u64::from);
        let found =
            self.settings.adaptive_limit.as_ref().map_or(u64::MAX, |limit| endpoint.limit.most(limit));
        fixed.min(found).saturating_sub(endpoint.elsewhere())
    }
}
