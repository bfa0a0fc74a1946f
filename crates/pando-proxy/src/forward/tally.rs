//! Counts one request, once, however it ends.
//!
//! It travels with the request: through the tries, then with the answer's body.
//! Dropping it unsettled means that the client gave up.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Id;
use super::page::Page;
use crate::access_log::{Begun, Ended, Outcome};
use crate::asked::Asked;
use crate::balance::moment;
use crate::client::Client;
use crate::live::{Endpoint, PoolLive};
use crate::plane::Plane;
use crate::rules::RouteLive;
use crate::snapshot::PoolView;
use crate::stats::counters::Moved;
use crate::trace::{Event, Trace};

/// The account of one request.
#[derive(Debug)]
pub(crate) struct Tally {
    plane: Arc<Plane>,
    /// In the microseconds of `moment`, as are the others.
    started: u64,
    /// Until the endpoint had said all.
    took: Option<u64>,
    pool: Option<Arc<PoolLive>>,
    endpoint: Option<Arc<Endpoint>>,
    /// The rule, where it has a name or does more than lead to a pool.
    route: Option<Arc<RouteLive>>,
    status: u16,
    /// The answer is the proxy's own.
    is_own: bool,
    moved: Moved,
    counted: Option<Outcome>,
    retries: u32,
    line: Option<Begun>,
    trace: Option<Box<Trace>>,
}

impl Tally {
    pub(super) fn begin(
        plane: &Arc<Plane>,
        asked: &Asked,
        client: &Client,
        id: &Id,
        started: u64,
        trace: Option<Box<Trace>>,
    ) -> Self {
        let begun = |log| Begun::new(log, asked, client, id, moment::unix_millis(started, &plane.clock));
        let line = plane.log.as_ref().map(begun);
        Self::with(plane, line, started, trace)
    }

    /// Of a request of the proxy's own: figures, but no line in the log.
    pub(crate) fn quiet(plane: &Arc<Plane>) -> Self {
        Self::with(plane, None, moment::now(), None)
    }

    fn with(plane: &Arc<Plane>, line: Option<Begun>, started: u64, trace: Option<Box<Trace>>) -> Self {
        Self {
            plane: Arc::clone(plane),
            started,
            took: None,
            pool: None,
            endpoint: None,
            route: None,
            status: 0,
            is_own: false,
            moved: Moved::default(),
            counted: None,
            retries: 0,
            line,
            trace,
        }
    }

    /// When the request was read.
    pub(super) fn began(&self) -> u64 {
        self.started
    }

    /// Where the request goes; the last word counts.
    pub(super) fn at(&mut self, pool: &Arc<PoolLive>, endpoint: &Arc<Endpoint>) {
        self.for_pool(pool);
        if let Some(trace) = &mut self.trace {
            trace.note(moment::now(), Event::Asked(endpoint.address));
        }
        self.endpoint = Some(Arc::clone(endpoint));
    }

    pub(super) fn for_pool(&mut self, pool: &Arc<PoolLive>) {
        if !self.pool.as_ref().is_some_and(|known| Arc::ptr_eq(known, pool)) {
            self.pool = Some(Arc::clone(pool));
        }
    }

    pub(crate) fn for_route(&mut self, route: &Arc<RouteLive>) {
        if self.route.as_ref().is_some_and(|known| Arc::ptr_eq(known, route)) {
            return;
        }
        route.figures.began();
        if let Some(before) = self.route.replace(Arc::clone(route)) {
            before.figures.ended(Moved::default());
        }
    }

    pub(super) fn retried(&mut self) {
        if let Some(pool) = &self.pool {
            pool.counters.retried();
        }
        if let Some(route) = &self.route {
            route.figures.retried();
        }
        self.retries += 1;
        if let Some(trace) = &mut self.trace {
            trace.note(moment::now(), Event::Retried);
        }
    }

    /// It is asked of a second endpoint too.
    pub(super) fn hedged(&mut self, endpoint: &Endpoint) {
        if let Some(pool) = &self.pool {
            pool.counters.hedged();
        }
        if let Some(trace) = &mut self.trace {
            trace.note(moment::now(), Event::Asked(endpoint.address));
        }
    }

    /// The second endpoint is the one whose answer counts.
    pub(super) fn hedge_won(&mut self, pool: &PoolView, endpoint: &Arc<Endpoint>) {
        pool.live.counters.hedge_won();
        self.endpoint = Some(Arc::clone(endpoint));
    }

    /// The head of the answer is known.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The same, of an endpoint's answer that came then.
    pub(super) fn heard(&mut self, status: u16, at: u64) {
        self.answered(status);
        if let Some(trace) = &mut self.trace {
            trace.note(at, Event::Answered);
        }
    }

    /// A rule answers.
    pub(super) fn replied(&mut self, status: u16) {
        self.answered(status);
        self.is_own = true;
    }

    /// The proxy answers itself.
    pub(super) fn refused(&mut self, page: Page) {
        self.answered(page.status().as_u16());
        self.is_own = true;
        if page == Page::UnknownHost {
            self.plane.unmatched.fetch_add(1, Relaxed);
        }
        match (page, &self.pool) {
            (Page::NobodyReady, Some(pool)) => pool.counters.unready(),
            (Page::Busy, Some(pool)) => pool.counters.busy(),
            _ => {}
        }
        let is_wish = matches!(page, Page::Maintenance | Page::Paused);
        if matches!(self.status, 502..=504) && !is_wish {
            self.note_failure();
        }
    }

    fn note_failure(&self) {
        if let Some(pool) = &self.pool {
            pool.counters.failed();
        }
        if let Some(endpoint) = &self.endpoint {
            endpoint.counters.failed();
        }
        if let Some(route) = &self.route {
            route.figures.failed();
        }
    }

    /// So many bytes of the body went to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.moved.down += bytes as u64;
    }

    /// So many bytes came from the client after its request's head.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.moved.up += bytes;
    }

    /// The last byte was handed over.
    pub(crate) fn whole(mut self) {
        self.count_whole(moment::now());
    }

    /// As [`Tally::whole`], at a moment that was told already; but the line in the access log comes when the tally is dropped.
    pub(crate) fn count_whole(&mut self, now: u64) {
        let took = now.saturating_sub(self.started);
        self.took = Some(took);
        if let Some(pool) = &self.pool {
            pool.counters.whole(self.status, Duration::from_micros(took));
        }
        if let (Some(endpoint), false) = (&self.endpoint, self.is_own) {
            endpoint.counters.whole(self.status);
        }
        if let Some(route) = &self.route {
            route.figures.whole(self.status, took);
        }
        self.counted = Some(Outcome::Whole);
    }

    fn count_bytes(&self) {
        if let Some(pool) = &self.pool {
            pool.counters.moved(self.moved);
        }
        if let (Some(endpoint), false) = (&self.endpoint, self.is_own) {
            endpoint.counters.moved(self.moved);
        }
        if let Some(route) = &self.route {
            route.figures.ended(self.moved);
        }
    }

    /// The answer broke off, by no fault of the client.
    pub(crate) fn cut(mut self) {
        self.note_failure();
        self.counted = Some(Outcome::Cut);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let outcome = self.counted.unwrap_or_else(|| {
            if let Some(pool) = &self.pool {
                pool.counters.cancelled();
            }
            if let Some(route) = &self.route {
                route.figures.cancelled();
            }
            Outcome::Cancelled
        });
        self.count_bytes();
        let took = self.took.unwrap_or_else(|| moment::now().saturating_sub(self.started));
        if self.line.is_none() && self.trace.is_none() {
            return;
        }
        let notes = self.trace.as_mut().and_then(|trace| trace.notes.take());
        let ended = Ended {
            status: self.status,
            bytes: self.moved.down,
            took: Duration::from_micros(took),
            pool: self.pool.as_ref().map(|pool| pool.counters.id.0.as_str()),
            endpoint: self.endpoint.as_ref().map(|endpoint| endpoint.address),
            route: self.route.as_ref().map(|route| &*route.label),
            retries: self.retries,
            outcome,
            trace: None,
        };
        if let (Some(line), Some(log)) = (&self.line, &self.plane.log) {
            log.write(line, &Ended { trace: self.trace.as_deref(), ..ended });
        }
        if let (Some(tracing), Some(notes)) = (&self.plane.tracing, notes) {
            tracing.end(notes, &ended, self.started, self.route.as_deref());
        }
    }
}
