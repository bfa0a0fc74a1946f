//! When leases end, by this process's own clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::LeaseId;

/// The leases that live, and until when.
#[derive(Debug, Default)]
pub(crate) struct Leases(BTreeMap<LeaseId, Lease>);

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    ends: Instant,
}

impl Leases {
    pub(crate) fn begin(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.0.insert(id, Lease { ttl, ends: now + ttl });
    }

    /// False: there is no such lease.
    pub(crate) fn keep(&mut self, id: LeaseId, now: Instant) -> bool {
        let Some(lease) = self.0.get_mut(&id) else { return false };
        lease.ends = now + lease.ttl;
        true
    }

    pub(crate) fn end(&mut self, id: LeaseId) {
        self.0.remove(&id);
    }

    /// The ones whose time is over.
    pub(crate) fn due(&self, now: Instant) -> Vec<LeaseId> {
        self.0.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect()
    }

    /// When the next one ends.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().map(|lease| lease.ends).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_a_ttl_after_its_last_sign_of_life() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut leases = Leases::default();
        leases.begin(LeaseId(1), second * 5, start);
        leases.begin(LeaseId(2), second * 3, start);
        assert_eq!(leases.next(), Some(start + second * 3));
        assert!(leases.keep(LeaseId(2), start + second * 2));
        assert_eq!(leases.due(start + second * 4), []);
        assert_eq!(leases.due(start + second * 5), [LeaseId(1), LeaseId(2)]);
        leases.end(LeaseId(1));
        leases.end(LeaseId(2));
        assert!(!leases.keep(LeaseId(1), start));
        assert_eq!(leases.next(), None);
    }
}
