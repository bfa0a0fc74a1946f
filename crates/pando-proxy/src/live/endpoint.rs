//! One endpoint as it is now: in rotation or not, draining or not, with so many requests under way.
//!
//! The promise that everything else rests on: once [`Endpoint::drain`] has returned,
//! no new request begins here, and [`Endpoint::in_flight`] counts every request that
//! did. A request raises the count *first* and looks for the drain mark *second*;
//! draining sets the mark first and reads the count second. With one total order
//! over the four (`SeqCst`) at least one side sees the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use pando_routing::{EndpointId, Probe};
use tokio::sync::{Notify, watch};

use super::idle::IdleLinks;
use crate::stats::counters::EndpointCounters;
use crate::stats::sequence::Sequence;

/// What an endpoint's prober is to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ProbeOrder {
    Look(Arc<Probe>),
    /// The endpoint drains: nobody asks how it is.
    Rest,
    /// The endpoint has left the table.
    End,
}

/// The live state behind one endpoint id.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) address: SocketAddr,
    pub(crate) counters: EndpointCounters,
    pub(crate) idle: IdleLinks,
    in_flight: AtomicU64,
    draining: AtomicBool,
    up: AtomicBool,
    looked: AtomicBool,
    gone: AtomicBool,
    /// When tunnels are to be closed, in Unix milliseconds; `None` while the endpoint is active.
    closing: watch::Sender<Option<i64>>,
    order: watch::Sender<ProbeOrder>,
    trouble: Notify,
    sequence: Sequence,
}

impl Endpoint {
    /// Not in rotation, until [`Endpoint::set_up`].
    pub(crate) fn new(id: EndpointId, address: SocketAddr, idle: IdleLinks, sequence: Sequence) -> Self {
        Self {
            id,
            address,
            counters: EndpointCounters::default(),
            idle,
            in_flight: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            up: AtomicBool::new(false),
            looked: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            closing: watch::Sender::new(None),
            order: watch::Sender::new(ProbeOrder::Rest),
            trouble: Notify::new(),
            sequence,
        }
    }

    /// Begins a request here, unless the endpoint drains. The lease counts as one in flight until it is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Lease> {
        self.in_flight.fetch_add(1, SeqCst);
        let lease = Lease { endpoint: Arc::clone(self) };
        // Dropping the lease takes the count back and wakes whoever saw it.
        (!self.draining.load(SeqCst)).then_some(lease)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// Whether requests may be sent here.
    pub(crate) fn in_rotation(&self) -> bool {
        self.up.load(SeqCst) && !self.is_draining()
    }

    /// Whether the prober has a first result, whatever it is.
    pub(crate) fn was_looked_at(&self) -> bool {
        self.looked.load(SeqCst)
    }

    /// The prober's verdict.
    pub(crate) fn set_up(&self, up: bool) {
        let before = self.up.swap(up, SeqCst);
        let first = !self.looked.swap(true, SeqCst);
        if before != up || first {
            self.sequence.bump();
        }
    }

    /// Its machine does not answer connections at all, and the prober has judged it.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(SeqCst)
    }

    pub(crate) fn set_gone(&self, gone: bool) {
        self.gone.store(gone, SeqCst);
    }

    /// Traffic found nobody listening: out of rotation at once, until a probe passes.
    pub(crate) fn suspect(&self) {
        if self.up.swap(false, SeqCst) {
            tracing::warn!(endpoint = %self.id, address = %self.address, "refuses connections: out of rotation until a probe passes");
            self.sequence.bump();
        }
        self.trouble.notify_one();
    }

    /// Waits for [`Endpoint::suspect`]. Cancel-safe.
    pub(crate) async fn troubled(&self) {
        self.trouble.notified().await;
    }

    /// Takes requests (again). To be called before a snapshot offers the endpoint.
    pub(crate) fn activate(&self, probe: &Arc<Probe>) {
        self.idle.open();
        self.closing.send_if_modified(|closing| closing.take().is_some());
        self.draining.store(false, SeqCst);
        self.give_order(ProbeOrder::Look(Arc::clone(probe)));
    }

    /// Begins no request from here on; tunnels are closed at `deadline_millis`. To be called after a snapshot without the
    /// endpoint is in place, so that a request that is turned away finds another.
    pub(crate) fn drain(&self, deadline_millis: i64) {
        self.draining.store(true, SeqCst);
        self.idle.close();
        self.give_order(ProbeOrder::Rest);
        self.closing.send_if_modified(|closing| closing.replace(deadline_millis) != Some(deadline_millis));
    }

    /// The endpoint has left the table: as if its deadline had passed.
    pub(crate) fn retire(&self, now_millis: i64) {
        let overdue = self.closing.borrow().map_or(now_millis, |deadline| deadline.min(now_millis));
        self.drain(overdue);
        self.give_order(ProbeOrder::End);
    }

    /// When tunnels are to be closed.
    pub(crate) fn closing(&self) -> watch::Receiver<Option<i64>> {
        self.closing.subscribe()
    }

    pub(crate) fn orders(&self) -> watch::Receiver<ProbeOrder> {
        self.order.subscribe()
    }

    fn give_order(&self, order: ProbeOrder) {
        self.order.send_if_modified(|held| {
            let changed = *held != order;
            *held = order;
            changed
        });
    }
}

/// One request under way; dropped when the endpoint has nothing more to do for it.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let before = self.endpoint.in_flight.fetch_sub(1, SeqCst);
        if before == 1 && self.endpoint.is_draining() {
            self.endpoint.sequence.bump();
        }
    }
}

#[cfg(test)]
mod tests;
