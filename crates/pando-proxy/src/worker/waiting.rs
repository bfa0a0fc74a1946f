//! Who waits for a client, and who goes when all places are taken.
//!
//! A connection whose request is being answered never goes. Of the others, those go first that have begun something and not
//! finished it, then those that have been silent for longest: whoever only holds a place loses it, and whoever asks now and then
//! keeps it. Each thread knows its own connections, so that none can get something to do while it is being ended.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::task::AbortHandle;

use crate::plane::Plane;

/// So many are looked at for who goes. More would cost a new connection more than it is worth.
const LOOKS: usize = 32;

/// What a connection does, as far as its place is concerned. Shared between its task and whoever looks for a place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence(Arc<AtomicU64>);

/// Stands beside the tick since when.
const UNFINISHED: u64 = 1 << 63;

impl Presence {
    /// A request is being answered.
    pub(crate) fn works(&self) {
        self.0.store(0, Relaxed);
    }

    /// Nothing is asked for, since that tick.
    pub(crate) fn is_silent(&self, since: u64) {
        self.0.store(since, Relaxed);
    }

    /// Something began at that tick and is not whole yet: a handshake, a head.
    pub(crate) fn has_begun(&self, since: u64) {
        self.0.store(since | UNFINISHED, Relaxed);
    }

    /// Who has the least goes first. `None`: stays.
    fn rank(&self) -> Option<(bool, u64)> {
        match self.0.load(Relaxed) {
            0 => None,
            some => Some((some & UNFINISHED == 0, some & !UNFINISHED)),
        }
    }
}

thread_local! {
    static HERE: RefCell<Here> = RefCell::default();
}

/// A thread's connections.
#[derive(Debug, Default)]
struct Here {
    all: HashMap<u64, (Presence, AbortHandle)>,
    /// In which order they are looked at; some have ended already.
    order: VecDeque<u64>,
    next: u64,
    /// Who counts those that had to go.
    plane: Option<Arc<Plane>>,
}

/// Held by a connection's task for as long as it lives.
#[derive(Debug)]
pub(super) struct Stay(u64);

impl Drop for Stay {
    fn drop(&mut self) {
        // A thread that ends knows nobody any more.
        let _ = HERE.try_with(|here| here.borrow_mut().leave(self.0));
    }
}

/// Names a connection that is about to be served by this thread.
pub(super) fn arrive() -> Stay {
    HERE.with_borrow_mut(|here| {
        here.next += 1;
        Stay(here.next)
    })
}

/// The connection's task, which has not run yet.
pub(super) fn enter(name: u64, presence: Presence, task: AbortHandle, plane: &Arc<Plane>) {
    HERE.with_borrow_mut(|here| {
        here.plane.get_or_insert_with(|| Arc::clone(plane));
        here.enter(name, presence, task);
    });
}

/// Ends the connection of this thread that has least to lose. Whether there was one that could be ended.
pub(crate) fn make_room() -> bool {
    // Not under the borrow: what is ended may leave at once.
    let (least, plane) = HERE.with_borrow_mut(|here| (here.take_least(), here.plane.clone()));
    if let (Some(_), Some(plane)) = (&least, plane) {
        plane.gauges.displaced_connections.fetch_add(1, Relaxed);
    }
    least.inspect(AbortHandle::abort).is_some()
}

impl Stay {
    pub(super) fn name(&self) -> u64 {
        self.0
    }
}

impl Here {
    fn enter(&mut self, name: u64, presence: Presence, task: AbortHandle) {
        self.all.insert(name, (presence, task));
        self.order.push_back(name);
        // As many as come are looked after, so that those that have ended are forgotten as fast.
        for _ in 0..2 {
            let Some(other) = self.order.pop_front() else { return };
            if self.all.contains_key(&other) {
                self.order.push_back(other);
            }
        }
    }

    fn leave(&mut self, name: u64) {
        self.all.remove(&name);
        if self.all.is_empty() {
            (self.all, self.order) = Default::default();
        }
    }

    fn take_least(&mut self) -> Option<AbortHandle> {
        let mut least: Option<((bool, u64), u64)> = None;
        for _ in 0..LOOKS.min(self.order.len()) {
            let Some(name) = self.order.pop_front() else { break };
            let Some((presence, _)) = self.all.get(&name) else { continue };
            self.order.push_back(name);
            if let Some(rank) = presence.rank() {
                let one = (rank, name);
                least = Some(least.map_or(one, |least| least.min(one)));
            }
        }
        self.all.remove(&least?.1).map(|(_, task)| task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> AbortHandle {
        tokio::spawn(std::future::pending::<()>()).abort_handle()
    }

    #[tokio::test]
    async fn who_has_begun_and_not_finished_goes_first_then_who_is_silent_for_longest() {
        let mut here = Here::default();
        let people = [(1, 0, false), (2, 50, false), (3, 90, true), (4, 20, false), (5, 80, true)];
        let mut tasks = HashMap::new();
        for (name, since, begun) in people {
            let (presence, task) = (Presence::default(), task());
            match (since, begun) {
                (0, _) => presence.works(),
                (_, true) => presence.has_begun(since),
                (_, false) => presence.is_silent(since),
            }
            tasks.insert(task.id(), name);
            here.enter(name, presence, task);
        }
        let gone: Vec<_> = std::iter::from_fn(|| here.take_least()).map(|task| tasks[&task.id()]).collect();
        assert_eq!(gone, [5, 3, 4, 2], "and the one that works stays");
    }

    #[tokio::test]
    async fn those_that_have_ended_are_forgotten() {
        let mut here = Here::default();
        for name in 1..=1_000 {
            here.enter(name, Presence::default(), task());
            if name > 10 {
                here.leave(name - 10);
            }
        }
        assert_eq!(here.all.len(), 10);
        assert!(here.order.len() <= 30, "{}", here.order.len());
        (991..=1_000).for_each(|name| here.leave(name));
        assert_eq!((here.all.capacity(), here.order.capacity()), (0, 0));
    }
}
