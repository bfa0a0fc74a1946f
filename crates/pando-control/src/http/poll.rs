//! Waiting for something to become so, within bounds.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::MAX_WAIT;
use crate::shared::Shared;

/// When a poll that may wait `millis` (none: not at all) must answer.
pub(crate) fn until(millis: Option<u64>) -> Instant {
    Instant::now() + Duration::from_millis(millis.unwrap_or(0)).min(MAX_WAIT)
}

/// Waits for `change`. False: the time is over, or the control plane ends; the poll answers what it has.
pub(crate) async fn or_end(shared: &Shared, until: Instant, change: impl Future<Output = bool>) -> bool {
    tokio::select! {
        // None of the arms is needed again after another ended: dropping them loses nothing.
        changed = change => changed,
        () = sleep_until(until) => false,
        () = shared.shutdown.wait() => false,
    }
}
