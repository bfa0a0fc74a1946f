//! What a connection is busy with, seen from outside the engine.
//!
//! hyper has one time-out for "the next head", idle time included; we tell an idle
//! client from a slow one, and a slow reader from a slow endpoint. The stream and
//! the service write down what happens, the watchdog of the connection reads it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::settings::Limits;
use crate::time::{span, ticks};

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// Marks of one connection.
#[derive(Debug)]
pub(crate) struct Meter {
    phase: AtomicU8,
    since: AtomicU64,
    /// Since when the peer takes nothing of what is there for it; 0: it does.
    blocked_since: AtomicU64,
    received_any: AtomicBool,
}

/// What a connection ran out of time with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// No request came.
    Idle,
    /// A request's head began and didn't end.
    Head,
    /// Bytes for the peer were not taken.
    Stalled,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(ticks()),
            blocked_since: AtomicU64::new(0),
            received_any: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.received_any.store(true, Relaxed);
        if self.phase.load(Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    pub(super) fn wrote(&self) {
        if self.blocked_since.load(Relaxed) != 0 {
            self.blocked_since.store(0, Relaxed);
        }
    }

    pub(super) fn write_blocked(&self) {
        if self.blocked_since.load(Relaxed) == 0 {
            self.blocked_since.store(ticks(), Relaxed);
        }
    }

    /// A request's head is whole.
    pub(super) fn busy(&self) {
        self.phase.store(BUSY, Relaxed);
    }

    /// The request is over.
    pub(super) fn idle(&self) {
        self.enter(IDLE);
    }

    fn enter(&self, phase: u8) {
        self.since.store(ticks(), Relaxed);
        self.phase.store(phase, Relaxed);
    }

    /// Forgets what was received, to see whether anything comes from here on.
    pub(super) fn listen_anew(&self) {
        self.received_any.store(false, Relaxed);
    }

    /// Whether a byte came since [`Meter::listen_anew`].
    pub(super) fn received_any(&self) -> bool {
        self.received_any.load(Relaxed)
    }

    /// By when (in ticks) something must happen, and what is overdue then. `None`: the peer owes nothing.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(u64, Overdue)> {
        let since = self.since.load(Relaxed);
        let owed = match self.phase.load(Relaxed) {
            IDLE => Some((since.saturating_add(span(limits.client_idle)), Overdue::Idle)),
            HEAD => Some((since.saturating_add(span(limits.head_time)), Overdue::Head)),
            _ => None,
        };
        let blocked = match self.blocked_since.load(Relaxed) {
            0 => None,
            since => Some((since.saturating_add(span(limits.client_stall)), Overdue::Stalled)),
        };
        owed.into_iter().chain(blocked).min_by_key(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_owes_a_request_then_its_head_then_nothing() {
        let limits = Limits::default();
        let owed = |meter: &Meter| meter.deadline(&limits).map(|(_, what)| what);
        let meter = Meter::new();
        assert_eq!(owed(&meter), Some(Overdue::Idle));
        meter.read(0);
        assert_eq!(owed(&meter), Some(Overdue::Idle));
        meter.read(1);
        assert_eq!(owed(&meter), Some(Overdue::Head));
        meter.busy();
        assert_eq!(owed(&meter), None);
        meter.write_blocked();
        assert_eq!(owed(&meter), Some(Overdue::Stalled));
        meter.wrote();
        meter.idle();
        assert_eq!(owed(&meter), Some(Overdue::Idle));
    }

    #[test]
    fn more_bytes_of_a_head_win_no_time() {
        let limits = Limits::default();
        let meter = Meter::new();
        meter.read(1);
        let first = meter.deadline(&limits);
        std::thread::sleep(std::time::Duration::from_millis(5));
        meter.read(1);
        assert_eq!(meter.deadline(&limits), first);
    }
}
