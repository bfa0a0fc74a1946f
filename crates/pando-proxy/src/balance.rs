//! Which endpoint gets the next request.
//!
//! Choosing looks at a slice and two functions of an index, so that it can be tried
//! without an endpoint. It takes no lock and no memory. Those that the table prefers
//! stand first and are asked first; nobody else is while one of them can serve.

use std::sync::atomic::Ordering::Relaxed;

use pando_routing::{Algorithm, EndpointId};

use crate::live::Lease;
use crate::snapshot::PoolView;

/// What came of asking a pool for an endpoint.
#[derive(Debug)]
pub(crate) enum Picked {
    Lease(Lease),
    /// The chosen one began to drain meanwhile: a newer snapshot knows better.
    Stale,
    /// Nobody is in rotation, or nobody but those that were tried.
    Nobody,
}

/// A request is tried at so many endpoints. HAProxy's default of three retries, of which the last goes elsewhere, comes to the same
/// when two replicas died with their server.
const MOST_TRIES: usize = 3;

/// Where a request was tried in vain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tried([Option<EndpointId>; MOST_TRIES]);

impl Tried {
    /// One more; whether yet another may follow.
    pub(crate) fn add(&mut self, id: EndpointId) -> bool {
        if let Some(free) = self.0.iter_mut().find(|tried| tried.is_none()) {
            *free = Some(id);
        }
        self.0.iter().any(Option::is_none)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    fn has(&self, id: EndpointId) -> bool {
        !self.is_empty() && self.0.contains(&Some(id))
    }
}

/// Begins a request on one of the pool's endpoints that it was not tried at.
pub(crate) fn pick(pool: &PoolView, tried: &Tried) -> Picked {
    let endpoints = &pool.active;
    let turn = pool.live.turn.fetch_add(1, Relaxed);
    let may = |n: usize| endpoints[n].in_rotation() && !tried.has(endpoints[n].id);
    let among = |count: usize| match pool.algorithm {
        Algorithm::RoundRobin => in_turn(count, turn, may),
        // What is not weighed here yet goes by connections, the nearest to it.
        _ => least(count, turn, may, |n| endpoints[n].in_flight()),
    };
    let near = if pool.local > 0 { among(pool.local) } else { None };
    let chosen = near.or_else(|| among(endpoints.len()));
    match chosen.map(|n| endpoints[n].begin()) {
        Some(Some(lease)) => Picked::Lease(lease),
        Some(None) => Picked::Stale,
        None => Picked::Nobody,
    }
}

/// The `turn`-th of those that may, counted round; so that those that may share alike, wherever they stand.
fn in_turn(count: usize, turn: usize, may: impl Fn(usize) -> bool) -> Option<usize> {
    let able = (0..count).filter(|n| may(*n)).count();
    if able == 0 {
        return None;
    }
    // Between the two looks one may have dropped out; then any other will do.
    (0..count).filter(|n| may(*n)).nth(turn % able).or_else(|| (0..count).find(|n| may(*n)))
}

/// Of those that may, one with the least load; among equals the turn decides.
fn least(
    count: usize,
    turn: usize,
    may: impl Fn(usize) -> bool,
    load: impl Fn(usize) -> u64,
) -> Option<usize> {
    (0..count).map(|n| (n + turn) % count).filter(|n| may(*n)).min_by_key(|n| load(*n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_shared_alike_by_those_in_rotation() {
        let may = |n: usize| n != 1;
        let mut shares = [0; 4];
        for turn in 0..300 {
            shares[in_turn(4, turn, may).unwrap()] += 1;
        }
        assert_eq!(shares, [100, 0, 100, 100]);
        assert_eq!(in_turn(4, 7, |_| false), None);
        assert_eq!(in_turn(0, 7, |_| true), None);
    }

    #[test]
    fn one_that_drops_out_between_the_looks_is_passed_over() {
        let looks = std::cell::Cell::new(0);
        let may = |n: usize| {
            looks.set(looks.get() + 1);
            n == 0 || looks.get() <= 2
        };
        assert_eq!(in_turn(2, 1, may), Some(0));
    }

    #[test]
    fn the_least_loaded_wins_and_equals_take_turns() {
        let loads = [2, 1, 1, 0];
        assert_eq!(least(4, 0, |_| true, |n| loads[n]), Some(3));
        assert_eq!(least(4, 1, |n| n != 3, |n| loads[n]), Some(1));
        assert_eq!(least(4, 2, |n| n != 3, |n| loads[n]), Some(2));
        assert_eq!(least(4, 0, |_| false, |n| loads[n]), None);
        assert_eq!(least(0, 3, |_| true, |_| 0), None);
    }
}
