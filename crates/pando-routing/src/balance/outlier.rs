//! Ejection: an endpoint whose traffic fails gets none for a while.
//!
//! linkerd's way: failures in a row, or a success ratio over an exact window with a
//! floor of requests, since a fading average hides bursts. Envoy's bounds: each time
//! longer, at most half of a pool, never the last one able. It comes back by exactly
//! one trial: a request that goes there once the time is over. Then all counters start
//! anew, so that what it was ejected for can't eject it again.
//!
//! [`Conduct`] is one endpoint's and lives as long as its id; [`Ejections`] is one
//! pool's. Both are shared by all workers. What happens for each request
//! ([`Conduct::is_in`], [`Conduct::record`], [`Ejections::is_due`]) takes no lock;
//! ejecting, claiming a trial and returning take the pool's, some times a minute at worst.

mod pool;
mod reason;

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::SECOND;
use super::random::Draws;
use super::window::{Column, Window};
use crate::policy::Outlier;

pub use pool::{Ejections, Members};
pub use reason::{Ejection, Failure, Outcome, Reason, TlsFault};

/// So long in rotation, and one ejection less is remembered.
const FORGIVEN_AFTER: u64 = 60 * SECOND;

/// A trial of which nothing was heard for so long is given up: twice the time that an answer may take by default.
const TRIAL_LAPSE: u64 = 120 * SECOND;

/// How one endpoint has behaved, and whether it gets requests.
#[derive(Debug, Default)]
pub struct Conduct {
    gate: AtomicU64,
    /// Failures in a row.
    streak: AtomicU32,
    /// Good ones and bad ones.
    window: Window,
    history: Mutex<History>,
}

#[derive(Debug, Clone, Default)]
struct History {
    /// Times ejected that are not forgiven yet.
    times: u32,
    returned: u64,
    last: Option<Ejection>,
}

/// See [`Conduct::past`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    pub times: u32,
    /// Microseconds of the caller's clock.
    pub returned: u64,
    pub streak: u32,
}

/// What the gate's word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    In,
    /// Until then; from then on a trial is due.
    Ejected(u64),
    /// One request is under way there, since then.
    OnTrial(u64),
}

impl Conduct {
    /// Whether it gets requests. Those that are due a trial get theirs by [`Ejections::claim`].
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.gate.load(Relaxed) == 0
    }

    /// A request there has ended. Not for requests that the client gave up, nor for trials. Whether it is time to
    /// [judge](Ejections::judge).
    #[must_use]
    pub fn record(&self, policy: &Outlier, outcome: Outcome, now: u64) -> bool {
        if outcome == Outcome::Success {
            self.window.add(Column::First, now);
            // Read first: of an endpoint that is well the line stays unwritten.
            if self.streak.load(Relaxed) != 0 {
                self.streak.store(0, Relaxed);
            }
            return false;
        }
        self.window.add(Column::Second, now);
        if let Outcome::Failed(_) = outcome {
            self.streak.fetch_add(1, Relaxed);
        }
        self.is_in() && self.reason(policy, outcome, now).is_some()
    }

    /// Its ejection, if it is not in rotation.
    #[must_use]
    pub fn ejection(&self) -> Option<Ejection> {
        let last = self.history().last.clone();
        last.filter(|_| !self.is_in())
    }

    /// Successes and failures in the last ten seconds, and failures in a row: for people.
    #[must_use]
    pub fn counts(&self, now: u64) -> (u64, u64, u32) {
        let (good, bad) = self.window.sums(now);
        (good, bad, self.streak.load(Relaxed))
    }

    /// What is remembered of it beside an ejection that goes on: how often it was ejected, when it last came back, failures in a
    /// row.
    #[must_use]
    pub fn past(&self) -> Past {
        let history = self.history();
        Past { times: history.times, returned: history.returned, streak: self.streak.load(Relaxed) }
    }

    /// It has behaved like that at another proxy, whose times are of the same clock. To be called before it gets requests, and before
    /// [`Ejections::restore`].
    pub fn restore_past(&self, past: Past) {
        let mut history = self.history();
        (history.times, history.returned) = (past.times, past.returned);
        self.streak.store(past.streak, Relaxed);
    }

    /// The proxy's own look at it has passed. Stands in for the trial once the time is over, not before: a probe sees less than
    /// traffic does. Whether it is back in rotation by that.
    pub fn probe_passed(&self, now: u64) -> bool {
        let due = self.gate().due().is_some_and(|due| now >= due);
        if due {
            self.come_back(now);
        }
        due
    }

    fn end_trial(
        &self,
        policy: &Outlier,
        outcome: Option<Outcome>,
        now: u64,
        random: u64,
    ) -> Option<Ejection> {
        if !matches!(self.gate(), Gate::OnTrial(_)) {
            return None;
        }
        match outcome {
            None => self.set(Gate::Ejected(now)),
            Some(Outcome::Success) => self.come_back(now),
            Some(Outcome::Failed(last) | Outcome::Poor(last)) => {
                return Some(self.eject(policy, Reason::Trial { last }, now, random));
            }
        }
        None
    }

    fn restore(&self, ejection: Ejection) {
        let mut history = self.history();
        history.times = ejection.times;
        self.set(Gate::Ejected(ejection.until));
        history.last = Some(ejection);
    }

    /// Why it is to be ejected, if it is.
    fn reason(&self, policy: &Outlier, last: Outcome, now: u64) -> Option<Reason> {
        let failures = self.streak.load(Relaxed);
        if let Outcome::Failed(last) = last
            && failures >= policy.consecutive
        {
            return Some(Reason::Consecutive { failures, last });
        }
        let (good, bad) = self.window.sums(now);
        let enough = good + bad >= u64::from(policy.min_requests);
        let below = good * 100 < (good + bad) * u64::from(policy.success_percent);
        (enough && below).then_some(Reason::SuccessRatio { good, all: good + bad })
    }

    /// Out for `eject_millis` times how often it was, within bounds, a tenth more or less so that those that went together
    /// don't come back together.
    fn eject(&self, policy: &Outlier, reason: Reason, now: u64, random: u64) -> Ejection {
        let mut history = self.history();
        let forgiven = if self.is_in() { now.saturating_sub(history.returned) / FORGIVEN_AFTER } else { 0 };
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        history.times = history.times.saturating_sub(forgiven).saturating_add(1);
        let most = policy.most_millis.saturating_mul(1000);
        let time = policy.eject_millis.saturating_mul(1000).saturating_mul(history.times.into()).min(most);
        let jittered = time - time / 10 + Draws::new(random).below(time / 5 + 1);
        let until = now.saturating_add(jittered.min(most));
        let ejection = Ejection { reason, times: history.times, at: now, until };
        history.last = Some(ejection.clone());
        self.set(Gate::Ejected(until));
        ejection
    }

    fn come_back(&self, now: u64) {
        self.history().returned = now;
        self.window.reset();
        self.streak.store(0, Relaxed);
        self.set(Gate::In);
    }

    /// Whether the caller has the trial, alone.
    fn claim(&self, now: u64) -> bool {
        let word = self.gate.load(Relaxed);
        let due = Gate::of(word).due().is_some_and(|due| now >= due);
        let claimed = Gate::OnTrial(now).word();
        due && self.gate.compare_exchange(word, claimed, Relaxed, Relaxed).is_ok()
    }

    fn gate(&self) -> Gate {
        Gate::of(self.gate.load(Relaxed))
    }

    fn set(&self, gate: Gate) {
        self.gate.store(gate.word(), Relaxed);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const EJECTED: u64 = 1 << 62;
const ON_TRIAL: u64 = 2 << 62;

impl Gate {
    fn of(word: u64) -> Self {
        let at = word & (EJECTED - 1);
        match word & !(EJECTED - 1) {
            EJECTED => Self::Ejected(at),
            ON_TRIAL => Self::OnTrial(at),
            _ => Self::In,
        }
    }

    /// 62 bits of microseconds: 146,000 years.
    fn word(self) -> u64 {
        match self {
            Self::In => 0,
            Self::Ejected(until) => EJECTED | until.min(EJECTED - 1),
            Self::OnTrial(since) => ON_TRIAL | since.min(EJECTED - 1),
        }
    }

    /// When the next trial may be claimed. `None`: none is needed.
    fn due(self) -> Option<u64> {
        match self {
            Self::In => None,
            Self::Ejected(until) => Some(until),
            Self::OnTrial(since) => Some(since.saturating_add(TRIAL_LAPSE)),
        }
    }
}
