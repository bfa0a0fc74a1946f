//! Whether a request that failed at one endpoint may be tried at another.
//!
//! What never reached an endpoint may; what one may have done may if doing it twice is as good as once, which whoever reports the
//! failure knows. Both within what the pool allows, and within its budget: when everything fails, retries must not be what keeps
//! it down.

use pando_routing::EndpointId;

use super::attempt::Failure;
use super::page::Page;
use crate::balance::{Tried, moment};
use crate::snapshot::PoolView;

/// Where a request was tried in vain.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) tried: Tried,
    /// Tries at endpoints that nothing reached.
    unreachable: u32,
    /// Tries that an endpoint may have seen.
    unanswered: u32,
    /// It was tried everywhere in vain, and somebody was waited for.
    pub(super) has_waited: bool,
}

impl Past {
    /// Whether another endpoint may be asked; else what the client is told.
    pub(super) fn after(&mut self, failure: Failure, at: EndpointId, pool: &PoolView) -> Result<(), Failure> {
        let retry = &pool.settings.retry;
        let (page, may) = match failure {
            Failure::Unreachable => {
                self.unreachable += 1;
                (Page::Unreachable, self.unreachable <= retry.connect_attempts)
            }
            Failure::Unanswered => {
                self.unanswered += 1;
                (Page::Broken, self.unanswered <= retry.attempts)
            }
            last => return Err(last),
        };
        if !self.tried.add(at) || !may {
            return Err(Failure::Final(page));
        }
        if !pool.live.budget.retry(retry, moment::now()) {
            pool.live.counters.retry_denied();
            return Err(Failure::Final(page));
        }
        Ok(())
    }

    /// Somebody is back: whoever was tried before may be asked again, since nothing reached them.
    pub(super) fn begin_anew(&mut self) {
        self.tried = Tried::default();
        self.has_waited = true;
    }

    pub(super) fn page_for_nobody(&self) -> Page {
        match (self.tried.is_empty(), self.unanswered) {
            (true, _) => Page::NobodyReady,
            (false, 0) => Page::Unreachable,
            (false, _) => Page::Broken,
        }
    }
}
