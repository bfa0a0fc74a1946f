//! What became of a request, told to whoever learns from it: latency, ejection, limits.
//!
//! Once for each lease. One that is dropped without a word was given up by the client.

use std::sync::Arc;

use pando_routing::balance::outlier::{Ejection, Failure, Outcome};
use pando_routing::{EndpointId, Outlier};

use super::moment;
use super::view::All;
use crate::live::{Endpoint, Lease, PoolLive};
use crate::snapshot::PoolView;

/// How much of a request's end was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Told {
    #[default]
    Nothing,
    /// The head of a good answer came.
    Head,
    All,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// In the microseconds of `moment`.
    pub(crate) now: u64,
    pub(crate) status: u16,
    /// What it asks for, in microseconds.
    pub(crate) retry_after: Option<u64>,
    /// What follows has an end that shows, and is to be heard before the answer counts as good.
    pub(crate) whole: bool,
}

impl Lease {
    /// The head of an answer is here.
    pub(crate) fn answered(&mut self, pool: &PoolView, answered: Answered) {
        let Answered { now, status, retry_after, whole } = answered;
        let rtt = now.saturating_sub(self.began);
        let outcome = Outcome::of_status(status);
        let overloaded = status == 429 || matches!(outcome, Outcome::Failed(_));
        match overloaded {
            true => self.endpoint.ewma.record_failure(rtt, retry_after, now),
            false => self.endpoint.ewma.record(rtt, now),
        }
        if let Some(policy) = &pool.settings.adaptive_limit {
            self.endpoint.limit.record(policy, (!overloaded).then_some(rtt), self.in_flight, now);
        }
        self.told = Told::Head;
        if outcome != Outcome::Success || (self.is_trial() && !whole) {
            self.conclude(pool, outcome, now);
        }
    }

    /// The whole answer was passed on.
    pub(crate) fn ended(&mut self, pool: &PoolView, now: u64) {
        self.endpoint.counters.took(now.saturating_sub(self.began));
        if self.told != Told::All {
            self.conclude(pool, Outcome::Success, now);
        }
    }

    /// No answer came, or not all of it.
    pub(crate) fn failed(&mut self, pool: &PoolView, failure: Failure) {
        let now = moment::now();
        let rtt = now.saturating_sub(self.began);
        if self.told == Told::Nothing {
            self.endpoint.ewma.record_failure(rtt, None, now);
            if let Some(policy) = &pool.settings.adaptive_limit
                && failure == Failure::Timeout
            {
                self.endpoint.limit.record(policy, None, self.in_flight, now);
            }
        }
        if self.told != Told::All {
            self.conclude(pool, Outcome::Failed(failure), now);
        }
    }

    /// Nobody listens there: it is out of rotation by that alone, until a probe finds it listening again.
    pub(crate) fn refused(&mut self) {
        let now = moment::now();
        self.endpoint.ewma.record_failure(now.saturating_sub(self.began), None, now);
        self.told = Told::All;
        self.give_trial_up();
        self.endpoint.suspect();
    }

    fn conclude(&mut self, pool: &PoolView, outcome: Outcome, now: u64) {
        self.told = Told::All;
        let Some(policy) = &pool.settings.outlier else { return self.give_trial_up() };
        match self.end_trial() {
            Some(live) => conclude_trial(&live, policy, &self.endpoint, outcome, now),
            None => conclude_usual(pool, policy, &self.endpoint, outcome, now),
        }
    }

    /// Before the lease ends: what was not told.
    pub(crate) fn tell_the_rest(&mut self) {
        if self.told == Told::Nothing {
            let now = moment::now();
            self.endpoint.ewma.record_cancelled(now.saturating_sub(self.began), now);
        }
        self.give_trial_up();
    }

    fn give_trial_up(&mut self) {
        if let Some(live) = self.end_trial() {
            trial_was_void(&live, &self.endpoint);
        }
    }
}

/// The trial says nothing: the next one is due.
pub(super) fn trial_was_void(live: &PoolLive, endpoint: &Endpoint) {
    let policy = Outlier::default();
    let _ = live.ejections.end_trial(&policy, &endpoint.conduct, None, moment::now(), 0);
}

fn conclude_trial(live: &PoolLive, policy: &Outlier, endpoint: &Endpoint, outcome: Outcome, now: u64) {
    let ejection = live.ejections.end_trial(policy, &endpoint.conduct, Some(outcome), now, moment::random());
    match ejection {
        Some(ejection) => announce(live, endpoint, &ejection),
        None if endpoint.conduct.is_in() => endpoint.came_back(now),
        None => {}
    }
}

fn conclude_usual(pool: &PoolView, policy: &Outlier, endpoint: &Endpoint, outcome: Outcome, now: u64) {
    if !endpoint.conduct.record(policy, outcome, now) {
        return;
    }
    let Some(n) = place_of(pool, endpoint.id) else { return };
    let ejection = pool.live.ejections.judge(policy, &All(pool), n, outcome, now, moment::random());
    if let Some(ejection) = ejection {
        announce(&pool.live, endpoint, &ejection);
    }
}

fn place_of(pool: &PoolView, id: EndpointId) -> Option<usize> {
    pool.active.iter().position(|endpoint: &Arc<Endpoint>| endpoint.id == id)
}

fn announce(live: &PoolLive, endpoint: &Endpoint, ejection: &Ejection) {
    live.counters.ejected();
    let millis = ejection.until.saturating_sub(ejection.at) / 1000;
    tracing::warn!(
        pool = %live.counters.id,
        endpoint = %endpoint.id,
        address = %endpoint.address,
        reason = %ejection.reason,
        times = ejection.times,
        millis,
        "ejected: gets no requests for a while"
    );
    endpoint.sequence().bump();
}
