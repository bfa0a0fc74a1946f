//! One request under way at an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{Endpoint, PoolLive};
use crate::balance::Told;

/// Dropped when the endpoint has nothing more to do for the request. What became of that is told before, see `balance::account`.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) endpoint: Arc<Endpoint>,
    /// In the microseconds of `moment`.
    pub(crate) began: u64,
    /// Requests under way there when this one began, itself included.
    pub(crate) in_flight: u64,
    pub(crate) told: Told,
    /// Where others wait for its end.
    line: Option<Arc<PoolLive>>,
    /// It shows whether the endpoint can come back from its ejection.
    trial: Option<Arc<PoolLive>>,
}

impl Lease {
    /// It is counted already.
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        in_flight: u64,
        began: u64,
        line: Option<&Arc<PoolLive>>,
    ) -> Self {
        let (line, told) = (line.map(Arc::clone), Told::default());
        Self { endpoint, began, in_flight, told, line, trial: None }
    }

    /// Nothing was begun: the count goes back, and there is nothing to tell. Passes on why.
    pub(crate) fn void<T>(mut self, why: T) -> T {
        self.told = Told::All;
        why
    }

    pub(crate) fn on_trial(mut self, pool: &Arc<PoolLive>) -> Self {
        self.trial = Some(Arc::clone(pool));
        self
    }

    pub(crate) fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The pool whose trial this was; only once.
    pub(crate) fn end_trial(&mut self) -> Option<Arc<PoolLive>> {
        self.trial.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.tell_the_rest();
        let before = self.endpoint.in_flight.fetch_sub(1, SeqCst);
        if before == 1 && self.endpoint.is_draining() {
            self.endpoint.sequence().bump();
        }
        if let Some(pool) = &self.line {
            pool.line.call();
        }
    }
}
