//! Connections to one endpoint that wait for their next request.
//!
//! The newest is used first, so that the rest grow old and are closed. While the
//! endpoint drains nothing is kept: servers that end gracefully wait for their
//! clients to let go.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::Link;
use crate::time::{span, ticks};

/// A bounded stack of idle connections.
#[derive(Debug)]
pub(crate) struct IdleLinks {
    held: Mutex<Held>,
    most: usize,
    oldest: u64,
}

#[derive(Debug, Default)]
struct Held {
    links: Vec<(Link, u64)>,
    closed: bool,
}

impl IdleLinks {
    /// Keeps at most `most` connections, none longer than `oldest`.
    pub(crate) fn new(most: usize, oldest: Duration) -> Self {
        Self { held: Mutex::default(), most, oldest: span(oldest) }
    }

    /// The newest connection that is still open and was idle for less than `youth`, if any.
    pub(crate) fn take(&self, youth: Option<Duration>) -> Option<Link> {
        let oldest = youth.map_or(self.oldest, |youth| span(youth).min(self.oldest));
        loop {
            let (mut link, since) = {
                let mut held = self.lock();
                let (_, since) = held.links.last()?;
                if ticks().saturating_sub(*since) >= oldest {
                    // What lies below is older still. Young requirements leave it to others; the sweep ends the rest.
                    return None;
                }
                held.links.pop()?
            };
            if link.is_reusable() {
                tracing::trace!(since, "reusing a connection");
                return Some(link);
            }
        }
    }

    /// Keeps a connection for later, or closes it when there are enough or the endpoint drains.
    pub(crate) fn put(&self, link: Link) {
        let mut held = self.lock();
        if !held.closed && held.links.len() < self.most {
            held.links.push((link, ticks()));
        }
    }

    /// Closes all and keeps none from here on.
    pub(crate) fn close(&self) {
        let mut held = self.lock();
        held.closed = true;
        let links = std::mem::take(&mut held.links);
        drop(held);
        drop(links);
    }

    pub(crate) fn open(&self) {
        self.lock().closed = false;
    }

    /// Closes those that are too old, and those that the endpoint has closed.
    pub(crate) fn sweep(&self) {
        let now = ticks();
        let mut held = self.lock();
        held.links.retain_mut(|(link, since)| {
            now.saturating_sub(*since) < self.oldest && !link.was_closed_by_peer()
        });
        if held.links.is_empty() {
            held.links.shrink_to_fit();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().links.len()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing in here panics half-way; a poisoned list of connections is still a list of connections.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
