//! Spans on their way from the requests to the exporter: a queue with a bound, and what was lost is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::span::Span;

/// Shared by requests and the exporter.
#[derive(Debug)]
pub(crate) struct Queue {
    spans: Mutex<Vec<Span>>,
    /// So many wait at most.
    room: usize,
    /// So many are worth sending at once.
    batch: usize,
    enough: Notify,
    pub(super) counts: Counts,
}

/// What became of spans since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    exported: AtomicU64,
    /// Times that a batch did not get through.
    failures: AtomicU64,
    lost: [AtomicU64; Loss::ALL.len()],
}

/// Why a span was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// More came than the receiver took.
    QueueFull,
    /// The receiver doesn't want it.
    Refused,
    /// The receiver could not be reached, or had no time, for too long.
    Unreachable,
    /// The proxy ended first.
    Shutdown,
}

impl Loss {
    pub(crate) const ALL: [Self; 4] = [Self::QueueFull, Self::Refused, Self::Unreachable, Self::Shutdown];

    /// As metrics call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Shutdown => "shutdown",
        }
    }
}

impl Counts {
    pub(super) fn exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn lost(&self, spans: usize, loss: Loss) {
        self.lost[loss as usize].fetch_add(spans as u64, Relaxed);
    }

    pub(crate) fn all_exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    pub(crate) fn all_failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn all_lost(&self, loss: Loss) -> u64 {
        self.lost[loss as usize].load(Relaxed)
    }
}

impl Queue {
    pub(super) fn new(room: usize, batch: usize) -> Self {
        let (room, batch) = (room.max(1), batch.clamp(1, room.max(1)));
        Self { spans: Mutex::default(), room, batch, enough: Notify::new(), counts: Counts::default() }
    }

    /// The newest is lost when there is no room.
    pub(super) fn push(&self, span: Span) {
        let mut spans = self.spans();
        if spans.len() >= self.room {
            drop(spans);
            return self.counts.lost(1, Loss::QueueFull);
        }
        spans.push(span);
        let enough = spans.len() == self.batch;
        drop(spans);
        if enough {
            self.enough.notify_one();
        }
    }

    /// Waits until there is a whole batch. Cancel-safe.
    pub(super) async fn enough(&self) {
        while self.spans().len() < self.batch {
            self.enough.notified().await;
        }
    }

    /// The oldest, at most one batch of them.
    pub(super) fn take(&self) -> Vec<Span> {
        let mut spans = self.spans();
        let count = spans.len().min(self.batch);
        spans.drain(..count).collect()
    }

    fn spans(&self) -> MutexGuard<'_, Vec<Span>> {
        // It is changed in one go by code that doesn't panic.
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
