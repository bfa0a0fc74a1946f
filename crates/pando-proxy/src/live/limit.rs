//! How many requests an endpoint may have under way where that is found out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pando_routing::AdaptiveLimit;
use pando_routing::balance::limit::Limit;

use crate::balance::moment;

/// One endpoint's limit, for all workers.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    /// Only ever tried: a sample missed is no harm.
    found: Mutex<Option<(AdaptiveLimit, Limit)>>,
    /// 0: nothing was found out yet.
    now: AtomicU32,
}

impl Limited {
    /// What it is now.
    pub(crate) fn most(&self, policy: &AdaptiveLimit) -> u64 {
        match self.now.load(Relaxed) {
            0 => policy.initial.into(),
            most => most.clamp(policy.least, policy.most.max(policy.least)).into(),
        }
    }

    /// What was found out; 0: nothing yet.
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    /// Goes on from what was found out elsewhere.
    pub(crate) fn restore(&self, now: u32) {
        self.now.store(now, Relaxed);
    }

    /// An answer after `rtt` microseconds; `None`: the endpoint had too much.
    pub(crate) fn record(&self, policy: &AdaptiveLimit, rtt: Option<u64>, in_flight: u64, now: u64) {
        let Ok(mut found) = self.found.try_lock() else { return };
        if found.as_ref().is_none_or(|(held, _)| held != policy) {
            *found = Some((policy.clone(), Limit::new(&self.beginning_here(policy), moment::now())));
        }
        let Some((_, limit)) = &mut *found else { return };
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        match rtt {
            Some(rtt) => limit.record(rtt, in_flight, now),
            None => limit.record_overload(in_flight, now),
        }
        if self.now.load(Relaxed) != limit.limit() {
            self.now.store(limit.limit(), Relaxed);
        }
    }

    /// The policy, beginning at what was found out before.
    fn beginning_here(&self, policy: &AdaptiveLimit) -> AdaptiveLimit {
        let initial = match self.now() {
            0 => policy.initial,
            now => now.clamp(policy.least, policy.most.max(policy.least)),
        };
        AdaptiveLimit { initial, ..policy.clone() }
    }
}
