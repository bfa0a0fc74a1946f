//! What a successor is told of an endpoint, so that it need not find it out again at visitors' expense.
//!
//! Two processes have no clock in common: what was is told as how long ago it was.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use pando_routing::EndpointId;
use pando_routing::balance::outlier::{Ejection, Past, Reason};
use serde::{Deserialize, Serialize};

use super::Endpoint;
use crate::live::PoolLive;

/// One endpoint's health. Times are microseconds before the moment of telling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: EndpointId,
    pub(crate) address: SocketAddr,
    up: bool,
    was_up: bool,
    gone: bool,
    refusing: bool,
    in_rotation_for: u64,
    /// Microseconds, and milliseconds since it was measured.
    #[serde(default)]
    ewma: Option<(f64, u32)>,
    /// Found out by itself; 0: not.
    #[serde(default)]
    limit: u32,
    #[serde(default)]
    times_ejected: u32,
    #[serde(default)]
    returned: u64,
    #[serde(default)]
    failures_in_a_row: u32,
    #[serde(default)]
    ejection: Option<KeptEjection>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptEjection {
    reason: Reason,
    times: u32,
    ago: u64,
    /// From now.
    left: u64,
}

impl Endpoint {
    /// `None`: nobody has looked at it yet.
    pub(crate) fn kept(&self, now: u64) -> Option<Kept> {
        let past = self.conduct.past();
        let ejection = self.conduct.ejection().map(|ejection| KeptEjection {
            times: ejection.times,
            ago: now.saturating_sub(ejection.at),
            left: ejection.until.saturating_sub(now),
            reason: ejection.reason,
        });
        self.was_looked_at().then(|| Kept {
            id: self.id,
            address: self.address,
            up: self.up.load(SeqCst),
            was_up: self.was_up.load(SeqCst),
            gone: self.gone.load(SeqCst),
            refusing: self.refusing.load(SeqCst),
            in_rotation_for: now.saturating_sub(self.in_rotation_since()),
            ewma: self.ewma.kept(now),
            limit: self.limit.now(),
            times_ejected: past.times,
            returned: now.saturating_sub(past.returned),
            failures_in_a_row: past.streak,
            ejection,
        })
    }

    /// Goes on from what was kept of it. To be called before anybody else knows the endpoint.
    pub(crate) fn restore(&self, kept: &Kept, pool: &PoolLive, now: u64) {
        self.up.store(kept.up, SeqCst);
        self.was_up.store(kept.was_up, SeqCst);
        self.looked.store(true, SeqCst);
        self.gone.store(kept.gone, SeqCst);
        self.refusing.store(kept.refusing, SeqCst);
        self.since.store(now.saturating_sub(kept.in_rotation_for), Relaxed);
        if let Some((average, idle)) = kept.ewma {
            self.ewma.restore(average, idle, now);
        }
        self.limit.restore(kept.limit);
        let (times, streak) = (kept.times_ejected, kept.failures_in_a_row);
        self.conduct.restore_past(Past { times, returned: now.saturating_sub(kept.returned), streak });
        if let Some(KeptEjection { reason, times, ago, left }) = kept.ejection.clone() {
            let (at, until) = (now.saturating_sub(ago), now.saturating_add(left));
            pool.ejections.restore(&self.conduct, Ejection { reason, times, at, until });
        }
    }

    /// Whether it refused connections when somebody last looked.
    pub(crate) fn refuses(&self) -> bool {
        self.refusing.load(SeqCst)
    }

    /// Whether it passed its probe when it was last looked at.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(SeqCst)
    }

    pub(crate) fn was_ever_up(&self) -> bool {
        self.was_up.load(SeqCst)
    }
}
