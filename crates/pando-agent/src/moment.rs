//! The time as the agent counts it: the clock's when it started, then steadily on, however the clock is set meanwhile.

use std::time::Instant;

use pando_model::time::{Millis, Timestamp};
use pando_rt::clock::Clock;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    began: Instant,
    at: Timestamp,
}

impl Moments {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), at: Timestamp::from_millis(Clock::system().now_millis()) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.at + Millis::from(self.began.elapsed())
    }

    /// When that will be.
    pub(crate) fn instant(&self, at: Timestamp) -> tokio::time::Instant {
        tokio::time::Instant::now() + at.since(self.now()).duration()
    }
}
