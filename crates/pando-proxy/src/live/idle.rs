//! Connections to one endpoint that wait for their next request.
//!
//! The newest is used first, so that the rest grow old and are closed. While the
//! endpoint drains nothing is kept: servers that end gracefully wait for their
//! clients to let go. Each worker has its own, since a connection is watched by the
//! event loop of the thread that opened it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::{span, ticks};
use crate::upstream::{Ends, Link};
use crate::worker;

/// A bounded stack of idle connections for each worker.
#[derive(Debug)]
pub(crate) struct IdleLinks {
    held: Box<[Mutex<Held>]>,
    /// Of each.
    most: usize,
    oldest: u64,
}

#[derive(Debug, Default)]
struct Held {
    links: Vec<(Box<Link>, u64)>,
    closed: bool,
    /// Of the [`Reach`](crate::upstream::Reach) that connections are opened by now.
    serial: u64,
}

impl IdleLinks {
    /// Keeps at most `most` connections, none longer than `oldest`.
    pub(crate) fn new(workers: usize, most: usize, oldest: Duration) -> Self {
        let workers = workers.max(1);
        let held = (0..workers).map(|_| Mutex::default()).collect();
        Self { held, most: most.div_ceil(workers), oldest: span(oldest) }
    }

    /// How many share it.
    pub(crate) fn workers(&self) -> usize {
        self.held.len()
    }

    /// The newest connection that is still open, if any. With `youth` it was idle for less than that, and is surely open.
    pub(crate) fn take(&self, youth: Option<Duration>) -> Option<Box<Link>> {
        let oldest = youth.map_or(self.oldest, |youth| span(youth).min(self.oldest));
        loop {
            let mut link = {
                let mut held = self.own();
                let (_, since) = held.links.last()?;
                if ticks().saturating_sub(*since) >= oldest {
                    // What lies below is older still. Young requirements leave it to others; the sweep ends the rest.
                    return None;
                }
                held.links.pop()?.0
            };
            if link.is_reusable(youth.is_some()) {
                return Some(link);
            }
        }
    }

    /// As [`IdleLinks::take`], of connections that were opened on behalf of that client's.
    pub(crate) fn take_for(&self, behalf: Ends, youth: Option<Duration>) -> Option<Box<Link>> {
        let oldest = youth.map_or(self.oldest, |youth| span(youth).min(self.oldest));
        loop {
            let mut link = {
                let mut held = self.own();
                let is_own = |(link, _): &(Box<Link>, u64)| link.behalf == Some(behalf);
                let at = held.links.iter().rposition(is_own)?;
                if ticks().saturating_sub(held.links[at].1) >= oldest {
                    return None;
                }
                held.links.remove(at).0
            };
            if link.is_reusable(youth.is_some()) {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for later, or closes it when there are enough or the endpoint drains.
    pub(crate) fn put(&self, link: Box<Link>) {
        let mut held = self.own();
        if held.closed || held.serial != link.serial {
            return;
        }
        if held.links.len() >= self.most && link.behalf.is_some() {
            // The oldest may be for somebody who is long gone.
            held.links.remove(0);
        }
        if held.links.len() < self.most {
            held.links.push((link, ticks()));
        }
    }

    /// Closes all and keeps none from here on.
    pub(crate) fn close(&self) {
        for held in self.all() {
            let mut held = lock(held);
            held.closed = true;
            let links = std::mem::take(&mut held.links);
            drop(held);
            drop(links);
        }
    }

    /// Closes all, and keeps those alone from here on that are opened by another `Reach`.
    pub(crate) fn begin_anew(&self, serial: u64) {
        for held in self.all() {
            let mut held = lock(held);
            held.serial = serial;
            let links = std::mem::take(&mut held.links);
            drop(held);
            drop(links);
        }
    }

    pub(crate) fn open(&self) {
        self.all().for_each(|held| lock(held).closed = false);
    }

    /// Closes those that are too old, and those that the endpoint has closed.
    pub(crate) fn sweep(&self) {
        let now = ticks();
        for held in self.all() {
            let mut held = lock(held);
            held.links.retain_mut(|(link, since)| {
                now.saturating_sub(*since) < self.oldest && !link.was_closed_by_peer()
            });
            if held.links.is_empty() {
                held.links.shrink_to_fit();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all().map(|held| lock(held).links.len()).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Mutex<Held>> {
        self.held.iter()
    }

    /// Those of the worker that asks.
    fn own(&self) -> MutexGuard<'_, Held> {
        lock(&self.held[worker::index() % self.held.len()])
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    // Nothing in here panics half-way; a poisoned list of connections is still a list of connections.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
