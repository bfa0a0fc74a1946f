//! What a pool keeps from table to table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pando_routing::PoolId;
use pando_routing::balance::budget::Budget;
use pando_routing::balance::ewma;
use pando_routing::balance::outlier::Ejections;
use pando_routing::balance::pick::Picker;

use super::line::Line;
use crate::snapshot::PoolView;
use crate::stats::counters::PoolCounters;
use crate::worker;

/// The live state behind one pool id.
#[derive(Debug)]
pub(crate) struct PoolLive {
    pub(crate) counters: PoolCounters,
    /// Whose turn it is, modulo however many there are.
    pub(crate) turn: AtomicU64,
    pub(crate) pickers: Pickers,
    pub(crate) ejections: Ejections,
    /// Of retries.
    pub(crate) budget: Budget,
    pub(crate) line: Line,
    /// The bits of [`PoolLive::median`].
    median: AtomicU64,
    /// See [`PoolLive::slow`], in microseconds; 0: not known.
    slow: AtomicU64,
    /// Nobody was in rotation when a request last came.
    open: AtomicBool,
}

impl PoolLive {
    pub(crate) fn new(id: PoolId, workers: usize) -> Self {
        Self {
            counters: PoolCounters::new(id),
            turn: AtomicU64::new(0),
            pickers: Pickers::new(workers),
            ejections: Ejections::default(),
            budget: Budget::default(),
            line: Line::default(),
            median: AtomicU64::new(ewma::UNKNOWN.to_bits()),
            slow: AtomicU64::new(0),
            open: AtomicBool::new(false),
        }
    }

    /// What an answer of the pool's endpoints takes, in microseconds.
    pub(crate) fn median(&self) -> f64 {
        f64::from_bits(self.median.load(Relaxed))
    }

    pub(crate) fn set_median(&self, median: f64) {
        self.median.store(median.to_bits(), Relaxed);
    }

    /// From when on an answer is slow, where that is asked for and known.
    pub(crate) fn slow(&self) -> Option<Duration> {
        Some(self.slow.load(Relaxed)).filter(|slow| *slow > 0).map(Duration::from_micros)
    }

    pub(crate) fn set_slow(&self, slow: Option<Duration>) {
        let micros = slow.map_or(0, |slow| u64::try_from(slow.as_micros()).unwrap_or(u64::MAX));
        self.slow.store(micros, Relaxed);
    }

    /// Says it once that requests go to whoever might serve, since nobody is in rotation.
    pub(crate) fn fails_open(&self) {
        self.counters.failed_open();
        if !self.open.swap(true, Relaxed) {
            tracing::warn!(pool = %self.counters.id, "nobody is in rotation: requests go to who might serve all the same");
        }
    }

    /// Somebody is in rotation.
    pub(crate) fn is_well(&self) {
        // Read first: of a pool that is well the line stays unwritten.
        if self.open.load(Relaxed) && self.open.swap(false, Relaxed) {
            tracing::info!(pool = %self.counters.id, "somebody is in rotation again");
        }
    }
}

/// Each worker's memory of turns by weight.
#[derive(Debug)]
pub(crate) struct Pickers(Box<[Mutex<Kept>]>);

#[derive(Debug, Default)]
struct Kept {
    picker: Picker,
    /// Of the view that the picker was made for last.
    view: u64,
}

impl Pickers {
    fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Mutex::default()).collect())
    }

    /// The worker's own, for the endpoints of `pool`.
    pub(crate) fn with<T>(&self, pool: &PoolView, pick: impl FnOnce(&mut Picker) -> T) -> T {
        let mut kept = self.0[worker::index() % self.0.len()].lock().unwrap_or_else(PoisonError::into_inner);
        if kept.view != pool.serial {
            kept.picker.renew(pool.active.iter().map(|endpoint| endpoint.id));
            kept.view = pool.serial;
        }
        pick(&mut kept.picker)
    }
}
