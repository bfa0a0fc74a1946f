//! Reports of servers that can't reach the control plane, on their way through this one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pando_api::v1::agents::{MAX_RELAYED, RelayedReport};
use pando_model::id::ServerId;
use tokio::sync::watch;

/// An older one tells nothing that helps: its server hands in the next after a second.
const KEPT: Duration = Duration::from_secs(10);

/// Of all of them together.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The newest of each server. Clones share them.
#[derive(Clone)]
pub(crate) struct Relays {
    inner: Arc<Inner>,
}

struct Inner {
    held: Mutex<BTreeMap<ServerId, (Instant, RelayedReport)>>,
    came: watch::Sender<u64>,
}

impl Relays {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(Inner { held: Mutex::default(), came: watch::Sender::new(0) }) }
    }

    /// Changes with each that comes.
    pub(crate) fn came(&self) -> watch::Receiver<u64> {
        self.inner.came.subscribe()
    }

    /// False: there is no room.
    pub(crate) fn take(&self, server: ServerId, report: RelayedReport) -> bool {
        self.take_at(server, report, Instant::now())
    }

    fn take_at(&self, server: ServerId, report: RelayedReport, now: Instant) -> bool {
        let mut held = self.held();
        let others = held.iter().filter(|(id, _)| **id != server);
        let (count, bytes) =
            others.fold((1, size(&report)), |(count, bytes), (_, (_, one))| (count + 1, bytes + size(one)));
        if count > MAX_RELAYED || bytes > MOST_BYTES {
            return false;
        }
        held.insert(server, (now, report));
        drop(held);
        self.inner.came.send_modify(|came| *came += 1);
        true
    }

    /// What is still to be handed on.
    pub(crate) fn waiting(&self) -> Vec<RelayedReport> {
        self.waiting_at(Instant::now())
    }

    fn waiting_at(&self, now: Instant) -> Vec<RelayedReport> {
        let mut held = self.held();
        held.retain(|_, (came, _)| now.saturating_duration_since(*came) < KEPT);
        held.values().map(|(_, report)| report.clone()).collect()
    }

    /// These have arrived.
    pub(crate) fn done(&self, sent: &[RelayedReport]) {
        self.held().retain(|_, (_, report)| !sent.contains(report));
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<ServerId, (Instant, RelayedReport)>> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(report: &RelayedReport) -> usize {
    report.body.len() + report.signature.len() + report.certificate.len()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn server(n: usize) -> ServerId {
        ServerId::from_uuid(Uuid::from_u128(n as u128))
    }

    fn report(body: impl Into<String>) -> RelayedReport {
        RelayedReport { body: body.into(), signature: String::new(), certificate: String::new() }
    }

    #[test]
    fn the_newest_of_each_waits_until_it_has_arrived_or_is_old() {
        let (relays, began) = (Relays::new(), Instant::now());
        assert!(
            relays.take_at(server(1), report("a"), began) && relays.take_at(server(2), report("b"), began)
        );
        let sent = relays.waiting_at(began);
        assert_eq!(sent, [report("a"), report("b")]);
        let later = began + Duration::from_secs(1);
        assert!(relays.take_at(server(1), report("c"), later), "a newer one while the first is on its way");
        relays.done(&sent);
        assert_eq!(relays.waiting_at(began + KEPT), [report("c")]);
        assert_eq!(relays.waiting_at(later + KEPT), []);
    }

    #[test]
    fn there_is_an_end_to_what_is_held() {
        let relays = Relays::new();
        for n in 0..MAX_RELAYED {
            assert!(relays.take(server(n), report("x")));
        }
        assert!(!relays.take(server(MAX_RELAYED), report("x")));
        assert!(relays.take(server(0), report("y")), "a newer one of the same server has room");
        let relays = Relays::new();
        assert!(relays.take(server(1), report("x".repeat(MOST_BYTES - 1))));
        assert!(!relays.take(server(2), report("xx")));
    }
}
