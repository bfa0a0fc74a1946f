//! One endpoint as it is now: in rotation or not, draining or not, with so many requests under way.
//!
//! The promise that everything else rests on: once [`Endpoint::drain`] has returned,
//! no new request begins here, and [`Endpoint::in_flight`] counts every request that
//! did. A request raises the count *first* and looks for the drain mark *second*;
//! draining sets the mark first and reads the count second. With one total order
//! over the four (`SeqCst`) at least one side sees the other.
//!
//! Where visitors stay with their replica, a drain has two halves: first nobody new
//! comes ([`Endpoint::keep_visitors`]), and the endpoint never counts as idle; from
//! the deadline on it drains as any other, and the promise is the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use pando_routing::balance::ewma::PeakEwma;
use pando_routing::balance::outlier::Conduct;
use pando_routing::balance::{SECOND, warm};
use pando_routing::{EndpointId, Probe};
use tokio::sync::{Notify, watch};

use super::PoolLive;
use super::idle::IdleLinks;
use super::lease::Lease;
use super::limit::Limited;
use crate::balance::moment;
use crate::parting::Curfew;
use crate::stats::counters::EndpointCounters;
use crate::stats::sequence::Sequence;
use crate::upstream::{Reach, Streams, Wanted};

/// So long (microseconds) requests wait for endpoints that have just stopped listening, all of them: a container engine that starts
/// anew, or a program without a second replica, is back by then. As long as HAProxy's default of three retries, a second apart.
const RETURN: u64 = 3 * SECOND;

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
    /// Connections over HTTP/2, where its pool speaks that.
    pub(crate) streams: Streams,
    /// How long it takes to answer.
    pub(crate) ewma: PeakEwma,
    /// How its answers were, and whether it is ejected for them.
    pub(crate) conduct: Conduct,
    pub(crate) limit: Limited,
    pub(super) in_flight: AtomicU64,
    draining: AtomicBool,
    /// Nobody new, but visitors of its own.
    keeping: AtomicBool,
    up: AtomicBool,
    /// At some time.
    was_up: AtomicBool,
    looked: AtomicBool,
    gone: AtomicBool,
    /// Nobody listens, as far as is known.
    refusing: AtomicBool,
    /// When it came into rotation, in the microseconds of `moment`.
    since: AtomicU64,
    warmth: AtomicU32,
    /// Requests under way here in proxies that this one has taken over from.
    elsewhere: AtomicU64,
    /// Until when tunnels and streams of events may go on; `None` while the endpoint is active.
    closing: watch::Sender<Option<Curfew>>,
    order: watch::Sender<ProbeOrder>,
    trouble: Notify,
    sequence: Sequence,
    /// How connections begin.
    reach: ArcSwap<Reach>,
    /// Why it is out of rotation, in the prober's words.
    why_out: ArcSwapOption<String>,
}

impl Endpoint {
    /// Not in rotation, until [`Endpoint::set_up`].
    pub(crate) fn new(id: EndpointId, address: SocketAddr, idle: IdleLinks, sequence: Sequence) -> Self {
        Self {
            id,
            address,
            counters: EndpointCounters::default(),
            streams: Streams::new(idle.workers()),
            idle,
            ewma: PeakEwma::new(),
            conduct: Conduct::default(),
            limit: Limited::default(),
            in_flight: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            keeping: AtomicBool::new(false),
            up: AtomicBool::new(false),
            was_up: AtomicBool::new(false),
            looked: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            since: AtomicU64::new(0),
            warmth: AtomicU32::new(warm::FULL),
            elsewhere: AtomicU64::new(0),
            closing: watch::Sender::new(None),
            order: watch::Sender::new(ProbeOrder::Rest),
            trouble: Notify::new(),
            sequence,
            reach: ArcSwap::default(),
            why_out: ArcSwapOption::empty(),
        }
    }

    /// How connections begin now.
    pub(crate) fn reach(&self) -> Arc<Reach> {
        self.reach.load_full()
    }

    /// Connections begin like this from here on; idle ones that did not are closed.
    pub(crate) fn reach_by(&self, wanted: Wanted<'_>) {
        let before = self.reach.load();
        if before.fits(wanted) {
            return;
        }
        let reach = Arc::new(Reach::new(wanted, self.address));
        let (old, serial) = (before.serial, reach.serial);
        self.reach.store(reach);
        if old != serial {
            self.idle.begin_anew(serial);
            self.streams.begin_anew(serial);
        }
    }

    /// Why it is out of rotation, as the prober has it last.
    pub(crate) fn why_out(&self) -> Option<Arc<String>> {
        self.why_out.load_full()
    }

    /// The prober's words; `None`: its look passed.
    pub(crate) fn set_why_out(&self, why: Option<String>) {
        if why.is_some() || self.why_out.load().is_some() {
            self.why_out.store(why.map(Arc::new));
        }
    }

    /// Begins a request here, unless the endpoint drains or has as many as it may. The lease counts as one in flight until it is
    /// dropped.
    pub(crate) fn begin(self: &Arc<Self>, begun: Begun<'_>) -> Result<Lease, NotBegun> {
        let before = self.in_flight.fetch_add(1, SeqCst);
        // Dropping the lease takes the count back and wakes whoever saw it.
        let lease = Lease::new(Arc::clone(self), before.saturating_add(1), begun.at, begun.line);
        let closed = self.draining.load(SeqCst) || (!begun.kept && self.keeping.load(SeqCst));
        match (closed, before < begun.most) {
            (true, _) => Err(lease.void(NotBegun::Draining)),
            (false, false) => Err(lease.void(NotBegun::Full)),
            (false, true) => Ok(lease),
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    /// Requests under way here in proxies that this one has taken over from.
    pub(crate) fn elsewhere(&self) -> u64 {
        self.elsewhere.load(Relaxed)
    }

    pub(crate) fn set_elsewhere(&self, count: u64) {
        self.elsewhere.store(count, Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// Whether a request may be under way, or come yet though the table has the endpoint drain.
    pub(crate) fn is_idle(&self) -> bool {
        // In this order: who keeps no visitors any more drains already.
        !self.keeping.load(SeqCst) && self.in_flight() == 0
    }

    /// Whether requests may be sent here.
    pub(crate) fn in_rotation(&self) -> bool {
        self.up.load(SeqCst) && !self.is_draining() && !self.keeping.load(SeqCst)
    }

    /// Whether those who were here before may still be sent here.
    pub(crate) fn keeps_visitors(&self) -> bool {
        self.keeping.load(SeqCst) && self.up.load(SeqCst) && !self.is_draining()
    }

    /// Whether it might serve when nobody is in rotation: it listens and did serve before.
    pub(crate) fn is_hopeful(&self) -> bool {
        let leaving = self.is_draining() || self.keeping.load(SeqCst);
        self.was_up.load(SeqCst) && !self.refusing.load(SeqCst) && !leaving
    }

    /// Whether the prober has a first result, whatever it is.
    pub(crate) fn was_looked_at(&self) -> bool {
        self.looked.load(SeqCst)
    }

    /// The prober's verdict.
    pub(crate) fn set_up(&self, up: bool) {
        if up && !self.up.load(SeqCst) {
            self.since.store(moment::now(), Relaxed);
            self.was_up.store(true, SeqCst);
        }
        let before = self.up.swap(up, SeqCst);
        if before && !up {
            self.since.store(moment::now(), Relaxed);
        }
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

    /// What the prober found: nobody listens, or somebody does, well or not.
    pub(crate) fn set_refusing(&self, refusing: bool) {
        self.refusing.store(refusing, SeqCst);
    }

    /// Its ejection is over.
    pub(crate) fn came_back(&self, now: u64) {
        tracing::info!(endpoint = %self.id, address = %self.address, "back from its ejection");
        self.since.store(now, Relaxed);
        self.sequence.bump();
    }

    /// Microseconds of `moment`. Of one that is out of rotation: since when that.
    pub(crate) fn in_rotation_since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    /// For how much longer (microseconds) it is worth waiting for, having served until a moment ago; 0: it is not.
    pub(crate) fn may_be_back_within(&self, now: u64) -> u64 {
        let leaving = self.is_draining() || self.keeping.load(SeqCst);
        let served = self.was_up.load(SeqCst) && !self.up.load(SeqCst) && !leaving;
        if served { (self.since.load(Relaxed) + RETURN).saturating_sub(now) } else { 0 }
    }

    /// See [`warm::factor`].
    pub(crate) fn warmth(&self) -> u32 {
        self.warmth.load(Relaxed)
    }

    pub(crate) fn set_warmth(&self, warmth: u32) {
        if self.warmth() != warmth {
            self.warmth.store(warmth, Relaxed);
        }
    }

    pub(crate) fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Traffic found nobody listening: out of rotation at once, until a probe passes.
    pub(crate) fn suspect(&self) {
        self.refusing.store(true, SeqCst);
        if self.up.swap(false, SeqCst) {
            self.since.store(moment::now(), Relaxed);
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
        if self.is_draining() {
            // Tables of thousands come often, and most of their endpoints did not drain.
            self.idle.open();
            self.streams.open();
        }
        self.keeping.store(false, SeqCst);
        self.closing.send_if_modified(|closing| closing.take().is_some());
        self.draining.store(false, SeqCst);
        self.give_order(ProbeOrder::Look(Arc::clone(probe)));
    }

    /// Begins no request from here on; tunnels are closed by `deadline_millis`. To be called after a snapshot without the
    /// endpoint is in place, so that a request that is turned away finds another.
    pub(crate) fn drain(&self, deadline_millis: i64, now_millis: i64) {
        self.draining.store(true, SeqCst);
        self.keeping.store(false, SeqCst);
        self.idle.close();
        self.streams.close();
        self.give_order(ProbeOrder::Rest);
        self.close_by(deadline_millis, now_millis);
    }

    fn close_by(&self, deadline_millis: i64, now_millis: i64) {
        self.closing.send_if_modified(|closing| {
            let curfew = Curfew::moved(*closing, deadline_millis, now_millis);
            closing.replace(curfew) != Some(curfew)
        });
    }

    /// As [`Endpoint::drain`], but until the deadline whoever stays here with a cookie still comes; till then it is never idle.
    pub(crate) fn keep_visitors(&self, deadline_millis: i64, now_millis: i64) {
        if self.is_draining() || deadline_millis <= now_millis {
            return self.drain(deadline_millis, now_millis);
        }
        self.keeping.store(true, SeqCst);
        self.close_by(deadline_millis, now_millis);
    }

    /// Once the deadline has passed, nobody is kept any more.
    pub(crate) fn stop_keeping(&self, now_millis: i64) {
        let deadline = *self.closing.borrow();
        if self.keeping.load(SeqCst)
            && let Some(Curfew { deadline, .. }) = deadline
            && deadline <= now_millis
        {
            self.drain(deadline, now_millis);
            self.sequence.bump();
        }
    }

    /// The endpoint has left the table: as if its deadline had passed.
    pub(crate) fn retire(&self, now_millis: i64) {
        let overdue = self.closing.borrow().map_or(now_millis, |curfew| curfew.deadline.min(now_millis));
        self.drain(overdue, now_millis);
        self.give_order(ProbeOrder::End);
    }

    /// Until when tunnels and streams of events may go on.
    pub(crate) fn closing(&self) -> watch::Receiver<Option<Curfew>> {
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

/// How a request begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun<'a> {
    /// In the microseconds of `moment`.
    pub(crate) at: u64,
    /// So many may be under way, this one included.
    pub(crate) most: u64,
    /// Where others wait for its end.
    pub(crate) line: Option<&'a Arc<PoolLive>>,
    /// The visitor was here before.
    pub(crate) kept: bool,
}

/// Why a request can't begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBegun {
    Draining,
    Full,
}

mod kept;

pub(crate) use kept::Kept;

#[cfg(test)]
mod tests;
