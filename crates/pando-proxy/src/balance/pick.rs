//! An endpoint for a request.
//!
//! A visitor's own first; then an ejected one whose time is over, if this request can be tried elsewhere should that fail; then
//! whoever the pool's algorithm names. Nothing is allocated; a lock is taken, one that only this worker takes, where turns go by
//! weight.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pando_routing::Algorithm;
use pando_routing::balance::SECOND;
use pando_routing::balance::pick::{Method, Picker};
use pando_routing::balance::sticky::{Stay, Token};

use super::view::{All, Among, View};
use super::{Asking, Tried, moment};
use crate::live::endpoint::Begun;
use crate::live::{Endpoint, Lease};
use crate::snapshot::{PoolView, StickyView};

/// What came of asking a pool for an endpoint.
#[derive(Debug)]
pub(crate) enum Picked {
    Chosen(Chosen),
    /// The chosen one changed meanwhile: asking again, or a newer snapshot, knows better.
    Stale,
    /// Those that are in rotation have as many requests as they may.
    Full,
    /// Nobody is in rotation, or nobody but those that were tried.
    Nobody,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) lease: Lease,
    /// The visitor is to come back there, and doesn't know yet.
    pub(crate) token: Option<Token>,
}

/// A trial that nobody can repeat elsewhere waits so long for one that can be.
const TRIAL_PATIENCE: u64 = 5 * SECOND;

/// Begins a request on one of the pool's endpoints that it was not tried at. `now` is in the microseconds of `moment`.
pub(crate) fn pick(pool: &PoolView, asking: &Asking<'_>, tried: &Tried, now: u64) -> Picked {
    if let Some(sticky) = &pool.sticky
        && let Some(lease) = stay(pool, sticky, asking, tried, now)
    {
        return Picked::Chosen(Chosen { lease, token: None });
    }
    if let Some((n, lease)) = trial(pool, asking, tried, now) {
        return Picked::Chosen(Chosen { lease, token: token(pool, n) });
    }
    choose(&View { pool, tried, among: Among::Ready, now, median: pool.live.median() }, asking)
}

/// As [`pick`], among those that are not in rotation and might serve all the same.
pub(crate) fn pick_open(pool: &PoolView, asking: &Asking<'_>, tried: &Tried) -> Picked {
    let now = moment::now();
    choose(&View { pool, tried, among: Among::Hopeful, now, median: pool.live.median() }, asking)
}

fn choose(view: &View<'_>, asking: &Asking<'_>) -> Picked {
    let pool = view.pool;
    let Some(n) = by_algorithm(view, asking) else {
        let someone = (0..pool.active.len()).any(|n| view.would(n));
        return if someone { Picked::Full } else { Picked::Nobody };
    };
    match begin(pool, &pool.active[n], view.now, false) {
        Some(lease) => Picked::Chosen(Chosen { lease, token: token(pool, n) }),
        None => Picked::Stale,
    }
}

fn by_algorithm(view: &View<'_>, asking: &Asking<'_>) -> Option<usize> {
    let pool = view.pool;
    let algorithm = &pool.settings.algorithm;
    let key = asking.hash(algorithm, &pool.key);
    let method = Method::of(algorithm, pool.places.as_ref(), key);
    let with = |picker: &mut Picker, random| picker.pick(method, &pool.tiers, view, random);
    match algorithm {
        Algorithm::RoundRobin => pool.live.pickers.with(pool, |picker| {
            picker.set_turn(pool.live.turn.fetch_add(1, Relaxed));
            with(picker, 0)
        }),
        Algorithm::WeightedRoundRobin => pool.live.pickers.with(pool, |picker| with(picker, 0)),
        Algorithm::LeastConnections => {
            let mut picker = Picker::default();
            picker.set_turn(pool.live.turn.fetch_add(1, Relaxed));
            with(&mut picker, 0)
        }
        // These remember nothing from pick to pick.
        Algorithm::PowerOfTwo | Algorithm::PeakEwma | Algorithm::Hash { .. } => {
            with(&mut Picker::default(), moment::random())
        }
    }
}

fn begin(pool: &PoolView, endpoint: &Arc<Endpoint>, now: u64, kept: bool) -> Option<Lease> {
    let most = if pool.is_limited() { pool.most(endpoint) } else { u64::MAX };
    let line = pool.settings.queue.as_ref().map(|_| &pool.live);
    endpoint.begin(Begun { at: now, most, line, kept }).ok()
}

fn token(pool: &PoolView, n: usize) -> Option<Token> {
    pool.sticky.as_ref()?.tokens.get(n)
}

/// The visitor's own endpoint.
fn stay(pool: &PoolView, sticky: &StickyView, asking: &Asking<'_>, tried: &Tried, now: u64) -> Option<Lease> {
    let one = |n: usize| pool.active.get(n).or_else(|| sticky.leaving.get(n - pool.active.len()));
    let answer = |n: usize| match one(n) {
        Some(endpoint) if tried.has(endpoint.id) || pool.is_full(endpoint) => Stay::No,
        Some(endpoint) if n < pool.active.len() && pool.is_ready(endpoint) => Stay::Ready,
        Some(endpoint) if endpoint.keeps_visitors() => Stay::Draining,
        _ => Stay::No,
    };
    let n = sticky.tokens.stay(asking.cookies(&sticky.policy.cookie), answer)?;
    begin(pool, one(n)?, now, true)
}

/// An ejected one whose time is over: this request shows whether it can come back.
fn trial(pool: &PoolView, asking: &Asking<'_>, tried: &Tried, now: u64) -> Option<(usize, Lease)> {
    let due = if asking.may_repeat { now } else { now.saturating_sub(TRIAL_PATIENCE) };
    let ejections = &pool.live.ejections;
    if pool.settings.outlier.is_none() || !ejections.is_due(due) || !tried.is_empty() {
        return None;
    }
    let n = ejections.claim(&All(pool), due)?;
    let endpoint = &pool.active[n];
    match endpoint.begin(Begun { at: now, most: pool.most(endpoint), line: None, kept: false }) {
        Ok(lease) => Some((n, lease.on_trial(&pool.live))),
        Err(_) => {
            super::account::trial_was_void(&pool.live, endpoint);
            None
        }
    }
}

#[cfg(test)]
mod tests;
