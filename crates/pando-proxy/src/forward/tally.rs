//! Counts one request, once, however it ends.
//!
//! It travels with the request: through the tries, then with the answer's body.
//! Dropping it unsettled means that the client gave up.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Id;
use super::page::Page;
use crate::access_log::{Outcome, Record};
use crate::asked::Asked;
use crate::client::Client;
use crate::live::{Endpoint, PoolLive};
use crate::plane::Plane;

/// The account of one request.
#[derive(Debug)]
pub(crate) struct Tally {
    plane: Arc<Plane>,
    started: Instant,
    pool: Option<Arc<PoolLive>>,
    endpoint: Option<Arc<Endpoint>>,
    status: u16,
    /// The answer is the proxy's own.
    is_own: bool,
    bytes: u64,
    counted: Option<Outcome>,
    record: Option<Box<Record>>,
}

impl Tally {
    pub(super) fn begin(plane: &Arc<Plane>, asked: &Asked, client: Client, id: &Id) -> Self {
        let record = plane.log.as_ref().map(|_| {
            let now = plane.clock.now_millis();
            Box::new(Record::of(asked, client, id, now))
        });
        Self {
            plane: Arc::clone(plane),
            started: Instant::now(),
            pool: None,
            endpoint: None,
            status: 0,
            is_own: false,
            bytes: 0,
            counted: None,
            record,
        }
    }

    /// Where the request goes; the last word counts.
    pub(super) fn at(&mut self, pool: &Arc<PoolLive>, endpoint: &Arc<Endpoint>) {
        self.for_pool(pool);
        self.endpoint = Some(Arc::clone(endpoint));
    }

    pub(super) fn for_pool(&mut self, pool: &Arc<PoolLive>) {
        self.pool = Some(Arc::clone(pool));
    }

    pub(super) fn retried(&mut self) {
        if let Some(pool) = &self.pool {
            pool.counters.retried();
        }
        if let Some(record) = &mut self.record {
            record.retries += 1;
        }
    }

    /// The head of the answer is known.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The proxy answers itself.
    pub(super) fn refused(&mut self, page: Page) {
        self.answered(page.status().as_u16());
        self.is_own = true;
        if page == Page::UnknownHost {
            self.plane.unmatched.fetch_add(1, Relaxed);
        }
        if page == Page::NobodyReady
            && let Some(pool) = &self.pool
        {
            pool.counters.unready();
        }
        if matches!(self.status, 502..=504) {
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
    }

    /// So many bytes of the body went to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The last byte was handed over.
    pub(crate) fn whole(mut self) {
        self.count_whole();
    }

    /// As [`Tally::whole`], but the line in the access log comes when the tally is dropped: for tunnels, whose answer is
    /// whole when they begin.
    pub(crate) fn count_whole(&mut self) {
        if let Some(pool) = &self.pool {
            pool.counters.whole(self.status, self.started.elapsed());
        }
        if let (Some(endpoint), false) = (&self.endpoint, self.is_own) {
            endpoint.counters.whole(self.status);
        }
        self.counted = Some(Outcome::Whole);
    }

    /// The answer broke off, by no fault of the client.
    pub(crate) fn cut(mut self) {
        self.note_failure();
        self.counted = Some(Outcome::Cut);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let outcome = self.counted.unwrap_or_else(|| {
            if let Some(pool) = &self.pool {
                pool.counters.cancelled();
            }
            Outcome::Cancelled
        });
        let (Some(mut record), Some(log)) = (self.record.take(), &self.plane.log) else { return };
        record.outcome = outcome;
        record.status = self.status;
        record.bytes = self.bytes;
        record.took = self.elapsed();
        record.pool = self.pool.as_ref().map(|pool| pool.counters.id.clone());
        record.endpoint = self.endpoint.as_ref().map(|endpoint| endpoint.address);
        log.write(record);
    }
}
